"""Reading a scan's stored voxels up to the end of the file, and checking that they can be z-scored in 32-bit floats."""

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

OUTLIER = 1000.0  # robust standard deviations from the median; the maximum of 228 real scans and phantoms is 26
FLAT = 0.02  # robust standard deviation after z-scoring; the minimum of the same scans is 0.17
GREYS = 64  # levels that 32-bit floats must resolve between the lowest and the highest value
SQUARES = (1e-16, 1e16)  # a range whose squares fit 32-bit floats, with a margin
LONE = 1e-4  # least share of voxels that differ from the constant background
CONSTANT = 0.05  # share of voxels of one value from which it counts as background
SAMPLE = 64  # voxels per side from which median and spread are computed
BLOCK = 1 << 20  # bytes
OPENERS: dict[str, Callable[[str], Any]] = {".gz": gzip.open, ".mgz": gzip.open, ".bz2": bz2.open}

_whole: set[tuple[str, int, int]] = set()  # files that were read to their end: path, modification time, size


class Stored(NamedTuple):
    """Voxels as stored; their intensities are ``voxels * slope + inter``."""

    voxels: NDArray[Any]
    slope: float = 1.0
    inter: float = 0.0

    def values(self) -> NDArray[Any]:
        """Return the intensities that occur, in ascending order."""
        values = np.unique(self.voxels)
        return values if (self.slope, self.inter) == (1, 0) else np.sort(values * self.slope + self.inter)


def read_stored(image: SpatialImage) -> Stored:
    """Read the stored voxels of an image that `monai_tl.imaging.scan_files.open_scan` opened, and the file to its end.

    nibabel stops after the last voxel, before the checksum of a compressed file.

    Raises:
        DataError: if the file is shorter or much longer than its header states.
        Exception: whatever gzip, bz2 or nibabel raise for a damaged stream.
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
        size = state.st_size
    else:
        with opener(path) as stream:
            inside = ArrayProxy(stream, (proxy.shape, proxy.dtype, proxy.offset, proxy.slope, proxy.inter))
            stored = _unscaled(data.on(inside) if data is not proxy else inside, inside)
            while stream.read(BLOCK):
                pass
            size = stream.tell()
    if key not in _whole and isinstance(image, nib.AnalyzeImage):  # includes NIfTI; MGH has data after its voxels
        _refuse_other_length(size, proxy)
    _whole.add(key)
    return stored


def _unscaled(data: Any, proxy: Any) -> Stored:
    """Return the voxels without scaling; a single volume of a 4D image is already scaled."""
    if data is not proxy:
        return Stored(np.asanyarray(data))
    return Stored(np.asanyarray(proxy.get_unscaled()), float(proxy.slope), float(proxy.inter))


def _refuse_other_length(size: int, proxy: Any) -> None:
    """Raise if a file's uncompressed size does not match its header."""
    needed = int(proxy.offset) + int(np.prod(proxy.shape)) * proxy.dtype.itemsize
    plane = int(np.prod(proxy.shape[:2])) * proxy.dtype.itemsize
    if size < needed or size - needed >= plane:  # up to one plane is accepted as padding
        less, grid = "less" if size < needed else "more", "×".join(map(str, proxy.shape))
        raise DataError(
            f"it has {abs(size - needed)} bytes {less} than its header states ({grid} voxels of type {proxy.dtype.name}); copy "
            "or convert it again"
        )


def voxel_faults(stored: Stored) -> list[str]:
    """Return why an image cannot be z-scored in 32-bit floats, one line per fault, phrased to follow the image's name."""
    voxels = stored.voxels
    low, high = voxels.min(), voxels.max()
    if low == high:
        return [f"has the same value in every voxel ({_scaled(low, stored):g})"]
    count = 0 if voxels.dtype.kind in "iu" else int(voxels.size - np.count_nonzero(np.isfinite(voxels)))
    if count:
        return [f"has {count} voxels that are NaN or infinite"]
    lowest, highest = sorted((_scaled(low, stored), _scaled(high, stored)))
    fault = _range_fault(lowest, highest) or _outlier_fault(stored, lowest, highest)
    return [fault] if fault else []


def _range_fault(lowest: float, highest: float) -> str:
    """Return the message if 32-bit floats cannot represent the values, their squares or the steps between them."""
    values, largest = f"has values from {lowest:.4g} to {highest:.4g}", max(abs(lowest), abs(highest))
    if not largest <= float(np.finfo(np.float32).max):
        return f"{values}, beyond the range of 32-bit floats (3.4e+38); check its voxels and its scl_slope"
    step = float(np.spacing(np.float32(largest)))
    if highest - lowest < GREYS * step:
        return (
            f"{values}, where 32-bit floats have a resolution of only {step:.3g}; subtract the constant, or correct scl_inter"
        )
    if not SQUARES[0] < highest - lowest < SQUARES[1]:
        return f"{values}, whose squares do not fit 32-bit floats, so z-scores cannot be computed; rescale it"
    return ""


def _outlier_fault(stored: Stored, lowest: float, highest: float) -> str:
    """Return the message if a few voxels are so extreme that z-scoring flattens all others."""
    voxels = stored.voxels
    sample = voxels[tuple(slice(None, None, max(1, length // SAMPLE)) for length in voxels.shape)].ravel()
    values, counts = np.unique(sample, return_counts=True)
    usual = values[counts.argmax()]
    foreground = sample
    if counts.max() > CONSTANT * sample.size:
        others = int(np.count_nonzero(voxels != usual))
        if others < LONE * voxels.size:
            return f"has the value {_scaled(usual, stored):g} in all but {others} of {voxels.size} voxels"
        foreground = sample[sample != usual] if (sample != usual).any() else voxels[voxels != usual]
    intensities = foreground.astype(np.float64) * stored.slope + stored.inter
    median = float(np.median(intensities))
    spread = 1.4826 * float(np.median(np.abs(intensities - median))) or abs(median - _scaled(usual, stored))
    if not spread:
        return ""
    farthest = max(lowest, highest, key=lambda value: abs(value - median))
    ratio = abs(farthest - median) / spread
    extreme = (
        f"has an extreme value, {farthest:.4g}: {ratio:.3g} times the spread ({spread:.3g}) from the median ({median:.4g})"
    )
    if ratio > OUTLIER:
        count = _beyond(stored, median, spread, OUTLIER)
        return f"{extreme}; {count} voxel{'s' * (count > 1)} beyond {OUTLIER:g} times: correct or clip them"
    if ratio > OUTLIER / 10 and spread < FLAT * _deviation(stored):
        return f"{extreme}; after z-scoring all other voxels would be nearly equal: correct or clip such voxels"
    return ""


def _beyond(stored: Stored, median: float, spread: float, limit: float) -> int:
    """Count the voxels whose distance from the median exceeds ``limit * spread``."""
    return sum(
        int(np.count_nonzero(np.abs(plane.astype(np.float64) * stored.slope + stored.inter - median) > limit * spread))
        for plane in stored.voxels
    )


def _deviation(stored: Stored) -> float:
    """Return the standard deviation of all values, computed plane by plane to save memory."""
    planes: Sequence[NDArray[np.float64]] = [
        np.array([part.mean(), (part**2).mean()]) for part in (plane.astype(np.float64) for plane in stored.voxels)
    ]
    mean, square = np.mean(planes, axis=0)
    return float(np.sqrt(max(square - mean**2, 0)) * abs(stored.slope))


def _scaled(value: Any, stored: Stored) -> float:
    return float(value) * stored.slope + stored.inter
