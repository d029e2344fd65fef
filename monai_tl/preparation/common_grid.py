"""The grid that all files of a case are brought to: chosen, spaced and cropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray

from monai_tl.errors import ConfigError, DataError, did_you_mean
from monai_tl.imaging.geometry import corners
from monai_tl.text import name_some

ON_GRID = 0.02  # voxels: two grids whose points are closer are one; interpolation over less changes nothing but the noise
IMAGE, LABEL = "image", "label"
MARGIN_MM = 10.0
SHIFTS_TRIED = (0.0, 0.25, -0.25, 0.5, -0.5)  # old voxels
UNBIASED = 0.1  # old voxels, mean distance to the nearest old centre
HOW = ("rigid", "none")


class VoxelGrid(NamedTuple):
    """A grid of voxels.

    Attributes:
        shape: number of voxels (i, j, k).
        affine: 4×4, voxel (i, j, k) to RAS in mm.
    """

    shape: tuple[int, ...]
    affine: NDArray[np.float64]

    @classmethod
    def of(cls, image: Any) -> VoxelGrid:
        """Return the grid of an image."""
        return cls(tuple(int(length) for length in image.shape[:3]), np.asarray(image.affine, np.float64))

    @property
    def voxel(self) -> NDArray[np.float64]:
        """Return the edges of a voxel (i, j, k) in mm."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    def cut(self, box: Sequence[slice]) -> VoxelGrid:
        """Return the part of the grid in a box of voxels; its points keep their positions in mm."""
        affine = self.affine.copy()
        affine[:3, 3] = apply_affine(self.affine, [side.start for side in box])
        return VoxelGrid(tuple(side.stop - side.start for side in box), affine)

    def record(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"shape": list(self.shape), "affine": np.round(self.affine, 6).tolist()}


@dataclass(frozen=True)
class CommonGrid:
    """What to bring the files of each case to.

    Attributes:
        reference: the modality whose grid the others are brought to; empty to determine it from the label.
        label_on: the modality that the label was drawn on, whose motion it follows; empty to determine it from the grids.
        how: ``"rigid"`` to register the other modalities to the reference, ``"none"`` to trust the headers.
        spacing: of the grid in mm along right, anterior, superior; None for the reference's own grid.
        crop: ``"label"``, ``"image"`` or label values, to whose bounding box the grid is cropped; None not to crop.
        margin: around that box, in mm.

    Raises:
        ConfigError: if a value is invalid.
    """

    reference: str = ""
    label_on: str = ""
    how: str = "rigid"
    spacing: tuple[float, ...] | None = None
    crop: str | tuple[int, ...] | None = None
    margin: float = MARGIN_MM

    def refuse_unknown(self, roles: Sequence[str]) -> None:
        """Refuse names that are not among the roles of the files.

        Args:
            roles: the modalities, and ``"label"`` if there are labels.

        Raises:
            ConfigError: for an unknown modality or way to register, or if something needs a label and there is none.
        """
        modalities = [role for role in roles if role != LABEL]
        for flag, name in (("reference", self.reference), ("label_on", self.label_on)):
            if name and name not in modalities:
                raise ConfigError(f"--{flag} {name}: no such modality; {did_you_mean(name, modalities)}")
        if self.how not in HOW:
            raise ConfigError(f"unknown --register '{self.how}': {did_you_mean(self.how, HOW)}")
        if LABEL not in roles and (self.label_on or self.crop not in (None, IMAGE)):
            flag = "--label_on" if self.label_on else "--crop"
            raise ConfigError(f"{flag} needs labels: name their pattern by --label, or crop to what is not 0 by --crop image")


def lies_on(one: VoxelGrid, other: VoxelGrid) -> bool:
    """Return whether two grids have the same points, in any order of the axes."""
    grids = []
    for grid in (one, other):
        turn = nib.orientations.io_orientation(grid.affine)
        shape = tuple(int(n) for n in np.array(grid.shape)[np.argsort(turn[:, 0])])
        grids.append((shape, grid.affine @ nib.orientations.inv_ornt_aff(turn, grid.shape)))
    (shape, affine), (shape_2, affine_2) = grids
    if shape != shape_2:
        return False
    apart = np.linalg.norm(corners(affine, shape) - corners(affine_2, shape), axis=1).max()
    return bool(apart <= ON_GRID * one.voxel.min())


def spaced(grid: VoxelGrid, spacing: Sequence[float] | None) -> VoxelGrid:
    """Return the grid with another spacing over the same field of view, along the same axes.

    Where the field of view is no multiple of the spacing, the outermost voxels reach beyond it, with their centres inside.

    Args:
        grid: any grid; returned unchanged if it has this spacing already.
        spacing: mm along right, anterior, superior; each is taken for the voxel axis that is nearest to it.
    """
    if spacing is None:
        return grid
    nearest = nib.orientations.io_orientation(grid.affine)[:, 0].astype(int)  # voxel axis -> patient axis
    edges = np.array(spacing, float)[nearest]
    if np.allclose(edges, grid.voxel, rtol=1e-3, atol=0):
        return grid
    shape = np.maximum(1, np.ceil(np.array(grid.shape) * grid.voxel / edges - 1e-3)).astype(int)
    first = [_first_index(*axis) for axis in zip(grid.shape, shape, edges / grid.voxel, strict=True)]
    affine = np.eye(4)
    affine[:3, :3] = grid.affine[:3, :3] / grid.voxel * edges
    affine[:3, 3] = apply_affine(grid.affine, first)
    return VoxelGrid(tuple(int(length) for length in shape), affine)


def _first_index(before: int, after: int, ratio: float) -> float:
    """Return where on the old axis the first new voxel's centre lies, so that both axes have about the same middle.

    If new centres lie halfway between old ones (1 mm to 2 mm), the nearest labels would all come from one side and the label be
    shifted against the images; the new axis is then shifted instead, by up to half an old voxel.
    """
    middle = (before - 1) / 2 - (after - 1) / 2 * ratio
    for shift in SHIFTS_TRIED:
        at = middle + shift + np.arange(after) * ratio
        if abs(np.mean(np.floor(at + 0.5) - at)) < UNBIASED and at[0] > -0.5 and at[-1] < before - 0.5:
            return float(at[0])
    return middle


def crop_box(wanted: CommonGrid, grid: VoxelGrid, labels: NDArray[np.int32] | None, scanned: NDArray[np.bool_]) -> list[slice]:
    """Return the box of voxels to keep: around the label's values, or around what is not 0 in any modality.

    Args:
        wanted: says what to crop to, and the margin.
        grid: the whole grid.
        labels: (i, j, k) on the grid; None without a label.
        scanned: (i, j, k), where a modality is not 0.

    Raises:
        DataError: if there is nothing to crop to.
    """
    if wanted.crop is None:
        return [slice(0, length) for length in grid.shape]
    if wanted.crop == IMAGE or labels is None:
        mask = scanned
    else:
        mask = labels != 0 if wanted.crop == LABEL else np.isin(labels, wanted.crop)
    if not mask.any():
        present = [] if labels is None else [str(value) for value in np.unique(labels)]
        needed = "any value but 0" if wanted.crop == LABEL else ", ".join(map(str, wanted.crop))
        raise DataError(f"its label has no {needed} to crop to, only {name_some(present, 12)}; leave it out, or omit --crop")
    more = np.ceil(wanted.margin / grid.voxel - 1e-6).astype(int)
    box = []
    for axis, length in enumerate(grid.shape):
        found = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        box.append(slice(max(0, int(found[0] - more[axis])), min(length, int(found[-1] + more[axis] + 1))))
    return box
