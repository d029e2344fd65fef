"""Transfer as a whole: read, agree, plan, load, freeze, and give an account. `transfer.yaml` names `apply_transfer`."""

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

LITTLE = 0.1  # Dice of a source


@dataclass(frozen=True)
class Transfer:
    """A network ready to be fine-tuned, and how it came to be; printed, it is a summary in a line a stage.

    Attributes:
        network: the one that was given, changed in place.
        report: plain data, as in a run's ``transfer_report.json``: source, differences, the state of each stage, the fate of
            each weight, and the sha256 of all frozen values.
        plan: the fate of each weight; None where there was no source.

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
        """Summarise it, see `transfer_summary`."""
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
    """Load what a source has learned into a target network and freeze its first stages, in place.

    Args:
        network: the target, with the stages that `stages` lists.
        source: bundle, run folder, ``.pt`` or ``.safetensors``; None keeps the network's random weights (the controls
            "scratch" and, with ``freeze``, "random prefix").
        contract: what the target expects of its images.
        source_contract: what the source expected of its own, where no ``metadata.json`` next to its weights says it.
        freeze: how many of the first stages are frozen, or the last one's name.
        norm: ``freeze`` or ``track`` the statistics of frozen stages, see `freeze`.
        fresh: stages that keep their initial values; None: the head where the classes differ; ``[]`` or ``"none"``: no stage.
        new_channels: how channels that the source never saw start, see `adapt_channels`. In a frozen stage they are trained
            all the same, except with ``frozen``.
        accept_differences: go on where spacing, orientation or normalisation differ or are unknown.

    Raises:
        ConfigError, TransferError: before the network is touched, if any of this cannot be done.

    Example:
        >>> from monai_tl import Contract, HighRes3DNet, apply_transfer
        >>> tumour = Contract(("T1", "T2"), (1.0, 1.0, 1.0), "RAS", "zscore_volume", ("background", "tumour core"))
        >>> print(apply_transfer(HighRes3DNet(2, 2), "runs/hippocampus", tumour, freeze=2))
        transfer from runs/hippocampus/model.pt (...)
          validation Dice in its own task ...
          classes: source [background, hippocampus], target [background, tumour core]
          conv_0   frozen                 0 of       896 parameters train; 6 copied
          ...
          conv_2   trained              162 of       162 parameters train; 2 fresh
    """
    names = list(stages(network))
    frozen = resolve_freeze(names, freeze)
    refuse_settings(norm=norm, new_channels=new_channels)
    if fresh is not None:
        fresh = listed_stages(fresh)
        refuse_unknown_stages(fresh, names)
    if source is None:
        freeze_stages(network, frozen, norm=norm)
        return Transfer(network, _report(network, frozen, norm=norm, terms=_terms(None, contract, [])))
    given = read_source(source, network.state_dict())
    told = _source_contract(read_contract(given.metadata, str(source)), source_contract, str(source))
    found = _agree(told, contract, str(source), accept_differences)
    same_classes = told is not None and told.classes == contract.classes
    renewed = fresh if fresh is not None else () if same_classes else (names[-1],)
    _refuse_frozen_and_fresh(frozen, renewed)
    plan = plan_transfer(
        given.weights,
        _shapes(network),
        fresh=renewed,
        source_channels=told.modalities if told else None,
        target_channels=contract.modalities,
    )
    channels = describe_channels(told.modalities, contract.modalities, new_channels) if told and plan.adapted else {}
    network.load_state_dict(_carried_over(plan, given, network, told, contract, new_channels), strict=True)
    trained_inputs = _trained_inputs(plan, frozen, told, contract, new_channels)
    freeze_stages(network, frozen, norm=norm, trained_inputs=trained_inputs)
    terms = _terms(told, contract, found)
    report = _report(network, frozen, norm=norm, plan=plan, source=given, channels=channels, terms=terms)
    return Transfer(network, report, plan)


def transfer_summary(report: dict[str, Any]) -> str:
    """Say a report in a few lines for people: source, contract, each stage's fate, each weight that was not simply copied."""
    source = report["source"]
    lines = [
        "transfer: no source, random weights" if source is None else f"transfer from {source['path']} ({source['sha256'][:12]})"
    ]
    dice = (source or {}).get("validation_dice")
    if dice is not None:
        little = " — the source learned next to nothing, and so will say little" if dice < LITTLE else ""
        lines.append(f"  validation Dice in its own task {dice:.3f}{little}")
    lines += [f"  {line}" for line in (source or {}).get("notes", ())]
    lines += [f"  {line}" for line in report["contract"]["differences"]]
    lines += [f"  {line}" for line in (report.get("overlap") or {}).get("said", [])]
    fates: dict[str, Counter[str]] = {}
    for name, fate in report["weights"].items():
        fates.setdefault(stage_of(name), Counter())[fate.split(":")[0]] += 1
    for stage, row in report["stages"].items():
        carried = ", ".join(f"{count} {fate}" for fate, count in fates.get(stage, Counter()).items()) or "no weights"
        lines.append(
            f"  {stage:8s} {row['state']:14s} {row['trainable']:>9,} of {row['parameters']:>9,} parameters train; {carried}"
        )
    lines += [f"  {name}: {fate}" for name, fate in report["weights"].items() if fate.startswith("adapted")]
    lines += [f"  channel {name}: {fate}" for name, fate in report["channels"].items()]
    return "\n".join(lines)


