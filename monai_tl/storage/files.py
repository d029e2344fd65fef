"""Atomic writing of files, and reading of JSON: a file is written under a temporary name, then renamed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monai_tl.errors import DataError

CHUNK = 1024 * 1024  # bytes hashed at a time


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path to write to; after the block it replaces ``path``.

    The temporary file is in the same folder, as renaming does not cross file systems. Its name ends in the same way, as some
    writers choose the format by the suffix. The folder is created if it is missing. If the block raises anything, an interrupt
    included, the temporary file is removed and ``path`` stays unchanged.

    Raises:
        FileNotFoundError: if the block did not write the temporary path.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # not the tempfile module, which creates files with mode 0600 whatever the umask is
    temporary = path.with_name(f".{secrets.token_hex(8)}.{path.name}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def sweep_temporary(folder: Path) -> None:
    """Remove the temporary files that killed processes left below a folder, at any depth."""
    for path in folder.rglob(".*"):
        if re.fullmatch(r"\.[0-9a-f]{16}\..+", path.name) and path.is_file():
            path.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` as UTF-8 atomically; line ends are not converted."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def write_json(path: Path | str, data: Any) -> None:
    """Write ``data`` as indented JSON atomically; the order of keys is kept.

    Raises:
        ValueError: if ``data`` holds NaN or an infinity, which JSON lacks; nothing is written.
        TypeError: if ``data`` holds another value that JSON lacks; nothing is written.
    """
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path | str, *, remedy: str, required: Sequence[str] = (), of_format: int | None = None) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: the file.
        remedy: what to do about a damaged file; each message ends with it.
        required: names that the object must have.
        of_format: number of the expected format; a file without a number has format 1.

    Raises:
        DataError: if the file does not exist, is damaged, or has another format.
    """
    if not Path(path).is_file():
        raise DataError(f"there is no {path}: {remedy}")
    with naming_damage(path, remedy):
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise DataError(f"{path} is damaged (it holds a {type(content).__name__} instead of an object): {remedy}")
    if of_format is not None and content.get("format", 1) != of_format:
        raise DataError(f"{path} has format {content.get('format', 1)}, this version reads {of_format}: {remedy}")
    if missing := [name for name in required if name not in content]:
        raise DataError(f"{path} is damaged (it lacks {', '.join(missing)}): {remedy}")
    return content


@contextmanager
def naming_damage(path: Path | str, remedy: str) -> Iterator[None]:
    """Raise errors in a file's content as a `DataError` of one line: the file, the reason, the remedy."""
    try:
        yield
        return
    except DataError:
        raise
    except json.JSONDecodeError as error:
        why = f"line {error.lineno}: {error.msg}"
    except UnicodeDecodeError:
        why = "it is not UTF-8 text"
    except KeyError as error:
        why = f"it lacks {error}"
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        why = f"{type(error).__name__}: {error}"
    raise DataError(f"{path} is damaged ({why}): {remedy}")


def sha256_of(path: Path | str) -> str:
    """Return the SHA-256 of a file of any size, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
