"""Score a prediction against its reference, and summarise the scores of several cases."""

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

from monai_tl.errors import DataError, did_you_mean


@dataclass(frozen=True)
class Score:
    """Scores of one region of a case against its reference, on the case's own grid.

    ``dice`` is NaN if reference and prediction are both empty; ``hd95_mm`` (mm) is NaN if either is empty. Volumes are in ml;
    ``seconds`` is wall time. ``region`` is empty for the mean over all regions.

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
    region: str = ""


@dataclass(frozen=True)
class VolumeBias:
    """Mean over cases of predicted minus reference volume: shows over- or under-segmentation, which Dice does not.

    Attributes:
        ml: in millilitres; NaN without a case.
        share: ``ml`` divided by the mean reference volume, e.g. 0.1 for 10 % too much; NaN if all references are empty.
    """

    ml: float
    share: float

    def __str__(self) -> str:
        """Return e.g. ``"+0.42 ml (+12 %)"``."""
        if math.isnan(self.ml):
            return "none"
        share = "" if math.isnan(self.share) else f" ({self.share:+.0%})".replace("%", " %")
        return f"{self.ml:+.2f} ml{share}".replace("-", "−")


@dataclass(frozen=True)
class Summary:
    """Dice over cases: ``mean`` and ``median`` are over the ``n - undefined`` defined cases; NaN if none is defined.

    ``misses`` counts the cases with Dice 0 although the reference is not empty. ``bias`` is over all cases.
    """

    n: int
    undefined: int
    misses: int
    mean: float
    median: float
    bias: VolumeBias

    def __str__(self) -> str:
        """Return the summary in one line."""
        return (
            f"Dice mean {self.mean:.3f}, median {self.median:.3f} over {self.n} cases; "
            f"{self.undefined} undefined (reference and prediction empty), {self.misses} missed; volume bias {self.bias}"
        )


class ScoredVolumes(Protocol):
    """The volumes of a scored case, of a run or of a study."""

    @property
    def reference_ml(self) -> float:
        """Volume of the reference in ml."""

    @property
    def prediction_ml(self) -> float:
        """Volume of the prediction in ml."""


MaskArray = np.ndarray | Tensor


def score_case(
    subject: str,
    prediction: MaskArray,
    reference: MaskArray,
    spacing: Sequence[float],
    seconds: float = math.nan,
    *,
    distance: bool = True,
    region: str = "",
) -> Score:
    """Score one region of a case with MONAI's metrics, as in validation, evaluation and studies.

    The Hausdorff distance is measured between the centres of surface voxels. It is the larger of the two directed 95th
    percentiles (prediction to reference, reference to prediction), not the percentile of both together.

    Args:
        subject: the case's id.
        prediction: mask of false and true, or 0 and 1, shape (i, j, k).
        reference: mask on the same grid.
        spacing: voxel size in mm along i, j, k.
        seconds: wall time of the prediction; NaN if not measured.
        distance: False skips the Hausdorff distance (NaN), which takes longest.
        region: its name.

    Returns:
        The scores. Dice is NaN if both masks are empty, and 0 if only one is; the distance is NaN if one or both are empty.

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
            f"{subject}: the prediction has shape {tuple(predicted.shape)}, the reference {tuple(true.shape)}; both must be "
            "on the case's own grid"
        )
    sizes = [float(size) for size in spacing]
    voxel_ml = math.prod(sizes) / 1000
    predicted_voxels, true_voxels = int(predicted.sum()), int(true.sum())
    y_pred, y = predicted[None, None], true[None, None]
    dice = hd95 = math.nan
    if predicted_voxels or true_voxels:
        dice = float(
            compute_dice(y_pred, y, ignore_empty=False)
        )  # True would return NaN for a prediction against an empty reference
    if predicted_voxels and true_voxels and distance:
        hd95 = float(compute_hausdorff_distance(y_pred, y, include_background=True, percentile=95, spacing=sizes))
    return Score(subject, dice, hd95, true_voxels * voxel_ml, predicted_voxels * voxel_ml, float(seconds), region)


