"""Group runs that can be compared: those of one task, scored on the same cases against the same references."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from monai_tl.evaluation.compare import Comparison, compare_tables, why_not_comparable
from monai_tl.evaluation.score_record import other_references
from monai_tl.report.runs.read_runs import Run

ORDER = (
    "scratch",
    "none",
    "random prefix",
    "untrained",
    "transfer",
)  # the first run of a group is what the others are compared with


@dataclass(frozen=True)
class Group:
    """Runs of one task, evaluated ones first, and their comparison, which is None if no run is evaluated."""

    runs: tuple[Run, ...]
    comparison: Comparison | None

    @property
    def title(self) -> str:
        """The segmented classes, e.g. ``"tumour core"``."""
        return ", ".join(self.runs[0].classes[1:]) or self.runs[0].task or "unnamed task"

    @property
    def scored(self) -> tuple[Run, ...]:
        """The evaluated runs; the others are compared with the first."""
        return tuple(run for run in self.runs if run.scores is not None)

    @property
    def subjects(self) -> tuple[str, ...]:
        """The cases that every evaluated run was scored on, in the first run's order."""
        return tuple(self.scored[0].table) if self.scored else ()


def group_runs(runs: Sequence[Run], split: str) -> list[Group]:
    """Group runs by task (same classes, subjects and reference volumes), the task with most evaluated runs first.

    A run that is not evaluated joins the runs with the same classes and datalist.
    """
    ranked = sorted(runs, key=lambda run: ORDER.index(run.transfer.kind))  # stable: sorted by name within a kind
    tasks: list[list[Run]] = []
    for run in (run for run in ranked if run.scores is not None):
        _join(run, tasks, _same_cases)
    for run in (run for run in ranked if run.scores is None):
        _join(run, tasks, _same_datalist)
    groups = [Group(tuple(members), _comparison(members, split)) for members in tasks]
    return sorted(groups, key=lambda group: -len(group.scored))


def _join(run: Run, tasks: list[list[Run]], alike: Callable[[Run, Run], bool]) -> None:
    for members in tasks:
        if alike(members[0], run):
            members.append(run)
            return
    tasks.append([run])


def _same_cases(first: Run, run: Run) -> bool:
    if first.classes != run.classes or why_not_comparable(first.name, first.table, run.name, run.table):
        return False
    records = [member.record for member in (first, run) if member.record]
    return len(records) < 2 or not other_references(records[0].references, records[1].references)


def _same_datalist(first: Run, run: Run) -> bool:
    hashes = [member.provenance.get("datalist_sha256") for member in (first, run)]
    return first.classes == run.classes and hashes[0] == hashes[1]


def _comparison(members: Sequence[Run], split: str) -> Comparison | None:
    tables = {run.name: run.table for run in members if run.scores is not None}
    return compare_tables(tables, split) if tables else None
