"""The three tables of a study: scores, runs, curves. Its statistics and its report read nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from monai_tl.statistics.score_array import AGAIN, StudyScore
from monai_tl.storage.tables import read_table


@dataclass(frozen=True, slots=True)
class RunRow:
    """A row of ``runs.csv``: the cost of one run and how fast it learned; unknown values are NaN.

    Attributes:
        arm: as in `StudyScore`, like ``n`` and ``seed``.
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


TableRow = TypeVar("TableRow", StudyScore, RunRow, CurveRow)


def read_study_table(path: Path | str, kind: type[TableRow]) -> list[TableRow]:
    """Read one of the three tables.

    Raises:
        DataError: if there is no such file, or it is damaged (the line is named).
    """
    return read_table(path, kind, remedy=AGAIN)
