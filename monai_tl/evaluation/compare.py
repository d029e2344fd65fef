"""Compare runs on the same cases: means, paired differences and their confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from monai_tl.errors import DataError
from monai_tl.evaluation.metrics import METRICS, Metric
from monai_tl.evaluation.run_scores import RunScores, read_run_scores
from monai_tl.evaluation.score_files import refuse_unscored
from monai_tl.evaluation.score_record import ScoreRecord, other_images, other_references, seen_in_short, windows_of
from monai_tl.evaluation.scores import Score, VolumeBias, refuse_unscored_metric, summarise
from monai_tl.statistics.crossed_bootstrap import FEWEST_CASES, CrossedBootstrap, take_apart
from monai_tl.training.metrics_table import TRAIN_LONGER, best_is_last, read_metrics
from monai_tl.transfer.tensors import name_first
from monai_tl.transfer.weight_files import holds_weights

ScoresBySubject = Mapping[str, Score]  # subject -> its score
FEW = 10  # with fewer cases, a single unusual case can decide the result
DICE = METRICS["dice"]


@dataclass(frozen=True)
class Interval:
    """The 95 % confidence interval of a mean over cases; both ends are NaN for fewer than 5 cases."""

    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there are enough cases for an interval."""
        return not math.isnan(self.low)


@dataclass(frozen=True)
class RunResult:
    """A metric of one run: mean, median and interval are over its ``n - undefined`` defined cases, the volume bias over all."""

    name: str
    n: int
    undefined: int
    mean: float
    median: float
    interval: Interval
    bias: VolumeBias


@dataclass(frozen=True)
class RunDifference:
    """A metric of the run ``name`` minus that of ``first`` on the same ``n`` cases.

    ``left_out`` counts the cases that are undefined in either run.
    """

    name: str
    first: str
    n: int
    left_out: int
    mean: float
    interval: Interval

    @property
    def verdict(self) -> str:
        """``"higher"`` or ``"lower"`` if the interval excludes 0, else ``"no clear difference"``; or ``"too few cases"``."""
        if not self.interval.known:
            return "too few cases"
        if self.interval.low <= 0 <= self.interval.high:
            return "no clear difference"
        return "higher" if self.interval.low > 0 else "lower"


@dataclass(frozen=True)
class Comparison:
    """The runs in the given order, the difference of each later run to the first, notes on limitations, and the data.

    Example:
        >>> from monai_tl import compare_runs
        >>> comparison = compare_runs(["runs/scratch", "runs/freeze_2"])
        >>> [(run.name, run.n, round(run.mean, 2)) for run in comparison.runs]
        [('scratch', 6, 0.65), ('freeze_2', 6, 0.71)]
    """

    split: str
    runs: tuple[RunResult, ...]
    differences: tuple[RunDifference, ...]
    notes: tuple[str, ...] = ()
    data: str = ""
    region: str = ""  # empty: means over all regions
    by_region: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # region -> run -> mean
    metric: Metric = DICE


def compare_runs(
    runs: Sequence[Path | str],
    split: str = "test",
    *,
    seed: int = 0,
    resamples: int = 9999,
    metric: str = "dice",
    region: str = "",
) -> Comparison:
    """Compare runs by their score files: each run's mean, and each later run's paired difference to the first.

    Args:
        runs: run folders with ``scores_<split>.csv``. Runs are named by folder, or by path if folder names coincide.
        split: the split that was scored.
        seed: seed of the bootstrap; each interval starts from it, so that it does not depend on the other runs.
        resamples: bootstrap samples per interval.
        metric: what to compare by, see `monai_tl.evaluation.metrics.METRICS`.
        region: the region to compare by; empty: the mean over all regions of a case.

    Raises:
        ConfigError: if no run is given, a run is given twice, it has no scores for this split or of this metric, or they do
            not belong to its current weights.
        DataError: if the runs were not scored on the same subjects and regions, not against the same references, or not with
            the same tolerance.

    Example:
        >>> from monai_tl import compare_runs
        >>> (difference,) = compare_runs(["runs/scratch", "runs/freeze_2"]).differences
        >>> difference.name, difference.first, round(difference.mean, 2)
        ('freeze_2', 'scratch', 0.06)
    """
    scored = _read(runs, split)
    _refuse_other_regions({name: run.regions for name, run in scored.items()})
    for run, scores in zip(runs, scored.values(), strict=True):
        refuse_unscored_metric(metric, scores.scores, _evaluate(run, split, scores.record))
    tables = {name: {score.subject: score for score in run.of(region)} for name, run in scored.items()}
    records = {name: run.record for name, run in scored.items()}
    comparison = compare_tables(tables, split, metric=metric, seed=seed, resamples=resamples)
    (first, reference), *others = records.items()
    for name, record in others:
        other = other_references(reference.references, record.references)
        if other:
            raise DataError(
                f"{first} and {name} were scored against different references: equal volumes, but other voxels, in "
                f"{', '.join(other)}"
            )
        if metric == "nsd" and record.tolerance_mm != reference.tolerance_mm:
            both = f"{dict(reference.tolerance_mm)}, {dict(record.tolerance_mm)}"
            remedy = "remove the scores of one, and evaluate it again with the other's --tolerance"
            raise DataError(f"{first} and {name} were scored with different tolerances in mm: {both}; {remedy}")
    unequal = [] if region else _unequal_regions(scored, metric)
    return replace(
        comparison,
        notes=(*unequal, *ways_apart(records), *_notes(records, dict(zip(scored, map(Path, runs), strict=True)))),
        data=_data(reference, len(next(iter(tables.values())))),
        region=region,
        by_region=_by_region(scored, metric),
    )


