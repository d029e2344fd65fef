"""The transfer as a whole: read the source, compare contracts, plan, load, freeze, report. Called by `transfer.yaml`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from monai_tl.datasets.modality_names import ANY_RENAME, near_names, read_rename, rename_flag, rename_problems, renamed
from monai_tl.networks.stage_names import chosen_fresh, resolve_freeze
from monai_tl.networks.stages import shared_names, stages
from monai_tl.settings.table import refuse_settings
from monai_tl.transfer.apply_strategy import apply_strategy, partly_trained, report_strategy
from monai_tl.transfer.channels import adapt_channels
from monai_tl.transfer.contract import Contract, complete, merged
from monai_tl.transfer.network_pair import NetworkPair
from monai_tl.transfer.obstacles import AskedStages, Obstacle, refuse_obstacles
from monai_tl.transfer.other_function import function_obstacles
from monai_tl.transfer.output_channels import adapt_outputs
from monai_tl.transfer.plan import TransferPlan
from monai_tl.transfer.shared_weights import with_one_name
from monai_tl.transfer.sides import Sides
from monai_tl.transfer.source import Source, read_source
from monai_tl.transfer.strategy import CONTROL, Strategy, choose_strategy
from monai_tl.transfer.transfer_report import Origins, report_transfer, transfer_summary

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Transfer:
    """A network that is ready for fine-tuning, and a report of what was transferred; printed, it is the transfer summary.

    Attributes:
        network: the target network, changed in place.
        report: plain data, as in a run's ``transfer_report.json``: source, differences, the state of each stage, the fate of
            each weight, and the sha256 of all frozen values.
        strategy: how the target learns.
        plan: the fate of each weight; None without a source.

    Example:
        >>> from monai_tl import Contract, HighRes3DNet, apply_transfer
        >>> tumour = Contract(("T1", "T2"), (1.0, 1.0, 1.0), "RAS", "zscore_volume", ("background", "tumour core"))
        >>> transfer = apply_transfer(HighRes3DNet(2, 2), "runs/hippocampus", tumour, freeze=2)
        >>> transfer.plan.fresh
        ('conv_2.conv.weight', 'conv_2.conv.bias')
        >>> transfer.report["stages"]["res_1"]
        {'state': 'frozen', 'parameters': 41664, 'trainable': 0, 'weights': {'copied': 36}}
    """

    network: nn.Module
    report: dict[str, Any]
    strategy: Strategy
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
    strategy: str | int | None = None,
    freeze: int | str = 0,
    norm: str = "freeze",
    fresh: Sequence[str] | str | None = None,
    rename: Mapping[str, str] | str | None = None,
    new_channels: str = "zero",
    accept_differences: bool = False,
) -> Transfer:
    """Load a source's weights into a target network and freeze its first stages, in place.

    Args:
        network: the target, with the stages that `stages` lists.
        source: bundle, run folder, ``.pt`` or ``.safetensors``; None keeps the network's random weights (the controls
            "scratch" and, with ``freeze``, "random prefix").
        contract: what the target expects of its images.
        source_contract: what the source expects of its images; needed only for what no ``metadata.json`` next to its weights
            states.
        strategy: name of a strategy, e.g. ``"lora8"``, see `monai_tl.transfer.strategy`; None: the one that ``freeze`` and the
            source imply.
        freeze: the number of first stages to freeze, the name of the last one, or frozen stages joined by a plus sign.
        norm: ``freeze`` or ``track`` the BatchNorm statistics of frozen stages, see `freeze`.
        fresh: stages that keep their initial values. None: the head if it shares no region with the source's, or the classes
            of one exclude each other and those of the other do not; ``[]`` or ``"none"``: no stage. A head that is not fresh
            takes its output channels by the name of their region; regions that the source lacks start newly initialised.
        rename: modality of the source -> its name in the target, e.g. ``{"MR": "T1"}`` or ``"MR=T1"``.
        new_channels: how channels that the source has not seen are initialised, see `adapt_channels`. They are trained even
            in a frozen stage, except with ``frozen``.
        accept_differences: transfer even if spacing, orientation or normalisation differ or are unknown.

    Raises:
        ConfigError, TransferError: if the transfer is not possible, with all reasons; the network is unchanged then.

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
          the head is newly initialised: the source has none of the target's regions (tumour core)
    """
    target = complete(contract)
    found = stages(network)
    learned = choose_strategy(strategy, freeze, found, source=source is not None)
    frozen = learned.frozen(found) or resolve_freeze(found, freeze)
    if not learned.takes_source:
        source = None
        if learned.kind == CONTROL and strategy is not None:
            norm = "track"  # random stages have no trained statistics to preserve
    refuse_settings(norm=norm, new_channels=new_channels)
    called = read_rename(rename)
    if fresh is not None:
        fresh = chosen_fresh(found, fresh)
    if source is None:
        partly = partly_trained(learned, network, frozen, ())
        report = report_transfer(network, contract, Origins(), norm=norm)
        apply_strategy(network, learned, frozen, partly=partly, norm=norm)
        return Transfer(network, report | report_strategy(network, learned, frozen, partly, report["weights"]), learned)
    loaded = with_one_name(read_source(source, network.state_dict()), network)
    own = merged(loaded.contract, source_contract)
    pair = NetworkPair.of({name: tuple(value.shape) for name, value in loaded.weights.items()}, network)
    sides, misnamed = _by_target_names(Sides(str(source), pair, own, own, target, called))
    why_fresh = sides.why_fresh() if fresh is None else ""
    asked = AskedStages(found, frozen, (sides.pair.head,) if why_fresh else tuple(fresh or ()), none_fresh=fresh == ())
    called_so = sides.learned.modalities if sides.learned else None
    otherwise = function_obstacles(loaded, network, target, called_so)
    unlike = [] if accept_differences else [*otherwise, *sides.unlike()]
    others = [
        one for one in sides.of_stages(asked) if not (misnamed and one.flags.startswith("--rename"))
    ]  # settled by misnamed
    refuse_obstacles([*unlike, *misnamed, *others], asked)
    partly = partly_trained(learned, network, frozen, asked.fresh)
    plan = sides.plan(asked.fresh)
    network.load_state_dict(_planned_weights(plan, loaded, network, sides, new_channels), strict=True)
    origins = sides.origins(plan, new_channels, why_fresh)
    origins = replace(origins, differences=(*origins.differences, *(one.what for one in otherwise)))  # accepted ones
    report = report_transfer(network, contract, origins, norm=norm, plan=plan, source=loaded)
    inputs = _trained_inputs(plan, (*frozen, *partly), sides, new_channels)
    apply_strategy(network, learned, frozen, partly=partly, norm=norm, trained_inputs=inputs)
    return Transfer(network, report | report_strategy(network, learned, frozen, partly, report["weights"]), learned, plan)


def _by_target_names(sides: Sides) -> tuple[Sides, list[Obstacle]]:
    """Give the source's modalities the target's names; also return what is wrong with these."""
    own, called = sides.own, sides.rename
    if own is None or own.modalities is None:
        lacks = "the source has no metadata.json" if own is None else "the source's metadata.json does not name them all"
        unknown = f"{rename_flag(called)}: {lacks}, so the names of its modalities are unknown"
        return sides, [Obstacle(unknown, "omit it")] if called else []
    problems = rename_problems(called, own.modalities, sides.contract.modalities)
    if problems:
        return sides, [Obstacle(problem, flags=ANY_RENAME) for problem in problems]
    return replace(sides, learned=replace(own, modalities=renamed(own.modalities, called))), []


def _planned_weights(plan: TransferPlan, source: Source, network: nn.Module, sides: Sides, new: str) -> dict[str, Tensor]:
    """Return the network's weights after the transfer, as the plan decides."""
    state, learned, contract = network.state_dict(), sides.learned, sides.contract
    for name in plan.adapted:
        assert learned is not None  # the plan adapts channels only if the source's are known
        if name in sides.pair.ports.inputs:
            assert learned.modalities is not None
            state[name] = adapt_channels(source.weights[name], learned.modalities, contract.modalities, new)
        else:
            assert learned.classes is not None
            axes = sides.pair.ports.outputs[name]
            state[name] = adapt_outputs(source.weights[name], state[name], learned.classes, contract.classes, axes)
    state |= {name: source.weights[name] for name in plan.copied}
    return state | {other: state[name] for other, name in shared_names(network).items()}


