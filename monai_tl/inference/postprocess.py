"""From logits to a foreground, and from an image to the part worth looking at."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_tl.errors import DataError


def foreground_probability(logits: Tensor) -> Tensor:
    """Give the probability of the last of two classes: ``(2, i, j, k)`` logits to ``(1, i, j, k)``, 0 to 1.

    Raises:
        DataError: if it is not a number somewhere: cut at a level, that would pass for background.
    """
    probability = torch.softmax(logits, dim=0)[1:]
    undefined = int(probability.numel() - torch.isfinite(probability).sum())
    if undefined:
        raise DataError(
            f"the network's answer is not a number in {undefined} of {probability.numel()} voxels: its training diverged "
            "(a lower learning rate may help), its weights are damaged, or float32 is needed (--precision float32)"
        )
    return probability


def not_background(image: Tensor) -> Tensor:
    """Tell a skull-stripped head from the constant around it: its value is that of a corner, (channel, i, j, k), z-scores."""
    return (image - image[:, :1, :1, :1]).abs() > 1e-3  # resampling a constant rounds it
