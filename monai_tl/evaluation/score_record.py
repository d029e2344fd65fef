"""The record of a score table, a JSON file next to it: the data, weights and settings that the scores belong to."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

import monai_tl
from monai_tl.datasets.datalist import Datalist, read_datalist
from monai_tl.errors import ConfigError
from monai_tl.evaluation.scores import Scoring
from monai_tl.identity.fingerprints import fingerprint_cases
from monai_tl.settings.table import SPLITS
from monai_tl.storage.files import read_json, sha256_of, write_json
from monai_tl.training.run_files import trained_on
from monai_tl.transfer.source import find_weights
from monai_tl.transfer.tensors import name_first
from monai_tl.workflow.config_check import running_parser
from monai_tl.workflow.merged_config import read_run_config
from monai_tl.workflow.overrides import ids_read

logger = logging.getLogger(__name__)

FORMAT = 2
ROOTS = ("network_def", "validate::inferer", "validate::preprocessing", "validate::postprocessing")
NO_SETTING = ("imports", "bundle_root", "dataset_dir", "datalist", "data", "device", "run_dir", "precision")


@dataclass(frozen=True)
class ScoreRecord:
    """The data, weights and settings of scores.

    Attributes:
        split: scored split of the datalist.
        datalist: path of the datalist.
        datalist_sha256: SHA-256 of its content, see `Datalist.sha256`.
        own_data: whether the run was trained with this datalist.
        cases: subject -> role -> hash of the scan's voxels and grid.
        weights: path of the weights file.
        weights_sha256: SHA-256 of the weights file.
        window: largest sliding window (i, j, k) in voxels.
        overlap: overlap of neighbouring windows.
        precision: ``float32`` or ``bfloat16``, as used for the prediction.
        settings: every config id that affects the prediction, with its value in the config.
        monai_tl: version of this package.
        seen: accepted overlap with cases used before, see `monai_tl.training.run_cases.seen_before`; None without one.
        references: subject -> SHA-256 of its reference's voxels and grid.
        metrics: names of the metrics.
        tolerance_mm: region -> tolerance of the normalised surface Dice.
        predictions: subject -> SHA-256 of its segmentation file, if these were scored instead of a network's output.
    """

    split: str
    datalist: str
    datalist_sha256: str
    own_data: bool
    cases: dict[str, dict[str, str]]
    weights: str
    weights_sha256: str
    window: list[int]
    overlap: float
    precision: str
    settings: dict[str, Any]
    monai_tl: str = monai_tl.__version__
    seen: dict[str, Any] | None = None
    references: dict[str, str] = field(default_factory=dict)
    metrics: list[str] = field(default_factory=list)
    tolerance_mm: dict[str, float] = field(default_factory=dict)
    predictions: dict[str, str] = field(default_factory=dict)


def record_of(
    data: Datalist,
    split: str,
    weights: str | Path,
    inferer: Any,
    scoring: Scoring,
    seen: Mapping[str, Any] | None = None,
) -> ScoreRecord:
    """Return the record of the scores that the running config will write; called in ``evaluate.yaml``.

    Args:
        data: datalist.
        split: scored split.
        weights: weights file of the network.
        scoring: how the cases are scored.
        inferer: the inferer; its ``precision`` is the one used if the setting is ``auto``.
        seen: see `ScoreRecord`.
    """
    parser = running_parser()
    weights = find_weights(weights)
    ids = [key for key in ids_read(parser.get(), ROOTS) if key.split("::")[0] not in NO_SETTING]
    settings = {key.replace("::", "#"): parser[key] for key in ids}
    modalities = parser.get_parsed_content("modalities")
    of = datalist_record(data, split, modalities)
    return ScoreRecord(
        **of,
        own_data=_is_own(Path(parser.get_parsed_content("run_dir")), data, of["cases"], split, modalities),
        weights=str(weights.absolute()),
        weights_sha256=sha256_of(weights),
        window=[int(edge) for edge in parser.get_parsed_content("inference_window")],
        overlap=float(parser.get_parsed_content("inference_overlap")),
        precision=getattr(inferer, "precision", "float32"),
        settings=json.loads(json.dumps(settings)),
        seen=None if seen is None else dict(seen),
        metrics=list(scoring.metrics),
        tolerance_mm=scoring.tolerance_mm,
    )


def datalist_record(data: Datalist, split: str, modalities: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a record that say which cases were scored."""
    return {
        "split": split,
        "datalist": str(Path(data.path or "").absolute()),
        "datalist_sha256": data.sha256(),
        "cases": _hashed(data, split, modalities),
    }


def _hashed(data: Datalist, split: str, modalities: Sequence[str]) -> dict[str, dict[str, str]]:
    prints = fingerprint_cases(data.split(split, modalities), (*modalities, "label"))
    return {subject: {role: of.voxels + of.grid for role, of in roles.items()} for subject, roles in prints.of.items()}


