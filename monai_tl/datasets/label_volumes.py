"""What labels contain: foreground volumes, and whether each region occurs."""

from __future__ import annotations

from collections.abc import Sequence

import nibabel as nib
import numpy as np

from monai_tl.datasets.patterns import Case
from monai_tl.datasets.regions import Regions
from monai_tl.errors import DataError
from monai_tl.imaging.scan_files import open_scan
from monai_tl.storage.progress import follow
from monai_tl.text import name_some


def foreground_volumes(cases: Sequence[Case], foreground: Sequence[int]) -> dict[str, float]:
    """Return subject -> foreground volume of its label in ml."""
    volumes = {}
    for case in follow(cases, "measuring labels", "case"):
        label = open_scan(case["label"])
        voxel_ml = float(nib.affines.voxel_sizes(label.affine).prod()) / 1000
        volumes[case["subject"]] = round(float(np.isin(np.asanyarray(label.dataobj), foreground).sum()) * voxel_ml, 4)
    return volumes


def refuse_absent_regions(cases: Sequence[Case], regions: Regions, which: str = "") -> None:
    """Refuse regions that are in no label; labels are read only until each region was found.

    Labels that cannot be read are skipped: `monai_tl check` and training report them.

    Args:
        cases: each with ``"label"``.
        regions: name -> label values.
        which: the kind of labels for the message, e.g. ``"training "``.

    Raises:
        DataError: with the regions and the values that occur.
    """
    lost, seen, read = dict(regions), set[float](), 0
    for case in cases:
        if not lost:
            return
        try:
            values = {float(value) for value in np.unique(np.asanyarray(open_scan(case["label"]).dataobj))}
        except Exception:  # a damaged file can raise any exception
            continue
        read += 1
        seen |= values
        lost = {name: of for name, of in lost.items() if not values & set(of)}
    if lost and read:
        names = [f"'{name}' ({', '.join(map(str, of))})" for name, of in lost.items()]
        present = name_some([f"{value:g}" for value in sorted(seen)], 40)
        raise DataError(
            f"none of the {read} {which}labels contains the region {name_some(names, 12)}, only {present}; correct its label "
            "values, or omit the region"
        )
