"""The content of each task's section of the page: plain values and pictures, which the template only lays out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from monai_tl.evaluation.compare import RunDifference, RunResult
from monai_tl.evaluation.metrics import DEFAULT_METRICS, Metric
from monai_tl.evaluation.scores import summarise
from monai_tl.imaging.preview import region_colours
from monai_tl.report.kit.figures import FEW_RUNS, LABEL, Curve, Look, draw_curves, draw_scores, look
from monai_tl.report.kit.picture import Picture
from monai_tl.report.runs import words
from monai_tl.report.runs.all_means import AllMeans, all_means, undefined_reasons
from monai_tl.report.runs.examples import choose_cases, choose_runs, read_overlay
from monai_tl.report.runs.groups import Group
from monai_tl.report.runs.read_runs import Run
from monai_tl.report.runs.scored_by import (
    ScoredBy,
    capitalised,
    interval_cell,
    signed_cell,
    signed_interval_cell,
    value_cell,
    value_text,
    with_unit,
)
from monai_tl.text import NONE, listed, number, plural, printable


@dataclass(frozen=True)
class RunLine:
    """A run's row in the table, and how it was made; ``look`` is None if there are too many runs for one each.

    ``cells`` are those of the scores, empty if the run is not scored. ``evaluate`` scores it again; empty if that is no remedy.
    """

    run: Run
    look: Look | None
    cells: list[str]
    best_dice: float
    best_at: str
    seconds: float
    origin: str
    cost: str
    command: str
    setting: str
    evaluate: str


@dataclass(frozen=True)
class CaseBlock:
    """A case that is shown, with its scores by name; ``picture`` is None if evaluation has drawn none."""

    rank: str
    subject: str
    scores: list[tuple[str, str]]
    picture: Picture | None


@dataclass(frozen=True)
class Example:
    """The cases of one run that are shown, and the command that draws missing pictures.

    ``colours`` are those of the regions in the pictures, if there are several.
    """

    run: Run
    look: Look | None
    command: str
    cases: tuple[CaseBlock, ...]
    colours: tuple[tuple[str, str], ...] = ()

    @property
    def missing(self) -> bool:
        """Whether a case has no picture."""
        return any(case.picture is None for case in self.cases)


@dataclass(frozen=True)
class Section:
    """Everything that is shown of one task; texts of scores are by ``group.by`` and, next to it, by ``companion``."""

    title: str
    group: Group
    finding: str
    caveats: list[str]
    few: bool
    companion: Metric | None
    rows: list[RunLine]
    reasons: str
    differences: list[list[str]]
    every: AllMeans | None
    plot: Picture | None
    undefined: int
    curves: list[Picture]
    unrecorded: list[str]
    examples: list[Example] = field(default_factory=list)
    cases: list[tuple[str, list[str]]] = field(default_factory=list)

    @property
    def by(self) -> ScoredBy:
        """The score of this section."""
        return self.group.by

    @property
    def shown(self) -> list[Metric]:
        """The metrics of each case."""
        return [self.by.metric, *([self.companion] if self.companion else [])]

    @property
    def columns(self) -> list[str]:
        """The heads of the columns of a run's scores."""
        column = self.by.column
        median = [f"Median {with_unit(self.companion)}"] if self.companion else []
        names = ["Cases", "Undefined", "Missed", f"Mean {column}", "95 % interval", f"Median {column}"]
        return [*names, *median, "Volume bias"]

    @property
    def case_head(self) -> str:
        """What each cell of a case holds."""
        return " · ".join([*map(with_unit, self.shown), "volume, ml"]) if self.few else self.by.column

    @property
    def definitions(self) -> list[str]:
        """When each metric that is shown is undefined."""
        where = ", in every region" if self.by.several and not self.by.region else ""
        return [f"Undefined {metric.label}: {metric.undefined_if}{where}." for metric in self.shown]

    @property
    def pictures(self) -> list[Picture]:
        """All pictures of the section, in order."""
        shown = [case.picture for example in self.examples for case in example.cases]
        return [picture for picture in (self.plot, *self.curves, *shown) if picture]


