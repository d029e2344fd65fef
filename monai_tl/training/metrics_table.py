"""The table of a training, ``metrics.csv``: a row each validation."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_tl.errors import DataError
from monai_tl.storage.files import atomic_write

TRAIN_LONGER = "the best validation is the last one, so Dice may still have been rising: train for more iterations"
COLUMNS = ("iteration", "loss", "val_dice", "learning_rate", "seconds")


def write_metrics(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the rows so far, atomically."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(rows)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a ``metrics.csv``, none where there is no file.

    Raises:
        DataError: if it is damaged, with the line.
    """
    if not path.is_file():
        return []
    remedy = "restore it, or delete it and go without its curves"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
            if missing:
                raise DataError(f"{path} lacks the column {', '.join(missing)}: {remedy}")
            return [_row(row, f"{path}, line {table.line_num}", remedy) for row in table]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no table of text ({error}): {remedy}") from None


def best_is_last(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Say if no validation followed the best one: Dice may still have been rising when training ended."""
    best = max((row["val_dice"] for row in rows if not math.isnan(row["val_dice"])), default=0.0)
    return best > 0 and rows[-1]["val_dice"] == best and sum(row["val_dice"] == best for row in rows) == 1


def _row(row: dict[str, str], where: str, remedy: str) -> dict[str, Any]:
    try:
        return {key: int(row[key]) if key == "iteration" else float(row[key]) for key in COLUMNS}
    except (TypeError, ValueError):  # TypeError: a row cut short
        raise DataError(f"{where} is not {len(COLUMNS)} numbers: {remedy}") from None
