"""The metrics of a training, ``metrics.csv``: one row per validation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from monai_tl.storage.tables import read_table, write_table

REGIONS = "validation_regions.csv"
TRAIN_LONGER = "the best validation is the last one, so Dice may still have been rising: train for more iterations"


@dataclass(frozen=True, slots=True)
class Validation:
    """A row of ``metrics.csv``.

    Attributes:
        iteration: iteration of the validation.
        loss: mean training loss since the last row.
        val_dice: mean Dice of the validation.
        learning_rate: highest learning rate of all parameter groups.
        seconds: wall time since training began.
    """

    iteration: int
    loss: float
    val_dice: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True, slots=True)
class RegionDice:
    """A row of ``validation_regions.csv``: a validation's mean Dice of one region; written if there are several regions."""

    iteration: int
    region: str
    val_dice: float


def read_region_dice(folder: Path) -> list[RegionDice]:
    """Read a run's ``validation_regions.csv``; none without a file.

    Raises:
        DataError: if it is damaged, with the line.
    """
    path = folder / REGIONS
    return read_table(path, RegionDice, remedy="restore it, or delete it to continue without it") if path.is_file() else []


def write_metrics(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows so far, atomically."""
    write_table(path, Validation, [Validation(**row) for row in rows], line_end="\r\n")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a ``metrics.csv``; none without a file.

    Raises:
        DataError: if it is damaged, with the line.
    """
    remedy = "restore it, or delete it to continue without its curves"
    return [asdict(row) for row in read_table(path, Validation, remedy=remedy)] if path.is_file() else []


def best_is_last(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the last validation was the best: Dice may still have been rising when training ended."""
    best = max((row["val_dice"] for row in rows if not math.isnan(row["val_dice"])), default=0.0)
    return best > 0 and rows[-1]["val_dice"] == best and sum(row["val_dice"] == best for row in rows) == 1
