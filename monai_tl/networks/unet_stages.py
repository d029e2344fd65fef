"""Stages of U-shaped convolutional networks, of MONAI and of nnU-Net, as functions of an instance."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from monai_tl.networks.stage_map import StageMap

Prefixes = dict[str, tuple[str, ...]]


def children_of(network: nn.Module, name: str) -> int:
    """Return the number of entries of a module list; 0 if there is no such list."""
    return len(getattr(network, name)._modules) if isinstance(getattr(network, name, None), nn.Module) else 0


def u_shape(encoder: Mapping[str, tuple[str, ...]], decoder: Mapping[str, tuple[str, ...]], head: tuple[str, ...]) -> StageMap:
    """Return stages from those of the encoder, those of the decoder in the order in which they run, and the head's prefixes."""
    return StageMap({**encoder, **decoder, "head": head}, decoder=tuple(decoder))


def numbered(name: str, *lists: str, count: int, start: int = 0) -> Prefixes:
    """Return ``enc_1: (down.0, …), enc_2: …``: entry i of each list belongs to stage ``start + i``."""
    return {f"{name}_{start + k}": tuple(f"{one}.{k}" for one in lists) for k in range(count)}


def upwards(*lists: str, count: int) -> Prefixes:
    """Return ``dec_2: (up.0, …), dec_1: …``: the number of a decoder's stage is its level, 0 at full resolution."""
    return {f"dec_{count - 1 - k}": tuple(f"{one}.{k}" for one in lists) for k in range(count)}


def unet_stages(network: nn.Module) -> StageMap:
    """Return the stages of MONAI's ``UNet``, whose levels are nested; the head begins with a transposed convolution."""
    encoder, decoder, at, module = Prefixes(), list[str](), "model", network.get_submodule("model")
    while type(module._modules.get("1")).__name__ == "SkipConnection":
        encoder[f"enc_{len(encoder)}"] = (f"{at}.0",)
        decoder.append(f"{at}.2")
        at = f"{at}.1.submodule"
        module = network.get_submodule(at)
    encoder["bottleneck"] = (at,)
    head, *others = decoder
    return u_shape(encoder, {f"dec_{k + 1}": (others[k],) for k in reversed(range(len(others)))}, (head,))


def attention_unet_stages(network: nn.Module) -> StageMap:
    """Return the stages of MONAI's ``AttentionUnet``: a decoder stage is one attention gate, up-convolution and merge."""
    encoder: Prefixes = {"enc_0": ("model.0",)}
    decoder, at = list[tuple[str, ...]](), "model.1"
    while True:
        decoder.append(tuple(f"{at}.{part}" for part in ("attention", "upconv", "merge")))
        below = network.get_submodule(f"{at}.submodule")
        if type(below._modules.get("1")).__name__ != "AttentionLayer":
            break
        encoder[f"enc_{len(encoder)}"] = (f"{at}.submodule.0",)
        at = f"{at}.submodule.1"
    encoder["bottleneck"] = (f"{at}.submodule",)
    return u_shape(encoder, {f"dec_{k}": decoder[k] for k in reversed(range(len(decoder)))}, ("model.2",))


def basic_unet_stages(network: nn.Module) -> StageMap:
    """Return the stages of MONAI's ``BasicUNet``: its direct children."""
    encoder, decoder = ["conv_0", "down_1", "down_2", "down_3", "down_4"], ["upcat_4", "upcat_3", "upcat_2", "upcat_1"]
    return StageMap({name: (name,) for name in [*encoder, *decoder, "final_conv"]}, decoder=tuple(decoder))


def unet_plus_plus_stages(network: nn.Module) -> StageMap:
    """Return the stages of ``BasicUNetPlusPlus``: each node of its grid feeds several others, so its decoder is one stage."""
    levels = [name for name in network._modules if name.startswith("conv_")]
    encoder: Prefixes = {f"enc_{k}": (name,) for k, name in enumerate(levels[:-1])}
    up = tuple(name for name in network._modules if name.startswith("upcat_"))
    heads = tuple(name for name in network._modules if name.startswith("final_conv_"))
    return u_shape({**encoder, "bottleneck": (levels[-1],)}, {"decoder_grid": up}, heads)


def dyn_unet_stages(network: nn.Module) -> StageMap:
    """Return the stages of MONAI's ``DynUNet``, whose ``skip_layers`` lists the same modules again."""
    encoder = {"enc_0": ("input_block",), **numbered("enc", "downsamples", count=children_of(network, "downsamples"), start=1)}
    heads = tuple(name for name in ("output_block", "deep_supervision_heads") if children_of(network, name))
    up = upwards("upsamples", count=children_of(network, "upsamples"))
    return u_shape({**encoder, "bottleneck": ("bottleneck",)}, up, heads)


