"""Predictions as files: on the grid of the case's first image, written whole or not at all."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from monai_tl.errors import DataError
from monai_tl.imaging.grids import on_grid_of
from monai_tl.imaging.scan_files import open_scan
from monai_tl.storage.files import atomic_write


class SavePredictiond(MapTransform):
    """Write a foreground probability that lies on the case's own grid as a segmentation, and as itself if asked.

    Gives the mask of 0 and 1 (1, i, j, k) in the probability's place. The files are ``SUBJECT_seg.nii.gz`` and
    ``SUBJECT_probability.nii.gz``; shape, affine, sform and qform with their codes are those of the file that the image was
    read from. A segmentation holds 0 and 1: the number of the class in the config's ``classes``.

    Args:
        keys: of the probability (1, i, j, k).
        image_key: of the image whose metadata name the file that it was read from.
        output_dir: folder to write to, made if it is missing.
        probabilities: write the probability too, as 32-bit floats.
    """

    def __init__(self, keys: KeysCollection, image_key: str, output_dir: str, probabilities: bool = False) -> None:
        """Keep the settings."""
        super().__init__(keys)
        self.image_key, self.output_dir, self.probabilities = image_key, Path(output_dir), probabilities

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write one case."""
        case = dict(data)
        subject, like = str(case["subject"]), open_scan(case[self.image_key].meta["filename_or_obj"])
        for key in self.keys:
            probability = case[key].cpu()
            mask = (probability >= 0.5).to(probability.dtype)
            self._write(subject, "seg", mask, like, np.uint8)
            if self.probabilities:
                self._write(subject, "probability", probability, like, np.float32)
            case[key] = mask
        return case

    def _write(self, subject: str, kind: str, volume: MetaTensor, like: Any, dtype: type) -> None:
        voxels: np.ndarray = np.asarray(volume[0]).astype(dtype)
        if voxels.shape != like.shape[:3]:
            raise DataError(
                f"{subject}: the prediction has shape {voxels.shape}, the image {like.shape[:3]}; is it the same file?"
            )
        with atomic_write(prediction_path(self.output_dir, subject, kind)) as path:
            nib.save(on_grid_of(voxels, like), path)


def prediction_path(folder: Path | str, subject: str, kind: str) -> Path:
    """Give the path of a case's ``seg`` or ``probability``."""
    return Path(folder) / f"{subject}_{kind}.nii.gz"
