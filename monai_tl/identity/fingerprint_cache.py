"""Fingerprints by what the system says of a file (place, size, times, inode), so that a scan is hashed once a machine.

One SQLite file in the user's cache folder. Whatever is wrong with it (no room, no permission, damage, a lock that does not
come free) only means that scans are hashed again. A file that changed within the last moments is never kept: it could
change once more, to the same size, within one tick of the clock.
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

VERSION = 1  # of what is hashed, and how
RECENT = 2.0  # seconds: the coarsest clock of a file system in use
MOST = 200_000  # entries kept
WAIT = 2.0  # seconds for another process that writes
VALUES = re.compile(r"[0-9a-f]{32} [0-9a-f]{32} [0-9a-f]{32}")


class Stamp(NamedTuple):
    """What a scan's files look like from outside: a key that changes when they do, and when they last changed (s)."""

    key: str
    changed: float


_known: dict[str, str] = {}  # of this process, for where no file can be kept


def cache_path() -> Path:
    """Name the cache: in ``XDG_CACHE_HOME``, else in ``~/.cache``."""
    folder = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(folder) if os.path.isabs(folder) else Path.home() / ".cache") / "monai_tl" / "fingerprints.sqlite"


def stamp_of(path: str) -> Stamp | None:
    """Look at the files of a scan without opening them; ``None`` where there is none."""
    whole, part = split_path(path)
    try:
        paths = sorted(entry.path for entry in os.scandir(whole)) if os.path.isdir(whole) else files_of(path)
        found = [(os.path.abspath(one), os.stat(one)) for one in paths]
    except OSError:
        return None
    told = [(name, at.st_size, at.st_mtime_ns, at.st_ctime_ns, at.st_ino) for name, at in found]
    key = hashlib.sha256(repr((VERSION, os.path.abspath(whole), part, told)).encode("utf-8", "surrogateescape")).hexdigest()
    return Stamp(key, max((at.st_ctime_ns for _, at in found), default=0) / 1e9)


def look_up(stamps: Mapping[str, Stamp | None]) -> dict[str, tuple[str, ...]]:
    """Give the hashes that are known, by path."""
    told = {path: _known[stamp.key] for path, stamp in stamps.items() if stamp and stamp.key in _known}
    left = {path: stamp for path, stamp in stamps.items() if stamp and path not in told}
    if left and _there():
        with contextlib.suppress(sqlite3.Error, OSError, RuntimeError), _opened() as cache:
            for path, stamp in left.items():
                row = cache.execute("SELECT hashes FROM fingerprints WHERE key = ?", (stamp.key,)).fetchone()
                if row and VALUES.fullmatch(str(row[0])):
                    told[path] = _known[stamp.key] = str(row[0])
    return {path: tuple(text.split()) for path, text in told.items()}


def remember(found: Sequence[tuple[Stamp, Sequence[str]]]) -> None:
    """Keep hashes of files that have not changed just now."""
    now = time.time()
    rows = [(stamp.key, " ".join(hashes)) for stamp, hashes in found if now - stamp.changed > RECENT]
    _known.update(rows)
    if not rows:
        return
    with contextlib.suppress(sqlite3.Error, OSError, RuntimeError):
        cache_path().parent.mkdir(parents=True, exist_ok=True)
        try:
            _write(rows)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # locked, full, not to be written: not now
                return
            cache_path().unlink(missing_ok=True)  # damaged
            _write(rows)


def _there() -> bool:
    with contextlib.suppress(OSError, RuntimeError):  # no home
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
