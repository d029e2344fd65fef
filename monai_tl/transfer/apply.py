"""The transfer as a whole: read the source, compare contracts, plan, load, freeze, report. Called by `transfer.yaml`."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from monai_tl.errors import TransferError
from monai_tl.networks.stage_names import listed_stages, refuse_unknown_stages, resolve_freeze
from monai_tl.networks.stages import stages
from monai_tl.settings.table import refuse_settings
from monai_tl.transfer.channels import adapt_channels, describe_channels
from monai_tl.transfer.contract import Contract, differences, read_contract
from monai_tl.transfer.freeze import freeze as freeze_stages
from monai_tl.transfer.freeze import frozen_sha256
from monai_tl.transfer.plan import TransferPlan, input_weight, plan_transfer, stage_of
from monai_tl.transfer.source import Source, read_source

logger = logging.getLogger(__name__)

POOR_SOURCE = 0.1  # validation Dice below which a source is reported as having learned almost nothing


@dataclass(frozen=True)
class Transfer:
    """A network that is ready for fine-tuning, and a report of what was transferred; printed, it is the transfer summary.

    Attributes:
        network: the target network, changed in place.
        report: plain data, as in a run's ``transfer_report.json``: source, differences, the state of each stage, the fate of
            each weight, and the sha256 of all frozen values.
        plan: the fate of each weight; None without a source.

    Example:
        >>> from monai_tl import Contract, HighRes3DNet, apply_transfer
        >>> tumour = Contract(("T1", "T2"), (1.0, 1.0, 1.0), "RAS", "zscore_volume", ("background", "tumour core"))
        >>> transfer = apply_transfer(HighRes3DNet(2, 2), "runs/hippocampus", tumour, freeze=2)
        >>> transfer.plan.fresh
        ('conv_2.conv.weight', 'conv_2.conv.bias')
        >>> transfer.report["stages"]["res_1"]
        {'state': 'frozen', 'parameters': 41664, 'trainable': 0}
    """

    network: nn.Module
    report: dict[str, Any]
    plan: TransferPlan | None = None

    def __str__(self) -> str:
        """Return the transfer summary, see `transfer_summary`."""
        return transfer_summary(self.report)


def apply_transfer(
    network: nn.Module,
    source: str | Path | None,
    contract: Contract,
    *,
    source_contract: Contract | None = None,
    freeze: int | str = 0,
    norm: str = "freeze",
    fresh: Sequence[str] | str | None = None,
    new_channels: str = "zero",
    accept_differences: bool = False,
) -> Transfer:
    """Load a source's weights into a target network and freeze its first stages, in place.

    Args:
        network: the target, with the stages that `stages` lists.
        source: bundle, run folder, ``.pt`` or ``.safetensors``; None keeps the network's random weights (the controls
            "scratch" and, with ``freeze``, "random prefix").
        contract: what the target expects of its images.
        source_contract: what the source expects of its images; needed only without a ``metadata.json`` next to its weights.
        freeze: the number of first stages to freeze, or the name of the last one.
        norm: ``freeze`` or ``track`` the BatchNorm statistics of frozen stages, see `freeze`.
        fresh: stages that keep their initial values. None: the head if the classes differ; ``[]`` or ``"none"``: no stage.
        new_channels: how channels that the source has not seen are initialised, see `adapt_channels`. They are trained even
            in a frozen stage, except with ``frozen``.
        accept_differences: transfer even if spacing, orientation or normalisation differ or are unknown.

    Raises:
        ConfigError, TransferError: if the transfer is not possible; the network is unchanged then.

    Example:
        >>> from monai_tl import Contract, HighRes3DNet, apply_transfer
        >>> tumour = Contract(("T1", "T2"), (1.0, 1.0, 1.0), "RAS", "zscore_volume", ("background", "tumour core"))
        >>> print(apply_transfer(HighRes3DNet(2, 2), "runs/hippocampus", tumour, freeze=2))
        transfer from runs/hippocampus/model.pt (sha256 ...)
          the source's validation Dice on its own task: ...
          classes: source [background, hippocampus], target [background, tumour core]
          conv_0   frozen         0 of    896 parameters trainable; weights: 6 copied
          ...
          conv_2   trained      162 of    162 parameters trainable; weights: 2 fresh (newly initialised)
    """
    names = list(stages(network))
    frozen = resolve_freeze(names, freeze)
    refuse_settings(norm=norm, new_channels=new_channels)
    if fresh is not None:
        fresh = listed_stages(fresh)
        refuse_unknown_stages(fresh, names)
    if source is None:
        freeze_stages(network, frozen, norm=norm)
        return Transfer(network, _report(network, frozen, norm=norm, contracts=_contracts(None, contract, [])))
    loaded = read_source(source, network.state_dict())
    learned = _source_contract(read_contract(loaded.metadata, str(source)), source_contract, str(source))
    differing = _compare_contracts(learned, contract, str(source), accept_differences)
    same_classes = learned is not None and learned.classes == contract.classes
    renewed = fresh if fresh is not None else () if same_classes else (names[-1],)
    _refuse_frozen_and_fresh(frozen, renewed)
    plan = plan_transfer(
        loaded.weights,
        _shapes(network),
        fresh=renewed,
        source_channels=learned.modalities if learned else None,
        target_channels=contract.modalities,
    )
    channels = describe_channels(learned.modalities, contract.modalities, new_channels) if learned and plan.adapted else {}
    network.load_state_dict(_planned_weights(plan, loaded, network, learned, contract, new_channels), strict=True)
    trained_inputs = _trained_inputs(plan, frozen, learned, contract, new_channels)
    freeze_stages(network, frozen, norm=norm, trained_inputs=trained_inputs)
    contracts = _contracts(learned, contract, differing)
    report = _report(network, frozen, norm=norm, plan=plan, source=loaded, channels=channels, contracts=contracts)
    return Transfer(network, report, plan)


def transfer_summary(report: dict[str, Any]) -> str:
    """Return a transfer report as lines of text: source, differences, each stage, adapted weights and their channels."""
    lines = [
        *_source_lines(report["source"]),
        *report["contract"]["differences"],
        *(report.get("overlap") or {}).get("said", []),
        *_stage_lines(report),
        *(f"{name}: {fate}" for name, fate in report["weights"].items() if fate.startswith("adapted")),
        *(f"channel {name}: {origin}" for name, origin in report["channels"].items()),
    ]
    return "\n  ".join(lines)


def _source_lines(source: dict[str, Any] | None) -> list[str]:
    if source is None:
        return ["no source: every weight is newly initialised (random)"]
    lines = [f"transfer from {source['path']} (sha256 {source['sha256'][:12]})"]
    dice = source.get("validation_dice")
    if dice is not None:
        poor = "; the source has learned almost nothing, so this transfer can show little" if dice < POOR_SOURCE else ""
        lines.append(f"the source's validation Dice on its own task: {dice:.3f}{poor}")
    return lines + list(source.get("notes", ()))


def _stage_lines(report: dict[str, Any]) -> list[str]:
    """Return a line for each stage, with aligned columns: its state, its trainable parameters, the fates of its weights."""
    fates: dict[str, Counter[str]] = {}
    for name, fate in report["weights"].items():
        fates.setdefault(stage_of(name), Counter())[fate.split(":")[0]] += 1
    rows = report["stages"]
    stage_width, state_width = max(map(len, rows), default=0), max((len(row["state"]) for row in rows.values()), default=0)
    digits = max((len(f"{row['parameters']:,}") for row in rows.values()), default=0)
    return [
        f"{stage:{stage_width}}   {row['state']:{state_width}}   {row['trainable']:>{digits},} of "
        f"{row['parameters']:>{digits},} parameters trainable; {_fates_text(fates.get(stage))}"
        for stage, row in rows.items()
    ]


def _fates_text(counts: Counter[str] | None) -> str:
    if not counts:
        return "no weights"
    meaning = {"fresh": "fresh (newly initialised)"}
    return "weights: " + ", ".join(f"{count} {meaning.get(fate, fate)}" for fate, count in counts.items())


def _source_contract(stored: Contract | None, given: Contract | None, source: str) -> Contract | None:
    """Return the contract stored with the weights, or else the one given; raise if both exist and differ."""
    if stored and given and (differing := differences(stored, given)):
        listed = "; ".join(map(str, differing)).replace("source ", "metadata.json ").replace("target ", "source_contract ")
        raise TransferError(
            f"source_contract contradicts the metadata.json of source '{source}' ({listed}); omit source_contract, which is "
            "only for sources without a metadata.json"
        )
    return stored or given


def _compare_contracts(learned: Contract | None, contract: Contract, source: str, accept_differences: bool) -> list[str]:
    """Return the differences between source and target as text; raise for a harmful one that is not accepted."""
    if learned is None:
        unknown = f"source '{source}' has no metadata.json: its spacing, orientation, normalisation and modalities are unknown"
        if not accept_differences:
            raise TransferError(f"{unknown}. Put metadata.json next to the weights, or continue with --accept_differences")
        return [unknown]
    differing = differences(learned, contract)
    harmful = [str(difference) for difference in differing if difference.harmful]
    if harmful and not accept_differences:
        raise TransferError(
            f"source and target differ in a way that harms the transfer: {'; '.join(harmful)}. Preprocess the target's images "
            "like the source's, or continue with --accept_differences"
        )
    return [str(difference) for difference in differing]


def _contracts(learned: Contract | None, contract: Contract, differing: list[str]) -> dict[str, Any]:
    return {"source": asdict(learned) if learned else None, "target": asdict(contract), "differences": differing}


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight, in the order of the stages."""
    state = network.state_dict()
    return {name: tuple(value.shape) for stage in stages(network) for name, value in state.items() if stage_of(name) == stage}


