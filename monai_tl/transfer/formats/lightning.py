"""Checkpoints of (PyTorch) Lightning: the network is an attribute of the saved module, which is before every name."""

from __future__ import annotations

from monai_tl.networks.highres3dnet import own_names
from monai_tl.transfer.formats.family import Family, Opened, Reading
from monai_tl.transfer.formats.monai_networks import with_cross_attention
from monai_tl.transfer.formats.monai_weights import as_monai_network
from monai_tl.transfer.formats.unwrapping import unwrapped

VERSION = "pytorch-lightning_version"


def _is_lightning(opened: Opened) -> bool:
    return opened.holds("state_dict", VERSION)


def _read_lightning(opened: Opened) -> Reading:
    weights, notes = unwrapped({"state_dict": opened.content["state_dict"]}, opened.path)
    attributes = {name.partition(".")[0] for name in weights}
    if len(attributes) == 1:
        prefix = f"{attributes.pop()}."
        weights = {name.removeprefix(prefix): value for name, value in weights.items()}
        notes.append(f"the prefix '{prefix}' is removed from the names")
    weights, added = with_cross_attention(own_names(weights))
    return as_monai_network(weights, (*notes, *added))


LIGHTNING = Family("Lightning", _is_lightning, _read_lightning)
