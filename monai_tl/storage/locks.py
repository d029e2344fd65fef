"""A folder that one process at a time works in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from monai_tl.errors import ConfigError


@contextmanager
def locked_folder(folder: Path, what: str) -> Iterator[None]:
    """Keep a folder, made if it is missing, for this process.

    Args:
        folder: to lock.
        what: is in it, for the message: ``"study"``.

    Raises:
        ConfigError: if another process works in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(f"another process works on the {what} in '{folder}'; wait for it, or end it first") from None
    try:
        yield
    finally:
        lock.release()
