"""Score segmentations that were made elsewhere, so that any tool can be compared with a run."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray

from monai_tl.datasets.case_checks import case_problems
from monai_tl.datasets.datalist import Datalist
from monai_tl.datasets.patterns import Case, find_cases
from monai_tl.datasets.regions import Regions, foreground_of
from monai_tl.errors import ConfigError, DataError, did_you_mean, list_problems
from monai_tl.evaluation.score_files import scores_of
from monai_tl.evaluation.score_record import (
    ScoreRecord,
    datalist_record,
    mask_sha256,
    overlays_of,
    read_record,
    record_differences,
    refuse_lost_metrics,
)
from monai_tl.evaluation.score_table import score_lines, write_scores
from monai_tl.evaluation.scores import Score, Scoring
from monai_tl.imaging.label_encoding import IGNORED
from monai_tl.imaging.scan_files import open_scan, sha256_of_scan
from monai_tl.inference.overlays import write_overlay
from monai_tl.storage.progress import follow
from monai_tl.text import name_some
from monai_tl.transfer.weight_files import holds_weights

ENDINGS = ("_seg.nii.gz", "_seg.nii", ".nii.gz", ".nii", ".mha", ".nrrd")  # of ours first, then of nnU-Net and others


def score_segmentations(
    predictions: str,
    data: Datalist,
    output: Path,
    *,
    split: str = "test",
    regions: Sequence[str] = (),
    label_map: Mapping[int, int] | None = None,
    metrics: Sequence[str] = (),
    tolerance: float | Sequence[float] = 1.0,
) -> Path:
    """Score segmentations against a datalist's labels, as `monai_tl evaluate` scores a run's own.

    The scores are written to ``OUTPUT/scores_<split>.csv`` with their record, and a picture of each case to
    ``OUTPUT/overlays_<split>``. Every case of the split needs a segmentation on the grid of its label.

    Args:
        predictions: a folder with ``SUBJECT_seg.nii.gz`` or ``SUBJECT.nii.gz``, or a pattern with ``{subject}``.
        data: the datalist.
        output: folder of the scores; not that of a training.
        split: split to score.
        regions: names of the datalist's regions to score; empty: all.
        label_map: value in the segmentations -> value in the labels, where these differ.
        metrics: see `monai_tl.evaluation.metrics.METRICS`; empty: Dice and 95 % Hausdorff distance.
        tolerance: of the normalised surface Dice in mm, see `monai_tl.evaluation.scores.Scoring`.

    Returns:
        The path of the table.

    Raises:
        ConfigError: if a region or a metric is unknown, or the output holds a training or other scores.
        DataError: if a case has no segmentation or two, or one that is not on its label's grid or has unknown values.
    """
    chosen = _chosen(data.regions, regions)
    scoring = Scoring(tuple(chosen), metrics or Scoring.metrics, tolerance)
    cases = _with_predictions(data.split(split), predictions)
    path = scores_of(output, split)
    record = ScoreRecord(
        **datalist_record(data, split, data.modalities),
        own_data=True,
        weights="",
        weights_sha256="",
        window=[],
        overlap=0.0,
        precision="",
        settings={"label_map": {str(ours): theirs for ours, theirs in (label_map or {}).items()}},
        metrics=list(scoring.metrics),
        tolerance_mm=scoring.tolerance_mm,
        predictions={case["subject"]: sha256_of_scan(case["prediction"]) for case in cases},
    )
    _check_place(path, record)
    _check_files(cases, data, label_map or {})
    scores: list[Score] = []
    for case in follow(cases, "scoring", "case"):
        scores += _score(case, chosen, scoring, data.ignore, label_map or {}, record.references, Path(overlays_of(path)))
    for region in chosen:
        of = [score for score in scores if score.region == region]
        if any(score.reference_ml for score in of) and not any(score.prediction_ml for score in of):
            remedy = "if it has another value there, set --label_map THERE=HERE"
            print(f"monai_tl: warning: {region} is in no segmentation: {remedy}", file=sys.stderr)
    write_scores(path, scores, record)
    print(*score_lines(path, scores), sep="\n")
    return path


def _chosen(regions: Regions, names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the named regions, or all."""
    for name in names:
        if name not in regions:
            raise ConfigError(f"the datalist has no region '{name}': {did_you_mean(name, list(regions))}")
    return {name: tuple(regions[name]) for name in names or regions}


