"""Rigid registration of a scan to another one of the same head, e.g. of T2 to T1, with ITK.

Mattes mutual information of the grey values inside T1's head is maximised over three angles and three translations, from
coarse to fine. The starting position is searched, since headers may be wrong, and since centres of mass mislead if T2 covers
only a part of the head.

**Convention.** Transforms follow ITK: they map points of T1 (fixed) to points of T2 (moving), both in mm, LPS. The resampled
T2 at a point of T1 is T2 at the mapped point. ``.tfm`` files contain this transform, as other ITK programs expect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.affines import apply_affine
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray
from scipy import ndimage

from monai_tl.errors import DataError
from monai_tl.imaging.grids import LPS, from_itk, itk, to_itk, voxels_of
from monai_tl.preparation.similarity import Alignment, assess, cut, head_mask
from monai_tl.storage.files import atomic_write

BINS = 48
SAMPLING_SEED = 1  # of the sample points; ITK takes 0 as "seed by the clock"
SEARCH = 8.0  # mm per voxel in the search for the starting position
LEVELS = (4.0, 2.0, 1.0)  # mm per voxel, coarse to fine
STEPS = 60  # optimiser steps per level, at most
FEW_POINTS = 60_000  # sample points, enough to detect a shift of 1 mm
POINTS = 1_500_000  # sample points per level, at most; fewer leave an error of some tenths of a mm
STARTS = 3  # starting positions optimised at the coarsest level, of which the best is refined
ANGLES = np.radians([-12.0, 0.0, 12.0])
SHIFTS = (-20.0, 0.0, 20.0)  # mm along the superior axis, where the centre of a T2 that covers only a part of the head is wrong
LEAST_SEEN = 0.4  # of the largest coverage of the head at any start: a small overlap can match by chance
NEAR = 3  # voxels of about 2 mm: margin around the head when only a small shift is sought
MARGIN = 6.0  # mm of air around the head in the mask, so that its outline is used too


@dataclass(frozen=True)
class Registration:
    """A T2 registered to T1.

    Attributes:
        voxels: T2 (i, j, k) on T1's grid, 32-bit floats; 0 outside its field of view.
        transform: ``itk.Euler3DTransform`` from T1's points to T2's, LPS, mm.
        alignment: quality of the alignment after registration.
    """

    voxels: NDArray[np.float32]
    transform: Any
    alignment: Alignment


def register(t1: SpatialImage, t2: SpatialImage) -> Registration:
    """Register T2 rigidly to T1 and resample it once, with cubic B-splines, to T1's grid.

    The result depends only on the two scans: ITK runs in one thread with a fixed seed.

    Raises:
        DataError: if a scan is constant or has skewed axes, or the two heads do not overlap.
    """
    transform = find_position(t1, t2)
    resampled, seen = resample(t2, t1, transform)
    voxel = np.linalg.norm(t1.affine[:3, :3], axis=0)
    return Registration(resampled, transform, assess(voxels_of(t1), resampled, seen, voxel))


def find_position(fixed_scan: SpatialImage, moving_scan: SpatialImage, names: tuple[str, str] = ("T1", "T2")) -> Any:
    """Find the rigid transform from the points of a scan to those of another one of the same head.

    Args:
        fixed_scan: (i, j, k), any contrast.
        moving_scan: on any grid; its header may be wrong, see `ANGLES` and `SHIFTS`.
        names: of the two, for messages.

    Returns:
        ``itk.Euler3DTransform``, LPS, mm.

    Raises:
        DataError: if a scan is constant or has skewed axes, or the two heads do not overlap.
    """
    still, moved = voxels_of(fixed_scan), voxels_of(moving_scan)
    for name, voxels in zip(names, (still, moved), strict=True):
        if voxels.min() == voxels.max():
            raise DataError(f"{name} has the same value in every voxel ({voxels.min():g}); it cannot be registered")
    fixed, moving = to_itk(cut(still), fixed_scan.affine), to_itk(cut(moved), moving_scan.affine)
    voxel = np.linalg.norm(fixed_scan.affine[:3, :3], axis=0)
    head = head_mask(still, voxel)
    moving_head = head_mask(moved, np.linalg.norm(moving_scan.affine[:3, :3], axis=0))
    near = ndimage.distance_transform_edt(~head, sampling=voxel) <= MARGIN
    mask = to_itk(near.astype(np.uint8), fixed_scan.affine)
    centre = _centre(head, fixed_scan.affine)
    targets = (
        np.zeros(3),  # by the headers
        _centre(moving_head, moving_scan.affine) - centre,
        _centre(np.ones_like(moving_head), moving_scan.affine) - _centre(np.ones_like(head), fixed_scan.affine),
    )
    transform = _best_start(fixed, moving, mask, centre, targets)
    if transform is None:
        one, other = names
        raise DataError(f"{one} and {other} do not overlap at any starting position; check that they are scans of one person")
    for edge in LEVELS[1:]:
        transform, _ = _optimise(fixed, moving, mask, transform, edge)
    return transform


def registration_settings() -> dict[str, Any]:
    """Return what the result of a registration depends on besides the scans, for records."""
    return {"bins": BINS, "levels_mm": list(LEVELS), "steps": STEPS, "points": POINTS, "seed": SAMPLING_SEED}


def better_place(
    still: NDArray[np.float32], moved: NDArray[np.float32], head: NDArray[np.bool_], voxel: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Register ``moved`` to ``still`` from its current position, at two voxels and at one, and return its displacement.

    Args:
        still: (i, j, k), RAS.
        moved: on the same grid; voxels inside the head with its lowest value are not sampled, as outside its field of view.
        head: mask of the head in ``still``, within the field of view of ``moved``.
        voxel: (3,) edges in mm.

    Returns:
        (n, 3) displacements of ``moved`` in mm, RAS, at points throughout the head; None if the two overlap too little.
    """
    affine = np.diag([*voxel, 1.0])
    near = ndimage.binary_dilation(head, iterations=NEAR) & ~(head & (moved == moved.min()))
    fixed, moving = to_itk(cut(still), affine), to_itk(cut(moved), affine)
    mask = to_itk(near.astype(np.uint8), affine)
    points = apply_affine(LPS @ affine, np.argwhere(head)[::20])
    if not len(points) or cut(moved).min() == cut(moved).max():
        return None
    place = _rigid(points.mean(0), (0, 0, 0), (0, 0, 0))
    try:
        for times in (2, 1):
            place, _ = _optimise(fixed, moving, mask, place, times * float(voxel.prod()) ** (1 / 3), FEW_POINTS)
    except RuntimeError:  # too few sample points are inside
        return None
    return (points - apply_affine(matrix_of(place), points)) * (-1, -1, 1)


