"""Low-rank adapters (LoRA): frozen kernels learn a change of low rank, which is merged into them when weights are saved."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from monai_tl.errors import ConfigError, TransferError
from monai_tl.networks.stages import stage_weights
from monai_tl.networks.stages import stages as stages_of
from monai_tl.transfer.freeze import FROZEN, freeze, frozen_values, partly_frozen

FACTORS = ".parametrizations."  # in the names of an adapted layer's weights
ROUNDING = 1e-3  # singular values below this fraction of the largest are rounding, also where a GPU multiplies in TF32


class LowRankChange(nn.Module):
    """A trained change of a frozen weight, ``alpha / rank * up @ down``, registered as the weight's parametrization.

    A weight is taken as a matrix of its first axis against all others. In a convolution it is out × (in · i · j · k), so the
    change is a convolution with ``rank`` outputs followed by one of 1×1×1; grouped and transposed convolutions and linear
    layers are matrices alike. ``up`` is 0 at the start, so the weight is unchanged then.

    Args:
        weight: to be changed, (out, in, …).
        rank: of the change, at most the smaller side of the matrix.
        scale: ``alpha / rank``.
    """

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        """Draw ``down`` as Hu et al.'s code does, from torch's random state."""
        super().__init__()
        self.scale = scale
        self.down = nn.Parameter(weight.new_empty(rank, weight[0].numel()))
        self.up = nn.Parameter(weight.new_zeros(len(weight), rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the changed weight, in the number format and memory layout of the frozen one, also under autocast."""
        kind = weight.device.type
        # a network without values ("meta", on which its sizes of images are found) has no autocast to disable
        with torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext():
            return weight + (self.scale * (self.up @ self.down)).view(weight.shape)


@dataclass(frozen=True)
class Adapters:
    """What `add_lora` did; printed, it is a summary.

    Attributes:
        rank, alpha: as asked; a change is scaled by ``alpha / rank``.
        ranks: adapted weight -> rank of its change: ``rank``, or less in a layer that is smaller than that.
        left_out: frozen kernels and other arrays of the adapted stages that have no adapter, such as position embeddings.
        adapter_parameters: number of the adapters' parameters.
        trainable: number of all trainable parameters of the network, those of stages without adapters included.
        parameters: number of parameters of the network without adapters.
    """

    rank: int
    alpha: float
    ranks: Mapping[str, int]
    left_out: tuple[str, ...]
    adapter_parameters: int
    trainable: int
    parameters: int

    def __str__(self) -> str:
        """Return a line on the adapters, and one each on what differs from the rank asked for."""
        smaller = [name for name, rank in self.ranks.items() if rank < self.rank]
        lines = [
            f"LoRA of rank {self.rank} (alpha {self.alpha:g}) on {len(self.ranks)} weights: {self.adapter_parameters:,} "
            f"parameters; with stages without adapters {self.trainable:,} of {self.parameters:,} are trainable",
        ]
        if smaller:
            lines.append(f"of a lower rank, as the layer has no more: {', '.join(smaller)}")
        if self.left_out:
            lines.append(f"frozen, without an adapter: {', '.join(self.left_out)}")
        return "\n".join(lines)


def add_lora(
    network: nn.Module,
    rank: int,
    *,
    alpha: float | None = None,
    stages: Sequence[str] | None = None,
    norm: str = "freeze",
) -> Adapters:
    """Freeze stages of a network and let the kernels of their convolutions and linear layers learn a low-rank change, in place.

    The network computes the same as before. Biases, norms and BatchNorm statistics of the stages are frozen too; all other
    stages, such as a new head, are left as they are. Weights with some trained input channels (see `freeze`) get no adapter.
    Names of weights change while adapters are there; `merged_state` returns the ordinary ones.

    Source: Hu et al., "LoRA", 2021; in 3D segmentation Silva-Rodríguez et al., "FSEFT", 2025, whose code has rank 4
    and no scaling.

    Args:
        network: a network with the stages that `monai_tl.networks.stages.stages` lists.
        rank: of the changes. A layer that is smaller than that gets what it has.
        alpha: the changes are scaled by ``alpha / rank``. None: ``rank``, so not at all; Hu et al. do not tune it either.
        stages: names of stages and groups of stages (``["encoder"]``). None: all but the head.
        norm: as in `freeze`.

    Raises:
        ConfigError: for a rank or alpha out of range.
        TransferError: for an unknown stage, if the network has adapters already, or if nothing can be adapted.

    Example:
        >>> from monai_tl import HighRes3DNet
        >>> from monai_tl.transfer.lora import add_lora, merged_state
        >>> network = HighRes3DNet(in_channels=1, out_channels=2)
        >>> names = set(network.state_dict())
        >>> adapters = add_lora(network, rank=4)
        >>> adapters.ranks["conv_0.conv.weight"], adapters.left_out
        (4, ())
        >>> set(merged_state(network)) == names
        True
    """
    _refuse_numbers(rank, alpha)
    if dict(_adapted(network)):
        raise TransferError("the network has low-rank adapters already; merge them first, by remove_lora")
    found, members = stages_of(network), stage_weights(network)
    chosen = found.names[:-1] if stages is None else found.expand(stages)
    names = [name for stage in chosen for name in members[stage]]
    layers = {name: layer for name in names if (layer := _layer(network, name)) and name not in partly_frozen(network)}
    layers = _without_shared(network, layers)
    sizes = {name: min(len(layer.weight), layer.weight[0].numel()) for name, layer in layers.items()}
    if not any(rank <= size for size in sizes.values()):
        largest = f"at most {max(sizes.values())}" if sizes else "no convolution or linear layer to adapt"
        raise TransferError(f"rank {rank}: the stages {', '.join(chosen)} have {largest}")
    parameters = sum(p.numel() for p in network.parameters())
    freeze(network, [stage for stage in chosen if not _is_frozen(network, members[stage])], norm=norm)
    scale = (rank if alpha is None else alpha) / rank
    for name, layer in layers.items():
        change = LowRankChange(layer.weight, min(rank, sizes[name]), scale)
        parametrize.register_parametrization(layer, "weight", change)
    trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
    ranks = {name: min(rank, size) for name, size in sizes.items()}
    added = sum(p.numel() for p in network.parameters()) - parameters
    left_out = tuple(name for name in names if name not in layers and _is_frozen_kernel(network, name))
    return Adapters(rank, scale * rank, ranks, left_out, added, trainable, parameters)


