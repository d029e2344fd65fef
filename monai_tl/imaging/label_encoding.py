"""Label values as the targets of a network: an index of classes that exclude each other, or a mask per region."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.transforms.utils import map_classes_to_indices
from numpy.typing import NDArray
from torch import Tensor

from monai_tl.errors import ConfigError

IGNORED = -1  # in an encoded label: the voxel counts nowhere


class EncodeLabeld(MapTransform):
    """Replace label values by what a network learns; voxels with an ignored value become -1.

    Args:
        keys: keys of labels (1, i, j, k) with the values of the user's files.
        regions: name -> label values, in the order of the network's classes.
        masks: True gives one mask of 0 and 1 per region, (region, i, j, k); False gives the index of the region, counted from
            1, or 0 for the background, (1, i, j, k), which needs regions that do not overlap.
        ignore: label values of voxels that count nowhere.

    Example:
        >>> import torch
        >>> from monai_tl.imaging.label_encoding import EncodeLabeld
        >>> label = torch.tensor([0, 1, 2, 4, 255]).reshape(1, 5, 1, 1)
        >>> encode = EncodeLabeld("label", {"core": [1, 4], "whole": [1, 2, 4]}, masks=True, ignore=[255])
        >>> encode({"label": label})["label"].flatten(1).tolist()
        [[0, 1, 0, 1, -1], [0, 1, 1, 1, -1]]
    """

    def __init__(
        self, keys: KeysCollection, regions: Mapping[str, Sequence[int]], *, masks: bool = False, ignore: Sequence[int] = ()
    ) -> None:
        """Keep the settings."""
        super().__init__(keys)
        self.regions, self.masks, self.ignore = dict(regions), masks, list(ignore)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Encode the labels of one case."""
        case = dict(data)
        for key in self.keys:
            case[key] = self._encoded(case[key])
        return case

    def _encoded(self, label: Tensor) -> Tensor:
        inside = [torch.isin(label, torch.as_tensor(list(values), dtype=label.dtype)) for values in self.regions.values()]
        kind = torch.int8 if len(inside) < 128 else torch.int16  # cached for every case, so as small as possible
        if self.masks:
            encoded = torch.cat([mask.to(kind) for mask in inside])
        else:
            encoded = torch.zeros(label.shape, dtype=kind)
            for at, mask in enumerate(inside, 1):
                encoded[mask] = at
        if self.ignore:
            encoded[torch.isin(label, torch.as_tensor(self.ignore, dtype=label.dtype)).expand_as(encoded)] = IGNORED
        if isinstance(label, MetaTensor):
            return MetaTensor(encoded.as_subclass(Tensor), meta=label.meta, applied_operations=label.applied_operations)
        return encoded


class ClassIndicesd(MapTransform):
    """Store the voxels of the background and of each region, for ``RandCropByLabelClassesd``, under ``KEY_cls_indices``.

    Args:
        keys: keys of labels as `EncodeLabeld` gives them.
        classes: number of regions and the background.
        max_samples_per_class: at most so many voxels of each class are kept, evenly spaced.
    """

    def __init__(self, keys: KeysCollection, classes: int, max_samples_per_class: int | None = None) -> None:
        """Keep the settings."""
        super().__init__(keys)
        self.classes, self.most = classes, max_samples_per_class

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the indices of one case."""
        case = dict(data)
        for key in self.keys:
            case[f"{key}_cls_indices"] = self._indices(case[key])
        return case

    def _indices(self, label: Tensor) -> list[NDArray[np.int64]]:
        if label.shape[0] == 1:
            return map_classes_to_indices(label, self.classes, max_samples_per_class=self.most)  # type: ignore[return-value]
        background = (label == 0).all(dim=0, keepdim=True)
        return map_classes_to_indices(  # type: ignore[return-value]
            torch.cat([background.float(), (label > 0).float()]), max_samples_per_class=self.most
        )


def sampling_ratios(ratios: Sequence[float], regions: Mapping[str, Any]) -> list[float]:
    """Return how often a patch is centred on the background and on each region.

    Args:
        ratios: background and foreground, whose share is divided equally among the regions; or background and each region.
        regions: by name.

    Raises:
        ConfigError: for another number of ratios.

    Example:
        >>> from monai_tl.imaging.label_encoding import sampling_ratios
        >>> sampling_ratios([1, 1], {"anterior": (1,), "posterior": (2,)})
        [1.0, 0.5, 0.5]
    """
    background, *foreground = map(float, ratios)
    if len(foreground) == len(regions):
        return [background, *foreground]
    if len(foreground) > 1:
        takes = f"for background and foreground, or {1 + len(regions)}, for background, {', '.join(regions)}"
        raise ConfigError(f"class_ratios takes two numbers, {takes}; got {list(ratios)}")
    return [background, *(foreground[0] / len(regions) for _ in regions)]