def _trained_inputs(plan: TransferPlan, frozen: Sequence[str], sides: Sides, new: str) -> dict[str, list[int]]:
    """Return the input channels to train in frozen weights: new modalities, which the network could not use otherwise."""
    pair, learned, modalities = sides.pair, sides.learned, sides.contract.modalities
    adapted = [name for name in pair.ports.inputs if name in plan.adapted]
    if learned is None or learned.modalities is None or not adapted:
        return {}
    _warn_of_near_names(learned.modalities, modalities)
    unseen = [index for index, name in enumerate(modalities) if name not in learned.modalities]
    fixed = [name for name in adapted if pair.stages.stage_of(name) in frozen]
    if not unseen or not fixed:
        return {}
    if new == "frozen":
        logger.warning(
            "new_channels: frozen keeps the kernels of %s at zero: the network will never see these modalities",
            ", ".join(modalities[index] for index in unseen),
        )
        return {}
    return dict.fromkeys(fixed, unseen)


def _warn_of_near_names(source: Sequence[str], target: Sequence[str]) -> None:
    """Warn of modalities that are not matched although their names differ only in how they are written."""
    for old, new in near_names(source, target).items():
        logger.warning(
            "the source's %s is not used, and the target's %s is new to the network: if they are the same, use %s",
            old, new, rename_flag({old: new}),
        )  # fmt: skip
