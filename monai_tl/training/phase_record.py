"""What was frozen in which iterations of a training, and the proof that it did not change: ``phases.csv``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from monai_tl.storage.tables import read_table, write_table

PHASES = "phases.csv"


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
    remedy = "restore it: it holds the proof of what was frozen; or train again in another folder"
    return read_table(path, FrozenInterval, remedy=remedy) if path.is_file() else []
