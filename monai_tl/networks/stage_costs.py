"""Multiply-adds of each stage, counted by PyTorch in one forward pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from monai_tl.networks.stage_map import StageMap
from monai_tl.networks.trial_pass import trial_pass


class StageCosts:
    """Operations by stage: what is counted between the begin and the end of a module belongs to the innermost stage.

    What belongs to no module of a stage, such as a product in the network's own ``forward``, belongs to the stage before it.
    """

    def __init__(self, found: StageMap) -> None:
        """Start at nothing."""
        self.found = found

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count one forward pass; what was counted before is forgotten."""
        self.operations, self.before, self.open = Counter[str](), 0, list[str]()
        with FlopCounterMode(display=False) as self.counter:
            yield

    def begin(self, names: list[str], module: nn.Module, output: Any) -> None:
        """Note that a module begins."""
        self._settle()
        outer = self.open[-1] if self.open else self.found.names[0]
        self.open.append(next(filter(None, map(self.found.stage_of, names)), outer))

    def end(self, names: list[str], module: nn.Module, output: Any) -> None:
        """Note that a module ends."""
        self._settle()
        ended = self.open.pop()
        if self.open and not any(map(self.found.stage_of, names)):
            self.open[-1] = ended

    def _settle(self) -> None:
        total = self.counter.get_total_flops()
        if self.open:
            self.operations[self.open[-1]] += total - self.before
        self.before = total


def multiply_adds(network: nn.Module, found: StageMap) -> tuple[dict[str, int], int]:
    """Return each stage's multiply-adds per voxel of the image, rounded, and the edge of the cube that they were counted on.

    Counted are convolutions, matrix products and attention, as PyTorch counts them: a multiply-add is two operations. The size
    of the cube matters where attention spans the image.

    Raises:
        TransferError: if the network takes no cube.
    """
    costs = StageCosts(found)
    edge = trial_pass(network, costs.begin, costs.end, costs.counting)
    return {name: round(costs.operations[name] / 2 / edge**3) for name in found}, edge
