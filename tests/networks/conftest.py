"""All networks that can be built by name, small: settings and the size of a patch, in voxels."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from monai_tl.networks.build import build_network
from monai_tl.networks.stages import stages

THREE = {"channels": [4, 8, 16], "strides": [2, 2]}
NNUNET = {"n_stages": 3, "features_per_stage": [4, 8, 8], "strides": [1, 2, 2]}
BASIC = {"features": [4, 4, 8, 8, 8, 4]}
MEDNEXT = {"init_filters": 4, "blocks_down": [1, 1], "blocks_up": [1, 1], "blocks_bottleneck": 1}
SMALL: dict[str, tuple[dict[str, Any], tuple[int, int, int]]] = {
    "HighRes3DNet": ({}, (8, 8, 8)),
    "AHNet": ({"layers": [1, 1, 1, 1], "psp_block_num": 1}, (64, 32, 32)),
    "AttentionUnet": (THREE, (8, 8, 8)),
    "BasicUNet": (BASIC, (32, 16, 16)),
    "BasicUNetPlusPlus": (BASIC, (32, 16, 16)),
    "DiNTS": ({"num_blocks": 2, "num_depths": 2, "channel_mul": 0.125}, (16, 16, 16)),
    "DynUNet": ({"filters": [4, 8, 8, 8]}, (16, 16, 16)),
    "FlexibleUNet": ({"backbone": "resnet10", "decoder_channels": [8, 8, 8, 8, 8]}, (32, 32, 32)),
    "HighResNet": ({}, (8, 8, 8)),
    "MedNeXt": (MEDNEXT, (16, 16, 16)),
    "MedNeXtS": ({**MEDNEXT, "encoder_expansion_ratio": 2, "decoder_expansion_ratio": 2}, (16, 16, 16)),
    "MedNeXtB": ({"init_filters": 2}, (32, 32, 32)),
    "MedNeXtM": ({"init_filters": 2}, (32, 32, 32)),
    "MedNeXtL": ({"init_filters": 2}, (32, 32, 32)),
    "PlainConvUNet": ({**NNUNET, "n_conv_per_stage": 1, "n_conv_per_stage_decoder": 1}, (8, 8, 8)),
    "RegUNet": ({"num_channel_initial": 4, "depth": 2, "extract_levels": [0, 1, 2]}, (8, 8, 8)),
    "ResidualEncoderUNet": ({**NNUNET, "n_blocks_per_stage": [1, 2, 1]}, (8, 8, 8)),
    "SegResNet": ({"blocks_down": [1, 1, 1], "blocks_up": [1, 1]}, (8, 8, 8)),
    "SegResNetDS": ({"init_filters": 4, "blocks_down": [1, 1, 1]}, (8, 8, 8)),
    "SegResNetDS2": ({"init_filters": 4, "blocks_down": [1, 1, 1]}, (8, 8, 8)),
    "SegResNetVAE": (
        {"input_image_size": [16, 16, 16], "blocks_down": [1, 1, 1], "blocks_up": [1, 1], "vae_nz": 8},
        (16, 16, 16),
    ),
    "SwinUNETR": ({"feature_size": 12, "depths": [1, 1, 1, 1], "window_size": 2}, (64, 32, 32)),
    "UNETR": ({"img_size": [32, 32, 32], "feature_size": 4, "hidden_size": 12, "mlp_dim": 12, "num_heads": 2}, (32, 32, 32)),
    "UNet": (THREE, (16, 8, 8)),
    "VISTA3D": ({"init_filters": 8, "blocks_down": [1, 1, 1]}, (8, 8, 8)),
    "VNet": ({}, (16, 16, 16)),
}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {  # what a rule has to find in other settings
    "DynUNet residual": ("DynUNet", {"res_block": True}),
    "FlexibleUNet efficientnet": ("FlexibleUNet", {"backbone": "efficientnet-b0"}),
    "RegUNet convolutions": ("RegUNet", {"pooling": False, "extract_levels": [1, 2], "concat_skip": False}),
    "SegResNet deconv": ("SegResNet", {"upsample_mode": "deconv", "dropout_prob": 0.2}),
    "SwinUNETR v2": ("SwinUNETR", {"use_v2": True}),
    "UNet plain": ("UNet", {"num_res_units": 0, "norm": "batch"}),
    "UNet four levels": ("UNet", {"channels": [4, 8, 8, 8], "strides": [2, 2, 2]}),
    "UNet two levels": ("UNet", {"channels": [4, 8], "strides": [2]}),
}
ALL = [*SMALL, *VARIANTS]


def small(name: str, in_channels: int = 1, out_channels: int = 2) -> nn.Module:
    """Return a small network; always the same weights."""
    torch.manual_seed(0)
    known, settings = VARIANTS.get(name, (name, {}))
    return build_network(known, in_channels, out_channels, **{**SMALL[known][0], **settings})


def patch_of(name: str, channels: int, batch: int = 1) -> torch.Tensor:
    """Return random voxels of a size that the network takes."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, channels, *SMALL[VARIANTS.get(name, (name,))[0]][1], generator=generator)


SLOW = ("AHNet", "FlexibleUNet", "MedNeXtB", "MedNeXtM", "MedNeXtL", "SwinUNETR", "UNETR", "VNet", "DiNTS", "BasicUNet")


def depths(name: str) -> list[int]:
    """Return the numbers of frozen stages that are tried: all, or the first, the middle and the last."""
    last = len(stages(small(name))) - 1
    known = VARIANTS.get(name, (name,))[0]
    return sorted({1, last // 2, last} - {0}) if known.startswith(SLOW) else list(range(1, last + 1))


def note_gradient(flow: list[tuple[str, bool]], part: str, module: nn.Module, inputs: object, output: object) -> None:
    """Note whether a module's output needs a gradient, as a hook of its forward pass."""
    parts = output if isinstance(output, list | tuple) else [output]
    flow.append((part, any(isinstance(one, torch.Tensor) and one.requires_grad for one in parts)))
