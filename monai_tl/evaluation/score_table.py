"""The score table of a run, one row per case, region and metric, and the MONAI handlers that fill it."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from ignite.engine import Engine, Events
from ignite.metrics import Metric
from monai.data import MetaTensor
from monai.engines import IterationEvents
from torch import Tensor

from monai_tl.errors import ConfigError, DataError
from monai_tl.evaluation.metrics import METRICS
from monai_tl.evaluation.score_files import how_to_score, refuse_no_scores
from monai_tl.evaluation.score_record import ScoreRecord, mask_sha256, seen_in_short, write_record
from monai_tl.evaluation.scores import DEFAULT_SCORING, Score, Scoring, over_regions, summarise
from monai_tl.imaging.label_encoding import IGNORED
from monai_tl.storage.files import write_text
from monai_tl.storage.tables import read_table, table_text

logger = logging.getLogger(__name__)


MEASURED = {"reference_ml": "ml", "prediction_ml": "ml", "seconds": "s"}  # rows that are no metrics, with their units


@dataclass(frozen=True)
class ScoreRow:
    """A row of a score table: one value of one region of a case; ``reason`` says why a value is ``nan``."""

    subject: str
    region: str
    metric: str
    value: float
    unit: str
    reason: str = ""


def write_scores(path: Path | str, scores: Sequence[Score], record: ScoreRecord | None = None) -> None:
    """Write a score table, atomically: a row per case, region and metric; numbers at full precision, undefined ones as ``nan``.

    Args:
        path: the CSV file.
        scores: scores in the order of the rows.
        record: data and weights of the scores, written next to the table; without it, no verb accepts them as a run's scores.

    Example:
        >>> from monai_tl import Score, read_scores, write_scores
        >>> write_scores("scores_test.csv", [Score("a", {"dice": 0.8}, 3.0, 3.3, float("nan"))])
        >>> read_scores("scores_test.csv")
        [Score(subject='a', values={'dice': 0.8}, reference_ml=3.0, prediction_ml=3.3, seconds=nan, region='')]
    """
    text = table_text(ScoreRow, [row for score in scores for row in score_rows(score)])
    if record is not None:  # first: a record that does not match its table is detected, a table without one is not
        write_record(path, record, text)
    write_text(path, text)


def read_scores(path: Path | str) -> list[Score]:
    """Read a table written by :func:`write_scores`, in its order.

    Raises:
        ConfigError: if there is no such file.
        DataError: if a column or a row is missing, a value is not a number, a row occurs twice, or there is no case.

    Example:
        >>> from monai_tl import read_scores
        >>> [score.subject for score in read_scores("runs/scratch/scores_test.csv")]
        ['a', 'b', 'c', 'd', 'e', 'f']
    """
    path = Path(path)
    refuse_no_scores(path)
    remedy = f"{how_to_score(path)} again"
    collected = CollectedScores(str(path), remedy)
    for row in read_table(path, ScoreRow, remedy=remedy):
        collected.add(row)
    return collected.scores()


class CollectedRow(Protocol):
    """The part of a row that `CollectedScores` reads."""

    @property
    def subject(self) -> str:
        """Id of the case."""

    @property
    def region(self) -> str:
        """Name of the region."""

    @property
    def metric(self) -> str:
        """Name of the metric, or of what was measured beside."""

    @property
    def value(self) -> float:
        """NaN if undefined."""


class CollectedScores:
    """Put the rows of a score table, in any order, together: one score per case and region, in the order of their first rows.

    Args:
        where: the table, for messages.
        remedy: what to do if it is damaged.
        measured: names of the rows that are no metrics; seconds are NaN if they are not among them.
    """

    def __init__(self, where: str, remedy: str, measured: Collection[str] = tuple(MEASURED)) -> None:
        """Start with no row."""
        self.where, self.remedy, self.measured = where, remedy, measured
        self._cases: dict[tuple[str, str], dict[str, float]] = {}

    def add(self, row: CollectedRow) -> None:
        """Add a row.

        Raises:
            DataError: if it occurs twice.
        """
        values = self._cases.setdefault((sys.intern(row.subject), sys.intern(row.region)), {})  # they occur in many rows
        if row.metric in values:
            named = _named(row.subject, row.region)
            raise DataError(f"{self.where} holds {row.metric} of {named} more than once: {self.remedy}")
        values[sys.intern(row.metric)] = row.value

    def scores(self) -> list[Score]:
        """Return the scores.

        Raises:
            DataError: if there is no case, or a row is missing.
        """
        if not self._cases:
            raise DataError(f"{self.where} holds no cases: {self.remedy}")
        needed = {*next(iter(self._cases.values())), "dice", *self.measured}
        for case, values in self._cases.items():
            if missing := sorted(needed ^ values.keys()):
                raise DataError(f"{self.where} holds {missing[0]} of some cases only ({_named(*case)} differs): {self.remedy}")
        return [_score(subject, region, values) for (subject, region), values in self._cases.items()]


def score_rows(score: Score) -> list[ScoreRow]:
    """Return the rows of one region of a case, as a score table has them."""
    case = score.subject, score.region
    metrics = [(METRICS[name], value) for name, value in score.values.items()]
    rows = [
        ScoreRow(*case, metric.name, value, metric.unit, metric.why_undefined(score.prediction_ml, score.reference_ml))
        for metric, value in metrics
    ]
    return [*rows, *(ScoreRow(*case, name, getattr(score, name), unit) for name, unit in MEASURED.items())]


def _score(subject: str, region: str, values: dict[str, float]) -> Score:
    reference_ml, prediction_ml, seconds = (values.pop(name, math.nan) for name in MEASURED)
    return Score(subject, values, reference_ml, prediction_ml, seconds, region)


def _named(subject: str, region: str) -> str:
    return f"{subject} {region}".strip()


def score_batch(batch: Sequence[Any], output: Any, seconds: float, scoring: Scoring = DEFAULT_SCORING) -> list[Score]:
    """Score the cases of one iteration of a MONAI ``SupervisedEvaluator``, each with one score per region.

    Args:
        batch: decollated input, each case with its id under ``subject``.
        output: decollated output after postprocessing: ``pred`` and ``label``, each (region, i, j, k) with the values 0 and 1
            on the case's own grid; -1 in the label: the voxel counts nowhere. The spacing is read from the label's affine.
        seconds: wall time per prediction.
        scoring: regions in the order of the channels, and metrics.

    Raises:
        ConfigError: if the output was not decollated.
        DataError: as in `score_case`, and if a label has no affine.
    """
    if not isinstance(output, list):
        raise ConfigError("scores need single cases, but the output is a whole batch: pass decollate=True to the evaluator")
    scores = []
    for inputs, outputs in zip(batch, output, strict=True):
        subject, label = str(inputs["subject"]), outputs["label"]
        if not isinstance(label, MetaTensor):
            raise DataError(f"{subject}: the label has no affine, so its voxel spacing is unknown; load it with LoadScand")
        masks, references = (_by_region(subject, volume.cpu(), scoring.regions) for volume in (outputs["pred"], label))
        for region, mask, reference in zip(scoring.regions, masks, references, strict=True):
            scores.append(scoring.score(subject, *_without_ignored(mask, reference), label.pixdim.tolist(), seconds, region))
    return scores


class MeanCaseDice(Metric):
    """Metric of a MONAI ``SupervisedEvaluator``: mean Dice over cases, equal to that of ``scores_<split>.csv``.

    It reads the same input as `score_batch`. Of several regions, a case's Dice is the mean over those in which it is defined.
    Cases with undefined Dice are omitted; NaN if no case is defined.
    """

    def __init__(self, regions: Sequence[str] = ("",)) -> None:
        """Start with no cases."""
        self.scoring = Scoring(regions, ("dice",))
        super().__init__()

    def reset(self) -> None:
        """Remove all cases, at the start of each validation."""
        self.scores: list[Score] = []

    def iteration_completed(self, engine: Engine) -> None:
        """Score the cases of this iteration; ids are in the batch, which ignite does not pass to `update`."""
        batch: Any = engine.state.batch
        self.update((batch, engine.state.output))

    def update(self, output: tuple[Any, Any]) -> None:
        """Score cases from the batch and the output."""
        self.scores += score_batch(*output, math.nan, self.scoring)

    def compute(self) -> float:
        """Return the mean Dice of the defined cases."""
        return summarise(over_regions(self.scores)).mean if self.scores else math.nan

    def completed(self, engine: Engine, name: str) -> None:
        """Leave the mean in ``engine.state.metrics``, and each region's in ``engine.state.metric_details``, as MONAI does."""
        super().completed(engine, name)
        details = {**getattr(engine.state, "metric_details", {}), name: self.by_region()}
        engine.state.metric_details = details  # type: ignore[attr-defined]  # MONAI's engines have them

    def by_region(self) -> dict[str, float]:
        """Return region -> mean Dice of its defined cases."""
        return (
            {region: summarise(over_regions(self.scores, region)).mean for region in self.scoring.regions}
            if self.scores
            else {}
        )


