"""Make the tensors of a file those that a network takes: finite numbers, its names, its number formats; each change is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from monai_tl.errors import TransferError
from monai_tl.networks.highres3dnet import own_names

Weights = Mapping[str, Tensor]
COUNTER = ".num_batches_tracked"  # of BatchNorm; with a fixed momentum no part of what it computes


def refuse_odd_tensors(weights: Weights, path: Path) -> None:
    """Refuse tensors that hold no plain numbers, and those that hold NaN or infinite ones.

    Raises:
        TransferError: with their names.
    """
    kinds = (
        ("are empty", lambda value: value.numel() == 0),
        (
            "are quantised, sparse or without values",
            lambda value: value.is_quantized or value.layout != torch.strided or value.is_meta,
        ),
        ("are complex", lambda value: value.is_complex()),
    )
    for told, is_odd in kinds:
        odd = [name for name, value in weights.items() if is_odd(value)]
        if odd:
            raise TransferError(
                f"source '{path}' holds weights that {told}: {name_first(odd)}; save them as plain floating-point tensors"
            )
    broken = {name: count_non_finite(value) for name, value in weights.items()}
    lines = [f"{name} ({count} of {weights[name].numel()})" for name, count in broken.items() if count]
    if lines:
        raise TransferError(
            f"source '{path}' holds NaN or infinite values in {name_first(lines)}: the training that saved it had diverged, or "
            "the file is damaged; use an earlier checkpoint or another source"
        )
    negative = [name for name, value in weights.items() if name.endswith("running_var") and bool((value < 0).any())]
    if negative:
        raise TransferError(
            f"source '{path}' holds variances below 0, which would make NaN of every image: {name_first(negative)}"
        )


def count_non_finite(value: Tensor) -> int:
    """Count the NaN and infinite values of a tensor of any format."""
    if not value.is_floating_point() and not value.is_complex():
        return 0
    wide = value.float() if value.element_size() == 1 else value  # 8-bit formats know no isfinite
    return int((~torch.isfinite(wide)).sum())


def fitted(weights: Weights, network: Weights, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Give weights the names and number formats of a network, as far as the network has them; shapes are left alone.

    Args:
        weights: of a file.
        network: state dict that is to take them.
        path: of the file, for messages.

    Returns:
        The weights, and what was done to them in a line each.

    Raises:
        TransferError: if two prefixes fit alike, or a weight cannot be converted to the network's format.
    """
    prefix = _prefix(weights, network, path)
    own = own_names({name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)})
    own |= {name: value for name, value in weights.items() if not name.startswith(prefix)}
    notes = [f"names are taken without their prefix '{prefix}'"] if prefix else []
    converted, told = _converted(own, network, path)
    counters = [
        name
        for name in network
        if name.endswith(COUNTER) and name not in converted and name.replace(COUNTER, ".running_mean") in converted
    ]
    if counters:
        told.append(f"{len(counters)} counters of BatchNorm (num_batches_tracked) are not in the file and begin at 0")
    return converted | {name: torch.zeros_like(network[name]) for name in counters}, [*notes, *told]


def _prefix(weights: Weights, network: Weights, path: Path) -> str:
    """Find what stands before the network's names: the prefix under which most of them are found, none where none is.

    Raises:
        TransferError: if the network's names are there twice.
    """
    prefixes = {""} | {name[: at + 1] for name in weights for at, letter in enumerate(name) if letter == "."}
    fits = {
        prefix: len(
            own_names({name[len(prefix) :]: one for name, one in weights.items() if name.startswith(prefix)}).keys() & network
        )
        for prefix in prefixes
    }
    most = max(fits.values())
    best = sorted((prefix for prefix, count in fits.items() if count == most), key=lambda prefix: (len(prefix), prefix))
    if not most:
        return ""
    if len(best) > 1:
        told = " and ".join(f"'{prefix}'" for prefix in best)
        raise TransferError(f"source '{path}' holds the weights under {told}, and either may be meant: save one alone")
    return best[0]


def _converted(weights: Weights, network: Weights, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Convert each weight that the network has to the network's number format.

    Raises:
        TransferError: for integers or truth values where the network has fractions, for fractions where it counts, and for
            numbers that are too large for its format.
    """
    made, how, wrong = dict(weights), Counter[str](), list[str]()
    for name in weights.keys() & network.keys():
        value, wanted = weights[name], network[name].dtype
        if value.dtype == wanted:
            continue
        made[name] = value.to(wanted)
        if wanted.is_floating_point != value.is_floating_point() and not (
            wanted == torch.int64 and bool((made[name] == value).all())
        ):
            wrong.append(f"{name} ({_kind(value.dtype)})")
        elif count_non_finite(made[name]):
            wrong.append(f"{name} ({_kind(value.dtype)}, beyond what {_kind(wanted)} holds)")
        how[f"from {_kind(value.dtype)} to {_kind(wanted)}"] += 1
    if wrong:
        raise TransferError(
            f"source '{path}' holds weights of another kind than the network's: {name_first(sorted(wrong))}; save them as "
            "floating-point numbers"
        )
    return made, [f"{count} weights converted {told}" for told, count in how.items()]


def _kind(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def name_first(names: Sequence[str], most: int = 3) -> str:
    """List the first of some names, and say how many there are."""
    more = f", … ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more
