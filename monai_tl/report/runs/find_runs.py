"""Find runs below a folder."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from monai_tl.errors import ConfigError, did_you_mean

DEPTH = 4  # levels of subfolders that are searched


def find_runs(top: Path, split: str) -> list[Path]:
    """Return the folders of all runs in and below a folder, sorted by name (2 before 10); no file is read.

    Raises:
        ConfigError: if the folder does not exist, holds no run, or holds runs that were scored only on other splits.
    """
    if not top.is_dir():
        parent = next((folder for folder in top.absolute().parents if folder.is_dir()), Path("/"))
        existing = sorted(path.name for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))
        raise ConfigError(f"no folder '{top}' with runs; in '{parent}': {did_you_mean(top.name, existing[:50])}")
    folders = sorted(_find(top, DEPTH, set()), key=lambda folder: _natural(str(folder.relative_to(top))))
    if not folders:
        raise ConfigError(
            f"no run in '{top}' or up to {DEPTH} folders below: a run folder holds config.yaml. "
            "Name the --output folder of `monai_tl transfer`, or a folder above it"
        )
    scored = Counter(path.stem.removeprefix("scores_") for folder in folders for path in folder.glob("scores_*.csv"))
    if scored and split not in scored:
        exist = ", ".join(f"scores_{name}.csv ({count} run{'s' * (count > 1)})" for name, count in sorted(scored.items()))
        raise ConfigError(
            f"no run in '{top}' has scores_{split}.csv. There are: {exist}. "
            f"Use --split {scored.most_common(1)[0][0]}, or run `monai_tl evaluate --run {folders[0]} --split {split}` first"
        )
    return folders


def _find(folder: Path, depth: int, seen: set[Path]) -> Iterator[Path]:
    if folder.resolve() in seen:  # a link to a folder above
        return
    seen.add(folder.resolve())
    if (folder / "config.yaml").is_file():
        yield folder
    if depth:
        try:
            below = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        except PermissionError:
            raise ConfigError(f"no read permission for '{folder}': change its permissions, or name another folder") from None
        for path in below:
            yield from _find(path, depth - 1, seen)


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
