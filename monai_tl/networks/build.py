"""Build a network by name: one of the known ones, or a class in a user's own module."""

from __future__ import annotations

import inspect
import io
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib import import_module
from typing import Any

import torch
from torch import nn

from monai_tl.errors import ConfigError, TransferError, did_you_mean, first_line
from monai_tl.networks.derived_stages import derive_stages
from monai_tl.networks.known import KNOWN_NETWORKS, KnownNetwork, known_network
from monai_tl.networks.network_flags import LIKE_SOURCE, read_stages
from monai_tl.networks.stage_map import StageMap

MORE = (1, 2, 4, 8, 16)  # channels added to find the input kernels: some networks take only multiples of a number
CLASS_NAME = re.compile(r"(?:torch\.nn|dynamic_network_architectures)\.[\w.]+")  # as nnU-Net's plans name classes


def build_network(
    network: str | Callable[..., nn.Module],
    in_channels: int,
    out_channels: int,
    *,
    stages: Mapping[str, Sequence[str]] | str | None = None,
    **settings: Any,
) -> nn.Module:
    """Build a network whose weights can be transferred: its stages, input kernels and output layers are known.

    It returns one tensor of logits; of a network that returns a list, the one of full resolution. Deep supervision is off.

    Args:
        network: name of a known network, e.g. ``"SegResNet"``; the dotted path of a class, e.g. ``"my_package.MyNet"``, which
            may be in the working directory; or a function that is called as ``network(in_channels, out_channels, **settings)``.
        in_channels: number of image channels.
        out_channels: number of classes.
        stages: stage -> prefixes of weight names, the head last; ``"auto"``: in the order in which its layers run; None: as
            `monai_tl.networks.stages.stages` finds them.
        settings: arguments of the class, e.g. ``init_filters=16``. Text such as ``torch.nn.Conv3d`` names a class.

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
    given = read_stages(stages)
    if callable(network):
        build = partial(_instance, network, None, settings)
    else:
        make, known = _found(network)
        _refuse_settings(make, known, network, settings)
        build = partial(_instance, make, known.channels, _with_classes({**known.settings, **settings}))
    built = build(in_channels, out_channels)
    built.rebuild = Rebuild(build, (in_channels, out_channels))  # type: ignore[assignment]
    entry = known_network(type(built))
    if entry and entry.output is not None:
        built.register_forward_hook(partial(main_output, position=entry.output))
    if isinstance(given, str):
        built.stage_map = derive_stages(built)  # type: ignore[assignment]
    elif given is not None:
        built.stage_map = _checked(StageMap(given), built)  # type: ignore[assignment]
    return built


def main_output(module: nn.Module, inputs: Any, output: Any, *, position: int) -> Any:
    """Return one of several outputs of a network, as a hook of its forward pass; a tensor is returned as it is."""
    return output if isinstance(output, torch.Tensor) else output[position]


def _found(name: str) -> tuple[Callable[..., nn.Module], KnownNetwork]:
    """Return what builds a network, and its entry; a class that is named by its path has the settings of its library."""
    known = KNOWN_NETWORKS.get(name)
    if known:
        return _imported(known.factory or known.path, name, known.extra), known
    if name == LIKE_SOURCE:
        raise ConfigError(
            "like_source is a source's network, and no source is named here: monai_tl source SOURCE prints its flags"
        )
    if "." not in name:
        raise ConfigError(
            f"no network is called '{name}': {did_you_mean(name, KNOWN_NETWORKS)}; a class of your own is named with its "
            "module, e.g. my_package.MyNet"
        )
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    made = _imported(name, name, "")
    if not (isinstance(made, type) and issubclass(made, nn.Module)):  # a config of others could name any function
        raise ConfigError(f"network '{name}' is no class of torch.nn.Module")
    entry = known_network(made)
    return made, replace(entry or KnownNetwork(name, None), settings={})


def _imported(path: str, name: str, extra: str) -> Callable[..., nn.Module]:
    module, _, kind = path.rpartition(".")
    try:
        found = getattr(import_module(module), kind, None)
    except Exception as error:  # a user's module may raise anything
        install = f"; install it by pip install 'monai_tl[{extra}]'" if extra else ""
        raise ConfigError(f"network '{name}': {module} cannot be imported ({first_line(error)}){install}") from error
    if not callable(found):
        raise ConfigError(f"network '{name}': {module} has no class {kind}")
    return found


def _refuse_settings(make: Callable[..., nn.Module], known: KnownNetwork, name: str, settings: Mapping[str, Any]) -> None:
    for key, (only, why) in known.fixed.items():
        if key in settings and settings[key] != only:
            raise ConfigError(f"network '{name}': {key} is {only!r}, not {settings[key]!r}: {why}")
    if settings.get("spatial_dims", 3) != 3:
        raise ConfigError(f"network '{name}': spatial_dims is 3, not {settings['spatial_dims']!r}: images here are 3D; omit it")
    taken = inspect.signature(make).parameters
    if any(one.kind is one.VAR_KEYWORD for one in taken.values()):
        return
    for key, what in zip(known.channels, ("image channels", "classes"), strict=True):
        if key not in taken:
            raise ConfigError(f"network '{name}' takes no argument '{key}' ({what}); it takes {', '.join(taken) or 'none'}")
    own = [key for key in taken if key not in known.channels]
    for key in settings:
        if key not in own:
            raise ConfigError(f"network '{name}' takes no argument '{key}': {did_you_mean(key, own)}")


def _with_classes(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with a class wherever a text names one."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, str) and CLASS_NAME.fullmatch(value):
            module, _, kind = value.rpartition(".")
            try:
                value = getattr(import_module(module), kind)
            except (ImportError, AttributeError) as error:
                raise ConfigError(f"{key}: there is no {value}") from error
        found[key] = value
    return found


def _instance(
    make: Callable[..., nn.Module],
    channels: tuple[str, str] | None,
    settings: Mapping[str, Any],
    in_channels: int,
    out_channels: int,
) -> nn.Module:
    name = getattr(make, "__name__", str(make))
    try:
        with redirect_stdout(io.StringIO()):  # DiNTS prints what its docstring says
            if channels is None:
                built = make(in_channels, out_channels, **settings)
            else:
                built = make(**{channels[0]: in_channels, channels[1]: out_channels}, **settings)
    except Exception as error:  # a user's class may raise anything
        given = "".join(f", {key}={value!r}" for key, value in settings.items())
        raise ConfigError(
            f"{name} cannot be built with {in_channels} image channels, {out_channels} classes{given}: {first_line(error)}"
        ) from error
    if not isinstance(built, nn.Module):
        raise ConfigError(f"{name} is no torch.nn.Module: it built a {type(built).__name__}")
    entry = known_network(type(built))
    if entry and entry.extra == "nnunet":
        built.apply(built.initialize)  # type: ignore[arg-type]  # nnU-Net draws its weights so, outside the class
    return built


@dataclass(frozen=True)
class Rebuild:
    """Builds a network again with more channels; without weights, where the class allows it.

    Attributes:
        build: builds it from the numbers of image channels and of classes.
        channels: the network's own numbers of image channels and of classes.
    """

    build: Callable[[int, int], nn.Module]
    channels: tuple[int, int]

    def __call__(self, more_inputs: bool, more_outputs: bool) -> nn.Module:
        """Return the network with more channels, of the same weights by name. Torch's random state is unchanged.

        Raises:
            ConfigError: if the class refuses all numbers of channels that are tried.
            TransferError: if it has other weights with each of them.
        """
        built, refusal = None, list[ConfigError]()
        for more in MORE if more_inputs or more_outputs else (0,):
            try:
                built = self._built(self.channels[0] + more * more_inputs, self.channels[1] + more * more_outputs)
            except ConfigError as error:
                refusal.append(error)
                continue
            # a residual block has no convolution where it returns as many channels as it takes
            if not more or built.state_dict().keys() == self._names:
                return built
        if built is None:
            raise refusal[0]
        raise TransferError(f"{type(built).__name__} has other weights with other numbers of channels")

    @cached_property
    def _names(self) -> set[str]:
        return set(self._built(*self.channels).state_dict())

    def _built(self, in_channels: int, out_channels: int) -> nn.Module:
        state = torch.get_rng_state()
        try:
            with torch.device("meta"):
                return self.build(in_channels, out_channels)
        except ConfigError:  # some classes compute with values while they are built
            return self.build(in_channels, out_channels)
        finally:
            torch.set_rng_state(state)


def _checked(given: StageMap, network: nn.Module) -> StageMap:
    """Return stages whose prefixes name modules or weights of the network.

    Raises:
        TransferError: for another prefix, with the nearest name.
    """
    names = dict.fromkeys([*(name for name, _ in network.named_modules(remove_duplicate=False) if name), *network.state_dict()])
    for stage, prefixes in given.prefixes.items():
        for prefix in prefixes:
            if prefix not in names:
                level = [name for name in names if name.count(".") == prefix.count(".")]
                raise TransferError(
                    f"stages: {stage} names '{prefix}', which the network has not: {did_you_mean(prefix, level[:40])}"
                )
    return given
