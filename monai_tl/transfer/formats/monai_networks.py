"""Ordinary weights of MONAI's networks: which network they belong to, inferred from names and shapes."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from monai_tl.errors import ConfigError
from monai_tl.networks.network_spec import NetworkSpec
from monai_tl.networks.outline import outline
from monai_tl.text import listed
from monai_tl.transfer.formats.accounted import all_shapes, mismatches
from monai_tl.transfer.formats.swin_unetr import MERGING, PATCH, swin_channels, swin_unetr_spec
from monai_tl.transfer.tensors import Weights

INVISIBLE = (
    "settings that leave no trace in weights (activation, dropout, numbers of groups …) are assumed to be MONAI's defaults"
)
STRIDES = "its strides leave no trace in the weights: state them with --network UNet --set 'channels=[…],strides=[…]'"
DEEP_HEADS = r"deep_supervision_heads\.|skip_layers\.(next_layer\.)*super_head\."  # of DynUNet
NO_WEIGHT = r"(?!)"  # matches no name
CROSS = re.compile(r"vit\.blocks\.\d+\.norm2\.(weight|bias)")


@dataclass(frozen=True)
class Guess:
    """A network that weights may belong to.

    Attributes:
        spec: the network.
        channels: numbers of image channels and of classes.
        note: what is assumed.
        unused: pattern of the names of weights that it does not have: further heads of deep supervision.
    """

    spec: NetworkSpec
    channels: tuple[int, int]
    note: str = INVISIBLE
    unused: str = NO_WEIGHT


def guess_network(weights: Weights) -> tuple[Guess | None, str]:
    """Return the network that weights belong to, and what is assumed of it.

    A network is returned only if it has exactly these weights, by name and shape.

    Args:
        weights: with the network's own names.

    Returns:
        The network, or None if there is none; a note on it, also on one that nearly fits; empty if the names are unknown.

    Example:
        >>> from monai_tl import build_network
        >>> from monai_tl.transfer.formats.monai_networks import guess_network
        >>> guess, note = guess_network(build_network("SegResNet", 1, 3, init_filters=16).state_dict())
        >>> guess.channels, guess.spec.settings["init_filters"]
        ((1, 3), 16)
    """
    for recognise in GUESSES:
        try:
            guess = recognise(weights)
            if guess is None:
                continue
            used = {name: value for name, value in weights.items() if not re.match(guess.unused, name)}
            found = mismatches(used, all_shapes(outline(guess.spec, *guess.channels)))
        except (KeyError, IndexError, ConfigError):  # other names or shapes than this network has
            continue
        return (None, f"it resembles {guess.spec}, but {listed(found)}") if found else (guess, guess.note)
    return None, STRIDES if "model.1.submodule.0.conv.weight" in weights or "model.0.conv.unit0.conv.weight" in weights else ""


def with_cross_attention(weights: Weights) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """Return the weights of a transformer of older MONAI with those that it has since, and a note.

    ``norm_cross_attn`` has no effect on the output of UNETR; its weights are those of a new layer: 1 and 0.
    """
    names = [name for name in weights if CROSS.fullmatch(name)]
    new = {name.replace(".norm2.", ".norm_cross_attn."): weights[name] for name in names}
    if not new or any(name in weights for name in new):
        return dict(weights), ()
    values = {
        name: torch.ones_like(value) if name.endswith("weight") else torch.zeros_like(value) for name, value in new.items()
    }
    why = "are not in the file, which is of older MONAI; they have no effect and are set to 1 and 0"
    return dict(weights) | values, (f"{len(values)} weights norm_cross_attn {why}",)


def _high_res_3d(weights: Weights) -> Guess | None:
    if "res_1.0.layers.1.conv.weight" not in weights:
        return None
    head_norm = "conv_2.adn.N.weight" in weights
    channels = weights["conv_0.conv.weight"].shape[1], weights["conv_2.conv.weight"].shape[0]
    note = "negative_slope=0.02, its default, is assumed"
    return Guess(NetworkSpec("HighRes3DNet", {"head_norm": head_norm}), channels, note)


def _seg_res_net(weights: Weights) -> Guess | None:
    first = weights.get("convInit.conv.weight")
    if first is None or "vae_fc1.weight" in weights:
        return None
    down = [_count(weights, rf"down_layers\.{k}\.(\d+)\.conv1\.") for k in range(_count(weights, r"down_layers\.(\d+)\."))]
    up = [_count(weights, rf"up_layers\.{k}\.(\d+)\.conv1\.") for k in range(_count(weights, r"up_layers\.(\d+)\."))]
    settings: dict[str, Any] = {"init_filters": first.shape[0], "blocks_down": down, "blocks_up": up}
    if "up_samples.0.1.deconv.weight" in weights:
        settings["upsample_mode"] = "deconv"
    elif "up_samples.0.1.pixelshuffle.conv_block.weight" in weights:
        settings["upsample_mode"] = "pixelshuffle"
    if "down_layers.0.1.norm1.running_mean" in weights:
        settings["norm"] = "batch"
    return Guess(NetworkSpec("SegResNet", settings), (first.shape[1], weights["conv_final.2.conv.weight"].shape[0]))


def _seg_res_net_ds(weights: Weights) -> Guess | None:
    first = weights.get("encoder.conv_init.weight")
    if first is None:
        return None
    down = [
        _count(weights, rf"encoder\.layers\.{k}\.blocks\.(\d+)\.") for k in range(_count(weights, r"encoder\.layers\.(\d+)\."))
    ]
    heads = sorted(int(match[1]) for name in weights if (match := re.fullmatch(r"up_layers\.(\d+)\.head\.weight", name)))
    norm = {} if "encoder.layers.0.blocks.0.norm1.running_mean" in weights else {"norm": "instance"}
    spec = NetworkSpec("SegResNetDS", {"init_filters": first.shape[0], "blocks_down": down, **norm})
    channels = first.shape[1], weights[f"up_layers.{heads[-1]}.head.weight"].shape[0]
    return Guess(spec, channels, unused=rf"up_layers\.(?!{heads[-1]}\.)\d+\.head\.")


def _swin_unetr(weights: Weights) -> Guess | None:
    spec = swin_unetr_spec(weights) if PATCH in weights else None
    return None if spec is None else Guess(spec, swin_channels(weights), MERGING)


def _dyn_unet(weights: Weights) -> Guess | None:
    first = weights.get("input_block.conv1.conv.weight")
    if first is None:
        return None
    downs, ups = (_count(weights, rf"{part}\.(\d+)\.") for part in ("downsamples", "upsamples"))
    kernels = [
        weights[f"{part}.conv1.conv.weight"]
        for part in ("input_block", *(f"downsamples.{k}" for k in range(downs)), "bottleneck")
    ]
    up = [_edge(weights[f"upsamples.{k}.transp_conv.conv.weight"].shape[2:]) for k in range(ups)][::-1]
    settings = {
        "kernel_size": [_edge(kernel.shape[2:]) for kernel in kernels],
        "strides": [1, *up],
        "upsample_kernel_size": up,
        "filters": [kernel.shape[0] for kernel in kernels],
        "res_block": "input_block.conv3.conv.weight" in weights,
    }
    if "input_block.norm1.running_mean" in weights:
        settings["norm_name"] = "batch"
    note = f"a first stride of 1 is assumed, and the others as its transposed convolutions; {INVISIBLE}"
    channels = first.shape[1], weights["output_block.conv.conv.weight"].shape[0]
    return Guess(NetworkSpec("DynUNet", settings), channels, note, unused=DEEP_HEADS)


def _basic_unet(weights: Weights) -> Guess | None:
    first = weights.get("conv_0.conv_0.conv.weight")
    if first is None or "upcat_1.convs.conv_1.conv.weight" not in weights:
        return None
    downs = [weights[f"down_{k}.convs.conv_0.conv.weight"].shape[0] for k in range(1, 5)]
    features = [first.shape[0], *downs, weights["upcat_1.convs.conv_1.conv.weight"].shape[0]]
    upsample = {} if "upcat_4.upsample.deconv.weight" in weights else {"upsample": "nontrainable"}
    norm = {"norm": "batch"} if "conv_0.conv_0.adn.N.running_mean" in weights else {}
    spec = NetworkSpec("BasicUNet", {"features": features, **norm, **upsample})
    return Guess(spec, (first.shape[1], weights["final_conv.weight"].shape[0]))


def _v_net(weights: Weights) -> Guess | None:
    first = weights.get("in_tr.conv_block.conv.weight")
    return None if first is None else Guess(NetworkSpec("VNet"), (first.shape[1], weights["out_tr.conv2.weight"].shape[0]))


def _unetr(weights: Weights) -> Guess | None:
    patches = weights.get("vit.patch_embedding.patch_embeddings.weight")
    if patches is None or patches.ndim != 5:
        return None
    count = weights["vit.patch_embedding.position_embeddings"].shape[1]
    edge = round(count ** (1 / 3))
    if edge**3 != count:
        return None
    settings = {
        "img_size": [edge * length for length in patches.shape[2:]],
        "feature_size": weights["encoder1.layer.conv1.conv.weight"].shape[0],
        "hidden_size": patches.shape[0],
        "mlp_dim": weights["vit.blocks.0.mlp.linear1.weight"].shape[0],
    }
    note = f"images of {edge} × {edge} × {edge} patches and num_heads=12 are assumed; {INVISIBLE}"
    return Guess(NetworkSpec("UNETR", settings), (patches.shape[1], weights["out.conv.conv.weight"].shape[0]), note)


def _edge(shape: Sequence[int]) -> int | list[int]:
    """Return one number for equal edges."""
    return shape[0] if len(set(shape)) == 1 else list(shape)


def _count(names: Collection[str], pattern: str) -> int:
    """Return how many values the group of a pattern takes at the beginning of names."""
    return len({match[1] for name in names if (match := re.match(pattern, name))})


GUESSES: tuple[Callable[[Weights], Guess | None], ...] = (
    _high_res_3d,
    _seg_res_net,
    _seg_res_net_ds,
    _swin_unetr,
    _dyn_unet,
    _basic_unet,
    _v_net,
    _unetr,
)
