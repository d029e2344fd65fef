"""One run of a study, in a process of its own: train until validation chose the weights, then score the test cases once.

What is done is told by the run's folder alone, so that a run goes on after whatever ended it.
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
    """What a process has to know to do a run.

    Attributes:
        configs: merged in order.
        settings: every id that is set, ``run_dir`` and ``datalist`` among them.
        log: file that takes what the run prints.
        threads: on the CPU.
        files: path -> sha256 of what the study was planned with: configs, and the source's weights where they are carried over.
        splits: scored at the end, with the weights that validation chose.
        scans: subject -> role -> fingerprint of the scans that the study was planned with.
    """

    configs: tuple[str, ...]
    settings: dict[str, Any]
    log: str
    threads: int
    files: dict[str, str]
    splits: tuple[str, ...] = ("test",)
    scans: Planned = field(default_factory=dict)


def perform(order: Order) -> None:
    """Do what is left of a run; nothing where it is finished.

    Raises:
        whatever training and evaluation raise; what they finished stays.
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
                discard_scores(folder, split)  # of weights that are not the last word
        if not is_trained(folder):
            run_configs([Path(config) for config in order.configs], order.settings, read=None)
        refuse_changed_datalist(folder, order.settings["datalist"])
        evaluation = [folder / "config.yaml", bundle_config(order.settings["bundle_root"], "evaluate")]
        for split in order.splits:
            if not scores_of(folder, split).is_file():
                run_configs(evaluation, {"run_dir": str(folder), "split": split})


def _refuse_other_files(files: dict[str, str]) -> None:
    """Refuse what was changed after the plan: a run done with it would stand beside others that were not.

    Raises:
        DataError: with the file.
    """
    for path, sha256 in files.items():
        now = sha256_of(Path(path)) if Path(path).is_file() else "missing"
        if now != sha256:
            raise DataError(
                f"{path} is not what the study was planned with (sha256 {sha256[:12]}…, now {now[:12]}): restore it and repeat "
                "the command, or begin a study in another folder"
            )


def _refuse_other_scans(order: Order) -> None:
    """Likewise, scans that were changed: one that goes on after a kill, too."""
    if order.scans:
        data = read_datalist(Path(order.settings["datalist"]))
        refuse_changed_scans(order.scans, take_prints(data), data)


def _sweep(folder: Path) -> None:
    """Take away what a process that was killed was just writing."""
    for left in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(left, ignore_errors=True)
    for left in folder.glob(".*") if folder.is_dir() else ():
        if left.is_file():
            left.unlink()


@contextlib.contextmanager
def _printing_to(log: Path) -> Iterator[None]:
    """Let all that this process prints, libraries and their threads included, go to a file."""
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
        traceback.print_exc()  # a fault is told in one line: this is what else there is to know
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, kept in zip((1, 2), before, strict=True):
            os.dup2(kept, number)
            os.close(kept)
