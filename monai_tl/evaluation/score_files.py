"""Find the score tables of runs, without reading them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monai_tl.errors import ConfigError


def scores_of(folder: Path, split: str) -> Path:
    """Return the path of a run's score table for a split."""
    return folder / f"scores_{split}.csv"


def how_to_score(table: Path) -> str:
    """Return the command that writes a score table."""
    return f"run `monai_tl evaluate --run {table.parent} --split {table.stem.removeprefix('scores_')}`"


def refuse_no_scores(table: Path) -> None:
    """Refuse a score table that does not exist.

    Raises:
        ConfigError: with the command that writes it.
    """
    if not table.is_file():
        raise ConfigError(f"no scores at {table}: {how_to_score(table)} first")


def refuse_unscored(runs: Sequence[Path | str], split: str) -> None:
    """Refuse to compare runs without scores.

    Raises:
        ConfigError: if no run is named, one is named twice, or one has no scores for this split.
    """
    folders = [Path(run).resolve() for run in runs]
    if not folders:
        raise ConfigError("no run to compare: name at least one run folder")
    twice = [str(run) for run, folder in zip(runs, folders, strict=True) if folders.count(folder) > 1]
    if twice:
        raise ConfigError(f"a run is named more than once: {', '.join(twice)}")
    for run in runs:
        refuse_no_scores(scores_of(Path(run), split))
