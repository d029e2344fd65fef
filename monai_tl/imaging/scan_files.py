"""Opening scans: a 3D image, one volume of a 4D image, or a DICOM series. No other module opens scans.

`monai_tl.imaging.geometry` determines the affine; the whole package uses the affine of the image that `open_scan` returns.

A path may end in ``#`` and a part: ``imagesTr/BRATS_001.nii.gz#2`` is the third volume (counted from 0) of a 4D image,
``scans/ann#T1 MPRAGE`` is one of several series in a folder (see `monai_tl.imaging.dicom`). A path that exists literally is
used literally, so file names may contain ``#``. Nothing is unpacked on disk.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage

from monai_tl.errors import DataError
from monai_tl.imaging.dicom import choose_series, open_series
from monai_tl.imaging.geometry import (
    UNKNOWN,
    Geometry,
    Note,
    affine_fault,
    geometry_of_nifti,
    scaling_of_nifti,
    with_consistent_geometry,
)
from monai_tl.storage.files import sha256_of

PART = "#"
SILENT = logging.getLogger(f"{__name__}.silent")  # discards nibabel's messages about repairs to a header that is not used
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False
UNREADABLE = 40  # nibabel's error level for header faults that make the file unreadable


def split_path(path: str | Path) -> tuple[str, str | None]:
    """Split a case's path into the file or folder and the selected part of it (``None`` for all of it)."""
    text = str(path)
    folder, name = os.path.split(text)
    if os.path.lexists(text) or PART not in name:
        return text, None
    for at in (at for at, letter in enumerate(name) if letter == PART):
        whole = os.path.join(folder, name[:at])
        if name[:at] and os.path.lexists(whole):
            return whole, name[at + 1 :]
    return text, None


def scan_exists(path: str | Path) -> bool:
    """Return whether the file or folder of a case's path exists; it is not opened."""
    return os.path.exists(split_path(path)[0])


def open_scan(path: str | Path) -> SpatialImage:
    """Open a scan; voxels are read on access, and only those of the selected volume of a 4D image.

    Args:
        path: an image that nibabel reads, with ``#n`` for one volume of a 4D image, or a folder with a DICOM series.

    Returns:
        A 3D image (i, j, k) with an affine to RAS in mm; a 4D image of one volume is squeezed. All geometry fields of its
        header agree with that affine; `geometry_of` returns the geometry of the file's own header.

    Raises:
        DataError: if the file, volume or series does not exist, if it is not 3D (its shape is named), or if its header does
            not define a valid affine.
    """
    whole, part = split_path(path)
    if os.path.isdir(whole):
        return _with_geometry(open_series(choose_series(Path(whole), part)))
    if os.path.islink(whole) and not os.path.exists(whole):
        raise DataError(f"is a broken link (to {os.readlink(whole)})")
    if not os.path.exists(whole):
        raise DataError("does not exist")
    image = _load(whole)
    shape, volumes = image.shape, image.shape[3:]
    size = "×".join(str(length) for length in shape)
    if len(shape) < 3 or 0 in shape or len([length for length in volumes if length != 1]) > 1:
        raise DataError(f"is not 3D (shape {size})")
    count = int(np.prod(volumes))
    if part is None and count > 1:
        raise DataError(f"is not 3D (shape {size}); select one volume by appending {PART}0 to {PART}{count - 1} to the path")
    if part is not None and (not part.isdecimal() or int(part) >= count):
        raise DataError(f"has no volume '{part}' (shape {size}); it has the volumes {PART}0 to {PART}{count - 1}")
    return _with_geometry(_Volume.of(image, int(part or 0)) if volumes else image)


def geometry_of(image: SpatialImage) -> Geometry:
    """Return the geometry of an image that `open_scan` opened, with its notes and the header as stored."""
    geometry: Geometry = image.extra["geometry"]
    return geometry


def inner_proxy(image: SpatialImage) -> Any:
    """Return nibabel's proxy for the whole file, even if the image is a single volume of it."""
    data: Any = image.dataobj
    return data.dataobj if isinstance(data, _Volume) else data


def _with_geometry(image: Any) -> SpatialImage:
    """Return the image, or raise if its header does not define a valid affine."""
    geometry = image.extra.setdefault("geometry", Geometry(image.affine, fault=affine_fault(image.affine)))
    if geometry.fault:
        raise DataError(geometry.fault)
    return cast(SpatialImage, image)


