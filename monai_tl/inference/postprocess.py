"""Convert logits to probabilities and masks of regions, and find the part of an image that is not background."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch import Tensor

from monai_tl.errors import DataError


def region_probabilities(softmax: bool) -> Callable[[Tensor], Tensor]:
    """Return a function from the logits of one case to the probability of each region.

    Args:
        softmax: True: (1 + region, i, j, k) logits, background first, of classes that exclude each other; False: (region, i,
            j, k) logits, each with its own sigmoid.

    Raises:
        DataError: by the function, if a logit is NaN or infinite in any voxel, which a threshold would turn into background or
            into a region.

    Example:
        >>> import torch
        >>> from monai_tl.inference.postprocess import region_probabilities
        >>> logits = torch.zeros(3, 1, 1, 1)
        >>> region_probabilities(softmax=False)(logits).flatten().tolist()
        [0.5, 0.5, 0.5]
        >>> region_probabilities(softmax=True)(logits).shape
        torch.Size([2, 1, 1, 1])
    """
    return partial(_probabilities, softmax=softmax)


def _probabilities(logits: Tensor, softmax: bool) -> Tensor:
    defined = torch.isfinite(logits).all(dim=0)
    if undefined := int(defined.numel() - defined.sum()):
        raise DataError(
            f"the network's output is not a number in {undefined} of {defined.numel()} voxels: its training diverged "
            "(a lower learning rate may help), its weights are damaged, or float32 is needed (--precision float32)"
        )
    return torch.softmax(logits, dim=0)[1:] if softmax else torch.sigmoid(logits)


def choose_regions(probability: Tensor, softmax: bool) -> Tensor:
    """Return the mask of each region, 0 or 1, from probabilities (region, i, j, k).

    One region, or one with a sigmoid of its own, is where its probability is at least 0.5. Of several that exclude each other,
    the background included, the most probable one is chosen.

    Example:
        >>> import torch
        >>> from monai_tl.inference.postprocess import choose_regions
        >>> probability = torch.tensor([[0.4], [0.35]]).reshape(2, 1, 1, 1)  # and 0.25 for the background
        >>> choose_regions(probability, softmax=True).flatten().tolist()
        [1.0, 0.0]
    """
    if not softmax or len(probability) == 1:
        return (probability >= 0.5).to(probability.dtype)
    chosen = torch.cat([1 - probability.sum(dim=0, keepdim=True), probability]).argmax(dim=0)
    masks = [(chosen == at).to(probability.dtype) for at in range(1, 1 + len(probability))]
    return torch.stack(masks)


class ChooseRegionsd(MapTransform):
    """Replace probabilities (region, i, j, k) by masks, as `choose_regions`; the metadata are kept."""

    def __init__(self, keys: KeysCollection, softmax: bool) -> None:
        """Keep the settings."""
        super().__init__(keys)
        self.softmax = softmax

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Choose the regions of one case."""
        return {**data, **{key: choose_regions(data[key], self.softmax) for key in self.keys}}


def not_background(image: Tensor) -> Tensor:
    """Return where a normalised image (channel, i, j, k) differs from its background, the value of its corner.

    A difference counts from 1/1000, or 1/50 of a channel's standard deviation where that is less, as in an image that is scaled
    to 0 to 1 and has a few very bright voxels; rounding in resampling, which changes a constant, never counts.
    """
    corner = image[:, :1, :1, :1]
    spread = image.flatten(1).std(dim=1, correction=0).reshape(corner.shape)
    return (image - corner).abs() > (spread / 50).clamp(max=1e-3).maximum(1e-5 * corner.abs())
