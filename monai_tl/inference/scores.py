"""How well a prediction agrees with its reference, case by case, and the table that keeps it."""

from __future__ import annotations

import csv
import io
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.engines import IterationEvents
from monai.metrics import compute_dice, compute_hausdorff_distance
from monai.utils import convert_to_tensor
from torch import Tensor

from monai_tl.errors import ConfigError, DataError
from monai_tl.files import write_text
from monai_tl.inference.seen import in_short, write_seen

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
class Summary:
    """Dice over cases: ``mean`` and ``median`` are over the ``n - undefined`` cases that have one, NaN if none has.

    ``misses`` counts the cases with Dice 0 although the reference is not empty.
    """

    n: int
    undefined: int
    misses: int
    mean: float
    median: float

    def __str__(self) -> str:
        """Say it in a line."""
        return (
            f"Dice mean {self.mean:.3f}, median {self.median:.3f} over {self.n} cases; "
            f"{self.undefined} undefined (nothing there, nothing found), {self.misses} missed"
        )


Volume = np.ndarray | Tensor
COLUMNS = tuple(field.name for field in fields(Score))


def score_case(subject: str, prediction: Volume, reference: Volume, spacing: Sequence[float], seconds: float) -> Score:
    """Score one case with MONAI's metrics.

    The Hausdorff distance is between the outermost voxels' centres; it is the larger of the two directed 95th
    percentiles (prediction to reference, reference to prediction), not the percentile of both together.

    Args:
        subject: the case's id.
        prediction: mask of false and true, or 0 and 1, shape (i, j, k).
        reference: mask on the same grid.
        spacing: voxel size in mm along i, j, k.
        seconds: wall time that the prediction took.

    Returns:
        Dice NaN if both are empty, 0 if one is; distance NaN (undefined) if one or both are empty.

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
    if found and there:
        hd95 = float(compute_hausdorff_distance(y_pred, y, include_background=True, percentile=95, spacing=sizes))
    return Score(subject, dice, hd95, there * voxel_ml, found * voxel_ml, float(seconds))


def _mask(subject: str, volume: Volume, name: str) -> Tensor:
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
    return Summary(len(dice), len(dice) - len(defined), misses, mean, median)


def write_scores(path: Path | str, scores: Sequence[Score]) -> None:
    """Write one row a case, atomically; numbers at full precision, undefined ones as ``nan``."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    rows.writerows((score.subject, *(repr(float(value)) for value in astuple(score)[1:])) for score in scores)
    write_text(path, text.getvalue())


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
    try:
        with open(path, newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
            if missing:
                raise DataError(f"{path} lacks the column {', '.join(missing)}: {remedy} again")
            scores = [_score(row, f"{path}, line {table.line_num}", remedy) for row in table]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no table of text ({error}): {remedy} again") from None
    if not scores:
        raise DataError(f"{path} holds no case: {remedy} again")
    subjects = [score.subject for score in scores]
    twice = sorted({subject for subject in subjects if subjects.count(subject) > 1})
    if twice:
        raise DataError(f"{path} has {', '.join(twice)} more than once: {remedy} again")
    return scores


def _score(row: dict[str, str], where: str, remedy: str) -> Score:
    try:
        return Score(row["subject"], *(float(row[name]) for name in COLUMNS[1:]))
    except (TypeError, ValueError):  # TypeError: a row cut short
        raise DataError(f"{where} is not a subject and {len(COLUMNS) - 1} numbers: {remedy} again") from None


class ScoreTable:
    """Handler that scores each case of a MONAI ``SupervisedEvaluator`` and writes the table when the run completes.

    It reads the decollated output after postprocessing: ``pred`` and ``label``, each (1, i, j, k) with the values 0 and
    1 (or (2, i, j, k): background and foreground), both on the case's own grid; the spacing in mm comes from the
    label's affine, the id from the batch's ``subject``. ``seconds`` runs from asking for the batch to the prediction in
    memory, metrics excluded, in equal shares over a batch's cases; what loader workers do ahead is not in it.
    """

    def __init__(self, path: str, overlap: Mapping[str, Any] | None = None) -> None:
        """Take the CSV file to write, ``scores_<split>.csv`` in the run folder; it is not touched if the run fails.

        Args:
            path: of the table.
            overlap: of `monai_tl.training.run_cases.seen_before`: what is kept beside the table and said with its summary.
        """
        self.path, self.overlap = Path(path), overlap
        self.scores: list[Score] = []
        self._began = 0.0

    def attach(self, engine: Engine) -> None:
        """Register on ``engine``; MONAI calls this for each of its ``handlers``."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.GET_BATCH_STARTED, self._start_clock)
        # runs after decollation and postprocessing and, unlike ITERATION_COMPLETED, before metrics take their time
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._save)

    def _start(self) -> None:
        self.scores = []

    def _start_clock(self) -> None:
        self._began = time.perf_counter()

    def _collect(self, engine: Engine) -> None:
        batch, output = engine.state.batch, engine.state.output
        if not isinstance(output, list):
            raise ConfigError("ScoreTable needs single cases: give the evaluator decollate=True")
        predictions = [item["pred"].cpu() for item in output]  # waits for the device, so that the clock is right
        seconds = (time.perf_counter() - self._began) / len(output)
        for inputs, outputs, prediction in zip(batch, output, predictions, strict=True):
            subject, label = str(inputs["subject"]), outputs["label"]
            if any(score.subject == subject for score in self.scores):
                raise DataError(f"subject {subject} comes twice in one evaluation; each may stand once in a split")
            if not isinstance(label, MetaTensor):
                raise DataError(f"{subject}: the label has no affine, so its voxels have no size; load it with LoadScand")
            masks = [_foreground(subject, volume) for volume in (prediction, label.cpu())]
            self.scores.append(score_case(subject, *masks, label.pixdim.tolist(), seconds))

    def _save(self) -> None:
        write_seen(self.path, self.overlap)  # first: scores without it would pass for clean ones
        write_scores(self.path, self.scores)
        logger.info("%s: %s%s", self.path, summarise(self.scores), f"; {in_short(self.overlap)}" if self.overlap else "")


def _foreground(subject: str, volume: Tensor) -> Tensor:
    if volume.ndim != 4 or volume.shape[0] not in (1, 2):
        raise DataError(f"{subject}: a volume has shape {tuple(volume.shape)}, needed is (1, i, j, k) or (2, i, j, k)")
    return volume[-1]
