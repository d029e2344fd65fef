"""How well a prediction agrees with its reference: one case's scores, and the mean over cases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance
from monai.utils import convert_to_tensor
from torch import Tensor

from monai_tl.errors import DataError


@dataclass(frozen=True)
class Score:
    """One case's agreement with its reference, on the case's own grid.

    ``dice`` is NaN if reference and prediction are both empty; ``hd95_mm`` (mm) is NaN if either is. Volumes are in ml,
    ``seconds`` is wall time.

    Example:
        >>> from monai_tl import Score
        >>> score = Score("IXI012", dice=0.85, hd95_mm=1.4, reference_ml=3.1, prediction_ml=2.9, seconds=0.6)
        >>> round(score.prediction_ml - score.reference_ml, 2)
        -0.2
    """

    subject: str
    dice: float
    hd95_mm: float
    reference_ml: float
    prediction_ml: float
    seconds: float


@dataclass(frozen=True)
class VolumeBias:
    """Mean over cases of predicted minus reference volume: Dice alone does not show whether too much or too little is found.

    Attributes:
        ml: in millilitres; NaN without a case.
        share: of the mean reference volume, 0.1 being 10 % too much; NaN where all references are empty.
    """

    ml: float
    share: float

    def __str__(self) -> str:
        """Write ``"+0.42 ml (+12 %)"``."""
        if math.isnan(self.ml):
            return "none"
        share = "" if math.isnan(self.share) else f" ({self.share:+.0%})".replace("%", " %")
        return f"{self.ml:+.2f} ml{share}".replace("-", "−")


@dataclass(frozen=True)
class Summary:
    """Dice over cases: ``mean`` and ``median`` are over the ``n - undefined`` cases that have one, NaN if none has.

    ``misses`` counts the cases with Dice 0 although the reference is not empty. ``bias`` is over all cases.
    """

    n: int
    undefined: int
    misses: int
    mean: float
    median: float
    bias: VolumeBias

    def __str__(self) -> str:
        """Say it in a line."""
        return (
            f"Dice mean {self.mean:.3f}, median {self.median:.3f} over {self.n} cases; "
            f"{self.undefined} undefined (nothing there, nothing found), {self.misses} missed; volume bias {self.bias}"
        )


class ScoredVolumes(Protocol):
    """A scored case of a run or of a study, as far as its volumes go."""

    @property
    def reference_ml(self) -> float:
        """Volume of the reference."""

    @property
    def prediction_ml(self) -> float:
        """Volume of the prediction."""


MaskArray = np.ndarray | Tensor


def score_case(
    subject: str,
    prediction: MaskArray,
    reference: MaskArray,
    spacing: Sequence[float],
    seconds: float = math.nan,
    *,
    distance: bool = True,
) -> Score:
    """Score one case with MONAI's metrics: the one definition, for validation, evaluation and studies.

    The Hausdorff distance is between the outermost voxels' centres; it is the larger of the two directed 95th
    percentiles (prediction to reference, reference to prediction), not the percentile of both together.

    Args:
        subject: the case's id.
        prediction: mask of false and true, or 0 and 1, shape (i, j, k).
        reference: mask on the same grid.
        spacing: voxel size in mm along i, j, k.
        seconds: wall time that the prediction took; NaN where nobody measured it.
        distance: False leaves out the Hausdorff distance (NaN), which takes longest.

    Returns:
        Dice NaN if both are empty, 0 if one is (a false alarm, a miss); distance NaN (undefined) if one or both are empty.

    Raises:
        DataError: if the shapes differ, or a volume is not three-dimensional or holds other values than 0 and 1.

    Example:
        >>> import torch
        >>> from monai_tl import score_case
        >>> reference, prediction = torch.zeros(2, 16, 16, 16)
        >>> reference[4:8, 4:8, 4:8] = prediction[5:9, 4:8, 4:8] = 1
        >>> score = score_case("IXI012", prediction, reference, spacing=(2.0, 1.0, 1.0))
        >>> score.dice, score.hd95_mm, score.reference_ml
        (0.75, 2.0, 0.128)
    """
    predicted, true = _mask(subject, prediction, "prediction"), _mask(subject, reference, "reference")
    if predicted.shape != true.shape:
        raise DataError(
            f"{subject}: the prediction has shape {tuple(predicted.shape)} but the reference has {tuple(true.shape)}; "
            "both have to be on the case's own grid"
        )
    sizes = [float(size) for size in spacing]
    voxel_ml = math.prod(sizes) / 1000
    found, there = int(predicted.sum()), int(true.sum())
    y_pred, y = predicted[None, None], true[None, None]
    dice = hd95 = math.nan
    if found or there:
        dice = float(compute_dice(y_pred, y, ignore_empty=False))  # True would make NaN of a false alarm
    if found and there and distance:
        hd95 = float(compute_hausdorff_distance(y_pred, y, include_background=True, percentile=95, spacing=sizes))
    return Score(subject, dice, hd95, there * voxel_ml, found * voxel_ml, float(seconds))


def _mask(subject: str, volume: MaskArray, name: str) -> Tensor:
    mask: Tensor = convert_to_tensor(volume, track_meta=False)
    if mask.ndim != 3:
        raise DataError(f"{subject}: the {name} has shape {tuple(mask.shape)}, needed are three axes (i, j, k)")
    if mask.dtype != torch.bool and not ((mask == 0) | (mask == 1)).all():
        raise DataError(f"{subject}: the {name} holds other values than 0 and 1; threshold it first")
    return mask.bool()


def summarise(scores: Sequence[Score]) -> Summary:
    """Count and average the Dice of ``scores``; undefined cases are counted, not averaged.

    Example:
        >>> from monai_tl import Score, summarise
        >>> nan = float("nan")
        >>> scores = [Score("a", 0.8, 1.0, 3.0, 3.3, 1.0), Score("b", nan, nan, 0.0, 0.0, 1.0)]
        >>> print(summarise(scores))
        Dice mean 0.800, median 0.800 over 2 cases; 1 undefined (nothing there, nothing found), 0 missed; volume bias +0.15 ml
        (+10 %)
    """
    dice = np.array([score.dice for score in scores], dtype=float)
    defined = dice[~np.isnan(dice)]
    misses = sum(score.dice == 0 and score.reference_ml > 0 for score in scores)
    mean, median = (float(np.mean(defined)), float(np.median(defined))) if defined.size else (math.nan, math.nan)
    return Summary(len(dice), len(dice) - len(defined), misses, mean, median, volume_bias(scores))


def volume_bias(scores: Sequence[ScoredVolumes]) -> VolumeBias:
    """Average predicted minus reference volume over all cases, those without a defined Dice among them."""
    if not scores:
        return VolumeBias(math.nan, math.nan)
    reference = math.fsum(score.reference_ml for score in scores) / len(scores)
    ml = math.fsum(score.prediction_ml - score.reference_ml for score in scores) / len(scores)
    return VolumeBias(ml, ml / reference if reference else math.nan)
