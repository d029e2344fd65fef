"""The metrics that a prediction is scored by: what each is called, its unit, its range, and when it is undefined."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
    compute_panoptic_quality,
    compute_surface_dice,
)
from monai.transforms import generate_spatial_bounding_box
from scipy import ndimage
from torch import Tensor

from monai_tl.errors import ConfigError, did_you_mean
from monai_tl.statistics.measure import BY_DICE, Measure

LESION_IOU = 0.1  # as in nnDetection (Baumgartner et al. 2021), for structures whose outlines are uncertain
TOUCHING = np.ones((3, 3, 3))  # voxels that share a face, an edge or a corner are of one lesion


@dataclass(frozen=True)
class MaskPair:
    """A prediction and its reference, boolean masks of shape (i, j, k) on one grid.

    Attributes:
        prediction, reference: the masks.
        spacing: voxel size in mm along i, j, k.
        tolerance_mm: deviation of a surface that counts as none, for the normalised surface Dice.
    """

    prediction: Tensor
    reference: Tensor
    spacing: tuple[float, ...]
    tolerance_mm: float = 1.0

    @property
    def batch(self) -> tuple[Tensor, Tensor]:
        """Prediction and reference, each of shape (1, 1, i, j, k), as MONAI's metrics take them."""
        return self.prediction[None, None], self.reference[None, None]

    @property
    def volumes_ml(self) -> tuple[float, float]:
        """Volume of the prediction and of the reference, in ml."""
        voxel = math.prod(self.spacing) / 1000
        return int(self.prediction.sum()) * voxel, int(self.reference.sum()) * voxel


@dataclass(frozen=True)
class Metric(Measure):
    """A metric: what it measures, and how it is computed.

    Attributes:
        needs: which masks must not be empty: ``one`` of them, ``both``, the ``reference``, the ``prediction`` or ``none``.
        compute: the value of a pair that fulfils ``needs``.

    Example:
        >>> from monai_tl.evaluation.metrics import METRICS
        >>> hd95 = METRICS["hd95"]
        >>> hd95.label, hd95.unit, hd95.higher_is_better
        ('95 % Hausdorff distance', 'mm', False)
    """

    needs: str
    compute: Callable[[MaskPair], float]

    def __call__(self, pair: MaskPair) -> float:
        """Return the value of a pair of masks; NaN if it is undefined."""
        return math.nan if self.why_undefined(*pair.volumes_ml) else self.compute(pair)

    def why_undefined(self, prediction_ml: float, reference_ml: float) -> str:
        """Return why the metric is undefined for masks of these volumes; empty if it is defined."""
        empty = {"prediction": not prediction_ml, "reference": not reference_ml}
        met = {"one": not all(empty.values()), "both": not any(empty.values()), "none": True}
        if met.get(self.needs, not empty.get(self.needs, False)):
            return ""
        return f"{' and '.join(name for name, is_empty in empty.items() if is_empty)} empty"

    @property
    def undefined_if(self) -> str:
        """When a value is undefined: ``"reference and prediction empty"``, ``"never"``."""
        which = {"one": "reference and prediction empty", "both": "reference or prediction empty", "none": "never"}
        return which.get(self.needs, f"{self.needs} empty")


def _dice(pair: MaskPair) -> float:
    return float(compute_dice(*pair.batch, ignore_empty=False))  # True: NaN for a prediction against an empty reference


def _hd95(pair: MaskPair) -> float:
    return float(compute_hausdorff_distance(*pair.batch, include_background=True, percentile=95, spacing=list(pair.spacing)))


def _nsd(pair: MaskPair) -> float:
    if not all(pair.volumes_ml):
        return 0.0  # as MONAI returns, with a warning
    spacing, tolerance = list(pair.spacing), [pair.tolerance_mm]
    return float(compute_surface_dice(*pair.batch, tolerance, include_background=True, spacing=spacing, use_subvoxels=True))


def _asd(pair: MaskPair) -> float:
    spacing = list(pair.spacing)
    return float(compute_average_surface_distance(*pair.batch, include_background=True, symmetric=True, spacing=spacing))


def _volume_error(pair: MaskPair) -> float:
    prediction, reference = pair.volumes_ml
    return abs(prediction - reference)


def _relative_volume_error(pair: MaskPair) -> float:
    return _volume_error(pair) / pair.volumes_ml[1]


def _sensitivity(pair: MaskPair) -> float:
    return int((pair.prediction & pair.reference).sum()) / int(pair.reference.sum())


def _precision(pair: MaskPair) -> float:
    return int((pair.prediction & pair.reference).sum()) / int(pair.prediction.sum())


def _lesion_f1(pair: MaskPair) -> float:
    start, end = generate_spatial_bounding_box((pair.prediction | pair.reference)[None])
    box = tuple(slice(low, high) for low, high in zip(start, end, strict=True))
    lesions = [torch.from_numpy(ndimage.label(mask[box], TOUCHING)[0]) for mask in (pair.prediction, pair.reference)]
    predicted, true = lesions
    counts = compute_panoptic_quality(predicted, true, match_iou_threshold=LESION_IOU, output_confusion_matrix=True)
    found, false, missed, _ = counts.tolist()
    return float(2 * found / (2 * found + false + missed))


METRICS = {
    metric.name: metric
    for metric in (
        Metric(**vars(BY_DICE), needs="one", compute=_dice),
        Metric("hd95", "95 % Hausdorff distance", "mm", False, math.inf, "both", _hd95),
        Metric("nsd", "normalised surface Dice", "", True, 1, "one", _nsd),
        Metric("asd", "average surface distance", "mm", False, math.inf, "both", _asd),
        Metric("volume_error", "absolute volume error", "ml", False, math.inf, "none", _volume_error),
        Metric("relative_volume_error", "relative volume error", "", False, math.inf, "reference", _relative_volume_error),
        Metric("sensitivity", "sensitivity", "", True, 1, "reference", _sensitivity),
        Metric("precision", "precision", "", True, 1, "prediction", _precision),
        Metric("lesion_f1", "lesion-wise F1", "", True, 1, "one", _lesion_f1),
    )
}
"""The metrics by name.

- ``dice``: overlap of the voxels; 0 if only one mask is empty.
- ``hd95``: distance between the centres of surface voxels, the larger of the two directed 95th percentiles (prediction to
  reference, reference to prediction), not the percentile of both together.
- ``nsd``: share of both surfaces, by area, that is within the tolerance of the other one (Nikolov et al. 2021); 0 if only one
  mask is empty.
- ``asd``: mean distance of the surface voxels of both masks to the other surface.
- ``volume_error``: absolute difference of the volumes; ``relative_volume_error``: divided by the reference volume.
- ``sensitivity``, ``precision``: share of the reference that is predicted, and of the prediction that is right.
- ``lesion_f1``: lesions are connected components (26 neighbours); a predicted and a true one match, one to one, if their
  intersection over union is above 0.1.
"""
DEFAULT_METRICS = ("dice", "hd95")


def find_metrics(names: Sequence[str]) -> list[Metric]:
    """Return metrics by name; Dice is always among them, and first.

    Raises:
        ConfigError: if there is no such metric; the nearest one is named.
    """
    for name in names:
        if name not in METRICS:
            raise ConfigError(f"unknown metric '{name}': {did_you_mean(name, METRICS)}")
    return [METRICS[name] for name in dict.fromkeys(("dice", *names))]
