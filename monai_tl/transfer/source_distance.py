"""L2-SP: the distance of the weights to the source's as part of the loss."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from monai_tl.errors import ConfigError, TransferError


class LossWithSource(nn.Module):
    """Another loss plus ``alpha / 2 · ‖w − w₀‖²`` of transferred weights plus ``beta / 2 · ‖w‖²`` of fresh ones (L2-SP).

    w₀ are the weights when this loss is built, so build it after the transfer: a resumed run transfers again before it restores
    its weights. Only kernels of convolutions and linear layers, and other weights with two or more axes, are penalised, as in
    the authors' code; biases and norms are free. Frozen weights add nothing. The penalty is computed in float32.

    It replaces weight decay, which would pull the weights to 0: set the optimiser's to 0.

    Source: Li, Grandvalet and Davoine, "Explicit inductive bias for transfer learning with convolutional networks", 2018; alpha
    and beta are those of the authors' published command. They used SGD; Adam scales the penalty's gradient like the loss's.

    Args:
        loss: of logits and labels.
        network: after the transfer, on its device.
        fresh: names of the weights that have no source, as in `TransferPlan`; names of buffers are ignored.
        alpha: pull towards the starting weights, from 0.
        beta: pull of fresh weights towards 0, from 0.

    Attributes:
        penalty: the latest penalty, for reports; 0 before the first call.

    Raises:
        ConfigError: for a negative alpha or beta.
        TransferError: for a name that is no weight, if all weights are fresh, or if the network has low-rank adapters.

    Example:
        >>> import torch
        >>> from monai_tl.transfer.source_distance import LossWithSource
        >>> network = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1, bias=False))
        >>> loss = LossWithSource(torch.nn.MSELoss(), network, fresh=["1.weight"], alpha=0.1, beta=0)
        >>> with torch.no_grad():
        ...     _ = network[0].weight.add_(2)
        >>> round(loss(torch.zeros(1), torch.zeros(1)).item(), 4)  # 0.1 / 2 · 2²
        0.2
    """

    def __init__(
        self, loss: nn.Module, network: nn.Module, fresh: Collection[str], *, alpha: float = 0.1, beta: float = 0.01
    ) -> None:
        """Copy the weights."""
        super().__init__()
        for name, value in (("alpha", alpha), ("beta", beta)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise ConfigError(f"{name} takes a number from 0, e.g. 0.01; got {value!r}")
        self.loss, self.alpha, self.beta, self.penalty = loss, alpha, beta, torch.zeros(())
        # lists, as the network's weights are not this module's parameters
        self.transferred, self.fresh = _kernels(network, fresh)
        self.start = [weight.detach().float().clone() for weight in self.transferred]

    def forward(self, prediction: Any, label: Tensor) -> Tensor:
        """Return the loss with the penalty; the prediction is passed to the other loss as it is."""
        loss: Tensor = self.loss(prediction, label)
        penalty = torch.zeros((), device=loss.device)
        for weight, start in zip(self.transferred, self.start, strict=True):
            if weight.requires_grad:
                penalty = penalty + self.alpha / 2 * (weight.float() - start).square().sum()
        for weight in self.fresh:
            if weight.requires_grad:
                penalty = penalty + self.beta / 2 * weight.float().square().sum()
        self.penalty = penalty.detach()
        return loss + penalty


def _kernels(network: nn.Module, fresh: Collection[str]) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the weights with two or more axes: transferred ones, and fresh ones."""
    unknown = sorted(set(fresh) - set(network.state_dict()))
    if unknown:
        raise TransferError(f"fresh: the network has no weight '{unknown[0]}'")
    if any(parametrize.is_parametrized(module) for module in network.modules()):
        raise TransferError(
            "L2-SP penalises weights that are trained, but those of this network have low-rank adapters; omit one"
        )
    new = {id(weight) for name, weight in network.named_parameters(remove_duplicate=False) if name in fresh}
    kernels = [weight for weight in network.parameters() if weight.ndim > 1]
    transferred = [weight for weight in kernels if id(weight) not in new]
    if not transferred:
        raise TransferError("all weights are fresh, so there is no source to stay near: use a source, or omit L2-SP")
    return transferred, [weight for weight in kernels if id(weight) in new]
