"""Weights that a file lists under several names, as it does for modules that a network registers more than once."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from monai_tl.errors import TransferError
from monai_tl.networks.stages import shared_names
from monai_tl.transfer.source import Source
from monai_tl.transfer.tensors import name_first


def with_one_name(source: Source, network: nn.Module) -> Source:
    """Return a source in which each weight of the network has one name, the one that `stage_weights` lists.

    Args:
        source: weights with the network's names.
        network: may list a weight under several names, as nnU-Net's networks and ``DynUNet`` do.

    Raises:
        TransferError: if the file holds different values under two names of one weight, as after an edit of only one of them;
            ``load_state_dict`` would silently take the last one.
    """
    weights, differing = dict(source.weights), []
    for other, name in shared_names(network).items():
        value = weights.pop(other, None)
        if value is not None and not torch.equal(weights.setdefault(name, value), value):
            differing.append(f"{name} and {other}")
    if differing:
        raise TransferError(
            f"source '{source.path}' holds different values under two names of one weight ({name_first(differing)}): the file "
            "was changed after training; use the original one"
        )
    return replace(source, weights=weights)
