"""The content of each task's section of the page: plain values and pictures, which the template only lays out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from monai_tl.evaluation.compare import RunDifference, RunResult
from monai_tl.evaluation.scores import Score, summarise
from monai_tl.report.kit.figures import FEW_RUNS, Curve, Look, draw_curves, draw_dice, look
from monai_tl.report.kit.picture import Picture
from monai_tl.report.runs import words
from monai_tl.report.runs.examples import choose_cases, choose_runs, read_overlay
from monai_tl.report.runs.groups import Group
from monai_tl.report.runs.read_runs import Run
from monai_tl.text import NONE, listed, number, plural, printable


@dataclass(frozen=True)
class RunLine:
    """A run's row in the table, and how it was trained; ``look`` is None if there are too many runs for one each."""

    run: Run
    look: Look | None
    result: RunResult | None
    misses: int
    hd95: float
    best_dice: float
    best_at: str
    seconds: float
    origin: str
    command: str
    setting: str
    evaluate: str


@dataclass(frozen=True)
class CaseBlock:
    """A case that is shown; ``picture`` is None if evaluation has drawn none."""

    rank: str
    score: Score
    picture: Picture | None


@dataclass(frozen=True)
class Example:
    """The cases of one run that are shown, and the command that draws missing pictures."""

    run: Run
    look: Look | None
    command: str
    cases: tuple[CaseBlock, ...]

    @property
    def missing(self) -> bool:
        """Whether a case has no picture."""
        return any(case.picture is None for case in self.cases)


@dataclass(frozen=True)
class Section:
    """Everything that is shown of one task."""

    title: str
    group: Group
    finding: str
    caveats: list[str]
    few: bool
    rows: list[RunLine]
    differences: tuple[RunDifference, ...]
    dice: Picture | None
    undefined: int
    curves: list[Picture]
    unrecorded: list[str]
    examples: list[Example] = field(default_factory=list)
    cases: list[tuple[str, list[Score]]] = field(default_factory=list)

    @property
    def pictures(self) -> list[Picture]:
        """All pictures of the section, in order."""
        shown = [case.picture for example in self.examples for case in example.cases]
        return [picture for picture in (self.dice, *self.curves, *shown) if picture]


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
    return Section(
        title=_title(group, split),
        group=group,
        finding=words.finding(group),
        caveats=words.caveats(group),
        few=few,
        rows=[_row(run, looks[run.name], results.get(run.name), split) for run in group.runs],
        differences=group.comparison.differences if group.comparison else (),
        dice=_dice(group, stem),
        undefined=sum(result.undefined for result in results.values()),
        curves=_curves(group, stem),
        unrecorded=[run.name for run in group.runs if not run.curve],
        examples=[_example(run, looks[run.name], f"{stem}_run_{at}", split) for at, run in enumerate(shown, 1)],
        cases=[(subject, [run.table[subject] for run in group.scored]) for subject in group.subjects],
    )


def _title(group: Group, split: str) -> str:
    modalities = {run.modalities for run in group.runs}
    images = f" from {listed(group.runs[0].modalities)}" if len(modalities) == 1 and group.runs[0].modalities else ""
    cases = plural(len(group.subjects), f"{split} case") if group.subjects else "not evaluated"
    return f"{group.title}{images}, {cases}"


def _row(run: Run, own: Look | None, result: RunResult | None, split: str) -> RunLine:
    best = run.best
    distances = np.array([score.values["hd95"] for score in run.scores or ()])
    defined = distances[~np.isnan(distances)]
    return RunLine(
        run=run,
        look=own,
        result=result,
        misses=summarise(run.scores).misses if run.scores else 0,
        hd95=float(np.median(defined)) if defined.size else float("nan"),
        best_dice=best["val_dice"] if best else float("nan"),
        best_at=f"{best['iteration']} of {run.curve[-1]['iteration']}" if best else NONE,
        seconds=run.curve[-1]["seconds"] if run.curve else float("nan"),
        origin=words.origin(run),
        command=words.command(run),
        setting=words.setting(run),
        evaluate=words.evaluate_command(run, split),
    )


def _dice(group: Group, stem: str) -> Picture | None:
    if group.comparison is None:
        return None
    runs = group.scored
    medians = [f"{result.name} {number(result.median)}" for result in group.comparison.runs[:FEW_RUNS]]
    alt = f"Box plot of Dice, one row for each of {plural(len(runs), 'run')}. Medians: {', '.join(medians)}"
    png = draw_dice([run.name for run in runs], [[score.values["dice"] for score in run.scores or ()] for run in runs])
    return Picture(f"{stem}_dice.png", png, f"{alt}{' and more' if len(runs) > FEW_RUNS else ''}.")


def _curves(group: Group, stem: str) -> list[Picture]:
    if not any(run.curve for run in group.runs):
        return []
    highlight = _highlight(group)
    kinds = (("loss", "Training loss", "loss"), ("val_dice", "Validation Dice", "validation"))
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
    """Return the runs that are highlighted among many: the reference and the one of highest mean Dice."""
    if group.comparison is None:
        return []
    defined = [result for result in group.comparison.runs if result.mean == result.mean]
    highest = max(defined, key=lambda result: result.mean, default=group.comparison.runs[0])
    return list(dict.fromkeys((group.comparison.runs[0].name, highest.name)))


def _example(run: Run, own: Look | None, stem: str, split: str) -> Example:
    cases = []
    for rank, score in choose_cases(run.scores or ()):
        path = run.overlays.get(score.subject)
        png = read_overlay(path) if path else None
        planes = "three planes with the outlines of reference and prediction"
        alt = f"{run.name}, case {score.subject}: {planes}, Dice {score.values['dice']:.3f}"
        cases.append(CaseBlock(rank, score, Picture(f"{stem}_{rank}.png", png, printable(alt)) if png else None))
    return Example(run, own, words.evaluate_command(run, split), tuple(cases))


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:40] or "task"