def vnet_stages(network: nn.Module) -> StageMap:
    """Return the stages of MONAI's ``VNet``."""
    *down, deepest = (name for name in network._modules if name.startswith("down_tr"))
    up = [name for name in network._modules if name.startswith("up_tr")]
    encoder = {"enc_0": ("in_tr",), **{f"enc_{k + 1}": (name,) for k, name in enumerate(down)}, "bottleneck": (deepest,)}
    return u_shape(encoder, {f"dec_{len(up) - 1 - k}": (name,) for k, name in enumerate(up)}, ("out_tr",))


def reg_unet_stages(network: nn.Module) -> StageMap:
    """Return the stages of MONAI's ``RegUNet``; its output is the mean over the levels that ``extract_levels`` names."""
    encoder = numbered("enc", "encode_convs", "encode_pools", count=children_of(network, "encode_convs"))
    up, depth = children_of(network, "decode_convs"), len(encoder)
    decoder = {f"dec_{depth - 1 - k}": (f"decode_deconvs.{k}", f"decode_convs.{k}") for k in range(up)}
    return u_shape({**encoder, "bottleneck": ("bottom_block",)}, decoder, ("output_block",))


def ah_net_stages(network: nn.Module) -> StageMap:
    """Return the stages of MONAI's ``AHNet``."""
    encoder = {"enc_0": ("conv1", "bn0"), **{f"enc_{k}": (f"layer{k}",) for k in (1, 2, 3)}, "bottleneck": ("layer4",)}
    decoder = {
        "dec_4": ("up0", "dense0"),
        "dec_3": ("up1", "dense1"),
        "dec_2": ("up2", "dense2"),
        "dec_1": ("trans1", "dense3"),
        "dec_0": ("up3", "dense4", "psp"),
    }
    return u_shape(encoder, decoder, ("final",))


def mednext_stages(network: nn.Module) -> StageMap:
    """Return the stages of MONAI's ``MedNeXt``: a stage of the encoder ends with its down-sampling block."""
    encoder = numbered("enc", "enc_stages", "down_blocks", count=children_of(network, "enc_stages"))
    encoder["enc_0"] = ("stem", *encoder["enc_0"])
    heads = tuple(name for name in ("out_0", "out_blocks") if children_of(network, name))
    up = upwards("up_blocks", "dec_stages", count=children_of(network, "dec_stages"))
    return u_shape({**encoder, "bottleneck": ("bottleneck",)}, up, heads)


def flexible_unet_stages(network: nn.Module) -> StageMap:
    """Return the stages of MONAI's ``FlexibleUNet``: with a ResNet, or with an EfficientNet, whose own head is never used."""
    stem, layers, rest = ("conv1", "bn1"), [f"layer{k}" for k in (1, 2, 3, 4)], list[str]()
    backbone = network.get_submodule("encoder")
    if "_blocks" in backbone._modules:
        stem, layers = ("_conv_stem", "_bn0"), [f"_blocks.{k}" for k in range(children_of(backbone, "_blocks"))]
        rest = [name for name in ("_conv_head", "_bn1", "_fc") if name in backbone._modules]
    encoder: Prefixes = {"enc_0": tuple(f"encoder.{name}" for name in stem)}
    encoder |= {f"enc_{k + 1}": (f"encoder.{name}",) for k, name in enumerate(layers)}
    encoder[f"enc_{len(layers)}"] += tuple(f"encoder.{name}" for name in rest)
    up = upwards("decoder.blocks", count=children_of(network.get_submodule("decoder"), "blocks"))
    return u_shape(encoder, up, ("segmentation_head",))


def nnunet_stages(network: nn.Module) -> StageMap:
    """Return the stages of nnU-Net's networks, whose decoder lists the encoder's modules again."""
    encoder_, decoder_ = network.get_submodule("encoder"), network.get_submodule("decoder")
    encoder = numbered("enc", "encoder.stages", count=children_of(encoder_, "stages"))
    if "stem" in encoder_._modules and encoder_.stem is not None:
        encoder["enc_0"] = ("encoder.stem", *encoder["enc_0"])
    encoder["bottleneck"] = encoder.popitem()[1]
    up = upwards("decoder.transpconvs", "decoder.stages", count=children_of(decoder_, "stages"))
    return u_shape(encoder, up, ("decoder.seg_layers",))
