"""The means of all regions and metrics that runs were scored by, side by side, as text; descriptive, without tests."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from monai_tl.evaluation.metrics import METRICS, Metric
from monai_tl.evaluation.scores import summarise
from monai_tl.report.runs.groups import Group
from monai_tl.report.runs.read_runs import Run
from monai_tl.report.runs.scored_by import capitalised, reasons_text, value_cell, why_undefined_counts, with_unit
from monai_tl.text import listed, plural, printable

OVER_REGIONS = "mean over regions"


@dataclass(frozen=True)
class MeanCell:
    """A mean as text, and what is to be known about it; ``value`` is empty if the run was not scored by this metric."""

    value: str
    note: str = ""


@dataclass(frozen=True)
class RegionMeans:
    """The means of one region, or of the mean over regions: a row per run, a cell per metric."""

    title: str
    rows: list[tuple[Run, list[MeanCell]]]


@dataclass(frozen=True)
class AllMeans:
    """Means of all regions and metrics.

    Attributes:
        columns: name and direction of each metric.
        blocks: of each region, and of the mean over several.
        notes: sentences on undefined values and tolerances.
    """

    columns: list[tuple[str, str]]
    blocks: list[RegionMeans]
    notes: list[str]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(len(block.rows) for block in self.blocks)


def all_means(group: Group) -> AllMeans | None:
    """Return the means of all regions and metrics; None if a single region was scored by nothing but Dice and HD95."""
    runs = group.evaluated
    scored = {name for run in runs for name in run.metrics}
    metrics = [metric for name, metric in METRICS.items() if name in scored]
    if not runs or (not group.by.several and scored <= {"dice", "hd95"}):
        return None
    regions = list(dict.fromkeys(region for run in runs if run.every for region in run.every.regions))
    tolerances = {mm for run in runs if run.record and "nsd" in run.metrics for mm in run.record.tolerance_mm.values()}
    shown = [*regions, ""] if group.by.several else [""]
    blocks = [
        RegionMeans(_title(region, group), [(run, [_cell(run, region, by, tolerances) for by in metrics]) for run in runs])
        for region in shown
    ]
    columns = [(_head(metric, tolerances), "higher" if metric.higher_is_better else "lower") for metric in metrics]
    notes = [_undefined(runs, metric) for metric in metrics]
    if len(tolerances) > 1:
        notes.append(f"{capitalised(METRICS['nsd'].label)} of different tolerances is not comparable.")
    return AllMeans([(name, f"{way} is better") for name, way in columns], blocks, [note for note in notes if note])


def undefined_reasons(group: Group) -> str:
    """Return for each run how often the score of the page is undefined, and why; empty if it never is."""
    parts = []
    for run in group.scored:
        assert run.every
        if group.by.several and not group.by.region:
            count = sum(math.isnan(score.values[group.by.metric.name]) for score in run.scores or ())
            why = reasons_text(Counter({"in every region": count})) if count else ""
        else:
            why = reasons_text(why_undefined_counts(run.scores or (), group.by.metric))
        parts += [f"{run.name}: {why}"] if why else []
    return "; ".join(parts)


def unequal_regions(group: Group) -> list[str]:
    """Return the runs whose means over regions are, in some cases, over other regions than the first run's, with the number."""
    if not group.by.several or group.by.region or not group.scored:
        return []
    first, *others = [(run.name, _defined_regions(run, group.by.metric)) for run in group.scored]
    counts = {
        name: sum(regions != first[1][case] and bool(regions) and bool(first[1][case]) for case, regions in of.items())
        for name, of in others
    }
    return [f"{name} in {plural(count, 'case')}" for name, count in counts.items() if count]


def _defined_regions(run: Run, metric: Metric) -> dict[str, set[str]]:
    """Return case -> the regions in which the metric is defined."""
    defined: dict[str, set[str]] = {score.subject: set() for score in run.scores or ()}
    for score in run.every.scores if run.every else ():
        if not math.isnan(score.values[metric.name]):
            defined[score.subject].add(score.region)
    return defined


def _title(region: str, group: Group) -> str:
    if region:
        return printable(region)
    return OVER_REGIONS if group.by.several else group.title


def _head(metric: Metric, tolerances: set[float]) -> str:
    tolerance = f" (tolerance {next(iter(tolerances)):g} mm)" if metric.name == "nsd" and len(tolerances) == 1 else ""
    return f"{capitalised(with_unit(metric))}{tolerance}"


def _cell(run: Run, region: str, metric: Metric, tolerances: set[float]) -> MeanCell:
    assert run.every
    if metric.name not in run.metrics:
        return MeanCell("", "not scored")
    total = summarise(run.every.of(region), metric.name)
    notes = [f"{total.undefined} undefined"] if total.undefined else []
    if metric.name == "nsd" and len(tolerances) > 1:
        of = run.every.record.tolerance_mm
        used = [of[region]] if region in of else list(dict.fromkeys(of.values()))
        notes.append(f"tolerance {listed([f'{mm:g}' for mm in used])} mm")
    return MeanCell(value_cell(metric, total.mean), ", ".join(notes))


def _undefined(runs: Sequence[Run], metric: Metric) -> str:
    """Return why values of a metric are undefined, over all runs and regions; empty if none is."""
    counts = Counter[str]()
    for run in runs:
        if run.every and metric.name in run.metrics:
            counts += why_undefined_counts(run.every.scores, metric)
    return f"Undefined values of {metric.label}: {reasons_text(counts)}." if counts else ""
