"""``--network SegResNet --set init_filters=16 --stages auto`` as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from monai_tl.errors import ConfigError

LIKE_SOURCE = "like_source"  # instead of a network's name: the network of the source
RESERVED = {
    "network": "the network is named by --network",
    "stages": "stages are given by --stages",
    "in_channels": "their number is that of the modalities",
    "out_channels": "their number is that of the classes",
    "input_channels": "their number is that of the modalities",
    "num_classes": "their number is that of the classes",
}
STAGES_TAKE = 'stages takes auto, or stage -> prefixes of weight names, the head last, e.g. "{stem: [conv_0], head: [out]}"'


def read_stages(given: str | Mapping[str, Any] | None) -> str | dict[str, tuple[str, ...]] | None:
    """Return stages from a command line or a config: ``auto``, or stage -> prefixes; None for no text.

    Raises:
        ConfigError: if it is neither.

    Example:
        >>> from monai_tl.networks.network_flags import read_stages
        >>> read_stages("{stem: conv_0, head: [out, last]}")
        {'stem': ('conv_0',), 'head': ('out', 'last')}
    """
    value = given
    if isinstance(given, str):
        if given in ("", "auto"):
            return given or None
        try:
            value = yaml.safe_load(given)
        except yaml.YAMLError:
            value = None
    if given is None:
        return None
    if not isinstance(value, Mapping):
        raise ConfigError(f"{STAGES_TAKE}; got {given!r}")
    stages = {str(name): [own] if isinstance(own, str) else own for name, own in value.items()}
    if not all(isinstance(own, list | tuple) and all(isinstance(prefix, str) for prefix in own) for own in stages.values()):
        raise ConfigError(f"{STAGES_TAKE}; got {given!r}")
    return {name: tuple(own) for name, own in stages.items()}


def refuse_reserved_settings(settings: Mapping[str, Any]) -> None:
    """Refuse settings of a network that are not set by ``--set``.

    Raises:
        ConfigError: with the flag or the id that they follow.
    """
    for name, why in RESERVED.items():
        if name in settings:
            raise ConfigError(f"--set {name}={settings[name]}: {why}; omit it")
