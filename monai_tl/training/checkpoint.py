"""Save the best weights and a state to resume from, and stop when validation no longer improves."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from monai_tl.errors import ConfigError
from monai_tl.settings.table import is_true
from monai_tl.storage.files import atomic_write
from monai_tl.training.averaged import AverageWeights
from monai_tl.training.run_files import BEST, LAST
from monai_tl.transfer.lora import merged_state
from monai_tl.transfer.tensors import count_non_finite, name_first

logger = logging.getLogger(__name__)

LEARNED = ("network", "optimizer", "averaged")  # a scheduler's state may contain an infinity on purpose


class KeepState:
    """Handler for the trainer that writes ``model.pt`` (best) and ``last.pt`` (to resume from), and stops early.

    It runs after the handler that validates.

    One handler writes both files, since a resumed run needs the best value so far. ``model.pt`` holds an ordinary network's
    weights: low-rank adapters are merged, and averaged weights replace the trained ones. ``last.pt`` holds all of them apart.

    Args:
        run_dir: run folder.
        network, optimizer, scheduler: the parts whose states are saved.
        evaluator: engine whose ``key_metric`` is the validation Dice.
        key_metric: name of that metric; larger is better.
        patience: training stops after this many iterations without a better validation, counted from the first validation with
            a Dice above 0. 0: training never stops early.
        resume: continue from ``last.pt`` if it exists.
        averaged: the averaged weights, if the evaluator validates them; ``model.pt`` holds them then.
    """

    def __init__(
        self,
        run_dir: str,
        network: nn.Module,
        optimizer: Optimizer,
        scheduler: LRScheduler,
        evaluator: Engine,
        key_metric: str = "val_dice",
        patience: int = 0,
        resume: bool | str = False,
        averaged: AverageWeights | None = None,
    ) -> None:
        """Store the parts; nothing is read or written yet."""
        self.run_dir = Path(run_dir)
        self.parts: dict[str, Any] = {"network": network, "optimizer": optimizer, "scheduler": scheduler}
        if averaged is not None:
            self.parts["averaged"] = averaged
        self.validated = network if averaged is None else averaged.network
        self.evaluator, self.key_metric = evaluator, key_metric
        self.patience, self.resume = patience, is_true(resume)
        self.best: dict[str, Any] = {"value": None, "iteration": 0}
        self.stopping: EarlyStopping | None = None
        self.stopped = False

    def attach(self, trainer: Engine) -> None:
        """Register on the trainer."""
        epoch_length = int(trainer.state.epoch_length or 1)
        if self.patience:
            validations = -(-self.patience // epoch_length)  # rounded up
            self.stopping = EarlyStopping(validations, lambda _: self._defined(), trainer)
        trainer.add_event_handler(Events.STARTED, self.restore)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self.keep)

    def restore(self, trainer: Engine) -> None:
        """Continue from ``last.pt`` if ``resume`` is set and the file exists."""
        path = self.run_dir / LAST
        if not self.resume or not path.is_file():
            return
        last = _read(path)
        broken = non_finite({name: last[name] for name in LEARNED if name in last})
        if broken:
            raise ConfigError(
                f"'{path}' holds NaN or infinite values ({name_first(broken)}): this training diverged and cannot resume; "
                "train again in another folder with a lower learning_rate, or precision float32"
            )
        for name, part in self.parts.items():
            part.load_state_dict(last[name])
        trainer.state.epoch, trainer.state.iteration = last["epoch"], last["iteration"]
        self.best, self.stopped = last["best"], last["stopped"]
        if self.stopping:
            self.stopping.load_state_dict(last["stopping"])
        value = self.best["value"]
        best = "undefined" if value is None else f"{value:.3f} at iteration {self.best['iteration']}"
        logger.info("resumed at iteration %d, best validation Dice so far %s", last["iteration"], best)
        if self.stopped:
            trainer.terminate()

    def keep(self, trainer: Engine) -> None:
        """Save the state after a validation, then stop if no better one came within ``patience``.

        Raises:
            ConfigError: if a weight or optimiser state is NaN or infinite; the files written before are kept.
        """
        value, iteration = self._value(), trainer.state.iteration
        states = {name: part.state_dict() for name, part in self.parts.items()}
        self._refuse_non_finite(states, iteration)
        if not math.isnan(value) and (self.best["value"] is None or value > self.best["value"]):
            self.best = {"value": value, "iteration": iteration}
            self._write(BEST, merged_state(self.validated))
        if self.stopping and (self.best["value"] or 0) > 0:
            self.stopping(self.evaluator)
            self.stopped = bool(trainer.should_terminate)
        if self.stopped:
            waited = iteration - self.best["iteration"]
            logger.info("stopped at iteration %d: no better validation for %d iterations", iteration, waited)
        position = {"epoch": trainer.state.epoch, "iteration": iteration, "best": self.best, "stopped": self.stopped}
        stopping = {"stopping": dict(self.stopping.state_dict()) if self.stopping else {}}
        self._write(LAST, states | position | stopping)

    def _refuse_non_finite(self, states: dict[str, Any], iteration: int) -> None:
        broken = non_finite({name: states[name] for name in LEARNED if name in states})
        if broken:
            kept = [name for name in (BEST, LAST) if (self.run_dir / name).is_file()]
            left = f"unchanged: {', '.join(kept)}" if kept else "no weights were written"
            raise ConfigError(
                f"training diverged: at iteration {iteration} "
                f"{name_first(broken)} {'hold' if len(broken) > 1 else 'holds'} NaN or "
                f"infinite values, although the loss is finite; {left}: lower learning_rate, or try precision float32"
            )

    def _value(self) -> float:
        return float(self.evaluator.state.metrics[self.key_metric])

    def _defined(self) -> float:
        """Return the validation Dice for early stopping, −1 if undefined, since `EarlyStopping` takes NaN as an improvement."""
        return -1.0 if math.isnan(self._value()) else self._value()

    def _write(self, name: str, content: Any) -> None:
        try:
            with atomic_write(self.run_dir / name) as path:
                torch.save(content, path)
        except RuntimeError as error:  # torch does not report the system's error
            room = shutil.disk_usage(self.run_dir).free // 2**20
            raise ConfigError(
                f"'{self.run_dir / name}' could not be written with {room} MiB free; is the disk full? "
                "Finished files are kept; free some space and continue with --resume true"
            ) from error


def non_finite(content: Any, name: str = "") -> list[str]:
    """Return the names of NaN or infinite tensors and numbers in nested dicts and lists: ``network.conv_0.conv.weight``."""
    if isinstance(content, torch.Tensor):
        return [name] if count_non_finite(content) else []
    if isinstance(content, float):
        return [] if math.isfinite(content) else [name]
    parts = content.items() if isinstance(content, Mapping) else enumerate(content) if isinstance(content, list | tuple) else ()
    return [broken for key, part in parts for broken in non_finite(part, f"{name}.{key}".lstrip("."))]


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # a damaged file can raise any error
        raise ConfigError(
            f"'{path}' cannot be read ({type(error).__name__}): this training cannot be resumed; train again in another folder"
        ) from error
