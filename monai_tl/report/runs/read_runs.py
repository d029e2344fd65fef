"""Read the runs below a folder: a few small files of each run, no images."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from monai_tl.errors import ConfigError, DataError
from monai_tl.evaluation.run_scores import read_run_scores, why_not_its_own
from monai_tl.evaluation.score_files import scores_of
from monai_tl.evaluation.score_record import ScoreRecord, seen_in_short
from monai_tl.evaluation.score_table import read_scores
from monai_tl.evaluation.scores import Score
from monai_tl.report.runs.find_runs import find_runs
from monai_tl.report.runs.transfer_summary import RUN_REMEDY, TransferSummary, read_transfer_summary
from monai_tl.storage.files import read_json
from monai_tl.text import printable
from monai_tl.training.metrics_table import read_metrics
from monai_tl.training.run_files import RUN_FORMAT

YAML_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # faster, but not in every build of PyYAML


@dataclass(frozen=True)
class Run:
    """One run folder.

    Attributes:
        name: path below the folder of runs.
        folder: the run folder.
        task: name of the bundle.
        modalities: of the images, in order.
        classes: names, the background first.
        scores: of the evaluated split; None if the run is not evaluated, or its scores are refused.
        curve: rows of ``metrics.csv``.
        transfer: origin of the run's initial weights.
        provenance: content of ``provenance.json``.
        overlays: pictures of cases, by subject.
        record: what the scores were computed from.
        refused: why the score table does not belong to the run's present weights and data; empty if it does.
        seen: note on scored cases that were trained on before, if the user accepted this; else empty.
    """

    name: str
    folder: Path
    task: str
    modalities: tuple[str, ...]
    classes: tuple[str, ...]
    scores: tuple[Score, ...] | None
    curve: tuple[dict[str, Any], ...]
    transfer: TransferSummary
    provenance: dict[str, Any]
    overlays: dict[str, Path] = field(default_factory=dict)
    record: ScoreRecord | None = None
    refused: str = ""
    seen: str = ""

    @property
    def best(self) -> dict[str, Any] | None:
        """The first row with the highest validation Dice, as the checkpoint is chosen."""
        rows = [row for row in self.curve if not math.isnan(row["val_dice"])]
        return max(rows, key=lambda row: row["val_dice"], default=None)

    @property
    def table(self) -> dict[str, Score]:
        """The scores by subject; empty if there are none."""
        return {score.subject: score for score in self.scores or ()}

    @property
    def seed(self) -> Any:
        """The recorded seed, or None if none is recorded."""
        return self.provenance.get("seed")


def read_runs(top: Path, split: str) -> list[Run]:
    """Read all runs in and below a folder, sorted by name (2 before 10).

    Args:
        top: a folder of runs, or a run.
        split: the split whose scores are read.

    Raises:
        ConfigError: if the folder does not exist, holds no run, or holds runs that were scored only on other splits.
        DataError: if a file is damaged.
    """
    folders = find_runs(top, split)
    try:
        return [_read(folder, name, split) for folder, name in zip(folders, _names(folders, top), strict=True)]
    except OSError as error:
        raise ConfigError(f"cannot read '{error.filename}' ({error.strerror}): change its permissions") from None


def _names(folders: list[Path], top: Path) -> list[str]:
    """Return a name for each run, its path below ``top``; equal names are numbered."""
    names: list[str] = []
    for folder in folders:
        name = printable(folder.resolve().name if folder == top else folder.relative_to(top).as_posix())
        twins = sum(other == name or other.startswith(f"{name} (") for other in names)
        names.append(f"{name} ({twins + 1})" if twins else name)
    return names


def _read(folder: Path, name: str, split: str) -> Run:
    config = _read_config(folder / "config.yaml")
    provenance = _read_record(folder / "provenance.json") or {}
    table, pictures = scores_of(folder, split), folder / f"overlays_{split}"
    scores = read_scores(table) if table.is_file() else None  # a damaged table is always an error
    refused = (why_not_its_own(folder, split) or "") if scores else ""
    valid = read_run_scores(folder, split) if scores and not refused else None
    return Run(
        name=name,
        folder=folder,
        task=printable(Path(str(config.get("bundle_root", ""))).name),
        modalities=_words(config.get("modalities")),
        classes=_words(config.get("classes")),
        scores=tuple(valid.of()) if valid else None,
        curve=tuple(read_metrics(folder / "metrics.csv")),
        transfer=read_transfer_summary(folder / "transfer_report.json", _read_record(folder / "transfer_report.json")),
        provenance=provenance,
        overlays={path.stem: path for path in pictures.glob("*.png")} if pictures.is_dir() and valid else {},
        record=valid.record if valid else None,
        refused=refused,
        seen=seen_in_short(valid.record) if valid else "",
    )


def _words(value: Any) -> tuple[str, ...]:
    return tuple(printable(str(word)) for word in value) if isinstance(value, list) else ()


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = yaml.load(path.read_text(encoding="utf-8"), YAML_LOADER)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise DataError(
            f"{path}{line} is not valid YAML: restore the run's config, or move the run out of the folder"
        ) from None
    if not isinstance(config, dict):
        raise DataError(f"{path} holds no settings: restore the run's config, or move the run out of the folder")
    return config


def _read_record(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None if the file does not exist."""
    return read_json(path, remedy=RUN_REMEDY, of_format=RUN_FORMAT) if path.is_file() else None
