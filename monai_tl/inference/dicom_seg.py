"""Segmentations as DICOM objects: on the slices of the series they were made from, for its patient, in its study.

Written with highdicom (an extra: ``monai_tl[dicom]``) as DICOM PS3.3 A.51 has it: one segment a class, one bit a voxel.
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

NEEDED = ("StudyInstanceUID", "FrameOfReferenceUID")  # without which a segmentation belongs nowhere
MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)
EXAMPLE = (
    '{category: [SCT, "91723000", Anatomical Structure], type: [SCT, "5366008", Hippocampus]} '
    "(DICOM CID 7150, 7151; a scheme of your own begins with 99)"
)
UNICODE = "ISO_IR 192"
LONGEST = 64  # letters of DICOM's short texts


@dataclass(frozen=True)
class Origin:
    """What a segmentation was made with.

    Attributes:
        segments: foreground class -> codes of its segment, in the order of the mask's channels.
        weights: file of the network's weights.
        weights_sha256: its hash, 64 hexadecimal digits.
    """

    segments: Mapping[str, SegmentCodes]
    weights: Path
    weights_sha256: str


def check_dicom_seg(cases: Sequence[Case], first: str) -> None:
    """Refuse to go on where no DICOM segmentation could be written; nothing is read.

    Args:
        cases: to be predicted.
        first: modality whose grid the predictions lie on.

    Raises:
        ConfigError: if highdicom is not installed.
        DataError: if a case's first modality is no DICOM series; those cases are named.
    """
    _highdicom()
    others = [case["subject"] for case in cases if not os.path.isdir(split_path(case[first])[0])]
    if others:
        raise DataError(
            f"--dicom_seg needs {first} as a DICOM series, which {len(others)} of {len(cases)} cases are not "
            f"({name_some(others)}): leave --dicom_seg away, take the others alone by --subjects, or name folders that hold "
            f"series, e.g. --{first} '{{subject}}/{first}'"
        )


def codes_of(classes: Sequence[str], task: TaskFile) -> dict[str, SegmentCodes]:
    """Return the codes of each foreground class, as the bundle's task file gives them.

    Raises:
        ConfigError: for a class without one, with what to write there.
    """
    missing = [name for name in classes if name not in task.dicom_codes]
    if missing:
        raise ConfigError(
            f"--dicom_seg needs DICOM codes of each class, and {task.path} has none of {name_some(missing)} (it has those of: "
            f"{name_some(list(task.dicom_codes)) or 'nothing'}): add them there below dicom_codes, as in "
            f'"{missing[0]}": {EXAMPLE}'
        )
    return {name: task.dicom_codes[name] for name in classes}


def write_dicom_seg(path: Path | str, scan: str, mask: Any, origin: Origin) -> None:
    """Write a mask as a DICOM Segmentation (BINARY) of the series that it lies on, atomically.

    Empty frames are left out, as is usual, unless all are: then all are written, since an object without any is not valid.

    Args:
        path: of the ``.dcm``.
        scan: the series as a case's path names it.
        mask: (class, i, j, k), 0 or 1, on the series' own grid, without the background.
        origin: what it was made with.

    Raises:
        DataError: if the mask has another shape, or the series tells no study or frame of reference.
    """
    hd = _highdicom()
    folder, part = split_path(scan)
    series = choose_series(Path(folder), part)
    voxels = (np.asarray(mask) > 0).astype(np.uint8)
    if voxels.shape != (len(origin.segments), *series.shape):
        raise DataError(
            f"the prediction has shape {voxels.shape}, the series {series.shape} and {len(origin.segments)} classes: {scan}"
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
    """Import highdicom, which is an extra and takes a second, when it is needed."""
    try:
        import highdicom
    except ImportError as error:
        raise ConfigError(
            f"--dicom_seg needs highdicom, which cannot be imported ({error}): pip install highdicom, or this package "
            "with its extra, monai_tl[dicom]"
        ) from error
    return highdicom


def _read_sources(series: Series, scan: str) -> list[Any]:
    """Read the headers of a series' files, in the order of its slices; what highdicom takes from the first is made whole."""
    import pydicom

    sources = [pydicom.dcmread(file, stop_before_pixels=True) for file in series.files]
    lacking = [tag for tag in NEEDED if not sources[0].get(tag)]
    if lacking:
        raise DataError(
            f"the series has no {' and no '.join(lacking)}, so a DICOM segmentation of it would belong nowhere; "
            f"leave --dicom_seg away: {scan}"
        )
    for tag in MAY_BE_EMPTY:  # they have to be there all the same, and anonymisation takes some out
        if tag not in sources[0]:
            setattr(sources[0], tag, None)
    # as the slices' positions tell: headers state it wrongly, or not at all
    between = f"{np.linalg.norm(series.affine[:3, 2]):.10g}"
    sources[0].SpacingBetweenSlices = between
    sources[0].SliceThickness = sources[0].get("SliceThickness") or between
    return sources


def _describe(hd: ModuleType, number: int, origin: Origin) -> Any:
    """Describe a segment, counted from 1: its name, what kind of thing it is, and what found it."""
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
    """Name weights by their run, without the place on this machine: ``freeze_2/model.pt``."""
    return "/".join(weights.absolute().parts[-2:])[-LONGEST:]