def _is_own(run: Path, data: Datalist, cases: Mapping[str, Any], split: str, modalities: Sequence[str]) -> bool:
    """Return whether a run was trained with these data, possibly at another path.

    Datalists of one layout can be equal although their scans differ, so the scans are compared if both datalists can be read.
    If the run's datalist no longer exists, it is assumed to have been moved.
    """
    if data.sha256() != (trained_on(run) or data.sha256()):
        return False
    own = Path(read_run_config(run)["datalist"]) if (run / "config.yaml").is_file() else None
    if own is None or not own.is_file() or own.absolute() == Path(data.path or "").absolute():
        return True
    other = read_datalist(own)
    return (
        other.sha256() != data.sha256() or _hashed(other, split, modalities) == cases
    )  # if it was rewritten since, the run's own was moved


def seen_in_short(record: ScoreRecord | None) -> str:
    """Return a note on scored cases that the weights had used before; empty if there are none or it is unknown."""
    count = int((record.seen or {}).get("shared", 0)) if record else 0
    were = "was" if count == 1 else "were"
    note = f"{count} of the cases {were} used for training or validation before (accepted), so these scores are too high"
    return note if count else ""


def mask_sha256(mask: Tensor, affine: Any) -> str:
    """Return the SHA-256 of a reference (region, i, j, k) and its affine (to RAS in mm), by which references are compared."""
    values = np.asarray(mask)
    voxels = values[0] > 0 if len(values) == 1 else values > 0
    ignored = np.packbits(values < 0).tobytes() if (values < 0).any() else b""
    where = np.round(np.asarray(affine, dtype=float), 3) + 0.0  # turns −0 into 0
    return hashlib.sha256(np.packbits(voxels).tobytes() + repr((voxels.shape, where.tolist())).encode() + ignored).hexdigest()


def record_path(scores: Path | str) -> Path:
    """Return the path of a table's record: ``scores_test.json`` next to ``scores_test.csv``."""
    return Path(scores).with_suffix(".json")


def overlays_of(scores: Path | str) -> str:
    """Return the folder for overlays of the scored cases: ``overlays_test`` next to ``scores_test.csv``."""
    path = Path(scores)
    return str(path.with_name(f"overlays_{path.stem.removeprefix('scores_')}"))


def write_record(scores: Path | str, record: ScoreRecord, table: str) -> None:
    """Write the record of a table with this text, atomically; the table itself is written afterwards."""
    content = {"format": FORMAT, **asdict(record), "scores_sha256": hashlib.sha256(table.encode()).hexdigest()}
    write_json(record_path(scores), content)


def read_record(scores: Path | str) -> tuple[ScoreRecord, bool] | None:
    """Return a table's record, and whether the table is unchanged since the record was written; None without a record.

    Raises:
        DataError: if the record is damaged, or of an unknown format.
    """
    path = record_path(scores)
    if not path.is_file():
        return None
    remedy = "restore it, or remove it and its scores and evaluate again"
    names = [column.name for column in fields(ScoreRecord)]
    content = read_json(path, required=["format", *names, "scores_sha256"], remedy=remedy, of_format=FORMAT)
    whole = Path(scores).is_file() and sha256_of(scores) == content["scores_sha256"]
    return ScoreRecord(**{name: content[name] for name in names}), whole


def check_scores(scores: str, overlays: str, record: ScoreRecord, run_dir: str) -> None:
    """Refuse to overwrite other scores or overlays; called in ``initialize`` of ``evaluate.yaml``.

    ``RUN/scores_<split>.csv`` may hold only scores of the run's own datalist and weights. Scores of weights that have been
    replaced since are overwritten, which is logged.

    Args:
        scores: table to write.
        overlays: folder for the overlays.
        record: record of the new scores.
        run_dir: the run's folder.

    Raises:
        ConfigError: with the differences, and the flag that names another file.
    """
    path, run = Path(scores), Path(run_dir)
    if path.suffix == ".json":
        raise ConfigError(
            f"scores are written as .csv and their record as .json, not both as '{path}': name a .csv file with --scores FILE"
        )
    _refuse_foreign_overlays(path, Path(overlays))
    in_run = path.absolute().parent == run.absolute()
    name = path.stem.removeprefix("scores_")
    if in_run and path.stem.startswith("scores_") and name in SPLITS:
        _refuse_foreign_scores(path, name, record, run)
    if not path.is_file():
        if record_path(path).is_file() and read_record(path) is None:
            raise ConfigError(f"'{record_path(path)}' exists and would be overwritten; name another file with --scores FILE")
        return
    known = read_record(path)
    if known is None:
        raise ConfigError(
            f"'{path}' exists without a record of its data and weights (there is no {record_path(path).name}): remove it, or "
            "name another file with --scores FILE"
        )
    before = known[0]
    changes = record_differences(before, record)
    if changes:
        raise ConfigError(f"'{path}' holds other scores ({'; '.join(changes[:3])}): name another file with --scores FILE")
    refuse_lost_metrics(path, before, record, "another file with --scores FILE")
    if before.weights_sha256 != record.weights_sha256:
        if not in_run and before.weights != record.weights:
            raise ConfigError(
                f"'{path}' holds the scores of other weights ({before.weights}): name another file with --scores FILE"
            )
        logger.info(
            "%s holds scores of earlier weights (sha256 %s…, now %s…), which are overwritten",
            path, before.weights_sha256[:12], record.weights_sha256[:12],
        )  # fmt: skip


