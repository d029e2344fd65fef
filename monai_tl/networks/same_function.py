"""Whether two networks compute the same from the same weights: names and shapes do not show strides, slopes or dilations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

TRAINING_ONLY = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
# attributes that decide what a layer computes, where a class has them
FACTS: tuple[str, ...] = (
    *("stride", "padding", "dilation", "groups", "kernel_size", "padding_mode", "output_padding", "transposed"),
    *("eps", "num_groups", "normalized_shape", "track_running_stats", "negative_slope"),
    *("scale_factor", "mode", "align_corners", "window_size", "shift_size", "num_heads"),
)


def function_differences(source: nn.Module, target: nn.Module) -> list[str]:
    """Return in what two networks of the same weights differ in their function, a line for each kind of difference.

    Modules are compared by name: their class, and the attributes that decide what they compute (strides, dilations, slopes …).
    Modules that only one network has are not compared, nor is code between modules.

    Example:
        >>> from monai_tl import HighRes3DNet
        >>> from monai_tl.networks.same_function import function_differences
        >>> relu = HighRes3DNet(in_channels=1, out_channels=2, negative_slope=0)
        >>> function_differences(relu, HighRes3DNet(in_channels=1, out_channels=2))
        ['ReLU becomes LeakyReLU in 20 modules: conv_0.adn.A, …']
    """
    theirs = dict(target.named_modules())
    where: dict[str, list[str]] = {}
    for name, module in source.named_modules():
        if name in theirs and not isinstance(module, TRAINING_ONLY) and not isinstance(theirs[name], TRAINING_ONLY):
            for difference in _differences(module, theirs[name], root=not name):
                where.setdefault(difference, []).append(name)
    return [f"{what} in {_places(names)}" for what, names in where.items()]


def _differences(ours: nn.Module, theirs: nn.Module, *, root: bool) -> list[str]:
    one, other = type(ours), type(theirs)
    if one is not other:
        return [f"{one.__name__} becomes {other.__name__}"] if not root and _computes(ours, theirs) else []
    here, there = _facts(ours), _facts(theirs)
    return [f"{one.__name__}: {key} {here[key]} becomes {there[key]}" for key in here if here[key] != there.get(key, here[key])]


def _computes(ours: nn.Module, theirs: nn.Module) -> bool:
    """Return whether a class matters: containers and layers that do nothing may stand for each other."""
    idle = (nn.Identity, nn.Sequential, nn.ModuleList)
    return not (isinstance(ours, idle) and isinstance(theirs, idle))


def _facts(module: nn.Module) -> Mapping[str, Any]:
    """Return what decides the function of a layer of torch or MONAI: its attributes, not its children."""
    return {key: _plain(getattr(module, key)) for key in FACTS if _is_plain(getattr(module, key, None))}


def _is_plain(value: Any) -> bool:
    numbers = isinstance(value, tuple | list) and all(isinstance(one, int | float) for one in value)
    return isinstance(value, int | float | str) or numbers


def _plain(value: Any) -> Any:
    values = tuple(value) if isinstance(value, tuple | list) else value
    return values[0] if isinstance(values, tuple) and len(set(values)) == 1 else values


def _places(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} modules: {names[0]}, …"
