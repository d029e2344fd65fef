"""Alignment of two scans of one head on one grid, measured without a reference; used in quality control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
BINS = 32  # equally populated in each scan, so the mutual information is at most log2(32) = 5 bits
LIMITS = (0.5, 99.5)  # percentiles to which grey values are clipped: a bright vessel would otherwise raise a threshold
SMOOTH = 2.0  # mm


@dataclass(frozen=True)
class Alignment:
    """Alignment of two scans on one grid.

    Attributes:
        mutual_information: of the grey values in the first scan's head, in bits; higher is better. It depends on contrast,
            noise and voxel size, so compare it within a cohort.
        overlap: Dice of the two head masks within the second scan's field of view; 1 is best.
        covered: share of the first scan's head inside the second scan's field of view, 0 to 1.
    """

    mutual_information: float
    overlap: float
    covered: float


def assess(first: NDArray[Any], second: NDArray[Any], seen: Mask, voxel: NDArray[np.float64]) -> Alignment:
    """Measure the alignment of two scans.

    Args:
        first: (i, j, k), any contrast.
        second: on the same grid.
        seen: mask of the second scan's field of view, as opposed to padding.
        voxel: (3,) its edges in mm.
    """
    return compare_images(first, second, head_mask(first, voxel), head_mask(np.where(seen, second, 0), voxel), seen)


def compare_images(first: NDArray[Any], second: NDArray[Any], head: Mask, other: Mask, seen: Mask) -> Alignment:
    """Measure the alignment of two scans with known head masks: ``head`` in the first, ``other`` in the second."""
    both = head & seen
    covered = float(both.sum() / head.sum()) if head.any() else 0.0
    sizes = int(both.sum()) + int((other & seen).sum())
    overlap = 2.0 * int((both & other).sum()) / sizes if sizes else 0.0
    return Alignment(mutual_information(first[both], second[both]), overlap, covered)


def mutual_information(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Return the mutual information in bits of paired grey values, ranked into `BINS` equally populated bins.

    Ranks make it independent of a scanner's gain and contrast, so that cases can be compared. It is 0 for fewer pairs than
    bins.
    """
    if first.size < BINS:
        return 0.0
    shares = np.linspace(0, 1, BINS + 1)[1:-1]
    ranks = [np.searchsorted(np.quantile(values, shares), values) for values in (first.ravel(), second.ravel())]
    joint = np.bincount(ranks[0] * BINS + ranks[1], minlength=BINS * BINS).reshape(BINS, BINS) / first.size
    alone = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    return float((joint[joint > 0] * np.log2(joint[joint > 0] / alone[joint > 0])).sum())


def cut(values: NDArray[Any]) -> NDArray[Any]:
    """Clip grey values to the 0.5th and the 99.5th percentile."""
    low, high = np.percentile(values, LIMITS)
    return np.clip(values, low, high)


def head_mask(voxels: NDArray[Any], voxel: NDArray[np.float64], smooth: float = SMOOTH) -> Mask:
    """Return the mask of the head: the largest connected component brighter than air, with its cavities filled.

    The threshold is half of Otsu's, since bone and air inside the head are darker than its mean. It is applied to the smoothed
    scan, clipped at its 0.5th and 99.5th percentile.

    Args:
        voxels: (i, j, k), any contrast with dark air.
        voxel: (3,) its edges in mm.
        smooth: standard deviation of the smoothing in mm; use less if the head's edge matters.
    """
    soft = ndimage.gaussian_filter(cut(voxels).astype(np.float32), smooth / np.asarray(voxel))
    air = float(np.percentile(soft, 2))
    bright = soft > air + 0.5 * (otsu(soft) - air)
    for axis in range(3):  # slice by slice, since throat and neck connect the cavities to the outside in 3D
        plane = np.ones([1 if a == axis else 3 for a in range(3)], bool)
        bright = ndimage.binary_fill_holes(bright, plane)
    components, count = ndimage.label(bright)  # after filling, since dark bone separates the brain from the scalp
    return np.asarray(components == 1 + int(np.argmax(np.bincount(components.ravel())[1:])) if count > 1 else bright)


def otsu(values: NDArray[Any]) -> float:
    """Return Otsu's threshold, which maximises the variance between two classes (IEEE Trans SMC 9(1), 1979)."""
    counts, edges = np.histogram(values, 256)
    middles = (edges[:-1] + edges[1:]) / 2
    below, sums = np.cumsum(counts, dtype=float), np.cumsum(counts * middles)
    between = (sums[-1] * below - below[-1] * sums) ** 2 / np.maximum(below * (below[-1] - below), 1)
    return float(middles[between == between.max()].mean())  # the middle of a gap between dark and bright