def _evaluate(run: Path | str, split: str, record: ScoreRecord) -> str:
    """Return the command that scores a run again as before, to which metrics can be added."""
    what = f"--predictions DIR --datalist {record.datalist} --output {run}" if record.predictions else f"--run {run}"
    tolerance = list(record.tolerance_mm.values())
    own = "nsd" in record.metrics and any(mm != 1 for mm in tolerance)
    return f"monai_tl evaluate {what} --split {split}" + (
        f" --tolerance {','.join(f'{mm:g}' for mm in tolerance)}" if own else ""
    )


def _unequal_regions(scored: Mapping[str, RunScores], metric: str) -> list[str]:
    """Return a note on each later run that has a value in other regions of a case than the first run has."""
    defined: dict[str, dict[str, set[str]]] = {name: {} for name in scored}
    for name, run in scored.items():
        for score in run.scores:
            if not math.isnan(score.values[metric]):
                defined[name].setdefault(score.subject, set()).add(score.region)
    (first, expected), *others = defined.items()
    apart = {name: sum(found[case] != expected[case] for case in found.keys() & expected.keys()) for name, found in others}
    several = len(next(iter(scored.values())).regions) > 1
    return [
        f"{name}: in {count} case{'s' * (count != 1)}, the mean is over other regions than that of {first}, as "
        f"{METRICS[metric].label} is undefined where nothing was found; compare by --region"
        for name, count in apart.items()
        if several and count
    ]


def _refuse_other_regions(regions: Mapping[str, Sequence[str]]) -> None:
    """Refuse runs of which one has several regions and another has others."""
    (first, expected), *others = regions.items()
    for name, found in others:
        if (len(expected) > 1 or len(found) > 1) and set(found) != set(expected):
            both = f"{', '.join(expected)}; {', '.join(found)}"
            raise DataError(f"{first} and {name} were scored on different regions: {both}; compare runs of one task")


def _by_region(scored: Mapping[str, RunScores], metric: str) -> dict[str, dict[str, float]]:
    """Return the mean of each region and run; empty for a single region."""
    regions = next(iter(scored.values())).regions
    if len(regions) < 2:
        return {}
    return {region: {name: summarise(run.of(region), metric).mean for name, run in scored.items()} for region in regions}


def _data(record: ScoreRecord, count: int) -> str:
    """Return the number of cases and their datalist as text."""
    return f"{count} case{'s' * (count != 1)} of {record.datalist} (sha256 {record.datalist_sha256[:12]})"


def _notes(records: Mapping[str, ScoreRecord], folders: Mapping[str, Path]) -> list[str]:
    """Return the limitations of each run's scores."""
    seen = {name: seen_in_short(record) for name, record in records.items()}
    notes = [f"{name}: {line}" for name, line in seen.items() if line]
    notes += [
        f"{name} no longer holds weights: whether its scores belong to its latest weights is unknown"
        for name, folder in folders.items()
        if not holds_weights(folder) and not records[name].predictions
    ]
    rising = [name for name, folder in folders.items() if best_is_last(read_metrics(folder / "metrics.csv"))]
    return notes + ([f"{', '.join(rising)}: {TRAIN_LONGER}"] if rising else [])


