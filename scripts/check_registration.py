"""Check the registration of T2 to T1 on phantoms whose true position is known; a row a case, then the verdict.

python scripts/check_registration.py [--cases 20] [--size 96] [--seed 0] [--output registration.csv]

A case is a life-size head (voxels of 192/size mm: all mm are those of a living head) whose T2 was turned by up to 15° about
an axis of any direction and shifted by up to 20 mm (the first case by all of it), pictured anew on oblique slices of 1 × 1 × 2
voxels that cover 70 % of the head's height, with other noise and another bias field. The error is how far a voxel
of the head lies from where it should, on average over T1's head.
"""

from __future__ import annotations

import csv
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fire
import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from monai_tl.data.alignment import head_mask
from monai_tl.data.grids import LPS
from monai_tl.data.phantom import FIELD_OF_VIEW, Anatomy, render_head, scan
from monai_tl.data.register import Registration, matrix_of, register
from monai_tl.errors import USER_ERRORS, ConfigError

ANGLE, SHIFT = 15.0, 20.0  # degrees and mm, at most
COVERED = 0.7  # of the head's height
GOAL, WRONG = 0.7, 2.0  # mm
SHARE = 0.95  # of the cases that have to reach the goal


@dataclass(frozen=True)
class Pair:
    """A T1 and a T2 of one head, and where T2's points lie: ``truth`` maps T1's to T2's, RAS, mm."""

    t1: nib.Nifti1Image
    t2: nib.Nifti1Image
    truth: NDArray[np.float64]
    angle: float
    shift: float


def make_pair(case: int, size: int, seed: int) -> Pair:
    """Draw a head and a rigid motion, and picture both scans."""
    rng = np.random.default_rng([seed, 2, case])
    layers, _ = render_head(Anatomy.draw(rng), size)
    voxel = FIELD_OF_VIEW / size
    affine = np.diag([voxel, voxel, voxel, 1.0])
    affine[:3, 3] = -FIELD_OF_VIEW / 2 + rng.uniform(-5, 5, 3)
    t1, t2 = (scan(layers, modality, rng) for modality in ("T1", "T2"))
    head = head_mask(t1, np.full(3, voxel))
    centre = nib.affines.apply_affine(affine, ndimage.center_of_mass(head))
    angle, shift = (ANGLE, SHIFT) if case == 0 else (rng.uniform(0, ANGLE), rng.uniform(0, SHIFT))
    truth = _motion(rng, angle, shift, centre)
    return Pair(nib.Nifti1Image(t1, affine), _picture(t2, affine, head, truth, rng), truth, angle, shift)


def _motion(rng: np.random.Generator, angle: float, shift: float, centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """A rigid motion about the head's centre, of these sizes and any direction."""
    axis, way = (direction / np.linalg.norm(direction) for direction in rng.normal(size=(2, 3)))
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(axis * angle, degrees=True).as_matrix()
    motion[:3, 3] = centre - motion[:3, :3] @ centre + way * shift
    return motion


def _picture(
    voxels: NDArray[Any],
    affine: NDArray[np.float64],
    head: NDArray[np.bool_],
    motion: NDArray[np.float64],
    rng: np.random.Generator,
) -> nib.Nifti1Image:
    """Picture a moved head on thick oblique slices that miss its top or its bottom."""
    voxel = affine[0, 0]
    where = nib.affines.apply_affine(motion @ affine, np.argwhere(head)[::50])
    turn = Rotation.from_rotvec(rng.uniform(-10, 10, 3), degrees=True).as_matrix()
    low, high = (where @ turn).min(0) - 8, (where @ turn).max(0) + 8  # along the slices' own axes
    missed = (1 - COVERED) * (high[2] - low[2] - 16) + 8
    low[2], high[2] = (low[2] + missed, high[2]) if rng.random() < 0.5 else (low[2], high[2] - missed)
    spacing = voxel * np.array([1.0, 1.0, 2.0])
    grid = np.eye(4)
    grid[:3, :3], grid[:3, 3] = turn * spacing, turn @ low
    shape = tuple(np.ceil((high - low) / spacing).astype(int))
    back = np.linalg.inv(motion @ affine) @ grid
    moved = ndimage.affine_transform(voxels, back, output_shape=shape, order=3, cval=float(np.percentile(voxels, 2)))
    bias = ndimage.zoom(rng.normal(0, 0.1, (3, 3, 3)), np.array(shape) / 3, order=3, mode="nearest", grid_mode=True)
    noise = rng.normal(0, 0.03 * np.percentile(voxels, 99), (2, *shape))
    return nib.Nifti1Image(np.hypot(np.clip(moved, 0, None) * np.exp(bias) + noise[0], noise[1]).astype(np.float32), grid)


def displacement(pair: Pair, found: Registration) -> tuple[float, float]:
    """Mean and largest distance in mm between where T1's head lies in T2, and where it was found."""
    voxels = np.asarray(pair.t1.dataobj)
    head = head_mask(voxels, np.asarray(nib.affines.voxel_sizes(pair.t1.affine)))
    points = nib.affines.apply_affine(pair.t1.affine, np.argwhere(head))
    ours = LPS @ matrix_of(found.transform) @ LPS  # RAS
    apart = nib.affines.apply_affine(ours, points) - nib.affines.apply_affine(pair.truth, points)
    lengths = np.linalg.norm(apart, axis=1)
    return float(lengths.mean()), float(lengths.max())


def check_registration(cases: int = 20, size: int = 96, seed: int = 0, first: int = 0, output: str = "") -> None:
    """Register each case, print how it went and end with exit code 1 if too few reach the goal."""
    rows = []
    for case in range(first, first + cases):
        pair = make_pair(case, size, seed)
        began = time.process_time()
        found = register(pair.t1, pair.t2)
        seconds = time.process_time() - began
        mean, largest = displacement(pair, found)
        row = {"case": case, "angle": pair.angle, "shift_mm": pair.shift, "error_mm": mean, "largest_mm": largest}
        row |= {**vars(found.alignment), "cpu_seconds": seconds}
        rows.append({name: value if name == "case" else round(value, 3) for name, value in row.items()})
        print("  ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    if output:
        with Path(output).open("w", newline="") as file:
            table = csv.DictWriter(file, rows[0], lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
    errors = np.array([row["error_mm"] for row in rows])
    good = int((errors <= GOAL).sum())
    print(
        f"{good} of {cases} within {GOAL} mm, median {np.median(errors):.3f}, largest {errors.max():.3f}; over {WRONG} mm: "
        f"{int((errors > WRONG).sum())}; CPU seconds a case: median {np.median([row['cpu_seconds'] for row in rows]):.0f}"
    )
    if good < SHARE * cases:
        raise ConfigError(f"only {good} of {cases} cases reach {GOAL} mm; {SHARE:.0%} have to")


if __name__ == "__main__":
    try:
        fire.Fire(check_registration)
    except USER_ERRORS as error:
        sys.exit(f"check_registration: {error}")
