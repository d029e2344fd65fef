"""What nnU-Net's plans.json and dataset.json say of a network and of its images, read as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_tl.datasets.regions import BACKGROUND
from monai_tl.errors import TransferError, did_you_mean
from monai_tl.networks.network_spec import NetworkSpec
from monai_tl.settings.normalisation import Normalisation, shortest
from monai_tl.text import listed
from monai_tl.transfer.formats.nnunet_names import axis_order, reordered

NETWORKS = ("PlainConvUNet", "ResidualEncoderUNet")
REQUIRED = {  # the parts of which `build_network` makes these networks; others would be other functions
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "nonlin": "torch.nn.LeakyReLU",
}
USUAL = {"conv_bias": True, "norm_op_kwargs": {"eps": 1e-05, "affine": True}, "nonlin_kwargs": {"inplace": True}}
OF_CLASS = {"conv_bias": False, "norm_op_kwargs": None, "nonlin_kwargs": None}  # where plans omit them
DROPOUT = ("dropout_op", "dropout_op_kwargs")
REORIENTED = "NibabelIOWithReorient"  # the reader of nnU-Net that turns every image to RAS
IGNORE = "ignore"


def configuration(plans: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    """Return one configuration of the plans, with what it inherits from others.

    Raises:
        TransferError: if there is none of that name, or if it is two-dimensional.
    """
    all_of = plans.get("configurations", {})
    merged: dict[str, Any] = {}
    asked, seen = name, list[str]()
    while name:
        if name not in all_of or name in seen:
            raise TransferError(f"source '{path}': the plans have no configuration '{name}': {did_you_mean(name, all_of)}")
        seen.append(name)
        merged = {**all_of[name], **merged}
        name = all_of[name].get("inherits_from", "")
    if len(merged.get("patch_size", (0, 0, 0))) != 3:
        raise TransferError(
            f"source '{path}' is of nnU-Net's configuration {asked}, which is 2D; use one of 3D, e.g. 3d_fullres"
        )
    return merged


def network_of(config: Mapping[str, Any], transpose_forward: Sequence[int]) -> tuple[NetworkSpec | None, list[str]]:
    """Return the network that a configuration describes, along i, j, k; None with a note if it cannot be built here."""
    notes = []
    if "architecture" in config:
        kind, settings = config["architecture"]["network_class_name"].split(".")[-1], config["architecture"]["arch_kwargs"]
    elif "UNet_class_name" in config:
        kind, settings = config["UNet_class_name"], _older_settings(config)
        notes = [
            "the plans are of an older nnU-Net: the network's settings are rebuilt from its numbers of features and kernels"
        ]
    else:
        return None, ["network: the plans do not describe it"]
    if kind not in NETWORKS:
        return None, [f"network: {kind} cannot be built here; there are {listed(NETWORKS)}"]
    other = [f"{name} {settings.get(name)}" for name, needed in REQUIRED.items() if not _is_class(settings.get(name), needed)]
    other += [f"{name} {settings[name]}" for name in DROPOUT if settings.get(name)]
    if other:
        return None, [*notes, f"network: a {kind} with {', '.join(other)} cannot be built here"]
    own = {name: value for name, value in settings.items() if name not in (*REQUIRED, *DROPOUT, *USUAL)}
    own |= {name: value for name, usual in USUAL.items() if (value := settings.get(name, OF_CLASS[name])) != usual}
    return NetworkSpec(kind, reordered(own, transpose_forward)), notes


def _is_class(path: Any, needed: str) -> bool:
    """Return whether plans name a class of torch, in either way: ``torch.nn.modules.conv.Conv3d`` or ``torch.nn.Conv3d``."""
    return str(path).startswith("torch.nn.") and str(path).split(".")[-1] == needed.split(".")[-1]


def _older_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that plans without ``architecture`` imply."""
    stages = len(config["n_conv_per_stage_encoder"])
    blocks = "n_conv_per_stage" if config["UNet_class_name"] == NETWORKS[0] else "n_blocks_per_stage"
    first, most = config["UNet_base_num_features"], config["unet_max_num_features"]
    return {
        "n_stages": stages,
        "features_per_stage": [min(first * 2**stage, most) for stage in range(stages)],
        "kernel_sizes": config["conv_kernel_sizes"],
        "strides": config["pool_op_kernel_sizes"],
        blocks: config["n_conv_per_stage_encoder"],
        "n_conv_per_stage_decoder": config["n_conv_per_stage_decoder"],
        **REQUIRED,
        **USUAL,
    }


