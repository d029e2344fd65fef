"""Read the runs below a folder: a few small files of each run, no images."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from monai_tl.datasets.regions import FOREGROUND, is_softmax
from monai_tl.errors import ConfigError, DataError, did_you_mean
from monai_tl.evaluation.metrics import DEFAULT_METRICS
from monai_tl.evaluation.run_scores import RunScores, read_run_scores, why_not_its_own
from monai_tl.evaluation.score_files import scores_of
from monai_tl.evaluation.score_record import ScoreRecord, seen_in_short
from monai_tl.evaluation.score_table import read_scores
from monai_tl.evaluation.scores import Score, refuse_unscored_metric
from monai_tl.report.runs.find_runs import CONFIG, find_runs, is_made_elsewhere
from monai_tl.report.runs.scored_by import ScoredBy
from monai_tl.report.runs.transfer_summary import ELSEWHERE, RUN_REMEDY, TransferSummary, read_transfer_summary
from monai_tl.storage.files import read_json
from monai_tl.text import printable
from monai_tl.training.cost import Cost, read_costs
from monai_tl.training.metrics_table import read_metrics
from monai_tl.training.run_files import RUN_FORMAT

YAML_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # faster, but not in every build of PyYAML


@dataclass(frozen=True)
class Run:
    """One run folder: of a training, or of segmentations that were made elsewhere.

    Attributes:
        name: path below the folder of runs.
        folder: the run folder.
        task: name of the bundle.
        modalities: of the images, in order.
        classes: names, the background first.
        scores: one per case, of the region or over all; None if the run is not evaluated, its scores are refused, or they
            lack the metric or region.
        curve: rows of ``metrics.csv``.
        transfer: origin of the run's initial weights.
        provenance: content of ``provenance.json``.
        overlays: pictures of cases, by subject.
        every: the scores of all regions and metrics, with their record; None if there are none, or they are refused.
        refused: why the run has no ``scores`` in spite of a score table; empty if it has, or there is none.
        costs: rows of ``cost.csv``.
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
    every: RunScores | None = None
    refused: str = ""
    seen: str = ""
    costs: tuple[Cost, ...] = ()

    @property
    def record(self) -> ScoreRecord | None:
        """What the scores were computed from."""
        return self.every.record if self.every else None

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics that the run was scored by; none if it is not evaluated."""
        return tuple(self.every.scores[0].values) if self.every else ()

    @property
    def elsewhere(self) -> bool:
        """Whether the run is not a training, but segmentations that were made elsewhere."""
        return self.transfer.kind == ELSEWHERE

    @property
    def regions(self) -> tuple[str, ...]:
        """The names of the regions, of the scores or else of the network; none if they have no name."""
        of_scores = self.every.regions if self.every else ()
        named = tuple(printable(region) for region in of_scores if region not in ("", FOREGROUND))
        return named or (self.classes[1:] if is_softmax(self.classes) else self.classes)

    @property
    def datalist_sha256(self) -> Any:
        """The SHA-256 of the datalist, or None if it is unknown."""
        scored_on = self.record.datalist_sha256 if self.record and self.elsewhere else None
        return self.provenance.get("datalist_sha256", scored_on)

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

    def evaluate_command(self, split: str, metrics: Sequence[str] = DEFAULT_METRICS) -> str:
        """Return the command that scores the run; segmentations that were made elsewhere are to be named in it."""
        folder = shlex.quote(printable(str(self.folder)))
        what = f"--run {folder}"
        if self.elsewhere:
            datalist = shlex.quote(printable(self.record.datalist)) if self.record else "FILE"
            what = f"--predictions DIR --datalist {datalist} --output {folder}{self._translated()}"
        by = "" if set(metrics) <= set(DEFAULT_METRICS) else f" --metrics {','.join(metrics)}"
        return f"monai_tl evaluate {what} --split {shlex.quote(split)}{by}"

    def _translated(self) -> str:
        """Return the flags by which segmentations made elsewhere were scored on some regions or with other label values."""
        if self.record is None:
            return ""
        regions = ",".join(self.record.tolerance_mm)
        values = ",".join(f"{there}={here}" for there, here in self.record.settings.get("label_map", {}).items())
        flags = (("regions", regions), ("label_map", values))
        return "".join(f" --{name} {shlex.quote(printable(text))}" for name, text in flags if text)


def read_runs(top: Path, split: str, by: ScoredBy | None = None) -> list[Run]:
    """Read all runs in and below a folder, sorted by name (2 before 10).

    Args:
        top: a folder of runs, or a run.
        split: the split whose scores are read.
        by: the score of a case; None: Dice, over all regions.

    Raises:
        ConfigError: if the folder does not exist, holds no run, or holds runs that were scored only on other splits, by other
            metrics or in other regions.
        DataError: if a file is damaged.
    """
    by = by or ScoredBy()
    folders = find_runs(top, split)
    try:
        runs = [_read(folder, name, split, by) for folder, name in zip(folders, _names(folders, top), strict=True)]
    except OSError as error:
        raise ConfigError(f"cannot read '{error.filename}' ({error.strerror}): change its permissions") from None
    if not any(run.scores for run in runs):
        _refuse_other_scores(runs, top, split, by)
    return runs


def _refuse_other_scores(runs: Sequence[Run], top: Path, split: str, by: ScoredBy) -> None:
    """Refuse a region that no run has, or a metric that none was scored by."""
    known = dict.fromkeys(region for run in runs for region in run.regions)
    if by.region and by.region not in known:
        raise ConfigError(f"no run in '{top}' has a region '{by.region}': {did_you_mean(by.region, known)}")
    for run in runs:
        if run.every and by.region in ("", *run.every.regions):
            refuse_unscored_metric(by.metric.name, run.every.scores, run.evaluate_command(split))
    for run in runs:
        if run.every:
            raise ConfigError(f"{run.name}: {run.refused}")


def _names(folders: list[Path], top: Path) -> list[str]:
    """Return a name for each run, its path below ``top``; equal names are numbered."""
    names: list[str] = []
    for folder in folders:
        name = printable(folder.resolve().name if folder == top else folder.relative_to(top).as_posix())
        twins = sum(other == name or other.startswith(f"{name} (") for other in names)
        names.append(f"{name} ({twins + 1})" if twins else name)
    return names


def _read(folder: Path, name: str, split: str, by: ScoredBy) -> Run:
    elsewhere = is_made_elsewhere(folder)
    config = {} if elsewhere else _read_config(folder / CONFIG)
    provenance = _read_record(folder / "provenance.json") or {}
    table, pictures = scores_of(folder, split), folder / f"overlays_{split}"
    scores = read_scores(table) if table.is_file() else None  # a damaged table is always an error
    refused = (why_not_its_own(folder, split) or "") if scores else ""
    valid = read_run_scores(folder, split) if scores and not refused else None
    if valid and valid.record.predictions and not elsewhere:
        valid, refused = None, "scores are of segmentations made elsewhere, not of its weights"
    refused = refused or (by.lacking(valid) if valid else "")
    report = _read_record(folder / "transfer_report.json")
    return Run(
        name=name,
        folder=folder,
        task=printable(Path(str(config.get("bundle_root", ""))).name),
        modalities=_words(config.get("modalities")),
        classes=_words(config.get("classes")),
        scores=tuple(valid.of(by.region)) if valid and not refused else None,
        curve=tuple(read_metrics(folder / "metrics.csv")),
        transfer=TransferSummary(ELSEWHERE) if elsewhere else read_transfer_summary(folder / "transfer_report.json", report),
        provenance=provenance,
        overlays={path.stem: path for path in pictures.glob("*.png")} if pictures.is_dir() and valid else {},
        every=valid,
        refused=refused,
        seen=seen_in_short(valid.record) if valid else "",
        costs=tuple(read_costs(folder / "cost.csv")),
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
