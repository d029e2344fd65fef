"""The data of a study's report, read from its three tables and its plan, and simple statistics of these."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from monai_tl.evaluation.metrics import METRICS
from monai_tl.evaluation.run_scores import has_own_scores
from monai_tl.evaluation.score_files import scores_of
from monai_tl.evaluation.scores import Score, Scoring, VolumeBias, over_regions, volume_bias
from monai_tl.report.study.outcome import MEAN, StudyOutcome, choose_outcome, scored_regions
from monai_tl.report.study.study_place import refuse_no_study
from monai_tl.statistics.score_array import RunKey, StudyScore
from monai_tl.study.gather import common_metrics
from monai_tl.study.run_state import is_finished
from monai_tl.study.study_plan import Study as Plan
from monai_tl.study.study_plan import read_study as read_plan
from monai_tl.study.study_tables import CurveRow, RunRow, read_study_scores, read_study_table
from monai_tl.transfer.arms import arm_order
from monai_tl.transfer.strategy import SCRATCH
from monai_tl.workflow.published import Published
from monai_tl.workflow.task_file import read_task_file

SCORES, RUNS, CURVES = "scores.csv", "runs.csv", "curves.csv"
Cell = tuple[str, int]  # arm, training subjects


@dataclass(frozen=True)
class StudyFacts:
    """A study's plan, its tables as they were last gathered, and the outcome by which it is evaluated.

    Attributes:
        folder: of the study.
        plan: its plan.
        by_run: (arm, n, seed) -> all scores of this run.
        runs: rows of ``runs.csv``.
        curves: rows of ``curves.csv``.
        outcome: metric and region of the primary analysis.
    """

    folder: Path
    plan: Plan
    by_run: Mapping[RunKey, tuple[Score, ...]]
    runs: tuple[RunRow, ...]
    curves: tuple[CurveRow, ...]
    outcome: StudyOutcome

    @cached_property
    def scores(self) -> tuple[StudyScore, ...]:
        """The scores of the primary analysis."""
        return self.of(self.outcome)

    def of(self, outcome: StudyOutcome) -> tuple[StudyScore, ...]:
        """Return the scores of an outcome, one per run and case."""
        return tuple(
            StudyScore(*run, score.subject, score.values[outcome.metric.name], score.reference_ml, score.prediction_ml)
            for run, scores in self.by_run.items()
            for score in over_regions(scores, outcome.region)
        )

    @cached_property
    def regions(self) -> tuple[str, ...]:
        """Names of the regions; none without a score."""
        return scored_regions(self.by_run)

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that all runs were scored by."""
        common = common_metrics(self.by_run)
        return tuple(name for name in METRICS if name in common)

    @cached_property
    def undefined(self) -> tuple[int, int]:
        """How many values of the primary analysis, of each of its regions, are undefined, and of how many."""
        name, region = self.outcome.metric.name, self.outcome.region
        values = [s.values[name] for scores in self.by_run.values() for s in scores if region in ("", s.region)]
        return sum(map(math.isnan, values)), len(values)

    @property
    def validation_dice(self) -> str:
        """What validation, which chose the weights, was scored by."""
        return f"validation Dice ({MEAN})" if len(self.regions) > 1 else "validation Dice"

    def tolerance_of(self, regions: Sequence[str]) -> str:
        """Return the tolerance of the normalised surface Dice of some regions: ``"1 mm"``, ``"1 mm (core), 2 mm (whole)"``."""
        by_region = Scoring(self.regions, tolerance=self.plan.tolerance).tolerance_mm
        chosen = {region: by_region[region] for region in regions}
        if len(set(chosen.values())) == 1:
            return f"{next(iter(chosen.values())):g} mm"
        return ", ".join(f"{mm:g} mm ({region})" for region, mm in chosen.items())

    @cached_property
    def arms(self) -> tuple[str, ...]:
        """All arms, including planned ones: scratch first, then by frozen stages."""
        return tuple(sorted({run.arm for run in self.runs} | {score.arm for score in self.scores}, key=arm_order))

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of training subjects, ascending."""
        return tuple(sorted({run.n for run in self.runs} | {score.n for score in self.scores}))

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """All seeds, including planned ones."""
        return tuple(sorted({run.seed for run in self.runs} | {score.seed for score in self.scores}))

    @cached_property
    def scored_seeds(self) -> tuple[int, ...]:
        """Seeds of the scored runs."""
        return tuple(sorted({score.seed for score in self.scores}))

    @cached_property
    def whole_seeds(self) -> tuple[int, ...]:
        """Seeds that are scored for all arms and sizes for which any seed is scored."""
        runs = {(score.arm, score.n, score.seed) for score in self.scores}
        return tuple(seed for seed in self.scored_seeds if all((*cell, seed) in runs for cell in self.cases))

    @cached_property
    def subjects(self) -> tuple[str, ...]:
        """The test cases, in the order of the table."""
        return tuple(dict.fromkeys(score.subject for score in self.scores))

    @cached_property
    def reference(self) -> str | None:
        """The arm that others are compared with: scratch, else the depth chosen by a search, else the first scored arm."""
        scored = sorted({arm for arm, _ in self.cases}, key=arm_order)
        wanted = (SCRATCH, str(self.plan.decision.get("chosen")), *scored)
        return next((arm for arm in wanted if arm in scored), None)

    @cached_property
    def published(self) -> Published | None:
        """The published reference values of the target bundle; None if it has none, or they do not match the outcome.

        They are Dice of a single region.
        """
        fits = self.outcome.metric.name == "dice" and not self.outcome.several
        return read_task_file(Path(self.plan.target)).published if fits else None

    @cached_property
    def newer(self) -> int:
        """The number of runs that have finished since the tables were gathered."""
        old = {run.folder for run in self.runs if run.state == "finished"}
        new = (run.folder for run in self.plan.runs if run.folder not in old)
        return sum(is_finished(self.folder / folder) for folder in new)

    @cached_property
    def outdated(self) -> tuple[str, ...]:
        """Folders of runs whose weights have changed since they were scored."""
        scored = [run.folder for run in self.runs if scores_of(self.folder / run.folder, "test").is_file()]
        return tuple(folder for folder in scored if not has_own_scores(self.folder / folder, "test"))

    def count(self, state: str) -> int:
        """Return the number of runs in a state: ``"finished"``, ``"failed"`` or ``"waiting"``."""
        return sum(run.state == state for run in self.runs)

    @cached_property
    def cases(self) -> dict[Cell, dict[str, float]]:
        """For each arm and size the value of each case, mean over its seeds; NaN if it is undefined for any seed."""
        found: dict[Cell, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for score in self.scores:
            found[score.arm, score.n][score.subject].append(score.value)
        return {
            cell: {subject: math.fsum(values) / len(values) for subject, values in table.items()}
            for cell, table in found.items()
        }

    @cached_property
    def distances(self) -> dict[Cell, list[float]]:
        """For each arm and size the HD95 of each case and seed, in mm, of the outcome's region or the mean over all regions.

        Regions that are empty in both segmentations are omitted. A case with a region that is empty in one of them is NaN.
        """
        distances: dict[Cell, list[float]] = defaultdict(list)
        for (arm, n, _), scores in self.by_run.items():
            found: dict[str, list[float]] = defaultdict(list)
            for score in scores:
                if self.outcome.region in ("", score.region) and not math.isnan(score.values["dice"]):
                    found[score.subject].append(score.values["hd95"])
            distances[arm, n] += [math.fsum(values) / len(values) for values in found.values()]
        return dict(distances)

    @cached_property
    def biases(self) -> dict[Cell, VolumeBias]:
        """For each arm and size the volume bias over all cases and seeds."""
        by_cell: dict[Cell, list[StudyScore]] = defaultdict(list)
        for score in self.scores:
            by_cell[score.arm, score.n].append(score)
        return {cell: volume_bias(scores) for cell, scores in by_cell.items()}

    @cached_property
    def by_cell(self) -> dict[Cell, list[RunRow]]:
        """The runs of each arm and size."""
        runs: dict[Cell, list[RunRow]] = defaultdict(list)
        for run in self.runs:
            runs[run.arm, run.n].append(run)
        return dict(runs)

    @cached_property
    def has_target(self) -> frozenset[tuple[int, int]]:
        """Sizes and seeds with a target to reach: their scratch run has finished with a validation Dice above 0."""
        scratch = [run for run in self.runs if run.arm == SCRATCH and run.state == "finished"]
        return frozenset((run.n, run.seed) for run in scratch if run.best_dice > 0)


@dataclass(frozen=True)
class Band:
    """Mean, lowest and highest value over an arm's seeds, at ascending iterations."""

    iterations: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    seeds: int


