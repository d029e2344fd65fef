"""Predict scans with a trained network: a segmentation on each scan's own grid, an overlay and the volume."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import nibabel as nib
import torch

from monai_tl.datasets.case_checks import case_problems, gather_notes
from monai_tl.datasets.own_outputs import TABLE
from monai_tl.datasets.patterns import Case
from monai_tl.datasets.scans_to_predict import find_scans
from monai_tl.errors import DataError, PartlyDoneError, in_words, is_full_disk, list_problems
from monai_tl.identity.run_data import read_run_data
from monai_tl.imaging.geometry import Note
from monai_tl.imaging.scan_files import open_scan
from monai_tl.inference.dicom_seg import Origin, check_dicom_seg, codes_of, write_dicom_seg
from monai_tl.inference.model import Model
from monai_tl.inference.overlays import write_overlay
from monai_tl.inference.predictions import Claimed, Predictions
from monai_tl.storage.progress import progress_bar
from monai_tl.text import name_some
from monai_tl.transfer.trained_weights import check_weights

logger = logging.getLogger(__name__)

BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} cases{postfix} [{elapsed} elapsed, {remaining} left]"
Ready = Future[tuple[dict[str, Any], float]]


def predict_cases(
    model: Model,
    location: str | None,
    output: str | Path,
    *,
    patterns: Mapping[str, str] | None = None,
    split: str | None = None,
    subjects: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    probabilities: bool = False,
    dicom_seg: bool = False,
) -> Predictions:
    """Predict every unfinished case; a case that fails does not stop the others.

    Args:
        model: the result of `monai_tl.inference.model.find_model`.
        location, patterns, split, subjects, rename: passed to `monai_tl.datasets.scans_to_predict.find_scans`.
        output: folder for ``SUBJECT_seg.nii.gz``, ``SUBJECT.png``, ``predictions.csv`` (volume in ml, seconds from reading
            to writing) and ``predictions.json`` (weights, settings, version, command).
        probabilities: also write ``SUBJECT_probability.nii.gz``.
        dicom_seg: also write ``SUBJECT_seg.dcm``, a DICOM Segmentation of the first modality's series.

    Raises:
        DataError: if there is no case, if no case could be predicted, or if a case is not a DICOM series with ``dicom_seg``.
        ConfigError: if the output folder holds predictions made with other settings or a file that would be overwritten; with
            ``dicom_seg``, also if highdicom is missing or a class has no DICOM code.
        PartlyDoneError: if some cases failed; the others are finished.

    Example:
        >>> from pathlib import Path
        >>> from monai_tl import find_model, predict_cases
        >>> model = find_model("runs/hippocampus")
        >>> predictions = predict_cases(model, "data/ixi/datalist.json", "predictions", split="test")
        2 of 2 cases are in predictions, their volumes in predictions/predictions.csv...
        >>> len(list(Path("predictions").glob("*_seg.nii.gz")))
        2
    """
    modalities = tuple(model.part("modalities"))
    cases = find_scans(location, modalities, patterns, split, subjects, rename)
    if cases.passed_over:
        print(f"skipped, since predict wrote them: {name_some(cases.passed_over)}")
    if dicom_seg:
        check_dicom_seg(cases, modalities[0])
        codes_of(list(model.part("regions")), model.task)
    predictions = Predictions(Path(output), model.settings(), cases, probabilities, dicom_seg)
    waiting = [case for case in cases if not predictions.finished(case)]
    if len(waiting) < len(cases):
        print(f"{len(cases) - len(waiting)} of {len(cases)} cases are already finished")
    failures = cases.left_out | (_predict_all(model, waiting, modalities, predictions) if waiting else {})
    lines = [f"{subject}: {reason}" for subject, reason in failures.items()]
    total = len(cases) + len(cases.left_out)
    if len(failures) == total:
        predictions.forget()
        raise DataError(list_problems(f"none of {total} cases could be predicted:", lines, shown=20))
    print(f"{total - len(failures)} of {total} cases are in {output}, their volumes in {predictions.folder / TABLE}")
    empty = [case["subject"] for case in cases if predictions.is_empty(case)]
    if empty:
        frames = "; their DICOM segmentations hold all frames, all empty" if dicom_seg else ""
        print(f"nothing was found in {len(empty)} of them: {name_some(empty)}{frames}")
    for remark in predictions.remarks(cases):
        print(remark)
    if failures:
        raise PartlyDoneError(list_problems(f"{len(failures)} of {total} cases could not be predicted:", lines, shown=20))
    return predictions


def _predict_all(model: Model, cases: Sequence[Case], modalities: Sequence[str], predictions: Predictions) -> dict[str, str]:
    """Predict cases; return the reason for each case that failed."""
    model.parser.update({"output_dir": str(predictions.folder), "probabilities": predictions.probabilities})
    check_weights(str(model.weights), model.part("contract"))
    model.part("network").eval()
    predictions.begin(_training_range(model.weights))
    failures: dict[str, str] = {}
    notes: dict[str, dict[str, tuple[Note, ...]]] = {}
    began = time.perf_counter()
    bar = progress_bar(len(cases), "predicting", "case", bar_format=BAR, postfix="…")
    with bar, closing(_one_ahead(model, predictions.claimed(cases), modalities, notes)) as prepared:
        for case, ready in prepared:
            try:
                _predict_one(model, case, ready, modalities[0], predictions)
            except Exception as error:  # a transform may raise any error for a damaged scan
                if is_full_disk(error):
                    raise  # the next case would fail in the same way
                failures[case["subject"]] = in_words(error)
                logger.debug("%s failed", case["subject"], exc_info=True)
            bar.set_postfix_str(f"{60 * (bar.n + 1) / (time.perf_counter() - began):.1f} a minute", refresh=False)
            bar.update()
    for line in gather_notes(notes):
        print(line)
    return failures


def _predict_one(model: Model, case: Case, ready: Ready, first: str, predictions: Predictions) -> None:
    """Predict a preprocessed case and write its files."""
    inputs, seconds = ready.result()
    began = time.perf_counter()
    with torch.inference_mode():
        image = inputs["image"][None].to(torch.device(model.part("device")))
        logits = model.part("inferer")(image, model.part("network"))
        mask = model.part("postprocessing")({**inputs, "pred": logits[0].cpu()})["pred"]
    seconds += time.perf_counter() - began
    regions: Sequence[str] = list(model.part("regions"))
    write_overlay(predictions.overlay(case["subject"]), case[first], mask, regions=regions)
    if predictions.dicom_seg:
        origin = Origin(codes_of(regions, model.task), model.weights, predictions.settings["weights_sha256"])
        write_dicom_seg(predictions.segmentation(case["subject"]), case[first], mask, origin)
    scan: Any = open_scan(case[first])
    voxel_ml = float(nib.affines.voxel_sizes(scan.affine).prod()) / 1000
    by_region = {name: float(of.sum()) * voxel_ml for name, of in zip(regions, mask, strict=True)}
    predictions.add(case, float((mask > 0).any(dim=0).sum()) * voxel_ml, seconds, by_region)


def _training_range(weights: Path) -> Mapping[str, float]:
    """Return the range of the training cases' foreground volumes, in ml, stored with the weights; print if there is none."""
    data = read_run_data(weights.parent)
    if data is None or not data.training_ml:
        print(f"'{weights.parent}' has no volumes of its training cases (data.json): predicted volumes cannot be checked")
        return {}
    return data.training_ml


