"""Which weights depend on the number of image channels or of classes: found by building a network again with other numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from monai_tl.errors import TransferError
from monai_tl.networks.stages import stage_weights

Shaped = Mapping[str, Tensor]


@dataclass(frozen=True)
class Ports:
    """The weights at both ends of a network, by name, with the axes that count channels.

    Attributes:
        inputs: weight -> axes whose length depends on the number of image channels, e.g. ``{"conv_0.conv.weight": (1,)}``.
        outputs: weight -> axes whose length depends on the number of classes: 0 in a convolution, 1 in a transposed one, both
            if the last convolution follows another one with as many channels.
    """

    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]


def find_ports(network: nn.Module) -> Ports:
    """Find the input kernels and the output layers of a network that can be built again with other numbers of channels.

    Args:
        network: with a method ``rebuild(more_inputs, more_outputs)``, as `monai_tl.networks.build.build_network` adds it: it
            returns the same network with other numbers of channels.

    Raises:
        TransferError: if the network cannot be built again.

    Example:
        >>> from monai_tl import HighRes3DNet
        >>> from monai_tl.networks.ports import find_ports
        >>> find_ports(HighRes3DNet(in_channels=2, out_channels=2))
        Ports(inputs={'conv_0.conv.weight': (1,)}, outputs={'conv_2.conv.weight': (0,), 'conv_2.conv.bias': (0,)})
    """
    rebuild: Callable[[bool, bool], nn.Module] | None = getattr(network, "rebuild", None)
    if rebuild is None:
        raise TransferError(
            f"{type(network).__name__} cannot be built with other numbers of channels, so its input kernels are unknown: build "
            "it by monai_tl.build_network('CLASS', in_channels=…, out_channels=…)"
        )
    same = rebuild(False, False).state_dict()  # not the network itself, which may have been changed since it was built
    names = [name for own in stage_weights(network).values() for name in own if name in same]
    inputs, outputs = (_other_axes(names, same, rebuild(*more).state_dict()) for more in ((True, False), (False, True)))
    return Ports(inputs, outputs)


def _other_axes(names: Iterable[str], same: Shaped, other: Shaped) -> dict[str, tuple[int, ...]]:
    """Return the axes in which weights of two networks differ in length, by name."""
    differing = {
        name: tuple(axis for axis, length in enumerate(same[name].shape) if length != other[name].shape[axis]) for name in names
    }
    return {name: axes for name, axes in differing.items() if axes}