def make_sections(groups: Sequence[Group], split: str) -> list[Section]:
    """Return the section of each group, with its figures and sentences."""
    shown = choose_runs(groups)
    return [
        _section(group, f"{at}_{_slug(group.title)}", runs, split)
        for at, (group, runs) in enumerate(zip(groups, shown, strict=True), 1)
    ]


def _section(group: Group, stem: str, shown: Sequence[Run], split: str) -> Section:
    few = len(group.runs) <= FEW_RUNS
    looks = {run.name: look(index) if few else None for index, run in enumerate(group.runs)}
    results = {result.name: result for result in group.comparison.runs} if group.comparison else {}
    companion = group.by.companion if all(group.by.companion.name in run.metrics for run in group.scored) else None
    metrics = [group.by.metric, *([companion] if companion else [])]
    return Section(
        title=_title(group, split),
        group=group,
        finding=words.finding(group),
        caveats=words.caveats(group),
        few=few,
        companion=companion,
        rows=[_row(run, looks[run.name], _cells(run, results.get(run.name), metrics), group.by, split) for run in group.runs],
        reasons=undefined_reasons(group),
        differences=[_difference(found, group.by) for found in (group.comparison.differences if group.comparison else ())],
        every=all_means(group),
        plot=_plot(group, stem),
        undefined=sum(result.undefined for result in results.values()),
        curves=_curves(group, stem),
        unrecorded=[run.name for run in group.runs if not run.curve and not run.elsewhere],
        examples=[_example(run, looks[run.name], f"{stem}_run_{at}", metrics, split) for at, run in enumerate(shown, 1)],
        cases=[(subject, _case_cells(subject, group, metrics if few else metrics[:1])) for subject in group.subjects],
    )


def _title(group: Group, split: str) -> str:
    modalities = {run.modalities for run in group.runs if not run.elsewhere}
    images = f" from {listed(next(iter(modalities)))}" if len(modalities) == 1 and any(modalities) else ""
    cases = plural(len(group.subjects), f"{split} case") if group.subjects else "not evaluated"
    return f"{group.title}{images}, {cases}"


def _row(run: Run, own: Look | None, cells: list[str], by: ScoredBy, split: str) -> RunLine:
    best = run.best
    return RunLine(
        run=run,
        look=own,
        cells=cells,
        best_dice=best["val_dice"] if best else float("nan"),
        best_at=f"{best['iteration']} of {run.curve[-1]['iteration']}" if best else NONE,
        seconds=run.curve[-1]["seconds"] if run.curve else float("nan"),
        origin=words.origin(run),
        cost=words.cost(run),
        command=words.command(run),
        setting=words.setting(run),
        evaluate=_remedy(run, by, split),
    )


def _cells(run: Run, result: RunResult | None, metrics: Sequence[Metric]) -> list[str]:
    """Return the cells of `Section.columns`; none if the run is not scored."""
    if result is None or run.scores is None:
        return []
    metric, *companion = metrics
    counts = [str(result.n), str(result.undefined), str(summarise(run.scores).misses)]
    values = [value_cell(metric, result.mean), interval_cell(metric, result.interval), value_cell(metric, result.median)]
    values += [value_cell(other, summarise(run.scores, other.name).median) for other in companion]
    return [*counts, *values, str(result.bias)]


def _difference(found: RunDifference, by: ScoredBy) -> list[str]:
    values = [signed_cell(by.metric, found.mean), signed_interval_cell(by.metric, found.interval)]
    return [found.name, str(found.n), str(found.left_out), *values, by.verdict(found.verdict)]


def _remedy(run: Run, by: ScoredBy, split: str) -> str:
    """Return the command that scores a refused run; none if it lacks the region, which is of another task."""
    if not run.refused or (run.every and by.region not in ("", *run.every.regions)):
        return ""
    return run.evaluate_command(split, list(dict.fromkeys([*(run.metrics or DEFAULT_METRICS), by.metric.name])))


