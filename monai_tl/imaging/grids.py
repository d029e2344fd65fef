"""Conversion between grids: nibabel's affines, ITK's geometry, and labels by nearest neighbour.

nibabel's affine maps a voxel (i, j, k) to mm on axes that point right, anterior, superior (RAS); ITK uses left, posterior,
superior (LPS). The two differ only in the signs of x and y.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.processing import resample_from_to
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from monai_tl.errors import DataError
from monai_tl.imaging.geometry import copy_fields

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
RIGHT_ANGLE = 1e-3  # largest cosine between two axes: headers store float32, and quaternions lose some more precision
SAME = 1e-3  # mm


@cache
def itk() -> Any:
    """Import ITK on first use, since that takes seconds, with one thread: sums over threads are not reproducible."""
    import itk as library

    library.MultiThreaderBase.SetGlobalMaximumNumberOfThreads(1)
    return library


def voxels_of(image: SpatialImage) -> NDArray[np.float32]:
    """Read an image's voxels (i, j, k) as 32-bit floats; a fourth axis of length 1 is dropped."""
    voxels = np.asarray(image.dataobj, np.float32)
    return voxels.reshape(voxels.shape[:3])


def to_itk(voxels: NDArray[Any], affine: NDArray[np.float64]) -> Any:
    """Return voxels (i, j, k) with a RAS affine as an ITK image (LPS, mm).

    Raises:
        DataError: if the affine's axes are not at right angles, which ITK cannot represent.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    axes = affine[:3, :3] / spacing
    skew = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if skew > RIGHT_ANGLE:
        raise DataError(
            f"the voxel axes are not at right angles (they are off by {np.degrees(np.arcsin(min(skew, 1))):.2g}°), "
            "which rigid registration does not support; resample the scan to orthogonal axes"
        )
    image = itk().GetImageFromArray(np.ascontiguousarray(voxels.transpose(2, 1, 0)))  # ITK's arrays are (k, j, i)
    lps = LPS @ affine
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection(itk().GetMatrixFromArray(np.ascontiguousarray(lps[:3, :3] / spacing)))
    return image


def from_itk(image: Any) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return the voxels (i, j, k) and the RAS affine of an ITK image."""
    direction = itk().GetArrayFromMatrix(image.GetDirection())
    lps = np.eye(4)
    lps[:3, :3] = direction * np.array(image.GetSpacing())
    lps[:3, 3] = image.GetOrigin()
    return itk().GetArrayFromImage(image).transpose(2, 1, 0), LPS @ lps


def on_grid_of(voxels: np.ndarray, like: Any) -> nib.Nifti1Image:
    """Return voxels (i, j, k) as a NIfTI image on another image's grid, ready to be written.

    If the other image is NIfTI, all its geometry fields are copied as stored, including codes and unit, so that the two images
    coincide in every program, whichever fields it reads. The image's ``affine`` is None, since nibabel would otherwise
    overwrite these fields.
    """
    stored = like.extra["geometry"].stored if "geometry" in like.extra else like.header
    image = nib.Nifti1Image(voxels, None)
    if isinstance(stored, nib.Nifti1Header):  # includes NIfTI-2
        copy_fields(stored, image.header)  # after the image was created, since nibabel would change them
    else:
        image.header.set_xyzt_units("mm")
        image.header.set_qform(like.affine, 1)
        image.header.set_sform(like.affine, 1)
    return image


def regrid_labels(labels: SpatialImage, like: Any) -> NDArray[np.int32]:
    """Resample labels to another image's grid by nearest neighbour in mm; voxels outside the labels' grid become 0.

    Args:
        labels: (i, j, k), integers, e.g. FreeSurfer's conformed 256³.
        like: has the shape and the RAS affine of the target grid; the same subject in the same space (mm).

    Returns:
        Labels (i, j, k) on the grid of ``like``; unchanged if the grids are the same.
    """
    values = np.rint(np.asarray(labels.dataobj)).astype(np.int32)
    values = values.reshape(values.shape[:3])
    shape = like.shape[:3]
    if values.shape == shape and np.abs(np.asarray(labels.affine) - np.asarray(like.affine)).max() <= SAME:
        return values
    moved = resample_from_to(nib.Nifti1Image(values, labels.affine), (shape, like.affine), order=0)
    return np.asarray(moved.dataobj).astype(np.int32)
