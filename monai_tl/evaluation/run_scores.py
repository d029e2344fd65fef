"""Read the scores of a run, and check that they belong to it: to this split, its datalist and its current weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from monai_tl.errors import ConfigError, DataError
from monai_tl.evaluation.score_files import scores_of
from monai_tl.evaluation.score_record import ScoreRecord, read_record, record_path
from monai_tl.evaluation.score_table import read_scores
from monai_tl.evaluation.scores import Score, over_regions
from monai_tl.storage.files import sha256_of
from monai_tl.training.run_files import trained_on
from monai_tl.transfer.source import find_weights
from monai_tl.transfer.weight_files import holds_weights


@dataclass(frozen=True)
class RunScores:
    """A run's scores for a split, one per case and region, with their record."""

    scores: tuple[Score, ...]
    record: ScoreRecord

    @property
    def regions(self) -> tuple[str, ...]:
        """The names of the regions."""
        return tuple(dict.fromkeys(score.region for score in self.scores))

    def of(self, region: str = "") -> list[Score]:
        """Return one score per case, of a region or, by default, over all regions; see `over_regions`."""
        return over_regions(self.scores, region)


def read_run_scores(run: Path, split: str) -> RunScores:
    """Read a run's scores, and check that they belong to the run.

    Raises:
        ConfigError: if there are none, or they belong to other weights, other data or another split; with the command that
            writes them.
        DataError: if they are damaged.
    """
    path = scores_of(run, split)
    scores = read_scores(path)
    known = read_record(path)
    problem = _problem(run, split, known)
    if problem or known is None:
        first = "" if known else f"remove {path} and "
        raise ConfigError(f"{run}: {problem}; {first}run `monai_tl evaluate --run {run} --split {split}`")
    return RunScores(tuple(scores), known[0])


def why_not_its_own(run: Path, split: str) -> str | None:
    """Return why a run's score table does not belong to its weights; None if it does, or if the run has no weights.

    Raises:
        DataError: if the record next to the table is damaged.
        TransferError: if the run holds two weights files that differ.
    """
    return _problem(run, split, read_record(scores_of(run, split)))


def _problem(run: Path, split: str, known: tuple[ScoreRecord, bool] | None) -> str | None:
    """Return why a score table with this record does not belong to the run; None if it does."""
    if known is None:
        return f"scores have no record of their data and weights (there is no {record_path(scores_of(run, split)).name})"
    record, whole = known
    if not whole:
        return "scores were changed after they were written, or writing was interrupted"
    if record.split != split:
        return f"scores belong to the {record.split} split"
    if not record.own_data or record.datalist_sha256 != (trained_on(run) or record.datalist_sha256):
        return f"scores belong to another datalist than the run's ({record.datalist})"
    if not holds_weights(run):
        return None
    now = _weights_sha256(find_weights(run))
    if now != record.weights_sha256:
        return f"scores belong to earlier weights (sha256 {record.weights_sha256[:12]}…, now {now[:12]}…)"
    return None


def has_own_scores(run: Path, split: str) -> bool:
    """Return whether a run has scores for a split that belong to its current weights."""
    try:
        return scores_of(run, split).is_file() and why_not_its_own(run, split) is None
    except DataError:  # a damaged record counts as none
        return False


def discard_scores(run: Path, split: str) -> None:
    """Remove a run's scores for a split."""
    path = scores_of(run, split)
    for file in (path, record_path(path)):
        file.unlink(missing_ok=True)


def _weights_sha256(path: Path) -> str:
    status = path.stat()
    return _hashed(path, status.st_size, status.st_mtime_ns)


@cache
def _hashed(path: Path, size: int, changed: int) -> str:
    return sha256_of(path)
