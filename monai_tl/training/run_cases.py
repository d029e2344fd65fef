"""Which scans a run is made of: refused where they changed, where one is in two splits, where tests were trained on before."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from monai_tl.datasets.datalist import Datalist
from monai_tl.datasets.label_volumes import foreground_volumes
from monai_tl.errors import DataError, list_problems
from monai_tl.identity.fingerprints import Fingerprints, Prints, fingerprint_cases
from monai_tl.identity.identical import refuse_identical
from monai_tl.identity.run_data import RunCases, RunData, changed_scans, range_of, read_run_data, split_prints, write_run_data
from monai_tl.storage.files import sha256_of
from monai_tl.training.run_files import BEST, read_run_record
from monai_tl.transfer.overlap import Overlap, earlier_runs, find_overlap, refuse_overlap

logger = logging.getLogger(__name__)

NO_LIST = (
    "'%s' keeps no list of its cases (data.json): that scans are those it was trained with, and that test cases are not among "
    "its training cases, cannot be checked"
)


REPLACED = (
    "'%s' is not what the training in '%s' left: data.json there lists the cases of other weights, so that test cases are not "
    "among those that these were trained on cannot be checked"
)


def take_prints(data: Datalist, *, refuse_unreadable: bool = False) -> dict[str, Prints]:
    """Give the fingerprints of all cases in a split, every modality and the label; what cannot be read is said.

    Raises:
        DataError: for scans that cannot be read, if these are to be refused.
    """
    used = {subject for subjects in data.splits.values() for subject in subjects}
    found = fingerprint_cases([case for case in data.cases if case["subject"] in used], (*data.modalities, "label"))
    if refuse_unreadable and found.unreadable:
        lines = [f"{subject}: {role} {why}" for (subject, role), why in found.unreadable.items()]
        raise DataError(list_problems(f"{len(lines)} scans cannot be read; mend these files:", lines))
    _tell_unreadable(found)
    return split_prints(found, data.splits)


def check_run_cases(
    data: Datalist,
    transfer_report: Mapping[str, Any] | None = None,
    resumed: Path | None = None,
    prints: Mapping[str, Prints] | None = None,
) -> dict[str, Any] | None:
    """Refuse scans that a run must not be made of, before it begins or goes on.

    Args:
        data: cases and splits.
        transfer_report: names the source, and says if an overlap is accepted.
        resumed: folder of the run that goes on.
        prints: of `take_prints`, where they are at hand.

    Returns:
        What is to stand in the transfer report about test cases and the source's cases; ``None`` without a source.

    Raises:
        DataError: if a scan is not the one that the run began with, an image is in two splits or in two modalities of a case,
            or test cases were trained on or chosen by in the source's lineage.
    """
    prints = take_prints(data) if prints is None else prints
    if resumed is not None:
        _refuse_changed_run(resumed, prints, data)
    for line in refuse_identical({subject: of for cases in prints.values() for subject, of in cases.items()}, data.splits):
        logger.warning("one image under several ids: %s", line)
    source = (transfer_report or {}).get("source")
    if source is None:
        return None
    overlap = find_overlap(prints.get("test", {}), "test", earlier_runs(source), prints.get("validation"))
    return _accepted_or_refused(overlap, bool((transfer_report or {}).get("accept_overlap")))


def record_run_cases(
    folder: Path, home: Path, *, data: Datalist, transfer_report: Mapping[str, Any] | None, anonymous: bool
) -> dict[str, Any] | None:
    """Write what a run is made of, with what is known of the runs before it, to ``data.json`` in a folder.

    Args:
        folder: to write to.
        home: the run's folder as it will be called.
        data: cases and splits.
        transfer_report: names the source.
        anonymous: whether pseudonyms take the place of ids.

    Returns:
        As `check_run_cases`, without ids where they are replaced.
    """
    named = not anonymous
    prints = take_prints(data)
    trained = data.split("train") if "train" in data.splits else []  # nothing is, for a source as it is
    volumes = list(foreground_volumes(trained, data.foreground).values())
    earlier = earlier_runs((transfer_report or {}).get("source"))
    content = RunData(RunCases("", prints), earlier, range_of(volumes))
    write_run_data(folder, home, content, anonymous=not named)
    if not earlier:
        return None
    overlap = find_overlap(prints.get("test", {}), "test", earlier, prints.get("validation"))
    return _in_report(overlap, bool((transfer_report or {}).get("accept_overlap")), named=named)


def seen_before(ckpt: str, *, data: Datalist, split: str, accept_overlap: bool = False) -> dict[str, Any] | None:
    """Refuse to score scans that changed since, or cases that the weights have seen; named in ``evaluate.yaml``.

    Args:
        ckpt: the weights; ``data.json`` lies beside them.
        data: cases and splits.
        split: that is scored.
        accept_overlap: go on with cases that were trained on or chosen by, as the run's training may have done already.

    Returns:
        What was accepted, for all who show the scores: ``said`` in lines and ``shared``, the number of cases; else ``None``.

    Raises:
        DataError: with the scans or cases.
    """
    folder, cases = Path(ckpt).parent, data.split(split)
    found = fingerprint_cases(cases, (*data.modalities, "label"))
    _tell_unreadable(found)
    for line in refuse_identical(found.of, {split: list(found.of)}):
        logger.warning("one image under several ids: %s", line)
    kept = read_run_data(folder)
    if kept is None:
        logger.warning(NO_LIST, folder)
    else:
        _refuse_changed_scores(folder, changed_scans(kept.own, {split: found.of}, cases), data)
    report = read_run_record(folder, "transfer_report.json")
    runs = (*kept.earlier, kept.own) if kept else earlier_runs(report.get("source"))
    if split == "train" or not runs:
        return None
    if kept is not None and not _speaks_for(kept, Path(ckpt)):
        logger.warning(REPLACED, ckpt, folder)
        runs = (RunCases(str(ckpt), None),)
    elif split == "validation" and kept is not None:
        runs = (*kept.earlier, replace(kept.own, splits={**(kept.own.splits or {}), "validation": {}}))
    overlap = find_overlap(found.of, split, runs)
    if data.sha256() == read_run_record(folder, "provenance.json").get(
        "datalist_sha256"
    ):  # who is who was settled when it was made
        overlap = replace(overlap, shared=tuple(one for one in overlap.shared if one.path or one.image))
    accepted = accept_overlap or bool((report.get("overlap") or {}).get("accepted"))
    told = _accepted_or_refused(overlap, accepted or split != "test")
    for line in told["said"]:
        (logger.warning if told["shared"] else logger.info)(line)
    return told if told["shared"] else None


def _accepted_or_refused(overlap: Overlap, accept: bool) -> dict[str, Any]:
    if not accept:
        refuse_overlap(overlap)
    return _in_report(overlap, accept)


def _in_report(overlap: Overlap, accept: bool, *, named: bool = True) -> dict[str, Any]:
    shared = len({one.subject for one in overlap.certain})
    return {"accepted": bool(accept and shared), "shared": shared, "said": overlap.lines(accepted=accept, named=named)}


def _refuse_changed_run(folder: Path, prints: Mapping[str, Prints], data: Datalist) -> None:
    kept = read_run_data(folder)
    if kept is None:
        logger.warning(NO_LIST, folder)
        return
    changed = changed_scans(kept.own, prints, data.cases)
    if changed:
        first = f"{_count(changed)} changed since '{folder}' began, and half a training would have seen others"
        raise DataError(list_problems(f"{first}; restore them, or begin another run in another folder:", changed))


def _speaks_for(kept: RunData, ckpt: Path) -> bool:
    """Say if a folder's list of cases is that of its ``model.pt``: not if other weights took its place."""
    return not (ckpt.name == BEST and kept.weights_sha256 and kept.weights_sha256 != sha256_of(ckpt))


def _refuse_changed_scores(folder: Path, changed: Sequence[str], data: Datalist) -> None:
    """Refuse changed scans of the datalist that a run was made with; of another one, that was named on purpose, say them."""
    if not changed:
        return
    config = folder / "config.yaml"
    own = yaml.safe_load(config.read_text(encoding="utf-8")).get("datalist") if config.is_file() else None
    if own is not None and data.path is not None and Path(own) != data.path:
        logger.warning("%s other content than '%s' was made with: %s", _count(changed), folder, ", ".join(changed[:5]))
        return
    first = f"{_count(changed)} changed since '{folder}' was trained"
    raise DataError(
        list_problems(f"{first}; restore them, or name them on purpose by a datalist of their own (--datalist FILE):", changed)
    )


def _count(changed: Sequence[str]) -> str:
    return f"{len(changed)} scans have" if len(changed) > 1 else "1 scan has"


def _tell_unreadable(found: Fingerprints) -> None:
    for (subject, role), why in found.unreadable.items():
        logger.warning("%s: %s %s, so it is not compared with other scans", subject, role, why)