def refuse_lost_metrics(path: Path, before: ScoreRecord, record: ScoreRecord, other: str) -> None:
    """Refuse to overwrite a table with one that lacks some of its metrics.

    Raises:
        ConfigError: with all metrics as a flag, and ``other``: what to name instead.
    """
    lost = [name for name in before.metrics if name not in record.metrics]
    if lost:
        every = ",".join(dict.fromkeys([*before.metrics, *record.metrics]))
        raise ConfigError(
            f"'{path}' also holds {', '.join(lost)}, which would be lost: add them (--metrics {every}), or name {other}"
        )


def record_differences(before: ScoreRecord, record: ScoreRecord) -> list[str]:
    """Return the differences between two records, except in weights."""
    changes = []
    if before.split != record.split:
        changes.append(f"of the {before.split} split, not {record.split}")
    if before.cases != record.cases:
        subjects = {**before.cases, **record.cases}
        other = [subject for subject in subjects if before.cases.get(subject) != record.cases.get(subject)]
        changes.append(f"of other data, {before.datalist}: {name_first(other)}")
    if before.precision != record.precision:
        changes.append(f"precision was {before.precision}, is {record.precision}")
    if (before.window, before.overlap) != (record.window, record.overlap):
        changes.append(f"windows were {windows_of(before)}, are {windows_of(record)}")
    if before.tolerance_mm.keys() != record.tolerance_mm.keys():
        changes.append(f"regions were {', '.join(before.tolerance_mm)}, are {', '.join(record.tolerance_mm)}")
    elif before.tolerance_mm != record.tolerance_mm and {"nsd"} & {*before.metrics} & {*record.metrics}:
        changes.append(f"tolerance was {_listed_mm(before)}, is {_listed_mm(record)}")
    keys = [key for key in {**before.settings, **record.settings} if before.settings.get(key) != record.settings.get(key)]
    known = ("window", "inference_window", "inference_overlap")
    return changes + [f"{key} was {_brief(before, key)}, is {_brief(record, key)}" for key in keys if key not in known]


def windows_of(record: ScoreRecord) -> str:
    """Return the sliding windows of a prediction: ``"16×16×16 voxels, overlap 0.25"``."""
    if record.predictions:
        return "unknown (segmentations made elsewhere)"
    return f"{'×'.join(map(str, record.window))} voxels, overlap {record.overlap:g}"


def _listed_mm(record: ScoreRecord) -> str:
    return ", ".join(f"{mm:g} mm" for mm in dict.fromkeys(record.tolerance_mm.values()))


def _brief(record: ScoreRecord, key: str) -> str:
    text = json.dumps(record.settings.get(key))
    return text if len(text) <= 40 else "another"


def _refuse_foreign_scores(path: Path, name: str, record: ScoreRecord, run: Path) -> None:
    """Refuse to write other scores to a run's own table."""
    problem = None
    if name != record.split:
        problem = f"is for the {name} split, but these scores are of the {record.split} split"
    elif not record.own_data:
        problem = f"is for the datalist that '{run}' was trained with, but {record.datalist} is another"
    elif record.weights_sha256 != sha256_of(find_weights(run)):
        problem = f"is for the weights of '{run}', but {record.weights} holds others"
    if problem:
        raise ConfigError(f"'{path}' {problem}: name another file with --scores FILE")


def _refuse_foreign_overlays(scores: Path, overlays: Path) -> None:
    name = overlays.name.removeprefix("overlays_")
    owners = [overlays.with_name(f"{stem}.csv") for stem in (f"scores_{name}", name)]
    others = [owner for owner in owners if owner.is_file() and owner.absolute() != scores.absolute()]
    if overlays.name.startswith("overlays_") and others:
        raise ConfigError(f"'{overlays}' holds the overlays of {others[0]}: name another folder with --overlays DIR")


def other_images(one: ScoreRecord, other: ScoreRecord) -> list[str]:
    """Return the images that differ between two records of the same subjects: ``"T1 of s4"``."""
    return [
        f"{role} of {subject}"
        for subject, files in one.cases.items()
        for role, sha256 in files.items()
        if role != "label" and other.cases.get(subject, {}).get(role, sha256) != sha256
    ]


def other_references(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return the subjects whose references differ in voxels or grid."""
    return sorted(subject for subject in one.keys() & other.keys() if one[subject] != other[subject])
