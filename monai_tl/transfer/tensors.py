"""Check the tensors of a weights file and fit their names and number formats to a network; each change is noted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from monai_tl.errors import TransferError
from monai_tl.networks.highres3dnet import names_as_in, own_names

Weights = Mapping[str, Tensor]
COUNTER = ".num_batches_tracked"  # of BatchNorm; has no effect on its output if momentum is fixed


def refuse_odd_tensors(weights: Weights, path: Path) -> None:
    """Refuse tensors that are not plain numbers, or that hold NaN or infinite values.

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
    for fault, is_odd in kinds:
        odd = [name for name, value in weights.items() if is_odd(value)]
        if odd:
            raise TransferError(
                f"source '{path}' holds weights that {fault}: {name_first(odd)}; save them as plain floating-point tensors"
            )
    broken = {name: count_non_finite(value) for name, value in weights.items()}
    lines = [f"{name} ({count} of {weights[name].numel()})" for name, count in broken.items() if count]
    if lines:
        raise TransferError(
            f"source '{path}' holds NaN or infinite values in {name_first(lines)}: the training diverged before it was saved, "
            "or the file is damaged; use an earlier checkpoint or another source"
        )
    negative = [name for name, value in weights.items() if name.endswith("running_var") and bool((value < 0).any())]
    if negative:
        raise TransferError(
            f"source '{path}' holds variances below 0, which would turn every output into NaN: {name_first(negative)}"
        )


def count_non_finite(value: Tensor) -> int:
    """Return the number of NaN and infinite values in a tensor of any format."""
    if not value.is_floating_point() and not value.is_complex():
        return 0
    wide = value.float() if value.element_size() == 1 else value  # isfinite does not support 8-bit formats
    return int((~torch.isfinite(wide)).sum())


def fitted(weights: Weights, network: Weights, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Convert weights to the names and number formats of a network; shapes and unknown weights stay as they are.

    Args:
        weights: the weights of a file.
        network: state dict of the network that will load them.
        path: the file, for messages.

    Returns:
        The weights, and a line for each change.

    Raises:
        TransferError: if two prefixes fit equally well, or a weight cannot be converted to the network's format.
    """
    prefix = _prefix(weights, network, path)
    own = names_as_in(network, {name.removeprefix(prefix): one for name, one in weights.items() if name.startswith(prefix)})
    own |= {name: value for name, value in weights.items() if not name.startswith(prefix)}
    notes = [f"the prefix '{prefix}' is removed from the names"] if prefix else []
    converted, conversions = _converted(own, network, path)
    counters = [
        name
        for name in network
        if name.endswith(COUNTER) and name not in converted and name.replace(COUNTER, ".running_mean") in converted
    ]
    if counters:
        conversions.append(f"{len(counters)} BatchNorm counters (num_batches_tracked) are not in the file and start at 0")
    return converted | {name: torch.zeros_like(network[name]) for name in counters}, [*notes, *conversions]


def _prefix(weights: Weights, network: Weights, path: Path) -> str:
    """Return the prefix under which most of the network's names are found; empty if none is found.

    Raises:
        TransferError: if the network's names are found under two prefixes equally often.
    """
    prefixes = {""} | {name[: at + 1] for name in weights for at, letter in enumerate(name) if letter == "."}
    fits = {
        prefix: len(
            own_names({name[len(prefix) :]: value for name, value in weights.items() if name.startswith(prefix)}).keys()
            & own_names(network).keys()
        )
        for prefix in prefixes
    }
    most = max(fits.values())
    best = sorted((prefix for prefix, count in fits.items() if count == most), key=lambda prefix: (len(prefix), prefix))
    if not most:
        return ""
    if len(best) > 1:
        listed = " and ".join(f"'{prefix}'" for prefix in best)
        raise TransferError(f"source '{path}' holds weights under {listed}, and either may be meant: save only one")
    return best[0]


def _converted(weights: Weights, network: Weights, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Convert the network's weights to the network's number formats.

    Raises:
        TransferError: for integers or booleans where the network has floating-point numbers, for floating-point numbers where
            it has integers, and for values too large for the network's format.
    """
    converted, how, wrong = dict(weights), Counter[str](), list[str]()
    for name in weights.keys() & network.keys():
        value, wanted = weights[name], network[name].dtype
        if value.dtype == wanted:
            continue
        converted[name] = value.to(wanted)
        if wanted.is_floating_point != value.is_floating_point() and not (
            wanted == torch.int64 and bool((converted[name] == value).all())
        ):
            wrong.append(f"{name} ({_kind(value.dtype)})")
        elif count_non_finite(converted[name]):
            wrong.append(f"{name} ({_kind(value.dtype)}, beyond what {_kind(wanted)} holds)")
        how[f"from {_kind(value.dtype)} to {_kind(wanted)}"] += 1
    if wrong:
        raise TransferError(
            f"source '{path}' holds weights that cannot be converted to the network's number formats: "
            f"{name_first(sorted(wrong))}; save them as floating-point numbers"
        )
    return converted, [f"{count} weights converted {formats}" for formats, count in how.items()]


def _kind(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def name_first(names: Sequence[str], most: int = 3) -> str:
    """Return the first names, followed by their total number if there are more."""
    more = f", … ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more
