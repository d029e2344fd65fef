"""What a table of scores is of, in a JSON file beside it: it is neither taken for nor replaced by scores of something else."""

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

FORMAT = 1
ROOTS = ("network_def", "validate::inferer", "validate::preprocessing", "validate::postprocessing")
NO_SETTING = ("imports", "bundle_root", "dataset_dir", "datalist", "data", "device", "run_dir", "precision")


@dataclass(frozen=True)
class ScoreRecord:
    """What scores are of.

    Attributes:
        split: of the datalist.
        datalist: path.
        datalist_sha256: of its content, as `Datalist.sha256` gives it.
        own_data: whether it is the datalist that the run was trained with.
        cases: subject -> role -> hash of the scan's voxels and grid.
        weights: path.
        weights_sha256: of the file.
        window: voxels at most, of the windows that predicted.
        overlap: of neighbouring windows.
        precision: ``float32`` or ``bfloat16``, as it was computed.
        settings: each config id that decides about the voxels, as it stands in the config.
        monai_tl: version that scored.
        seen: what was accepted of cases that were trained on or chosen by before, of `monai_tl.training.run_cases.seen_before`;
            None where none was.
        references: subject -> sha256 of its reference's voxels and grid.
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


def record_of(
    data: Datalist, split: str, weights: str | Path, inferer: Any, seen: Mapping[str, Any] | None = None
) -> ScoreRecord:
    """Describe the scores that a running config is about to make; named in ``evaluate.yaml``.

    Args:
        data: whose split is scored.
        split: its name.
        weights: file that the network is loaded from.
        inferer: that predicts; its ``precision`` is what ``auto`` came to.
        seen: as in `ScoreRecord`.
    """
    parser = running_parser()
    weights = find_weights(weights)
    read = [one for one in ids_read(parser.get(), ROOTS) if one.split("::")[0] not in NO_SETTING]
    settings = {one.replace("::", "#"): parser[one] for one in read}
    modalities = parser.get_parsed_content("modalities")
    cases = _hashed(data, split, modalities)
    return ScoreRecord(
        split=split,
        datalist=str(Path(data.path or "").absolute()),
        datalist_sha256=data.sha256(),
        own_data=_is_own(Path(parser.get_parsed_content("run_dir")), data, cases, split, modalities),
        cases=cases,
        weights=str(weights.absolute()),
        weights_sha256=sha256_of(weights),
        window=[int(edge) for edge in parser.get_parsed_content("inference_window")],
        overlap=float(parser.get_parsed_content("inference_overlap")),
        precision=getattr(inferer, "precision", "float32"),
        settings=json.loads(json.dumps(settings)),
        seen=None if seen is None else dict(seen),
    )


def _hashed(data: Datalist, split: str, modalities: Sequence[str]) -> dict[str, dict[str, str]]:
    found = fingerprint_cases(data.split(split, modalities), (*modalities, "label"))
    return {subject: {role: of.voxels + of.grid for role, of in roles.items()} for subject, roles in found.of.items()}


def _is_own(run: Path, data: Datalist, cases: Mapping[str, Any], split: str, modalities: Sequence[str]) -> bool:
    """Say if data are those that a run was trained with, or the same files elsewhere.

    Datalists of one layout look alike wherever they lie: where both can be read, the scans decide. Where the run's own is
    gone, it was moved.
    """
    if data.sha256() != (trained_on(run) or data.sha256()):
        return False
    own = Path(read_run_config(run)["datalist"]) if (run / "config.yaml").is_file() else None
    if own is None or not own.is_file() or own.absolute() == Path(data.path or "").absolute():
        return True
    other = read_datalist(own)
    return other.sha256() != data.sha256() or _hashed(other, split, modalities) == cases  # made anew since: the run's was moved


def seen_in_short(record: ScoreRecord | None) -> str:
    """Say in a few words that weights had seen scored cases before; empty where they had not, or nothing is known."""
    count = int((record.seen or {}).get("shared", 0)) if record else 0
    were = "was" if count == 1 else "were"
    return (
        f"{count} of the cases {were} trained on or chosen by before (accepted), so these scores are too good" if count else ""
    )


def mask_sha256(mask: Tensor, affine: Any) -> str:
    """Hash a mask (i, j, k) and where it lies (affine to RAS in mm): equal hashes, equal references."""
    voxels = np.asarray(mask) > 0
    where = np.round(np.asarray(affine, dtype=float), 3) + 0.0  # no −0
    return hashlib.sha256(np.packbits(voxels).tobytes() + repr((voxels.shape, where.tolist())).encode()).hexdigest()


def record_path(scores: Path | str) -> Path:
    """Name the record of a table: ``scores_test.json`` beside ``scores_test.csv``."""
    return Path(scores).with_suffix(".json")


def overlays_of(scores: Path | str) -> str:
    """Name the folder for the pictures of scored cases: ``overlays_test`` beside ``scores_test.csv``."""
    path = Path(scores)
    return str(path.with_name(f"overlays_{path.stem.removeprefix('scores_')}"))


def write_record(scores: Path | str, record: ScoreRecord, table: str) -> None:
    """Write the record of a table of this text, atomically, before the table itself."""
    content = {"format": FORMAT, **asdict(record), "scores_sha256": hashlib.sha256(table.encode()).hexdigest()}
    write_json(record_path(scores), content)


def read_record(scores: Path | str) -> tuple[ScoreRecord, bool] | None:
    """Read what a table is of, and whether the table is still the one that the record was written for; None without a record.

    Raises:
        DataError: if the record is damaged, or of a format that this version does not know.
    """
    path = record_path(scores)
    if not path.is_file():
        return None
    remedy = "restore it, or remove it and the scores beside it and evaluate again"
    names = [one.name for one in fields(ScoreRecord)]
    content = read_json(path, required=["format", *names, "scores_sha256"], remedy=remedy, of_format=FORMAT)
    whole = Path(scores).is_file() and sha256_of(scores) == content["scores_sha256"]
    return ScoreRecord(**{name: content[name] for name in names}), whole


def check_scores(scores: str, overlays: str, record: ScoreRecord, run_dir: str) -> None:
    """Refuse to write scores or pictures over those of something else; named in ``initialize`` of evaluation.

    ``RUN/scores_<split>.csv`` holds the scores of the run's own datalist and weights and nothing else. Scores of weights that
    the file they came from no longer holds are replaced, and said to be.

    Args:
        scores: table that is to be written.
        overlays: folder for the pictures.
        record: what the scores are to be of.
        run_dir: the run's folder.

    Raises:
        ConfigError: with what differs, and how to name another file.
    """
    path, run = Path(scores), Path(run_dir)
    if path.suffix == ".json":
        raise ConfigError(f"'{path}' is where it would stand what the scores are of: name a .csv file by --scores FILE")
    _refuse_overlays_of_others(path, Path(overlays))
    in_run = path.absolute().parent == run.absolute()
    name = path.stem.removeprefix("scores_")
    if in_run and path.stem.startswith("scores_") and name in SPLITS:
        _refuse_strangers(path, name, record, run)
    if not path.is_file():
        if record_path(path).is_file() and read_record(path) is None:
            raise ConfigError(f"'{record_path(path)}' exists and would be overwritten; name another file by --scores FILE")
        return
    found = read_record(path)
    if found is None:
        raise ConfigError(
            f"'{path}' exists and nothing beside it says what it is of (there is no {record_path(path).name}): "
            "remove it, or name another file by --scores FILE"
        )
    before = found[0]
    told = other_than(before, record)
    if told:
        raise ConfigError(f"'{path}' holds other scores ({'; '.join(told[:3])}): name another file by --scores FILE")
    if before.weights_sha256 != record.weights_sha256:
        if not in_run and before.weights != record.weights:
            raise ConfigError(
                f"'{path}' holds the scores of other weights ({before.weights}): name another file by --scores FILE"
            )
        logger.info(
            "%s held scores of weights that are no more (sha256 %s…, now %s…): they are replaced",
            path, before.weights_sha256[:12], record.weights_sha256[:12],
        )  # fmt: skip


def other_than(before: ScoreRecord, record: ScoreRecord) -> list[str]:
    """Say in what two records differ, weights apart."""
    told = []
    if before.split != record.split:
        told.append(f"of the {before.split} split, not {record.split}")
    if before.cases != record.cases:
        subjects = {**before.cases, **record.cases}
        other = [subject for subject in subjects if before.cases.get(subject) != record.cases.get(subject)]
        told.append(f"of other data, {before.datalist}: {name_first(other)}")
    if before.precision != record.precision:
        told.append(f"precision was {before.precision}, is {record.precision}")
    if (before.window, before.overlap) != (record.window, record.overlap):
        told.append(f"windows were {windows_of(before)}, are {windows_of(record)}")
    keys = [key for key in {**before.settings, **record.settings} if before.settings.get(key) != record.settings.get(key)]
    known = ("window", "inference_window", "inference_overlap")
    return told + [f"{key} was {_brief(before, key)}, is {_brief(record, key)}" for key in keys if key not in known]


def windows_of(record: ScoreRecord) -> str:
    """Say by which windows was predicted: ``"16×16×16 voxels, overlap 0.25"``."""
    return f"{'×'.join(map(str, record.window))} voxels, overlap {record.overlap:g}"


def _brief(record: ScoreRecord, key: str) -> str:
    text = json.dumps(record.settings.get(key))
    return text if len(text) <= 40 else "another"


def _refuse_strangers(path: Path, name: str, record: ScoreRecord, run: Path) -> None:
    """Refuse scores under a run's own name that are not of the run."""
    told = None
    if name != record.split:
        told = f"is for the {name} split, and these are scores of {record.split}"
    elif not record.own_data:
        told = f"is for the datalist that '{run}' was trained with, and {record.datalist} is another"
    elif record.weights_sha256 != sha256_of(find_weights(run)):
        told = f"is for the weights of '{run}', and {record.weights} holds others"
    if told:
        raise ConfigError(f"'{path}' {told}: name a file for these scores by --scores FILE")


def _refuse_overlays_of_others(scores: Path, overlays: Path) -> None:
    name = overlays.name.removeprefix("overlays_")
    owners = [overlays.with_name(f"{stem}.csv") for stem in (f"scores_{name}", name)]
    strangers = [owner for owner in owners if owner.is_file() and owner.absolute() != scores.absolute()]
    if overlays.name.startswith("overlays_") and strangers:
        raise ConfigError(f"'{overlays}' holds the pictures of {strangers[0]}: name another folder by --overlays DIR")


def other_images(one: ScoreRecord, other: ScoreRecord) -> list[str]:
    """Name the scans of one modality of one subject that are other files: ``"T1 of s4"``."""
    return [
        f"{role} of {subject}"
        for subject, files in one.cases.items()
        for role, sha256 in files.items()
        if role != "label" and other.cases.get(subject, {}).get(role, sha256) != sha256
    ]


def other_references(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Name the subjects whose references differ in a voxel or in where they lie."""
    return sorted(subject for subject in one.keys() & other.keys() if one[subject] != other[subject])
