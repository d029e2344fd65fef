"""Self-supervised encoders of SwinUNETR: ``model_swinvit.pt``, ``ssl_pretrained_weights.pth`` and files of their trainers."""

from __future__ import annotations

import re

from torch import Tensor

from monai_tl.errors import TransferError
from monai_tl.networks.outline import outline
from monai_tl.transfer.formats.accounted import accounted, dropped, without_prefixes
from monai_tl.transfer.formats.family import Family, Opened, Reading
from monai_tl.transfer.formats.swin_unetr import MERGING, own_mlp_name, swin_channels, swin_unetr_spec
from monai_tl.transfer.formats.unwrapping import state_dict_of, unwrapped
from monai_tl.transfer.tensors import Weights

WRAPPED = ("module.", "_orig_mod.")
BEFORE = re.compile(r"(?:swin_vit|swinViT)\.")  # of new and old trainers; the published file has neither
FIRST_KERNEL = "patch_embed.proj.weight"
HEADS = ("rotation_head.", "contrastive_head.", "conv.")
NOT_ENCODER = ("encoder", "decoder", "out.")  # beginnings of SwinUNETR's other weights
LICENCE = "of the published weights not stated; the repository that published them is Apache-2.0"
IMAGES = (
    "the published model_swinvit.pt saw CT in RAS, clipped to -1000…1000 HU and scaled to 0…1, at each scan's own spacing; "
    "other files of this layout saw other images, and this one does not say"
)
OTHER_IMAGES = "the published ssl_pretrained_weights.pth saw CT and MR"
ENCODER = "encoder."  # of ssl_pretrained_weights.pth


def _bare(opened: Opened) -> dict[str, Tensor]:
    """Return the weights with the names of the transformer alone."""
    return {BEFORE.sub("", name, count=1): value for name, value in _stored(opened).items()}


def _stored(opened: Opened) -> dict[str, Tensor]:
    return without_prefixes(state_dict_of(opened.content), WRAPPED)


def _is_swin_vit(opened: Opened) -> bool:
    """Return whether a file holds a Swin transformer without the rest of a SwinUNETR."""
    weights = _bare(opened)
    kernel = weights.get(FIRST_KERNEL)
    return kernel is not None and kernel.ndim == 5 and "layers1.0.blocks.0.norm1.weight" in weights and not _rest(weights)


def _rest(weights: Weights) -> bool:
    return any(name.startswith(("encoder1.", "decoder1.", "decoder5.")) for name in weights)


def _read_swin_vit(opened: Opened) -> Reading:
    _, notes = unwrapped(opened.content, opened.path)
    bare, without = dropped(_bare(opened), HEADS, "heads of the pre-training")
    weights = {f"swinViT.{own_mlp_name(name)}": value for name, value in bare.items()}
    return _accounted(weights, opened, NOT_ENCODER, (*notes, *without), IMAGES)


def _is_disruptive(opened: Opened) -> bool:
    return f"{ENCODER}layers1.0.0.blocks.0.norm1.weight" in _stored(opened)


def _read_disruptive(opened: Opened) -> Reading:
    _, notes = unwrapped(opened.content, opened.path)
    unused = ("encoder.mask_token", "encoder.norm.", "out.")
    kept, without = dropped(_stored(opened), unused, "parts of the pre-training")
    weights = {own_mlp_name(re.sub(r"^encoder\.(layers\d\.)0\.", r"swinViT.\1", name)): value for name, value in kept.items()}
    weights = {re.sub(r"^encoder\.patch_embed\.", "swinViT.patch_embed.", name): value for name, value in weights.items()}
    whole = any(name.startswith("decoder1.") for name in weights)
    return _accounted(weights, opened, ("out.",) if whole else NOT_ENCODER, (*notes, *without), OTHER_IMAGES)


def _accounted(weights: Weights, opened: Opened, absent: tuple[str, ...], notes: tuple[str, ...], images: str) -> Reading:
    """Return the reading of a SwinUNETR's weights, all of which are accounted for."""
    spec = swin_unetr_spec(weights)
    if spec is None:
        raise TransferError(
            f"source '{opened.path}' is taken for the encoder of a SwinUNETR, but lacks the first block of one of its four "
            "stages: it is damaged, or of another version"
        )
    lacks = accounted(weights, outline(spec, *swin_channels(weights)), opened.path, str(spec), absent=absent)
    return Reading(dict(weights), spec, None, LICENCE, lacks, notes, (MERGING, images))


SWIN_VIT = Family("SwinViT, self-supervised", _is_swin_vit, _read_swin_vit)
"""Tang et al., CVPR 2022: pre-trained on CT by inpainting, rotation and contrast."""

DISRUPTIVE = Family("SwinUNETR, self-supervised (disruptive autoencoder)", _is_disruptive, _read_disruptive)
"""Valanarasu et al., 2023: ``ssl_pretrained_weights.pth``, whose encoder has one more level in its names."""
