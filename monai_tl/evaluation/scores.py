"""Score a prediction against its reference, and summarise the scores of several cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from monai.utils import convert_to_tensor
from torch import Tensor

from monai_tl.errors import ConfigError, DataError, did_you_mean
from monai_tl.evaluation.metrics import DEFAULT_METRICS, METRICS, MaskPair, find_metrics


@dataclass(frozen=True)
class Score:
    """Scores of one region of a case against its reference, on the case's own grid.

    ``values`` holds each metric's value, NaN where it is undefined (see `monai_tl.evaluation.metrics.METRICS`). Volumes are in
    ml; ``seconds`` is the wall time of the prediction. ``region`` is empty for the mean over all regions.

    Example:
        >>> from monai_tl import Score
        >>> score = Score("IXI012", {"dice": 0.85, "hd95": 1.4}, reference_ml=3.1, prediction_ml=2.9, seconds=0.6)
        >>> score.values["dice"], round(score.prediction_ml - score.reference_ml, 2)
        (0.85, -0.2)
    """

    subject: str
    values: Mapping[str, float]
    reference_ml: float
    prediction_ml: float
    seconds: float
    region: str = ""

    @property
    def missed(self) -> bool:
        """Whether no voxel of the reference was predicted."""
        return self.values.get("dice") == 0 and self.reference_ml > 0


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
    """One metric over cases: ``mean`` and ``median`` are over the ``n - undefined`` defined cases; NaN if none is defined.

    ``misses`` counts the cases of whose reference nothing was predicted. ``bias`` is over all cases.
    """

    metric: str
    n: int
    undefined: int
    misses: int
    mean: float
    median: float
    bias: VolumeBias

    def __str__(self) -> str:
        """Return the summary in one line, of Dice with missed cases and volume bias."""
        metric = METRICS[self.metric]
        values = f"{metric.label} mean {metric.text(self.mean)}, median {metric.text(self.median)} over {self.n} cases"
        undefined = f"; {self.undefined} undefined ({metric.undefined_if})" if metric.needs != "none" else ""
        whole = f", {self.misses} missed; volume bias {self.bias}" if metric.name == "dice" else ""
        return f"{values}{undefined}{whole}"


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
    metrics: Sequence[str] = DEFAULT_METRICS,
    tolerance_mm: float = 1.0,
    region: str = "",
) -> Score:
    """Score one region of a case with MONAI's metrics, as in validation, evaluation and studies.

    Args:
        subject: the case's id.
        prediction: mask of false and true, or 0 and 1, shape (i, j, k).
        reference: mask on the same grid.
        spacing: voxel size in mm along i, j, k.
        seconds: wall time of the prediction; NaN if not measured.
        metrics: names, see `monai_tl.evaluation.metrics.METRICS`; Dice is always scored.
        tolerance_mm: of the normalised surface Dice, in mm.
        region: its name.

    Returns:
        The scores, NaN where undefined. Dice is NaN if both masks are empty, and 0 if only one is; distances are NaN if one or
        both are empty.

    Raises:
        ConfigError: if there is no such metric.
        DataError: if the shapes differ, or a volume is not three-dimensional or holds other values than 0 and 1.

    Example:
        >>> import torch
        >>> from monai_tl import score_case
        >>> reference, prediction = torch.zeros(2, 16, 16, 16)
        >>> reference[4:8, 4:8, 4:8] = prediction[5:9, 4:8, 4:8] = 1
        >>> score = score_case("IXI012", prediction, reference, spacing=(2.0, 1.0, 1.0))
        >>> score.values, score.reference_ml
        ({'dice': 0.75, 'hd95': 2.0}, 0.128)
    """
    predicted, true = _mask(subject, prediction, "prediction"), _mask(subject, reference, "reference")
    if predicted.shape != true.shape:
        raise DataError(
            f"{subject}: the prediction has shape {tuple(predicted.shape)}, the reference {tuple(true.shape)}; both must be "
            "on the case's own grid"
        )
    pair = MaskPair(predicted, true, tuple(float(size) for size in spacing), tolerance_mm)
    values = {metric.name: metric(pair) for metric in find_metrics(metrics)}
    prediction_ml, reference_ml = pair.volumes_ml
    return Score(subject, values, reference_ml, prediction_ml, float(seconds), region)


@dataclass(frozen=True)
class Scoring:
    """How cases are scored.

    Attributes:
        regions: names, in the order of the masks' channels.
        metrics: names, see `monai_tl.evaluation.metrics.METRICS`; Dice is always among them.
        tolerance: of the normalised surface Dice, in mm: one for all regions, or one per region.

    Raises:
        ConfigError: for an unknown metric, or another number of tolerances than regions.

    Example:
        >>> from monai_tl.evaluation.scores import Scoring
        >>> Scoring(("anterior", "posterior"), ("nsd",), (1, 2)).tolerance_mm
        {'anterior': 1.0, 'posterior': 2.0}
    """

    regions: Sequence[str] = ("",)
    metrics: Sequence[str] = DEFAULT_METRICS
    tolerance: float | Sequence[float] = 1.0

    def __post_init__(self) -> None:
        """Check the metrics and the tolerances."""
        object.__setattr__(self, "regions", tuple(self.regions))
        object.__setattr__(self, "metrics", tuple(metric.name for metric in find_metrics(self.metrics)))
        if isinstance(self.tolerance, Sequence) and len(self.tolerance) != len(self.regions):
            raise ConfigError(
                f"tolerance has {len(self.tolerance)} values, but there are {len(self.regions)} regions "
                f"({', '.join(self.regions)}): set one for all, or one per region"
            )

    @property
    def tolerance_mm(self) -> dict[str, float]:
        """Region -> tolerance in mm."""
        each = self.tolerance if isinstance(self.tolerance, Sequence) else [self.tolerance] * len(self.regions)
        return dict(zip(self.regions, map(float, each), strict=True))

    def score(
        self, subject: str, prediction: MaskArray, reference: MaskArray, spacing: Sequence[float], seconds: float, region: str
    ) -> Score:
        """Return the scores of one region of a case; see `score_case`."""
        how: Any = {"metrics": self.metrics, "tolerance_mm": self.tolerance_mm[region]}
        return score_case(subject, prediction, reference, spacing, seconds, region=region, **how)


DEFAULT_SCORING = Scoring()


def over_regions(scores: Sequence[Score], region: str = "") -> list[Score]:
    """Return one score per case: of a region, or over all of them.

    Over all regions, each metric is the mean over the regions in which it is defined, and volumes are sums.

    Args:
        scores: of one or more regions per case.
        region: name of a region; empty for all.

    Raises:
        DataError: if there is no such region; the existing ones are listed.

    Example:
        >>> from monai_tl.evaluation.scores import Score, over_regions
        >>> nan = float("nan")
        >>> core = Score("a", {"dice": 0.8}, 3.0, 3.5, 1.0, "core")
        >>> over_regions([core, Score("a", {"dice": nan}, 0.0, 0.0, 1.0, "enhancing")])
        [Score(subject='a', values={'dice': 0.8}, reference_ml=3.0, prediction_ml=3.5, seconds=1.0, region='')]
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
            {metric: _mean([score.values[metric] for score in of]) for metric in of[0].values},
            math.fsum(score.reference_ml for score in of),
            math.fsum(score.prediction_ml for score in of),
            of[0].seconds,
        )
        for subject, of in cases.items()
    ]


