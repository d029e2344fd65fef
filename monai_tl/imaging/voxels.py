"""A scan's voxels as they are stored: read to the file's very end once, and fit for 32-bit floats and a z-score or not."""

from __future__ import annotations

import bz2
import gzip
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from monai_tl.errors import DataError
from monai_tl.imaging.scan_files import inner_proxy

OUTLIER = 1000.0  # robust spreads from the median; the farthest of 228 real scans and phantoms is 26
FLAT = 0.02  # robust spread after z-scoring; the least of the same is 0.17
GREYS = 64  # levels that 32-bit floats have to keep between the lowest and the highest value
SQUARES = (1e-16, 1e16)  # a range whose squares fit 32-bit floats, with room
LONE = 1e-4  # share of voxels besides the background's constant; fewer are no picture
CONSTANT = 0.05  # share of voxels of one value that makes it the background's
SAMPLE = 64  # voxels a side from which median and spread are taken
BLOCK = 1 << 20  # bytes
OPENERS: dict[str, Callable[[str], Any]] = {".gz": gzip.open, ".mgz": gzip.open, ".bz2": bz2.open}

_whole: set[tuple[str, int, int]] = set()  # files that were read to their end: path, time of change, bytes


class Stored(NamedTuple):
    """Voxels as they are stored: the values that they stand for are ``voxels * slope + inter``."""

    voxels: NDArray[Any]
    slope: float = 1.0
    inter: float = 0.0

    def values(self) -> NDArray[Any]:
        """Give the values that occur, in ascending order."""
        values = np.unique(self.voxels)
        return values if (self.slope, self.inter) == (1, 0) else np.sort(values * self.slope + self.inter)


def read_stored(image: SpatialImage) -> Stored:
    """Read an image of `monai_tl.imaging.scan_files.open_scan` as it is stored, its file to the very end.

    nibabel stops behind the last voxel, before a compressed file's check sum.

    Raises:
        DataError: if the file is shorter or much longer than its header says.
        Exception: whatever a damaged stream makes gzip, bz2 or nibabel raise.
    """
    data: Any = image.dataobj
    proxy = inner_proxy(image)
    if not isinstance(proxy, ArrayProxy):
        return Stored(np.asanyarray(data))
    path = str(proxy.file_like)
    state = os.stat(path)
    key = (path, state.st_mtime_ns, state.st_size)
    opener = OPENERS.get(os.path.splitext(path)[1].lower())
    if opener is None or key in _whole:
        stored = _unscaled(data, proxy)
        held = state.st_size
    else:
        with opener(path) as stream:
            inside = ArrayProxy(stream, (proxy.shape, proxy.dtype, proxy.offset, proxy.slope, proxy.inter))
            stored = _unscaled(data.on(inside) if data is not proxy else inside, inside)
            while stream.read(BLOCK):
                pass
            held = stream.tell()
    if key not in _whole and isinstance(image, nib.AnalyzeImage):  # NIfTI's are that too; MGH has more behind its voxels
        _refuse_other_length(held, proxy)
    _whole.add(key)
    return stored


def _unscaled(data: Any, proxy: Any) -> Stored:
    """One volume of several comes scaled."""
    if data is not proxy:
        return Stored(np.asanyarray(data))
    return Stored(np.asanyarray(proxy.get_unscaled()), float(proxy.slope), float(proxy.inter))


def _refuse_other_length(held: int, proxy: Any) -> None:
    """Compare the bytes that a file holds, uncompressed, with what its header says."""
    needed = int(proxy.offset) + int(np.prod(proxy.shape)) * proxy.dtype.itemsize
    plane = int(np.prod(proxy.shape[:2])) * proxy.dtype.itemsize
    if held < needed or held - needed >= plane:  # fewer bytes are padding
        less, grid = "less" if held < needed else "more", "×".join(map(str, proxy.shape))
        raise DataError(
            f"it holds {abs(held - needed)} bytes {less} than its header says, {grid} voxels of type {proxy.dtype.name}; copy "
            "or convert it again"
        )


