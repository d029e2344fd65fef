"""The tables of a study's report: plain values by columns, from its scores and runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from monai_tl.report.kit.figures import Look
from monai_tl.report.study.arm_display import look_of
from monai_tl.report.study.html_tables import Column, StudyTable
from monai_tl.report.study.study_facts import StudyFacts, late_median, mean
from monai_tl.report.study.study_figures import targets
from monai_tl.statistics import ArmComparison, ArmMean, fit_curves
from monai_tl.statistics.measure import Measure
from monai_tl.statistics.verdicts import way
from monai_tl.study.study_tables import RunRow
from monai_tl.text import printable
from monai_tl.transfer.strategy import UNTRAINED

NAN = math.nan
ARM, SUBJECTS = Column("Arm", "arm", "arm"), Column("Training subjects", "n", "count")
CASES, SEEDS = Column("Cases", "cases", "count"), Column("Seeds", "seeds", "count")
STATES = ("failed", "waiting", "finished")  # order of the runs: those that need attention first


def arms_table(study: StudyFacts, means: Sequence[ArmMean]) -> StudyTable:
    """Return the primary outcome of each arm at each size, beside Dice the HD95 and the published Dice, if there are any."""
    ranked = sorted(means, key=lambda mean: mean.n)  # stable: keeps the order of the arms
    published, measure = study.published, study.outcome.measure
    reference = [published.test_dice(r.arm, r.n) if published else None for r in ranked]
    any_reference = published is not None and any(value is not None for value in reference)
    far = study.outcome.metric.name == "dice" and "hd95" in study.metrics
    mean_name, year = f"mean_{study.outcome.column}", published.year if published else ""
    columns = (
        ARM, SUBJECTS, Column(f"Mean {measure.heading}", mean_name, "number"), Column("95 % interval", mean_name, "interval"),
        Column(f"Median {measure.heading}", f"median_{study.outcome.column}", "number"),
        *([Column(f"Median HD95{study.outcome.suffix}, mm", "median_hd95_mm", "length")] if far else []),
        Column(f"Volume bias{study.outcome.volume_suffix}, ml", "volume_bias_ml", "effect"),
        *([Column(f"Published {year}, another setting", f"published_{year}", "number")] if any_reference else []), CASES, SEEDS,
    )  # fmt: skip
    rows = [
        [
            r.arm, r.n, r.mean, (r.low, r.high), r.median,
            *([late_median(study.distances.get((r.arm, r.n), []))] if far else []),
            study.biases[r.arm, r.n].ml, *([value] if any_reference else []), r.cases, r.seeds,
        ]
        for r, value in zip(ranked, reference, strict=True)
    ]  # fmt: skip
    caption, note = f"Test {measure.heading} by arm and training subjects.", _about_means(ranked, measure, far)
    return StudyTable("arms", caption, columns, rows, [look_of(r.arm) for r in ranked], note, [measure.digits] * len(rows))


def _about_means(means: Sequence[ArmMean], measure: Measure, far: bool) -> str:
    single = any(mean.seeds == 1 for mean in means)
    seeds = ", and other seeds if there is more than one" if single else " and other seeds"
    hd95 = "HD95 (95 % Hausdorff distance) is over cases and seeds; for an empty segmentation it counts as infinite."
    sentences = [
        f"Over the test cases whose {measure.label} is defined for every seed; the interval covers other cases{seeds}.",
        better_if_lower(measure),
        hd95 if far else "",
        "Volume bias: mean of predicted minus reference volume, over all cases and seeds.",
    ]
    return " ".join(filter(None, sentences))


def better_if_lower(measure: Measure) -> str:
    """Return a sentence on the direction of a metric whose lower values are better; empty for others."""
    return "" if measure.higher_is_better else f"A lower {measure.label} is better."


def differences_table(study: StudyFacts, comparisons: Sequence[ArmComparison]) -> StudyTable | None:
    """Return the paired differences of the primary outcome, ordered by reference."""
    if not comparisons:
        return None
    measure = study.outcome.measure
    columns = (
        ARM, Column("Minus", "against", "arm"), SUBJECTS,
        Column(f"Mean difference in {measure.heading}", "mean_difference", "signed"),
        Column("95 % interval", "difference", "signed interval"), Column("On these cases", "verdict", "text"),
        Column("p, cases", "p_holm", "chance"), Column("p, cases and seeds", "p_seeds_holm", "chance"),
        Column("Rank-biserial", "rank_biserial", "effect"), Column("d_z", "d_z", "effect"), CASES, SEEDS,
        Column("Omitted", "left_out", "count"),
    )  # fmt: skip
    references = list(dict.fromkeys(result.against for result in comparisons))
    ranked = sorted(comparisons, key=lambda result: references.index(result.against))  # stable: keeps the order of sizes
    rows = [
        [
            r.arm, r.against, r.n, r.mean, (r.low, r.high), way(r), r.p_holm, r.p_seeds_holm, r.rank_biserial, r.d_z,
            r.cases, r.seeds, r.left_out,
        ]
        for r in ranked
    ]  # fmt: skip
    note = (
        "Paired by case and seed. Omitted: cases undefined in either arm. Both p values are corrected for all rows (Holm): "
        "the first (Wilcoxon) covers other cases with these seeds, the second other cases and seeds. Better or worse: both p "
        "are at most 0.05, and the interval excludes 0. Rank-biserial and d_z: effect sizes."
    )
    note = f"{note} {better_if_lower(measure)}".strip()
    caption, looks = f"Paired differences in test {measure.heading}.", [look_of(r.arm) for r in ranked]
    return StudyTable("differences", caption, columns, rows, looks, note, [measure.digits] * len(rows))


def growth_table(study: StudyFacts) -> StudyTable | None:
    """Return the model of the primary outcome against training subjects; None for one size."""
    # complete seeds only, so that estimate and interval match; the arm that is not fine-tuned does not depend on n
    scores = [score for score in study.scores if score.seed in study.whole_seeds and score.arm != UNTRAINED]
    if len({score.n for score in scores}) < 2:
        return None
    measure = study.outcome.measure
    model = fit_curves(scores, metric=measure)
    if not model.terms:
        return None
    columns = (
        Column("Term", "term", "text"), Column(f"Estimate, {measure.heading}", "estimate", "signed"),
        Column("95 % interval", "estimate", "signed interval"),
        Column("p, not corrected", "p", "chance"), Column("Mixed model’s interval", "model", "signed interval"),
    )  # fmt: skip
    rows = [[r.term, r.estimate, (r.low, r.high), r.p, (r.model_low, r.model_high)] for r in model.terms]
    parts = ", ".join(f"{name} {measure.text(value)}" for name, value in model.deviations.items())
    over = " and seeds" if len(study.whole_seeds) > 1 else ", not seeds"
    note = (
        f"{model.formula}; means and differences at {model.middle:.3g} training subjects (geometric mean), slopes "
        f"{f'in {measure.unit} ' if measure.unit else ''}per doubling. The first interval covers other cases{over}; the mixed "
        "model’s is too narrow if cases gain unequally from an arm. It also assumes effects that add up and are normally "
        "distributed, which the first does not."
    )
    if math.isinf(measure.highest):
        note += f" {measure.label[:1].upper()}{measure.label[1:]} has no upper limit and is usually skewed: rely on the first."
    if study.whole_seeds != study.scored_seeds:
        names = ", ".join(map(str, study.whole_seeds))
        note += f" Only seed{'s' * (len(study.whole_seeds) > 1)} {names}, scored for all arms and sizes."
    note += f" Standard deviations: {parts}." if parts else ""
    note += f" {model.note[:1].upper()}{model.note[1:]}." if model.note else ""
    caption = f"{measure.heading[:1].upper()}{measure.heading[1:]} against the number of training subjects."
    return StudyTable("growth", caption, columns, rows, (), note, [measure.digits] * len(rows))


def speed_table(study: StudyFacts) -> StudyTable | None:
    """Return how fast each arm learned: iterations to the target, area under the validation curve, cost of a step."""
    dice = study.validation_dice
    columns = (
        ARM, SUBJECTS, Column("Finished runs", "finished", "count"), Column("Reached the target", "reached", "text"),
        Column("Median iterations to it", "target_iterations", "count"),
        Column("Median time to it", "target_seconds", "duration"),
        Column(f"Mean {dice} over the iterations", "area", "number"), Column(f"Best {dice}", "best_dice", "number"),
        Column("Trained parameters", "trainable", "count"), Column("Median step, s", "step_seconds", "number"),
        Column("Peak memory, MiB", "memory_mib", "count"),
    )  # fmt: skip
    rows, looks = list[list[object]](), list[Look | None]()
    for n in study.sizes:
        for arm in study.arms:
            runs = [run for run in study.by_cell.get((arm, n), []) if run.state == "finished" and run.iterations]
            if runs:
                rows.append(_speed(study, arm, n, runs))
                looks.append(look_of(arm))
    note = (
        f"Target: 90 % of the best {dice} of scratch with the same subjects and seed. In medians, a run that never "
        "reached it counts as the latest, so there is no median if half of the runs never did. No target: scratch did not "
        "finish, or its validation Dice is 0. The mean over the planned iterations (area under the curve) is over the seeds, "
        "too. Read from runs.csv."
    )
    return StudyTable("speed", "How fast each arm learned, and what it cost.", columns, rows, looks, note) if rows else None


def _speed(study: StudyFacts, arm: str, n: int, runs: Sequence[RunRow]) -> list[object]:
    iterations = targets(study, arm, n)
    reached = sum(not math.isnan(value) for value in iterations)
    seconds = [run.target_seconds for run in runs if (run.n, run.seed) in study.has_target]
    memory, trained = ([value for value in column if not math.isnan(value)] for column in (
        [run.memory_mib for run in runs], [run.trainable for run in runs],
    ))  # fmt: skip
    steps = [run.step_seconds for run in runs if not math.isnan(run.step_seconds)]
    return [
        arm, n, len(runs), f"{reached} of {len(iterations)}" if iterations else "no target",
        late_median(iterations), late_median(seconds), mean([run.area for run in runs]), mean([run.best_dice for run in runs]),
        max(trained, default=NAN), float(np.median(steps)) if steps else NAN, max(memory, default=NAN),
    ]  # fmt: skip


def layers_table(study: StudyFacts) -> StudyTable | None:
    """Return the published and the measured Dice by frozen stages, at the largest size; None without values or such arms."""
    layers = study.published.layers if study.published else None
    n = max((n for arm, n in study.by_cell if layers and arm in layers.training), default=None)
    if n is None or layers is None or study.published is None:
        return None
    arms = [arm for arm in study.arms if arm in layers.training]
    training, best = ({arm: _known(study, arm, n, column) for arm in arms} for column in ("training_dice", "best_dice"))
    measured = any(training.values())
    columns = (
        ARM, Column("Training Dice, published", "training_published", "number"),
        *([Column(f"Training Dice here, {n} subjects", "training_here", "number")] if measured else []),
        Column("Validation Dice, published", "validation_published", "number"),
        Column(f"Best validation Dice here, {n} subjects", "validation_here", "number"),
        Column("lowest and highest seed", "validation_here", "interval"), SEEDS,
    )  # fmt: skip
    rows = [
        [
            arm, layers.training[arm], *([mean(training[arm])] if measured else []), layers.validation[arm],
            mean(best[arm]), (min(best[arm], default=NAN), max(best[arm], default=NAN)), len(best[arm]),
        ]
        for arm in arms
    ]  # fmt: skip
    note = "Training Dice: on whole training scans, with the weights of best validation."
    note = note if measured else "Training Dice was not measured in this study; its flag --training_dice does that."
    caption = f"Table {layers.table} of {study.published.year} and this study."
    return StudyTable("published_layers", caption, columns, rows, [look_of(arm) for arm in arms], note)


def _known(study: StudyFacts, arm: str, n: int, column: str) -> list[float]:
    values = [getattr(run, column) for run in study.by_cell.get((arm, n), [])]
    return [value for value in values if not math.isnan(value)]


def sizes_table(study: StudyFacts, means: Sequence[ArmMean]) -> StudyTable | None:
    """Return the published and the measured test Dice by arm and size; None if they have no size in common."""
    published = study.published
    if not published or not set(published.layers.training) & set(study.arms):
        return None
    if not {size.n for size in published.sizes} & set(study.sizes):
        return None
    here = {(mean.arm, mean.n): mean for mean in means}
    columns = (
        ARM, Column("Table", "table", "text"), Column("Training set", "set", "text"), SUBJECTS,
        Column("Iterations, published", "iterations_published", "count"), Column("Test Dice, published", "published", "number"),
        Column("Mean test Dice here", "here", "number"), Column("95 % interval", "here", "interval"),
    )  # fmt: skip
    rows, looks = [], []
    for size in published.sizes:
        for arm, value in size.test.items():
            own = here.get((arm, size.n))
            measured = (own.mean, (own.low, own.high)) if own else (NAN, (NAN, NAN))
            rows.append([arm, size.table, size.set, size.n, size.iterations[arm], value, *measured])
            looks.append(look_of(arm))
    note = "Values of this study are shown only for exactly the same number of training subjects."
    caption = f"Tables {published.sizes[0].table} to {published.sizes[-1].table} of {published.year} and this study."
    return StudyTable("published_sizes", caption, columns, rows, looks, note)


def runs_table(study: StudyFacts) -> StudyTable:
    """Return all runs, failed and waiting ones first."""
    columns = (
        ARM, SUBJECTS, Column("Seed", "seed", "count"), Column("State", "state", "text"),
        Column("Iterations", "iterations", "count"),
        Column(f"Best {study.validation_dice}", "best_dice", "number"), Column("at iteration", "best_iteration", "count"),
        Column("Wall time", "seconds", "duration"), Column("Folder", "folder", "text"), Column("Fault", "fault", "text"),
    )  # fmt: skip
    ranked = sorted(study.runs, key=lambda run: STATES.index(run.state) if run.state in STATES else 0)
    rows = [
        [
            r.arm, r.n, r.seed, r.state, r.iterations, r.best_dice, r.best_iteration, r.seconds,
            printable(r.folder), printable(r.fault),
        ]
        for r in ranked
    ]  # fmt: skip
    return StudyTable(
        "runs", "All runs.", columns, rows, [look_of(r.arm) for r in ranked], "Failed and waiting runs are listed first."
    )
