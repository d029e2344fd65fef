"""MONAI's reader and loading transform for every path that `monai_tl.imaging.scan_files` opens (which needs no MONAI)."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.data import NibabelReader
from monai.transforms import LoadImage, MapTransform

from monai_tl.errors import DataError
from monai_tl.imaging.scan_files import open_scan


class ScanReader(NibabelReader):
    """MONAI's reader of NIfTI images, for every path that `open_scan` accepts."""

    def read(self, data: Any, **_: Any) -> Any:
        """Open one path; MONAI passes it in a tuple."""
        (path,) = (data,) if isinstance(data, str) else data
        self.filenames = [path]
        try:
            return open_scan(path)
        except DataError as error:
            raise DataError(f"{path} {error}") from error


class LoadScand(MapTransform):
    """Load scans as MONAI's ``LoadImaged(image_only=True, ensure_channel_first=True)``, from every path of a case.

    Args:
        keys: of the paths; each is replaced by a ``MetaTensor`` of shape (1, i, j, k), 32-bit floats, affine to RAS in mm.
    """

    def __init__(self, keys: KeysCollection) -> None:
        """Store the keys and create the loader."""
        super().__init__(keys)
        logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)
        with warnings.catch_warnings():  # MONAI creates all its readers, one of which warns; only ours is used
            warnings.simplefilter("ignore")
            self.load = LoadImage(image_only=True, ensure_channel_first=True)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Load one case."""
        case = dict(data)
        for key in self.key_iterator(case):
            case[key] = self.load(case[key], ScanReader())
        return case