def _with_predictions(cases: Sequence[Case], predictions: str) -> list[Case]:
    """Return cases with the path of each one's segmentation under ``prediction``."""
    folder = Path(predictions).absolute()
    if "{subject}" in predictions:
        files = {case["subject"]: [case["prediction"]] for case in find_cases({"prediction": predictions})}
    elif folder.is_dir():
        named = {case["subject"]: [folder / f"{case['subject']}{ending}" for ending in ENDINGS] for case in cases}
        files = {subject: [str(path) for path in paths if path.is_file()] for subject, paths in named.items()}
    else:
        problem = "is no folder" if folder.exists() else "does not exist"
        raise ConfigError(
            f"'{predictions}' {problem}: predictions takes a folder, or a path with {{subject}} in place of the id"
        )
    missing = [case["subject"] for case in cases if not files.get(case["subject"])]
    if missing:
        looked = f" ({missing[0]}{' or '.join((ENDINGS[0], ENDINGS[2]))})" if folder.is_dir() else ""
        raise DataError(
            f"{len(missing)} of {len(cases)} cases have no segmentation in '{predictions}'{looked}: {name_some(missing)}; "
            "every case of the split is scored. For other file names, set --predictions 'DIR/{subject}….nii.gz'"
        )
    twice = {subject: paths for subject, paths in files.items() if len(paths) > 1}
    if twice:
        subject, paths = next(iter(twice.items()))
        raise DataError(
            f"{subject} has two segmentations ({', '.join(Path(path).name for path in paths)}): name one by "
            f"--predictions '{predictions}/{{subject}}{Path(paths[0]).name.removeprefix(subject)}'"
        )
    return [{**case, "prediction": files[case["subject"]][0]} for case in cases]


def _check_files(cases: Sequence[Case], data: Datalist, label_map: Mapping[int, int]) -> None:
    """Refuse segmentations that are not on the grid of the label, or that have values that no label can have."""
    foreground = foreground_of(data.regions)
    lines, seen = [], {0, *foreground, *(data.labels or ()), *data.ignore}
    for case in cases:  # the prediction is checked as an image, the label as a label
        found = case_problems(case, ["prediction"], foreground, known_labels=data.labels, seen=seen)
        lines += [f"{case['subject']}: {problem}" for problem in found.problems]
    for case in cases if not lines else ():
        values = np.unique(_voxels(case["prediction"]))
        unknown = [value for value in values.tolist() if label_map.get(value, value) not in seen]
        if unknown:
            lines.append(f"{case['subject']}: prediction has the value {_join(unknown)}; labels have {_join(sorted(seen))}")
    if lines:
        raise DataError(list_problems("these segmentations cannot be scored (values differ? --label_map THERE=HERE):", lines))


def _score(
    case: Case,
    regions: Regions,
    scoring: Scoring,
    ignore: Sequence[int],
    label_map: Mapping[int, int],
    references: dict[str, str],
    overlays: Path,
) -> list[Score]:
    """Return the scores of a case, one per region; its reference's hash is added to ``references``."""
    label, affine = _voxels(case["label"]), np.asarray(open_scan(case["label"]).affine)
    given = _voxels(case["prediction"])
    prediction = np.copy(given)
    for there, here in label_map.items():
        prediction[given == there] = here
    true, predicted = (np.stack([np.isin(volume, of) for of in regions.values()]) for volume in (label, prediction))
    ignored = np.isin(label, ignore)
    encoded = np.where(ignored, IGNORED, true.astype(np.int8))
    references[case["subject"]] = mask_sha256(torch.from_numpy(encoded), affine)
    true, predicted = true & ~ignored, predicted & ~ignored
    image = next(path for role, path in case.items() if role != "subject")
    write_overlay(overlays / f"{case['subject']}.png", image, predicted, true, list(regions))
    spacing = nib.affines.voxel_sizes(affine).tolist()
    return [
        scoring.score(case["subject"], mask, reference, spacing, math.nan, region)
        for region, mask, reference in zip(regions, predicted, true, strict=True)
    ]


def _voxels(path: str) -> NDArray[np.int32]:
    """Read a label's or a segmentation's values, (i, j, k)."""
    values = np.asarray(open_scan(path).dataobj)
    whole = np.rint(values)
    if not np.array_equal(values, whole):
        raise DataError(f"{path} has values that are not whole numbers: needed is a segmentation, not probabilities")
    return whole.astype(np.int32)


def _check_place(path: Path, record: ScoreRecord) -> None:
    """Refuse to write among a training's files or over other scores."""
    if holds_weights(path.parent):
        raise ConfigError(f"'{path.parent}' holds a trained network: name another folder by --output")
    known = read_record(path)
    if path.is_file() and known is None:
        raise ConfigError(f"'{path}' exists without a record: remove it, or name another folder by --output")
    if known is None:
        return
    changes = record_differences(known[0], record)
    if changes:
        raise ConfigError(f"'{path}' holds other scores ({'; '.join(changes[:3])}): name another folder by --output")
    refuse_lost_metrics(path, known[0], record, "another folder by --output")
    if known[0].predictions != record.predictions:
        raise ConfigError(
            f"'{path}' holds the scores of other segmentations: name another folder by --output, or remove it first"
        )


def _join(values: Iterable[object]) -> str:
    return name_some([str(value) for value in values], 12)
