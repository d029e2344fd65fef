"""Networks that can be built by name: MONAI's and nnU-Net's for 3D segmentation, with settings that suit it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from monai_tl.networks import residual_stages as residual
from monai_tl.networks import transformer_stages as transformer
from monai_tl.networks import unet_stages as unet
from monai_tl.networks.stage_map import StageMap

StageRule = Callable[[nn.Module], StageMap]
UnusedRule = Callable[[nn.Module], Mapping[str, str]]


@dataclass(frozen=True)
class KnownNetwork:
    """A network class that can be built by its name.

    Attributes:
        path: of the class, e.g. ``"monai.networks.nets.SegResNet"``.
        stages: returns the stages of an instance; None if `monai_tl.networks.stages.stages` needs no rule.
        settings: arguments that the class requires, or whose default does not suit 3D segmentation.
        channels: names of the arguments for the numbers of image channels and of classes.
        factory: path of a function or class that builds it; empty: the class itself.
        output: position of the segmentation in what the network returns, if that is a list in training; None if it is a tensor.
        unused: returns patterns of weights' names of an instance -> why these weights never get a gradient.
        fixed: setting -> the only value that can be used here, and why.
        repeats_image: whether the image reaches its features past the input kernels too, so that the function depends on the
            number and the order of its channels.
        note: what a user should know of it, in one sentence.
        extra: extra of this package that installs it; empty if it is always installed.
    """

    path: str
    stages: StageRule | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    channels: tuple[str, str] = ("in_channels", "out_channels")
    factory: str = ""
    output: int | None = None
    unused: UnusedRule | None = None
    fixed: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    repeats_image: bool = False
    note: str = ""
    extra: str = ""


def known_network(kind: type) -> KnownNetwork | None:
    """Return the entry of a network class, wherever its library defines it; None if it is not known."""
    library = kind.__module__.partition(".")[0]
    for known in KNOWN_NETWORKS.values():
        names = {path.rpartition(".")[2] for path in (known.path, known.factory)}
        if kind.__name__ in names and library in (known.path.partition(".")[0], known.factory.partition(".")[0]):
            return known
    return None


def stage_rule(kind: type) -> StageRule | None:
    """Return the rule of a network class; None if it is not known."""
    known = known_network(kind)
    return known.stages if known else None


def unused_weights(network: nn.Module) -> dict[str, str]:
    """Return the names of weights that never get a gradient, as the network's forward pass leaves them out -> why.

    Example:
        >>> from monai.networks.nets import BasicUNetPlusPlus
        >>> from monai_tl.networks.known import unused_weights
        >>> unused_weights(BasicUNetPlusPlus(features=(4, 4, 8, 8, 8, 4)))["final_conv_0_1.bias"]
        'a head of deep supervision, which is off'
    """
    known = known_network(type(network))
    rules = known.unused(network) if known and known.unused else {}
    return {
        name: why for name, _ in network.named_parameters() for pattern, why in rules.items() if re.fullmatch(pattern, name)
    }


ONE_LOSS = "the loss here is that of one output, so its further outputs would learn nothing; omit it"
DEEP = {"deep_supervision": (False, ONE_LOSS)}
DEPTH = {"dsdepth": (1, ONE_LOSS)}
HEAD = {"use_conv_final": (True, "without it the network has no output layer; omit it")}
DEEP_HEADS = "a head of deep supervision, which is off"
FOUR_LEVELS = {"spatial_dims": 3, "channels": [16, 32, 64, 128, 256], "strides": [2, 2, 2, 2]}
NNUNET = {
    "n_stages": 6,
    "features_per_stage": [32, 64, 128, 256, 320, 320],
    "conv_op": "torch.nn.Conv3d",
    "kernel_sizes": 3,
    "strides": [1, 2, 2, 2, 2, 2],
    "conv_bias": True,
    "norm_op": "torch.nn.InstanceNorm3d",
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
}
MONAI = "monai.networks.nets."
DNA = "dynamic_network_architectures.architectures.unet."


def _always(pattern: str, why: str) -> UnusedRule:
    return lambda network: {pattern: why}


def _lower_heads(network: nn.Module) -> Mapping[str, str]:
    decoder = network.get_submodule("decoder")
    heads = 0 if decoder.deep_supervision else unet.children_of(decoder, "seg_layers") - 1
    return {rf"decoder\.seg_layers\.{k}\..*": DEEP_HEADS for k in range(heads)}


def _unet_plus_plus_heads(network: nn.Module) -> Mapping[str, str]:
    return {} if network.deep_supervision else {r"final_conv_0_[123]\..*": DEEP_HEADS}


def _nnunet(name: str, **settings: Any) -> KnownNetwork:
    return KnownNetwork(
        DNA + name,
        unet.nnunet_stages,
        {**NNUNET, **settings},
        channels=("input_channels", "num_classes"),
        unused=_lower_heads,
        fixed=DEEP,
        extra="nnunet",
    )


def _mednext(ratios: list[int], blocks: list[int], bottleneck: int) -> KnownNetwork:
    settings = {
        "kernel_size": 3,
        "use_residual_connection": True,
        "encoder_expansion_ratio": ratios,
        "decoder_expansion_ratio": ratios[::-1],
        "bottleneck_expansion_ratio": ratios[-1],
        "blocks_down": blocks,
        "blocks_bottleneck": bottleneck,
        "blocks_up": blocks[::-1],
    }
    return KnownNetwork(f"{MONAI}MedNeXt", unet.mednext_stages, settings, fixed=DEEP)


KNOWN_NETWORKS: dict[str, KnownNetwork] = {
    "HighRes3DNet": KnownNetwork("monai_tl.networks.highres3dnet.HighRes3DNet", None),
    "AHNet": KnownNetwork(f"{MONAI}AHNet", unet.ah_net_stages, {"psp_block_num": 3, "upsample_mode": "trilinear"}),
    "AttentionUnet": KnownNetwork(f"{MONAI}AttentionUnet", unet.attention_unet_stages, FOUR_LEVELS),
    "BasicUNet": KnownNetwork(f"{MONAI}BasicUNet", unet.basic_unet_stages),
    "BasicUNetPlusPlus": KnownNetwork(
        f"{MONAI}BasicUNetPlusPlus",
        unet.unet_plus_plus_stages,
        output=0,
        unused=_unet_plus_plus_heads,
        fixed=DEEP,
    ),
    "DiNTS": KnownNetwork(f"{MONAI}DiNTS", residual.dints_stages, factory="monai_tl.networks.factories.build_dints"),
    "DynUNet": KnownNetwork(
        f"{MONAI}DynUNet",
        unet.dyn_unet_stages,
        {"spatial_dims": 3, "kernel_size": [3, 3, 3, 3], "strides": [1, 2, 2, 2], "upsample_kernel_size": [2, 2, 2]},
        fixed=DEEP,
    ),
    "FlexibleUNet": KnownNetwork(
        f"{MONAI}FlexibleUNet",
        unet.flexible_unet_stages,
        {"backbone": "resnet18", "spatial_dims": 3},
        unused=_always(r"encoder\.(_conv_head|_bn1|_fc)\..*", "the EfficientNet's own head, which never runs"),
        fixed={"pretrained": (False, "those weights are of 2D networks, and would be downloaded; omit it")},
    ),
    "HighResNet": KnownNetwork(f"{MONAI}HighResNet", residual.high_res_net_stages),
    "MedicalNet": KnownNetwork("monai_tl.networks.dilated_resnet.MedicalNet", None),
    "MedNeXt": KnownNetwork(f"{MONAI}MedNeXt", unet.mednext_stages, fixed=DEEP),
    "MedNeXtS": _mednext([2, 2, 2, 2], [2, 2, 2, 2], 2),
    "MedNeXtB": _mednext([2, 3, 4, 4], [2, 2, 2, 2], 2),
    "MedNeXtM": _mednext([2, 3, 4, 4], [3, 4, 4, 4], 4),
    "MedNeXtL": _mednext([3, 4, 8, 8], [3, 4, 8, 8], 8),
    "PlainConvUNet": _nnunet("PlainConvUNet", n_conv_per_stage=2, n_conv_per_stage_decoder=2),
    "RegUNet": KnownNetwork(
        f"{MONAI}RegUNet",
        unet.reg_unet_stages,
        {"spatial_dims": 3, "num_channel_initial": 16, "depth": 3, "extract_levels": [0, 1, 2, 3], "concat_skip": True},
        note="Its output is the mean of an output of each level in extract_levels.",
    ),
    "ResidualEncoderUNet": _nnunet("ResidualEncoderUNet", n_blocks_per_stage=[1, 3, 4, 6, 6, 6], n_conv_per_stage_decoder=1),
    "SegResNet": KnownNetwork(f"{MONAI}SegResNet", residual.seg_res_net_stages, fixed=HEAD),
    "SegResNetDS": KnownNetwork(f"{MONAI}SegResNetDS", residual.seg_res_net_ds_stages, fixed=DEPTH),
    "SegResNetDS2": KnownNetwork(
        f"{MONAI}SegResNetDS2",
        residual.seg_res_net_ds2_stages,
        output=1,
        unused=_always(r"up_layers\..*", "the decoder for points"),
        fixed=DEPTH,
    ),
    "SegResNetVAE": KnownNetwork(
        f"{MONAI}SegResNetVAE",
        residual.seg_res_net_stages,
        {"input_image_size": [96, 96, 96]},
        output=0,
        unused=_always(r"vae_.*", "the autoencoder, whose loss is not used"),
        fixed=HEAD,
        note="Its autoencoder runs in training, so a patch has the size input_image_size.",
    ),
    "SwinUNETR": KnownNetwork(f"{MONAI}SwinUNETR", transformer.swin_unetr_stages),
    "UNETR": KnownNetwork(
        f"{MONAI}UNETR",
        transformer.unetr_stages,
        {"img_size": [96, 96, 96]},
        unused=_always(r"vit\.blocks\.\d+\.norm_cross_attn\..*", "for cross-attention, which never runs"),
        note="It takes patches of the size img_size only.",
    ),
    "UNet": KnownNetwork(f"{MONAI}UNet", unet.unet_stages, {**FOUR_LEVELS, "num_res_units": 2}),
    "VISTA3D": KnownNetwork(
        f"{MONAI}VISTA3D",
        residual.vista3d_stages,
        factory="monai_tl.networks.factories.PromptedByAllClasses",
        unused=_always(r"(point_head|image_encoder\.up_layers)\..*", "for prompts by points"),
    ),
    "VNet": KnownNetwork(
        f"{MONAI}VNet",
        unet.vnet_stages,
        repeats_image=True,
        note="It adds the image's channels, repeated to 16, to its first features, so their number divides 16.",
    ),
}
"""By name, as ``--network`` takes it."""
