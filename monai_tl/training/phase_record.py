"""What was frozen in which iterations of a training, and the proof that it did not change: ``phases.csv``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_tl.errors import DataError
from monai_tl.storage.tables import read_table, write_table

PHASES = "phases.csv"
REMEDY = "restore it: it holds the proof of what was frozen; or train again in another folder"


@dataclass(frozen=True, slots=True)
class FrozenInterval:
    """A row of ``phases.csv``: consecutive iterations with the same frozen stages.

    Attributes:
        first, last: first and last iteration, both included; of an interval that is under way, ``last`` is planned.
        trained, frozen: stages, joined by plus signs.
        sha256_begin: SHA-256 of all frozen values before the first iteration.
        sha256_end: the same after the last iteration; empty while the interval is under way.
    """

    first: int
    last: int
    trained: str
    frozen: str
    sha256_begin: str
    sha256_end: str

    @property
    def is_proven(self) -> bool:
        """Whether the interval has ended and its frozen values are unchanged, bit for bit."""
        return self.sha256_begin == self.sha256_end

    def __str__(self) -> str:
        """Return the interval in one line."""
        state = "unchanged bit for bit" if self.is_proven else "CHANGED" if self.sha256_end else "under way"
        frozen = f"{self.frozen.replace('+', ', ')} frozen, {state}" if self.frozen else "nothing frozen"
        return f"iterations {self.first}–{self.last}: {frozen}"


def write_phases(folder: Path, rows: Sequence[FrozenInterval]) -> None:
    """Write a run's ``phases.csv``, atomically."""
    write_table(folder / PHASES, FrozenInterval, rows)


def read_phases(folder: Path) -> list[FrozenInterval]:
    """Read a run's ``phases.csv``; none without a file.

    Raises:
        DataError: if it is damaged, with the line.
    """
    path = folder / PHASES
    return read_table(path, FrozenInterval, remedy=REMEDY) if path.is_file() else []


def phases_before(folder: Path, iteration: int) -> list[FrozenInterval]:
    """Read the rows that began before an iteration; later ones are of iterations that a resumed training repeats.

    Raises:
        DataError: if the file is damaged, or if the rows lack an iteration.
    """
    rows = [row for row in read_phases(folder) if row.first < iteration]
    known = 0
    for row in rows:
        if row.first != known + 1:
            break
        known = row.last
    if known < iteration - 1:
        raise DataError(
            f"{folder / PHASES} lacks iteration {known + 1}, and this training has come to {iteration - 1}: {REMEDY}"
        )
    return rows


def proven_phases(folder: Path, schedule: Mapping[str, Any], iteration: int) -> list[FrozenInterval]:
    """Read a finished training's ``phases.csv``, and check that it proves all phases of its schedule.

    Args:
        folder: run folder.
        schedule: as `monai_tl.transfer.phases.Schedule.as_dict` returns it.
        iteration: the last iteration of the training.

    Raises:
        DataError: if the file is damaged.
        RuntimeError: if it lacks a phase, has another one, or a frozen value changed.
    """
    rows = read_phases(folder)
    wanted = [(one["first"], min(one["last"], iteration)) for one in schedule["phases"] if one["first"] <= iteration]
    if [(row.first, row.last) for row in rows] != wanted or not all(row.is_proven for row in rows):
        raise RuntimeError(
            f"{folder / PHASES} does not prove what was frozen in the {len(wanted)} phases of {iteration} iterations "
            f"({'; '.join(map(str, rows)) or 'it has no rows'}): do not use this run, and report it as a bug"
        )
    return rows
