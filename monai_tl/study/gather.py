"""Gather a study's three tables from its run folders."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_tl.errors import DataError
from monai_tl.evaluation.run_scores import has_own_scores, read_run_scores
from monai_tl.evaluation.score_files import how_to_score, scores_of
from monai_tl.evaluation.score_record import read_record
from monai_tl.evaluation.scores import Score, Scoring, summarise
from monai_tl.statistics.score_array import RunKey
from monai_tl.storage.files import naming_damage, read_json
from monai_tl.storage.tables import write_table
from monai_tl.study.execute import state_of
from monai_tl.study.study_plan import PlannedRun, Study, read_study
from monai_tl.study.study_tables import CurveRow, RunRow, write_study_scores
from monai_tl.training.cost import read_costs
from monai_tl.training.metrics_table import read_metrics
from monai_tl.transfer.strategy import SCRATCH

NEAR = 0.9  # of scratch's best validation Dice
MetricRows = Sequence[Mapping[str, Any]]  # rows of metrics.csv


@dataclass(frozen=True)
class Gathered:
    """Counts of what was gathered.

    Attributes:
        runs: planned runs.
        finished: finished runs.
        failed: failed runs.
        scores: scored cases of all runs.
        metrics: names of those that every finished run was scored by.
        regions: names, empty without a score.
    """

    runs: int
    finished: int
    failed: int
    scores: int
    metrics: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()

    @property
    def scored(self) -> str:
        """The metrics and, if there are several, the regions, as text."""
        of = f" of {', '.join(self.regions)}" if len(self.regions) > 1 else ""
        return f"{', '.join(self.metrics)}{of}"


def gather(folder: Path) -> Gathered:
    """Write ``scores.csv``, ``runs.csv`` and ``curves.csv`` of a study from the runs done so far.

    Raises:
        DataError: if the folder holds no study, a table of a run is damaged, or runs were scored in different ways.
    """
    study = read_study(folder)
    states = {run.name: state_of(folder, run) for run in study.runs}
    if "chosen" in study.decision:  # the search is over: runs that it did not need are not waiting
        states = {name: state for name, state in states.items() if state[0] != "waiting"}
    planned = [run for run in study.runs if run.name in states]
    curves = {run.name: read_metrics(folder / run.folder / "metrics.csv") for run in planned}
    scratch = [run for run in planned if run.arm == SCRATCH and states[run.name][0] == "finished"]
    best = {(run.n, run.seed): best_of(curves[run.name]) for run in scratch}
    scores, rows, points = dict[RunKey, tuple[Score, ...]](), list[RunRow](), list[CurveRow]()
    for run in planned:
        state, fault = states[run.name]
        curve = curves[run.name]
        scratch_dice = float(best.get((run.n, run.seed), {}).get("val_dice", math.nan))
        target = NEAR * scratch_dice or math.nan  # every run would reach a target of 0
        rows.append(_run_row(folder, run, (state, fault), curve, (target, run.settings.get("iterations", 0))))
        if state == "finished":
            scores[run.arm, run.n, run.seed] = _scores(folder, run, study)
            points += [
                CurveRow(run.arm, run.n, run.seed, row["iteration"], row["seconds"], row["loss"], row["val_dice"])
                for row in curve
            ]
    write_study_scores(folder / "scores.csv", scores)
    write_table(folder / "curves.csv", CurveRow, points)
    write_table(folder / "runs.csv", RunRow, rows)
    count = [state for state, _ in states.values()]
    cases = sum(len({score.subject for score in of}) for of in scores.values())
    first = next(iter(scores.values()), ())
    regions = tuple(dict.fromkeys(score.region for score in first))
    return Gathered(len(planned), count.count("finished"), count.count("failed"), cases, common_metrics(scores), regions)


def refuse_unreadable_scores(folder: Path) -> None:
    """Refuse to gather a study whose runs hold scores that this version cannot read, which would count as missing.

    Raises:
        DataError: with the number of these runs, and what to do.
    """
    faults = []
    for run in read_study(folder).runs:
        try:
            read_record(scores_of(folder / run.folder, "test"))
        except DataError as error:
            faults.append(str(error))
    if faults:
        more = f" (and {len(faults) - 1} more runs likewise)" if len(faults) > 1 else ""
        raise DataError(f"{faults[0]}{more}")


def common_metrics(scores: Mapping[RunKey, Sequence[Score]]) -> tuple[str, ...]:
    """Return the names of the metrics that all runs were scored by."""
    first = next(iter(scores.values()), ())
    return tuple(name for name in (first[0].values if first else ()) if all(name in of[0].values for of in scores.values()))


def best_of(curve: MetricRows) -> Mapping[str, Any]:
    """Return the first row with the highest validation Dice; an empty mapping if there is no validation."""
    return max((row for row in curve if not math.isnan(row["val_dice"])), key=lambda row: float(row["val_dice"]), default={})


def area_under(curve: MetricRows, planned: int) -> float:
    """Return the mean validation Dice over the planned iterations, by the trapezoidal rule, from Dice 0 at iteration 0.

    After early stopping, the best Dice counts for the remaining iterations. NaN if there is no validation.
    """
    points = [(float(row["iteration"]), float(row["val_dice"])) for row in curve if not math.isnan(row["val_dice"])]
    if not points:
        return math.nan
    best = max(dice for _, dice in points)
    area, at, height = 0.0, 0.0, 0.0
    for iteration, dice in points:
        area += (iteration - at) * (height + dice) / 2
        at, height = iteration, dice
    return (area + max(planned - at, 0) * best) / max(planned, at)


def _run_row(folder: Path, run: PlannedRun, state: tuple[str, str], curve: MetricRows, aim: tuple[float, int]) -> RunRow:
    target, planned = aim
    best = best_of(curve)
    reached: Mapping[str, Any] = next((row for row in curve if row["val_dice"] >= target), {})
    costs = read_costs(folder / run.folder / "cost.csv")
    return RunRow(
        arm=run.arm,
        n=run.n,
        seed=run.seed,
        folder=run.folder,
        state=state[0],
        iterations=curve[-1]["iteration"] if curve else 0,
        seconds=curve[-1]["seconds"] if curve else math.nan,
        best_dice=best.get("val_dice", math.nan),
        best_iteration=float(best.get("iteration", math.nan)),
        best_seconds=best.get("seconds", math.nan),
        target_iteration=float(reached.get("iteration", math.nan)),
        target_seconds=reached.get("seconds", math.nan),
        area=area_under(curve, planned),
        step_seconds=statistics.median(cost.step_seconds for cost in costs) if costs else math.nan,
        memory_mib=max((cost.memory_mib for cost in costs), default=math.nan),
        training_dice=_training_dice(folder, run),
        fault=state[1],
        trainable=_trainable(folder / run.folder / "transfer_report.json"),
    )


def _trainable(path: Path) -> float:
    """Return the number of parameters that a run trains; NaN if there is no report of it yet."""
    if not path.is_file():
        return math.nan
    report = read_json(path, required=("stages",), remedy="restore it")
    with naming_damage(path, "restore it"):
        return float(sum(row["trainable"] for row in report["stages"].values()))


def _training_dice(folder: Path, run: PlannedRun) -> float:
    """Return the mean Dice over a run's own training cases; NaN if they were not scored."""
    place = folder / run.folder
    return summarise(read_run_scores(place, "train").of()).mean if has_own_scores(place, "train") else math.nan


def _scores(folder: Path, run: PlannedRun, study: Study) -> tuple[Score, ...]:
    """Return a run's scores.

    Raises:
        DataError: if its normalised surface Dice has another tolerance than the study.
    """
    found = read_run_scores(folder / run.folder, "test")
    planned = Scoring(found.regions, tolerance=study.tolerance).tolerance_mm
    if "nsd" in found.record.metrics and found.record.tolerance_mm != planned:
        raise DataError(
            f"{folder / run.folder}: nsd was scored with a tolerance of {_in_mm(found.record.tolerance_mm)}, but the study's "
            f"is {_in_mm(planned)}: {how_to_score(scores_of(folder / run.folder, 'test'))} again"
        )
    return found.scores


def _in_mm(tolerance: Mapping[str, float]) -> str:
    return ", ".join(f"{mm:g} mm" for mm in dict.fromkeys(tolerance.values()))
