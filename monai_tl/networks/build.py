"""Build a network by name: one of the known ones, or a class in a user's own module."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import nn

from monai_tl.errors import ConfigError, did_you_mean, first_line
from monai_tl.networks.known import KNOWN_NETWORKS, KnownNetwork
from monai_tl.networks.stage_map import StageMap

MORE = (1, 2, 4, 8, 16)  # channels added to find the input kernels: some networks take only multiples of a number


def build_network(
    network: str | Callable[..., nn.Module],
    in_channels: int,
    out_channels: int,
    *,
    stages: Mapping[str, Sequence[str]] | None = None,
    **settings: Any,
) -> nn.Module:
    """Build a network whose weights can be transferred: its stages, input kernels and output layers are known.

    Args:
        network: name of a known network, e.g. ``"SegResNet"``, the dotted path of a class, e.g. ``"my_package.MyNet"``, or a
            function that is called as ``network(in_channels, out_channels, **settings)``.
        in_channels: number of image channels.
        out_channels: number of classes.
        stages: stage -> prefixes of weight names, the head last; None: as `monai_tl.networks.stages.stages` finds them.
        settings: arguments of the class, e.g. ``init_filters=16``.

    Returns:
        The network, with a method ``rebuild(more_inputs, more_outputs)`` that builds it with other numbers of channels.

    Raises:
        ConfigError: for an unknown name or setting, or if the class refuses the settings.
        TransferError: for invalid stages.

    Example:
        >>> from monai_tl import build_network, stages
        >>> network = build_network("SegResNet", in_channels=1, out_channels=3, init_filters=16)
        >>> stages(network).decoder
        ('dec_2', 'dec_1', 'dec_0')
    """
    if callable(network):
        build = partial(_instance, network, None, settings)
    else:
        known = KNOWN_NETWORKS.get(network) or KnownNetwork(network, None)
        kind = _class_at(known, network)
        _refuse_unknown_settings(kind, known, network, settings)
        build = partial(_instance, kind, known.channels, {**known.settings, **settings})
    built = build(in_channels, out_channels)
    if stages is not None:
        built.stage_map = StageMap({name: tuple(own) for name, own in stages.items()})  # type: ignore[assignment]
    built.rebuild = partial(_rebuilt, build, in_channels, out_channels)  # type: ignore[assignment]
    return built


def _class_at(known: KnownNetwork, name: str) -> Callable[..., nn.Module]:
    module, _, kind = known.path.rpartition(".")
    if not module:
        raise ConfigError(
            f"no network is called '{name}': {did_you_mean(name, KNOWN_NETWORKS)}; a class of your own is named with its "
            "module, e.g. my_package.MyNet"
        )
    try:
        found = getattr(import_module(module), kind, None)
    except ImportError as error:
        install = f"; install it by pip install 'monai_tl[{known.extra}]'" if known.extra else ""
        raise ConfigError(f"network '{name}': {module} cannot be imported ({first_line(error)}){install}") from error
    if not callable(found):
        raise ConfigError(f"network '{name}': {module} has no class {kind}")
    return found


def _refuse_unknown_settings(
    kind: Callable[..., nn.Module], known: KnownNetwork, name: str, settings: Mapping[str, Any]
) -> None:
    taken = inspect.signature(kind).parameters
    if any(one.kind is one.VAR_KEYWORD for one in taken.values()):
        return
    for key in (*known.channels, *settings):
        if key not in taken:
            raise ConfigError(f"network '{name}' takes no argument '{key}': {did_you_mean(key, taken)}")


def _instance(
    kind: Callable[..., nn.Module],
    channels: tuple[str, str] | None,
    settings: Mapping[str, Any],
    in_channels: int,
    out_channels: int,
) -> nn.Module:
    try:
        if channels is None:
            return kind(in_channels, out_channels, **settings)
        return kind(**{channels[0]: in_channels, channels[1]: out_channels}, **settings)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise ConfigError(f"{getattr(kind, '__name__', kind)} cannot be built: {first_line(error)}") from error


def _rebuilt(
    build: Callable[[int, int], nn.Module], inputs: int, outputs: int, more_inputs: bool, more_outputs: bool
) -> nn.Module:
    """Return the network with more channels; without weights, where the class allows it. Torch's random state is unchanged."""
    state = torch.get_rng_state()
    refusal: ConfigError | None = None
    try:
        for more in MORE:
            for device in ("meta", "cpu"):
                try:
                    with torch.device(device):
                        return build(inputs + more * more_inputs, outputs + more * more_outputs)
                except ConfigError as error:
                    refusal = error
        assert refusal is not None
        raise refusal
    finally:
        torch.set_rng_state(state)
