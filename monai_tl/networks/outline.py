"""A network without values, quickly built, to look at its names and shapes."""

from __future__ import annotations

import torch
from torch import nn

from monai_tl.errors import ConfigError
from monai_tl.networks.network_spec import NetworkSpec


def outline(spec: NetworkSpec, in_channels: int, out_channels: int) -> nn.Module:
    """Return a network whose weights have names and shapes only, where its class allows it; torch's random state is unchanged.

    Raises:
        ConfigError: for an unknown name or setting, or if the class refuses the settings.

    Example:
        >>> from monai_tl.networks.network_spec import NetworkSpec
        >>> from monai_tl.networks.outline import outline
        >>> outline(NetworkSpec("SegResNet"), 1, 2).state_dict()["convInit.conv.weight"].device
        device(type='meta')
    """
    state = torch.get_rng_state()
    try:
        with torch.device("meta"):
            return spec.build(in_channels, out_channels)
    except ConfigError:  # some classes compute with values while they are built
        return spec.build(in_channels, out_channels)
    finally:
        torch.set_rng_state(state)
