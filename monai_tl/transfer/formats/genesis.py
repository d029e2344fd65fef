"""Models Genesis: a U-Net whose normalisation has no inference mode; described, since no network here computes the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from monai_tl.transfer.formats.accounted import refuse_mismatches
from monai_tl.transfer.formats.family import Expected, Family, Opened, Reading
from monai_tl.transfer.formats.unwrapping import state_dict_of, unwrapped, without_wrappers
from monai_tl.transfer.tensors import COUNTER, Weights

FIRST = "down_tr64.ops.0.conv1.weight"
WIDTHS = {"down_tr64": 32, "down_tr128": 64, "down_tr256": 128, "down_tr512": 256}
UP = {"up_tr256": 512, "up_tr128": 256, "up_tr64": 128}
HEAD = "out_tr.final_conv"
CONTINUOUS_NORM = (
    "its U-Net normalises by the statistics of each batch, also in inference, and changes its buffers there: no network of "
    "MONAI does, and a network with ordinary BatchNorm is another function, so that none is built for it"
)
IMAGES = "its images are scaled to 0…1; the network ends in a sigmoid of its own"
LICENCE = "non-commercial, Arizona State University (published weights of Models Genesis)"


def _is_genesis(opened: Opened) -> bool:
    return FIRST in without_wrappers(state_dict_of(opened.content))


def _read_genesis(opened: Opened) -> Reading:
    stored, notes = unwrapped(opened.content, opened.path)
    weights = without_wrappers(stored)
    head = f"{HEAD}.weight" in weights
    account_for_genesis(weights, opened.path, "Models Genesis", head=head)
    facts = Expected(modalities=("CT",)) if weights[FIRST].shape[1] == 1 else None
    return Reading(weights, None, facts, LICENCE, () if head else ("head",), tuple(notes), (CONTINUOUS_NORM, IMAGES))


def account_for_genesis(weights: Weights, path: Path, what: str, *, head: bool) -> None:
    """Check that a file's weights are all those of the U-Net of Models Genesis, by name and shape.

    Args:
        weights: the weights, with its names.
        path: the file, for messages.
        what: what the file is taken for.
        head: whether the file holds a head.

    Raises:
        TransferError: for weights that are missing or left over, or have another shape, each by name.
    """
    first = weights.get(FIRST)
    expected = dict(_shapes(1 if first is None else first.shape[1]))
    if head:
        outputs = weights[f"{HEAD}.weight"].shape[0] if f"{HEAD}.weight" in weights else 1
        expected |= {f"{HEAD}.weight": (outputs, 64, 1, 1, 1), f"{HEAD}.bias": (outputs,)}
    refuse_mismatches(weights, expected, path, what)


def _shapes(inputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the weights of the U-Net without its head: two convolutions with normalisation at each resolution."""
    before = inputs
    for name, width in WIDTHS.items():
        yield from _convolution(f"{name}.ops.0", before, width)
        yield from _convolution(f"{name}.ops.1", width, 2 * width)
        before = 2 * width
    for name, channels in UP.items():
        yield f"{name}.up_conv.weight", (channels, channels, 2, 2, 2)
        yield f"{name}.up_conv.bias", (channels,)
        yield from _convolution(f"{name}.ops.0", channels + channels // 2, channels // 2)
        yield from _convolution(f"{name}.ops.1", channels // 2, channels // 2)


def _convolution(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.conv1.weight", (outputs, inputs, 3, 3, 3)
    yield from ((f"{name}.{part}", (outputs,)) for part in ("conv1.bias", "bn1.weight", "bn1.bias"))
    yield from ((f"{name}.bn1.{part}", (outputs,)) for part in ("running_mean", "running_var"))
    yield f"{name}.bn1{COUNTER}", ()


GENESIS = Family("Models Genesis", _is_genesis, _read_genesis)
"""Zhou et al.: ``down_tr64`` to ``up_tr64``, with ContBatchNorm3d."""
