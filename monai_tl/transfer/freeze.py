"""Hold stages still: no weight and no normalisation statistic of theirs changes, whatever calls ``.train()``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from monai_tl.errors import TransferError, did_you_mean
from monai_tl.networks.stage_names import resolve_freeze
from monai_tl.networks.stages import stages
from monai_tl.settings.table import refuse_settings

HELD = "monai_tl_held"  # where `freeze` notes on a network what it holds still
MASKED = "monai_tl_masked"  # marks a weight whose gradient is masked already


def freeze(
    network: nn.Module,
    frozen: int | str | Sequence[str],
    *,
    norm: str = "freeze",
    trained_inputs: Mapping[str, Sequence[int]] | None = None,
) -> None:
    """Freeze stages of a network, in place and in every copy; a second call freezes more, it releases nothing.

    Args:
        network: has the stages that `stages` lists.
        frozen: how many of the first stages, the name of the last one (``"res_1"``), or the names of all (``["conv_0"]``).
        norm: ``freeze`` also freezes buffers (BatchNorm statistics) and keeps the stages in evaluation mode; ``track``
            lets statistics follow the new data, as the 2019 study did: only parameters are frozen.
        trained_inputs: input channels of a frozen weight that are trained all the same, ``{"conv_0.conv.weight": [1]}``: a new
            modality would never be seen otherwise. The other channels get no gradient.

    Raises:
        ConfigError, TransferError: for an unknown ``norm`` or stage, before the network is touched.

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
    existing = stages(network)
    frozen = resolve_freeze(list(existing), frozen) if isinstance(frozen, int | str) else frozen
    for name in frozen:
        if name not in existing:
            raise TransferError(f"no stage is called '{name}': {did_you_mean(name, existing)}")
    held: dict[str, Tensor | None] = dict(getattr(network, HELD, {}))
    for name in frozen:
        stage = existing[name]
        stage.requires_grad_(False)
        held.update({f"{name}.{key}": None for key, _ in stage.named_parameters()})
        if norm == "freeze":
            held.update({f"{name}.{key}": None for key, _ in stage.named_buffers()})
            _stay_in_evaluation_mode(stage)
    for name, channels in (trained_inputs or {}).items():
        held[name] = _train_only(network, name, channels)
    setattr(network, HELD, held)


def frozen_values(network: nn.Module) -> dict[str, Tensor]:
    """Copy every value that `freeze` promised not to change, on the CPU, by name.

    Of a weight of which some input channels are trained, the values of the others, in one row.

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
    values = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    held: dict[str, Tensor | None] = getattr(network, HELD, {})
    copies = {name: values[name].detach().cpu().clone() for name in held}
    return {name: copies[name] if mask is None else copies[name][~mask.expand_as(copies[name])] for name, mask in held.items()}


def frozen_sha256(network: nn.Module) -> str:
    """Return the sha256 of all frozen values, to compare them bit for bit across runs and resumptions."""
    digest = hashlib.sha256()
    for name, value in frozen_values(network).items():
        digest.update(name.encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def partly_frozen(network: nn.Module) -> set[str]:
    """Name the weights of which some input channels are trained and the others frozen."""
    held: dict[str, Tensor | None] = getattr(network, HELD, {})
    return {name for name, mask in held.items() if mask is not None}


def _stay_in_evaluation_mode(stage: nn.Module) -> None:
    # On the module itself: MONAI's trainer calls network.train() in every iteration, after every event a handler could use.
    for module in stage.modules():
        module.eval()
        module.train = partial(_no_training_mode, module)  # type: ignore[method-assign]  # a partial is copied with its module


def _no_training_mode(module: nn.Module, mode: bool = True) -> nn.Module:
    return module


def _train_only(network: nn.Module, name: str, channels: Sequence[int]) -> Tensor:
    """Let only some input channels of a weight learn; returns the mask of the trained ones, ``(1, in, 1, 1, 1)``."""
    path, _, key = name.rpartition(".")
    module, weight = network.get_submodule(path), network.get_parameter(name)
    mask = torch.zeros(1, weight.shape[1], *[1] * (weight.ndim - 2), dtype=torch.bool)
    mask[:, list(channels)] = True
    weight.requires_grad_(True)
    module.register_forward_pre_hook(partial(_mask_gradient, key=key, mask=mask))
    return mask


def _mask_gradient(module: nn.Module, inputs: Any, *, key: str, mask: Tensor) -> None:
    # In each forward pass, since a copy of a module gets its hooks, but a copy of a weight does not.
    weight = getattr(module, key)
    if getattr(weight, MASKED, None) != id(weight):
        weight.register_hook(lambda gradient: gradient.masked_fill(~mask.to(gradient.device), 0.0))
        setattr(weight, MASKED, id(weight))
