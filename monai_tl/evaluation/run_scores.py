"""The scores of a run, if they are its own: of this split, whole, and of the weights that the run holds now."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from monai_tl.errors import ConfigError, DataError
from monai_tl.evaluation.metrics import Score
from monai_tl.evaluation.score_files import scores_of
from monai_tl.evaluation.score_record import ScoreRecord, read_record, record_path
from monai_tl.evaluation.score_table import read_scores
from monai_tl.storage.files import sha256_of
from monai_tl.training.run_files import trained_on
from monai_tl.transfer.source import find_weights
from monai_tl.transfer.weight_files import holds_weights


@dataclass(frozen=True)
class RunScores:
    """A run's scores of a split, and what they are of."""

    scores: tuple[Score, ...]
    record: ScoreRecord


def read_run_scores(run: Path, split: str) -> RunScores:
    """Read a run's scores, where they are its own.

    Raises:
        ConfigError: if there are none, or they are of other weights, data or another split than the run's; with the command
            that makes them.
        DataError: if they are damaged.
    """
    path = scores_of(run, split)
    scores = read_scores(path)
    found = read_record(path)
    why = _why_not(run, split, found)
    if why or found is None:
        first = "" if found else f"remove {path} and "
        raise ConfigError(f"{run}: {why}; {first}run `monai_tl evaluate --run {run} --split {split}`")
    return RunScores(tuple(scores), found[0])


def why_not_its_own(run: Path, split: str) -> str | None:
    """Say why a run's table of scores is not what its weights score; None where it is, or the run holds no weights any more.

    Raises:
        DataError: if the record beside the table is damaged.
        TransferError: if the run holds two files of weights that differ.
    """
    return _why_not(run, split, read_record(scores_of(run, split)))


def _why_not(run: Path, split: str, found: tuple[ScoreRecord, bool] | None) -> str | None:
    """Say why a table of scores with this record is not the run's own."""
    if found is None:
        return f"scores do not say what they are of (there is no {record_path(scores_of(run, split)).name})"
    record, whole = found
    if not whole:
        return "scores were changed after they were written, or writing them was interrupted"
    if record.split != split:
        return f"scores are of the {record.split} split"
    if not record.own_data or record.datalist_sha256 != (trained_on(run) or record.datalist_sha256):
        return f"scores are of another datalist than the run's ({record.datalist})"
    if not holds_weights(run):
        return None
    now = _weights_sha256(find_weights(run))
    if now != record.weights_sha256:
        return f"scores are older than its weights (they are of sha256 {record.weights_sha256[:12]}…, now {now[:12]}…)"
    return None


def has_own_scores(run: Path, split: str) -> bool:
    """Say if a run was scored on a split, with the weights that it holds."""
    try:
        return scores_of(run, split).is_file() and why_not_its_own(run, split) is None
    except DataError:  # a damaged record is none
        return False


def discard_scores(run: Path, split: str) -> None:
    """Remove a run's scores of a split."""
    path = scores_of(run, split)
    for one in (path, record_path(path)):
        one.unlink(missing_ok=True)


def _weights_sha256(path: Path) -> str:
    status = path.stat()
    return _hashed(path, status.st_size, status.st_mtime_ns)


@cache
def _hashed(path: Path, size: int, changed: int) -> str:
    return sha256_of(path)
