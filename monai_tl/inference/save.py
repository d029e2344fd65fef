"""Write predictions to files, on the grid of the case's first image, atomically."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform

from monai_tl.datasets.regions import painted_values
from monai_tl.errors import DataError
from monai_tl.imaging.grids import on_grid_of
from monai_tl.imaging.scan_files import open_scan
from monai_tl.inference.postprocess import choose_regions
from monai_tl.storage.files import atomic_write


class SavePredictiond(MapTransform):
    """Write the regions' probabilities on the case's own grid as a segmentation and, optionally, as probability maps.

    In the case, the probabilities are replaced by masks of 0 and 1, (region, i, j, k). The files are ``SUBJECT_seg.nii.gz``
    and ``SUBJECT_probability.nii.gz``; shape, affine, sform and qform with their codes are those of the image's file. A
    segmentation shows each region with the value that `monai_tl.datasets.regions.painted_values` gives; of several regions,
    the file of probabilities has a fourth axis in the order of ``regions``.

    Args:
        keys: keys of probabilities (region, i, j, k).
        image_key: key of the image whose file defines the grid; its metadata hold the file's path.
        output_dir: folder to write to; created if missing.
        regions: name -> label values, in the order of the channels.
        softmax: whether the regions exclude each other.
        probabilities: also write the probabilities, as 32-bit floats.
    """

    def __init__(
        self,
        keys: KeysCollection,
        image_key: str,
        output_dir: str,
        regions: Mapping[str, Sequence[int]],
        *,
        softmax: bool = True,
        probabilities: bool = False,
    ) -> None:
        """Keep the settings."""
        super().__init__(keys)
        self.image_key, self.output_dir, self.probabilities = image_key, Path(output_dir), probabilities
        self.regions, self.softmax = dict(regions), softmax

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the files of one case; return the case with the mask."""
        case = dict(data)
        subject, like = str(case["subject"]), open_scan(case[self.image_key].meta["filename_or_obj"])
        for key in self.keys:
            probability = case[key].cpu()
            masks = choose_regions(probability, self.softmax)
            self._write(subject, "seg", paint(np.asarray(masks), self.regions), like)
            if self.probabilities:
                maps = np.moveaxis(np.asarray(probability).astype(np.float32), 0, -1)
                self._write(subject, "probability", maps[..., 0] if maps.shape[-1] == 1 else maps, like)
            case[key] = masks
        return case

    def _write(self, subject: str, kind: str, voxels: np.ndarray, like: Any) -> None:
        if voxels.shape[:3] != like.shape[:3]:
            raise DataError(
                f"{subject}: the prediction has shape {voxels.shape}, the image file {like.shape[:3]}; was the file changed?"
            )
        with atomic_write(prediction_path(self.output_dir, subject, kind)) as path:
            nib.save(on_grid_of(voxels, like), path)


def paint(masks: np.ndarray, regions: Mapping[str, Sequence[int]]) -> np.ndarray:
    """Return a segmentation (i, j, k) of masks (region, i, j, k), in the smallest unsigned type that holds its values.

    Example:
        >>> import numpy as np
        >>> from monai_tl.inference.save import paint
        >>> core, whole = np.array([[0, 1, 1], [1, 1, 0]]).reshape(2, 3, 1, 1)
        >>> paint(np.stack([core, whole]), {"core": (1, 4), "whole": (1, 2, 4)}).ravel().tolist()
        [2, 1, 1]
    """
    values = painted_values(regions)
    painted = np.zeros(masks.shape[1:], np.uint8 if max(values.values()) < 256 else np.uint16)
    for name, value in values.items():
        painted[masks[list(regions).index(name)] > 0] = value
    return painted


def prediction_path(folder: Path | str, subject: str, kind: str) -> Path:
    """Return the path of a case's ``seg`` or ``probability`` file."""
    return Path(folder) / f"{subject}_{kind}.nii.gz"
