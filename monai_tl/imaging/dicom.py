"""DICOM series as images: slices sorted by position, on a checked regular grid, converted from LPS to RAS."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from monai_tl.errors import DataError

UID, DESCRIPTION, MODALITY = "0020|000e", "0008|103e", "0008|0060"
POSITION, ORIENTATION, SPACING = "0020|0032", "0020|0037", "0028|0030"
ROWS, COLUMNS, SAMPLES, FRAMES = "0028|0010", "0028|0011", "0028|0002", "0028|0008"
TAGS = (UID, DESCRIPTION, MODALITY, POSITION, ORIENTATION, SPACING, ROWS, COLUMNS, SAMPLES, FRAMES)
UNEVEN = 0.02  # fraction of the slice spacing: headers round positions
TILTED = 0.01  # cosine: headers round angles as well

Slice = tuple[str, Mapping[str, str]]  # file, and the header tags read from it


@dataclass(frozen=True)
class Series:
    """A series on a regular grid.

    Attributes:
        uid: SeriesInstanceUID.
        files: one per slice, in ascending position along the cross product of row and column direction.
        shape: number of voxels (i, j, k): columns, rows, slices.
        affine: 4×4, voxel (i, j, k) to RAS in mm.
    """

    uid: str
    files: tuple[str, ...]
    shape: tuple[int, int, int]
    affine: np.ndarray


def choose_series(folder: Path, wanted: str | None = None) -> Series:
    """Return one DICOM series of a folder; subfolders are not searched.

    Args:
        folder: contains the files of one or more series.
        wanted: which of several series: its SeriesInstanceUID, or a case-insensitive pattern (``*`` matches any text) that
            matches the description of exactly one.

    Raises:
        DataError: if the folder contains no series, or several of which ``wanted`` does not select exactly one (they are
            listed); if a file cannot be read; or if slices are missing, duplicated, tilted or of different shapes.
    """
    by_uid = _read_headers(folder)
    uids = list(by_uid)
    if wanted is not None:
        pattern = wanted.lower()
        uids = [
            uid for uid, slices in by_uid.items() if uid == wanted or fnmatch.fnmatchcase(_description(slices).lower(), pattern)
        ]
    if len(uids) != 1:
        known = "; ".join(_described(uid, slices) for uid, slices in by_uid.items())
        fit = f"holds {len(by_uid)} series, of which {len(uids) or 'none'} match '{wanted}'"
        raise DataError(
            f"{f'holds {len(by_uid)} series' if wanted is None else fit}: {known}; select one with {folder}#DESCRIPTION or "
            f"{folder}#UID, where * matches any text"
        )
    return _on_grid(uids[0], by_uid[uids[0]])


def holds_series(folder: Path) -> bool:
    """Return whether a folder contains a readable DICOM series."""
    try:
        return bool(_read_headers(folder))
    except DataError:
        return False


def open_series(series: Series) -> nib.Nifti1Image:
    """Return a series as an image; its voxels (rescaled, 32-bit floats) are read on first access."""
    image = nib.Nifti1Image(_Voxels(series), series.affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(series.affine, 1)
    image.set_qform(series.affine, 1)
    return image


class _Voxels:
    """An array proxy, as nibabel's, that reads the voxels of a series on access."""

    is_proxy = True
    ndim = 3
    dtype = np.dtype(np.float32)

    def __init__(self, series: Series) -> None:
        self.series, self.shape = series, series.shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(_read_voxels(self.series), dtype=dtype)

    def __getitem__(self, slices: Any) -> np.ndarray:
        return _read_voxels(self.series)[slices]


def _read_voxels(series: Series) -> np.ndarray:
    """Read the voxels (i, j, k); GDCM applies rescale slope and intercept."""
    import itk

    reader = itk.ImageSeriesReader[itk.Image[itk.F, 3]].New(FileNames=list(series.files), ImageIO=itk.GDCMImageIO.New())
    try:
        reader.Update()
    except RuntimeError as error:  # a truncated file, or a compression that GDCM does not support
        raise DataError(f"the slices of series {series.uid} cannot be read ({_last_line(error)})") from error
    return np.asarray(itk.array_from_image(reader.GetOutput())).transpose(2, 1, 0)


def _read_headers(folder: Path) -> dict[str, list[Slice]]:
    """Return SeriesInstanceUID -> slices, without segmentations.

    Files that are not DICOM are skipped, unless their name ends as a DICOM file's does.
    """
    files = sorted(child.path for child in os.scandir(folder) if child.is_file() and not child.name.startswith("."))
    by_uid: dict[str, list[Slice]] = {}
    for path in files:
        header = _read_header(path, os.stat(path).st_mtime_ns)
        if header is None and path.lower().endswith((".dcm", ".ima")):
            raise DataError(f"contains a file that cannot be read as DICOM ({os.path.getsize(path)} bytes): {path}")
        if header is not None and UID in header and ROWS in header and header.get(MODALITY, "").strip() != "SEG":
            by_uid.setdefault(header[UID], []).append((path, header))
    if not by_uid:
        names = sorted(os.path.basename(path) for path in files)
        raise DataError(f"contains no DICOM series (among its files: {', '.join(names[:5]) or 'none'})")
    return by_uid


