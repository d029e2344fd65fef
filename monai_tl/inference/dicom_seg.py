"""Write segmentations as DICOM Segmentation objects that reference the slices, patient and study of their source series.

They are written with highdicom (an extra: ``monai_tl[dicom]``) and follow DICOM PS3.3 A.51: one segment per class, one bit per
voxel.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import monai_tl
from monai_tl.datasets.patterns import Case
from monai_tl.errors import ConfigError, DataError
from monai_tl.imaging.dicom import Series, choose_series
from monai_tl.imaging.scan_files import split_path
from monai_tl.storage.files import atomic_write
from monai_tl.text import name_some
from monai_tl.workflow.task_file import SegmentCodes, TaskFile

NEEDED = ("StudyInstanceUID", "FrameOfReferenceUID")  # without them, a segmentation cannot be related to its series
MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)
EXAMPLE = (
    '{category: [SCT, "91723000", Anatomical Structure], type: [SCT, "5366008", Hippocampus]} '
    "(DICOM CID 7150, 7151; a scheme of your own begins with 99)"
)
UNICODE = "ISO_IR 192"
LONGEST = 64  # characters of DICOM's short texts


@dataclass(frozen=True)
class Origin:
    """How a segmentation was made: its classes and the network's weights.

    Attributes:
        segments: foreground class -> DICOM codes of its segment, in the order of the mask's channels.
        weights: file of the network's weights.
        weights_sha256: SHA-256 of the file, 64 hexadecimal digits.
    """

    segments: Mapping[str, SegmentCodes]
    weights: Path
    weights_sha256: str


def check_dicom_seg(cases: Sequence[Case], first: str) -> None:
    """Check that DICOM segmentations can be written for all cases; no image is read.

    Args:
        cases: the cases to predict.
        first: the first modality, whose grid the predictions lie on.

    Raises:
        ConfigError: if highdicom is not installed.
        DataError: if a case's first modality is not a DICOM series; these cases are named.
    """
    _highdicom()
    not_dicom = [case["subject"] for case in cases if not os.path.isdir(split_path(case[first])[0])]
    if not_dicom:
        raise DataError(
            f"--dicom_seg needs {first} as a DICOM series, but {len(not_dicom)} of {len(cases)} cases have another format "
            f"({name_some(not_dicom)}): omit --dicom_seg, select the other cases with --subjects, or name folders that hold "
            f"series, e.g. --{first} '{{subject}}/{first}'"
        )


def codes_of(classes: Sequence[str], task: TaskFile) -> dict[str, SegmentCodes]:
    """Return the DICOM codes of each foreground class from the bundle's task file.

    Raises:
        ConfigError: for a class without codes, with an example of an entry.
    """
    missing = [name for name in classes if name not in task.dicom_codes]
    if missing:
        raise ConfigError(
            f"--dicom_seg needs DICOM codes for each class, but {task.path} has none for {name_some(missing)} (it has "
            f"codes for: {name_some(list(task.dicom_codes)) or 'no class'}): add them to that file under dicom_codes, as in "
            f'"{missing[0]}": {EXAMPLE}'
        )
    return {name: task.dicom_codes[name] for name in classes}


def write_dicom_seg(path: Path | str, scan: str, mask: Any, origin: Origin) -> None:
    """Write a mask as a DICOM Segmentation (BINARY) of its source series, atomically.

    Empty frames are omitted, as is usual. If all are empty, all are written, since an object without frames is not valid.

    Args:
        path: of the ``.dcm``.
        scan: the series, as named in the case.
        mask: (class, i, j, k), 0 or 1, on the series' grid, without a channel for the background.
        origin: classes and weights, which are recorded in the object.

    Raises:
        DataError: if the mask has another shape, or the series has no study or frame of reference.
    """
    hd = _highdicom()
    folder, part = split_path(scan)
    series = choose_series(Path(folder), part)
    voxels = (np.asarray(mask) > 0).astype(np.uint8)
    if voxels.shape != (len(origin.segments), *series.shape):
        raise DataError(
            f"the prediction has shape {voxels.shape}, needed is {(len(origin.segments), *series.shape)} for "
            f"{len(origin.segments)} classes on the grid of the series {scan}"
        )
    segmentation = hd.seg.Segmentation(
        source_images=_read_sources(series, scan),
        pixel_array=voxels.transpose(3, 2, 1, 0),  # slice, row, column, segment
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_describe(hd, number, origin) for number in range(1, len(origin.segments) + 1)],
        omit_empty_frames=bool(voxels.any()),
        series_instance_uid=hd.UID(),
        series_number=1,
        series_description=f"monai_tl: {', '.join(origin.segments)}"[:LONGEST],
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="monai_tl",
        manufacturer_model_name=_name_weights(origin.weights),
        device_serial_number=origin.weights_sha256[:16],
        software_versions=monai_tl.__version__,
        content_label="SEGMENTATION",
        content_description="Research only: not for clinical use",
        specific_character_set=UNICODE,
    )
    with atomic_write(path) as temporary:
        segmentation.save_as(temporary)


def _highdicom() -> ModuleType:
    """Import highdicom only when needed: it is an optional extra, and importing it takes a second."""
    try:
        import highdicom
    except ImportError as error:
        raise ConfigError(
            f"--dicom_seg needs highdicom, which cannot be imported ({error}): pip install highdicom, or install this "
            "package as monai_tl[dicom]"
        ) from error
    return highdicom


def _read_sources(series: Series, scan: str) -> list[Any]:
    """Return the headers of a series' files in slice order; tags of the first that highdicom needs are completed."""
    import pydicom

    sources = [pydicom.dcmread(file, stop_before_pixels=True) for file in series.files]
    lacking = [tag for tag in NEEDED if not sources[0].get(tag)]
    if lacking:
        raise DataError(
            f"the series {scan} has no {' and no '.join(lacking)}, so a DICOM segmentation could not be related to it; "
            "omit --dicom_seg"
        )
    for tag in MAY_BE_EMPTY:  # required to exist, even if empty; anonymisation removes some
        if tag not in sources[0]:
            setattr(sources[0], tag, None)
    # from the slices' positions: the headers' values may be missing or wrong
    between = f"{np.linalg.norm(series.affine[:3, 2]):.10g}"
    sources[0].SpacingBetweenSlices = between
    sources[0].SliceThickness = sources[0].get("SliceThickness") or between
    return sources


def _describe(hd: ModuleType, number: int, origin: Origin) -> Any:
    """Describe segment ``number``, counted from 1: its label, its category and type, and the algorithm."""
    from pydicom.sr.codedict import codes

    name, segment = list(origin.segments.items())[number - 1]
    category, kind = (hd.sr.CodedConcept(code.value, code.scheme, code.meaning) for code in segment)
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:LONGEST],
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="monai_tl",
            version=monai_tl.__version__,
            family=codes.DCM.ArtificialIntelligence,
            source=_name_weights(origin.weights),
            parameters={"weights_sha256": origin.weights_sha256},
        ),
    )


def _name_weights(weights: Path) -> str:
    """Return the run folder and file name of weights, without the rest of the path: ``freeze_2/model.pt``."""
    return "/".join(weights.absolute().parts[-2:])[-LONGEST:]
