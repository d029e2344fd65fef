"""VoCo: SwinUNETR of version 2, pre-trained by the contrast of volumes, with or without a decoder (VoComni)."""

from __future__ import annotations

from monai_tl.errors import TransferError
from monai_tl.networks.outline import outline
from monai_tl.transfer.formats.accounted import accounted, dropped, without_prefixes
from monai_tl.transfer.formats.family import Expected, Family, Opened, Reading
from monai_tl.transfer.formats.swin_unetr import MERGING, swin_channels, swin_unetr_spec
from monai_tl.transfer.formats.unwrapping import state_dict_of, unwrapped

WRAPPED = ("module.", "_orig_mod.")
BACKBONE = "backbone."
HEADS = ("student.", "teacher.", "proj_head.", "head.")
LICENCE = "of the published weights not stated; the repository that published them is Apache-2.0"
IMAGES = Expected(modalities=("CT",), orientation="RAS", normalisation="window(-175,250)")
OLD, NEW = "swin_vit.", "swinViT."


def _is_voco(opened: Opened) -> bool:
    """Return whether a file holds a SwinUNETR of version 2 inside a model for pre-training, or without its decoder."""
    names = without_prefixes(state_dict_of(opened.content), WRAPPED)
    inside = any(name.startswith((BACKBONE, *HEADS)) for name in names)
    undecoded = any("encoder1." in name for name in names) and not any("decoder1." in name for name in names)
    return (inside or undecoded) and any(f"{swin}layers1c." in name for name in names for swin in (OLD, NEW))


def _read_voco(opened: Opened) -> Reading:
    stored, notes = unwrapped(opened.content, opened.path)
    inside, without = dropped(without_prefixes(stored, WRAPPED), HEADS, "heads of the pre-training")
    weights = {name.removeprefix(BACKBONE).replace(OLD, NEW): value for name, value in inside.items()}
    spec = swin_unetr_spec(weights)
    if spec is None:
        raise TransferError(
            f"source '{opened.path}' is taken for VoCo's SwinUNETR, but lacks the first block of one of the four stages of its "
            "encoder: it is damaged, or of another version"
        )
    decoder = any(name.startswith("decoder") for name in weights)
    absent = (() if decoder else ("decoder",)) + (() if "out.conv.conv.weight" in weights else ("out.",))
    lacks = accounted(weights, outline(spec, *swin_channels(weights)), opened.path, str(spec), absent=absent)
    return Reading(weights, spec, IMAGES, LICENCE, lacks, (*notes, *without), (MERGING,))


VOCO = Family("VoCo", _is_voco, _read_voco)
"""VoComni's files that hold nothing else than a SwinUNETR have its own names."""
