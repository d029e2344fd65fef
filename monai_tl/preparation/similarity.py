"""How well two scans of one head lie on each other, on one grid and without a reference: what quality control looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
BINS = 32  # of equal share in each scan, so that at most log2(32) = 5 bits can be mutual
LIMITS = (0.5, 99.5)  # percentiles at which grey values are cut off: a bright vessel would else draw a threshold up
SMOOTH = 2.0  # mm


@dataclass(frozen=True)
class Alignment:
    """How two scans on one grid lie on each other.

    Attributes:
        mutual_information: of the grey values in the first scan's head, in bits; compare it with the cohort's: it
            depends on contrast, noise and voxel size. Higher is better.
        overlap: Dice of the two head masks, counted where the second scan was measured; 1 is best.
        covered: share of the first scan's head that the second one's field of view covers, 0 to 1.
    """

    mutual_information: float
    overlap: float
    covered: float


def assess(first: NDArray[Any], second: NDArray[Any], seen: Mask, voxel: NDArray[np.float64]) -> Alignment:
    """Measure how two scans lie on each other.

    Args:
        first: (i, j, k), any contrast.
        second: on the same grid.
        seen: where the second scan was measured, not filled up with zeros.
        voxel: (3,) its edges in mm.
    """
    return compare_images(first, second, head_mask(first, voxel), head_mask(np.where(seen, second, 0), voxel), seen)


def compare_images(first: NDArray[Any], second: NDArray[Any], head: Mask, other: Mask, seen: Mask) -> Alignment:
    """Measure how two scans lie on each other, whose head masks are known: ``head`` in the first, ``other`` in the second."""
    both = head & seen
    covered = float(both.sum() / head.sum()) if head.any() else 0.0
    sizes = int(both.sum()) + int((other & seen).sum())
    overlap = 2.0 * int((both & other).sum()) / sizes if sizes else 0.0
    return Alignment(mutual_information(first[both], second[both]), overlap, covered)


def mutual_information(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Give the bits that paired grey values share, taken as ranks in `BINS` bins of equal share.

    Ranks rather than grey values: gain and contrast of a scanner then play no part, and cases can be compared. Fewer pairs
    than bins give 0: nothing is known of one value from the other.
    """
    if first.size < BINS:
        return 0.0
    shares = np.linspace(0, 1, BINS + 1)[1:-1]
    ranks = [np.searchsorted(np.quantile(values, shares), values) for values in (first.ravel(), second.ravel())]
    joint = np.bincount(ranks[0] * BINS + ranks[1], minlength=BINS * BINS).reshape(BINS, BINS) / first.size
    alone = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    return float((joint[joint > 0] * np.log2(joint[joint > 0] / alone[joint > 0])).sum())


def cut(values: NDArray[Any]) -> NDArray[Any]:
    """Cut grey values off at the 0.5th and the 99.5th percentile."""
    low, high = np.percentile(values, LIMITS)
    return np.clip(values, low, high)


def head_mask(voxels: NDArray[Any], voxel: NDArray[np.float64], smooth: float = SMOOTH) -> Mask:
    """Find the head: what is brighter than air, its cavities filled, in one piece.

    Air and head are told apart by Otsu's threshold, halved, since bone and air in the head are darker than its mean, on
    the scan smoothed and with its brightest 0.5 % cut off.

    Args:
        voxels: (i, j, k), any contrast with dark air.
        voxel: (3,) its edges in mm.
        smooth: standard deviation of the smoothing in mm; what is to be told of the head's edge asks for less.
    """
    soft = ndimage.gaussian_filter(cut(voxels).astype(np.float32), smooth / np.asarray(voxel))
    air = float(np.percentile(soft, 2))
    bright = soft > air + 0.5 * (otsu(soft) - air)
    for axis in range(3):  # slice by slice: the throat and a cut-off neck open the head's cavities in 3D
        plane = np.ones([1 if a == axis else 3 for a in range(3)], bool)
        bright = ndimage.binary_fill_holes(bright, plane)
    pieces, count = ndimage.label(bright)  # now, since dark bone parts the brain from the scalp
    return np.asarray(pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:])) if count > 1 else bright)


def otsu(values: NDArray[Any]) -> float:
    """Otsu's threshold: the grey value between two classes whose means differ most (IEEE Trans SMC 9(1), 1979)."""
    counts, edges = np.histogram(values, 256)
    middles = (edges[:-1] + edges[1:]) / 2
    below, sums = np.cumsum(counts, dtype=float), np.cumsum(counts * middles)
    between = (sums[-1] * below - below[-1] * sums) ** 2 / np.maximum(below * (below[-1] - below), 1)
    return float(middles[between == between.max()].mean())  # the middle of a gap between dark and bright
