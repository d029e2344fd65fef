"""Locks, so that only one process at a time works in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from monai_tl.errors import ConfigError


@contextmanager
def locked_folder(folder: Path, what: str) -> Iterator[None]:
    """Lock a folder for this process; the folder is created if it is missing.

    Args:
        folder: the folder to lock.
        what: what the folder holds, for the message, e.g. ``"study"``.

    Raises:
        ConfigError: if another process has locked it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(f"another process works on the {what} in '{folder}'; wait until it ends, or stop it first") from None
    try:
        yield
    finally:
        lock.release()