def _case_cells(subject: str, group: Group, metrics: Sequence[Metric]) -> list[str]:
    """Return the cells of a case: reference volume, then each run's scores and, with few runs, its volume."""
    scores = [run.table[subject] for run in group.scored]
    volumes = len(group.runs) <= FEW_RUNS
    values = [[value_cell(metric, score.values[metric.name]) for metric in metrics] for score in scores]
    own = [
        [*cells, *([number(score.prediction_ml, 2)] if volumes else [])] for cells, score in zip(values, scores, strict=True)
    ]
    return [number(scores[0].reference_ml, 2), *(" · ".join(cells) for cells in own)]


def _plot(group: Group, stem: str) -> Picture | None:
    if group.comparison is None:
        return None
    by, runs = group.by, group.scored
    medians = [f"{result.name} {by.text(result.median)}" for result in group.comparison.runs[:FEW_RUNS]]
    label = f"{by.what_first}{f', {by.metric.unit}' if by.metric.unit else ''}"
    alt = f"Box plot of {label}, one row for each of {plural(len(runs), 'run')}. Medians: {', '.join(medians)}"
    direction = "" if by.metric.higher_is_better else "; lower is better"
    values = [[score.values[by.metric.name] for score in run.scores or ()] for run in runs]
    axis = f"{label}{' ' if len(label) < LABEL else chr(10)}(one dot per case{direction})"
    png = draw_scores([run.name for run in runs], values, axis, by.metric.highest)
    return Picture(f"{stem}_{by.metric.name}.png", png, printable(f"{alt}{' and more' if len(runs) > FEW_RUNS else ''}."))


def _curves(group: Group, stem: str) -> list[Picture]:
    if not any(run.curve for run in group.runs):
        return []
    highlight = _highlight(group)
    dice = f"Validation Dice{' (mean over regions)' if group.by.several else ''}"
    kinds = (("loss", "Training loss", "loss"), ("val_dice", dice, "validation"))
    pictures = []
    for column, label, file in kinds:
        curves = [
            Curve(run.name, [row["iteration"] for row in run.curve], [row[column] for row in run.curve]) for run in group.runs
        ]
        png = draw_curves(curves, label, highlight, dice=column == "val_dice")
        ends = [f"{curve.name} {number(curve.values[-1])}" for curve in curves if curve.values]
        more = " and more" if len(ends) > FEW_RUNS else ""
        alt = f"{label} over the iterations; at the end {', '.join(ends[:FEW_RUNS])}{more}."
        caption = f"{label} at each validation" + (", mean since the previous one." if column == "loss" else ".")
        pictures.append(Picture(f"{stem}_{file}.png", png, alt, caption))
    return pictures


def _highlight(group: Group) -> list[str]:
    """Return the runs that are highlighted among many: the reference and the one with the best mean."""
    return list(dict.fromkeys([run.name for run in group.scored[:1]] + [result.name for result in group.ranked[:1]]))


def _example(run: Run, own: Look | None, stem: str, metrics: Sequence[Metric], split: str) -> Example:
    cases = []
    for rank, score in choose_cases(run.scores or (), metrics[0]):
        path = run.overlays.get(score.subject)
        png = read_overlay(path) if path else None
        planes = "three planes with the outlines of reference and prediction"
        values = [(capitalised(metric.label), value_text(metric, score.values[metric.name])) for metric in metrics]
        alt = f"{run.name}, case {score.subject}: {planes}, {metrics[0].label} {values[0][1]}"
        volumes = [("Reference", score.reference_ml), ("Prediction", score.prediction_ml)]
        values += [(name, f"{number(ml, 2)} ml") for name, ml in volumes]
        picture = Picture(f"{stem}_{rank}.png", png, printable(alt)) if png else None
        cases.append(CaseBlock(rank, score.subject, values, picture))
    regions = run.every.regions if run.every and len(run.every.regions) > 1 else ()
    colours = [f"rgb{colour}" for colour in region_colours(len(regions))]
    command = run.evaluate_command(split, run.metrics)
    return Example(run, own, command, tuple(cases), tuple(zip(map(printable, regions), colours, strict=True)))


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:40] or "task"
