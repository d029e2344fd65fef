"""Write one HTML page of all runs below a folder, with embedded pictures, and the pictures as PNG next to it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from monai_tl.evaluation.metrics import METRICS, find_metrics
from monai_tl.report.kit.figures import SOFTWARE
from monai_tl.report.kit.output_guard import is_our_figure, refuse_place, unwritable
from monai_tl.report.kit.render import render
from monai_tl.report.runs import words
from monai_tl.report.runs.groups import group_runs
from monai_tl.report.runs.read_runs import read_runs
from monai_tl.report.runs.scored_by import ScoredBy
from monai_tl.report.runs.sections import Section, make_sections
from monai_tl.storage.files import atomic_write, write_text


@dataclass(frozen=True)
class Written:
    """Where a report was written, its number of runs, how many of these are scored, and which scores are not shown."""

    page: Path
    figures: Path
    runs: int
    scored: int
    refused: tuple[str, ...] = ()


def write_report(
    top: Path,
    *,
    split: str = "test",
    metric: str = "dice",
    region: str = "",
    output: Path | None = None,
    made: datetime.date | None = None,
) -> Written:
    """Write ``report.html`` and ``report_files/`` from the runs in and below a folder.

    Args:
        top: a folder of runs, or a run.
        split: the split whose scores are shown.
        metric: what runs are compared by, see `monai_tl.evaluation.metrics.METRICS`.
        region: the region that they are compared in; empty: the mean over all regions.
        output: path of the page; None: ``report.html`` in ``top``. The folder of figures is named after it.
        made: date in the page; None: today.

    Raises:
        ConfigError: if there is no run, no score of this split, metric or region, or the output cannot be written or is not
            part of a report.
        DataError: if a file of a run is damaged.
    """
    page = output or top / "report.html"
    figures = page.with_name(f"{page.stem}_files")
    find_metrics([metric])
    by = ScoredBy(METRICS[metric], region)
    runs = read_runs(top, split, by)
    refuse_place(page, figures, is_our_figure)
    groups = group_runs(runs, split, by)
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
        raise unwritable(page, error.strerror or str(error)) from None
    refused = tuple(run.name for run in runs if run.refused)
    return Written(page, figures, len(runs), sum(len(group.scored) for group in groups), refused)


def _write(page: Path, figures: Path, sections: list[Section], html: str) -> None:
    """Write the figures, then the page, then remove figures that only an earlier report drew."""
    names = set()
    for picture in (picture for section in sections for picture in section.pictures):
        with atomic_write(figures / picture.file) as temporary:
            temporary.write_bytes(picture.png)
        names.add(picture.file)
    write_text(page, html)
    for path in figures.glob("*.png"):
        if path.name not in names and is_our_figure(path):
            path.unlink()
