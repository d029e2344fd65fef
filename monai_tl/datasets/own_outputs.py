"""Which images ``predict`` itself wrote: they are never predicted from, wherever they lie."""

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


def is_called_so(pattern: str) -> bool:
    """Say if a path or pattern names predictions on purpose: ``{subject}_probability.nii.gz``."""
    return _written_of(pattern) is not None


def is_prediction(path: str) -> bool:
    """Say if the table of predictions in its folder names an image as one of its own."""
    subject = _written_of(path)
    return subject is not None and subject in _predicted_in(os.path.dirname(split_path(path)[0]))


def own_predictions(images: Mapping[str, Sequence[str]]) -> list[str]:
    """Give the subjects whose images ``predict`` wrote.

    Args:
        images: subject -> paths of its images.

    Returns:
        Those that the table in their folder names, and those in a folder of predictions that are called as the prediction of
        another subject, or of an image, that is here: written a moment ago, or by a call that was killed.
    """
    known = {*images, *(_stem(path) for paths in images.values() for path in paths)}
    return [subject for subject, paths in images.items() if any(is_prediction(path) or _of(path, known) for path in paths)]


def refuse_doubtful(images: Mapping[str, Sequence[str]]) -> None:
    """Refuse images that are called as ``predict`` calls what it writes, where nothing settles whether they are scans.

    Args:
        images: subject -> paths of its images, own predictions excepted.

    Raises:
        DataError: where the folder holds predictions, or the scan that they would be of lies beside them.
    """
    told = []
    for path in (path for paths in images.values() for path in paths):
        subject, folder = _written_of(path), os.path.dirname(split_path(path)[0])
        if subject is None:
            continue
        names = (f"{subject}.nii.gz", f"{subject}.nii", MADE_WITH)
        told += [f"{path} (beside {name})" for name in names if os.path.isfile(os.path.join(folder, name))][:1]
    if told:
        raise DataError(
            list_problems(
                "these are called as predictions are; move them to another folder, or name the scans that are meant by "
                "--subjects:",
                told,
            )
        )


def _of(path: str, known: Collection[str]) -> bool:
    return _written_of(path) in known and os.path.isfile(os.path.join(os.path.dirname(split_path(path)[0]), MADE_WITH))


def _written_of(path: str) -> str | None:
    """The subject that an image is a prediction of, if it is called as one."""
    found = WRITTEN.fullmatch(os.path.basename(split_path(path)[0]))
    return found["subject"] if found else None


def _predicted_in(folder: str) -> frozenset[str]:
    """Subjects that the table in a folder names."""
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
