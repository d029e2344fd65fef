"""Check the scans of a run: refuse changed scans, scans in two splits, and test cases that were used for training before."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from monai_tl.datasets.datalist import Datalist
from monai_tl.datasets.label_volumes import foreground_volumes
from monai_tl.datasets.regions import Regions, foreground_of
from monai_tl.errors import DataError, list_problems
from monai_tl.identity.fingerprints import Fingerprints, Prints, fingerprint_cases
from monai_tl.identity.identical import refuse_identical
from monai_tl.identity.run_data import RunCases, RunData, changed_scans, range_of, read_run_data, split_prints, write_run_data
from monai_tl.storage.files import sha256_of
from monai_tl.training.run_files import BEST, read_run_record
from monai_tl.transfer.overlap import Overlap, earlier_runs, find_overlap, refuse_overlap

logger = logging.getLogger(__name__)

NO_LIST = (
    "'%s' has no list of its cases (data.json): whether scans have changed since its training, and whether test cases are "
    "among its training cases, cannot be checked"
)
REPLACED = (
    "'%s' holds other weights than the training in '%s' wrote, so data.json there does not list their training cases: whether "
    "test cases are among these cannot be checked"
)


def take_prints(data: Datalist, *, refuse_unreadable: bool = False) -> dict[str, Prints]:
    """Return the fingerprints of all cases by split, of every modality and label; unreadable scans are logged.

    Raises:
        DataError: for unreadable scans, with ``refuse_unreadable``.
    """
    used = {subject for subjects in data.splits.values() for subject in subjects}
    prints = fingerprint_cases([case for case in data.cases if case["subject"] in used], (*data.modalities, "label"))
    if refuse_unreadable and prints.unreadable:
        lines = [f"{subject}: {role} {why}" for (subject, role), why in prints.unreadable.items()]
        raise DataError(list_problems(f"{len(lines)} scans cannot be read; repair these files:", lines))
    _log_unreadable(prints)
    return split_prints(prints, data.splits)


def check_run_cases(
    data: Datalist,
    transfer_report: Mapping[str, Any] | None = None,
    resumed: Path | None = None,
    prints: Mapping[str, Prints] | None = None,
) -> dict[str, Any] | None:
    """Refuse changed scans, scans in two splits and leaked test cases, before a run begins or resumes.

    Args:
        data: cases and splits.
        transfer_report: names the source, and whether an overlap is accepted.
        resumed: folder of the run, if it is resumed.
        prints: result of `take_prints`, if already computed.

    Returns:
        The transfer report's entry on the overlap of test cases with the source's cases; ``None`` without a source.

    Raises:
        DataError: if a scan has changed since the run began, if an image is in two splits or in two modalities of a case, or if
            test cases were used for training or validation in the source's lineage.
    """
    prints = take_prints(data) if prints is None else prints
    if resumed is not None:
        _refuse_changed_run(resumed, prints, data)
    for line in refuse_identical(
        {subject: roles for cases in prints.values() for subject, roles in cases.items()}, data.splits
    ):
        logger.warning("one image under several ids: %s", line)
    source = (transfer_report or {}).get("source")
    if source is None:
        return None
    overlap = find_overlap(prints.get("test", {}), "test", earlier_runs(source), prints.get("validation"))
    return _accepted_or_refused(overlap, bool((transfer_report or {}).get("accept_overlap")))


def record_run_cases(
    folder: Path,
    home: Path,
    *,
    data: Datalist,
    transfer_report: Mapping[str, Any] | None,
    anonymous: bool,
    regions: Regions | None = None,
) -> dict[str, Any] | None:
    """Write the cases of a run and of all earlier runs of its lineage to ``data.json``.

    Args:
        folder: folder to write to.
        home: the run's final folder.
        data: cases and splits.
        transfer_report: names the source.
        anonymous: whether to write pseudonyms instead of ids.
        regions: those that the network learns, whose volumes are recorded; ``None``: all of the datalist.

    Returns:
        As `check_run_cases`, without ids if ``anonymous``.
    """
    named = not anonymous
    prints = take_prints(data)
    trained = data.split("train") if "train" in data.splits else []  # the baseline without training has no train split
    volumes = list(foreground_volumes(trained, foreground_of(data.regions if regions is None else regions)).values())
    earlier = earlier_runs((transfer_report or {}).get("source"))
    content = RunData(RunCases("", prints), earlier, range_of(volumes))
    write_run_data(folder, home, content, anonymous=not named)
    if not earlier:
        return None
    overlap = find_overlap(prints.get("test", {}), "test", earlier, prints.get("validation"))
    return _in_report(overlap, bool((transfer_report or {}).get("accept_overlap")), named=named)


def seen_before(ckpt: str, *, data: Datalist, split: str, accept_overlap: bool = False) -> dict[str, Any] | None:
    """Refuse to score changed scans, or cases the weights were trained on or chosen by; called in ``evaluate.yaml``.

    Args:
        ckpt: weights file, with ``data.json`` next to it.
        data: cases and splits.
        split: split to score.
        accept_overlap: score cases that were used before; also accepted if the run's training accepted them.

    Returns:
        The accepted overlap, to show with the scores: ``said``, lines of text, and ``shared``, the number of cases; ``None``
        if no case was used before.

    Raises:
        DataError: with the changed scans or the cases that were used before.
    """
    folder, cases = Path(ckpt).parent, data.split(split)
    prints = fingerprint_cases(cases, (*data.modalities, "label"))
    _log_unreadable(prints)
    for line in refuse_identical(prints.of, {split: list(prints.of)}):
        logger.warning("one image under several ids: %s", line)
    known = read_run_data(folder)
    if known is None:
        logger.warning(NO_LIST, folder)
    else:
        _refuse_changed_scores(folder, changed_scans(known.own, {split: prints.of}, cases), data)
    report = read_run_record(folder, "transfer_report.json")
    runs = (*known.earlier, known.own) if known else earlier_runs(report.get("source"))
    if split == "train" or not runs:
        return None
    if known is not None and not _lists_cases_of(known, Path(ckpt)):
        logger.warning(REPLACED, ckpt, folder)
        runs = (RunCases(str(ckpt), None),)
    elif split == "validation" and known is not None:
        runs = (*known.earlier, replace(known.own, splits={**(known.own.splits or {}), "validation": {}}))
    overlap = find_overlap(prints.of, split, runs)
    if data.sha256() == read_run_record(folder, "provenance.json").get("datalist_sha256"):
        # one datalist: persons were checked when it was written, so only equal images count within the run itself
        overlap = replace(overlap, shared=tuple(case for case in overlap.shared if case.path or case.image))
    accepted = accept_overlap or bool((report.get("overlap") or {}).get("accepted"))
    entry = _accepted_or_refused(overlap, accepted or split != "test")
    for line in entry["said"]:
        (logger.warning if entry["shared"] else logger.info)(line)
    return entry if entry["shared"] else None


def _accepted_or_refused(overlap: Overlap, accept: bool) -> dict[str, Any]:
    if not accept:
        refuse_overlap(overlap)
    return _in_report(overlap, accept)


def _in_report(overlap: Overlap, accept: bool, *, named: bool = True) -> dict[str, Any]:
    shared = len({case.subject for case in overlap.certain})
    return {"accepted": bool(accept and shared), "shared": shared, "said": overlap.lines(accepted=accept, named=named)}


def _refuse_changed_run(folder: Path, prints: Mapping[str, Prints], data: Datalist) -> None:
    known = read_run_data(folder)
    if known is None:
        logger.warning(NO_LIST, folder)
        return
    changed = changed_scans(known.own, prints, data.cases)
    if changed:
        first = f"{_count(changed)} changed since '{folder}' began, so a resumed training would mix old and new scans"
        raise DataError(list_problems(f"{first}; restore them, or start a new run in another folder:", changed))


def _lists_cases_of(known: RunData, ckpt: Path) -> bool:
    """Return whether a folder's list of cases belongs to these weights: not if ``model.pt`` was replaced."""
    return not (ckpt.name == BEST and known.weights_sha256 and known.weights_sha256 != sha256_of(ckpt))


def _refuse_changed_scores(folder: Path, changed: Sequence[str], data: Datalist) -> None:
    """Refuse changed scans in the run's own datalist; in a datalist named explicitly, only log them."""
    if not changed:
        return
    config = folder / "config.yaml"
    own = yaml.safe_load(config.read_text(encoding="utf-8")).get("datalist") if config.is_file() else None
    if own is not None and data.path is not None and Path(own) != data.path:
        logger.warning("%s other content than in the training of '%s': %s", _count(changed), folder, ", ".join(changed[:5]))
        return
    first = f"{_count(changed)} changed since '{folder}' was trained"
    raise DataError(
        list_problems(f"{first}; restore them, or score them with a datalist of their own (--datalist FILE):", changed)
    )


def _count(changed: Sequence[str]) -> str:
    return f"{len(changed)} scans have" if len(changed) > 1 else "1 scan has"


def _log_unreadable(prints: Fingerprints) -> None:
    for (subject, role), why in prints.unreadable.items():
        logger.warning("%s: %s %s, so it is not compared with other scans", subject, role, why)
