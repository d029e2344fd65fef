"""Weights files of others, built from random weights: as their programs write them: aliases, wrappers, numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from monai.networks.nets import SegResNet
from torch import Tensor, nn

from monai_tl.transfer.source import Source

KERNELS = [[1, 3, 3], [3, 3, 3], [3, 3, 3]]  # along nnU-Net's axes
STRIDES = [[1, 1, 1], [1, 2, 2], [2, 2, 2]]
OPS = {"conv_op": nn.Conv3d, "norm_op": nn.InstanceNorm3d, "nonlin": nn.LeakyReLU}
USUAL = {"conv_bias": True, "norm_op_kwargs": {"eps": 1e-05, "affine": True}, "nonlin_kwargs": {"inplace": True}}
KINDS = {"PlainConvUNet": PlainConvUNet, "ResidualEncoderUNet": ResidualEncoderUNet}
ARCHITECTURE = {
    "n_stages": 3,
    "features_per_stage": [4, 8, 8],
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "kernel_sizes": KERNELS,
    "strides": STRIDES,
    "n_conv_per_stage_decoder": [1, 1],
    "conv_bias": True,
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "norm_op_kwargs": {"eps": 1e-05, "affine": True},
    "dropout_op": None,
    "dropout_op_kwargs": None,
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
}
BLOCKS = {"PlainConvUNet": {"n_conv_per_stage": [2, 1, 1]}, "ResidualEncoderUNet": {"n_blocks_per_stage": [1, 1, 2]}}
CT = {
    "mean": 99.5,
    "std": 37.25,
    "percentile_00_5": -41.0,
    "percentile_99_5": 176.0,
    "min": -1024.0,
    "max": 3000.0,
    "median": 1.0,
}


def told(source: Source) -> str:
    """Return all that is said of a source, in one text."""
    return " ".join([*source.notes, *source.remarks])


def built(kind: str, settings: Mapping[str, Any], channels: int, classes: int, seed: int = 0) -> nn.Module:
    """Build one of nnU-Net's networks with random weights; norms are random, too, as their initial ones are all alike."""
    plain = {name: value for name, value in settings.items() if name not in (*OPS, "dropout_op", "dropout_op_kwargs")}
    plain = {**USUAL, **plain}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = KINDS[kind](channels, **plain, **OPS, num_classes=classes)
        for weight in network.parameters():
            nn.init.normal_(weight, std=0.3)
    return network.eval()


def nnunet_network(kind: str = "PlainConvUNet", channels: int = 1, classes: int = 3) -> nn.Module:
    """Build a network as nnU-Net does, along its own axes."""
    return built(kind, {**ARCHITECTURE, **BLOCKS[kind]}, channels, classes)


