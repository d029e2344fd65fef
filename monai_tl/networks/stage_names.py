"""Stages by name: which ones ``freeze`` freezes, which may be fresh, and the stages of known networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai_tl.errors import TransferError, did_you_mean

KNOWN = {"monai_tl.networks.highres3dnet.HighRes3DNet": ("conv_0", "res_1", "res_2", "res_3", "conv_1", "conv_2")}


def known_stages(network_def: Any) -> tuple[str, ...] | None:
    """Return the stages of a network in a config, in order; None if the network must be built to find them."""
    return KNOWN.get(network_def.get("_target_", "")) if isinstance(network_def, Mapping) else None


def listed_stages(fresh: Sequence[str] | str) -> tuple[str, ...]:
    """Return stages from a config or a command line: a list, or ``conv_1,conv_2``; ``none`` means no stage."""
    if isinstance(fresh, str):
        return tuple(name.strip() for name in fresh.split(",") if name.strip() not in ("", "none"))
    return tuple(fresh)


def resolve_freeze(names: Sequence[str], freeze: int | str) -> tuple[str, ...]:
    """Return the names of the stages that ``freeze`` freezes.

    Args:
        names: all stages in order, the head last.
        freeze: the number of frozen stages (``2`` or ``"2"``), or the name of the last frozen stage (``"res_1"``).

    Returns:
        The frozen stages in order; none for 0.

    Raises:
        TransferError: if the stage does not exist, or if the number is out of range; the head is always trained.
    """
    *freezable, head = names
    if isinstance(freeze, str):
        if freeze in freezable:
            return tuple(freezable[: freezable.index(freeze) + 1])
        if freeze.isdecimal() and int(freeze) <= len(freezable):
            return tuple(freezable[: int(freeze)])
    # bool is a subclass of int
    elif isinstance(freeze, int) and not isinstance(freeze, bool) and 0 <= freeze <= len(freezable):
        return tuple(freezable[:freeze])
    raise TransferError(
        f"freeze takes 0–{len(freezable)} or the name of the last frozen stage, not {freeze!r}; "
        f"the head, {head}, is always trained: {did_you_mean(str(freeze), freezable)}"
    )


def refuse_unknown_stages(fresh: Sequence[str], existing: Sequence[str]) -> None:
    """Raise a TransferError if a stage in ``fresh`` does not exist; the existing ones are listed."""
    for stage in fresh:
        if stage not in existing:
            raise TransferError(f"fresh: no stage is called '{stage}': {did_you_mean(stage, existing)}")
