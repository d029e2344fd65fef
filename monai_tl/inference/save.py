"""Write predictions to files, on the grid of the case's first image, atomically."""

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
    """Write a foreground probability on the case's own grid as a segmentation and, optionally, as a probability map.

    In the case, the probability is replaced by a mask of 0 and 1, (1, i, j, k). The files are ``SUBJECT_seg.nii.gz`` and
    ``SUBJECT_probability.nii.gz``; shape, affine, sform and qform with their codes are those of the image's file. A
    segmentation holds 0 and 1: the index of the class in the config's ``classes``.

    Args:
        keys: keys of probabilities (1, i, j, k).
        image_key: key of the image whose file defines the grid; its metadata hold the file's path.
        output_dir: folder to write to; created if missing.
        probabilities: also write the probability, as 32-bit floats.
    """

    def __init__(self, keys: KeysCollection, image_key: str, output_dir: str, probabilities: bool = False) -> None:
        """Keep the settings."""
        super().__init__(keys)
        self.image_key, self.output_dir, self.probabilities = image_key, Path(output_dir), probabilities

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the files of one case; return the case with the mask."""
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
                f"{subject}: the prediction has shape {voxels.shape}, the image file {like.shape[:3]}; was the file changed?"
            )
        with atomic_write(prediction_path(self.output_dir, subject, kind)) as path:
            nib.save(on_grid_of(voxels, like), path)


def prediction_path(folder: Path | str, subject: str, kind: str) -> Path:
    """Return the path of a case's ``seg`` or ``probability`` file."""
    return Path(folder) / f"{subject}_{kind}.nii.gz"
