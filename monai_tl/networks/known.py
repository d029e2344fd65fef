"""The stages of known networks: rules for MONAI's and nnU-Net's classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from monai_tl.networks.stage_map import StageMap

StageRule = Callable[[nn.Module], StageMap]


@dataclass(frozen=True)
class KnownNetwork:
    """A network class that can be built by its name.

    Attributes:
        path: of the class, e.g. ``"monai.networks.nets.SegResNet"``.
        stages: returns the stages of an instance; None if `monai_tl.networks.stages.stages` needs no rule.
        channels: names of the arguments for the numbers of image channels and of classes.
        settings: arguments that the class requires, or whose default does not suit 3D segmentation.
        extra: extra of this package that installs it; empty if it is always installed.
    """

    path: str
    stages: StageRule | None
    channels: tuple[str, str] = ("in_channels", "out_channels")
    settings: Mapping[str, Any] = field(default_factory=dict)
    extra: str = ""


def stage_rule(kind: type) -> StageRule | None:
    """Return the rule of a network class; None if it is not known."""
    return next((known.stages for name, known in KNOWN_NETWORKS.items() if name == kind.__name__ and _is(kind, known)), None)


def _is(kind: type, known: KnownNetwork) -> bool:
    return kind.__module__.split(".")[0] == known.path.split(".")[0]


def _basic_unet(network: nn.Module) -> StageMap:
    encoder, decoder = ["conv_0", "down_1", "down_2", "down_3", "down_4"], ["upcat_4", "upcat_3", "upcat_2", "upcat_1"]
    return StageMap({name: (name,) for name in [*encoder, *decoder, "final_conv"]}, decoder=tuple(decoder))


def _dyn_unet(network: nn.Module) -> StageMap:
    # skip_layers registers the same modules again
    down, up = (len(network.get_submodule(name)._modules) for name in ("downsamples", "upsamples"))
    prefixes = {"enc_0": ("input_block",), **{f"enc_{k + 1}": (f"downsamples.{k}",) for k in range(down)}}
    decoder = {f"dec_{up - 1 - k}": (f"upsamples.{k}",) for k in range(up)}
    head = tuple(name for name in ("output_block", "deep_supervision_heads") if name in network._modules)
    return StageMap({**prefixes, "bottleneck": ("bottleneck",), **decoder, "head": head}, decoder=tuple(decoder))


def _seg_res_net(network: nn.Module) -> StageMap:
    down, up = (len(network.get_submodule(name)._modules) for name in ("down_layers", "up_layers"))
    prefixes = {"enc_0": ("convInit", "down_layers.0"), **{f"enc_{k}": (f"down_layers.{k}",) for k in range(1, down)}}
    decoder = {f"dec_{up - 1 - k}": (f"up_samples.{k}", f"up_layers.{k}") for k in range(up)}
    return StageMap({**prefixes, **decoder, "head": ("conv_final",)}, decoder=tuple(decoder))


KNOWN_NETWORKS: dict[str, KnownNetwork] = {
    "HighRes3DNet": KnownNetwork("monai_tl.networks.highres3dnet.HighRes3DNet", None),
    "BasicUNet": KnownNetwork("monai.networks.nets.BasicUNet", _basic_unet),
    "DynUNet": KnownNetwork(
        "monai.networks.nets.DynUNet",
        _dyn_unet,
        settings={
            "spatial_dims": 3,
            "kernel_size": [3, 3, 3, 3],
            "strides": [1, 2, 2, 2],
            "upsample_kernel_size": [2, 2, 2],
            "deep_supervision": False,
        },
    ),
    "SegResNet": KnownNetwork("monai.networks.nets.SegResNet", _seg_res_net),
}
"""By name, as ``--network`` takes it."""
