"""Files that are whole or not there, written under a temporary name, then renamed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHUNK = 1024 * 1024  # bytes hashed at a time


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Give a temporary path to write to, which takes the place of ``path`` once all is written.

    The temporary file lies in the same folder (a rename does not cross file systems) and ends in the same name, since
    some writers choose their format by it. The folder is made if it is missing. Whatever is raised inside the block, an
    interrupt included, the temporary file goes and ``path`` stays as it was.

    Raises:
        FileNotFoundError: if the block did not write the temporary path.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # a name rather than tempfile's open file, which would be 0600 whatever the umask says
    temporary = path.with_name(f".{secrets.token_hex(8)}.{path.name}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def sweep_temporary(folder: Path) -> None:
    """Remove the temporary files that killed processes left anywhere below a folder."""
    for path in folder.rglob(".*"):
        if re.fullmatch(r"\.[0-9a-f]{16}\..+", path.name) and path.is_file():
            path.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` as UTF-8 atomically; line ends are written as they are."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def write_json(path: Path | str, data: Any) -> None:
    """Write ``data`` as indented JSON atomically, keys in their own order.

    Raises:
        ValueError: if ``data`` holds NaN or an infinity, which JSON does not have; nothing is written then.
        TypeError: if ``data`` holds what JSON cannot express; nothing is written then.
    """
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def sha256_of(path: Path | str) -> str:
    """Hash a file of any size: the 64 hexadecimal digits of its SHA-256."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