def nnunet_plans(kind: str = "PlainConvUNet", transpose: Sequence[int] = (0, 1, 2), **config: Any) -> dict[str, Any]:
    """Return plans.json: spacing along nnU-Net's axes after ``transpose``."""
    architecture = {
        "network_class_name": f"dynamic_network_architectures.architectures.unet.{kind}",
        "arch_kwargs": {**ARCHITECTURE, **BLOCKS[kind]},
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    usual = {
        "patch_size": [16, 32, 32],
        "spacing": [3.0, 1.0, 0.5],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [True],
        "architecture": architecture,
    }
    return {
        "dataset_name": "Dataset001_Any",
        "plans_name": "nnUNetPlans",
        "transpose_forward": list(transpose),
        "transpose_backward": list(np.argsort(transpose).tolist()),
        "image_reader_writer": "SimpleITKIO",
        "configurations": {
            "2d": {"patch_size": [32, 32]},
            "3d_fullres": {**usual, **config},
            "3d_bs4": {"batch_size": 4, "inherits_from": "3d_fullres"},
        },
        "foreground_intensity_properties_per_channel": {"0": CT},
    }


def nnunet_dataset(channels: Sequence[str] = ("T1",), labels: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return dataset.json."""
    return {
        "channel_names": {str(n): name for n, name in enumerate(channels)},
        "labels": labels or {"background": 0, "anterior": 1, "posterior": 2},
        "numTraining": 20,
        "file_ending": ".nii.gz",
    }


def nnunet_checkpoint(
    network: nn.Module, plans: Mapping[str, Any] | None, dataset: Mapping[str, Any] | None, configuration: str = "3d_fullres"
) -> dict[str, Any]:
    """Return what nnU-Net saves, with numbers of numpy; without ``init_args`` if there are no plans."""
    inside = {"plans": plans, "dataset_json": dataset, "configuration": configuration, "fold": 0, "device": torch.device("cpu")}
    return {
        "network_weights": network.state_dict(),
        "optimizer_state": {"state": {}, "param_groups": [{"lr": np.float64(0.01)}]},
        "grad_scaler_state": {"scale": 65536.0},
        "logging": {"mean_fg_dice": [np.float32(0.5), np.float64(0.75)], "epoch": [np.int64(1)]},
        "_best_ema": np.float64(0.7),
        "current_epoch": 1000,
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
        **({"init_args": inside} if plans is not None else {}),
    }


def write_nnunet(
    folder: Path, content: Any, plans: Mapping[str, Any], dataset: Mapping[str, Any], folds: Sequence[int] = (0,)
) -> Path:
    """Write a folder of nnU-Net's results."""
    for fold in folds:
        (folder / f"fold_{fold}").mkdir(parents=True, exist_ok=True)
        torch.save(content, folder / f"fold_{fold}" / "checkpoint_final.pth")
    (folder / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    (folder / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    return folder


def through_nnunet(network: nn.Module, image: Tensor, transpose: Sequence[int]) -> Tensor:
    """Return a network's output on an image along (i, j, k), computed along nnU-Net's axes and turned back."""
    axes = [4, 3, 2]
    axes = [axes[axis] for axis in transpose]
    back = np.argsort([axis - 2 for axis in axes]) + 2
    with torch.no_grad():
        return network(image.permute(0, 1, *axes)).permute(0, 1, *back.tolist())


NNSSL_PLAN: dict[str, Any] = {
    "architecture_plans": {
        "arch_class_name": "ResidualEncoderUNet",
        "arch_kwargs": {**ARCHITECTURE, **BLOCKS["ResidualEncoderUNet"]},
    },
    "pretrain_plan": {
        "configurations": {
            "onemmiso": {
                "spacing": [1.0, 1.0, 1.0],
                "patch_size": [160, 160, 160],
                "normalization_schemes": ["ZScoreNormalization"],
                "use_mask_for_norm": [False],
            }
        }
    },
    "pretrain_num_input_channels": 1,
    "recommended_downstream_patchsize": [160, 160, 160],
    "key_to_encoder": "encoder.stages",
    "key_to_stem": "encoder.stem",
    "keys_to_in_proj": ["encoder.stem.convs.0.conv", "encoder.stem.convs.0.all_modules.0"],
    "key_to_lpe": None,
}


def nnssl_checkpoint(plan: Mapping[str, Any] = NNSSL_PLAN) -> dict[str, Any]:
    """Return what nnssl publishes: encoder, and the decoder of the pre-training with another head."""
    network = nnunet_network("ResidualEncoderUNet", classes=1)
    weights = {name: value for name, value in network.state_dict().items() if not name.startswith("decoder.seg_layers.0")}
    return {"network_weights": weights, "nnssl_adaptation_plan": dict(plan), "citations": [], "trainer_name": "BaseMAETrainer"}


def stu_net_weights(classes: int = 5) -> dict[str, Tensor]:
    """Return weights with STU-Net's names: two convolutions and a shortcut in each block, as nnU-Net v1 numbers its levels."""
    shapes: dict[str, tuple[int, ...]] = {}
    for level, (before, features) in enumerate([(1, 4), (4, 8)]):
        block = f"conv_blocks_context.{level}.0"
        shapes |= {f"{block}.conv1.weight": (features, before, 3, 3, 3), f"{block}.conv2.weight": (features, features, 3, 3, 3)}
        shapes |= {f"{block}.conv3.weight": (features, before, 1, 1, 1), f"{block}.norm1.weight": (features,)}
    shapes |= {"upsample_layers.0.conv.weight": (4, 8, 1, 1, 1), "conv_blocks_localization.0.0.conv1.weight": (4, 8, 3, 3, 3)}
    shapes |= {"seg_outputs.0.weight": (classes, 4, 1, 1, 1)}
    return {name: torch.rand(shape) for name, shape in shapes.items()}


SEG_RES_NET = {"init_filters": 8, "blocks_down": [1, 1, 2], "blocks_up": [1, 1], "dropout_prob": 0.2}
BRATS_TRANSFORMS: list[dict[str, Any]] = [
    {"_target_": "LoadImaged", "keys": "@image_key"},
    {"_target_": "NormalizeIntensityd", "keys": "@image_key", "nonzero": True, "channel_wise": True},
]
CT_TRANSFORMS: list[dict[str, Any]] = [
    {"_target_": "LoadImaged", "keys": ["image", "label"]},
    {"_target_": "EnsureChannelFirstd", "keys": ["image", "label"]},
    {"_target_": "Orientationd", "keys": ["image", "label"], "axcodes": "RAS"},
    {"_target_": "Spacingd", "keys": ["image", "label"], "pixdim": [1.5, 1.5, 2.0], "mode": ["bilinear", "nearest"]},
    {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -57, "a_max": 164, "b_min": 0, "b_max": 1, "clip": True},
    {"_target_": "EnsureTyped", "keys": ["image", "label"]},
]


def zoo_config(network: Mapping[str, Any], transforms: Any = BRATS_TRANSFORMS, **more: Any) -> dict[str, Any]:
    """Return a config as the Model Zoo's: its expressions are never to be run."""
    return {
        "imports": ["$import glob", "$import os"],
        "bundle_root": ".",
        "image_key": "image",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": dict(network),
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": transforms},
        "run": ["$@evaluator.run()"],
        **more,
    }


def zoo_metadata(channels: Sequence[str], classes: Sequence[str], **numbers: int) -> dict[str, Any]:
    """Return metadata.json as the Model Zoo's: without preprocessing."""

    def part(names: Sequence[str], number: int) -> dict[str, Any]:
        return {"type": "image", "num_channels": number, "channel_def": {str(n): name for n, name in enumerate(names)}}

    inputs, outputs = numbers.get("inputs", len(channels)), numbers.get("outputs", len(classes))
    image, pred = part(channels, inputs), part(classes, outputs)
    return {
        "version": "0.5.2",
        "monai_version": "1.4.0",
        "task": "segmentation",
        "copyright": "Copyright (c) MONAI Consortium",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": pred}},
    }


def write_zoo(folder: Path, network: nn.Module, metadata: Mapping[str, Any], **configs: Mapping[str, Any]) -> Path:
    """Write a bundle: models/model.pt under ``model``, as MONAI's checkpoint saver does, and configs."""
    (folder / "models").mkdir(parents=True)
    (folder / "configs").mkdir()
    torch.save({"model": network.state_dict()}, folder / "models" / "model.pt")
    for name, content in {"metadata": metadata, **configs}.items():
        (folder / "configs" / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def brats_bundle(folder: Path) -> Path:
    """Write a bundle like the Model Zoo's for BraTS: four channels, three regions that overlap."""
    network = SegResNet(**SEG_RES_NET, in_channels=4, out_channels=3)
    metadata = zoo_metadata(["T1c", "T1", "T2", "FLAIR"], ["Tumor core", "Whole tumor", "Enhancing tumor"])
    defined = {"_target_": "SegResNet", **SEG_RES_NET, "in_channels": 4, "out_channels": 3}
    return write_zoo(folder, network, metadata, inference=zoo_config(defined))
