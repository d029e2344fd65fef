"""Which weights depend on the number of image channels or of classes: found by building a network again with other numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from monai_tl.errors import TransferError
from monai_tl.networks.stages import stage_weights
from monai_tl.networks.trial_pass import channels_of


@dataclass(frozen=True)
class Ports:
    """The weights at both ends of a network, by name, with the axes that count channels.

    Attributes:
        inputs: weight -> axes whose length depends on the number of image channels, e.g. ``{"conv_0.conv.weight": (1,)}``.
        outputs: weight -> axes whose length depends on the number of classes: 0 in a convolution, 1 in a transposed one, both
            if the last convolution follows another one with as many channels.
        images: weight -> axes of further layers that return as many channels as the image has, as those of an autoencoder.
        several: weight among these -> how often its axis counts each channel, if that is not once, as in the patch embedding of
            a perceptron (once for each voxel of a patch). Such a weight cannot be taken apart by channel.
    """

    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]
    images: Mapping[str, tuple[int, ...]] = field(default_factory=dict, repr=False)
    several: Mapping[str, int] = field(default_factory=dict, repr=False)


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
    same = rebuild(False, False)  # not the network itself, which may have been changed since it was built
    names = [name for own in stage_weights(network).values() for name in own]
    both = axes_that_differ(same, rebuild(True, False), names)
    inputs = {name: axes for name, axes in both.items() if axes != (0,)}
    outputs = axes_that_differ(same, rebuild(False, True), names)
    images = {name: axes for name, axes in both.items() if name not in inputs}
    return Ports(inputs, outputs, images, _counted_several_times(same, channels_of(network), inputs, outputs))


def axes_that_differ(network: nn.Module, other: nn.Module, names: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Return the axes in which weights and buffers of two networks differ in length, by name."""
    ours, theirs = network.state_dict(), other.state_dict()
    differing = {
        name: tuple(axis for axis, length in enumerate(ours[name].shape) if length != theirs[name].shape[axis])
        for name in names
        if name in ours and isinstance(ours[name], torch.Tensor)
    }
    return {name: axes for name, axes in differing.items() if axes}


def _counted_several_times(
    network: nn.Module,
    channels: tuple[int, int] | None,
    inputs: Mapping[str, tuple[int, ...]],
    outputs: Mapping[str, tuple[int, ...]],
) -> dict[str, int]:
    weights = network.state_dict()
    if channels is None:
        return {}
    lengths = [
        (name, weights[name].shape[axis], count)
        for port, count in ((inputs, channels[0]), (outputs, channels[1]))
        for name, axes in port.items()
        for axis in axes
    ]
    return {name: length // count for name, length, count in lengths if length != count}
