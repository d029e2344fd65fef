"""Checkpoints of MONAI's networks, by themselves, under a key, or inside a wrapper."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from monai_tl.networks.highres3dnet import own_names
from monai_tl.transfer.formats.accounted import dropped, without_prefixes
from monai_tl.transfer.formats.family import Family, Opened, Reading
from monai_tl.transfer.formats.monai_networks import guess_network, with_cross_attention
from monai_tl.transfer.formats.unwrapping import PREFIXES, state_dict_of, unwrapped
from monai_tl.transfer.tensors import Weights

WRAPPED = (*PREFIXES, "backbone.")


def _is_monai(opened: Opened) -> bool:
    """Return whether a file's names are those of a network of MONAI, also if some of its weights do not fit."""
    guess, note = guess_network(_own(opened)[0])
    return guess is not None or bool(note)


def _read_monai(opened: Opened) -> Reading:
    weights, added = _own(opened)
    _, notes = unwrapped(opened.content, opened.path)
    return as_monai_network(weights, (*notes, *added))


def as_monai_network(weights: Weights, notes: Sequence[str]) -> Reading:
    """Return the reading of weights; where they are not exactly those of a network, they are those of an unknown one.

    Args:
        weights: with the network's own names.
        notes: on what was changed before.
    """
    guess, note = guess_network(weights)
    if guess is None:
        return Reading(dict(weights), notes=tuple(notes), remarks=(note,))
    used, heads = dropped(weights, guess.unused, "further heads of deep supervision")
    return Reading(used, guess.spec, notes=(*notes, *heads), remarks=(note,), assumed=True)


def _own(opened: Opened) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the weights with the network's own names, and those that older MONAI did not have; notes on both."""
    stored = state_dict_of(opened.content)
    bare = without_prefixes(stored, WRAPPED)
    prefix = next(iter(stored), "").removesuffix(next(iter(bare), ""))
    weights, added = with_cross_attention(own_names(bare))
    return weights, (*([f"the prefix '{prefix}' is removed from the names"] if prefix else []), *added)


MONAI_NETWORK = Family("MONAI network", _is_monai, _read_monai)
"""Recognised after the families that have names of their own."""
