"""The state of a study's run, read from its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monai_tl.errors import DataError
from monai_tl.evaluation.run_scores import has_own_scores
from monai_tl.storage.files import read_json


def is_finished(folder: Path, splits: Sequence[str] = ("test",)) -> bool:
    """Return whether a run was trained to its end and scored with its own weights."""
    return is_trained(folder) and all(has_own_scores(folder, split) for split in splits)


def is_trained(folder: Path) -> bool:
    """Return whether a training was completed: its best Dice is recorded last, after all checks."""
    try:
        return "validation_dice" in read_json(folder / "metadata.json", remedy="")
    except DataError:
        return False
