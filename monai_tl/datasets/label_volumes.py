"""Foreground volumes of labels."""

from __future__ import annotations

from collections.abc import Sequence

import nibabel as nib
import numpy as np

from monai_tl.datasets.patterns import Case
from monai_tl.imaging.scan_files import open_scan
from monai_tl.storage.progress import follow


def foreground_volumes(cases: Sequence[Case], foreground: Sequence[int]) -> dict[str, float]:
    """Return subject -> foreground volume of its label in ml."""
    volumes = {}
    for case in follow(cases, "measuring labels", "case"):
        label = open_scan(case["label"])
        voxel_ml = float(nib.affines.voxel_sizes(label.affine).prod()) / 1000
        volumes[case["subject"]] = round(float(np.isin(np.asanyarray(label.dataobj), foreground).sum()) * voxel_ml, 4)
    return volumes
