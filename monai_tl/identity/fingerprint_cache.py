"""A cache of fingerprints by path, size, times and inode of the files, so that each machine hashes a scan only once.

The cache is one SQLite file in the user's cache folder. Any problem with it (full disk, missing permission, damage, a lock)
only means that scans are hashed again. Files that changed within the last two seconds are not cached: they could change once
more, to the same size, within the resolution of the file system's clock.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from monai_tl.imaging.scan_files import files_of, split_path

VERSION = 1  # of the hashing method
RECENT = 2.0  # seconds: the coarsest time resolution of common file systems
MOST = 200_000  # cached entries, at most
WAIT = 2.0  # seconds to wait for a writing process
VALUES = re.compile(r"[0-9a-f]{32} [0-9a-f]{32} [0-9a-f]{32}")


class Stamp(NamedTuple):
    """The file state of a scan: a key that changes with it, and the time of the last change (s)."""

    key: str
    changed: float


_known: dict[str, str] = {}  # within this process, in case the cache file cannot be used


def cache_path() -> Path:
    """Return the path of the cache: in ``XDG_CACHE_HOME``, else in ``~/.cache``."""
    folder = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(folder) if os.path.isabs(folder) else Path.home() / ".cache") / "monai_tl" / "fingerprints.sqlite"


def stamp_of(path: str) -> Stamp | None:
    """Return the state of a scan's files without opening them; ``None`` if they do not exist."""
    whole, part = split_path(path)
    try:
        paths = sorted(entry.path for entry in os.scandir(whole)) if os.path.isdir(whole) else files_of(path)
        files = [(os.path.abspath(file), os.stat(file)) for file in paths]
    except OSError:
        return None
    state = [(name, at.st_size, at.st_mtime_ns, at.st_ctime_ns, at.st_ino) for name, at in files]
    key = hashlib.sha256(repr((VERSION, os.path.abspath(whole), part, state)).encode("utf-8", "surrogateescape")).hexdigest()
    return Stamp(key, max((at.st_ctime_ns for _, at in files), default=0) / 1e9)


def look_up(stamps: Mapping[str, Stamp | None]) -> dict[str, tuple[str, ...]]:
    """Return path -> hashes, for the scans in the cache."""
    hashes_of = {path: _known[stamp.key] for path, stamp in stamps.items() if stamp and stamp.key in _known}
    left = {path: stamp for path, stamp in stamps.items() if stamp and path not in hashes_of}
    if left and _exists():
        with contextlib.suppress(sqlite3.Error, OSError, RuntimeError), _opened() as cache:
            for path, stamp in left.items():
                row = cache.execute("SELECT hashes FROM fingerprints WHERE key = ?", (stamp.key,)).fetchone()
                if row and VALUES.fullmatch(str(row[0])):
                    hashes_of[path] = _known[stamp.key] = str(row[0])
    return {path: tuple(text.split()) for path, text in hashes_of.items()}


def remember(entries: Sequence[tuple[Stamp, Sequence[str]]]) -> None:
    """Add hashes to the cache, except those of files that changed just now."""
    now = time.time()
    rows = [(stamp.key, " ".join(hashes)) for stamp, hashes in entries if now - stamp.changed > RECENT]
    _known.update(rows)
    if not rows:
        return
    with contextlib.suppress(sqlite3.Error, OSError, RuntimeError):
        cache_path().parent.mkdir(parents=True, exist_ok=True)
        try:
            _write(rows)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # locked, full or read-only: skipped
                return
            cache_path().unlink(missing_ok=True)  # damaged
            _write(rows)


def _exists() -> bool:
    with contextlib.suppress(OSError, RuntimeError):  # no home folder
        return cache_path().is_file()
    return False


def _write(rows: Sequence[tuple[str, str]]) -> None:
    with _opened() as cache, cache:
        cache.execute("CREATE TABLE IF NOT EXISTS fingerprints (key TEXT PRIMARY KEY, hashes TEXT)")
        cache.executemany("INSERT OR REPLACE INTO fingerprints VALUES (?, ?)", rows)
        cache.execute("DELETE FROM fingerprints WHERE rowid <= (SELECT max(rowid) FROM fingerprints) - ?", (MOST,))


@contextlib.contextmanager
def _opened() -> Iterator[sqlite3.Connection]:
    cache = sqlite3.connect(cache_path(), timeout=WAIT)
    try:
        yield cache
    finally:
        cache.close()
