"""What resampling does to a label: volumes, vanished values and position, before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray

from monai_tl.errors import DataError
from monai_tl.preparation.common_grid import VoxelGrid
from monai_tl.text import plural

CHANGED = 0.05  # of a volume: more than nearest neighbour causes on a grid that suits the label
FROM = 200  # voxels before and after; of smaller structures a few voxels change more
OFF_CENTRE = 0.4  # of the smallest edge of the grid's voxels


@dataclass(frozen=True)
class LabelChange:
    """A label before and after it was resampled.

    Attributes:
        before: label value -> number of voxels, as stored.
        after: the same on the new grid, uncropped.
        voxel_ml: volume of a voxel before and after.
        shift_mm: distance of the centres of all values but 0.
        edge: smallest edge of the new grid's voxels in mm.
    """

    before: dict[int, int]
    after: dict[int, int]
    voxel_ml: tuple[float, float]
    shift_mm: float
    edge: float

    def ml(self, value: int) -> tuple[float, float]:
        """Return the volume of a value before and after, in ml."""
        return self.before[value] * self.voxel_ml[0], self.after.get(value, 0) * self.voxel_ml[1]

    def record(self) -> dict[str, Any]:
        """Return it as plain data."""
        volumes = {str(value): [round(ml, 4) for ml in self.ml(value)] for value in self.before}
        lost = {str(value): count for value, count in self.before.items() if not self.after.get(value)}
        return {"ml_before_after": volumes, "lost_voxels": lost, "shift_mm": round(self.shift_mm, 3)}

    def doubts(self, cropped: NDArray[np.int32] | None) -> list[str]:
        """Return lines on values that vanish, are cut off or change much, and on a shift.

        Args:
            cropped: the label (i, j, k) as it is written; None if parts of it are meant to be cut off.
        """
        lost = [value for value in self.before if not self.after.get(value)]
        lines = [f"label values lost by resampling: {', '.join(map(self._size, lost))}"] if lost else []
        left = self.after if cropped is None else count_values(cropped)
        for value in self.after:
            before, after = self.ml(value)
            if left.get(value, 0) < self.after[value]:
                lines.append(f"the crop cuts off {self.after[value] - left.get(value, 0)} of {self._size(value)}")
            if min(self.before[value], before / self.voxel_ml[1]) >= FROM and abs(after / before - 1) > CHANGED:
                lines.append(f"label value {value} has {before:.3f} ml as stored and {after:.3f} ml on the new grid")
        large = min(sum(self.before.values()), sum(self.ml(value)[0] for value in self.before) / self.voxel_ml[1]) >= FROM
        if large and self.shift_mm > OFF_CENTRE * self.edge:
            lines.append(f"the label's centre moves by {self.shift_mm:.2f} mm, by resampling or since a part is off the grid")
        return lines

    def _size(self, value: int) -> str:
        return f"{value} ({plural(self.before[value], 'voxel')}, {self.ml(value)[0]:.3g} ml)"


def count_values(labels: NDArray[Any]) -> dict[int, int]:
    """Return label value -> number of voxels, without 0."""
    values, counts = np.unique(labels, return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts, strict=True) if value}


def compare_labels(image: Any, labels: NDArray[np.int32], grid: VoxelGrid, motion: NDArray[np.float64]) -> LabelChange:
    """Compare a label as stored with its resampled voxels.

    Args:
        image: the label as stored.
        labels: (i, j, k) on the new grid.
        grid: the new grid.
        motion: (4, 4), from the grid's points to the label's, RAS, mm.

    Raises:
        DataError: if nothing of the label is on the new grid.
    """
    stored = np.rint(np.asarray(image.dataobj)).astype(np.int64)
    before, after = count_values(stored), count_values(labels)
    if before and not after:
        raise DataError(
            f"none of the {sum(before.values())} voxels of its label is on the grid: label and reference do not overlap; check "
            "that the label belongs to these images and has the same coordinates (mm)"
        )
    if strange := sorted(set(after) - set(before)):
        raise DataError(f"its label has values that 32-bit integers cannot hold (they become {strange[0]}); renumber them")
    own = VoxelGrid.of(image)
    ml = float(own.voxel.prod()) / 1000, float(grid.voxel.prod()) / 1000
    shift = 0.0
    if before:
        there = apply_affine(np.linalg.inv(motion) @ own.affine, np.argwhere(stored.reshape(own.shape)).mean(0))
        shift = float(np.linalg.norm(apply_affine(grid.affine, np.argwhere(labels).mean(0)) - there))
    return LabelChange(before, after, ml, shift, float(grid.voxel.min()))
