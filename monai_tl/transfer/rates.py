"""Parameter groups for the optimiser: trainable weights only, one group with its own learning rate for each stage."""

from __future__ import annotations

from typing import Any

from torch import nn

from monai_tl.errors import ConfigError
from monai_tl.networks.stages import parts_of_stages, stages
from monai_tl.settings.table import refuse_settings
from monai_tl.transfer.freeze import partly_frozen


def parameter_groups(
    network: nn.Module,
    learning_rate: float,
    *,
    stage_rate: float = 1.0,
    head_rate: float = 1.0,
    weight_decay: float = 0.0,
) -> list[dict[str, Any]]:
    """Return a network's trainable parameters as optimiser groups, one for each stage.

    The learning rate of a stage n stages before the head is ``learning_rate * stage_rate**n``, that of the head
    ``learning_rate * head_rate`` (layer-wise rates: Howard and Ruder 2018; the head at ten times the rest: Tajbakhsh 2016).

    Args:
        network: a network with the stages that `stages` lists; the last one is the head.
        learning_rate: peak learning rate.
        stage_rate: factor for each stage away from the head, above 0.
        head_rate: factor for the head, above 0.
        weight_decay: the optimiser's weight decay. It is 0 for weights with some frozen channels, since weight decay also
            changes channels that get no gradient.

    Returns:
        Dicts of ``name``, ``params``, ``lr`` and ``weight_decay``, in the network's order.

    Raises:
        ConfigError: for a rate that is not above 0, a negative weight decay, or if nothing is trainable.

    Example:
        >>> import torch
        >>> from monai_tl import HighRes3DNet, freeze, parameter_groups
        >>> network = HighRes3DNet(in_channels=1, out_channels=2)
        >>> freeze(network, "res_3")
        >>> groups = parameter_groups(network, learning_rate=1e-3, stage_rate=0.5, head_rate=10)
        >>> [(group["name"], group["lr"]) for group in groups]
        [('conv_1', 0.0005), ('conv_2', 0.01)]
        >>> optimizer = torch.optim.AdamW(groups)
    """
    refuse_settings(learning_rate=learning_rate, stage_rate=stage_rate, head_rate=head_rate, weight_decay=weight_decay)
    partly = partly_frozen(network)
    found = stages(network)
    groups = []
    for distance, stage in zip(range(len(found) - 1, -1, -1), found, strict=True):
        rate = learning_rate * (head_rate if distance == 0 else stage_rate**distance)
        own = parts_of_stages(network.named_parameters(remove_duplicate=False), found, [stage])
        trainable = {name: parameter for name, parameter in own.items() if parameter.requires_grad}
        whole = [p for name, p in trainable.items() if name not in partly]
        part = [p for name, p in trainable.items() if name in partly]
        if whole:
            groups.append({"name": stage, "params": whole, "lr": rate, "weight_decay": weight_decay})
        if part:
            groups.append({"name": f"{stage}, new channels", "params": part, "lr": rate, "weight_decay": 0.0})
    if not groups:
        raise ConfigError(f"nothing is trainable: all stages are frozen ({', '.join(found)}); freeze fewer stages")
    return groups
