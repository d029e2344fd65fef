"""Raw scans are checked one by one, and resampled ones get the type that they came with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_tl.datasets.case_checks import case_problems
from monai_tl.errors import DataError


def refuse_damaged(subject: str, paths: Mapping[str, Path | str]) -> dict[str, list[list[str]]]:
    """Check each file of a subject separately, since their grids differ.

    Returns:
        Role -> notes on what was ignored or converted in its header, each a text and numbers.

    Raises:
        DataError: if a file is not readable, not 3D, or has unusable voxels or label values.
    """
    notes: dict[str, list[list[str]]] = {}
    for role, path in paths.items():
        findings = case_problems({"subject": subject, role: str(path)}, () if role == "label" else (role,), ())
        if findings.problems:
            raise DataError("; ".join(findings.problems))
        notes |= {name: [list(note) for note in of_role] for name, of_role in findings.notes.items()}
    return notes


def as_stored(voxels: NDArray[np.float32], source: Any) -> NDArray[Any]:
    """Return resampled voxels as integers if the source image stores them as integers of at most 16 bits without scaling.

    Args:
        voxels: (i, j, k), within the range of the source.
        source: the image as opened.
    """
    stored = source.get_data_dtype()
    whole = stored.kind in "iu" and stored.itemsize <= 2 and getattr(source.dataobj, "slope", 1) == 1
    return np.rint(voxels).astype(stored.newbyteorder("=")) if whole else voxels


def compact_labels(labels: NDArray[np.int32]) -> NDArray[Any]:
    """Return labels (i, j, k) as 16-bit integers if their values fit."""
    small = labels.min() >= -(2**15) and labels.max() < 2**15
    return labels.astype(np.int16 if small else np.int32)
