"""Group runs that can be compared: those of one task, scored on the same cases against the same references."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from monai_tl.evaluation.compare import Comparison, RunResult, compare_tables, why_not_comparable
from monai_tl.evaluation.score_record import other_references
from monai_tl.evaluation.scores import Score
from monai_tl.report.runs.read_runs import Run
from monai_tl.report.runs.scored_by import ScoredBy
from monai_tl.report.runs.transfer_summary import ELSEWHERE
from monai_tl.text import listed, printable
from monai_tl.transfer.tensors import name_first

ORDER = (
    "scratch",
    "none",
    "random prefix",
    "untrained",
    "transfer",
    ELSEWHERE,
)  # the first run of a group is what the others are compared with


@dataclass(frozen=True)
class Group:
    """Runs of one task, and their comparison.

    Attributes:
        runs: scored ones first.
        comparison: None if no run is scored.
        by: what they are scored by.
        apart: why they are not compared with an earlier group of the same regions; empty if there is none.
    """

    runs: tuple[Run, ...]
    comparison: Comparison | None
    by: ScoredBy
    apart: str = ""

    @property
    def regions(self) -> tuple[str, ...]:
        """The names of the segmented regions; none if they have no name."""
        return next((run.regions for run in self.runs if run.regions), ())

    @property
    def title(self) -> str:
        """The segmented regions, e.g. ``"tumour core"``."""
        return listed(self.regions) if self.regions else self.runs[0].task or "unnamed task"

    @property
    def scored(self) -> tuple[Run, ...]:
        """The scored runs; the others are compared with the first."""
        return tuple(run for run in self.runs if run.scores is not None)

    @property
    def evaluated(self) -> tuple[Run, ...]:
        """The runs with scores, also by other metrics only."""
        return tuple(run for run in self.runs if run.every is not None)

    @property
    def subjects(self) -> tuple[str, ...]:
        """The cases that every scored run was scored on, in the first run's order."""
        return tuple(self.scored[0].table) if self.scored else ()

    @property
    def ranked(self) -> list[RunResult]:
        """The results with a defined mean, the best first."""
        results = self.comparison.runs if self.comparison else ()
        sign = -1 if self.by.metric.higher_is_better else 1
        return sorted((result for result in results if not math.isnan(result.mean)), key=lambda result: sign * result.mean)


def group_runs(runs: Sequence[Run], split: str, by: ScoredBy | None = None) -> list[Group]:
    """Group runs by task (same regions, subjects and references), the task with most scored runs first.

    A run that is not evaluated joins the runs with the same regions and datalist.

    Args:
        runs: as `read_runs` returns them, for the same ``by``.
        split: the split that was scored.
        by: the score to compare; None: Dice, over all regions.
    """
    by = by or ScoredBy()
    ranked = sorted(runs, key=lambda run: ORDER.index(run.transfer.kind))  # stable: sorted by name within a kind
    tasks: list[list[Run]] = []
    apart: list[str] = []

    def joins(first: Run, run: Run) -> bool:
        return not _why_apart(first, run, by)

    for run in [run for run in ranked if run.scores is not None] + [run for run in ranked if run.every and not run.scores]:
        apart += [_reason(tasks, run, by)] if _join(run, tasks, joins) else []
    for run in (run for run in ranked if run.every is None):
        apart += [""] if _join(run, tasks, _same_datalist) else []
    groups = [_group(members, split, by, reason) for members, reason in zip(tasks, apart, strict=True)]
    return sorted(groups, key=lambda group: -len(group.scored))


def _join(run: Run, tasks: list[list[Run]], alike: Callable[[Run, Run], bool]) -> bool:
    """Add a run to the first task that it fits; return whether it begins a new one."""
    for members in tasks:
        fits = all(_may_be_one_task(member, run) and not _other_voxels(member, run) for member in members)
        if fits and alike(members[0], run):
            members.append(run)
            return False
    tasks.append([run])
    return True


def _reason(tasks: Sequence[Sequence[Run]], run: Run, by: ScoredBy) -> str:
    """Return why a run that begins a task is not compared with an earlier one of the same regions."""
    alike = [member for members in tasks[:-1] for member in members if member.every and _may_be_one_task(member, run)]
    return next(filter(None, (_why_apart(member, run, by) for member in alike)), "")


def _group(members: Sequence[Run], split: str, by: ScoredBy, apart: str) -> Group:
    several = any(run.every is not None and len(run.every.regions) > 1 for run in members)
    tolerance = next((_tolerance_text(run, by) for run in members if run.scores), "")
    tables = {run.name: run.table for run in members if run.scores is not None}
    comparison = compare_tables(tables, split, metric=by.metric.name) if tables else None
    return Group(tuple(members), comparison, replace(by, several=several, tolerance=tolerance), apart)


def _may_be_one_task(first: Run, run: Run) -> bool:
    """Return whether two runs are of the same regions; a single region without a name may be any."""
    single = not any(each.every and len(each.every.regions) > 1 for each in (first, run))
    unnamed = single and min(len(first.regions), len(run.regions)) == 0 and max(len(first.regions), len(run.regions)) <= 1
    return set(first.regions) == set(run.regions) or (unnamed and ELSEWHERE in (first.transfer.kind, run.transfer.kind))


def _why_apart(first: Run, run: Run, by: ScoredBy) -> str:
    """Return why two evaluated runs are not compared; empty if they are."""
    if not _may_be_one_task(first, run):
        listing = "; ".join(listed(each.regions) if each.regions else "unnamed" for each in (first, run))
        return f"{first.name} and {run.name} were scored on different regions: {listing}"
    problem = why_not_comparable(first.name, _cases(first, by), run.name, _cases(run, by))
    if problem:
        return problem
    if other := _other_voxels(first, run):
        where = f"equal volumes, but other voxels, in {name_first(other, 5)}"
        return f"{first.name} and {run.name} were scored against different references: {where}"
    if first.scores and run.scores and _tolerance_of(first, by) != _tolerance_of(run, by):
        both = f"{_tolerance_text(first, by)}; {_tolerance_text(run, by)}"
        return f"{first.name} and {run.name} were scored with different tolerances: {both}"
    return ""


def _other_voxels(first: Run, run: Run) -> list[str]:
    """Return the subjects whose references differ, as far as they are recorded."""
    return other_references(first.record.references, run.record.references) if first.record and run.record else []


def _cases(run: Run, by: ScoredBy) -> dict[str, Score]:
    """Return an evaluated run's scores by subject, of the region if it has it."""
    assert run.every
    region = by.region if by.region in run.every.regions else ""
    return {score.subject: score for score in run.every.of(region)}


def _tolerance_of(run: Run, by: ScoredBy) -> dict[str, float]:
    """Return region -> tolerance in mm of what is shown, if it is the normalised surface Dice; a single region has no name."""
    if by.metric.name != "nsd" or run.record is None:
        return {}
    tolerances = run.record.tolerance_mm
    if by.region:
        return {"": tolerances[by.region]} if by.region in tolerances else {}
    return dict(zip([""], tolerances.values(), strict=True)) if len(tolerances) == 1 else dict(tolerances)


def _tolerance_text(run: Run, by: ScoredBy) -> str:
    tolerances = _tolerance_of(run, by)
    if len(set(tolerances.values())) == 1:
        return f"{next(iter(tolerances.values())):g} mm"
    return ", ".join(f"{printable(region)} {mm:g} mm" for region, mm in tolerances.items())


def _same_datalist(first: Run, run: Run) -> bool:
    return first.datalist_sha256 == run.datalist_sha256