@lru_cache(maxsize=4096)  # a case is opened several times: for checking, loading, saving and drawing
def _read_header(path: str, _changed: int) -> Mapping[str, str] | None:
    """Read the `TAGS` of a file's DICOM header; ``None`` if it is not DICOM."""
    import itk

    reader = itk.GDCMImageIO.New(FileName=path)
    if not os.path.getsize(path) or not reader.CanReadFile(path):
        return None
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None
    tags = reader.GetMetaDataDictionary()
    return {tag: str(tags[tag]).strip() for tag in TAGS if tags.HasKey(tag)}


def _on_grid(uid: str, slices: Sequence[Slice]) -> Series:
    """Sort the slices by position and compute their grid."""
    name = _described(uid, slices)
    first = slices[0][1]
    lacking = [path for path, header in slices if not header.get(POSITION) or not header.get(ORIENTATION)]
    if lacking or any(int(header.get(FRAMES, "1")) > 1 for _, header in slices):
        what = "several frames in a file" if not lacking else "a file without a position or orientation"
        raise DataError(f"series {name} has {what} ({(lacking or [slices[0][0]])[0]}); convert it to NIfTI, e.g. with dcm2niix")
    for tag, what in ((ROWS, "rows"), (COLUMNS, "columns"), (SAMPLES, "channels"), (SPACING, "pixel spacing")):
        values = sorted({header.get(tag, "none") for _, header in slices})
        if len(values) > 1 or values == ["none"] or (tag == SAMPLES and values != ["1"]):
            raise DataError(
                f"series {name} has slices with {what} {', '.join(values[:5])}; all slices need the same grid of grey values"
            )
    directions = np.array([_numbers(header[ORIENTATION]) for _, header in slices]).reshape(-1, 2, 3)
    if np.abs(directions - directions[0]).max() > TILTED:
        raise DataError(f"series {name} has slices of different orientations, as a localiser does; a volume is needed")
    row, column = directions[0]
    positions = np.array([_numbers(header[POSITION]) for _, header in slices])
    along = positions @ np.cross(row, column)
    order = np.argsort(along, kind="stable")
    step = _slice_step(name, [slices[at][0] for at in order], positions[order], np.cross(row, column))
    between_rows, between_columns = _numbers(first[SPACING])
    lps = np.eye(4)
    lps[:3] = np.column_stack([row * between_columns, column * between_rows, step, positions[order[0]]])
    shape = (int(first[COLUMNS]), int(first[ROWS]), len(slices))
    return Series(uid, tuple(slices[at][0] for at in order), shape, np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps)


def _slice_step(name: str, files: Sequence[str], positions: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Return the vector from one slice to the next in mm; slices must be evenly spaced along their normal.

    Args:
        name: of the series, for error messages.
        files: in ascending position.
        positions: (slices, 3), LPS, mm.
        normal: unit normal of the slices.
    """
    if len(files) < 2:
        raise DataError(f"series {name} is not a volume: it has fewer than two slices")
    along = positions @ normal
    steps = np.diff(along)
    usual = float(np.median(steps))
    uneven = np.flatnonzero(np.abs(steps - usual) > UNEVEN * max(usual, 0.1))
    doubled = np.flatnonzero(steps < 0.1 * max(usual, 0.1))
    if doubled.size:
        at = int(doubled[0])
        both = f"{os.path.basename(files[at])} and {os.path.basename(files[at + 1])}"
        raise DataError(
            f"series {name} has {doubled.size} slices at the same position as another ({both} at {along[at]:.2f} mm along the "
            "slices' normal): remove copies, or move each echo or time point to a folder of its own"
        )
    if uneven.size:
        at = int(uneven[0])
        lacking = round(steps[at] / usual) - 1
        whole = lacking > 0 and abs(steps[at] - (lacking + 1) * usual) < 0.1 * usual
        what = f"lacks {lacking} slice{'s' * (lacking > 1)}" if whole else "is not evenly spaced"
        raise DataError(
            f"series {name} {what} between {along[at]:.2f} and {along[at + 1]:.2f} mm along the slices' normal "
            f"({os.path.basename(files[at])}, {os.path.basename(files[at + 1])}; elsewhere {usual:.2f} mm apart); "
            "export it from the archive again"
        )
    step = (positions[-1] - positions[0]) / (len(files) - 1)
    if np.linalg.norm(step - (step @ normal) * normal) > TILTED * float(step @ normal):
        raise DataError(
            f"series {name} is tilted: its slices are not stacked along their normal (gantry tilt); resample it first"
        )
    return np.asarray(step)


def _numbers(text: str) -> np.ndarray:
    return np.array([float(number) for number in text.split("\\")])


def _described(uid: str, slices: Sequence[Slice]) -> str:
    """Describe a series for messages: ``'T1 MPRAGE' (176 slices, MR, 1.2.840…)``."""
    kind = slices[0][1].get(MODALITY, "unknown modality")
    return f"'{_description(slices)}' ({len(slices)} slice{'s' * (len(slices) != 1)}, {kind}, {uid})"


def _description(slices: Sequence[Slice]) -> str:
    return slices[0][1].get(DESCRIPTION, "")


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()[:200]
