"""Account for every weight of a file: those that its network takes, those that it lacks, and those that are left over."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from monai_tl.errors import TransferError
from monai_tl.networks.stages import stage_weights, stages
from monai_tl.text import listed
from monai_tl.transfer.tensors import COUNTER, Weights, name_first


def accounted(
    weights: Weights, network: nn.Module, path: Path, what: str, *, absent: Sequence[str] = (), renamed: str = ""
) -> tuple[str, ...]:
    """Check that a file's weights are all those of a network, by name and shape, and return what the file lacks.

    Args:
        weights: the weights, with the network's names.
        network: see `monai_tl.networks.outline.outline`; only its names and shapes are read.
        path: the file, for messages.
        what: what the file is taken for, for messages, e.g. ``"MedicalNet (depth=18)"``.
        absent: beginnings of the names of weights that such a file does not hold.
        renamed: how names in messages differ from the file's, e.g. ``"block.0… renamed to conv_0…"``.

    Returns:
        Groups (``encoder``, ``decoder``, ``head``) and stages of which weights are absent.

    Raises:
        TransferError: for weights that are missing or left over, or have another shape, each by name.
    """
    refuse_mismatches(weights, all_shapes(network), path, f"{what}, {renamed}" if renamed else what, absent)
    return lacking(network, weights)


def refuse_mismatches(
    weights: Weights, expected: Mapping[str, tuple[int, ...]], path: Path, what: str, absent: Sequence[str] = ()
) -> None:
    """Refuse weights that are missing or left over, or have another shape than expected, each by name.

    Raises:
        TransferError: as described.
    """
    if found := mismatches(weights, expected, absent):
        raise TransferError(
            f"source '{path}' is taken for {what}, but {listed(found)}: it is damaged, or of another version; nothing is taken "
            "from it, as a part of the network would stay random"
        )


def all_shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight and buffer of a network, by name."""
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def mismatches(weights: Weights, expected: Mapping[str, tuple[int, ...]], absent: Sequence[str] = ()) -> list[str]:
    """Return in what weights differ from those of a network by name and shape, in words; empty if they fit."""
    missing = [
        name
        for name in expected
        if name not in weights and not name.startswith(tuple(absent)) and not _is_counter(name, weights)
    ]
    surplus = [name for name in weights if name not in expected]
    shapes = [
        f"{name} {tuple(value.shape)} instead of {expected[name]}"
        for name, value in weights.items()
        if name in expected and tuple(value.shape) != expected[name]
    ]
    found = [("lacks", missing), ("has besides", surplus), ("has another shape:", shapes)]
    return [f"{verb} {name_first(names)}" for verb, names in found if names]


def _is_counter(name: str, weights: Weights) -> bool:
    """Return whether a name is that of a BatchNorm counter, which has no effect and is not in old files."""
    return name.endswith(COUNTER) and name.replace(COUNTER, ".running_mean") in weights


def lacking(network: nn.Module, names: Collection[str]) -> tuple[str, ...]:
    """Return the stages that lack weights; a group of stages, ``encoder`` or ``decoder``, where that are all its stages."""
    found = stages(network)
    without = [
        stage
        for stage, own in stage_weights(network).items()
        if any(name not in names and not name.endswith(COUNTER) for name in own)
    ]
    for group, members in {"encoder": found.encoder, "decoder": found.decoder, "head": (found.head,)}.items():
        if members and set(members) <= set(without):
            at = without.index(members[0])
            without = [*without[:at], group, *(name for name in without[at:] if name not in members)]
    return tuple(without)


def without_prefixes(weights: Weights, prefixes: Sequence[str]) -> dict[str, Tensor]:
    """Return the weights without those of some prefixes that stand before every name, in any order."""
    while prefix := next((p for p in prefixes if weights and all(name.startswith(p) for name in weights)), ""):
        weights = {name[len(prefix) :]: value for name, value in weights.items()}
    return dict(weights)


def dropped(weights: Weights, parts: Sequence[str] | str, what: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the weights without those of some parts, and a note that names them.

    Args:
        weights: weights by name.
        parts: beginnings of the names of what is dropped, or a pattern of them.
        what: what that is, e.g. ``"heads of the pre-training"``.
    """
    pattern = parts if isinstance(parts, str) else "|".join(map(re.escape, parts))
    gone = [name for name in weights if re.match(pattern, name)]
    kept = {name: value for name, value in weights.items() if name not in gone}
    return kept, (f"{len(gone)} weights are not used: {what} ({name_first(gone)})",) if gone else ()
