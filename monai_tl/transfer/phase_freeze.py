"""Freeze stages for a while, and release exactly what was frozen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from monai_tl.networks.moving_statistics import resume_moving_statistics
from monai_tl.transfer.freeze import FROZEN, freeze

LOCK = "train"  # the method that `freeze` replaces on a module to keep it in evaluation mode


@contextmanager
def stages_frozen(network: nn.Module, frozen: Sequence[str], *, norm: str = "freeze") -> Iterator[None]:
    """Freeze stages of a network while the context is open; what was frozen before stays frozen afterwards.

    On leaving, weights require gradients as before, ``network.train()`` reaches all modules as before, and the released modules
    are in the network's mode. Gradients of the frozen weights are set to None, so that an optimiser which knows these weights
    neither moves nor decays them, and keeps their state.

    Args:
        network: a network with the stages that `monai_tl.networks.stages.stages` lists.
        frozen: names of stages; none freezes nothing.
        norm: ``freeze`` or ``track``, see `monai_tl.transfer.freeze.freeze`.

    Raises:
        ConfigError, TransferError: for an unknown ``norm`` or stage; the network is unchanged then.

    Example:
        >>> from monai_tl import HighRes3DNet
        >>> from monai_tl.transfer.phase_freeze import stages_frozen
        >>> network = HighRes3DNet(in_channels=1, out_channels=2)
        >>> with stages_frozen(network, ["conv_0"]):
        ...     network.train().conv_0.training, network.conv_0.conv.weight.requires_grad
        (False, False)
        >>> network.conv_0.training, network.conv_0.conv.weight.requires_grad
        (True, True)
    """
    parameters = {parameter: parameter.requires_grad for parameter in network.parameters()}
    locks = {module: module.__dict__.get(LOCK) for module in network.modules()}
    before = network.__dict__.get(FROZEN)
    freeze(network, list(frozen), norm=norm)
    for parameter in parameters:
        if not parameter.requires_grad:
            parameter.grad = None
    try:
        yield
    finally:
        for parameter, required in parameters.items():
            parameter.requires_grad_(required)
        for module, lock in locks.items():
            if lock is None and module.__dict__.pop(LOCK, None) is not None:
                module.training = network.training
                resume_moving_statistics(module)
        if before is None:
            delattr(network, FROZEN)
        else:
            setattr(network, FROZEN, before)
