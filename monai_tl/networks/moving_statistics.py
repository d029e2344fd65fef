"""Layers whose statistics move even in evaluation mode, as in Models Genesis and SuPreM: they are stopped, or refused."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from monai_tl.errors import TransferError

MOMENTUM = "monai_tl_momentum"  # attribute of a stopped layer: its own momentum
NormLayer = nn.modules.batchnorm._NormBase


def stop_moving_statistics(modules: Mapping[str, nn.Module]) -> None:
    """Stop the running statistics of layers that normalise by the batch in evaluation mode too (``ContBatchNorm3d``).

    A layer is tried on random numbers: if its buffers change in evaluation mode, its momentum becomes 0, with which they stay
    as they are, bit for bit. Its output follows the batch as before.

    Args:
        modules: the layers to be frozen, by name; those of PyTorch need no trial.

    Raises:
        TransferError: if the statistics of a layer move all the same; no layer is changed then.
    """
    moving = {name: module for name, module in modules.items() if isinstance(module, NormLayer) and _moves(module)}
    for name, module in moving.items():
        momentum = module.momentum
        module.momentum = 0.0
        stopped = not _moves(module)
        module.momentum = momentum
        if not stopped:
            raise TransferError(
                f"{name} ({type(module).__name__}) changes its statistics in evaluation mode, whatever its momentum, so its "
                "stage cannot be frozen; --norm track freezes weights alone"
            )
    for module in moving.values():
        setattr(module, MOMENTUM, module.momentum)
        module.momentum = 0.0


def resume_moving_statistics(module: nn.Module) -> None:
    """Give a layer back the momentum that `stop_moving_statistics` took from it, when it is trained again."""
    if hasattr(module, MOMENTUM):
        module.momentum = getattr(module, MOMENTUM)
        delattr(module, MOMENTUM)


def _moves(module: NormLayer) -> bool:
    """Return whether the buffers of a layer change in evaluation mode; the layer and torch's random state stay as they were."""
    if type(module).__module__.startswith("torch."):
        return False
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    state, training = torch.get_rng_state(), module.training
    module.training = False
    try:
        device = next((tensor.device for tensor in [*module.parameters(), *module.buffers()]), torch.device("cpu"))
        with torch.no_grad():
            module(torch.randn(2, module.num_features, 4, 4, 4).to(device))
        return any(not torch.equal(buffer, buffers[name]) for name, buffer in module.named_buffers())
    finally:
        module.training = training
        torch.set_rng_state(state)
        for name, buffer in module.named_buffers():
            buffer.copy_(buffers[name])
