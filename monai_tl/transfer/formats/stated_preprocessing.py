"""What the transforms of a config make of an image: its orientation, spacing and normalisation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from monai_tl.settings.normalisation import Normalisation
from monai_tl.transfer.formats.config_data import ConfigData, Unread
from monai_tl.transfer.formats.family import Expected

PLACES = (  # where bundles of the Model Zoo list the transforms of an image
    "preprocessing",
    "train#deterministic_transforms",
    "train#preprocessing",
    "validate#preprocessing",
    "preprocessing_transforms",
    "preprocess",
)
NEUTRAL = {  # change neither the grid nor the intensities that a network sees
    "LoadImaged", "EnsureChannelFirstd", "AddChanneld", "AsChannelFirstd", "EnsureTyped", "ToTensord", "CastToTyped",
    "ToDeviced", "CropForegroundd", "SpatialPadd", "BorderPadd", "DivisiblePadd", "ResizeWithPadOrCropd", "CenterSpatialCropd",
    "Identityd", "CopyItemsd", "SelectItemsd", "DeleteItemsd", "ConvertToMultiChannelBasedOnBratsClassesd", "AsDiscreted",
    "Activationsd",
}  # fmt: skip
INTENSITY = ("ScaleIntensityRanged", "ScaleIntensityRangePercentilesd", "ScaleIntensityd", "NormalizeIntensityd")


def stated_preprocessing(configs: Sequence[ConfigData], channels: int | None) -> tuple[Expected, list[str]]:
    """Return orientation, spacing and normalisation that a bundle's configs state, and a note for each that they do not.

    Args:
        configs: of the bundle; the first one that lists transforms is read.
        channels: number of image channels, on which depends what a z-score over all channels means; None if unknown.
    """
    for config in configs:
        for place in PLACES:
            transforms = _transforms(config.value(place))
            if transforms:
                return _read(transforms, channels, f"{config.name}#{place}")
    return Expected(), [
        "spacing, orientation and normalisation: no config lists transforms that can be read without running it"
    ]


def _transforms(value: Any) -> list[Mapping[str, Any]]:
    """Return the transforms of an image in order, without those of random augmentation."""
    value = value.get("transforms") if isinstance(value, Mapping) else value
    if not isinstance(value, list):
        return []
    listed = [one for one in value if isinstance(one, Mapping) and "_target_" in one]
    return [one for one in listed if not _name(one).startswith("Rand") and _is_of_image(one)]


def _name(transform: Mapping[str, Any]) -> str:
    """Return the class of a transform by the first of its three names: ``Spacingd``, ``SpacingD``, ``SpacingDict``."""
    return re.sub(r"D(ict)?$", "d", str(transform["_target_"]).split(".")[-1])


def _is_of_image(transform: Mapping[str, Any]) -> bool:
    keys = transform.get("keys", "image")
    return keys != "label" and keys != ["label"]


def _read(transforms: Sequence[Mapping[str, Any]], channels: int | None, place: str) -> tuple[Expected, list[str]]:
    notes = []
    by_name = {_name(one): one for one in transforms}
    orientation = by_name.get("Orientationd", {}).get("axcodes")
    if not isinstance(orientation, str):
        orientation = None
        notes.append(f"orientation: {place} has no Orientationd with plain axcodes")
    spacing, why = _spacing(by_name.get("Spacingd"), orientation, [_name(one) for one in transforms])
    notes += [f"spacing: {place} {why}"] if why else []
    normalisation, why = _normalisation(transforms, channels)
    notes += [f"normalisation: {place} {why}"] if why else []
    return Expected(spacing=spacing, orientation=orientation, normalisation=normalisation), notes


def _spacing(
    transform: Mapping[str, Any] | None, orientation: str | None, order: Sequence[str]
) -> tuple[tuple[float, ...] | None, str]:
    """Return the spacing along right, anterior, superior; or None, and why."""
    if transform is None:
        return None, "has no Spacingd"
    pixdim = transform.get("pixdim")
    if not (isinstance(pixdim, list) and len(pixdim) == 3 and all(isinstance(one, int | float) for one in pixdim)):
        return None, f"has a Spacingd with pixdim {pixdim}, which is read only as three numbers"
    if len(set(pixdim)) == 1:
        return tuple(map(float, pixdim)), ""
    if orientation is None or order.index("Orientationd") > order.index("Spacingd"):
        return None, f"has a Spacingd with pixdim {pixdim} before any Orientationd, so along unknown axes"
    along = [next(at for at, code in enumerate(orientation) if code in pair) for pair in ("RL", "AP", "SI")]
    return tuple(float(pixdim[axis]) for axis in along), ""


def _normalisation(transforms: Sequence[Mapping[str, Any]], channels: int | None) -> tuple[str | None, str]:
    """Return the normalisation; or None, and why."""
    intensity = [one for one in transforms if _name(one) not in NEUTRAL and _name(one) not in ("Orientationd", "Spacingd")]
    names = [_name(one) for one in intensity]
    if not intensity:
        return None, "changes no intensities"
    each = [_single(one, channels) for one in intensity]
    if each == ["minmax", "zscore_volume"]:
        each = each[1:]  # a z-score is the same before and after a scaling
    if len(each) == 1 and each[0] is not None:
        return each[0], ""
    settings = "; ".join(_shown(one) for one in intensity)
    return None, f"has {', then '.join(names)} ({settings}), for which there is no name here"


def _shown(transform: Mapping[str, Any]) -> str:
    return (
        ", ".join(f"{name}={value}" for name, value in transform.items() if name not in ("_target_", "keys")) or "no settings"
    )


def _single(transform: Mapping[str, Any], channels: int | None) -> str | None:
    """Return the normalisation that one transform is; None if it is another, or if its settings cannot be read."""
    name, given = _name(transform), dict(transform)
    if name not in INTENSITY or any(isinstance(value, Unread) for value in given.values()):
        return None
    channel_wise = given.get("channel_wise", False) or channels == 1
    if name == "NormalizeIntensityd":
        return _z_score(given, channel_wise)
    if name == "ScaleIntensityd":
        plain = (given.get("minv", 0.0), given.get("maxv", 1.0)) == (0, 1) and given.get("factor") is None
        return "minmax" if plain and channel_wise else None
    low, high = ("a_min", "a_max") if name == "ScaleIntensityRanged" else ("lower", "upper")
    to_one = (
        (given.get("b_min"), given.get("b_max")) == (0, 1) and given.get("clip", False) and not given.get("relative", False)
    )
    if not to_one or low not in given or high not in given:
        return None
    numbers = float(given[low]), float(given[high])
    if name == "ScaleIntensityRanged":
        return str(Normalisation("window", numbers))
    return str(Normalisation("percentile", numbers)) if channel_wise else None


def _z_score(given: Mapping[str, Any], channel_wise: bool) -> str | None:
    mean, deviation = given.get("subtrahend"), given.get("divisor")
    if mean is None and deviation is None:
        return ("zscore_nonzero" if given.get("nonzero", False) else "zscore_volume") if channel_wise else None
    if isinstance(mean, int | float) and isinstance(deviation, int | float) and not given.get("nonzero", False):
        return str(Normalisation("fixed", (float(mean), float(deviation))))
    return None