class ScoreTable:
    """Handler that scores each case of a MONAI ``SupervisedEvaluator`` and writes the table when the run completes.

    It reads the same input as `score_batch`. ``seconds`` is the time from requesting the batch to the prediction in memory,
    divided equally among the batch's cases; it excludes metrics and the time that loader workers spend ahead.
    """

    def __init__(self, path: str, record: ScoreRecord | None = None, scoring: Scoring = DEFAULT_SCORING) -> None:
        """Set the CSV file to write, the record of its scores, and how to score; the file is unchanged if the run fails."""
        self.path, self.record, self.scoring = Path(path), record, scoring
        self.scores: list[Score] = []
        self.references: dict[str, str] = {}
        self._began = 0.0

    def attach(self, engine: Engine) -> None:
        """Register on ``engine``; MONAI calls this for each of its ``handlers``."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.GET_BATCH_STARTED, self._start_clock)
        # after decollation and postprocessing and, unlike ITERATION_COMPLETED, before the metrics
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
        scores = score_batch(batch, output, seconds, self.scoring)
        for subject, case in zip([score.subject for score in scores[:: len(self.scoring.regions)]], cases, strict=True):
            if subject in self.references:
                raise DataError(f"subject {subject} occurs twice in one evaluation; a split may hold each subject once")
            self.references[subject] = mask_sha256(case["label"].cpu(), case["label"].affine)
        self.scores += scores

    def _save(self) -> None:
        record = self.record and replace(self.record, references=self.references)
        write_scores(self.path, self.scores, record)
        for line in score_lines(self.path, self.scores, self.record):
            logger.info(line)


def score_lines(path: Path, scores: Sequence[Score], record: ScoreRecord | None = None) -> list[str]:
    """Return the mean of each metric as text, and that of each region if there are several."""
    seen = seen_in_short(record)
    regions = dict.fromkeys(score.region for score in scores)
    lines = []
    for metric in scores[0].values:
        lines.append(f"{path}: {summarise(over_regions(scores), metric)}{f'; {seen}' if seen else ''}")
        each = regions if len(regions) > 1 else ()
        lines += [f"  {region}: {summarise(over_regions(scores, region), metric)}" for region in each]
    return lines


def _by_region(subject: str, volume: Tensor, regions: Sequence[str]) -> Tensor:
    if volume.ndim != 4 or volume.shape[0] != len(regions):
        raise DataError(f"{subject}: the volume has shape {tuple(volume.shape)}, needed is ({len(regions)}, i, j, k)")
    return volume


def _without_ignored(mask: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Return prediction and reference as background where the reference is to be ignored."""
    ignored = reference == IGNORED
    return (torch.where(ignored, 0, mask), torch.where(ignored, 0, reference)) if ignored.any() else (mask, reference)
