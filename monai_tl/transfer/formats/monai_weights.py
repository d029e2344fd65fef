"""Checkpoints of MONAI's networks, by themselves, under a key, or inside a wrapper."""

from __future__ import annotations

from monai_tl.transfer.formats.accounted import without_prefixes
from monai_tl.transfer.formats.family import Family, Opened, Reading
from monai_tl.transfer.formats.monai_networks import guess_network, with_cross_attention
from monai_tl.transfer.formats.plain import CHECKPOINT
from monai_tl.transfer.formats.unwrapping import PREFIXES, state_dict_of

WRAPPED = (*PREFIXES, "backbone.", "model.")


def _is_monai(opened: Opened) -> bool:
    """Return whether a file's names are those of a network that `guess_network` knows, also if it does not fit."""
    weights = without_prefixes(state_dict_of(opened.content), WRAPPED)
    guess, note = guess_network(with_cross_attention(weights)[0])
    return guess is not None or bool(note)