def _source_contract(kept: Contract | None, given: Contract | None, source: str) -> Contract | None:
    """Return what is kept with the weights, else what was given; raise where both exist and differ."""
    if kept and given and (found := differences(kept, given)):
        told = "; ".join(map(str, found)).replace("source ", "there ").replace("target ", "given ")
        raise TransferError(f"the metadata.json of source '{source}' says otherwise than source_contract ({told}); omit that")
    return kept or given


def _agree(told: Contract | None, contract: Contract, source: str, accept_differences: bool) -> list[str]:
    """Give the differences in words; raise where one would harm and was not accepted."""
    if told is None:
        unknown = f"source '{source}' has no metadata.json: its spacing, orientation, normalisation and modalities are unknown"
        if not accept_differences:
            raise TransferError(f"{unknown}. Put it next to the weights, or go on all the same with --accept_differences")
        return [unknown]
    found = differences(told, contract)
    harmful = [str(difference) for difference in found if difference.harmful]
    if harmful and not accept_differences:
        raise TransferError(
            f"source and target differ in what harms a transfer: {'; '.join(harmful)}. Prepare the target's images as the "
            "source's were, or go on all the same with --accept_differences"
        )
    return [str(difference) for difference in found]


def _terms(told: Contract | None, contract: Contract, found: list[str]) -> dict[str, Any]:
    return {"source": asdict(told) if told else None, "target": asdict(contract), "differences": found}


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Give the shape of each weight, in the order of the stages."""
    state = network.state_dict()
    return {name: tuple(value.shape) for stage in stages(network) for name, value in state.items() if stage_of(name) == stage}


def _refuse_frozen_and_fresh(frozen: Sequence[str], fresh: Sequence[str]) -> None:
    both = [name for name in frozen if name in fresh]
    if both:
        raise TransferError(
            f"{', '.join(both)} would be both fresh and frozen, random for ever; freeze fewer stages, or name it in neither "
            "(the control with a frozen random prefix is --random_prefix)"
        )


def _carried_over(
    plan: TransferPlan,
    source: Source,
    network: nn.Module,
    told: Contract | None,
    contract: Contract,
    new: str,
) -> dict[str, Tensor]:
    state = network.state_dict() | {name: source.weights[name] for name in plan.copied}
    for name in plan.adapted:
        assert told is not None  # channels are adapted only where they are known by name
        state[name] = adapt_channels(source.weights[name], told.modalities, contract.modalities, new)
    return state


def _trained_inputs(
    plan: TransferPlan, frozen: Sequence[str], told: Contract | None, contract: Contract, new: str
) -> dict[str, list[int]]:
    """A new modality entering a frozen stage is trained, or it would never be seen."""
    if told is None:
        return {}
    unseen = [index for index, name in enumerate(contract.modalities) if name not in told.modalities]
    entering_frozen = [name for name in plan.adapted if stage_of(name) in frozen] if unseen else []
    if entering_frozen and new == "frozen":
        logger.warning(
            "new_channels: frozen holds the zero kernels of %s still: these modalities will never be seen by the network",
            ", ".join(contract.modalities[index] for index in unseen),
        )
        return {}
    return dict.fromkeys(entering_frozen, unseen)


def _report(
    network: nn.Module,
    frozen: Sequence[str],
    *,
    norm: str,
    terms: dict[str, Any],
    plan: TransferPlan | None = None,
    source: Source | None = None,
    channels: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Account for each weight and stage, as plain data for ``transfer_report.json``."""
    fates = dict.fromkeys(_shapes(network), "fresh")
    if plan is not None:
        fates |= dict.fromkeys(plan.copied, "copied") | {name: f"adapted: {how}" for name, how in plan.adapted.items()}
    told = None
    if source is not None:
        lineage = (source.metadata or {}).get("lineage", [])
        told = {
            "path": str(source.path),
            "sha256": source.sha256,
            "lineage": lineage,
            "validation_dice": (source.metadata or {}).get("validation_dice"),
            "unused": list(plan.unused if plan else ()),
            "notes": list(source.notes),
        }
    return {
        "source": told,
        "contract": terms,
        "channels": channels or {},
        "norm": norm,
        "input_weight": input_weight(_shapes(network)),
        "stages": {name: _stage_row(network, name, stage, frozen) for name, stage in stages(network).items()},
        "weights": fates,
        "held_sha256": frozen_sha256(network),
    }


def _stage_row(network: nn.Module, name: str, stage: nn.Module, frozen: Sequence[str]) -> dict[str, Any]:
    parameters = sum(p.numel() for p in stage.parameters())
    trainable = sum(p.numel() for p in stage.parameters() if p.requires_grad)
    state = "trained" if name not in frozen else "frozen" if trainable == 0 else "frozen, new channels trained"
    return {"state": state, "parameters": parameters, "trainable": trainable}
