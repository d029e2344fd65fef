"""Fingerprints that identify scans regardless of their names: hashes of files, voxels and grids.

The cache (`monai_tl.identity.fingerprint_cache`) only saves time: scans that are not in it are hashed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from monai_tl.datasets.patterns import Case
from monai_tl.errors import DataError, first_line
from monai_tl.identity.fingerprint_cache import Stamp, look_up, remember, stamp_of
from monai_tl.imaging.scan_files import open_scan, sha256_of_scan
from monai_tl.storage.cores import fitting
from monai_tl.storage.progress import progress_bar

DIGITS = 32  # hexadecimal: 128 bits
BLANK = "0" * 16  # prefix of the hash of constant images
BAR_FROM = 20  # uncached scans from which a progress bar is shown
THREADS = 8  # at most; decompression and hashing release the GIL
ROUNDED = 3  # decimals of an affine, in mm


class Fingerprint(NamedTuple):
    """Hashes of a scan, each of `DIGITS` hexadecimal digits.

    Attributes:
        file: of the bytes of its file or files.
        voxels: of shape and values as 32-bit floats, independent of file format, compression, data type and header.
        grid: of the affine to RAS, in mm, rounded to three decimals.
    """

    file: str
    voxels: str
    grid: str

    @property
    def is_blank(self) -> bool:
        """Return whether all voxels have the same value; checks refuse such images, so they are not compared."""
        return self.voxels.startswith(BLANK)

    def same_content(self, other: Fingerprint) -> bool:
        """Return whether both are the same scan: the same file, or the same voxels on the same grid."""
        return self.file == other.file or (self.voxels, self.grid) == (other.voxels, other.grid)


Prints = Mapping[str, Mapping[str, Fingerprint]]  # subject -> role (a modality, or "label") -> fingerprint


@dataclass(frozen=True)
class Fingerprints:
    """Fingerprints of cases.

    Attributes:
        of: subject -> role -> fingerprint, for the readable scans.
        unreadable: ``(subject, role)`` -> reason.
    """

    of: dict[str, dict[str, Fingerprint]] = field(default_factory=dict)
    unreadable: dict[tuple[str, str], str] = field(default_factory=dict)


def fingerprint(path: str) -> Fingerprint:
    """Hash the scan at a case's path, without the cache.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        image: Any = open_scan(path)
        voxels = np.ascontiguousarray(np.asanyarray(image.dataobj), dtype=np.float32)
        voxels = voxels.reshape(voxels.shape[:3]) + np.float32(0)  # -0.0 becomes 0.0
        affine = np.round(np.asarray(image.affine, dtype=np.float64), ROUNDED) + 0.0
        digest = _hash(repr(voxels.shape), voxels)
        if not voxels.size or voxels.min() == voxels.max():
            digest = (BLANK + digest)[:DIGITS]
        return Fingerprint(sha256_of_scan(path)[:DIGITS], digest, _hash("", affine))
    except DataError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise DataError(f"is not readable ({first_line(error, path)})") from error


def fingerprint_cases(cases: Sequence[Case], roles: Sequence[str]) -> Fingerprints:
    """Return the fingerprints of cases; uncached scans are hashed in several threads, with a progress bar if there are many.

    Args:
        cases: each with ``"subject"`` and paths.
        roles: modalities and ``"label"``; roles that a case does not have are skipped.
    """
    wanted = [(case["subject"], role, case[role]) for case in cases for role in roles if role in case]
    results = dict(_all({path for *_, path in wanted}))
    prints = Fingerprints({case["subject"]: {} for case in cases})
    for subject, role, path in wanted:
        result = results[path]
        if isinstance(result, Fingerprint):
            prints.of[subject][role] = result
        else:
            prints.unreadable[subject, role] = result
    return prints


def _all(paths: Iterable[str]) -> Iterator[tuple[str, Fingerprint | str]]:
    """Yield each path with its fingerprint, or with the reason why it has none."""
    stamps = {path: stamp_of(path) for path in sorted(paths)}
    known = {path: Fingerprint(*values) for path, values in look_up(stamps).items()}
    yield from known.items()
    left = [path for path in stamps if path not in known]
    if not left:
        return
    bar = progress_bar(len(left), "hashing scans", "scan", disable=len(left) < BAR_FROM)
    fresh: list[tuple[Stamp, Fingerprint]] = []
    with bar, ThreadPoolExecutor(fitting(THREADS)) as pool:
        try:
            for done in as_completed(waiting := {pool.submit(_or_reason, path): path for path in left}):
                path, result = waiting[done], done.result()
                stamp = stamps[path]
                if stamp and isinstance(result, Fingerprint) and stamp_of(path) == stamp:
                    fresh.append((stamp, result))
                if len(fresh) >= BAR_FROM:
                    remember(fresh)
                    fresh = []
                yield path, result
                bar.update()
        finally:
            pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the remaining scans
            remember(fresh)


def _or_reason(path: str) -> Fingerprint | str:
    try:
        return fingerprint(path)
    except DataError as error:
        return str(error)


def _hash(text: str, values: np.ndarray) -> str:
    return hashlib.sha256(text.encode() + b"\n" + np.ascontiguousarray(values).data).hexdigest()[:DIGITS]
