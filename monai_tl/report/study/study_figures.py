"""The figures of a study with captions and alternative texts, which name what is omitted from a crowded figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from monai_tl.report.kit.picture import Picture
from monai_tl.report.study.arm_display import hatch_of, look_of, plain
from monai_tl.report.study.plots import (
    LEAST,
    LEAST_WITH_UNIT,
    ArmBox,
    Drawing,
    Line,
    Span,
    Times,
    draw_bands,
    draw_cases,
    draw_forest,
    draw_sizes,
    draw_times,
)
from monai_tl.report.study.study_facts import Band, Cell, StudyFacts, bands, late_median
from monai_tl.statistics import ArmComparison, ArmMean
from monai_tl.statistics.measure import Measure
from monai_tl.statistics.verdicts import shows_difference, way
from monai_tl.text import NONE, number, plural, printable
from monai_tl.transfer.arms import arm_words

SIZES_SHOWN = 4  # sizes with a box plot and curves
ARMS_SHOWN = 14  # arms in a figure
DESCRIBED = 12  # differences named in an alternative text
ROWS_SHOWN = 64  # rows of the forest plot and of the times to the target
COLUMNS = {"loss": "training", "val_dice": "validation"}  # of curves.csv -> name of the figure's file


def pick_spread(values: Sequence[int], most: int = SIZES_SHOWN) -> list[int]:
    """Return at most ``most`` values, evenly chosen, including the first and the last."""
    if len(values) <= most:
        return list(values)
    return [values[round(at)] for at in np.linspace(0, len(values) - 1, most)]


def subjects(n: int) -> str:
    """Return e.g. ``"26 training subjects"``."""
    return plural(n, "training subject")


def draw_differences(comparisons: Sequence[ArmComparison]) -> list[Picture]:
    """Draw a forest plot of the differences to each reference, ordered by size; all are by one measure."""
    known = [result for result in comparisons if not math.isnan(result.mean)]
    references = dict.fromkeys(result.against for result in known)
    return [_forest([result for result in known if result.against == reference]) for reference in references]


def _forest(known: Sequence[ArmComparison]) -> Picture:
    arms = len({result.arm for result in known})
    sizes = pick_spread(sorted({result.n for result in known}), max(1, ROWS_SHOWN // arms))
    drawn = [result for n in sizes for result in known if result.n == n]
    spans = [Span(subjects(r.n), arm_words(r.arm), look_of(r.arm), r.mean, r.low, r.high, shows_difference(r)) for r in drawn]
    against, measure = arm_words(known[0].against), known[0].metric
    named = [f"{arm_words(r.arm)} with {r.n}: {measure.difference_text(r.mean)}, {way(r)}" for r in drawn[:DESCRIBED]]
    least = LEAST_WITH_UNIT if measure.unit else LEAST
    drawing = draw_forest(spans, f"mean difference in test {measure.heading}, to {against}", least)
    known_ends = sum(not math.isnan(result.low) for result in drawn)
    interval = "with its 95 % interval" if known_ends == len(drawn) else "with its 95 % interval if there are 5 or more cases"
    caption = (
        f"Test {measure.heading}: each arm minus {against} on the same cases and seeds, "
        f"{interval if known_ends else 'too few for an interval'}. {'Right' if measure.higher_is_better else 'Left'} of the "
        f"line, the arm is better ({'higher' if measure.higher_is_better else 'lower'}). Filled: a difference after correction "
        "for multiple comparisons; hollow: no clear difference."
    )
    caption += f" {len(drawn)} of {len(known)} differences are drawn." if len(drawn) < len(known) else ""
    more = " and more" if len(drawn) > DESCRIBED else ""
    alt = f"Forest plot of differences in test {measure.label} to {against}. {'; '.join(named)}{more}."
    return _picture(f"differences_to_{known[0].against}", drawing, alt, caption)


def draw_boxes(study: StudyFacts) -> list[Picture]:
    """Draw the primary outcome of every case, one figure per size."""
    pictures, measure = [], study.outcome.measure
    for n in pick_spread([n for n in study.sizes if any((arm, n) in study.cases for arm in study.arms)]):
        arms = [arm for arm in study.arms if (arm, n) in study.cases][:ARMS_SHOWN]
        boxes = [
            ArmBox(arm_words(arm), look_of(arm), hatch_of(arm), list(study.cases[arm, n].values()))  # NaN is not drawn
            for arm in arms
        ]
        undefined = sum(math.isnan(value) for box in boxes for value in box.values)
        medians = ", ".join(f"{box.name} {_shown(_median(box.values), measure)}" for box in boxes)
        caption = f"{subjects(n).capitalize()}: test {measure.heading} of every case, mean over the seeds."
        caption += f" {plural(undefined, 'undefined value')} not drawn." if undefined else ""
        drawing = draw_cases(boxes, f"test {measure.heading}; one mark per case", measure.highest)
        alt = f"Test {measure.label} of every case with {subjects(n)}. Medians: {medians}."
        pictures.append(_picture(f"cases_{n}", drawing, alt, caption))
    return pictures


def draw_study_curves(study: StudyFacts) -> list[Picture]:
    """Draw training loss and validation Dice over the iterations, two figures per size with one panel per arm."""
    by_column = {column: bands(study.curves, column) for column in COLUMNS}
    labels = {"loss": "Training loss", "val_dice": f"V{study.validation_dice[1:]}"}
    sizes = [n for n in study.sizes if any((arm, n) in cells for arm in study.arms for cells in by_column.values())]
    pictures = []
    for n in pick_spread(sizes):
        for column, file in COLUMNS.items():
            lines, label = _lines(study, n, by_column[column]), labels[column]
            if lines:
                ends = ", ".join(f"{line.name} {number(line.values[-1])}" for line in lines)
                drawing = draw_bands(lines, label, dice=column == "val_dice")
                alt = f"{label} over the iterations with {subjects(n)}; at the end {ends}."
                pictures.append(_picture(f"{file}_{n}", drawing, alt, f"{label} with {subjects(n)}."))
    return pictures


def draw_means(study: StudyFacts, means: Sequence[ArmMean]) -> Picture | None:
    """Draw the mean primary outcome against the number of training subjects; None for fewer than two sizes."""
    measure = study.outcome.measure
    by_arm = {arm: sorted((mean for mean in means if mean.arm == arm), key=lambda mean: mean.n) for arm in study.arms}
    lines = [
        Line(arm_words(arm), look_of(arm), *zip(*((m.n, m.mean, m.low, m.high) for m in own), strict=True))
        for arm, own in by_arm.items()
        if own
    ][:ARMS_SHOWN]
    if len({at for line in lines for at in line.at}) < 2:
        return None
    ends = "; ".join(
        f"{line.name} from {_shown(line.values[0], measure)} to {_shown(line.values[-1], measure)}" for line in lines
    )
    caption = f"Mean test {measure.heading} with its 95 % interval. Arms are shifted slightly to avoid overlap."
    drawing = draw_sizes(lines, f"mean test {measure.heading}")
    return _picture("sizes", drawing, f"Mean test {measure.label} against training subjects: {ends}.", caption)


def draw_targets(study: StudyFacts) -> Picture | None:
    """Draw the iterations after which each run reached 90 % of scratch's best validation Dice; None if no run has a target."""
    rows = []
    for n in study.sizes:
        for arm in study.arms:
            reached = targets(study, arm, n)
            if reached:
                rows.append(Times(subjects(n), arm_words(arm), look_of(arm), reached, late_median(reached)))
    if not rows:
        return None
    groups = list(dict.fromkeys(row.group for row in rows))
    kept = pick_spread(range(len(groups)), max(1, ROWS_SHOWN // max(1, len(study.arms))))
    drawn = [row for row in rows if row.group in {groups[at] for at in kept}]
    longest = max((run.iterations for run in study.runs), default=0)
    runs = [at for row in rows for at in row.iterations]
    never = sum(map(math.isnan, runs))
    caption = (
        f"Iterations to 90 % of scratch’s best {study.validation_dice} (same subjects, same seed). {never} of {len(runs)} runs "
        "never reached it (hollow marks in the grey column). The line is the median of several runs, in which runs that never "
        "reached it count as the latest; there is no line if half of the runs never reached it."
    )
    caption += f" {len(drawn)} of {len(rows)} rows are drawn." if len(drawn) < len(rows) else ""
    alt = f"Iterations to the target by arm and size; {never} of {len(runs)} runs never reached it."
    return _picture("target", draw_times(drawn, max(longest, 1)), alt, caption)


def targets(study: StudyFacts, arm: str, n: int) -> list[float]:
    """Return the iterations to the target of an arm's finished runs (NaN: never); runs without a target are omitted."""
    return [
        run.target_iteration
        for run in study.by_cell.get((arm, n), [])
        if run.state == "finished" and (run.n, run.seed) in study.has_target
    ]


def _lines(study: StudyFacts, n: int, by_cell: Mapping[Cell, Band]) -> list[Line]:
    lines = []
    for arm in study.arms:
        band = by_cell.get((arm, n))
        if band and band.iterations:
            lines.append(Line(arm_words(arm), look_of(arm), band.iterations, band.mean, band.low, band.high))
    return lines[:ARMS_SHOWN]


def _shown(value: float, measure: Measure) -> str:
    return NONE if math.isnan(value) else measure.text(value)


def _median(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return float(np.median(defined)) if defined else math.nan


def _picture(name: str, drawing: Drawing, alt: str, caption: str) -> Picture:
    return Picture(f"{plain(name)}.png", drawing.png, printable(alt), caption, drawing.svg)
