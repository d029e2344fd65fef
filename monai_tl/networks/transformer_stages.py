"""Stages of MONAI's networks with a transformer as encoder, as functions of an instance.

Convolutional blocks stand between the transformer's features and the decoder. They are a stage of the decoder's group,
``skips``, since a pretrained transformer comes without them, and they read the image too.
"""

from __future__ import annotations

from torch import nn

from monai_tl.networks.stage_map import StageMap
from monai_tl.networks.unet_stages import Prefixes, children_of, u_shape

QUARTERS = 4  # of UNETR's transformer blocks: one for each feature that its decoder takes


def unetr_stages(network: nn.Module) -> StageMap:
    """Return the stages of MONAI's ``UNETR``."""
    blocks = children_of(network.get_submodule("vit"), "blocks")
    ends = [round(blocks * group / QUARTERS) for group in range(QUARTERS + 1)]
    encoder: Prefixes = {"enc_0": ("vit.patch_embedding",)}
    for group in range(QUARTERS):
        encoder[f"enc_{group + 1}"] = tuple(f"vit.blocks.{k}" for k in range(ends[group], ends[group + 1]))
    encoder[f"enc_{QUARTERS}"] += ("vit.norm",)
    return u_shape(encoder, _skips_and_decoder(network), ("out",))


def swin_unetr_stages(network: nn.Module) -> StageMap:
    """Return the stages of MONAI's ``SwinUNETR``, of version 2 too, whose levels begin with a convolution."""
    swin = network.get_submodule("swinViT")
    encoder: Prefixes = {"enc_0": ("swinViT.patch_embed", "swinViT.pos_drop")}
    for level in (1, 2, 3, 4):
        names = (f"layers{level}c", f"layers{level}")
        encoder[f"enc_{level}"] = tuple(f"swinViT.{name}" for name in names if children_of(swin, name))
    return u_shape(encoder, _skips_and_decoder(network), ("out",))


def _skips_and_decoder(network: nn.Module) -> Prefixes:
    skips = tuple(name for name in network._modules if name.startswith("encoder"))
    decoder = [name for name in network._modules if name.startswith("decoder")]  # decoder5, decoder4, …
    return {"skips": skips, **{f"dec_{len(decoder) - 1 - k}": (name,) for k, name in enumerate(decoder)}}
