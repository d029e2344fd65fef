"""Do the runs of a study: finished ones are skipped, interrupted ones resume, a failure is recorded and the next run starts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path

import torch

from monai_tl.errors import PartlyDoneError
from monai_tl.storage.cores import keep_within_cores
from monai_tl.storage.files import write_text
from monai_tl.storage.processes import Outcome, run_each
from monai_tl.study.design import run_settings
from monai_tl.study.run_state import is_finished
from monai_tl.study.study_plan import PlannedRun, Study
from monai_tl.study.worker import Order, perform
from monai_tl.text import in_time
from monai_tl.training.metrics_table import read_metrics
from monai_tl.transfer.strategy import UNTRAINED

FAULTS, LOGS = "faults", "logs"
Ended = Generator[tuple[str, Outcome], None, None]
Engine = Callable[[dict[str, Order], int], Ended]


def run_here(orders: dict[str, Order], parallel: int) -> Ended:
    """Do runs on this machine, each in its own process, ``parallel`` at a time; yield their outcomes as they end.

    Slow libraries are imported once for all processes; a killed run does not affect the others.
    """
    if not torch.cuda.is_available():  # with a GPU, the threads of a run mostly wait for it
        parallel = keep_within_cores("--parallel", parallel, max((order.threads for order in orders.values()), default=1))
    return run_each(perform, orders, parallel, preload=["monai_tl.study.worker"], nesting=True, fewer="--parallel")


def execute(folder: Path, study: Study, runs: Sequence[PlannedRun], parallel: int = 1, engine: Engine = run_here) -> None:
    """Do the given runs of a study as far as they are not finished, and print how each one ended.

    Args:
        folder: of the study.
        study: its plan.
        runs: some or all runs of the plan.
        parallel: number of runs at a time.
        engine: does the runs.

    Raises:
        PartlyDoneError: after the last run, if some failed; the folder ``faults`` holds the reason of each.
    """
    left = [run for run in runs if not is_finished(folder / run.folder, study.splits)]
    progress = _Progress(folder, len(runs), len(runs) - len(left), parallel)
    if len(left) < len(runs):
        print(f"{len(runs) - len(left)} of {len(runs)} runs are already finished", flush=True)
    for run in left:
        fault_file(folder, run).unlink(missing_ok=True)
    by_name = {run.name: run for run in left}
    failed = []
    with closing(engine({run.name: order_of(folder, study, run) for run in left}, parallel)) as ended:
        for name, outcome in ended:
            scored = is_finished(folder / by_name[name].folder, study.splits)
            fault = outcome.fault or ("" if scored else "it ended without scores")
            fault = " ".join(fault.split())
            if fault:
                write_text(fault_file(folder, by_name[name]), fault + "\n")
                failed.append(name)
            progress.ended(by_name[name], fault)
    if failed:
        more = f" and {len(failed) - 5} more" if len(failed) > 5 else ""
        raise PartlyDoneError(
            f"{len(failed)} of {len(runs)} runs failed: {', '.join(failed[:5])}{more}; the reasons are in {folder / FAULTS}, "
            f"their output in {folder / LOGS}. Repeat the command to retry them"
        )


def order_of(folder: Path, study: Study, run: PlannedRun) -> Order:
    """Return everything that a process needs to do a run."""
    log = str(folder / LOGS / f"{run.name}.txt")
    weights = {study.source["weights"]: study.source["sha256"]} if study.source and run.settings.get("source") else {}
    files = {**study.configs, **study.evaluation, **weights}
    configs = [*study.configs, *([str(Path(study.target) / "configs" / f"{UNTRAINED}.yaml")] if run.arm == UNTRAINED else [])]
    settings = run_settings(study, run, folder)
    scoring = {"metrics": list(study.metrics), "tolerance": study.tolerance}
    return Order(tuple(configs), settings, log, study.threads, files, study.splits, study.scans, scoring)


def fault_file(folder: Path, run: PlannedRun) -> Path:
    """Return the path of the file that holds the reason why a run failed."""
    return folder / FAULTS / f"{run.name}.txt"


def state_of(folder: Path, run: PlannedRun) -> tuple[str, str]:
    """Return a run's state, ``finished`` (its test cases are scored), ``failed`` or ``waiting``, and why it failed."""
    if is_finished(folder / run.folder):
        return "finished", ""
    fault = fault_file(folder, run)
    return ("failed", fault.read_text(encoding="utf-8").strip()) if fault.is_file() else ("waiting", "")


class _Progress:
    """Print one line for each run that ended, and the estimated remaining time."""

    def __init__(self, folder: Path, total: int, done: int, parallel: int) -> None:
        self.folder, self.total, self.done, self.parallel = folder, total, done, parallel
        self.began, self.first = time.monotonic(), done

    def ended(self, run: PlannedRun, fault: str) -> None:
        self.done += 1
        spent = time.monotonic() - self.began
        left = spent / (self.done - self.first) * (self.total - self.done)
        rest = f"; about {in_time(left)} left" if self.done < self.total else f"; all in {in_time(spent)}"
        print(f"[{self.done}/{self.total}] {run.name}: {fault or self._result(run)}{rest}", flush=True)

    def _result(self, run: PlannedRun) -> str:
        rows = [row for row in read_metrics(self.folder / run.folder / "metrics.csv") if not math.isnan(row["val_dice"])]
        if not rows:
            return "finished"
        best = max(rows, key=lambda row: row["val_dice"])
        return f"validation Dice {best['val_dice']:.3f} at iteration {best['iteration']} of {rows[-1]['iteration']}"
