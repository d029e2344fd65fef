"""Recognition of images that ``predict`` wrote, which are never used as input of a prediction."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from monai_tl.errors import DataError, list_problems
from monai_tl.imaging.scan_files import split_path

TABLE, MADE_WITH = "predictions.csv", "predictions.json"
WRITTEN = re.compile(r"(?P<subject>.+)_(?:seg|probability)(?:\.nii(?:\.gz)?|\.dcm)")


def is_named_as_prediction(pattern: str) -> bool:
    """Return whether a path or pattern is named as a prediction is: ``{subject}_probability.nii.gz``."""
    return _written_of(pattern) is not None


def is_prediction(path: str) -> bool:
    """Return whether an image is listed in the table of predictions of its folder."""
    subject = _written_of(path)
    return subject is not None and subject in _predicted_in(os.path.dirname(split_path(path)[0]))


def own_predictions(images: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the subjects whose images ``predict`` wrote.

    Args:
        images: subject -> paths of its images.

    Returns:
        Subjects listed in the table of their folder, and those in a folder of predictions that are named as the prediction of
        another subject or image among these: such files may have been written by a killed or still running ``predict``.
    """
    known = {*images, *(_stem(path) for paths in images.values() for path in paths)}
    return [subject for subject, paths in images.items() if any(is_prediction(path) or _of(path, known) for path in paths)]


def refuse_doubtful(images: Mapping[str, Sequence[str]]) -> None:
    """Refuse images that are named as predictions are, if it is unclear whether they are scans.

    Args:
        images: subject -> paths of its images, without known predictions.

    Raises:
        DataError: if the folder contains predictions, or the scan that such an image would be the prediction of.
    """
    lines = []
    for path in (path for paths in images.values() for path in paths):
        subject, folder = _written_of(path), os.path.dirname(split_path(path)[0])
        if subject is None:
            continue
        names = (f"{subject}.nii.gz", f"{subject}.nii", MADE_WITH)
        lines += [f"{path} (next to {name})" for name in names if os.path.isfile(os.path.join(folder, name))][:1]
    if lines:
        raise DataError(
            list_problems(
                "these are named as predictions are; move them to another folder, or select the scans by --subjects:",
                lines,
            )
        )


def _of(path: str, known: Collection[str]) -> bool:
    return _written_of(path) in known and os.path.isfile(os.path.join(os.path.dirname(split_path(path)[0]), MADE_WITH))


def _written_of(path: str) -> str | None:
    """Return the subject that an image is a prediction of by its name, or None."""
    found = WRITTEN.fullmatch(os.path.basename(split_path(path)[0]))
    return found["subject"] if found else None


def _predicted_in(folder: str) -> frozenset[str]:
    """Return the subjects in the table of predictions of a folder."""
    path = Path(folder) / TABLE
    if not path.is_file() or not (Path(folder) / MADE_WITH).is_file():
        return frozenset()
    return _subjects(str(path), path.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _subjects(table: str, _changed: int) -> frozenset[str]:
    with open(table, newline="", encoding="utf-8", errors="replace") as file:
        return frozenset(row.get("case") or "" for row in csv.DictReader(file))


def _stem(path: str) -> str:
    return re.sub(r"\.nii(\.gz)?$", "", os.path.basename(split_path(path)[0]))