def resample(
    moving_scan: SpatialImage, like: Any, transform: Any, *, linear: bool = False, fill: float = 0.0
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Resample a scan once, to another grid, with cubic B-splines or linearly.

    Args:
        moving_scan: the scan.
        like: has the shape (i, j, k) and the RAS affine of the grid.
        transform: from the grid's points to the scan's, LPS, mm.
        linear: linearly; splines are clipped to the scan's range, since they overshoot at edges.
        fill: value outside the scan's field of view.

    Returns:
        The scan (i, j, k) on the grid, and the mask of its field of view.
    """
    voxels = voxels_of(moving_scan)
    target = to_itk(np.zeros(like.shape[:3], np.uint8), like.affine)
    picture = to_itk(voxels, moving_scan.affine)
    spline = itk().BSplineInterpolateImageFunction[type(picture), itk().D, itk().F].New()
    spline.SetSplineOrder(3)
    smooth = itk().LinearInterpolateImageFunction[type(picture), itk().D].New() if linear else spline
    everywhere = to_itk(np.ones_like(voxels), moving_scan.affine)
    nearest = itk().NearestNeighborInterpolateImageFunction[type(picture), itk().D].New()
    moved, seen = (
        itk().resample_image_filter(
            image,
            interpolator=how,
            transform=transform,
            reference_image=target,
            use_reference_image=True,
            default_pixel_value=0,
        )
        for image, how in ((picture, smooth), (everywhere, nearest))
    )
    inside = from_itk(seen)[0] > 0.5
    return np.where(inside, np.clip(from_itk(moved)[0], voxels.min(), voxels.max()), fill).astype(np.float32), inside


def write_transform(path: Path | str, transform: Any) -> None:
    """Write a transform in ITK's text format (``.tfm``) and read it back, since ITK does not report a full disk."""
    with atomic_write(path) as temporary:
        itk().transformwrite([transform], str(temporary))
        again = read_transform(temporary)
        if list(again.GetParameters()) != list(transform.GetParameters()):
            raise DataError(f"{path} could not be written completely; check that the disk is not full")


def read_transform(path: Path | str) -> Any:
    """Read the transform of a ``.tfm``.

    Raises:
        DataError: if the file contains none.
    """
    try:
        return itk().transformread(str(path))[0]
    except (RuntimeError, IndexError) as error:
        raise DataError(f"{path} contains no transform that ITK can read ({str(error).splitlines()[-1:]})") from error


def no_motion() -> Any:
    """Return the rigid transform that moves nothing."""
    return _rigid(np.zeros(3), (0, 0, 0), (0, 0, 0))


def matrix_of(transform: Any) -> NDArray[np.float64]:
    """Return a rigid transform as a (4, 4) matrix from T1's points to T2's, LPS, mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = itk().GetArrayFromMatrix(transform.GetMatrix())
    matrix[:3, 3] = transform.GetOffset()
    return matrix


def _centre(mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the centre of a mask (i, j, k) in LPS, mm."""
    if not mask.any():
        raise DataError("no head was found in a scan")
    return apply_affine(LPS @ affine, ndimage.center_of_mass(mask))


def _rigid(centre: NDArray[np.float64], angles: Any, shift: Any) -> Any:
    transform = itk().Euler3DTransform[itk().D].New()
    transform.SetCenter(centre.tolist())
    transform.SetRotation(*map(float, angles))
    transform.SetTranslation([float(value) for value in shift])
    return transform


def _best_start(fixed: Any, moving: Any, mask: Any, centre: NDArray[np.float64], targets: Sequence[NDArray[np.float64]]) -> Any:
    """Search the starting position: the head's centre moved to each target point, then rotated, shifted; None if all miss."""
    metric = _metric(_coarser(fixed, SEARCH), _coarser(moving, SEARCH), mask)
    metric.SetNumberOfHistogramBins(BINS // 2)  # fewer, since there are fewer voxels
    starts: list[tuple[float, int, Any]] = []  # minus the mutual information, points that T2 covers, transform
    for target, angles, up in product(targets, product(ANGLES, repeat=3), SHIFTS):
        transform = _rigid(centre, angles, (*target[:2], target[2] + up))
        starts.append((*_value(metric, transform), transform))
    most = max(seen for _, seen, _ in starts)
    if most == 0:
        return None
    best = sorted((start for start in starts if start[1] >= LEAST_SEEN * most), key=lambda start: start[0])[:STARTS]
    ends = [_optimise(fixed, moving, mask, start, LEVELS[0]) for *_, start in best]
    return min(ends, key=lambda end: end[1])[0]


def _value(metric: Any, transform: Any) -> tuple[float, int]:
    """Return minus the mutual information, and the number of sample points that the moving image covers."""
    metric.SetMovingTransform(transform)
    metric.Initialize()
    try:
        value = float(metric.GetValue())
    except RuntimeError:  # no sample point is inside
        return 0.0, 0
    return value, int(metric.GetNumberOfValidPoints())


def _metric(fixed: Any, moving: Any, mask: Any) -> Any:
    kind = type(fixed)
    metric = itk().MattesMutualInformationImageToImageMetricv4[kind, type(moving)].New()
    metric.SetNumberOfHistogramBins(BINS)
    metric.SetFixedImage(fixed)
    metric.SetMovingImage(moving)
    inside = itk().ImageMaskSpatialObject[3].New()
    inside.SetImage(mask)
    inside.Update()
    metric.SetFixedImageMask(inside)
    metric.SetUseMovingImageGradientFilter(False)
    metric.SetUseFixedImageGradientFilter(False)
    return metric


def _optimise(fixed: Any, moving: Any, mask: Any, start: Any, edge: float, points: int = POINTS) -> tuple[Any, float]:
    """Optimise from a start at one level; return the transform and minus its mutual information."""
    still, moved = (_coarser(image, edge) for image in (fixed, moving))
    metric = _metric(still, moved, mask)
    scales = itk().RegistrationParameterScalesFromPhysicalShift[type(metric)].New(Metric=metric)
    optimiser = itk().RegularStepGradientDescentOptimizerv4[itk().D].New()
    optimiser.SetScalesEstimator(scales)
    optimiser.SetDoEstimateLearningRateOnce(True)
    optimiser.SetDoEstimateLearningRateAtEachIteration(False)
    optimiser.SetNumberOfIterations(STEPS)
    optimiser.SetMaximumStepSizeInPhysicalUnits(edge / 2)
    optimiser.SetMinimumStepLength(1e-3)
    optimiser.SetRelaxationFactor(0.6)
    optimiser.SetReturnBestParametersAndValue(True)
    method = itk().ImageRegistrationMethodv4[type(still), type(moved)].New()
    method.SetFixedImage(still)
    method.SetMovingImage(moved)
    method.SetMetric(metric)
    method.SetOptimizer(optimiser)
    method.SetInitialTransform(start)
    method.InPlaceOff()
    method.SetNumberOfLevels(1)
    method.SetShrinkFactorsPerLevel([1])
    method.SetSmoothingSigmasPerLevel([0])
    share = points / itk().GetArrayViewFromImage(still).size
    if share < 1:
        method.SetMetricSamplingStrategy(itk().ImageRegistrationMethodv4Enums.MetricSamplingStrategy_RANDOM)
        method.SetMetricSamplingPercentage(share)
        method.MetricSamplingReinitializeSeed(SAMPLING_SEED)
    method.Update()
    end = no_motion()
    result = method.GetTransform()
    end.SetFixedParameters(result.GetFixedParameters())
    end.SetParameters(result.GetParameters())
    return end, float(optimiser.GetValue())


def _coarser(image: Any, edge: float) -> Any:
    """Average blocks of voxels, so that their edges are about ``edge`` mm; a block's position is its centre."""
    factors = [max(1, round(edge / length)) for length in image.GetSpacing()]
    if max(factors) == 1:
        return image
    return itk().bin_shrink_image_filter(image, shrink_factors=factors)
