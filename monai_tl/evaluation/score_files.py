"""Where the scores of a run lie, without reading them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monai_tl.errors import ConfigError


def scores_of(folder: Path, split: str) -> Path:
    """Return the table of a run's scores on a split."""
    return folder / f"scores_{split}.csv"


def how_to_score(table: Path) -> str:
    """Say how a table of scores is made."""
    return f"run `monai_tl evaluate --run {table.parent} --split {table.stem.removeprefix('scores_')}`"


def refuse_no_scores(table: Path) -> None:
    """Refuse a table of scores that is not there.

    Raises:
        ConfigError: with the command that makes it.
    """
    if not table.is_file():
        raise ConfigError(f"no scores at {table}: {how_to_score(table)} first")


def refuse_unscored(runs: Sequence[Path | str], split: str) -> None:
    """Refuse to compare runs that were not scored.

    Raises:
        ConfigError: if no run is given, one is given twice, or one has no scores of this split.
    """
    folders = [Path(run).resolve() for run in runs]
    if not folders:
        raise ConfigError("no run to compare: give at least one run folder")
    twice = [str(run) for run, folder in zip(runs, folders, strict=True) if folders.count(folder) > 1]
    if twice:
        raise ConfigError(f"a run is given more than once: {', '.join(twice)}")
    for run in runs:
        refuse_no_scores(scores_of(Path(run), split))
