"""How a strategy changes a training: learning rates, loss, what is frozen when, and which weights are validated and saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ignite.engine import Engine
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from monai_tl.networks.stages import stages
from monai_tl.training.averaged import AverageWeights
from monai_tl.training.phase_handler import FollowPhases
from monai_tl.transfer.apply import Transfer
from monai_tl.transfer.phase_rates import PhaseRates
from monai_tl.transfer.schedules import SCHEDULES, WARM_UP, build_schedule
from monai_tl.transfer.source_distance import LossWithSource


class Regime:
    """The parts of a training that depend on the strategy, for ``transfer.yaml``, and a handler for the trainer.

    A strategy that only freezes, or adds adapters, changes none of them: each method returns what it is given.

    Args:
        transfer: the network after the transfer.
        iterations: of the training.
        run_dir: run folder; what is frozen when is proven there, in ``phases.csv``.
        warm_up: fraction of the iterations in which rates rise, see `monai_tl.transfer.schedules`.

    Attributes:
        report: of the transfer; with a schedule, which stages are frozen until when.
        patience_after: iterations after which early stopping begins, as all stages are trained then.

    Raises:
        ConfigError: if the iterations or the warm-up do not fit the strategy's phases.
    """

    def __init__(self, transfer: Transfer, iterations: int, run_dir: str | Path, warm_up: float = WARM_UP) -> None:
        """Build the schedule, if the strategy has one; the network is not changed."""
        self.transfer, self.run_dir = transfer, Path(run_dir)
        self.strategy = transfer.strategy
        self.phases = None
        if self.strategy.kind in SCHEDULES:
            self.phases = build_schedule(
                self.strategy.kind, stages(transfer.network), iterations, warm_up, always=self._new_stages()
            )
        self.report = transfer.report | self._about_phases()
        self.patience_after = self.phases.settled_after if self.phases else 0
        self._average: AverageWeights | None = None

    def schedule(self, scheduler: LRScheduler) -> LRScheduler:
        """Return the learning rates: those of the strategy's phases, if it has any."""
        return PhaseRates(scheduler.optimizer, self.phases) if self.phases else scheduler

    def objective(self, loss: nn.Module) -> nn.Module:
        """Return the loss, with the distance to the source's weights for L2-SP; the network is on its device."""
        if self.strategy.kind != "l2sp":
            return loss
        fresh = [name for name, fate in self.report["weights"].items() if fate == "fresh"]
        return LossWithSource(loss, self.transfer.network, fresh, alpha=float(self.strategy.value or 0))

    def averaged(self, network: nn.Module) -> AverageWeights | None:
        """Return the moving average of the weights of a network on its device; None if the strategy keeps none."""
        if self.strategy.kind == "ema" and self._average is None:
            self._average = AverageWeights(network)
        return self._average

    def validated(self, network: nn.Module) -> nn.Module:
        """Return the network to be validated: the averaged one, if there is one."""
        average = self.averaged(network)
        return average.network if average else network

    def attach(self, trainer: Engine) -> None:
        """Register on the trainer."""
        if self.phases and len(self.phases.phases) > 1:
            FollowPhases(self.run_dir, self.transfer.network, self.phases, self.report["norm"]).attach(trainer)
        if self._average:
            self._average.attach(trainer)

    def _new_stages(self) -> list[str]:
        """Return the stages that hold new weights, or image channels that the source has not seen: they are never frozen."""
        report, found = self.transfer.report, stages(self.transfer.network)
        unseen = any(origin.startswith("new") for origin in report["channels"].values())
        inputs = {found.stage_of(name) for name in report["input_weights"]} if unseen else set()
        return [name for name in found if "fresh" in report["stages"][name]["weights"] or name in inputs]

    def _about_phases(self) -> dict[str, Any]:
        """Return the parts of the report that name the phases."""
        if not self.phases:
            return {}
        rows = {}
        for name, row in self.transfer.report["stages"].items():
            begins = next((phase.first for phase in self.phases.phases if name in phase.trained), 1)
            waits = begins > 1 and row["state"] == "trained"
            rows[name] = row | ({"state": f"frozen until iteration {begins - 1}"} if waits else {})
        return {"stages": rows, "strategy": self.transfer.report["strategy"] | {"schedule": self.phases.as_dict()}}
