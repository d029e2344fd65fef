"""Record a training: progress bar, ``metrics.csv``, ``cost.csv`` and TensorBoard events."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from ignite.engine import Engine, Events
from torch.optim import Optimizer
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from monai_tl.errors import ConfigError
from monai_tl.imaging.preview import draw_case
from monai_tl.imaging.scan_files import open_scan
from monai_tl.storage.progress import progress_bar
from monai_tl.storage.tables import write_table
from monai_tl.training.bad_loss import describe_bad_loss
from monai_tl.training.cost import Cost, peak_memory_mib, read_costs, write_costs
from monai_tl.training.metrics_table import REGIONS, RegionDice, read_metrics, read_region_dice, write_metrics
from monai_tl.training.patches import PatchNumbers


class NumberPatches:
    """Handler for the trainer: each epoch continues with the patches that follow the previous epoch's, even after a resume."""

    def __init__(self, numbers: PatchNumbers) -> None:
        """Store the sampler."""
        self.numbers = numbers

    def attach(self, trainer: Engine) -> None:
        """Register on the trainer."""
        trainer.add_event_handler(Events.EPOCH_STARTED, lambda engine: self.numbers.set_epoch(engine.state.epoch - 1))


class Record:
    """Handler for the trainer that writes ``metrics.csv``, ``cost.csv`` and TensorBoard events with an overlay.

    It runs after the handler that validates.

    Args:
        run_dir: run folder.
        optimizer: its learning rates are recorded, one curve per parameter group.
        evaluator: engine that validates; its last case is drawn.
        key_metric: name of the evaluator's Dice metric.
    """

    def __init__(self, run_dir: str, optimizer: Optimizer, evaluator: Engine, key_metric: str = "val_dice") -> None:
        """Store the parts; nothing is written yet."""
        self.run_dir, self.optimizer, self.evaluator, self.key_metric = Path(run_dir), optimizer, evaluator, key_metric
        self.rows: list[dict[str, Any]] = []
        self.losses: list[float] = []
        self.costs: list[Cost] = []
        self.regions: list[RegionDice] = []
        self.steps: list[float] = []
        self.began = self.asked = 0.0
        self.clock = Clock()
        self.writer: SummaryWriter | None = None
        self.bar: tqdm[Any] | None = None

    def attach(self, trainer: Engine) -> None:
        """Register on the trainer."""
        trainer.add_event_handler(Events.EPOCH_STARTED, self.start)  # not STARTED, which comes before a resumed run is restored
        trainer.add_event_handler(Events.GET_BATCH_STARTED, self.batch)
        trainer.add_event_handler(Events.GET_BATCH_COMPLETED, lambda _: self.clock.works())
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self.iteration)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self.validated)
        trainer.add_event_handler(Events.COMPLETED, self.close)
        trainer.add_event_handler(Events.EXCEPTION_RAISED, self.failed)

    def start(self, trainer: Engine) -> None:
        """Open the files before the first epoch; when resuming, rows after the resumed iteration are dropped."""
        if self.writer:
            return
        at = trainer.state.iteration
        self.rows = [row for row in read_metrics(self.run_dir / "metrics.csv") if row["iteration"] <= at]
        self.costs = [cost for cost in read_costs(self.run_dir / "cost.csv") if cost.iteration <= at]
        self.regions = [row for row in read_region_dice(self.run_dir) if row.iteration <= at]
        self.began = time.monotonic() - (self.rows[-1]["seconds"] if self.rows else 0.0)
        self.writer = SummaryWriter(str(self.run_dir), purge_step=at + 1 if at else None)
        total = (trainer.state.max_epochs or 0) * (trainer.state.epoch_length or 0)
        self.bar = progress_bar(total, self._name(), "it", initial=at)

    def batch(self, _: Engine) -> None:
        """Record when a batch is requested."""
        self.asked = time.perf_counter()
        self.clock.waits()

    def iteration(self, trainer: Engine) -> None:
        """Record the loss and the duration of the step."""
        self.clock.rests()
        assert self.writer
        assert self.bar is not None
        output: Any = trainer.state.output
        loss = float(output["loss"].detach())  # waits for the device
        self.steps.append(time.perf_counter() - self.asked)
        if not math.isfinite(loss):
            at, function = trainer.state.iteration, getattr(trainer, "loss_function", None)
            reason = describe_bad_loss(trainer.state.batch, output, function)
            raise ConfigError(f"the loss is {loss} at iteration {at}: {reason}")
        self.losses.append(loss)
        self.writer.add_scalar("loss/iteration", loss, trainer.state.iteration)
        self.bar.set_postfix(self._postfix(loss), refresh=False)
        self.bar.update()

    def validated(self, trainer: Engine) -> None:
        """Record the validation and draw its last case."""
        assert self.writer
        assert self.bar is not None
        iteration = trainer.state.iteration
        rates = {group.get("name", str(n)): group["lr"] for n, group in enumerate(self.optimizer.param_groups)}
        row = {
            "iteration": iteration,
            "loss": float(np.mean(self.losses)),
            "val_dice": float(self.evaluator.state.metrics[self.key_metric]),
            "learning_rate": max(rates.values()),
            "seconds": round(time.monotonic() - self.began, 2),
        }
        self.rows.append(row)
        write_metrics(self.run_dir / "metrics.csv", self.rows)
        peak = peak_memory_mib(torch.device(trainer.state.device))  # type: ignore[attr-defined]  # MONAI's engines have one
        self.costs.append(Cost(iteration, float(np.median(self.steps)), peak))
        write_costs(self.run_dir / "cost.csv", self.costs)
        self._record_regions(iteration)
        self.losses, self.steps = [], []
        self.writer.add_scalar("loss/training", row["loss"], iteration)
        self.writer.add_scalar("dice/validation", row["val_dice"], iteration)
        self.writer.add_scalar("data/share_of_time_waiting", self.clock.share_waiting(), iteration)
        for name, rate in rates.items():
            self.writer.add_scalar(f"learning_rate/{name}", rate, iteration)
        self.writer.add_image("validation", self._overlay(), iteration, dataformats="HWC")
        self.bar.set_postfix(self._postfix(row["loss"]))

    def _record_regions(self, iteration: int) -> None:
        """Record the validation Dice of each region, if there are several."""
        details = getattr(self.evaluator.state, "metric_details", {}).get(self.key_metric, {})
        if len(details) < 2:
            return
        assert self.writer
        self.regions += [RegionDice(iteration, region, dice) for region, dice in details.items()]
        write_table(self.run_dir / REGIONS, RegionDice, self.regions)
        for region, dice in details.items():
            self.writer.add_scalar(f"dice/{region}", dice, iteration)

    def close(self, _: Engine) -> None:
        """Close the progress bar and the event file."""
        if self.bar is not None:
            self.bar.close()
        if self.writer:
            self._note_settings(self.writer)
            self.writer.close()

    def failed(self, engine: Engine, error: BaseException) -> None:
        """Close the progress bar and the event file, then raise the error again."""
        self.close(engine)
        raise error

    def _postfix(self, loss: float) -> dict[str, str]:
        last = {"dice": f"{self.rows[-1]['val_dice']:.3f}", "best": f"{self._best():.3f}"} if self.rows else {}
        return {"loss": f"{loss:.3f}"} | last

    def _best(self) -> float:
        """Return the highest validation Dice so far, NaN if none is defined."""
        return max((row["val_dice"] for row in self.rows if not math.isnan(row["val_dice"])), default=math.nan)

    def _name(self) -> str:
        """Return the run's name: its folder's, or its bundle's for a bundle's ``models`` folder."""
        folder = self.run_dir.resolve()
        return folder.parent.name if folder.name == "models" else folder.name

    def _note_settings(self, writer: SummaryWriter) -> None:
        """Write the run's settings with its best Dice, for TensorBoard's table of hyperparameters."""
        path = self.run_dir / "config.yaml"
        if not path.is_file() or not self.rows:
            return
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        settings: dict[str, Any] = {key: value for key, value in config.items() if isinstance(value, int | float | bool)}
        settings |= {key: str(config[key]) for key in ("window", "modalities", "spacing", "norm", "source") if key in config}
        writer.add_hparams(settings, {"best_val_dice": self._best()}, run_name=".")

    def _overlay(self) -> np.ndarray:
        """Return the last case as a picture, on the scan's own grid, on which masks of a validation lie."""
        output: Any = self.evaluator.state.output
        case = output[0]
        scan = open_scan(case["image"].meta["filename_or_obj"])
        prediction, truth = (torch.as_tensor(case[key]).cpu().numpy() > 0.5 for key in ("pred", "label"))
        return draw_case(scan, prediction, truth)


class Clock:
    """Measure the time spent waiting for data and computing."""

    def __init__(self) -> None:
        """Start at zero."""
        self.waiting = self.working = 0.0
        self._since = time.monotonic()

    def waits(self) -> None:
        """Start waiting for data."""
        self._since = time.monotonic()

    def works(self) -> None:
        """Stop waiting and start computing."""
        now = time.monotonic()
        self.waiting, self._since = self.waiting + now - self._since, now

    def rests(self) -> None:
        """Stop computing."""
        now = time.monotonic()
        self.working, self._since = self.working + now - self._since, now

    def share_waiting(self) -> float:
        """Return the share of time spent waiting since the last call, 0 to 1, and reset the clock."""
        share = self.waiting / max(self.waiting + self.working, 1e-9)
        self.waiting = self.working = 0.0
        return share
