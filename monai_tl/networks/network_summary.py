"""What `monai_tl stages` prints of a network: its stages, and the weights at both of its ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import yaml
from torch import nn

from monai_tl.errors import TransferError
from monai_tl.networks.known import known_network, unused_weights
from monai_tl.networks.ports import find_ports
from monai_tl.networks.stages import format_stage_table, stage_table, stages


def summarise_network(network: nn.Module) -> str:
    """Return a network's table of stages, its input kernels and output layers, and weights that never learn.

    Raises:
        TransferError: if it has no stages.
    """
    found = stages(network)
    lines = [format_stage_table(stage_table(network)), ""]
    if found.decoder:
        lines.append(f"encoder: {', '.join(found.encoder)}; decoder: {', '.join(found.decoder)}")
    try:
        ports = find_ports(network)
    except TransferError as error:
        lines.append(f"input kernels and output layers are unknown: {error}")
    else:
        shapes = {name: tuple(weight.shape) for name, weight in network.state_dict().items()}
        lines.append(f"weights that depend on the number of image channels: {_ports(ports.inputs, shapes)}")
        lines.append(f"weights that depend on the number of classes: {_ports(ports.outputs, shapes)}")
    for why, count in Counter(unused_weights(network).values()).items():
        lines.append(f"weights that never learn: {count} ({why})")
    known = known_network(type(network))
    return "\n".join([*lines, *([known.note] if known and known.note else [])])


def prefix_lines(network: nn.Module) -> str:
    """Return a network's stages as a config has them: ``stage: [prefix, …]``, a line each."""
    lists = {
        name: yaml.safe_dump(list(own), default_flow_style=True, width=10**6) for name, own in stages(network).prefixes.items()
    }
    return "\n".join(f"  {name}: {own.strip()}" for name, own in lists.items())


def _ports(ports: Mapping[str, tuple[int, ...]], shapes: Mapping[str, tuple[int, ...]]) -> str:
    parts = (f"{name} {'×'.join(map(str, shapes[name]))} (axis {' and '.join(map(str, axes))})" for name, axes in ports.items())
    return ", ".join(parts) or "none"