def _refuse_frozen_and_fresh(frozen: Sequence[str], fresh: Sequence[str]) -> None:
    both = [name for name in frozen if name in fresh]
    if both:
        raise TransferError(
            f"{', '.join(both)} would be both fresh and frozen, and so stay random; freeze fewer stages, or remove the name "
            "from --fresh (the control with frozen random stages is --random_prefix)"
        )


def _planned_weights(
    plan: TransferPlan,
    source: Source,
    network: nn.Module,
    learned: Contract | None,
    contract: Contract,
    new: str,
) -> dict[str, Tensor]:
    """Return the network's weights after the transfer, as the plan decides."""
    state = network.state_dict() | {name: source.weights[name] for name in plan.copied}
    for name in plan.adapted:
        assert learned is not None  # the plan adapts channels only if the source's modalities are known
        state[name] = adapt_channels(source.weights[name], learned.modalities, contract.modalities, new)
    return state


def _trained_inputs(
    plan: TransferPlan, frozen: Sequence[str], learned: Contract | None, contract: Contract, new: str
) -> dict[str, list[int]]:
    """Return the input channels to train in frozen weights: new modalities, which the network could not use otherwise."""
    if learned is None:
        return {}
    unseen = [index for index, name in enumerate(contract.modalities) if name not in learned.modalities]
    entering_frozen = [name for name in plan.adapted if stage_of(name) in frozen] if unseen else []
    if entering_frozen and new == "frozen":
        logger.warning(
            "new_channels: frozen keeps the kernels of %s at zero: the network will never see these modalities",
            ", ".join(contract.modalities[index] for index in unseen),
        )
        return {}
    return dict.fromkeys(entering_frozen, unseen)


