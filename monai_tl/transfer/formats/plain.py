"""Ordinary checkpoints: a state dict, by itself or under one of the keys that MONAI, ignite and others use."""

from __future__ import annotations

from monai_tl.transfer.formats.family import Family, Opened, Reading
from monai_tl.transfer.formats.nnunet_names import ALL_MODULES
from monai_tl.transfer.formats.unwrapping import unwrapped


def _is_plain(opened: Opened) -> bool:
    return True


def _read_plain(opened: Opened) -> Reading:
    weights, notes = unwrapped(opened.content, opened.path)
    if any(ALL_MODULES.search(name) for name in weights):
        notes.append(
            "the names are those of nnU-Net's networks: if nnU-Net trained them, their axes are k, j, i and are not "
            "transposed, as there is no plans.json"
        )
    return Reading(weights, notes=tuple(notes))


CHECKPOINT = Family("checkpoint", _is_plain, _read_plain)
"""The last family: what no other one recognises."""
