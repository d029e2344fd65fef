"""Preparation of one case: images and label of any grids are brought to one, each resampled at most once."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray

from monai_tl.imaging.grids import LPS, regrid_labels, voxels_of
from monai_tl.imaging.scan_files import open_scan, sha256_of_scan
from monai_tl.imaging.voxels import Stored, read_stored
from monai_tl.preparation.common_grid import LABEL, CommonGrid, VoxelGrid, crop_box, lies_on, spaced
from monai_tl.preparation.label_changes import LabelChange, compare_labels
from monai_tl.preparation.prepared_folder import UNFINISHED, publish
from monai_tl.preparation.register import better_place, find_position, matrix_of, no_motion, resample, write_transform
from monai_tl.preparation.scan_storage import as_stored, compact_labels, refuse_damaged
from monai_tl.preparation.similarity import Alignment, Mask, compare_images, head_mask

KEPT_MM = 0.7  # accuracy of a registration: a scan that is on the reference's grid already is not resampled for less
LEAST_OVERLAP, LEAST_COVERED, MOST_OFF_MM = 0.75, 0.6, 1.25  # below or above them `check` suspects a case too
WORSE = 0.98  # of the mutual information by the headers


@dataclass(frozen=True)
class ScanFile:
    """A file, a volume of a file, or a folder with a DICOM series, by its path in a case."""

    path: str

    def __str__(self) -> str:
        """Return the path."""
        return self.path

    def sha256(self) -> str:
        """Return the hash of its content, 64 hexadecimal digits."""
        return sha256_of_scan(self.path)


@dataclass(frozen=True)
class CaseFiles:
    """The raw files of one case: its modalities in order, and ``"label"`` if it has one."""

    subject: str
    sources: dict[str, ScanFile]

    @property
    def stem(self) -> str:
        """Return the start of the names of its output files."""
        return self.subject


@dataclass(frozen=True)
class CaseJob:
    """A case to prepare: its files, the folder to write to, and the grid, whose reference and label_on are known."""

    case: CaseFiles
    output: str
    wanted: CommonGrid


@dataclass
class Fit:
    """Where a modality lies relative to the reference.

    Attributes:
        how: ``"registered"``, ``"kept"`` or ``"by header"``.
        transform: from the reference's points to its own, LPS, mm; None for no motion.
        record: numbers of its quality control.
        doubts: one line each.
    """

    how: str
    transform: Any = None
    record: dict[str, Any] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)


def case_outputs(folder: Path, subject: str, roles: tuple[str, ...], wanted: CommonGrid) -> dict[str, Path]:
    """Return the file paths of a prepared case."""
    files = {role: folder / subject / f"{subject}_{role}.nii.gz" for role in roles}
    moved = [role for role in roles if role not in (LABEL, wanted.reference)] if wanted.how == "rigid" else []
    return files | {f"{role} to": folder / subject / f"{subject}_{role}_to_{wanted.reference}.tfm" for role in moved}


def prepare_case(job: CaseJob) -> dict[str, Any]:
    """Bring the files of one case to one grid and write them; all of them or none.

    Returns:
        A record: name and sha256 of each input; per modality how it was placed, and its alignment with the reference before and
        after; label volumes before and after; grid and crop; ``doubts``; ``notes`` on headers; seconds.

    Raises:
        DataError: if a file is damaged, a modality cannot be registered, or nothing of the label is on the grid.
    """
    began, folder, wanted = time.perf_counter(), Path(job.output), job.wanted
    paths = {role: source.path for role, source in job.case.sources.items()}
    notes = refuse_damaged(job.case.subject, paths)
    images = {role: open_scan(path) for role, path in paths.items()}
    fits = _fit_all(images, wanted)
    grid = spaced(VoxelGrid.of(images[wanted.reference]), wanted.spacing)
    volumes = {name: _on_grid(images[name], grid, fits[name].transform) for name in fits}
    labels, change = _label(images, grid, fits, wanted)
    scanned = np.logical_or.reduce([volume.voxels * volume.slope + volume.inter != 0 for volume in volumes.values()])
    box = crop_box(wanted, grid, labels, scanned)
    with tempfile.TemporaryDirectory(dir=folder, prefix=f"{UNFINISHED}{job.case.subject}-") as scratch:
        outputs = case_outputs(folder, job.case.subject, tuple(paths), wanted)
        made = case_outputs(Path(scratch), job.case.subject, tuple(paths), wanted)
        if labels is not None:
            volumes[LABEL] = Stored(compact_labels(labels))
        _write(made, {role: _cut(volume, box) for role, volume in volumes.items()}, grid.cut(box), fits)
        publish(made, outputs)
    doubts = [doubt for fit in fits.values() for doubt in fit.doubts]
    if change is not None and labels is not None:
        doubts += change.doubts(None if isinstance(wanted.crop, tuple) else labels[tuple(box)])
    return {
        "stem": job.case.stem,
        "inputs": {role: {"file": str(source), "sha256": source.sha256()} for role, source in job.case.sources.items()},
        "modalities": {name: {"position": fit.how, **fit.record, "doubts": fit.doubts} for name, fit in fits.items()},
        "label": change.record() if change else None,
        "grid": grid.cut(box).record(),
        "cropped_from": None if wanted.crop is None else {**grid.record(), "first_voxel": [side.start for side in box]},
        "doubts": doubts,
        "notes": notes,
        "seconds": round(time.perf_counter() - began, 1),
    }


def _fit_all(images: Mapping[str, Any], wanted: CommonGrid) -> dict[str, Fit]:
    """Place every modality relative to the reference."""
    reference = images[wanted.reference]
    names = [name for name in images if name != LABEL]
    if len(names) == 1:
        return {wanted.reference: Fit("reference")}
    still = voxels_of(reference)
    head = head_mask(still, VoxelGrid.of(reference).voxel)
    return {
        name: Fit("reference") if name == wanted.reference else _fit(reference, (still, head), images[name], name, wanted)
        for name in names
    }


def _fit(reference: Any, head: tuple[NDArray[np.float32], Mask], image: Any, name: str, wanted: CommonGrid) -> Fit:
    """Place one modality by registration or by its header, and judge its alignment with the reference."""
    before, moved, view = _alignment(reference, head, image, None)
    if wanted.how == "none":
        fit = Fit("by header", record={"alignment": _rounded(before)})
        away = better_place(head[0], moved, head[1] & view, VoxelGrid.of(reference).voxel)
        off = None if away is None else round(float(np.linalg.norm(away, axis=1).mean()), 2)
        fit.record["off_mm"] = off
        if off is None or off > MOST_OFF_MM:
            where = "its position could not be checked" if off is None else f"it would fit better {off:g} mm away"
            fit.doubts.append(f"{name} is placed by its header, and {where}: look at it, or use --register rigid")
        return _judged(fit, before, name, wanted.reference)
    transform = find_position(reference, image, (wanted.reference, name))
    points = apply_affine(LPS @ reference.affine, np.argwhere(head[1])[::20])
    mm = float(np.linalg.norm(apply_affine(matrix_of(transform), points) - points, axis=1).mean())
    if mm <= KEPT_MM and lies_on(VoxelGrid.of(image), VoxelGrid.of(reference)):
        fit, after = Fit("kept"), before
    else:
        fit, after = Fit("registered", transform), _alignment(reference, head, image, transform)[0]
    fit.record = {"moved_mm": round(mm, 3), "by_header": _rounded(before), "alignment": _rounded(after)}
    if after.mutual_information < WORSE * before.mutual_information:
        numbers = f"mutual information {after.mutual_information:.3f} bits, by the headers {before.mutual_information:.3f}"
        fit.doubts.append(f"{name} fits {wanted.reference} worse than before its registration ({numbers})")
    return _judged(fit, after, name, wanted.reference)


def _judged(fit: Fit, alignment: Alignment, name: str, reference: str) -> Fit:
    """Return the fit with doubts about the two heads."""
    if alignment.overlap < LEAST_OVERLAP:
        overlap = f"overlap with a Dice of {alignment.overlap:.2f}, at least {LEAST_OVERLAP} is usual"
        fit.doubts.append(f"the heads in {name} and {reference} {overlap}")
    if alignment.covered < LEAST_COVERED:
        fit.doubts.append(f"{name} covers {alignment.covered:.0%} of the head in {reference}")
    return fit


def _alignment(
    reference: Any, head: tuple[NDArray[np.float32], Mask], image: Any, transform: Any
) -> tuple[Alignment, NDArray[np.float32], Mask]:
    """Return a modality's alignment with the reference, the modality on the reference's grid, and its field of view there."""
    grid = VoxelGrid.of(reference)
    moved, seen = resample(image, grid, transform or no_motion(), linear=True)
    return compare_images(head[0], moved, head[1], head_mask(np.where(seen, moved, 0), grid.voxel), seen), moved, seen


def _on_grid(image: Any, grid: VoxelGrid, transform: Any) -> Stored:
    """Return an image on a grid: as stored if it is there already, else resampled linearly, once."""
    own = VoxelGrid.of(image)
    if transform is None and lies_on(own, grid):
        stored = read_stored(image)
        turn = nib.orientations.ornt_transform(*map(nib.orientations.io_orientation, (own.affine, grid.affine)))
        return stored._replace(voxels=nib.orientations.apply_orientation(stored.voxels.reshape(own.shape), turn))
    moved, _ = resample(image, grid, transform or no_motion(), linear=True, fill=_air(voxels_of(image)))
    return Stored(as_stored(moved, image))


def _label(
    images: Mapping[str, Any], grid: VoxelGrid, fits: Mapping[str, Fit], wanted: CommonGrid
) -> tuple[NDArray[np.int32] | None, LabelChange | None]:
    """Return the label on the grid, moved as the modality that it was drawn on, and what that changed; None without a label."""
    if LABEL not in images:
        return None, None
    motion = _ras(fits[wanted.label_on].transform)
    labels = regrid_labels(images[LABEL], VoxelGrid(grid.shape, motion @ grid.affine))
    return labels, compare_labels(images[LABEL], labels, grid, motion)


def _air(voxels: NDArray[np.float32]) -> float:
    """Return the value outside a field of view: 0, or with negative values (CT) the median of the outermost voxels."""
    if voxels.min() >= 0:
        return 0.0
    outer = [np.moveaxis(voxels, axis, 0)[[0, -1]].ravel() for axis in range(3)]
    return float(np.median(np.concatenate(outer)))


def _ras(transform: Any) -> NDArray[np.float64]:
    """Return a transform as a (4, 4) matrix, RAS, mm."""
    return np.eye(4) if transform is None else LPS @ matrix_of(transform) @ LPS


def _cut(volume: Stored, box: list[slice]) -> Stored:
    return volume._replace(voxels=volume.voxels[tuple(box)])


def _write(made: Mapping[str, Path], volumes: Mapping[str, Stored], grid: VoxelGrid, fits: Mapping[str, Fit]) -> None:
    """Write volumes with the geometry of the grid, the same in sform and qform, and the transforms."""
    for role, path in made.items():
        path.parent.mkdir(exist_ok=True)
        if role not in volumes:
            write_transform(path, fits[role.removesuffix(" to")].transform or no_motion())
            continue
        voxels, slope, inter = volumes[role]
        image = nib.Nifti1Image(voxels, grid.affine, dtype=voxels.dtype)
        image.header.set_xyzt_units("mm")
        image.header.set_sform(grid.affine, 1)
        image.header.set_qform(grid.affine, 1)
        if (slope, inter) != (1, 0):
            image.header.set_slope_inter(slope, inter)
        nib.save(image, path)


def _rounded(alignment: Alignment) -> dict[str, float]:
    return {name: round(value, 5) for name, value in vars(alignment).items()}
