"""A DICOM series written from voxels and an affine, as a scanner would have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

STORAGE = {"CT": CTImageStorage, "MR": MRImageStorage}


def write_series(
    folder: Path, voxels: np.ndarray, affine: np.ndarray, *, slope: float = 1, intercept: float = 0, seed: int = 0, **tags: Any
) -> str:
    """Write int16 voxels (i, j, k), a file a slice in shuffled names, on a grid in RAS; gives the SeriesInstanceUID.

    Patient, study and frame of reference are the same for all series of a seed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lps = np.diag([-1.0, -1, 1, 1]) @ affine
    sizes = np.linalg.norm(lps[:3, :3], axis=0)
    modality = tags.pop("Modality", "MR")
    common = {
        "PatientID": "P-17",
        "PatientName": "Doe^Ann",
        "PatientBirthDate": "19700101",
        "PatientSex": "F",
        "StudyInstanceUID": generate_uid(entropy_srcs=["study", str(seed)]),
        "FrameOfReferenceUID": generate_uid(entropy_srcs=["frame", str(seed)]),
        "SeriesInstanceUID": generate_uid(entropy_srcs=[str(folder), str(tags), str(seed)]),
        "SeriesDescription": "T1 MPRAGE",
        "StudyID": "1",
        "StudyDate": "20200101",
        "StudyTime": "120000",
        "AccessionNumber": "A1",
        "SeriesNumber": 3,
        "ReferringPhysicianName": "",
        "Manufacturer": "phantom",
        "RescaleSlope": slope,
        "RescaleIntercept": intercept,
        "PixelSpacing": [f"{sizes[1]:.8g}", f"{sizes[0]:.8g}"],  # between rows, then between columns
        "SliceThickness": f"{sizes[2]:.8g}",
        "ImageOrientationPatient": [f"{value:.10f}" for value in (*lps[:3, 0] / sizes[0], *lps[:3, 1] / sizes[1])],
        **tags,
    }
    names = np.random.default_rng(seed).permutation(voxels.shape[2])
    for k in range(voxels.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = STORAGE[modality]
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[common["SeriesInstanceUID"], str(k)])
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = pydicom.Dataset()
        data.file_meta = meta
        data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        data.Modality = modality
        for tag, value in common.items():
            setattr(data, tag, value)
        data.InstanceNumber = k + 1
        data.ImagePositionPatient = [f"{value:.8f}" for value in (lps @ [0, 0, k, 1])[:3]]
        data.Columns, data.Rows = voxels.shape[:2]
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation, data.SamplesPerPixel = 15, 1, 1
        data.PhotometricInterpretation = "MONOCHROME2"
        data.PixelData = np.ascontiguousarray(voxels[:, :, k].T.astype("<i2")).tobytes()
        data.save_as(folder / f"I{names[k]:04d}.dcm", enforce_file_format=True)
    return str(common["SeriesInstanceUID"])
