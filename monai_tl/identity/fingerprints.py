"""What tells scans apart whatever they are called: hashes of their files, voxels and grids, kept so that each is read once.

The cache (`monai_tl.identity.fingerprint_cache`) makes it fast and is never needed: what is not in it is hashed again.
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
BLANK = "0" * 16  # begins the hash of voxels that are all alike
BAR_FROM = 20  # scans that are not in the cache
THREADS = 8  # at most; unpacking and hashing let others run meanwhile
ROUNDED = 3  # decimals of an affine in mm


class Fingerprint(NamedTuple):
    """Hashes of a scan, each of `DIGITS` hexadecimal digits.

    Attributes:
        file: of the bytes that it is read from.
        voxels: of shape and values as 32-bit floats, whatever file format, compression, number type and header they came in.
        grid: of the affine to RAS, in mm to three decimals.
    """

    file: str
    voxels: str
    grid: str

    @property
    def is_blank(self) -> bool:
        """Say if all voxels hold one value: no image of anybody, which checks refuse, and so no copy either."""
        return self.voxels.startswith(BLANK)

    def same_content(self, other: Fingerprint) -> bool:
        """Say if both are the same scan: the same file, or the same voxels in the same place."""
        return self.file == other.file or (self.voxels, self.grid) == (other.voxels, other.grid)


Prints = Mapping[str, Mapping[str, Fingerprint]]  # subject -> role (a modality, or "label") -> its scan's


@dataclass(frozen=True)
class Fingerprints:
    """Fingerprints of cases.

    Attributes:
        of: subject -> role -> fingerprint; without the scans that cannot be read.
        unreadable: ``(subject, role)`` -> why.
    """

    of: dict[str, dict[str, Fingerprint]] = field(default_factory=dict)
    unreadable: dict[tuple[str, str], str] = field(default_factory=dict)


def fingerprint(path: str) -> Fingerprint:
    """Hash a scan, whatever a case's path names; nothing is looked up.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        image: Any = open_scan(path)
        voxels = np.ascontiguousarray(np.asanyarray(image.dataobj), dtype=np.float32)
        voxels = voxels.reshape(voxels.shape[:3]) + np.float32(0)  # -0.0 becomes 0.0
        affine = np.round(np.asarray(image.affine, dtype=np.float64), ROUNDED) + 0.0
        told = _hash(repr(voxels.shape), voxels)
        if not voxels.size or voxels.min() == voxels.max():
            told = (BLANK + told)[:DIGITS]
        return Fingerprint(sha256_of_scan(path)[:DIGITS], told, _hash("", affine))
    except DataError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise DataError(f"is not readable ({first_line(error, path)})") from error


def fingerprint_cases(cases: Sequence[Case], roles: Sequence[str]) -> Fingerprints:
    """Hash the scans of cases, those that are not in the cache in several threads, with a bar if there are many.

    Args:
        cases: with ``"subject"`` and paths.
        roles: modalities, and ``"label"``; a case that lacks one is taken without it.
    """
    wanted = [(case["subject"], role, case[role]) for case in cases for role in roles if role in case]
    told = dict(_all({path for *_, path in wanted}))
    found = Fingerprints({case["subject"]: {} for case in cases})
    for subject, role, path in wanted:
        result = told[path]
        if isinstance(result, Fingerprint):
            found.of[subject][role] = result
        else:
            found.unreadable[subject, role] = result
    return found


def _all(paths: Iterable[str]) -> Iterator[tuple[str, Fingerprint | str]]:
    """Each path with its fingerprint, or with why there is none."""
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
            for done in as_completed(waiting := {pool.submit(_or_why, path): path for path in left}):
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
            pool.shutdown(cancel_futures=True)  # Ctrl-C waits for no other scan
            remember(fresh)


def _or_why(path: str) -> Fingerprint | str:
    try:
        return fingerprint(path)
    except DataError as error:
        return str(error)


def _hash(text: str, values: np.ndarray) -> str:
    return hashlib.sha256(text.encode() + b"\n" + np.ascontiguousarray(values).data).hexdigest()[:DIGITS]
