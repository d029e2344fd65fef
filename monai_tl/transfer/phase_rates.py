"""A learning-rate scheduler that follows the phases of a schedule."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from monai_tl.errors import ConfigError, did_you_mean
from monai_tl.transfer.phases import Schedule


class PhaseRates(LRScheduler):
    """Multiply the learning rate of each parameter group by the schedule's factor for its stage.

    The rate depends on the iteration alone. ``step()`` is called after each iteration: MONAI's ``LrScheduleHandler`` with
    ``epoch_level=False``.

    Args:
        optimizer: its parameter groups are named by stages, as `monai_tl.transfer.rates.parameter_groups` does; what follows a
            comma is no part of a stage's name.
        schedule: the phases.

    Raises:
        ConfigError: for a parameter group that has no name, or whose stage the schedule never trains.

    Example:
        >>> import torch
        >>> from monai_tl.transfer.phase_rates import PhaseRates
        >>> from monai_tl.transfer.phases import Phase, Schedule
        >>> groups = [{"name": name, "params": [torch.nn.Parameter(torch.zeros(1))], "lr": 1.0} for name in ("body", "head")]
        >>> schedule = Schedule("head first", (Phase(1, 5, ("head",), warm_up=5), Phase(6, 9, ("body", "head"))))
        >>> rates = PhaseRates(torch.optim.AdamW(groups), schedule)
        >>> rates.get_last_lr()
        [0.0, 0.2]
    """

    def __init__(self, optimizer: Optimizer, schedule: Schedule) -> None:
        """Set the learning rates of the first iteration."""
        self.schedule = schedule
        names = [str(group.get("name", "")).split(",")[0] for group in optimizer.param_groups]
        for name in names:
            if name not in schedule.stages:
                raise ConfigError(
                    f"schedule {schedule.name} never trains a stage '{name}', which a parameter group is named by: "
                    f"{did_you_mean(name, schedule.stages)}"
                )
        self.stage_names = names
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """Return the learning rate of each parameter group for the next iteration."""
        iteration = self.last_epoch + 1
        rates = zip(self.base_lrs, self.stage_names, strict=True)
        return [base * self.schedule.factor(iteration, name) for base, name in rates]

    def state_dict(self) -> dict[str, Any]:
        """Return plain data, without the schedule."""
        return {key: value for key, value in super().state_dict().items() if key not in ("schedule", "stage_names")}
