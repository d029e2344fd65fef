"""A running average of the weights, which is validated and saved while training goes on with the weights themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from monai_tl.errors import ConfigError


class AverageWeights:
    """Handler for the trainer that averages the weights after each iteration: ``average = d · average + (1 − d) · weight``.

    After n iterations d is the smaller of ``decay`` and (1 + n) / (10 + n), so the first weights are soon forgotten. Equal
    values are left as they are, so frozen weights are in the average bit for bit. Buffers, such as BatchNorm statistics, are
    copied. Early weights have an average over few iterations: train for several times 1 / (1 − decay) iterations.

    Source: Tarvainen and Valpola, "Mean teachers", 2017; the warm-up is that of TensorFlow's ``ExponentialMovingAverage``.

    Args:
        network: that is trained, on its device.
        decay: d, from 0 and below 1; 0.999 averages about the last 1000 iterations.

    Raises:
        ConfigError: for a decay out of range.

    Example:
        >>> import torch
        >>> from monai_tl.training.averaged import AverageWeights
        >>> network = torch.nn.Linear(1, 1)
        >>> averaged = AverageWeights(network)
        >>> with torch.no_grad():
        ...     for value in (0.0, 11.0):
        ...         _ = network.weight.fill_(value)
        ...         averaged.update()
        >>> averaged.network.weight.item()  # 2 / 11 · 0 + 9 / 11 · 11
        9.0
    """

    def __init__(self, network: nn.Module, decay: float = 0.999) -> None:
        """Copy the network."""
        if isinstance(decay, bool) or not isinstance(decay, int | float) or not 0 <= decay < 1:
            raise ConfigError(f"decay takes a number from 0 and below 1, e.g. 0.999; got {decay!r}")
        self.trained, self.decay = network, decay
        self._averaged = AveragedModel(network, multi_avg_fn=self._average)

    @property
    def network(self) -> nn.Module:
        """The network with averaged weights, to be validated and saved."""
        averaged: nn.Module = self._averaged.module
        return averaged

    def attach(self, trainer: Engine) -> None:
        """Register on the trainer."""
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self.update)

    def update(self, _: Engine | None = None) -> None:
        """Include the present weights in the average; the first ones are copied."""
        self._averaged.update_parameters(self.trained)

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged weights and the number of updates."""
        return self._averaged.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._averaged.load_state_dict(state)

    @torch.no_grad()
    def _average(self, averages: Sequence[Tensor], weights: Sequence[Tensor], updates: Tensor | int) -> None:
        updates = int(updates)
        decay = min(self.decay, (1 + updates) / (10 + updates))
        for average, weight in zip(averages, weights, strict=True):
            # of equal values the average is the value, but of two negative zeros it would be a positive one
            average.copy_(torch.where(average == weight, average, torch.lerp(average, weight, 1 - decay)))