def spacing_of(config: Mapping[str, Any], transpose_forward: Sequence[int]) -> tuple[float, ...] | None:
    """Return the voxel spacing along i, j, k; the plans list it along nnU-Net's axes after ``transpose_forward``."""
    spacing = config.get("spacing")
    return None if spacing is None else tuple(float(spacing[axis]) for axis in axis_order(transpose_forward))


def orientation_of(plans: Mapping[str, Any]) -> str | None:
    """Return the orientation of the images; None, as nnU-Net keeps each image's own axes, except with one of its readers."""
    return "RAS" if plans.get("image_reader_writer") == REORIENTED else None


def named_channels(dataset: Mapping[str, Any] | None) -> tuple[str, ...] | None:
    """Return the names of the image channels, in order."""
    names = (dataset or {}).get("channel_names") or (dataset or {}).get("modality")
    return None if not names else tuple(str(names[index]) for index in sorted(names, key=int))


def classes_of(dataset: Mapping[str, Any] | None) -> tuple[str, ...] | None:
    """Return the classes of the outputs, background first, or without it if they are regions that may overlap.

    ``ignore`` has no output.
    """
    labels = {name: value for name, value in (dataset or {}).get("labels", {}).items() if name != IGNORE}
    if not labels:
        return None
    if any(isinstance(value, list | tuple) and len(value) > 1 for value in labels.values()):
        return tuple(name for name, value in labels.items() if value not in (0, [0]))
    by_value = sorted(labels, key=lambda name: _only(labels[name]))
    return tuple(BACKGROUND if _only(labels[name]) == 0 else name for name in by_value)


def _only(value: Any) -> int:
    return int(value[0] if isinstance(value, list | tuple) else value)


def normalisation_of(
    plans: Mapping[str, Any], config: Mapping[str, Any], channels: Sequence[str] | None
) -> tuple[str | tuple[str, ...] | None, list[str]]:
    """Return the normalisation, one for each channel where they differ; None with a note if one is not supported.

    Without ``normalization_schemes`` the names of the channels decide, as in nnU-Net: CT, or else a z-score.
    """
    usual = ["CTNormalization" if name.casefold() == "ct" else "ZScoreNormalization" for name in channels or ()]
    schemes = config.get("normalization_schemes") or usual
    masks = config.get("use_mask_for_norm") or [False] * len(schemes)
    statistics = plans.get("foreground_intensity_properties_per_channel") or plans.get(
        "foreground_intensity_properties_by_modality", {}
    )
    pairs = zip(schemes, masks, strict=True)
    each = [_normalisation(scheme, bool(mask), statistics.get(str(n))) for n, (scheme, mask) in enumerate(pairs)]
    known = [one for one in each if one is not None]
    if len(known) < len(each) or not each:
        return None, [f"normalisation: {', '.join(schemes)} cannot be set here"] if each else []
    cropped = Normalisation("zscore_volume") in known
    return shortest(known), ["the z-score is of the volume cropped to its non-zero region"] if cropped else []


def _normalisation(scheme: str, mask: bool, statistics: Mapping[str, float] | None) -> Normalisation | None:
    if scheme == "CTNormalization" and statistics:
        numbers = [statistics.get(name) for name in ("mean", "std", "percentile_00_5", "percentile_99_5")]
        return None if None in numbers else Normalisation("fixed", tuple(float(one) for one in numbers if one is not None))
    simple = {
        "ZScoreNormalization": Normalisation("zscore_nonzero" if mask else "zscore_volume"),
        "RescaleTo01Normalization": Normalisation("minmax"),
        "RGBTo01Normalization": Normalisation("window", (0.0, 255.0)),
    }
    return simple.get(scheme)
