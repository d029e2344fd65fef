"""Check, before training, how much of each label's foreground remains on the network's grid."""

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

SAME = 1e-3  # mm; headers store float32
THICK = 3.0  # in diagonals of the network's voxels: a label with a part this thick changes little
CHANGED = 2.0  # factor of change in a label's volume from which a warning is logged


class Resampled(NamedTuple):
    """A label's foreground before and after resampling to the network's grid.

    Attributes:
        subject: the case's id.
        before: foreground voxels on the label's own grid.
        after: foreground voxels on the network's grid.
        spacing: mm along the label's own axes.
        ratio: volume after divided by volume before.
    """

    subject: str
    before: int
    after: int
    spacing: tuple[float, ...]
    ratio: float

    def __str__(self) -> str:
        """Return the change in one line."""
        return f"{self.subject}: {self.before} voxels of {_times(self.spacing)} mm become {self.after}"


def resample_labels(
    cases: Sequence[Case],
    foreground: Sequence[int],
    spacing: Sequence[float],
    transform: Callable[[Mapping[str, Any]], Mapping[Any, Any]],
) -> list[Resampled]:
    """Count the foreground before and after resampling, of labels that are not on the network's grid already.

    Labels with a part that is thick compared with the grid are skipped, since resampling a volume takes seconds: a ball whose
    radius is half a voxel's diagonal always contains a voxel's centre.

    Args:
        cases: checked cases, each with ``"label"``.
        foreground: label values that the transform makes foreground.
        spacing: voxel spacing of the network's grid, mm along right, anterior, superior.
        transform: maps a case's paths to a dict with ``"label"``, (channel, i, j, k) on the network's grid, above 0 in regions.
    """
    counts = []
    other_grid = [case for case in cases if not on_grid(open_scan(case["label"]), spacing)]
    for case in follow(other_grid, "resampling labels", "case"):
        label = open_scan(case["label"])
        mask = np.isin(np.asanyarray(label.dataobj), foreground)
        before, own = int(mask.sum()), tuple(float(length) for length in nib.affines.voxel_sizes(label.affine))
        if is_thick(mask, own, THICK * float(np.linalg.norm(spacing))):
            continue
        after = int((np.asarray(transform(dict(case))["label"]) > 0).any(axis=0).sum())  # in any region
        ratio = after * float(np.prod(spacing)) / (before * float(np.prod(own))) if before else 1.0
        counts.append(Resampled(case["subject"], before, after, own, ratio))
    return counts


def is_thick(mask: NDArray[np.bool_], spacing: Sequence[float], diameter: float) -> bool:
    """Return whether a ball of a diameter in mm fits inside a mask (i, j, k)."""
    (box,) = ndimage.find_objects(mask.astype(np.uint8)) or [None]
    if box is None:
        return False
    inside = ndimage.distance_transform_edt(np.pad(mask.reshape(mask.shape[:3])[box], 1), sampling=spacing)
    return bool(2 * inside.max() >= diameter)


def on_grid(image: SpatialImage, spacing: Sequence[float]) -> bool:
    """Return whether an image has the network's voxel spacing along right, anterior and superior, in any axis order."""
    turn = nib.orientations.inv_ornt_aff(nib.orientations.io_orientation(image.affine), image.shape[:3])
    return bool(np.abs((image.affine @ turn)[:3, :3] - np.diag(spacing)).max() <= SAME)


def refuse_lost_labels(counts: Sequence[Resampled], split: str, count: int, spacing: Sequence[float]) -> list[str]:
    """Refuse training cases that lose all foreground, and a validation split whose cases all do.

    Args:
        counts: the result of `resample_labels`.
        split: split of the cases.
        count: number of cases in the split.
        spacing: voxel spacing of the network's grid in mm.

    Returns:
        Warnings about labels whose volume changes much.

    Raises:
        DataError: naming the cases, their voxels before and after, and the spacing.
    """
    grid = f"the network's grid ({_times(spacing)} mm)"
    lost = [label for label in counts if label.before and not label.after]
    if lost and (split == "train" or len(lost) == count):
        raise DataError(
            list_problems(
                f"{len(lost)} of {count} {split} cases lose all foreground on {grid}; choose a finer spacing "
                f'(--spacing "[1.0,1.0,1.0]"), or remove these cases:',
                [str(label) for label in lost],
            )
        )
    warnings = [f"{_some(lost, count, split)} lose all foreground on {grid}, so their Dice means nothing"] if lost else []
    changed = [label for label in counts if label.after and not 1 / CHANGED <= label.ratio <= CHANGED]
    if changed:
        warnings.append(
            f"{_some(changed, count, split)} change in volume by more than a factor of {CHANGED:g} on {grid}, e.g. "
            f"{changed[0]} ({changed[0].ratio:.0%} of the volume)"
        )
    return warnings


def _some(labels: Sequence[Resampled], count: int, split: str) -> str:
    return f"the labels of {len(labels)} of {count} {split} cases ({name_some([one.subject for one in labels])})"


def _times(lengths: Sequence[float]) -> str:
    return " × ".join(f"{length:.4g}" for length in lengths)
