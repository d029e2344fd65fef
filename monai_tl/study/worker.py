"""One run of a study, in its own process: train, keep the weights of best validation, then score the test cases once.

The state of a run is read from its folder alone, so that an interrupted run can resume.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from monai_tl.datasets.datalist import read_datalist
from monai_tl.errors import DataError
from monai_tl.evaluation.run_scores import discard_scores, has_own_scores
from monai_tl.evaluation.score_files import scores_of
from monai_tl.storage.files import sha256_of
from monai_tl.study.run_state import is_finished, is_trained
from monai_tl.study.study_scans import Planned, refuse_changed_scans
from monai_tl.training.run_cases import take_prints
from monai_tl.training.run_files import refuse_changed_datalist
from monai_tl.workflow.launch import run_configs
from monai_tl.workflow.merged_config import bundle_config


@dataclass(frozen=True, slots=True)
class Order:
    """Everything that a process needs to do a run.

    Attributes:
        configs: merged in order.
        settings: all config ids that are set, including ``run_dir`` and ``datalist``.
        log: file to which the run's output is appended.
        threads: on the CPU.
        files: path -> sha256 of the files that the study was planned with: configs, and the source's weights if transferred.
        splits: scored at the end, with the weights of best validation.
        scans: subject -> role -> fingerprint of the scans that the study was planned with.
        scoring: settings of ``evaluate.yaml`` for all splits.
    """

    configs: tuple[str, ...]
    settings: dict[str, Any]
    log: str
    threads: int
    files: dict[str, str]
    splits: tuple[str, ...] = ("test",)
    scans: Planned = field(default_factory=dict)
    scoring: dict[str, Any] = field(default_factory=dict)


def perform(order: Order) -> None:
    """Do a run, or resume it; a finished run is skipped.

    Raises:
        Exception: as training and evaluation raise it; what they have written is kept.
    """
    folder = Path(order.settings["run_dir"])
    if is_finished(folder, order.splits):
        return
    torch.set_num_threads(order.threads)
    with _printing_to(Path(order.log)):
        _refuse_other_files(order.files)
        _refuse_other_scans(order)
        _sweep(folder)
        for split in order.splits:
            if not (is_trained(folder) and has_own_scores(folder, split)):
                discard_scores(folder, split)  # of weights that training may still replace
        if not is_trained(folder):
            run_configs([Path(config) for config in order.configs], order.settings, read=None)
        refuse_changed_datalist(folder, order.settings["datalist"])
        evaluation = [folder / "config.yaml", bundle_config(order.settings["bundle_root"], "evaluate")]
        for split in order.splits:
            if not scores_of(folder, split).is_file():
                run_configs(evaluation, {"run_dir": str(folder), "split": split, **order.scoring})


def _refuse_other_files(files: dict[str, str]) -> None:
    """Refuse files that were changed after planning, since the runs of a study must share them.

    Raises:
        DataError: with the file.
    """
    for path, sha256 in files.items():
        now = sha256_of(Path(path)) if Path(path).is_file() else "missing"
        if now != sha256:
            raise DataError(
                f"{path} differs from the file that the study was planned with (sha256 {sha256[:12]}…, now {now[:12]}): "
                "restore it and repeat the command, or start a study in another folder"
            )


def _refuse_other_scans(order: Order) -> None:
    """Refuse scans that were changed after planning, also when a killed run resumes."""
    if order.scans:
        data = read_datalist(Path(order.settings["datalist"]))
        refuse_changed_scans(order.scans, take_prints(data), data)


def _sweep(folder: Path) -> None:
    """Remove the temporary files and folders of a killed process."""
    for left in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(left, ignore_errors=True)
    for left in folder.glob(".*") if folder.is_dir() else ():
        if left.is_file():
            left.unlink()


@contextlib.contextmanager
def _printing_to(log: Path) -> Iterator[None]:
    """Redirect all output of this process, that of libraries and threads included, to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    before = [os.dup(number) for number in (1, 2)]
    with log.open("ab") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    try:
        yield
    except Exception:
        traceback.print_exc()  # the fault file holds one line only; the log holds the traceback
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, kept in zip((1, 2), before, strict=True):
            os.dup2(kept, number)
            os.close(kept)
