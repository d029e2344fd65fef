"""Scans as MONAI's transforms load them; `monai_tl.imaging.scan_files`, which needs no MONAI, opens them."""

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
    """MONAI's reader of NIfTI images, for every path that `open_scan` takes."""

    def read(self, data: Any, **_: Any) -> Any:
        """Open one path; MONAI hands it over in a tuple."""
        (path,) = (data,) if isinstance(data, str) else data
        self.filenames = [path]
        try:
            return open_scan(path)
        except DataError as error:
            raise DataError(f"{path} {error}") from error


class LoadScand(MapTransform):
    """Load scans as MONAI's ``LoadImaged`` with ``image_only`` and ``ensure_channel_first`` does, from every path of a case.

    Args:
        keys: of the paths; in their place come ``MetaTensor`` of shape (1, i, j, k), 32-bit floats, affine to RAS in mm.
    """

    def __init__(self, keys: KeysCollection) -> None:
        """Keep the keys."""
        super().__init__(keys)
        logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)
        with warnings.catch_warnings():  # MONAI makes one of each of its readers, and one of them complains; ours is used
            warnings.simplefilter("ignore")
            self.load = LoadImage(image_only=True, ensure_channel_first=True)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Load one case."""
        case = dict(data)
        for key in self.key_iterator(case):
            case[key] = self.load(case[key], ScanReader())
        return case
