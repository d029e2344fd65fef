"""MedicalNet's published ResNets: an encoder whose function MONAI's ResNet of the same names does not have."""

from __future__ import annotations

import re
from collections.abc import Collection

from monai_tl.errors import TransferError
from monai_tl.networks.dilated_resnet import DEPTHS
from monai_tl.networks.network_spec import NetworkSpec
from monai_tl.networks.outline import outline
from monai_tl.transfer.formats.accounted import accounted
from monai_tl.transfer.formats.family import Family, Opened, Reading
from monai_tl.transfer.formats.unwrapping import state_dict_of, unwrapped, without_wrappers
from monai_tl.transfer.tensors import Weights

STEM = "conv1.weight"
IMAGES = (
    "its images were normalised by mean and deviation of the voxels above 0, with noise in the others; zscore_nonzero comes "
    "nearest"
)
FUNCTION = (
    "MONAI's ResNet and FlexibleUNet have weights of the same names, but other strides and no dilation, and so another "
    "function: use the network MedicalNet"
)


def _is_medicalnet(opened: Opened) -> bool:
    """Return whether a file holds a 3D ResNet as MedicalNet's; MONAI's own have a classifier or shortcuts with biases."""
    weights = without_wrappers(state_dict_of(opened.content))
    kernel = weights.get(STEM)
    if kernel is None or kernel.shape[2:] != (7, 7, 7) or "layer1.0.conv1.weight" not in weights:
        return False
    return not any(name.startswith("fc.") or name.endswith("downsample.0.bias") for name in weights)


def _read_medicalnet(opened: Opened) -> Reading:
    stored, notes = unwrapped(opened.content, opened.path)
    weights = without_wrappers(stored)
    spec = NetworkSpec("MedicalNet", {"depth": _depth(weights, opened), "shortcut": _shortcut(weights)})
    head = weights.get("conv_seg.6.weight")
    network = outline(spec, weights[STEM].shape[1], 2 if head is None else head.shape[0])
    lacks = accounted(weights, network, opened.path, str(spec), absent=() if "conv_seg.0.weight" in weights else ("conv_seg.",))
    licence = "MIT (published weights of MedicalNet)" if lacks else None
    return Reading(weights, spec, None, licence, lacks, tuple(notes), (FUNCTION, IMAGES))


def _depth(weights: Weights, opened: Opened) -> int:
    """Return the number of layers, from the numbers of blocks and their kind."""
    blocks = [_count(weights, f"layer{stage}") for stage in (1, 2, 3, 4)]
    kind = "bottleneck" if "layer1.0.conv3.weight" in weights else "basic"
    depth = next((depth for depth, made in DEPTHS.items() if made == (kind, blocks)), None)
    if depth is None:
        known = "; ".join(f"{depth}: {kind} {blocks}" for depth, (kind, blocks) in DEPTHS.items())
        raise TransferError(
            f"source '{opened.path}' is taken for MedicalNet, but has {kind} blocks {blocks} in layer1 to layer4; there are "
            f"{known}"
        )
    return depth


def _count(names: Collection[str], layer: str) -> int:
    return len({match[1] for name in names if (match := re.match(rf"{layer}\.(\d+)\.", name))})


def _shortcut(weights: Weights) -> str:
    return "B" if "layer2.0.downsample.0.weight" in weights else "A"


MEDICALNET = Family("MedicalNet", _is_medicalnet, _read_medicalnet)
"""Its published files hold no head (``conv_seg``)."""
