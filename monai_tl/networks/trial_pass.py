"""One forward pass of a network on a cube, without its weights' values, to see which layers run and what they cost."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from monai_tl.errors import TransferError, first_line

EDGES = (64, 96, 128, 32, 48, 16)  # voxels; several networks take only multiples of 32, or one size
ON_CPU = (32, 64, 16, 96)

Watch = Callable[[list[str], nn.Module, Any], None]
"""Called with all names of a module, the module, and its output; None when it begins."""


def trial_pass(
    network: nn.Module, begin: Watch, end: Watch, around: Callable[[], AbstractContextManager[Any]] = nullcontext
) -> int:
    """Apply a copy of a network in evaluation mode to one cube, on PyTorch's meta device, where nothing is computed.

    A network that does not run there runs on the CPU, on a smaller cube. The network itself is unchanged. Returns the edge of
    the cube, in voxels.

    Args:
        network: takes ``(1, in_channels, i, j, k)``.
        begin: called when a module begins.
        end: called when a module ends.
        around: makes a context of each attempt; if that fails, the next one starts with a fresh context.

    Raises:
        TransferError: if the network takes no cube of 16 to 128 voxels; with its reason for the first one.
    """
    refusal: Exception | None = None
    for device, edges in (("meta", EDGES), ("cpu", ON_CPU)):
        twin = _watched(copy.deepcopy(network).to(device).eval(), begin, end)
        for edge in edges:
            for channels in _channels_to_try(network):
                try:
                    with torch.no_grad(), around():
                        twin(torch.zeros(1, channels, edge, edge, edge, device=device))
                except Exception as error:  # a network may refuse a size by any error
                    refusal = refusal or error
                else:
                    return edge
    assert refusal is not None
    raise TransferError(
        f"{type(network).__name__} takes no cube of {min(EDGES)} to {max(EDGES)} voxels, so the order of its layers is unknown "
        f"({first_line(refusal)}): declare its stages, stage -> prefixes of weight names"
    )


def channels_of(network: nn.Module) -> tuple[int, int] | None:
    """Return the numbers of image channels and of classes that a network was built with; None if it does not say."""
    found = getattr(getattr(network, "rebuild", None), "channels", None) or getattr(network, "channels", None)
    ours = hasattr(network, "rebuild") and isinstance(found, tuple) and len(found) == 2
    return found if ours else None


def _channels_to_try(network: nn.Module) -> Iterator[int]:
    if known := channels_of(network):
        yield known[0]
        return
    first = next((m for m in network.modules() if isinstance(m, nn.Conv3d)), None)
    yield from dict.fromkeys([*([first.in_channels] if first else []), 1, 2, 3, 4])


def _watched(network: nn.Module, begin: Watch, end: Watch) -> nn.Module:
    names: dict[nn.Module, list[str]] = {}
    for name, module in network.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    for module, own in names.items():
        module.register_forward_pre_hook(lambda module, inputs, own=own: begin(own, module, None), prepend=True)
        module.register_forward_hook(lambda module, inputs, output, own=own: end(own, module, output))
    return network


def spatial_size(output: Any) -> int | None:
    """Return the number of positions of a feature map, ``(batch, channels, i, j, k)``; None of anything else."""
    return output[0, 0].numel() if isinstance(output, Tensor) and output.ndim == 5 else None
