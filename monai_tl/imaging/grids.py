"""From one grid to another: nibabel's affines and ITK's geometry, labels by nearest neighbour.

nibabel's affine maps a voxel (i, j, k) to mm on axes that point right, anterior, superior (RAS); ITK counts mm to the left,
posterior, superior (LPS). The two differ in the sign of x and y, and nothing else.
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
RIGHT_ANGLE = 1e-3  # largest cosine between two axes: headers keep float32, and quaternions lose a little more
SAME = 1e-3  # mm


@cache
def itk() -> Any:
    """Import ITK, which takes seconds, when it is first needed, and hold it to one thread: sums over threads round anew."""
    import itk as library

    library.MultiThreaderBase.SetGlobalMaximumNumberOfThreads(1)
    return library


def voxels_of(image: SpatialImage) -> NDArray[np.float32]:
    """Read an image's voxels (i, j, k) as 32-bit floats; a fourth axis of length 1 goes."""
    voxels = np.asarray(image.dataobj, np.float32)
    return voxels.reshape(voxels.shape[:3])


def to_itk(voxels: NDArray[Any], affine: NDArray[np.float64]) -> Any:
    """Give voxels (i, j, k) with a RAS affine as an ITK image: LPS, mm.

    Raises:
        DataError: if the affine's axes are not at right angles, which ITK cannot hold.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    axes = affine[:3, :3] / spacing
    skew = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if skew > RIGHT_ANGLE:
        raise DataError(
            f"the voxel axes are not at right angles (they are off by {np.degrees(np.arcsin(min(skew, 1))):.2g}°), "
            "which rigid registration cannot take; resample the scan to axes that are"
        )
    image = itk().GetImageFromArray(np.ascontiguousarray(voxels.transpose(2, 1, 0)))  # ITK's arrays run (k, j, i)
    lps = LPS @ affine
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection(itk().GetMatrixFromArray(np.ascontiguousarray(lps[:3, :3] / spacing)))
    return image


def from_itk(image: Any) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Give an ITK image's voxels (i, j, k) and its RAS affine."""
    direction = itk().GetArrayFromMatrix(image.GetDirection())
    lps = np.eye(4)
    lps[:3, :3] = direction * np.array(image.GetSpacing())
    lps[:3, 3] = image.GetOrigin()
    return itk().GetArrayFromImage(image).transpose(2, 1, 0), LPS @ lps


def on_grid_of(voxels: np.ndarray, like: Any) -> nib.Nifti1Image:
    """Give voxels (i, j, k) as a NIfTI image on another image's grid, to be written.

    Of a NIfTI image all that its file says of the geometry is copied as it is stored, codes and unit included: so the two
    lie on each other in every program, whichever part of the header it believes. ``affine`` of the image is None, or nibabel
    would write its own idea of it.
    """
    stored = like.extra["geometry"].stored if "geometry" in like.extra else like.header
    image = nib.Nifti1Image(voxels, None)
    if isinstance(stored, nib.Nifti1Header):  # NIfTI-2's is one too
        copy_fields(stored, image.header)  # after the image was made, or nibabel would mend them
    else:
        image.header.set_xyzt_units("mm")
        image.header.set_qform(like.affine, 1)
        image.header.set_sform(like.affine, 1)
    return image


def regrid_labels(labels: SpatialImage, like: SpatialImage) -> NDArray[np.int32]:
    """Bring labels onto another image's grid by nearest neighbour, through mm; voxels outside their grid are 0.

    Args:
        labels: (i, j, k), whole numbers, e.g. FreeSurfer's conformed 256³.
        like: the image whose grid is wanted; the same person in the same mm.

    Returns:
        (i, j, k) of ``like``; the very same values where the grids are the same.
    """
    values = np.rint(np.asarray(labels.dataobj)).astype(np.int32)
    values = values.reshape(values.shape[:3])
    shape = like.shape[:3]
    if values.shape == shape and np.abs(np.asarray(labels.affine) - np.asarray(like.affine)).max() <= SAME:
        return values
    moved = resample_from_to(nib.Nifti1Image(values, labels.affine), (shape, like.affine), order=0)
    return np.asarray(moved.dataobj).astype(np.int32)
