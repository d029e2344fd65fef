"""One run of a study, in a process of its own: train until validation chose the weights, then score the test cases once.

What is done is told by the run's folder alone, so that a run goes on after whatever ended it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from monai_tl.inference.scores import read_scores  # noqa: F401  (loaded once, before processes are forked)
from monai_tl.study.plan import is_finished, scores_of
from monai_tl.training.launch import bundle_config, run_configs
from monai_tl.training.run_folder import refuse_changed_datalist


@dataclass(frozen=True, slots=True)
class Order:
    """What a process has to know to do a run.

    Attributes:
        configs: merged in order.
        settings: every id that is set, ``run_dir`` and ``datalist`` among them.
        log: file that takes what the run prints.
        threads: on the CPU.
        splits: scored at the end, with the weights that validation chose.
    """

    configs: tuple[str, ...]
    settings: dict[str, Any]
    log: str
    threads: int
    splits: tuple[str, ...] = ("test",)


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
        _sweep(folder)
        if not _is_trained(folder):
            run_configs([Path(config) for config in order.configs], order.settings)
        refuse_changed_datalist(folder, order.settings["datalist"])
        evaluation = [folder / "config.yaml", bundle_config(order.settings["bundle_root"], "evaluate")]
        for split in order.splits:
            if not scores_of(folder, split).is_file():
                run_configs(evaluation, {"run_dir": str(folder), "split": split, "scores": str(scores_of(folder, split))})


def _is_trained(folder: Path) -> bool:
    """Say if a training came to its end: its best Dice is noted last, after all checks."""
    try:
        return "validation_dice" in json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


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
