"""The table of a check: all measures of all cases in ``qc.csv``, and a short table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_tl.datasets.regions import FOREGROUND
from monai_tl.quality.measures import Measures
from monai_tl.quality.outliers import Judged, asymmetry
from monai_tl.quality.region_volumes import Ranges, RegionSummary
from monai_tl.storage.files import write_text
from monai_tl.storage.tables import csv_text
from monai_tl.text import NONE, millilitres, printable

TABLE = "qc.csv"
SHOWN = 20  # cases printed at most
REASONS = 4  # printed per case at most
REGION_COLUMNS = 4  # regions with a column each in the printed table; of more only the number is printed


def write_qc_table(path: Path, judged: Sequence[Judged], modalities: Sequence[str]) -> None:
    """Write one row per case, sorted by name; the first columns are ``case, state, reasons, notes``.

    Named regions have a column each, ``ml of NAME``, next to ``foreground_ml``, which is all of them together.
    """
    rows = [_row(one, modalities) for one in sorted(judged, key=lambda one: one.measures.subject)]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    write_text(path, csv_text(columns, ([row.get(column, "") for column in columns] for row in rows)))


def format_table(judged: Sequence[Judged], modalities: Sequence[str]) -> str:
    """Return the worst cases as aligned columns, each followed by its reasons."""
    regions = next((list(one.measures.regions_ml) for one in judged if one.measures.regions_ml), [])
    heads = ["case", "", "shape", "mm", "axes", *(f"{name} from to" for name in modalities), *_volume_heads(regions)]
    rows = [_short_row(one, modalities, regions) for one in judged[:SHOWN]]
    first, *others = _aligned([heads, *rows])
    lines = [first]
    for row, one in zip(others, judged, strict=False):
        lines.append(row)
        lines += [f"    {printable(reason)}" for reason in one.reasons[:REASONS]]
        if len(one.reasons) > REASONS:
            lines.append(f"    and {len(one.reasons) - REASONS} more")
    if len(judged) > SHOWN:
        rest = sum(one.state != "fine" for one in judged[SHOWN:])
        lines.append(f"and {len(judged) - SHOWN} more cases ({rest} of them not fine), all in {TABLE}")
    return "\n".join(lines)


def format_regions(regions: Sequence[RegionSummary], plausible: Ranges) -> list[str]:
    """Return the lines of a table of several regions: label values, cases that have it, volumes there in ml."""
    if len(regions) < 2:
        return []
    rows = [["region", "label", "cases", "median ml", "from", "to", *(["plausible ml"] if plausible else [])]]
    for one in regions:
        volumes = [NONE] * 3 if one.range_ml is None else [millilitres(ml) for ml in (one.median_ml or 0, *one.range_ml)]
        row = [one.name, ",".join(map(str, one.values)), f"{one.cases} of {one.labelled}", *volumes]
        rows.append([*map(printable, row), *([plausible_text(one.name, plausible)] if plausible else [])])
    return ["", *_aligned(rows), ""]


def plausible_text(region: str, plausible: Ranges) -> str:
    """Return a plausible range as text, ``"3 to 11"``, or a dash."""
    return "{:g} to {:g}".format(*plausible[region]) if region in plausible else NONE


def volume_texts(case: Measures) -> list[str]:
    """Return the volume of each named region, ``"left 1.50 ml"``; absent ones are called so; none if there is one unnamed."""
    if list(case.regions_ml) == [FOREGROUND]:
        return []
    return [f"{name} {millilitres(ml)} ml" if ml else f"{name} absent" for name, ml in case.regions_ml.items()]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _volume_heads(regions: Sequence[str]) -> list[str]:
    if len(regions) < 2:
        return ["label ml"]
    return [f"{printable(name)} ml" for name in regions] if len(regions) <= REGION_COLUMNS else ["label ml", "regions"]


def _volumes(case: Measures, regions: Sequence[str]) -> list[str]:
    """Return the cells below `_volume_heads`."""
    whole = NONE if case.foreground_ml is None else f"{case.foreground_ml:.2f}"
    if len(regions) < 2:
        return [whole]
    if len(regions) <= REGION_COLUMNS:
        return [f"{case.regions_ml[name]:.2f}" if name in case.regions_ml else NONE for name in regions]
    return [whole, f"{sum(ml > 0 for ml in case.regions_ml.values())} of {len(regions)}" if case.regions_ml else NONE]


def note_lines(case: Measures) -> list[str]:
    """Return what was ignored or converted in a case's headers, one line per kind: ``"T1, T2: … (…)"``."""
    roles: dict[str, list[str]] = {}
    for role, notes in case.notes.items():
        for what, numbers in notes:
            roles.setdefault(f"{what} ({numbers})", []).append(role)
    return [f"{', '.join(names)}: {line}" for line, names in roles.items()]


def summary(judged: Sequence[Judged]) -> str:
    """Return the number of cases by state: ``"26 cases: 1 with problems, 2 suspect, 23 fine"``."""
    count = {state: sum(one.state == state for one in judged) for state in ("problem", "suspect", "fine")}
    cases = f"{len(judged)} case{'s' * (len(judged) != 1)}"
    return f"{cases}: {count['problem']} with problems, {count['suspect']} suspect, {count['fine']} fine"


def _short_row(one: Judged, modalities: Sequence[str], regions: Sequence[str]) -> list[str]:
    case = one.measures
    ranges = [" to ".join(f"{value:.5g}" for value in case.ranges.get(name, [])) or "–" for name in modalities]
    return [
        printable(case.subject),
        one.state,
        _times(case.shape),
        _times(case.spacing),
        case.orientation or "–",
        *ranges,
        *_volumes(case, regions),
    ]


def _times(numbers: Sequence[float]) -> str:
    return "×".join(f"{number:.4g}" for number in numbers) or "–"


def _row(one: Judged, modalities: Sequence[str]) -> dict[str, Any]:
    case = one.measures
    row: dict[str, Any] = {"case": case.subject, "state": one.state, "reasons": "; ".join(one.reasons)}
    row["notes"] = "; ".join(note_lines(case))
    row |= {"shape": _times(case.shape), "spacing": _times(case.spacing), "orientation": case.orientation}
    for name in modalities:
        row |= dict(zip((f"{name}_lowest", f"{name}_highest"), case.ranges.get(name, ["", ""]), strict=True))
    between = asymmetry(case)
    row |= {"foreground_ml": case.foreground_ml, "head_ml": case.head_ml, "left_ml": case.left_ml, "right_ml": case.right_ml}
    row |= {f"ml of {name}": ml for name, ml in case.regions_ml.items() if name != FOREGROUND}
    row["asymmetry"] = None if between is None else round(between, 4)
    for name in modalities:
        row |= {f"{name}_cut_{face}": share for face, share in case.cut.get(name, {}).items()}
        row[f"{name}_missing_slices"] = case.constant.get(name, [None, 0])[1] if case.shape else None
    for name in modalities[1:]:
        for measure in ("overlap", "covered", "information"):
            row[f"{name}_{measure}"] = getattr(case, measure).get(name)
        row[f"{name}_off_mm"] = next(iter(case.off.get(name, ())), None)
    return row | {f"z of {measure}": value for measure, value in one.z.items()}