def refuse_unscored_metric(metric: str, scores: Sequence[Score], where: str) -> None:
    """Refuse a metric that does not exist, or that these scores lack.

    Args:
        metric: its name.
        scores: all with the same metrics.
        where: the command that would score it, which ``--metrics`` is appended to.

    Raises:
        ConfigError: with the metrics that there are.
    """
    find_metrics([metric])
    existing = list(scores[0].values)
    if metric not in existing:
        raise ConfigError(
            f"{metric} was not scored (there are {', '.join(existing)}): {where} --metrics {','.join([*existing, metric])}"
        )


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


def summarise(scores: Sequence[Score], metric: str = "dice") -> Summary:
    """Return mean and median of a metric; undefined cases are counted, not averaged.

    Example:
        >>> from monai_tl import Score, summarise
        >>> scores = [Score("a", {"dice": 0.8}, 3.0, 3.3, 1.0), Score("b", {"dice": float("nan")}, 0.0, 0.0, 1.0)]
        >>> print(summarise(scores))
        Dice mean 0.800, median 0.800 over 2 cases; 1 undefined (reference and prediction empty), 0 missed; volume bias
        +0.15 ml (+10 %)
    """
    values = np.array([score.values[metric] for score in scores], dtype=float)
    defined = values[~np.isnan(values)]
    misses = sum(score.missed for score in scores)
    mean, median = (float(np.mean(defined)), float(np.median(defined))) if defined.size else (math.nan, math.nan)
    return Summary(metric, len(values), len(values) - len(defined), misses, mean, median, volume_bias(scores))


def volume_bias(scores: Sequence[ScoredVolumes]) -> VolumeBias:
    """Return the mean of predicted minus reference volume over all cases, including those with undefined Dice."""
    if not scores:
        return VolumeBias(math.nan, math.nan)
    reference = math.fsum(score.reference_ml for score in scores) / len(scores)
    ml = math.fsum(score.prediction_ml - score.reference_ml for score in scores) / len(scores)
    return VolumeBias(ml, ml / reference if reference else math.nan)
