"""One HTML page of all runs below a folder, pictures inside, and the pictures beside it as PNG."""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from monai_tl.errors import ConfigError
from monai_tl.files import atomic_write, write_text
from monai_tl.report import words
from monai_tl.report.figures import SOFTWARE
from monai_tl.report.groups import group_runs
from monai_tl.report.render import render
from monai_tl.report.runs import read_runs
from monai_tl.report.sections import Section, make_sections

MARK = f'<meta name="generator" content="{SOFTWARE}'  # in the head of each page of ours


@dataclass(frozen=True)
class Written:
    """Where a report was written, and of how many runs; ``evaluated`` have scores."""

    page: Path
    figures: Path
    runs: int
    evaluated: int


def write_report(top: Path, *, split: str = "test", output: Path | None = None, made: datetime.date | None = None) -> Written:
    """Write ``report.html`` and ``report_files/`` from what the runs in and below a folder left behind.

    Args:
        top: a folder of runs, or a run.
        split: whose scores are shown.
        output: the page; None: ``report.html`` in ``top``. The figures' folder is named after it.
        made: the date in the page; None: today.

    Raises:
        ConfigError: if there is no run, no score of this split, or the output cannot be written or is not ours to replace.
        DataError: if what a run left behind is damaged.
    """
    page = output or top / "report.html"
    figures = page.with_name(f"{page.stem}_files")
    runs = read_runs(top, split)
    try:
        _refuse_output(page, figures)
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise _unwritable(page, error.strerror or str(error)) from None
    groups = group_runs(runs, split)
    sections = make_sections(groups, split)
    html = render(
        "page.html",
        SOFTWARE,
        sections=sections,
        title=words.title(groups, split),
        lead=words.lead(groups, split),
        split=split,
        made=made or datetime.date.today(),
        figures=f"{figures.name}/",
    )
    try:
        _write(page, figures, sections, html)
    except OSError as error:
        raise _unwritable(page, error.strerror or str(error)) from None
    return Written(page, figures, len(runs), sum(len(group.scored) for group in groups))


def _write(page: Path, figures: Path, sections: list[Section], html: str) -> None:
    """Write the figures, then the page, then remove what an earlier report drew and this one did not."""
    names = set()
    for picture in (picture for section in sections for picture in section.pictures):
        with atomic_write(figures / picture.file) as temporary:
            temporary.write_bytes(picture.png)
        names.add(picture.file)
    write_text(page, html)
    for path in figures.glob("*.png"):
        if path.name not in names and _is_our_figure(path):
            path.unlink()


def _refuse_output(page: Path, figures: Path) -> None:
    """Refuse, before any work, a place that cannot be written to or holds what is not ours."""
    if page.is_dir():
        raise ConfigError(f"output '{page}' is a folder; name a file in it, e.g. '{page / 'report.html'}'")
    if page.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"output '{page}' is no HTML file by its name; end it in .html")
    if os.path.lexists(page) and not _is_our_page(page):
        raise ConfigError(f"output '{page}' exists and was not written by `{SOFTWARE}`; move it away, or name another --output")
    others = sorted(figures.glob("[!.]*")) if figures.is_dir() else []
    foreign = [path.name for path in others if not _is_our_figure(path)]
    if foreign:
        raise ConfigError(
            f"'{figures}' is to hold the figures but holds other files ({', '.join(foreign[:3])}); "
            "move them away, or name another --output"
        )
    standing = next(folder for folder in (page.absolute().parent, *page.absolute().parents) if os.path.lexists(folder))
    if not standing.is_dir():
        raise _unwritable(page, f"'{standing}' is no folder")
    if figures.exists() and not figures.is_dir():
        raise _unwritable(page, f"'{figures}' is no folder")
    if not os.access(standing, os.W_OK):
        raise _unwritable(page, f"'{standing}' may not be written to")


def _unwritable(page: Path, why: str) -> ConfigError:
    return ConfigError(f"cannot write '{page}': {why}; name a file elsewhere by --output")


def _is_our_page(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return MARK.encode() in file.read(2000)


def _is_our_figure(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            return picture.info.get("Software") == SOFTWARE
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
