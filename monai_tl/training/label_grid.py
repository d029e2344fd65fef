"""What is left of a label's foreground on the network's grid: counted before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray
from scipy import ndimage

from monai_tl.datasets.patterns import Case
from monai_tl.errors import DataError, list_problems
from monai_tl.imaging.scan_files import open_scan
from monai_tl.storage.progress import follow
from monai_tl.text import name_some

SAME = 1e-3  # mm: headers keep float32
THICK = 3.0  # times a voxel's diagonal on the network's grid: such a label changes little
CHANGED = 2.0  # factor between a label's volumes on its own grid and on the network's from which on it is told


class Resampled(NamedTuple):
    """A label's foreground on its own grid and on the network's.

    Attributes:
        subject: id.
        before: voxels.
        after: voxels.
        spacing: mm along the label's own axes.
        ratio: of the volumes, after by before.
    """

    subject: str
    before: int
    after: int
    spacing: tuple[float, ...]
    ratio: float

    def __str__(self) -> str:
        """Say it in a line."""
        return f"{self.subject}: {self.before} voxels of {_times(self.spacing)} mm become {self.after}"


def resample_labels(
    cases: Sequence[Case],
    foreground: Sequence[int],
    spacing: Sequence[float],
    transform: Callable[[Mapping[str, Any]], Mapping[Any, Any]],
) -> list[Resampled]:
    """Count the foreground of those labels that do not lie on the network's grid already, before and after resampling.

    A label with a part that is thick for that grid is left out: a ball whose radius is half a voxel's diagonal holds a voxel's
    centre wherever it lies, and resampling a whole volume takes seconds.

    Args:
        cases: checked, each with ``"label"``.
        foreground: label values that count.
        spacing: of the network's grid, mm along right, anterior, superior.
        transform: from a case's paths to ``"label"``, a mask of 0 and 1 on the network's grid.
    """
    found = []
    moved = [case for case in cases if not on_grid(open_scan(case["label"]), spacing)]
    for case in follow(moved, "resampling labels", "case"):
        label = open_scan(case["label"])
        mask = np.isin(np.asanyarray(label.dataobj), foreground)
        before, own = int(mask.sum()), tuple(float(length) for length in nib.affines.voxel_sizes(label.affine))
        if is_thick(mask, own, THICK * float(np.linalg.norm(spacing))):
            continue
        after = int((np.asarray(transform(dict(case))["label"]) > 0).sum())
        ratio = after * float(np.prod(spacing)) / (before * float(np.prod(own))) if before else 1.0
        found.append(Resampled(case["subject"], before, after, own, ratio))
    return found


def is_thick(mask: NDArray[np.bool_], spacing: Sequence[float], diameter: float) -> bool:
    """Say if a ball of some diameter in mm lies inside a mask (i, j, k)."""
    (box,) = ndimage.find_objects(mask.astype(np.uint8)) or [None]
    if box is None:
        return False
    inside = ndimage.distance_transform_edt(np.pad(mask.reshape(mask.shape[:3])[box], 1), sampling=spacing)
    return bool(2 * inside.max() >= diameter)


def on_grid(image: SpatialImage, spacing: Sequence[float]) -> bool:
    """Say if an image's voxels are those of the network's grid, whichever way its axes run: nothing is resampled then."""
    turn = nib.orientations.inv_ornt_aff(nib.orientations.io_orientation(image.affine), image.shape[:3])
    return bool(np.abs((image.affine @ turn)[:3, :3] - np.diag(spacing)).max() <= SAME)


def refuse_lost_labels(found: Sequence[Resampled], split: str, count: int, spacing: Sequence[float]) -> list[str]:
    """Refuse training cases whose foreground is gone, and a validation of which nothing is left.

    Args:
        found: of `resample_labels`.
        split: of the cases.
        count: cases in the split.
        spacing: of the network's grid in mm.

    Returns:
        Warnings about labels that lost or gained much.

    Raises:
        DataError: naming the cases, their voxels before and after, and the spacing.
    """
    grid = f"the network's grid ({_times(spacing)} mm)"
    lost = [one for one in found if one.before and not one.after]
    if lost and (split == "train" or len(lost) == count):
        raise DataError(
            list_problems(
                f"{len(lost)} of {count} {split} cases lose all foreground on {grid}; choose a finer spacing "
                f'(--spacing "[1.0,1.0,1.0]"), or take these cases out:',
                [str(one) for one in lost],
            )
        )
    told = [f"{_some(lost, count, split)} lose all foreground on {grid}, so that Dice says nothing of them"] if lost else []
    much = [one for one in found if one.after and not 1 / CHANGED <= one.ratio <= CHANGED]
    if much:
        told.append(
            f"{_some(much, count, split)} change in volume by more than a factor of {CHANGED:g} on {grid}, e.g. {much[0]} "
            f"({much[0].ratio:.0%} of the volume)"
        )
    return told


def _some(found: Sequence[Resampled], count: int, split: str) -> str:
    return f"the labels of {len(found)} of {count} {split} cases ({name_some([one.subject for one in found])})"


def _times(lengths: Sequence[float]) -> str:
    return " × ".join(f"{length:.4g}" for length in lengths)
