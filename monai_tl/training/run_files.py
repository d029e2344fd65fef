"""Check a run folder without loading weights: whether it may be written to, and its datalist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monai_tl.datasets.datalist import read_datalist
from monai_tl.errors import ConfigError
from monai_tl.storage.files import read_json

BEST, LAST = "model.pt", "last.pt"


def refuse_existing(folder: Path, *, resume: bool) -> bool:
    """Return whether the folder holds a run to resume; raise if anything would be overwritten.

    Raises:
        ConfigError: if the folder is not empty, unless it holds a run and ``resume`` is set.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    if not (folder / "config.yaml").is_file():
        raise ConfigError(f"output '{folder}' exists and is not a run folder; choose another")
    if not any((folder / name).is_file() for name in (BEST, LAST)) and not resume:
        raise ConfigError(
            f"output '{folder}' holds a run that ended before its first validation, so it has no weights: remove the folder, "
            "or choose another"
        )
    if not resume:
        raise ConfigError(f"output '{folder}' already holds a run; choose another folder, or continue it with --resume true")
    return True


def refuse_changed_datalist(run: str | Path, datalist: str) -> None:
    """Refuse to score a run on another datalist than it was trained with: its test cases may be training cases.

    Raises:
        ConfigError: with the remedy.
    """
    trained = trained_on(Path(run))
    if trained is not None and trained != read_datalist(Path(datalist)).sha256():
        raise ConfigError(
            f"{datalist} is not the datalist that '{run}' was trained with, so its test cases may be training cases; "
            "restore it, or name a datalist explicitly with --datalist"
        )


def trained_on(run: Path) -> str | None:
    """Return the SHA-256 of the datalist that a run was trained with; None if unknown.

    Raises:
        DataError: if the run's ``provenance.json`` is damaged.
    """
    return read_run_record(run, "provenance.json").get("datalist_sha256")


RUN_FORMAT = 1  # of provenance.json and transfer_report.json


def read_run_record(folder: Path, name: str) -> dict[str, Any]:
    """Read ``provenance.json`` or ``transfer_report.json`` of a run; empty without a file.

    Raises:
        DataError: if it is damaged, or of another format.
    """
    path = folder / name
    return read_json(path, remedy="restore it", of_format=RUN_FORMAT) if path.is_file() else {}