def merged_state(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a network as an ordinary one of its class has them: same names, same order, adapters merged.

    Of a network without adapters it is ``state_dict()``.
    """
    state = network.state_dict()
    adapted = dict(_adapted(network))
    if not adapted:
        return state
    layers = {id(layer): layer for layer in adapted.values()}
    merged = {key: layer.weight.detach() for key, layer in layers.items()}  # shared layers: one weight under all its names
    ordinary: dict[str, Tensor] = {}
    for name, value in state.items():
        path = name.split(FACTORS)[0] if FACTORS in name else name.rpartition(".")[0]
        if path in adapted:
            ordinary.setdefault(f"{path}.weight", merged[id(adapted[path])])
        if path not in adapted or FACTORS not in name:
            ordinary[name] = value
    return ordinary


def remove_lora(network: nn.Module) -> None:
    """Merge the adapters into the weights, in place: an ordinary network remains, with the same outputs.

    The merged weights no longer count as frozen, as they differ from the source's.
    """
    frozen: dict[str, Tensor | None] = getattr(network, FROZEN, {})
    for path, layer in list(_adapted(network)):
        frozen.pop(f"{path}.weight", None)
        if parametrize.is_parametrized(layer, "weight"):  # not yet removed under another name
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def load_merged(network: nn.Module, state: Mapping[str, Any]) -> list[str]:
    """Load weights as `merged_state` returns them, and return the names of frozen weights and buffers that they change.

    A frozen value may not change by a bit, an adapted weight only by a change of its adapter's rank. The network's adapters
    are removed.

    Args:
        network: with frozen stages, and with adapters if the weights were trained with some.
        state: ordinary weights by name.
    """
    before = frozen_values(network)
    bases = {
        path: (_change_of(layer), layer.parametrizations.weight.original.detach().clone()) for path, layer in _adapted(network)
    }
    remove_lora(network)
    network.load_state_dict(state)
    changed = [name for name, value in frozen_values(network).items() if not _same_bits(value, before[name])]
    for path, (change, base) in bases.items():
        if change_rank(base, network.get_parameter(f"{path}.weight").detach()) > len(change.down):
            changed.append(f"{path}.weight")
    return changed


def change_rank(before: Tensor, after: Tensor) -> int:
    """Return the rank of a weight's change, as a matrix of its first axis against all others, apart from rounding.

    Example:
        >>> import torch
        >>> from monai_tl.transfer.lora import change_rank
        >>> weight = torch.randn(8, 4, 3, 3, 3)
        >>> change_rank(weight, weight + (torch.randn(8, 2) @ torch.randn(2, 108)).view_as(weight))
        2
    """
    change = (after.double() - before.double()).flatten(1)
    square = change @ change.T if len(change) <= change.shape[1] else change.T @ change
    values = torch.linalg.eigvalsh(square).clamp(min=0).sqrt()  # singular values of the change
    rounding = torch.finfo(torch.float32).eps * (before.norm() + after.norm()) + ROUNDING * values.max()
    return int((values > rounding).sum())


def _refuse_numbers(rank: int, alpha: float | None) -> None:
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        raise ConfigError(f"rank takes a whole number from 1, e.g. 8; got {rank!r}")
    if alpha is not None and not (isinstance(alpha, int | float) and 0 < alpha < math.inf):
        raise ConfigError(f"alpha takes a number above 0, e.g. 8; got {alpha!r}")


def _layer(network: nn.Module, name: str) -> Any:
    """Return the convolution or linear layer to which a weight belongs; None for other weights."""
    path, _, key = name.rpartition(".")
    layer = network.get_submodule(path)
    fits = isinstance(layer, _ConvNd | nn.Linear) and key == "weight" and key in layer._parameters
    return layer if fits else None


def _without_shared(network: nn.Module, layers: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out weights that several modules share: adapting one module would part them."""
    owners: dict[int, int] = {}
    for module in network.modules():
        for parameter in module._parameters.values():
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    return {name: layer for name, layer in layers.items() if owners[id(layer.weight)] == 1}


def _is_frozen(network: nn.Module, names: Sequence[str]) -> bool:
    """Return whether all parameters of some weights and buffers are frozen, apart from new input channels."""
    parameters, partly = dict(network.named_parameters(remove_duplicate=False)), partly_frozen(network)
    return not any(name in parameters and parameters[name].requires_grad and name not in partly for name in names)


def _is_frozen_kernel(network: nn.Module, name: str) -> bool:
    parameter = dict(network.named_parameters(remove_duplicate=False)).get(name)
    return parameter is not None and parameter.ndim > 1


def _adapted(network: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the layers with an adapter, under each of their names."""
    for path, module in network.named_modules(remove_duplicate=False):
        if parametrize.is_parametrized(module, "weight") and isinstance(_change_of(module), LowRankChange):
            yield path, module


def _change_of(layer: Any) -> Any:
    return layer.parametrizations.weight[-1]


def _same_bits(one: Tensor, other: Tensor) -> bool:
    return torch.equal(*(value.contiguous().reshape(-1).view(torch.uint8) for value in (one, other)))