def over_regions(scores: Sequence[Score], region: str = "") -> list[Score]:
    """Return one score per case: of a region, or over all of them.

    Over all regions, Dice and distance are means over the regions in which they are defined, and volumes are sums.

    Args:
        scores: of one or more regions per case.
        region: name of a region; empty for all.

    Raises:
        DataError: if there is no such region; the existing ones are listed.

    Example:
        >>> from monai_tl.evaluation.metrics import Score, over_regions
        >>> nan = float("nan")
        >>> scores = [Score("a", 0.8, 1.0, 3.0, 3.5, 1.0, "core"), Score("a", nan, nan, 0.0, 0.0, 1.0, "enhancing")]
        >>> over_regions(scores)
        [Score(subject='a', dice=0.8, hd95_mm=1.0, reference_ml=3.0, prediction_ml=3.5, seconds=1.0, region='')]
    """
    names = list(dict.fromkeys(score.region for score in scores))
    if region and region not in names:
        raise DataError(f"no region '{region}' in these scores: {did_you_mean(region, names)}")
    if region or len(names) == 1:
        return [score for score in scores if score.region == (region or names[0])]
    cases: dict[str, list[Score]] = {}
    for score in scores:
        cases.setdefault(score.subject, []).append(score)
    return [
        Score(
            subject,
            _mean([score.dice for score in of]),
            _mean([score.hd95_mm for score in of]),
            math.fsum(score.reference_ml for score in of),
            math.fsum(score.prediction_ml for score in of),
            of[0].seconds,
        )
        for subject, of in cases.items()
    ]


def _mean(values: Sequence[float]) -> float:
    """Return the mean of the values that are defined; NaN if none is."""
    defined = [value for value in values if not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else math.nan


def _mask(subject: str, volume: MaskArray, name: str) -> Tensor:
    mask: Tensor = convert_to_tensor(volume, track_meta=False)
    if mask.ndim != 3:
        raise DataError(f"{subject}: the {name} has shape {tuple(mask.shape)}, needed is (i, j, k)")
    if mask.dtype != torch.bool and not ((mask == 0) | (mask == 1)).all():
        raise DataError(f"{subject}: the {name} holds other values than 0 and 1; threshold it first")
    return mask.bool()


def summarise(scores: Sequence[Score]) -> Summary:
    """Return mean and median Dice of ``scores``; undefined cases are counted, not averaged.

    Example:
        >>> from monai_tl import Score, summarise
        >>> nan = float("nan")
        >>> scores = [Score("a", 0.8, 1.0, 3.0, 3.3, 1.0), Score("b", nan, nan, 0.0, 0.0, 1.0)]
        >>> print(summarise(scores))
        Dice mean 0.800, median 0.800 over 2 cases; 1 undefined (reference and prediction empty), 0 missed; volume bias
        +0.15 ml (+10 %)
    """
    dice = np.array([score.dice for score in scores], dtype=float)
    defined = dice[~np.isnan(dice)]
    misses = sum(score.dice == 0 and score.reference_ml > 0 for score in scores)
    mean, median = (float(np.mean(defined)), float(np.median(defined))) if defined.size else (math.nan, math.nan)
    return Summary(len(dice), len(dice) - len(defined), misses, mean, median, volume_bias(scores))


def volume_bias(scores: Sequence[ScoredVolumes]) -> VolumeBias:
    """Return the mean of predicted minus reference volume over all cases, including those with undefined Dice."""
    if not scores:
        return VolumeBias(math.nan, math.nan)
    reference = math.fsum(score.reference_ml for score in scores) / len(scores)
    ml = math.fsum(score.prediction_ml - score.reference_ml for score in scores) / len(scores)
    return VolumeBias(ml, ml / reference if reference else math.nan)
