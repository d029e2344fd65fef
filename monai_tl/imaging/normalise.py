"""Normalise the intensities of an image's modalities, as the setting ``normalisation`` says."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, NormalizeIntensity, ScaleIntensityRange
from monai.transforms.utils_pytorch_numpy_unification import percentile
from torch import Tensor

from monai_tl.errors import ConfigError, DataError
from monai_tl.settings.normalisation import Normalisation, normalisation_for, read_normalisations


class NormaliseImaged(MapTransform):
    """Normalise each modality of an image by itself; what `monai_tl.settings.normalisation.Normalisation` lists, by MONAI.

    Args:
        keys: keys of images (modality, i, j, k) of any number format.
        normalisation: text for all modalities, or a list with one for each, e.g. ``["window(-175,250)", "zscore_volume"]``.

    Returns:
        32-bit floats, of the same shape.

    Raises:
        ConfigError: for a normalisation that does not exist, or another number of them than of modalities.
        DataError: by a call, if a voxel is NaN or infinite, or if nothing but a constant would remain of a modality.

    Example:
        >>> import torch
        >>> from monai_tl.imaging.normalise import NormaliseImaged
        >>> ct = torch.tensor([-1000, -175, 37.5, 250, 3000]).reshape(1, 5, 1, 1)
        >>> NormaliseImaged("image", "window(-175,250)")({"image": ct})["image"].flatten().tolist()
        [0.0, 0.0, 0.5, 1.0, 1.0]
    """

    def __init__(self, keys: KeysCollection, normalisation: str | Sequence[str]) -> None:
        """Read the normalisation."""
        super().__init__(keys)
        try:
            read_normalisations(normalisation)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        self.normalisation = normalisation

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Normalise the images of one case."""
        case = dict(data)
        for key in self.keys:
            case[key] = self._normalised(case[key])
        return case

    def _normalised(self, image: Tensor) -> Tensor:
        try:
            each = normalisation_for(self.normalisation, len(image))
        except ValueError as error:
            raise ConfigError(str(error)) from None
        plain = _plain(image).to(torch.float32)
        channels = [_normalise(channel, one, at, image) for at, (channel, one) in enumerate(zip(plain, each, strict=True))]
        result = torch.stack(channels)
        return MetaTensor(result).copy_meta_from(image) if isinstance(image, MetaTensor) else result


def _normalise(channel: Tensor, how: Normalisation, at: int, image: Tensor) -> Tensor:
    """Normalise one modality (i, j, k)."""
    if undefined := int(channel.numel() - torch.isfinite(channel).sum()):
        raise DataError(f"{_place(at, image)} has {undefined} voxels that are NaN or infinite; correct them")
    lowest, highest = float(channel.min()), float(channel.max())
    if how.name.startswith("zscore"):
        return _plain(NormalizeIntensity(nonzero=how.name == "zscore_nonzero")(channel.clone()))  # MONAI may write into it
    if how.name == "fixed":
        mean, sd, *limits = how.numbers
        result = (channel.clamp(*limits) if limits else channel).sub(mean).div(sd)
    elif (limits := _limits(channel, how, [lowest, highest]))[0] == limits[1]:
        result = torch.zeros_like(channel)  # MONAI would only subtract what it cannot divide by
    else:
        result = _plain(ScaleIntensityRange(limits[0], limits[1], b_min=0.0, b_max=1.0, clip=True)(channel))
    if lowest < highest and bool(result.min() == result.max()):
        raise DataError(
            f"{_place(at, image)} has values from {lowest:g} to {highest:g}, and {how} makes all of them equal; correct the "
            "scale of the image (CT: Hounsfield units), or choose another normalisation"
        )
    return result


def _limits(channel: Tensor, how: Normalisation, extremes: list[float]) -> list[float]:
    """Return the intensities that become 0 and 1."""
    if how.name == "minmax":
        return extremes
    if how.name == "window":
        return list(how.numbers)
    return [float(percentile(channel, edge)) for edge in how.numbers]


def _plain(image: Any) -> Tensor:
    return torch.as_tensor(image).as_subclass(Tensor)


def _place(at: int, image: Tensor) -> str:
    """Name a modality of an image: its file if known, and its number."""
    path = image.meta.get("filename_or_obj") if isinstance(image, MetaTensor) else None
    return f"modality {1 + at} of the case of {path}" if path else f"modality {1 + at} of an image"
