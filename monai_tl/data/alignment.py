"""How well two scans of one head lie on each other, on one grid and without a reference: what quality control looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
BINS = 48  # of each scan's grey values
LIMITS = (0.5, 99.5)  # percentiles at which grey values are cut off: a bright vessel would else fill the bins


@dataclass(frozen=True)
class Alignment:
    """How two scans on one grid lie on each other.

    Attributes:
        mutual_information: of the grey values in the first scan's head, in nats; compare it with the cohort's: it
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
    head = head_mask(first, voxel)
    other = head_mask(np.where(seen, second, 0), voxel) & seen
    both = head & seen
    covered = float(both.sum() / head.sum()) if head.any() else 0.0
    sizes = int(both.sum()) + int(other.sum())
    overlap = 2.0 * int((both & other).sum()) / sizes if sizes else 0.0
    return Alignment(mutual_information(first[both], second[both]), overlap, covered)


def mutual_information(first: NDArray[Any], second: NDArray[Any], bins: int = BINS) -> float:
    """Give the mutual information of paired grey values in nats, from a joint histogram between their percentiles.

    No pair gives 0: nothing is known of one value from the other.
    """
    if first.size == 0:
        return 0.0
    joint = np.histogram2d(cut(first).ravel(), cut(second).ravel(), bins)[0] / first.size
    apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    filled = joint > 0
    return float((joint[filled] * np.log(joint[filled] / apart[filled])).sum())


def cut(values: NDArray[Any]) -> NDArray[Any]:
    """Cut grey values off at the 0.5th and the 99.5th percentile."""
    low, high = np.percentile(values, LIMITS)
    return np.clip(values, low, high)


def head_mask(voxels: NDArray[Any], voxel: NDArray[np.float64]) -> Mask:
    """Find the head: what is brighter than air, its cavities filled, in one piece.

    Air and head are told apart by Otsu's threshold, halved, since bone and air in the head are darker than its mean, on
    the scan smoothed over 2 mm and with its brightest 0.5 % cut off.

    Args:
        voxels: (i, j, k), any contrast with dark air.
        voxel: (3,) its edges in mm.
    """
    smooth = ndimage.gaussian_filter(cut(voxels).astype(np.float32), 2.0 / np.asarray(voxel))
    air = float(np.percentile(smooth, 2))
    bright = smooth > air + 0.5 * (_otsu(smooth) - air)
    for axis in range(3):  # slice by slice: the throat and a cut-off neck open the head's cavities in 3D
        plane = np.ones([1 if a == axis else 3 for a in range(3)], bool)
        bright = ndimage.binary_fill_holes(bright, plane)
    pieces, count = ndimage.label(bright)  # now, since dark bone parts the brain from the scalp
    return pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:])) if count > 1 else bright


def _otsu(values: NDArray[Any]) -> float:
    """Otsu's threshold: the grey value between two classes whose means differ most (IEEE Trans SMC 9(1), 1979)."""
    counts, edges = np.histogram(values, 256)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    total = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = below * above * (total / below - (total[-1] - total) / above) ** 2
    return float(centres[int(np.nanargmax(np.where(above > 0, apart, np.nan)))])