def compare_tables(
    tables: Mapping[str, ScoresBySubject],
    split: str = "test",
    *,
    metric: str = "dice",
    seed: int = 0,
    resamples: int = 9999,
) -> Comparison:
    """Compare each run with the first, by their scores, see `compare_runs`.

    Args:
        tables: run name -> subject -> score; at least one run.
        split: the split that was scored.
        metric: what to compare by.
        seed: seed of the bootstrap.
        resamples: bootstrap samples per interval.

    Raises:
        DataError: if the runs were not scored on the same subjects, or not against the same references.

    Example:
        >>> from monai_tl import Score, compare_tables
        >>> dice = {"scratch": (0.6, 0.5, 0.7, 0.4, 0.6), "transfer": (0.7, 0.7, 0.7, 0.5, 0.8)}
        >>> tables = {
        ...     run: {subject: Score(subject, {"dice": value}, 3.0, 3.0, 1.0) for subject, value in zip("abcde", values)}
        ...     for run, values in dice.items()
        ... }
        >>> (difference,) = compare_tables(tables).differences
        >>> difference.n, round(difference.mean, 2)
        (5, 0.12)
    """
    (first, reference), *later = tables.items()
    for name, table in later:
        problem = why_not_comparable(first, reference, name, table)
        if problem:
            raise DataError(problem)
    by = METRICS[metric]
    results = tuple(_result(name, list(table.values()), by, seed, resamples) for name, table in tables.items())
    values = {name: {subject: score.values[metric] for subject, score in table.items()} for name, table in tables.items()}
    differences = []
    for name, _ in later:
        pairs = np.array([values[name][subject] - value for subject, value in values[first].items()])  # NaN stays NaN
        defined = pairs[~np.isnan(pairs)]
        mean = float(np.mean(defined)) if defined.size else math.nan
        interval = mean_interval(defined, (-by.highest, by.highest), seed, resamples)
        differences.append(RunDifference(name, first, len(defined), len(pairs) - len(defined), mean, interval))
    return Comparison(split, results, tuple(differences), metric=by)


def ways_apart(records: Mapping[str, ScoreRecord]) -> list[str]:
    """Return where runs differ in sliding windows, number formats or images, which explains part of a difference."""
    lines = [
        f"{name}: segmentations made elsewhere; how they were made, and on which cases, is not recorded"
        for name, record in records.items()
        if record.predictions
    ]
    records = {name: record for name, record in records.items() if not record.predictions}
    for what, way in (("sliding windows", windows_of), ("number formats", lambda record: record.precision)):
        ways = {name: way(record) for name, record in records.items()}
        if len(set(ways.values())) > 1:
            listed = "; ".join(f"{name} {value}" for name, value in ways.items())
            lines.append(f"predicted with different {what} ({listed}), which may cause part of a difference")
    first = next(iter(records), "")
    for name, record in records.items():
        images = other_images(records[first], record)
        if images:
            lines.append(f"{first} and {name} were predicted from different images ({name_first(images)})")
    return lines


def _read(runs: Sequence[Path | str], split: str) -> dict[str, RunScores]:
    refuse_unscored(runs, split)
    folders = [Path(run).resolve() for run in runs]
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(run) for run in runs]
    return {name: read_run_scores(Path(run), split) for name, run in zip(names, runs, strict=True)}


def why_not_comparable(first: str, reference: ScoresBySubject, name: str, table: ScoresBySubject) -> str | None:
    """Return in which cases or references two runs differ; None if they agree."""
    lacks = [
        f"{run} lacks {name_first(sorted(missing), 5)}"
        for run, missing in ((name, reference.keys() - table.keys()), (first, table.keys() - reference.keys()))
        if missing
    ]
    if lacks:
        return f"{first} and {name} were scored on different subjects: {'; '.join(lacks)}"
    other = [
        subject
        for subject, score in reference.items()
        if not math.isclose(score.reference_ml, table[subject].reference_ml, rel_tol=1e-6)
    ]
    if other:
        return (
            f"{first} and {name} were scored against different references: "
            f"the reference volume differs in {name_first(sorted(other), 5)}"
        )
    return None


def _result(name: str, scores: Sequence[Score], metric: Metric, seed: int, resamples: int) -> RunResult:
    total = summarise(scores, metric.name)
    values = np.array([score.values[metric.name] for score in scores])
    interval = mean_interval(values[~np.isnan(values)], (0, metric.highest), seed, resamples)
    return RunResult(name, total.n, total.undefined, total.mean, total.median, interval, total.bias)


def mean_interval(values: np.ndarray, bounds: tuple[float, float], seed: int = 0, resamples: int = 9999) -> Interval:
    """Return the 95 % interval of the mean of independent ``values``, shape (n,), without NaN.

    The method is that of a study with one seed (`CrossedBootstrap`: bootstrap-t over cases). For equal values, the interval has
    width 0.

    Args:
        values: one value for each case.
        bounds: lowest and highest possible mean.
        seed: seed of the bootstrap.
        resamples: number of bootstrap samples.
    """
    if len(values) < FEWEST_CASES:
        return Interval(math.nan, math.nan)
    parts = take_apart(values[None])
    if not parts.variances.any():
        return Interval(parts.mean, parts.mean)
    low, high = CrossedBootstrap(seed, resamples).interval(parts)
    return Interval(max(low, bounds[0]), min(high, bounds[1]))
