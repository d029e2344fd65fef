"""Where a report may be written: what a user made is never replaced."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from monai_tl.errors import ConfigError
from monai_tl.report.kit.figures import SOFTWARE

MARK = f'<meta name="generator" content="{SOFTWARE}'  # in the head of each page of ours


def refuse_place(page: Path, files: Path, is_ours: Callable[[Path], bool]) -> None:
    """Refuse, before any work, a place that cannot be written to or holds what is not ours.

    Args:
        page: the page to be.
        files: the folder to be of what lies beside it.
        is_ours: says of a path in that folder if an earlier report wrote it.

    Raises:
        ConfigError: with the reason.
    """
    try:
        _refuse(page, files, is_ours)
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise unwritable(page, error.strerror or str(error)) from None


def _refuse(page: Path, files: Path, is_ours: Callable[[Path], bool]) -> None:
    if page.is_dir():
        raise ConfigError(f"output '{page}' is a folder; name a file in it, e.g. '{page / 'report.html'}'")
    if page.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"output '{page}' is no HTML file by its name; end it in .html")
    if os.path.lexists(page) and not is_our_page(page):
        raise ConfigError(f"output '{page}' exists and was not written by `{SOFTWARE}`; move it away, or name another --output")
    others = sorted(files.glob("[!.]*")) if files.is_dir() else []
    foreign = [path.name for path in others if not is_ours(path)]
    if foreign:
        raise ConfigError(
            f"'{files}' is to hold the figures but holds other files ({', '.join(foreign[:3])}); "
            "move them away, or name another --output"
        )
    standing = next(folder for folder in (page.absolute().parent, *page.absolute().parents) if os.path.lexists(folder))
    if not standing.is_dir():
        raise unwritable(page, f"'{standing}' is no folder")
    if files.exists() and not files.is_dir():
        raise unwritable(page, f"'{files}' is no folder")
    if not os.access(standing, os.W_OK):
        raise unwritable(page, f"'{standing}' may not be written to")


def unwritable(page: Path, why: str) -> ConfigError:
    """Make the error of a page that cannot be written."""
    return ConfigError(f"cannot write '{page}': {why}; name a file elsewhere by --output")


def is_our_page(path: Path) -> bool:
    """Say if a report wrote this page."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return MARK.encode() in file.read(2000)


def is_our_figure(path: Path) -> bool:
    """Say if a report wrote this PNG."""
    try:
        with Image.open(path) as picture:
            return picture.info.get("Software") == SOFTWARE
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
