"""The page of a check: a wall of thumbnails, worst first, in a self-contained file."""

from __future__ import annotations

import base64
import datetime
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from PIL import Image

from monai_tl.imaging.preview import region_colours
from monai_tl.quality.candidates import Candidates
from monai_tl.quality.check import FILES, Checked
from monai_tl.quality.check_case import HEIGHT
from monai_tl.quality.outliers import Judged, thresholds
from monai_tl.quality.qc_table import REGION_COLUMNS, note_lines, plausible_text, summary, volume_texts
from monai_tl.report.kit.render import render
from monai_tl.storage.files import write_text
from monai_tl.text import millilitres

PAGE = "check.html"
CHECK_SOFTWARE = "monai_tl check"
THUMBNAIL_WIDTH = 520  # pixels of a thumbnail; thin lines keep their colour
HEADINGS = {"problem": "With problems", "suspect": "Suspect", "fine": "Fine"}


class LegendItem(NamedTuple):
    """One region of the page's legend."""

    name: str
    colour: str
    text: str


class Card(NamedTuple):
    """One case of the page; ``thumbnail`` is a data URI or empty; ``volumes`` are those of many regions."""

    name: str
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    numbers: str
    volumes: tuple[str, ...]
    thumbnail: str
    width: int
    height: int
    href: str


def write_page(found: Checked, candidates: Candidates) -> Path:
    """Write ``check.html`` next to the table of a check of these candidates; return its path."""
    judged, page = found.judged, found.folder / PAGE
    cards = {
        state: [_card(case, found.folder, candidates.modalities) for case in judged if case.state == state]
        for state in HEADINGS
    }
    first, *others = candidates.modalities
    labelled = any(case.measures.foreground_ml is not None for case in judged)
    legend = _legend(found) if labelled and len(found.regions) > 1 else []
    label = f"label {', '.join(map(str, candidates.foreground))}" if labelled else "no label"
    label = f"{len(legend)} regions" if legend else label
    html = render(
        "check.html",
        CHECK_SOFTWARE,
        title="Quality check of scans",
        summary=f"{summary(judged)}.",
        looked_at=f"Checked: {', '.join(candidates.modalities)}, {label}.",
        notes=found.notes,
        labelled=labelled,
        first=first,
        others=others[:1],
        legend=legend,
        limits=thresholds(found.plausible),
        walls=[(state, f"{HEADINGS[state]} ({len(cases)})", cases) for state, cases in cards.items() if cases],
        made=datetime.date.today(),
    )
    write_text(page, html)
    return page


def _card(case: Judged, folder: Path, modalities: Sequence[str]) -> Card:
    name = case.measures.subject
    thumbnail, width, height = _thumbnail(folder / FILES / f"{name}.png") if case.measures.shape else ("", 0, 0)
    volumes = volume_texts(case.measures)
    few = volumes if len(volumes) <= REGION_COLUMNS else []
    return Card(
        name=name,
        reasons=case.reasons,
        notes=tuple(note_lines(case.measures)),
        numbers=_numbers(case, modalities[0], few),
        volumes=() if few else tuple(volumes),
        thumbnail=thumbnail,
        width=width,
        height=height,
        href=f"{FILES}/{quote(name)}.png",
    )


def _legend(found: Checked) -> list[LegendItem]:
    """Return the regions with their colours in the pictures, label values, occurrence and volumes."""
    items = []
    for one, (red, green, blue) in zip(found.regions, region_colours(len(found.regions)), strict=True):
        text = f"in {one.cases} of {one.labelled}"
        if one.median_ml is not None and one.range_ml is not None:
            text += f" · median {millilitres(one.median_ml)} ml ({' to '.join(map(millilitres, one.range_ml))})"
        if one.name in found.plausible:
            text += f" · plausible {plausible_text(one.name, found.plausible)}"
        items.append(LegendItem(one.name, f"rgb({red}, {green}, {blue})", text))
    return items


def _thumbnail(path: Path) -> tuple[str, int, int]:
    try:
        with Image.open(path) as picture:
            shown = picture.convert("RGB").crop((0, 0, picture.width, min(picture.height, HEIGHT)))  # without caption
    except (OSError, ValueError, SyntaxError):
        return "", 0, 0
    shown.thumbnail((THUMBNAIL_WIDTH, THUMBNAIL_WIDTH))
    file = io.BytesIO()
    shown.save(file, "JPEG", quality=80, subsampling=0)  # thin coloured lines
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}", *shown.size


def _numbers(judged: Judged, first: str, volumes: Sequence[str]) -> str:
    case = judged.measures
    if not case.shape:
        return ""
    parts = ["×".join(map(str, case.shape)), "×".join(f"{mm:.3g}" for mm in case.spacing) + " mm", case.orientation]
    if case.left_ml is not None and case.right_ml is not None:
        parts.append(f"left {case.left_ml:.2f} ml, right {case.right_ml:.2f} ml")
    elif case.foreground_ml is not None and not volumes:
        parts.append(f"label {case.foreground_ml:.2f} ml")
    parts += volumes
    if case.head_ml is not None:
        parts.append(f"head {case.head_ml:.0f} ml")
    for role in case.information:
        off = f", off by {case.off[role][0]:.1f} mm" if case.off.get(role) else ""
        parts.append(f"{role}: overlap {case.overlap[role]:.2f}, information {case.information[role]:.2f} bits{off}")
    if first not in case.ranges:
        parts.append(f"the picture shows {next(iter(case.ranges))}")
    return " · ".join(parts)
