"""Find runs below a folder."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from monai_tl.errors import ConfigError, did_you_mean
from monai_tl.storage.files import read_json

DEPTH = 4  # levels of subfolders that are searched
CONFIG = "config.yaml"


def find_runs(top: Path, split: str) -> list[Path]:
    """Return the folders of all runs in and below a folder, sorted by name (2 before 10).

    A run folder holds ``config.yaml``, or scores of segmentations that were made elsewhere.

    Raises:
        ConfigError: if the folder does not exist, holds no run, or holds runs that were scored only on other splits.
        DataError: if the record of scores in a folder without ``config.yaml`` is damaged.
    """
    if not top.is_dir():
        parent = next((folder for folder in top.absolute().parents if folder.is_dir()), Path("/"))
        existing = sorted(path.name for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))
        raise ConfigError(f"no folder '{top}' with runs; in '{parent}': {did_you_mean(top.name, existing[:50])}")
    folders = sorted(_find(top, DEPTH, set()), key=lambda folder: _natural(str(folder.relative_to(top))))
    if not folders:
        raise ConfigError(
            f"no run in '{top}' or up to {DEPTH} folders below: a run folder holds config.yaml, or scores of "
            "segmentations made elsewhere. Name the --output folder of `monai_tl transfer`, or a folder above it"
        )
    scored = Counter(path.stem.removeprefix("scores_") for folder in folders for path in folder.glob("scores_*.csv"))
    if scored and split not in scored:
        exist = ", ".join(f"scores_{name}.csv ({count} run{'s' * (count > 1)})" for name, count in sorted(scored.items()))
        raise ConfigError(
            f"no run in '{top}' has scores_{split}.csv. There are: {exist}. "
            f"Use --split {scored.most_common(1)[0][0]}{_or_score(folders, split)}"
        )
    return folders


def _or_score(folders: Sequence[Path], split: str) -> str:
    runs = [folder for folder in folders if (folder / CONFIG).is_file()]
    return f", or run `monai_tl evaluate --run {runs[0]} --split {split}` first" if runs else ""


def _find(folder: Path, depth: int, seen: set[Path]) -> Iterator[Path]:
    if folder.resolve() in seen:  # a link to a folder above
        return
    seen.add(folder.resolve())
    if (folder / CONFIG).is_file() or is_made_elsewhere(folder):
        yield folder
    if depth:
        try:
            below = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        except PermissionError:
            raise ConfigError(f"no read permission for '{folder}': change its permissions, or name another folder") from None
        for path in below:
            yield from _find(path, depth - 1, seen)


def is_made_elsewhere(folder: Path) -> bool:
    """Return whether a folder holds no training, but scores of segmentations that were made elsewhere.

    Raises:
        DataError: if the record of a score table is damaged, so that this is unknown.
    """
    if (folder / CONFIG).is_file():
        return False
    records = [table.with_suffix(".json") for table in sorted(folder.glob("scores_*.csv"))]
    remedy = "restore it, or move its scores out of the folder of runs"
    return any(read_json(record, remedy=remedy).get("predictions") for record in records if record.is_file())


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