def voxel_faults(stored: Stored) -> list[str]:
    """Find what keeps an image from being z-scored in 32-bit floats, a line a fault, to be read behind its name."""
    voxels = stored.voxels
    low, high = voxels.min(), voxels.max()
    if low == high:
        return [f"holds nothing but {_scaled(low, stored):g}"]
    count = 0 if voxels.dtype.kind in "iu" else int(voxels.size - np.count_nonzero(np.isfinite(voxels)))
    if count:
        return [f"holds {count} voxels that are NaN or infinite"]
    lowest, highest = sorted((_scaled(low, stored), _scaled(high, stored)))
    fault = _range_fault(lowest, highest) or _outlier_fault(stored, lowest, highest)
    return [fault] if fault else []


def _range_fault(lowest: float, highest: float) -> str:
    """Whether 32-bit floats hold the values, their squares and the steps between them."""
    told, largest = f"holds values from {lowest:.4g} to {highest:.4g}", max(abs(lowest), abs(highest))
    if not largest <= float(np.finfo(np.float32).max):
        return f"{told}, beyond what 32-bit floats hold (3.4e+38); are its voxels and its scl_slope right?"
    step = float(np.spacing(np.float32(largest)))
    if highest - lowest < GREYS * step:
        return f"{told}, between which 32-bit floats know steps of {step:.3g} only; subtract the constant, or mend scl_inter"
    if not SQUARES[0] < highest - lowest < SQUARES[1]:
        return f"{told}, whose squares 32-bit floats do not hold, so that they have no z-score; rescale it"
    return ""


def _outlier_fault(stored: Stored, lowest: float, highest: float) -> str:
    """Whether a few voxels lie so far out that z-scoring leaves nothing of the others."""
    voxels = stored.voxels
    sample = voxels[tuple(slice(None, None, max(1, length // SAMPLE)) for length in voxels.shape)].ravel()
    values, counts = np.unique(sample, return_counts=True)
    usual = values[counts.argmax()]
    some = sample
    if counts.max() > CONSTANT * sample.size:
        apart = int(np.count_nonzero(voxels != usual))
        if apart < LONE * voxels.size:
            return f"holds {_scaled(usual, stored):g} in all but {apart} of {voxels.size} voxels"
        some = sample[sample != usual] if (sample != usual).any() else voxels[voxels != usual]
    known = some.astype(np.float64) * stored.slope + stored.inter
    median = float(np.median(known))
    spread = 1.4826 * float(np.median(np.abs(known - median))) or abs(median - _scaled(usual, stored))
    if not spread:
        return ""
    farthest = max(lowest, highest, key=lambda value: abs(value - median))
    ratio = abs(farthest - median) / spread
    told = f"holds an extreme value, {farthest:.4g}: {ratio:.3g} times the spread ({spread:.3g}) from the median ({median:.4g})"
    if ratio > OUTLIER:
        count = _beyond(stored, median, spread, OUTLIER)
        return f"{told}; {count} voxel{'s' * (count > 1)} beyond {OUTLIER:g} times: set them right, or cut them off"
    if ratio > OUTLIER / 10 and spread < FLAT * _deviation(stored):
        return f"{told}; after z-scoring all else would be flat; set such voxels right, or cut them off"
    return ""


def _beyond(stored: Stored, median: float, spread: float, limit: float) -> int:
    """Count the voxels that far out."""
    return sum(
        int(np.count_nonzero(np.abs(plane.astype(np.float64) * stored.slope + stored.inter - median) > limit * spread))
        for plane in stored.voxels
    )


def _deviation(stored: Stored) -> float:
    """Standard deviation of all values, plane by plane: 64-bit floats of all would fill the memory."""
    planes: Sequence[NDArray[np.float64]] = [
        np.array([part.mean(), (part**2).mean()]) for part in (plane.astype(np.float64) for plane in stored.voxels)
    ]
    mean, square = np.mean(planes, axis=0)
    return float(np.sqrt(max(square - mean**2, 0)) * abs(stored.slope))


def _scaled(value: Any, stored: Stored) -> float:
    return float(value) * stored.slope + stored.inter
