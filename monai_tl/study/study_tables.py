"""The three tables of a study, which its statistics and its report read, and nothing else: scores, runs, curves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from monai_tl.statistics.score_array import AGAIN, StudyScore
from monai_tl.storage.tables import read_table


@dataclass(frozen=True, slots=True)
class RunRow:
    """A row of ``runs.csv``: what one run cost and how fast it learned; NaN where it is not known.

    Attributes:
        arm: as in `StudyScore`, and so are ``n`` and ``seed``.
        n: training subjects.
        seed: the run's.
        folder: below the study's.
        state: ``"finished"``, ``"failed"`` or ``"waiting"``.
        iterations: steps done.
        seconds: of training, over all its attempts, and validation.
        best_dice: highest validation Dice.
        best_iteration: where that was reached.
        best_seconds: when.
        target_iteration: where 90 % of scratch's best (same ``n`` and ``seed``) was reached.
        target_seconds: when.
        area: mean validation Dice over the planned iterations (the area under its curve); after early stopping the
            best goes on.
        step_seconds: median of a training step.
        memory_mib: peak, of the device on a GPU, else of the process.
        training_dice: mean over its own training cases with the weights that validation chose, where that was asked for.
        fault: why it failed, one line.
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
    """Read one of the three.

    Raises:
        DataError: if there is no such file, or it is damaged, with the line.
    """
    return read_table(path, kind, remedy=AGAIN)
