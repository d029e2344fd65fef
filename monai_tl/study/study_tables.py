"""The three tables of a study: scores, runs, curves. Its statistics and its report read nothing else."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from monai_tl.evaluation.score_table import MEASURED, CollectedScores, score_rows
from monai_tl.evaluation.scores import Score
from monai_tl.statistics.score_array import AGAIN, RunKey
from monai_tl.storage.tables import iterate_table, read_table, write_table
from monai_tl.transfer.arms import arm_words

VOLUMES = tuple(name for name in MEASURED if name != "seconds")  # wall times differ each time, and are no result


@dataclass(frozen=True, slots=True)
class StudyScoreRow:
    """A row of ``scores.csv``: one value of one region of one test case, with one run's weights of best validation.

    Attributes:
        arm: ``"scratch"``, the number of frozen stages (``"0"`` … ``"5"``), ``"random2"``, or ``"untrained"``.
        n: number of training subjects.
        seed: of the run.
        subject: id of the test case.
        region: its name.
        metric: a metric's name, or ``reference_ml`` or ``prediction_ml`` (volumes).
        value: ``nan`` if undefined.
        unit: empty for a ratio.
        reason: why the value is undefined.
    """

    arm: str
    n: int
    seed: int
    subject: str
    region: str
    metric: str
    value: float
    unit: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RunRow:
    """A row of ``runs.csv``: the cost of one run and how fast it learned; unknown values are NaN.

    Attributes:
        arm: as in `StudyScoreRow`, like ``n`` and ``seed``.
        n: number of training subjects.
        seed: of the run.
        folder: relative to the study's folder.
        state: ``"finished"``, ``"failed"`` or ``"waiting"``.
        iterations: training steps done.
        seconds: of training and validation, over all attempts.
        best_dice: highest validation Dice.
        best_iteration: iteration at which that was reached.
        best_seconds: time at which that was reached.
        target_iteration: iteration at which 90 % of scratch's best (same ``n`` and ``seed``) was reached.
        target_seconds: time at which that was reached.
        area: mean validation Dice over the planned iterations (the area under its curve); after early stopping, the
            best Dice counts for the remaining iterations.
        step_seconds: median of a training step.
        memory_mib: peak memory in MiB, of the GPU if one is used, else of the process.
        training_dice: mean Dice over its own training cases with the weights of best validation, if that was requested.
        fault: reason of a failure, one line.
        trainable: number of trained parameters.
    """

    arm: str
    n: int
    seed: int
    folder: str
    state: str
    iterations: int
    seconds: float
    best_dice: float
    best_iteration: float
    best_seconds: float
    target_iteration: float
    target_seconds: float
    area: float
    step_seconds: float
    memory_mib: float
    training_dice: float
    fault: str
    trainable: float = math.nan  # tables of earlier versions have none


@dataclass(frozen=True, slots=True)
class CurveRow:
    """A row of ``curves.csv``: one validation of one run."""

    arm: str
    n: int
    seed: int
    iteration: int
    seconds: float
    loss: float
    val_dice: float


TableRow = TypeVar("TableRow", StudyScoreRow, RunRow, CurveRow)


def read_study_table(path: Path | str, kind: type[TableRow]) -> list[TableRow]:
    """Read one of the three tables.

    Raises:
        DataError: if there is no such file, or it is damaged (the line is named).
    """
    return read_table(path, kind, remedy=AGAIN)


def write_study_scores(path: Path | str, scores: Mapping[RunKey, Sequence[Score]]) -> None:
    """Write ``scores.csv``, atomically: all regions and metrics of each run, and volumes, at full precision.

    Args:
        path: the file.
        scores: (arm, n, seed) -> the scores of this run.
    """
    rows = (
        StudyScoreRow(*run, row.subject, row.region, row.metric, row.value, row.unit, row.reason)
        for run, of in scores.items()
        for score in of
        for row in score_rows(score)
        if row.metric != "seconds"
    )
    write_table(path, StudyScoreRow, rows)


def read_study_scores(path: Path | str) -> dict[RunKey, tuple[Score, ...]]:
    """Read ``scores.csv``: (arm, n, seed) -> the scores of this run, one per case and region, in the order of the file.

    Raises:
        DataError: if there is no such file, or it is damaged.
    """
    runs: dict[RunKey, CollectedScores] = {}
    for row in iterate_table(path, StudyScoreRow, remedy=AGAIN):
        run = sys.intern(row.arm), row.n, row.seed
        if run not in runs:
            runs[run] = CollectedScores(f"{path} (run {arm_words(row.arm)}, n {row.n}, seed {row.seed})", AGAIN, VOLUMES)
        runs[run].add(row)
    return {run: tuple(collected.scores()) for run, collected in runs.items()}
