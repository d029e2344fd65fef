"""Names and axes of nnU-Net's weights: one name per tensor, kernels along i, j, k."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from monai_tl.errors import TransferError
from monai_tl.transfer.tensors import Weights, name_first

UNTRANSPOSED = (0, 1, 2)  # nnU-Net's transpose_forward where no plans state another one
ALL_MODULES = re.compile(r"\.all_modules\.(\d+)\.")


def one_name_each(weights: Weights, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Keep one of the up to four names under which nnU-Net's networks list a tensor, and a note on it.

    ``encoder.X.conv.weight`` is also ``encoder.X.all_modules.0.weight``, and both again after ``decoder.``.

    Raises:
        TransferError: if two names of one tensor have different values, of which ``load_state_dict`` would take the last.
    """
    kept: dict[str, Tensor] = {}
    differing = []
    for name, value in weights.items():
        own = _own_name(name)
        if own in kept and not (kept[own].shape == value.shape and torch.equal(kept[own], value)):
            differing.append(f"{own} and {name}")
        kept.setdefault(own, value)
    if differing:
        raise TransferError(
            f"source '{path}' holds different values for one tensor of nnU-Net's network under several names: "
            f"{name_first(differing)}; the file was edited or is damaged: save the network's state_dict again"
        )
    more = len(weights) - len(kept)
    return kept, [f"{more} further names of the same tensors (all_modules, decoder.encoder) are omitted"] if more else []


def _own_name(name: str) -> str:
    name = name.removeprefix("decoder.") if name.startswith("decoder.encoder.") else name
    return ALL_MODULES.sub(lambda found: ".conv." if found[1] == "0" else ".norm.", name)


def axis_order(transpose_forward: Sequence[int]) -> tuple[int, int, int]:
    """Return for each voxel axis i, j, k of an image the axis of nnU-Net's arrays that it becomes.

    nnU-Net reads an image as (k, j, i) and then transposes it by ``transpose_forward``.

    Example:
        >>> from monai_tl.transfer.formats.nnunet_names import axis_order
        >>> axis_order([0, 1, 2])
        (2, 1, 0)
    """
    first, second, third = (list(transpose_forward).index(2 - axis) for axis in range(3))
    return first, second, third


def along_ijk(weights: Weights, transpose_forward: Sequence[int]) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights with each kernel's axes in the order (out, in, i, j, k), and a note on it."""
    order = axis_order(transpose_forward)
    axes = (0, 1, *(2 + axis for axis in order))
    turned = {name: value.permute(axes).contiguous() if value.ndim == 5 else value for name, value in weights.items()}
    forward = ",".join(map(str, transpose_forward))
    note = f"kernels are transposed from nnU-Net's axes (k, j, i, then transpose_forward {forward}) to i, j, k"
    return turned, [note] if any(value.ndim == 5 for value in weights.values()) else []


def reordered(settings: Mapping[str, Any], transpose_forward: Sequence[int]) -> dict[str, Any]:
    """Return a network's settings with kernel sizes and strides along i, j, k."""
    order = axis_order(transpose_forward)

    def turn(value: Any) -> Any:
        return [value[axis] for axis in order] if isinstance(value, list | tuple) else value

    spatial = ("kernel_sizes", "strides")
    return {name: [turn(one) for one in value] if name in spatial and isinstance(value, list | tuple) else value
            for name, value in settings.items()}  # fmt: skip
