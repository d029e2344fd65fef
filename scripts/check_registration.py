"""Check the registration of T2 to T1 on phantoms whose true position is known; print one row per case, then the verdict.

python scripts/check_registration.py [--cases 20] [--size 96] [--seed 0] [--wrong 8] [--output registration.csv]

A case is a life-size head (voxels of 192/size mm, so that all mm are those of a living head). Its T2 is rotated by up to 15°
about a random axis and shifted by up to 20 mm (the first case by exactly 15° and 20 mm), and simulated on oblique slices of
1 × 1 × 2 voxels that cover 70 % of the head's height, with other noise and another bias field. The error is the distance of a
voxel from its true position, averaged over T1's head.

Quality control is checked too (unless --wrong 0): each T2 is also misregistered on purpose, by shifts and rotations, and judged
as `monai_tl check` judges it, among the other, registered cases. Only suspicions because of the registration are counted.
"""

from __future__ import annotations

import csv
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fire
import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from monai_tl.errors import USER_ERRORS, ConfigError
from monai_tl.imaging.grids import LPS, itk
from monai_tl.phantoms.heads import FIELD_OF_VIEW, Anatomy, render_head, scan
from monai_tl.preparation.register import matrix_of, register, resample
from monai_tl.preparation.similarity import head_mask
from monai_tl.quality.measures import Measures, measure_case
from monai_tl.quality.outliers import Judged, judge

ANGLE, SHIFT = 15.0, 20.0  # degrees and mm, at most
COVERED = 0.7  # of the head's height
GOAL, WRONG = 0.7, 2.0  # mm
SHARE = 0.95  # fraction of the cases that must reach the goal
ERRORS = (2.1, 3.0, 5.0, 10.0)  # mm by which a T2 is misregistered, on average over the head


@dataclass(frozen=True)
class Pair:
    """T1 and T2 of one head; ``truth`` maps points of T1 to points of T2, RAS, mm."""

    t1: nib.Nifti1Image
    t2: nib.Nifti1Image
    truth: NDArray[np.float64]
    angle: float
    shift: float


def make_pair(case: int, size: int, seed: int) -> Pair:
    """Draw a head and a rigid motion, and simulate both scans."""
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
    return Pair(nib.Nifti1Image(t1, affine), _simulate(t2, affine, head, truth, rng), truth, angle, shift)


