"""Stages of MONAI's residual networks (SegResNet and its kin, HighResNet) and of DiNTS, as functions of an instance."""

from __future__ import annotations

from torch import nn

from monai_tl.networks.stage_map import StageMap
from monai_tl.networks.unet_stages import Prefixes, children_of, numbered, u_shape, upwards


def seg_res_net_stages(network: nn.Module) -> StageMap:
    """Return the stages of ``SegResNet``, and of ``SegResNetVAE``, whose autoencoder runs through the decoder too."""
    encoder = numbered("enc", "down_layers", count=children_of(network, "down_layers"))
    encoder["enc_0"] = ("convInit", "dropout", *encoder["enc_0"])
    autoencoder = tuple(name for name, part in network._modules.items() if name.startswith("vae_") and part is not None)
    decoder = upwards("up_samples", "up_layers", count=children_of(network, "up_layers"))
    if autoencoder:
        decoder["vae"] = autoencoder
    return u_shape(encoder, decoder, ("conv_final",))


def seg_res_net_ds_stages(network: nn.Module) -> StageMap:
    """Return the stages of ``SegResNetDS``: heads of deep supervision belong to the head."""
    decoder, heads = _seg_res_net_decoder(network, "", "up_layers")
    return u_shape(_seg_res_net_encoder(network, ""), decoder, heads)


def seg_res_net_ds2_stages(network: nn.Module) -> StageMap:
    """Return the stages of ``SegResNetDS2``: the decoder for points is one stage; the other one makes the segmentation."""
    decoder, heads = _seg_res_net_decoder(network, "", "up_layers_auto")
    _, others = _seg_res_net_decoder(network, "", "up_layers")
    return u_shape(_seg_res_net_encoder(network, ""), {"points": ("up_layers",), **decoder}, (*heads, *others))


def vista3d_stages(network: nn.Module) -> StageMap:
    """Return the stages of ``VISTA3D``: its class head is the head, and all that serves points is one stage."""
    at = "image_encoder."
    inner = network.get_submodule("image_encoder")
    decoder, features = _seg_res_net_decoder(inner, at, "up_layers_auto")
    decoder["dec_0"] += features
    return u_shape(_seg_res_net_encoder(inner, at), {"points": (f"{at}up_layers", "point_head"), **decoder}, ("class_head",))


def _seg_res_net_encoder(network: nn.Module, at: str) -> Prefixes:
    encoder = numbered("enc", f"{at}encoder.layers", count=children_of(network.get_submodule("encoder"), "layers"))
    encoder["enc_0"] = (f"{at}encoder.conv_init", *encoder["enc_0"])
    return encoder


def _seg_res_net_decoder(network: nn.Module, at: str, name: str) -> tuple[Prefixes, tuple[str, ...]]:
    """Return the stages of one decoder, and its heads, all but the last of which are for deep supervision."""
    levels = list(network.get_submodule(name).children())
    parts = [(f"{at}{name}.{k}.upsample", f"{at}{name}.{k}.blocks") for k in range(len(levels))]
    decoder: Prefixes = {
        f"dec_{len(levels) - 1 - k}": part for k, part in enumerate(parts) if levels[k].get_submodule("blocks").state_dict()
    }
    heads = tuple(f"{at}{name}.{k}.head" for k, level in enumerate(levels) if level.get_submodule("head").state_dict())
    return decoder, heads


def high_res_net_stages(network: nn.Module) -> StageMap:
    """Return the stages of MONAI's ``HighResNet``, named as those of `HighRes3DNet`: blocks of one dilation are one stage."""
    members: dict[str, list[str]] = {}
    convolutions, residual, before = 0, 0, 0
    for number, block in enumerate(network.get_submodule("blocks").children()):
        if type(block).__name__ == "HighResBlock":
            dilation = next(module.dilation[0] for module in block.modules() if isinstance(module, nn.Conv3d))
            residual, before = residual + (dilation != before), dilation
            name = f"res_{residual}"
        else:
            name = f"conv_{convolutions}"
            convolutions += 1
        members.setdefault(name, []).append(f"blocks.{number}")
    return StageMap({name: tuple(own) for name, own in members.items()})


def dints_stages(network: nn.Module) -> StageMap:
    """Return the stages of ``DiNTS``: its input stems, each step of its cells, its output stems, the head."""
    steps: dict[str, list[str]] = {}
    for cell in network.get_submodule("dints_space.cell_tree")._modules:
        steps.setdefault(cell.strip("()").split(",")[0], []).append(f"dints_space.cell_tree.{cell}")
    cells = {f"enc_{k + 1}": tuple(own) for k, own in enumerate(steps.values())}
    return u_shape({"enc_0": ("stem_down",), **cells}, {"dec_0": ("stem_up",)}, ("stem_finals",))
