"""A network as a value: its name and settings, as they stand in a config and on the command line."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from monai_tl.networks.build import build_network
from monai_tl.networks.known import KNOWN_NETWORKS
from monai_tl.settings.assignments import ASSIGNMENTS


@dataclass(frozen=True)
class NetworkSpec:
    """A network without its numbers of channels: what `build_network` needs to build it for another task.

    Attributes:
        network: name of a known network, e.g. ``"SegResNet"``, or the dotted path of a class.
        settings: arguments of the class as plain data, without the numbers of channels.

    Example:
        >>> from monai_tl.networks.network_spec import NetworkSpec
        >>> spec = NetworkSpec("SegResNet", {"init_filters": 16, "blocks_down": [1, 2, 2, 4]})
        >>> print(spec)
        SegResNet (init_filters=16, blocks_down=[1,2,2,4])
        >>> spec.flags
        "--network SegResNet --set 'init_filters=16,blocks_down=[1,2,2,4]'"
        >>> sum(weight.numel() for weight in spec.build(in_channels=1, out_channels=2).parameters())
        4700914
    """

    network: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def build(self, in_channels: int, out_channels: int) -> nn.Module:
        """Return the network with newly initialised weights.

        Raises:
            ConfigError: for an unknown name or setting, or if the class refuses the settings.
        """
        return build_network(self.network, in_channels, out_channels, **self.settings)

    def __str__(self) -> str:
        """Return name and settings: ``SegResNet (init_filters=16)``."""
        settings = ", ".join(ASSIGNMENTS.write({name: value}) for name, value in self.settings.items())
        return f"{self.network} ({settings})" if settings else self.network

    @property
    def flags(self) -> str:
        """The flags that build this network: ``--network SegResNet --set init_filters=16``."""
        stages = self.settings.get("stages")
        settings = ASSIGNMENTS.write({name: value for name, value in self.settings.items() if name != "stages"})
        given = {"network": self.network, "set": settings, "stages": stages if isinstance(stages, str) else _flow(stages)}
        return " ".join(f"--{name} {shlex.quote(value)}" for name, value in given.items() if value)

    @property
    def is_known(self) -> bool:
        """Whether it is built from code that belongs to the toolkit and its libraries, so that a file may name it."""
        return self.network in KNOWN_NETWORKS


def _flow(stages: Any) -> str:
    return json.dumps({name: list(own) for name, own in stages.items()}) if isinstance(stages, Mapping) else ""