def read_study_facts(folder: Path, metric: str = "dice", region: str = "") -> StudyFacts:
    """Read a study's tables and plan; no image is opened.

    Args:
        folder: of the study.
        metric: name of the metric by which it is evaluated.
        region: name of the region; empty for all.

    Raises:
        ConfigError: if the folder does not exist, or holds no study, or the metric does not exist or was not scored.
        DataError: if a table is missing or damaged, or there is no such region.
    """
    refuse_no_study(folder)
    plan, scores = read_plan(folder), read_study_scores(folder / SCORES)
    return StudyFacts(
        folder=folder,
        plan=plan,
        by_run=scores,
        outcome=choose_outcome(scores, metric, region, str(folder)),
        runs=tuple(read_study_table(folder / RUNS, RunRow)),
        curves=tuple(read_study_table(folder / CURVES, CurveRow)),
    )


def mean(values: Sequence[float]) -> float:
    """Return the mean of the defined values, NaN if there are none."""
    defined = [value for value in values if not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else math.nan


def late_median(values: Sequence[float]) -> float:
    """Return the median, where NaN counts as infinitely late; NaN if the median is infinite."""
    if not values:
        return math.nan
    middle = float(np.median([math.inf if math.isnan(value) else value for value in values]))
    return middle if math.isfinite(middle) else math.nan


def bands(curves: Sequence[CurveRow], column: str) -> dict[Cell, Band]:
    """Return the band of each arm and size over its seeds, at iterations where at least half of its runs have a value.

    Args:
        curves: validations, of any arms and sizes.
        column: ``"loss"`` or ``"val_dice"``.
    """
    values: dict[Cell, dict[int, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in curves:
        value = getattr(row, column)
        if not math.isnan(value):
            values[row.arm, row.n][row.iteration][row.seed] = value
    return {cell: _band(table) for cell, table in values.items()}


def _band(table: dict[int, dict[int, float]]) -> Band:
    seeds = len({seed for values in table.values() for seed in values})
    kept = [(at, np.array(list(table[at].values()))) for at in sorted(table) if 2 * len(table[at]) >= seeds]
    return Band(
        iterations=tuple(at for at, _ in kept),
        mean=tuple(float(values.mean()) for _, values in kept),
        low=tuple(float(values.min()) for _, values in kept),
        high=tuple(float(values.max()) for _, values in kept),
        seeds=seeds,
    )
