"""Estimate a study's duration from steps of the real network on this machine: an upper bound, since runs may stop early."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser
from torch import Tensor

from monai_tl.device import choose_device
from monai_tl.evaluation.run_scores import has_own_scores
from monai_tl.imaging.scan_files import open_scan
from monai_tl.storage.cores import fitting
from monai_tl.study.design import Design
from monai_tl.study.run_state import is_finished
from monai_tl.study.study_plan import PlannedRun, Study
from monai_tl.text import in_time

ENOUGH = 60.0  # seconds spent on measuring


@dataclass(frozen=True)
class Estimate:
    """Times measured on this machine.

    Attributes:
        device: on which they were measured.
        step_seconds: of a training step, by arm.
        case_seconds: to predict a case, by the number of sliding windows of the first validation case.
        validate_every: iterations between two validations.
    """

    device: str
    step_seconds: dict[str, float]
    case_seconds: float
    validate_every: int


def estimate(planned: Design) -> Estimate:
    """Time a few training steps of each arm and the prediction of one sliding window, on random voxels of the real size.

    After a minute of measuring, the remaining arms are assumed to be as slow as the slowest one so far.
    """
    study, seconds = planned.study, dict[str, float]()
    by_start: dict[tuple[tuple[str, Any], ...], float] = {}
    began = time.monotonic()
    parser = _parser(study, {"source": None})
    threads = torch.get_num_threads()
    torch.set_num_threads(study.threads)
    try:
        trained = [run for run in _first_of_each(study) if "iterations" in run.settings]
        for run in sorted(trained, key=lambda run: str(run.settings["freeze"])):
            key = tuple((name, run.settings[name]) for name in ("freeze", "strategy") if name in run.settings)
            if key not in by_start and time.monotonic() - began < ENOUGH:
                parser = _parser(study, {**dict(key), "source": run.settings["source"] if "strategy" in run.settings else None})
                by_start[key] = _seconds(_training_step(parser), 2)
            seconds[run.arm] = by_start.get(key, max(by_start.values()))
        window = _seconds(_prediction(parser), 2)
    finally:
        torch.set_num_threads(threads)
    case = planned.data.split("validation", parser.get_parsed_content("modalities"))[0]
    windows = _windows(open_scan(case["label"]), parser)
    device = str(parser.get_parsed_content("device"))
    return Estimate(device, seconds, window * windows, int(parser.get_parsed_content("validate_every")))


def run_seconds(run: PlannedRun, measured: Estimate, planned: Design) -> float:
    """Return the estimated time of a whole run, scoring included, without early stopping."""
    iterations = int(run.settings.get("iterations", 0))  # the untrained arm has none
    cases = iterations // measured.validate_every * len(planned.data.splits["validation"])
    scored = _scoring_seconds(run, measured, planned, planned.study.splits)
    return iterations * measured.step_seconds.get(run.arm, 0.0) + cases * measured.case_seconds + scored


def _scoring_seconds(run: PlannedRun, measured: Estimate, planned: Design, splits: Sequence[str]) -> float:
    cases = {"test": len(planned.data.splits["test"]), "train": run.n}
    return measured.case_seconds * sum(cases[split] for split in splits)


def _left_seconds(folder: Path, run: PlannedRun, measured: Estimate, planned: Design) -> float:
    """Return the estimated remaining time of a run; an interrupted one counts in full."""
    if not is_finished(folder / run.folder):
        return run_seconds(run, measured, planned)
    left = [split for split in planned.study.splits if not has_own_scores(folder / run.folder, split)]
    return _scoring_seconds(run, measured, planned, left)


def format_plan(planned: Design, folder: Path, measured: Estimate, parallel: int) -> str:
    """Format a plan: the grid, with one row per arm and one column per size, and the estimated time."""
    study = planned.study
    left = [run for run in study.runs if not is_finished(folder / run.folder, study.splits)]
    seconds = [_left_seconds(folder, run, measured, planned) for run in left]
    at_once = 1 if measured.device.startswith("cuda") else fitting(parallel, study.threads)
    most = max([sum(seconds) / at_once, *seconds])
    splits = ", ".join(f"{len(subjects)} {name}" for name, subjects in planned.data.splits.items())
    rows = [("arm", "iterations", "step", *(f"n = {n}" for n in study.sizes))]
    for run in _first_of_each(study):
        trains = "iterations" in run.settings
        budget = (f"up to {run.settings['iterations']}", f"{measured.step_seconds[run.arm]:.3f} s") if trains else ("none", "–")
        costs = [in_time(run_seconds(replace(run, n=n), measured, planned)) for n in study.sizes]
        rows.append((run.arm, *budget, *[f"{len(study.seeds)} × {cost}" for cost in costs]))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    done = f", {len(study.runs) - len(left)} of them finished" if len(left) < len(study.runs) else ""
    at_a_time = f", {parallel} at a time" if parallel > 1 else ""
    search = "; the search ends earlier if one more stage gains nothing" if study.rule else ""
    return "\n".join(
        [
            f"study {study.kind} in {folder}: {len(study.runs)} runs{done}; seeds {', '.join(map(str, study.seeds))}",
            f"{study.datalist['path']}: {splits}",
            *table,
            f"at most {in_time(most)} on {measured.device}{at_a_time}, estimated from a few steps measured here{search}; "
            "reading scans, sampling patches and starting each run take additional time, early stopping saves time",
            "nothing was written: omit --plan to start the study",
        ]
    )


def _first_of_each(study: Study) -> list[PlannedRun]:
    return [next(run for run in study.runs if run.arm == arm) for arm in study.arms]


def _parser(study: Study, settings: dict[str, Any]) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(list(study.configs))
    parser.update({"bundle_root": study.target, **study.settings, **settings})
    if isinstance(study.settings.get("device"), str):
        parser.update({"device": str(choose_device(study.settings["device"]))})
    parser.get_parsed_content("imports")
    return parser


def _training_step(parser: ConfigParser) -> Callable[[], None]:
    """Return a function that does one training step as the configs define it."""
    network, loss = parser.get_parsed_content("network"), parser.get_parsed_content("loss")
    optimizer, inferer = parser.get_parsed_content("optimizer"), parser.get_parsed_content("train#inferer")
    average = None
    if "regime" in parser:
        regime = parser.get_parsed_content("regime")
        loss, average = regime.objective(loss), regime.averaged(network)
    image = _voxels(parser, "window", int(parser.get_parsed_content("batch_size")))
    label = (image[:, :1] > 0.9).float()
    network.train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(inferer(image, network), label).backward()
        optimizer.step()
        if average:
            average.update()

    return step


def _prediction(parser: ConfigParser) -> Callable[[], None]:
    """Return a function that predicts one sliding window."""
    network, inferer = parser.get_parsed_content("network").eval(), parser.get_parsed_content("train#inferer")
    image = _voxels(parser, "inference_window", 1)

    def predict() -> None:
        with torch.no_grad():
            inferer(image, network)

    return predict


def _voxels(parser: ConfigParser, window: str, batch: int) -> Tensor:
    channels, device = len(parser.get_parsed_content("modalities")), parser.get_parsed_content("device")
    return torch.rand(batch, channels, *parser.get_parsed_content(window), device=device)


def _seconds(work: Callable[[], None], times: int) -> float:
    """Return the median time of some work after one warm-up, with the GPUs synchronised."""
    durations = []
    for _ in range(times + 1):
        began = time.perf_counter()
        work()
        for gpu in range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0):
            torch.cuda.synchronize(gpu)
        durations.append(time.perf_counter() - began)
    return statistics.median(durations[1:])


def _windows(scan: Any, parser: ConfigParser) -> int:
    """Return the number of sliding windows that cover a scan at the configs' spacing."""
    window = np.array(parser.get_parsed_content("inference_window"), float)
    size = np.array(scan.shape[:3]) * nib.affines.voxel_sizes(scan.affine) / np.array(parser.get_parsed_content("spacing"))
    step = window * (1 - float(parser.get_parsed_content("inference_overlap")))
    return math.prod(int(n) for n in np.ceil(np.maximum(size - window, 0) / step) + 1)
