"""A study's page, and beside it its figures as PNG and SVG, its tables as CSV and LaTeX."""

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
    """Where a study's report was written, and of how many runs; ``finished`` have ended well."""

    page: Path
    files: Path
    runs: int
    finished: int


def write_study_report(top: Path, *, output: Path | None = None, made: datetime.date | None = None) -> StudyWritten:
    """Write ``report.html`` and ``report_files/`` from a study's three tables, its plan and its finished pictures.

    Args:
        top: the study's folder.
        output: the page; None: ``report.html`` in ``top``. The folder beside it is named after it.
        made: the date in the page; None: today.

    Raises:
        ConfigError: if the folder is no study, or the output cannot be written or holds what a user made or changed.
        DataError: if a table is damaged.
    """
    page = output or top / "report.html"
    files = page.with_name(f"{page.stem}_files")
    study = read_study_facts(top)
    ours = _ours(files)
    refuse_place(page, files, lambda path: _is_ours(path, files, ours))
    content = make_content(study)
    html = render("study.html", SOFTWARE, content=content, made=made or datetime.date.today(), files=f"{files.name}/")
    try:
        _write(page, files, _all_files(content), html, ours)
    except OSError as error:
        raise unwritable(page, error.strerror or str(error)) from None
    return StudyWritten(page, files, len(study.runs), study.count("finished"))


def _all_files(content: Content) -> dict[str, bytes]:
    """Give what lies beside the page, by its path below the folder."""
    found: dict[str, bytes] = {}
    for picture in content.pictures:
        found[picture.file] = picture.png
        if picture.svg:
            found[Path(picture.file).with_suffix(".svg").name] = picture.svg
    for table in content.tables:
        found[f"{TABLES}/{table.name}.csv"] = table.csv().encode("utf-8", "replace")
        found[f"{TABLES}/{table.name}.tex"] = table.tex().encode("utf-8", "replace")
    return found


def _write(page: Path, files: Path, found: Mapping[str, bytes], html: str, before: Mapping[str, list[str]]) -> None:
    """Write the files, then the page, then remove what only an earlier report wrote; what is ours is noted beforehand."""
    now = {name: [hashlib.sha256(content).hexdigest()] for name, content in found.items()}
    write_json(files / MADE, {name: before.get(name, []) + now.get(name, []) for name in {**before, **now}})
    for name, content in found.items():
        with atomic_write(files / name) as temporary:
            temporary.write_bytes(content)
    write_text(page, html)
    for name in before.keys() - now.keys():
        (files / name).unlink(missing_ok=True)
    write_json(files / MADE, now)


def _ours(files: Path) -> dict[str, list[str]]:
    """Read which files an earlier report wrote, with the hashes they may have; none where that is not known."""
    try:
        content = read_json(files / MADE, remedy="")
    except (OSError, DataError):
        return {}
    return {
        str(name): [str(one) for one in hashes]
        for name, hashes in content.items()
        if isinstance(hashes, list) and not Path(name).is_absolute() and ".." not in Path(name).parts
    }


def _is_ours(path: Path, files: Path, ours: Mapping[str, list[str]]) -> bool:
    """Say if a report wrote this file and nobody changed it since."""
    if path.is_dir() and path.name == TABLES:
        return all(_is_ours(below, files, ours) for below in path.glob("[!.]*"))
    if not path.is_file():
        return False
    name = path.relative_to(files).as_posix()
    if name == MADE:
        return True
    return hashlib.sha256(path.read_bytes()).hexdigest() in ours.get(name, ()) or is_our_figure(path)