def _report(
    network: nn.Module,
    frozen: Sequence[str],
    *,
    norm: str,
    contracts: dict[str, Any],
    plan: TransferPlan | None = None,
    source: Source | None = None,
    channels: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Return the fate of each weight and the state of each stage, as plain data for ``transfer_report.json``."""
    fates = dict.fromkeys(_shapes(network), "fresh")
    if plan is not None:
        fates |= dict.fromkeys(plan.copied, "copied") | {name: f"adapted: {how}" for name, how in plan.adapted.items()}
    return {
        "source": None if source is None else _source_row(source, plan),
        "contract": contracts,
        "channels": channels or {},
        "norm": norm,
        "input_weight": input_weight(_shapes(network)),
        "stages": {name: _stage_row(network, name, stage, frozen) for name, stage in stages(network).items()},
        "weights": fates,
        "held_sha256": frozen_sha256(network),
    }


def _source_row(source: Source, plan: TransferPlan | None) -> dict[str, Any]:
    metadata = source.metadata or {}
    return {
        "path": str(source.path),
        "sha256": source.sha256,
        "lineage": metadata.get("lineage", []),
        "validation_dice": metadata.get("validation_dice"),
        "unused": list(plan.unused if plan else ()),
        "notes": list(source.notes),
    }


def _stage_row(network: nn.Module, name: str, stage: nn.Module, frozen: Sequence[str]) -> dict[str, Any]:
    parameters = sum(p.numel() for p in stage.parameters())
    trainable = sum(p.numel() for p in stage.parameters() if p.requires_grad)
    state = "trained" if name not in frozen else "frozen" if trainable == 0 else "frozen, new channels trained"
    return {"state": state, "parameters": parameters, "trainable": trainable}
