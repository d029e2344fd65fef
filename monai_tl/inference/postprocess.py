"""Convert logits to a foreground probability, and find the part of an image that is not background."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_tl.errors import DataError


def foreground_probability(logits: Tensor) -> Tensor:
    """Return the probability of the second class: ``(2, i, j, k)`` logits to ``(1, i, j, k)``, 0 to 1.

    Raises:
        DataError: if it is NaN or infinite in any voxel, which thresholding would turn into background.
    """
    probability = torch.softmax(logits, dim=0)[1:]
    undefined = int(probability.numel() - torch.isfinite(probability).sum())
    if undefined:
        raise DataError(
            f"the network's output is not a number in {undefined} of {probability.numel()} voxels: its training diverged "
            "(a lower learning rate may help), its weights are damaged, or float32 is needed (--precision float32)"
        )
    return probability


def not_background(image: Tensor) -> Tensor:
    """Return where a z-scored, skull-stripped image (channel, i, j, k) differs from its background, the value of its corner."""
    return (image - image[:, :1, :1, :1]).abs() > 1e-3  # resampling changes a constant by rounding
