"""SuPreM: a backbone, SwinUNETR or a U-Net, inside a universal model with a head for each of its 32 text prompts."""

from __future__ import annotations

from monai_tl.networks.outline import outline
from monai_tl.transfer.formats.accounted import accounted, dropped, without_prefixes
from monai_tl.transfer.formats.family import Expected, Family, Opened, Reading
from monai_tl.transfer.formats.genesis import CONTINUOUS_NORM, account_for_genesis
from monai_tl.transfer.formats.swin_unetr import MERGING, swin_channels, swin_unetr_spec
from monai_tl.transfer.formats.unwrapping import state_dict_of, unwrapped

WRAPPED = ("module.", "_orig_mod.")
BACKBONE = "backbone."
PROMPTED = ("precls_conv.", "GAP.", "controller.", "organ_embedding", "text_to_vision.")
LICENCE = "CC-BY-NC-ND (published weights of SuPreM)"
IMAGES = Expected(("CT",), (1.5, 1.5, 1.5), "RAS", "window(-175,250)")


def _is_suprem(opened: Opened) -> bool:
    names = without_prefixes(state_dict_of(opened.content), WRAPPED)
    prompted = any(name.startswith(PROMPTED) for name in names)
    return prompted and any(name.startswith(BACKBONE) for name in names)


def _read_suprem(opened: Opened) -> Reading:
    stored, notes = unwrapped(opened.content, opened.path)
    inside, without = dropped(without_prefixes(stored, WRAPPED), PROMPTED, "the universal model's prompts and heads")
    weights = {name.removeprefix(BACKBONE): value for name, value in inside.items()}
    notes = [*notes, *without]
    spec = swin_unetr_spec(weights)
    if spec is None:  # the U-Net
        account_for_genesis(weights, opened.path, "SuPreM's U-Net", head=False)
        return Reading(weights, None, IMAGES, LICENCE, ("head",), tuple(notes), (CONTINUOUS_NORM,))
    absent = () if "out.conv.conv.weight" in weights else ("out.",)
    lacks = accounted(weights, outline(spec, *swin_channels(weights)), opened.path, str(spec), absent=absent)
    return Reading(weights, spec, IMAGES, LICENCE, lacks, tuple(notes), (MERGING,))


SUPREM = Family("SuPreM", _is_suprem, _read_suprem)
"""A file of the backbone alone has that network's own names."""