def _one_ahead(
    model: Model,
    cases: Iterator[Claimed | None],
    modalities: Sequence[str],
    notes: dict[str, dict[str, tuple[Note, ...]]],
) -> Generator[tuple[Case, Ready], None, None]:
    """Yield each case, read and preprocessed; on a GPU the next case is read ahead, on a CPU that would only compete.

    Notes on irregular headers are added to ``notes``.
    """
    preprocessing, read_ahead = model.part("preprocessing"), torch.device(model.part("device")).type != "cpu"

    def prepare(case: Case) -> tuple[dict[str, Any], float]:
        began = time.perf_counter()
        checked = case_problems(case, modalities, ())
        if checked.problems:
            raise DataError("; ".join(checked.problems))
        notes[case["subject"]] = checked.notes
        return preprocessing(dict(case)), time.perf_counter() - began

    ahead: list[tuple[Case, Callable[[], None], Ready]] = []
    with ThreadPoolExecutor(1) as pool:
        try:
            while True:
                for claim in islice(cases, 1 + read_ahead - len(ahead)):
                    ahead += [(*claim, pool.submit(prepare, claim[0]))] if claim else []
                if not ahead:
                    return
                case, release, ready = ahead[0]
                ready.exception()  # waits until it is read
                yield case, ready
                ahead.pop(0)
                release()
        finally:
            for _, release, _ in ahead:
                release()
