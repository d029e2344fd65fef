"""Write a study's page and, next to it, its figures as PNG and SVG and its tables as CSV and LaTeX."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from monai_tl.errors import DataError
from monai_tl.report.kit.figures import SOFTWARE
from monai_tl.report.kit.output_guard import is_our_figure, refuse_place, unwritable
from monai_tl.report.kit.render import render
from monai_tl.report.study.content import Content, make_content
from monai_tl.report.study.study_facts import read_study_facts
from monai_tl.storage.files import atomic_write, read_json, write_json, write_text

TABLES, MADE = "tables", "made.json"  # below the page's folder of files


@dataclass(frozen=True)
class StudyWritten:
    """Where a study's report was written, its number of runs, how many of these are finished, and by what it is evaluated."""

    page: Path
    files: Path
    runs: int
    finished: int
    label: str


def write_study_report(
    top: Path, *, output: Path | None = None, made: datetime.date | None = None, metric: str = "dice", region: str = ""
) -> StudyWritten:
    """Write ``report.html`` and ``report_files/`` from a study's three tables, its plan and the pictures of its cases.

    Args:
        top: folder of the study.
        output: path of the page; None: ``report.html`` in ``top``. The folder of files is named after it.
        made: date in the page; None: today.
        metric: name of the metric of the primary analysis.
        region: name of its region; empty for the mean over all regions.

    Raises:
        ConfigError: if the folder holds no study, or the output cannot be written or was not written by a report, or the
            metric does not exist or was not scored.
        DataError: if a table is damaged, or there is no such region.
    """
    page = output or top / "report.html"
    files = page.with_name(f"{page.stem}_files")
    study = read_study_facts(top, metric, region)
    ours = _ours(files)
    refuse_place(page, files, lambda path: _is_ours(path, files, ours))
    content = make_content(study)
    html = render("study.html", SOFTWARE, content=content, made=made or datetime.date.today(), files=f"{files.name}/")
    try:
        _write(page, files, _all_files(content), html, ours)
    except OSError as error:
        raise unwritable(page, error.strerror or str(error)) from None
    return StudyWritten(page, files, len(study.runs), study.count("finished"), study.outcome.measure.label)


def _all_files(content: Content) -> dict[str, bytes]:
    """Return the content of each file next to the page, by its path below the folder of files."""
    contents: dict[str, bytes] = {}
    for picture in content.pictures:
        contents[picture.file] = picture.png
        if picture.svg:
            contents[Path(picture.file).with_suffix(".svg").name] = picture.svg
    for table in content.tables:
        contents[f"{TABLES}/{table.name}.csv"] = table.csv().encode("utf-8", "replace")
        contents[f"{TABLES}/{table.name}.tex"] = table.tex().encode("utf-8", "replace")
    return contents


def _write(page: Path, files: Path, contents: Mapping[str, bytes], html: str, before: Mapping[str, list[str]]) -> None:
    """Write the files, then the page, then remove files that only an earlier report wrote.

    The hashes of old and new files are recorded first, so that an interrupted report can be replaced.
    """
    now = {name: [hashlib.sha256(content).hexdigest()] for name, content in contents.items()}
    write_json(files / MADE, {name: before.get(name, []) + now.get(name, []) for name in {**before, **now}})
    for name, content in contents.items():
        with atomic_write(files / name) as temporary:
            temporary.write_bytes(content)
    write_text(page, html)
    for name in before.keys() - now.keys():
        (files / name).unlink(missing_ok=True)
    write_json(files / MADE, now)


def _ours(files: Path) -> dict[str, list[str]]:
    """Return the files that an earlier report wrote, with their possible hashes; empty if there is no record."""
    try:
        content = read_json(files / MADE, remedy="")
    except (OSError, DataError):
        return {}
    return {
        str(name): [str(value) for value in hashes]
        for name, hashes in content.items()
        if isinstance(hashes, list) and not Path(name).is_absolute() and ".." not in Path(name).parts
    }


def _is_ours(path: Path, files: Path, ours: Mapping[str, list[str]]) -> bool:
    """Return whether a report wrote this file and it was not changed since."""
    if path.is_dir() and path.name == TABLES:
        return all(_is_ours(below, files, ours) for below in path.glob("[!.]*"))
    if not path.is_file():
        return False
    name = path.relative_to(files).as_posix()
    if name == MADE:
        return True
    return hashlib.sha256(path.read_bytes()).hexdigest() in ours.get(name, ()) or is_our_figure(path)
