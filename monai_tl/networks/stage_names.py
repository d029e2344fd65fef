"""Stages by name: which ones ``freeze`` freezes, which may be fresh, and the stages of known networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai_tl.errors import TransferError, did_you_mean
from monai_tl.networks.stage_map import StageMap

KNOWN = {"monai_tl.networks.highres3dnet.HighRes3DNet": ("conv_0", "res_1", "res_2", "res_3", "conv_1", "conv_2")}


def known_stages(network_def: Any) -> StageMap | None:
    """Return the stages of a network in a config; None if the network must be built to find them."""
    names = KNOWN.get(network_def.get("_target_", "")) if isinstance(network_def, Mapping) else None
    return StageMap({name: (name,) for name in names}) if names else None


def listed_stages(fresh: Sequence[str] | str) -> tuple[str, ...]:
    """Return stages from a config or a command line: a list, or ``conv_1,conv_2``; ``none`` means no stage."""
    if isinstance(fresh, str):
        return tuple(name.strip() for name in fresh.split(",") if name.strip() not in ("", "none"))
    return tuple(fresh)


def resolve_freeze(stages: StageMap, freeze: int | str) -> tuple[str, ...]:
    """Return the names of the stages that ``freeze`` freezes.

    Args:
        stages: of the network; the head is always trained.
        freeze: the number of frozen stages (``2`` or ``"2"``), the name of the last frozen stage (``"res_1"``), ``"encoder"``,
            or exactly the stages joined by a plus sign (``"conv_0+res_2"``; ``"+res_2"`` is that stage alone).

    Returns:
        The frozen stages in order; none for 0.

    Raises:
        TransferError: if a stage does not exist, or if the number is out of range.

    Example:
        >>> from monai_tl import HighRes3DNet, stages
        >>> from monai_tl.networks.stage_names import resolve_freeze
        >>> found = stages(HighRes3DNet(in_channels=1, out_channels=2))
        >>> resolve_freeze(found, 2), resolve_freeze(found, "res_2"), resolve_freeze(found, "conv_0+res_2")
        (('conv_0', 'res_1'), ('conv_0', 'res_1', 'res_2'), ('conv_0', 'res_2'))
    """
    *freezable, head = stages
    if isinstance(freeze, str):
        if "+" in freeze:
            return _joined(stages, freeze)
        if freeze in freezable:
            return tuple(freezable[: freezable.index(freeze) + 1])
        if freeze == "encoder" and freeze not in stages.names:
            return stages.encoder
        if freeze.isdecimal() and int(freeze) <= len(freezable):
            return tuple(freezable[: int(freeze)])
    # bool is a subclass of int
    elif isinstance(freeze, int) and not isinstance(freeze, bool) and 0 <= freeze <= len(freezable):
        return tuple(freezable[:freeze])
    raise TransferError(
        f"freeze takes 0–{len(freezable)} or the name of the last frozen stage, not {freeze!r}; "
        f"the head, {head}, is always trained: {did_you_mean(str(freeze), freezable)}"
    )


def freeze_text(stages: StageMap, frozen: Sequence[str]) -> str:
    """Return what ``freeze`` is called for some stages: a number if they are the first ones, else their names joined by +."""
    if tuple(frozen) == stages.names[: len(frozen)]:
        return str(len(frozen))
    return "+".join(frozen) if len(frozen) > 1 else f"+{frozen[0]}"


def _joined(stages: StageMap, freeze: str) -> tuple[str, ...]:
    *freezable, head = stages
    chosen = [name.strip() for name in freeze.removeprefix("+").split("+")]
    for name in chosen:
        if name not in freezable:
            raise TransferError(
                f"freeze: '{name}' in {freeze!r} cannot be frozen; the head, {head}, is always trained: "
                f"{did_you_mean(name, freezable)}"
            )
    return tuple(name for name in freezable if name in chosen)


def chosen_fresh(stages: StageMap, fresh: Sequence[str] | str) -> tuple[str, ...]:
    """Return the stages to be newly initialised, from names of stages and of groups (``encoder``, ``decoder``, ``head``).

    Raises:
        TransferError: if a name does not exist; the existing ones are listed.
    """
    try:
        return stages.expand(listed_stages(fresh))
    except TransferError as error:
        raise TransferError(f"fresh: {error}") from None
