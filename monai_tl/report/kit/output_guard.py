"""Check where a report is written: only files of earlier reports are replaced."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from monai_tl.errors import ConfigError
from monai_tl.report.kit.figures import SOFTWARE

MARK = f'<meta name="generator" content="{SOFTWARE}'  # in the head of each report page


def refuse_place(page: Path, files: Path, is_ours: Callable[[Path], bool]) -> None:
    """Refuse, before any work, an output that cannot be written or would replace files that no report wrote.

    Args:
        page: path of the page.
        files: folder of the files that are written next to it.
        is_ours: returns whether an earlier report wrote a path in that folder.

    Raises:
        ConfigError: with the reason.
    """
    try:
        _refuse(page, files, is_ours)
    except OSError as error:  # e.g. a name that is too long, or a folder without read permission
        raise unwritable(page, error.strerror or str(error)) from None


def _refuse(page: Path, files: Path, is_ours: Callable[[Path], bool]) -> None:
    if page.is_dir():
        raise ConfigError(f"output '{page}' is a folder; name a file in it, e.g. '{page / 'report.html'}'")
    if page.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"output '{page}' is not the name of an HTML file; it must end in .html")
    if os.path.lexists(page) and not is_our_page(page):
        raise ConfigError(f"output '{page}' exists and was not written by `{SOFTWARE}`; move it away, or name another --output")
    others = sorted(files.glob("[!.]*")) if files.is_dir() else []
    foreign = [path.name for path in others if not is_ours(path)]
    if foreign:
        raise ConfigError(
            f"'{files}' is for the report's figures but holds other files ({', '.join(foreign[:3])}); "
            "move them away, or name another --output"
        )
    existing = next(folder for folder in (page.absolute().parent, *page.absolute().parents) if os.path.lexists(folder))
    if not existing.is_dir():
        raise unwritable(page, f"'{existing}' is not a folder")
    if files.exists() and not files.is_dir():
        raise unwritable(page, f"'{files}' is not a folder")
    if not os.access(existing, os.W_OK):
        raise unwritable(page, f"no write permission in '{existing}'")


def unwritable(page: Path, why: str) -> ConfigError:
    """Return the error for a page that cannot be written."""
    return ConfigError(f"cannot write '{page}': {why}; name another file with --output")


def is_our_page(path: Path) -> bool:
    """Return whether a report wrote this page."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return MARK.encode() in file.read(2000)


def is_our_figure(path: Path) -> bool:
    """Return whether a report wrote this PNG."""
    try:
        with Image.open(path) as picture:
            return picture.info.get("Software") == SOFTWARE
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
