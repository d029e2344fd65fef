"""How well a prediction agrees with its reference, case by case, and the table that keeps it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Metric
from monai.data import MetaTensor
from monai.engines import IterationEvents
from monai.metrics import compute_dice, compute_hausdorff_distance
from monai.utils import convert_to_tensor
from torch import Tensor

from monai_tl.errors import ConfigError, DataError
from monai_tl.evaluation.score_record import ScoreRecord, mask_sha256, seen_in_short, write_record
from monai_tl.storage.files import write_text
from monai_tl.storage.tables import read_table, table_text

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Score:
    """One case's agreement with its reference, on the case's own grid.

    ``dice`` is NaN if reference and prediction are both empty; ``hd95_mm`` (mm) is NaN if either is. Volumes are in ml,
    ``seconds`` is wall time.
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
    seconds: float,
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
        seconds: wall time that the prediction took.
        distance: False leaves out the Hausdorff distance (NaN), which takes longest.

    Returns:
        Dice NaN if both are empty, 0 if one is (a false alarm, a miss); distance NaN (undefined) if one or both are empty.

    Raises:
        DataError: if the shapes differ, or a volume is not three-dimensional or holds other values than 0 and 1.
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
    """Count and average the Dice of ``scores``; undefined cases are counted, not averaged."""
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


def write_scores(path: Path | str, scores: Sequence[Score], record: ScoreRecord | None = None) -> None:
    """Write one row a case, atomically; numbers at full precision, undefined ones as ``nan``.

    Args:
        path: of the table.
        scores: in order.
        record: what they are of, written beside the table; without it no verb takes them for a run's.
    """
    text = table_text(Score, scores)
    if record is not None:  # first: a table whose record speaks of another is found out, one without a record is not replaced
        write_record(path, record, text)
    write_text(path, text)


def read_scores(path: Path | str) -> list[Score]:
    """Read what :func:`write_scores` wrote, in its order.

    Raises:
        ConfigError: if there is no such file.
        DataError: if a column is missing, a value is not a number, a subject stands there twice, or there is no case.
    """
    path = Path(path)
    split = path.stem.removeprefix("scores_")
    remedy = f"run `monai_tl evaluate --run {path.parent} --split {split}`"
    if not path.is_file():
        raise ConfigError(f"no scores at {path}: {remedy} first")
    scores = read_table(path, Score, remedy=f"{remedy} again")
    if not scores:
        raise DataError(f"{path} holds no case: {remedy} again")
    subjects = [score.subject for score in scores]
    twice = sorted({subject for subject in subjects if subjects.count(subject) > 1})
    if twice:
        raise DataError(f"{path} has {', '.join(twice)} more than once: {remedy} again")
    return scores


def score_batch(batch: Sequence[Any], output: Any, seconds: float, *, distance: bool = True) -> list[Score]:
    """Score the cases of one iteration of a MONAI ``SupervisedEvaluator``.

    Args:
        batch: decollated input, each case with its id under ``subject``.
        output: decollated output after postprocessing: ``pred`` and ``label``, each (1, i, j, k) with the values 0 and 1 (or
            (2, i, j, k): background and foreground), both on the case's own grid; the spacing is read from the label's affine.
        seconds: wall time of each prediction.
        distance: as in `score_case`.

    Raises:
        ConfigError: if the output was not decollated.
        DataError: as `score_case`, and if a label has no affine.
    """
    if not isinstance(output, list):
        raise ConfigError("scores need single cases: give the evaluator decollate=True")
    scores = []
    for inputs, outputs in zip(batch, output, strict=True):
        subject, label = str(inputs["subject"]), outputs["label"]
        if not isinstance(label, MetaTensor):
            raise DataError(f"{subject}: the label has no affine, so its voxels have no size; load it with LoadScand")
        found, there = (_foreground(subject, volume.cpu()) for volume in (outputs["pred"], label))
        scores.append(score_case(subject, found, there, label.pixdim.tolist(), seconds, distance=distance))
    return scores


class MeanCaseDice(Metric):
    """Metric of a MONAI ``SupervisedEvaluator``: the mean Dice that ``scores_<split>.csv`` of the same weights would have.

    It reads what `score_batch` does. Cases where nothing is and nothing was found are left out; NaN if no case is defined.
    """

    def __init__(self) -> None:
        """Begin with no case."""
        super().__init__()

    def reset(self) -> None:
        """Forget the cases, as each validation begins."""
        self.scores: list[Score] = []

    def iteration_completed(self, engine: Engine) -> None:
        """Score the cases of this iteration: ids stand in the batch, which ignite's metrics are not shown."""
        batch: Any = engine.state.batch
        self.update((batch, engine.state.output))

    def update(self, output: tuple[Any, Any]) -> None:
        """Score cases from the batch and the output."""
        self.scores += score_batch(*output, seconds=math.nan, distance=False)

    def compute(self) -> float:
        """Give the mean Dice of the defined cases."""
        return summarise(self.scores).mean


class ScoreTable:
    """Handler that scores each case of a MONAI ``SupervisedEvaluator`` and writes the table when the run completes.

    It reads what `score_batch` does. ``seconds`` runs from asking for the batch to the prediction in memory, metrics
    excluded, in equal shares over a batch's cases; what loader workers do ahead is not in it.
    """

    def __init__(self, path: str, record: ScoreRecord | None = None) -> None:
        """Take the CSV file to write and what its scores are of; it is not touched if the run fails."""
        self.path, self.record = Path(path), record
        self.scores: list[Score] = []
        self.references: dict[str, str] = {}
        self._began = 0.0

    def attach(self, engine: Engine) -> None:
        """Register on ``engine``; MONAI calls this for each of its ``handlers``."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.GET_BATCH_STARTED, self._start_clock)
        # runs after decollation and postprocessing and, unlike ITERATION_COMPLETED, before metrics take their time
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._save)

    def _start(self) -> None:
        self.scores, self.references = [], {}

    def _start_clock(self) -> None:
        self._began = time.perf_counter()

    def _collect(self, engine: Engine) -> None:
        output: Any = engine.state.output
        batch: Any = engine.state.batch
        cases = output if isinstance(output, list) else []
        for item in cases:
            item["pred"] = item["pred"].cpu()  # waits for the device, so that the clock is right
        seconds = (time.perf_counter() - self._began) / max(len(cases), 1)
        for score, case in zip(score_batch(batch, output, seconds), cases, strict=True):
            if score.subject in self.references:
                raise DataError(f"subject {score.subject} comes twice in one evaluation; each may stand once in a split")
            self.references[score.subject] = mask_sha256(case["label"][-1].cpu(), case["label"].affine)
            self.scores.append(score)

    def _save(self) -> None:
        record = self.record and replace(self.record, references=self.references)
        write_scores(self.path, self.scores, record)
        seen = seen_in_short(record)
        logger.info("%s: %s%s", self.path, summarise(self.scores), f"; {seen}" if seen else "")


def _foreground(subject: str, volume: Tensor) -> Tensor:
    if volume.ndim != 4 or volume.shape[0] not in (1, 2):
        raise DataError(f"{subject}: a volume has shape {tuple(volume.shape)}, needed is (1, i, j, k) or (2, i, j, k)")
    return volume[-1]