def _motion(rng: np.random.Generator, angle: float, shift: float, centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draw a rigid motion about the head's centre, of this angle and shift in random directions."""
    axis, way = (direction / np.linalg.norm(direction) for direction in rng.normal(size=(2, 3)))
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(axis * angle, degrees=True).as_matrix()
    motion[:3, 3] = centre - motion[:3, :3] @ centre + way * shift
    return motion


def _simulate(
    voxels: NDArray[Any],
    affine: NDArray[np.float64],
    head: NDArray[np.bool_],
    motion: NDArray[np.float64],
    rng: np.random.Generator,
) -> nib.Nifti1Image:
    """Simulate a scan of a moved head on thick oblique slices that miss its top or its bottom."""
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


def displacement(pair: Pair, found: NDArray[np.float64]) -> tuple[float, float]:
    """Return mean and largest distance (mm) between the true positions of T1's head in T2 and those of a transform (LPS)."""
    points = _points(pair)
    apart = nib.affines.apply_affine(LPS @ found @ LPS, points) - nib.affines.apply_affine(pair.truth, points)
    lengths = np.linalg.norm(apart, axis=1)
    return float(lengths.mean()), float(lengths.max())


def _points(pair: Pair) -> NDArray[np.float64]:
    """Return the voxels of T1's head in mm, RAS."""
    head = head_mask(np.asarray(pair.t1.dataobj), np.asarray(nib.affines.voxel_sizes(pair.t1.affine)))
    return nib.affines.apply_affine(pair.t1.affine, np.argwhere(head))


def misregister(pair: Pair, found: NDArray[np.float64], rng: np.random.Generator, times: int) -> Iterator[NDArray[np.float64]]:
    """Yield transforms (LPS, mm) that are wrong by each of `ERRORS`, once as a shift and once as a rotation, at random."""
    points = _points(pair)
    centre = points.mean(0)
    for n in range(times):
        size = ERRORS[n // 2 % len(ERRORS)]
        axis = rng.normal(size=3)
        axis /= np.linalg.norm(axis)
        off = np.eye(4)
        if n % 2:
            arm = float(np.linalg.norm(np.cross(points - centre, axis), axis=1).mean())
            off[:3, :3] = Rotation.from_rotvec(axis * 2 * np.arcsin(size / 2 / arm)).as_matrix()
            off[:3, 3] = centre - off[:3, :3] @ centre
        else:
            off[:3, 3] = axis * size
        yield found @ LPS @ off @ LPS


def measured(pair: Pair, found: NDArray[np.float64], name: str) -> Measures:
    """Measure a T2 that was registered by a transform (LPS, mm), as `monai_tl check` does."""
    transform = itk().Euler3DTransform[itk().D].New()
    transform.SetMatrix(itk().GetMatrixFromArray(np.ascontiguousarray(found[:3, :3])))
    transform.SetOffset(found[:3, 3].tolist())
    with tempfile.TemporaryDirectory() as folder:
        case = {"subject": name, "T1": f"{folder}/T1.nii", "T2": f"{folder}/T2.nii"}
        nib.save(pair.t1, case["T1"])
        nib.save(nib.Nifti1Image(resample(pair.t2, pair.t1, transform)[0], pair.t1.affine), case["T2"])
        return measure_case(case, ("T1", "T2"), {})


def misplaced(case: Judged) -> bool:
    """Return whether a case is suspect because of its registration; a T2 of a part of the head has other suspicions too."""
    return any(
        kind in ("registration", "overlap") or (kind == "cohort" and reason.startswith(("mutual information", "overlap")))
        for kind, reason, _ in case.suspicions
    )


def suspects(right: Sequence[Measures], wrong: Sequence[Measures]) -> tuple[list[bool], list[bool]]:
    """Return which registered cases are suspect, and which misregistered ones, each judged in place of its registered case."""
    among = {case.measures.subject: misplaced(case) for case in judge(right)[0]}
    suspect = []
    for own in wrong:
        judged, _ = judge([own, *(other for other in right if other.subject != own.subject)])
        suspect.append(next(misplaced(case) for case in judged if case.measures is own))
    return [among[measures.subject] for measures in right], suspect


@dataclass
class QualityControl:
    """Measures of the registered cases, and of the misregistered ones with their errors in mm."""

    right: list[Measures]
    wrong: list[Measures]
    far: list[float]

    def print_suspects(self) -> int:
        """Print how many cases are suspect; return how many with an error above `WRONG` are not."""
        falsely, rightly = suspects(self.right, self.wrong)
        far = np.array(self.far)
        print(f"registered: {sum(falsely)} of {len(falsely)} suspect by registration", flush=True)
        for low, high in zip((WRONG, 2.5, 4.0, 7.0), (2.5, 4.0, 7.0, np.inf), strict=True):
            among = [suspect for suspect, mm in zip(rightly, far, strict=True) if low < mm <= high]
            print(f"misregistered by {low:g} to {high:g} mm: {sum(among)} of {len(among)} suspect by registration")
        return sum(not suspect for suspect, mm in zip(rightly, far, strict=True) if mm > WRONG)


def check_registration(
    cases: int = 20, size: int = 96, seed: int = 0, first: int = 0, wrong: int = 8, output: str = ""
) -> None:
    """Register each case, misregister its T2 ``wrong`` times, and exit with code 1 if the goals are missed."""
    rows, control = [], QualityControl([], [], [])
    for case in range(first, first + cases):
        pair = make_pair(case, size, seed)
        began = time.process_time()
        found = register(pair.t1, pair.t2)
        seconds = time.process_time() - began
        matrix = matrix_of(found.transform)
        mean, largest = displacement(pair, matrix)
        row = {"case": case, "angle": pair.angle, "shift_mm": pair.shift, "error_mm": mean, "largest_mm": largest}
        row |= {**vars(found.alignment), "cpu_seconds": seconds}
        rows.append({name: value if name == "case" else round(value, 3) for name, value in row.items()})
        print("  ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
        control.right += [measured(pair, matrix, str(case))] if wrong else []
        for off in misregister(pair, matrix, np.random.default_rng([seed, 3, case]), wrong):
            control.wrong.append(measured(pair, off, str(case)))
            control.far.append(displacement(pair, off)[0])
    if output:
        _write(output, rows)
    missed = control.print_suspects() if wrong else 0
    errors = np.array([row["error_mm"] for row in rows])
    good = int((errors <= GOAL).sum())
    print(
        f"{good} of {cases} within {GOAL} mm, median {np.median(errors):.3f}, largest {errors.max():.3f}; over {WRONG} mm: "
        f"{int((errors > WRONG).sum())}; CPU seconds a case: median {np.median([row['cpu_seconds'] for row in rows]):.0f}"
    )
    if good < SHARE * cases or missed:
        raise ConfigError(
            f"{good} of {cases} cases reach {GOAL} mm, {SHARE:.0%} must; {missed} cases with errors above {WRONG:g} mm are not "
            "suspect, all must be"
        )


def _write(output: str, rows: Sequence[dict[str, Any]]) -> None:
    with Path(output).open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    try:
        fire.Fire(check_registration)
    except USER_ERRORS as error:
        sys.exit(f"check_registration: {error}")
