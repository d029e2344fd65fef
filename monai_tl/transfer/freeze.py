"""Freeze stages: none of their weights and BatchNorm statistics changes, even if ``.train()`` is called."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from monai_tl.networks.moving_statistics import stop_moving_statistics
from monai_tl.networks.stage_names import resolve_freeze
from monai_tl.networks.stages import parts_of_stages, stages
from monai_tl.settings.table import refuse_settings

FROZEN = "monai_tl_frozen"  # attribute of a network in which `freeze` lists the frozen weights and buffers
ADAPTED = ".parametrizations.weight.original"  # end of a frozen weight's name if its layer has an adapter, see `add_lora`
MASKED = "monai_tl_masked"  # attribute of a weight whose gradient is already masked


def freeze(
    network: nn.Module,
    frozen: int | str | Sequence[str],
    *,
    norm: str = "freeze",
    trained_inputs: Mapping[str, Sequence[int]] | None = None,
) -> None:
    """Freeze stages of a network and of every later copy of it, in place; a second call freezes further stages.

    Args:
        network: a network with the stages that `stages` lists.
        frozen: the number of first stages, the name of the last one (``"res_1"``), some stages joined by a plus sign
            (``"conv_0+res_2"``), or a list of stages and groups of stages (``["conv_0"]``, ``["encoder"]``).
        norm: ``freeze`` also freezes buffers (BatchNorm statistics) and keeps the stages in evaluation mode. ``track``
            freezes only parameters: statistics follow the new data, as in the 2019 study.
        trained_inputs: input channels of a frozen weight that are trained nevertheless, such as
            ``{"conv_0.conv.weight": [1]}`` for a new modality. The other channels get no gradient.

    Raises:
        ConfigError, TransferError: for an unknown ``norm`` or stage; the network is unchanged then.

    Example:
        >>> from monai_tl import HighRes3DNet, freeze
        >>> network = HighRes3DNet(in_channels=1, out_channels=2)
        >>> freeze(network, 2)
        >>> [name for name, stage in network.named_children() if not any(p.requires_grad for p in stage.parameters())]
        ['conv_0', 'res_1']
        >>> network.train().res_1.training  # frozen stages stay in evaluation mode
        False
    """
    refuse_settings(norm=norm)
    found = stages(network)
    chosen = resolve_freeze(found, frozen) if isinstance(frozen, int | str) else found.expand(frozen)
    masks: dict[str, Tensor | None] = dict(getattr(network, FROZEN, {}))
    modules = parts_of_stages(network.named_modules(remove_duplicate=False), found, chosen if norm == "freeze" else ())
    stop_moving_statistics(modules)
    for name, parameter in parts_of_stages(network.named_parameters(remove_duplicate=False), found, chosen).items():
        parameter.requires_grad_(False)
        masks[name] = None
    if norm == "freeze":
        masks.update(dict.fromkeys(parts_of_stages(network.named_buffers(remove_duplicate=False), found, chosen)))
        for module in modules.values():
            _stay_in_evaluation_mode(module)
    for name, channels in (trained_inputs or {}).items():
        masks[name] = _train_only(network, name, channels)
    setattr(network, FROZEN, masks)


def frozen_values(network: nn.Module) -> dict[str, Tensor]:
    """Return a copy of every frozen weight and buffer, on the CPU, by name.

    For a weight with some trained input channels, the copy holds only the other channels' values, flattened.

    Example:
        >>> import torch
        >>> from monai_tl import HighRes3DNet, freeze, frozen_values, parameter_groups
        >>> network = HighRes3DNet(in_channels=1, out_channels=2)
        >>> freeze(network, "res_1")
        >>> before = frozen_values(network)
        >>> optimizer = torch.optim.AdamW(parameter_groups(network, learning_rate=1e-2))
        >>> network.train()(torch.randn(1, 1, 8, 8, 8)).square().mean().backward()
        >>> optimizer.step()
        >>> all(torch.equal(value, before[name]) for name, value in frozen_values(network).items())
        True
    """
    values: dict[str, Tensor] = dict(network.named_parameters(remove_duplicate=False))
    values |= dict(network.named_buffers(remove_duplicate=False))
    values = {name.replace(ADAPTED, ".weight"): value for name, value in values.items()}
    masks: dict[str, Tensor | None] = getattr(network, FROZEN, {})
    copies = {name: values[name].detach().cpu().clone() for name in masks}
    return {name: copies[name] if mask is None else copies[name][~mask.expand_as(copies[name])] for name, mask in masks.items()}


def frozen_sha256(network: nn.Module) -> str:
    """Return the SHA-256 of all frozen values, for bit-for-bit comparison across runs and after a resume."""
    digest = hashlib.sha256()
    for name, value in frozen_values(network).items():
        digest.update(name.encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def partly_frozen(network: nn.Module) -> set[str]:
    """Return the names of the weights with both trained and frozen input channels."""
    masks: dict[str, Tensor | None] = getattr(network, FROZEN, {})
    return {name for name, mask in masks.items() if mask is not None}


def _stay_in_evaluation_mode(module: nn.Module) -> None:
    # Set on the module itself: MONAI's trainer calls network.train() in every iteration, after all events open to handlers.
    module.training = False
    module.train = partial(_no_training_mode, module)  # type: ignore[method-assign]  # a partial is copied with its module


def _no_training_mode(module: nn.Module, mode: bool = True) -> nn.Module:
    for child in module.children():  # of which some may belong to a trained stage
        child.train(mode)
    return module


def _train_only(network: nn.Module, name: str, channels: Sequence[int]) -> Tensor:
    """Train only some input channels of a weight; return the mask of the trained ones, ``(1, in, 1, 1, 1)``."""
    path, _, key = name.rpartition(".")
    module, weight = network.get_submodule(path), network.get_parameter(name)
    mask = torch.zeros(1, weight.shape[1], *[1] * (weight.ndim - 2), dtype=torch.bool)
    mask[:, list(channels)] = True
    weight.requires_grad_(True)
    module.register_forward_pre_hook(partial(_mask_gradient, key=key, mask=mask))
    return mask


def _mask_gradient(module: nn.Module, inputs: Any, *, key: str, mask: Tensor) -> None:
    # Registered in each forward pass: copying a module copies the module's hooks, but not the hooks of its weights.
    weight = getattr(module, key)
    if getattr(weight, MASKED, None) != id(weight):
        weight.register_hook(lambda gradient: gradient.masked_fill(~mask.to(gradient.device), 0.0))
        setattr(weight, MASKED, id(weight))