def _load(path: str) -> Any:
    """Open one file as nibabel does, but with the geometry of the header as stored."""
    sniff = None
    for kind in nib.imageclasses.all_image_classes:
        maybe, sniff = kind.path_maybe_image(path, sniff)
        if maybe:
            break
    if maybe and issubclass(kind, nib.Nifti1Pair):  # includes NIfTI-2
        return _load_nifti(kind, path)
    image: Any = nib.load(path)  # raises if the format is unknown
    if isinstance(image, nib.AnalyzeImage):
        matrix = image.file_map["mat"].filename if "mat" in image.file_map else None
        if matrix and os.path.exists(matrix):
            notes = (Note("its orientation is taken from the .mat file next to it", os.path.basename(matrix)),)
            image.extra["geometry"] = Geometry(image.affine, notes, affine_fault(image.affine))
        else:
            image.extra["geometry"] = Geometry(fault=UNKNOWN.format(why="it is an Analyze image, a format that stores none"))
    elif isinstance(image, nib.MGHImage) and not _is_oriented(image):
        image.extra["geometry"] = Geometry(fault=UNKNOWN.format(why="its header has none (goodRASFlag 0)"))
    return image


def _load_nifti(kind: Any, path: str) -> Any:
    files = kind.filespec_to_file_map(path)
    with files.get("header", files["image"]).get_prepare_fileobj(mode="rb") as stream:
        stored = kind.header_class.from_fileobj(stream, check=False)
    geometry, (fault, notes) = geometry_of_nifti(stored), scaling_of_nifti(stored)
    fault = _offset_fault(stored, files) or fault
    geometry = replace(geometry, fault=geometry.fault or fault, notes=(*geometry.notes, *notes))
    header = stored.copy() if geometry.fault else with_consistent_geometry(stored, geometry.affine)
    header.check_fix(SILENT if geometry.fault else None, UNREADABLE)
    if fault:
        header["scl_slope"], header["scl_inter"] = 1, 0  # the voxels of a faulty file are never read
    voxels = kind.ImageArrayProxy(files["image"].filename, header.copy())
    affine = np.eye(4) if geometry.fault else geometry.affine
    return kind(voxels, affine, None if geometry.fault else header, {"geometry": geometry}, files)


def _offset_fault(stored: Any, files: Mapping[str, Any]) -> str:
    """Return the message if a single file's voxels overlap its header or the extensions that it declares; empty if not."""
    if "header" in files:
        return ""
    least, begin = int(stored.single_vox_offset), int(stored["vox_offset"])
    if begin < least:
        return f"has voxels that start inside its header (vox_offset {begin}, needed is at least {least}); convert it again"
    with files["image"].get_prepare_fileobj(mode="rb") as stream:
        extended = stream.read(least)[least - 4] != 0
    if extended and begin == least:
        return f"declares a header extension but leaves no space for it (vox_offset {begin}); convert it again"
    return ""


def _is_oriented(image: Any) -> bool:
    """Return whether an MGH header defines an orientation; nibabel otherwise assumes the default one."""
    with image.file_map["image"].get_prepare_fileobj(mode="rb") as stream:
        return int.from_bytes(stream.read(30)[28:], "big") > 0


def files_of(path: str | Path) -> list[str]:
    """Return the files that a scan is read from, in slice order; for a header and image pair both.

    Raises:
        DataError: for a folder, as `open_scan` raises.
    """
    whole, part = split_path(path)
    if os.path.isdir(whole):
        return list(choose_series(Path(whole), part).files)
    stem, ending = os.path.splitext(whole.removesuffix(".gz"))
    others = [stem + other + packed for other in (".hdr", ".img", ".mat") for packed in ("", ".gz")]
    pair = others if ending in (".hdr", ".img") else [whole]
    return [file for file in pair if file == whole or os.path.exists(file)]


def sha256_of_scan(path: str | Path) -> str:
    """Hash the content of a scan: its file (and the volume's number, if one is selected) or the files of its series."""
    files, part = files_of(path), split_path(path)[1]
    if len(files) == 1 and part is None:
        return sha256_of(files[0])
    return hashlib.sha256("".join([*(sha256_of(file) for file in files), PART, part or ""]).encode()).hexdigest()


class _Volume:
    """An array proxy, as nibabel's, for one volume of a 4D image: it reads only that volume, on access."""

    is_proxy = True
    ndim = 3

    def __init__(self, dataobj: Any, index: tuple[int, ...]) -> None:
        self.dataobj, self.index, self.shape, self.dtype = dataobj, index, dataobj.shape[:3], dataobj.dtype

    @classmethod
    def of(cls, image: Any, number: int) -> SpatialImage:
        """Return one volume as an image, with the header of the 4D image."""
        index = np.unravel_index(number, image.shape[3:])
        voxels = cls(image.dataobj, tuple(int(at) for at in index))
        return type(image)(voxels, image.affine, image.header.copy(), image.extra)

    def on(self, dataobj: Any) -> _Volume:
        """Return the same volume, read from another proxy."""
        return _Volume(dataobj, self.index)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:, :, :], dtype=dtype)

    def __getitem__(self, slices: Any) -> np.ndarray:
        slices = slices if isinstance(slices, tuple) else (slices,)
        if Ellipsis in slices:
            at = slices.index(Ellipsis)
            slices = (*slices[:at], *[slice(None)] * (4 - len(slices)), *slices[at + 1 :])
        slices += (slice(None),) * (3 - len(slices))
        return np.asanyarray(self.dataobj[(*slices, *self.index)])
