"""A DICOM series is the image that its NIfTI twin is; what is no regular grid is refused with the place."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch

from monai_tl.datasets.case_checks import check_cases
from monai_tl.datasets.patterns import find_cases
from monai_tl.datasets.scans_to_predict import find_scans
from monai_tl.errors import DataError
from monai_tl.imaging.scan_files import files_of, open_scan, sha256_of_scan
from monai_tl.imaging.scan_io import LoadScand
from tests.dicom import write_series


def voxels(shape=(6, 7, 8), seed=0):
    return np.random.default_rng(seed).integers(-1000, 1000, shape).astype(np.int16)


def oblique(*degrees: float, spacing=(0.9, 1.1, 2.5)) -> np.ndarray:
    """Right-handed, as slices along their normal are, turned about the axes of the room one after the other."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        one, other = [a for a in range(3) if a != axis]
        turn = np.eye(3)
        turn[[one, one, other, other], [one, other, one, other]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        matrix = turn @ matrix
    return nib.affines.from_matvec(matrix @ np.diag(spacing), [12.5, -34.25, 56.75])


GRIDS = {
    "axial": np.diag([-0.9, -1.1, 2.5, 1]) + nib.affines.from_matvec(np.zeros((3, 3)), [50, 60, -70]) - np.diag([0, 0, 0, 1]),
    "sagittal": nib.affines.from_matvec(np.array([[0, 0, -2.5], [-0.9, 0, 0], [0, -1.1, 0]]), [10, 20, 30]),
    "coronal": nib.affines.from_matvec(np.array([[-0.9, 0, 0], [0, 0, 2.5], [0, -1.1, 0]]), [10, 20, 30]),
    "oblique": oblique(20, -15, 35),
}


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize(("modality", "slope", "intercept"), [("CT", 1, -1024), ("MR", 2.5, 7), ("MR", 1, 0)])
def test_a_series_and_its_nifti_twin_are_the_same(tmp_path, name, modality, slope, intercept):
    affine = GRIDS[name]
    if np.linalg.det(affine[:3, :3]) < 0:  # a scanner's slices ascend along their normal
        affine = affine @ nib.affines.from_matvec(np.diag([1, 1, -1]), [0, 0, 7])
    stored = voxels()
    write_series(tmp_path / "series", stored, affine, slope=slope, intercept=intercept, Modality=modality)
    twin = stored.astype(np.float32) * slope + intercept
    nib.Nifti1Image(twin, affine).to_filename(tmp_path / "twin.nii")
    series, nifti = (LoadScand("T1")({"T1": str(tmp_path / path)})["T1"] for path in ("series", "twin.nii"))
    assert series.dtype == nifti.dtype == torch.float32
    assert torch.equal(series.as_tensor(), nifti.as_tensor())
    assert np.allclose(series.affine, nifti.affine, atol=1e-5)
    assert np.allclose(series.meta["original_affine"], affine, atol=1e-5)
    assert series.meta["spatial_shape"].tolist() == [6, 7, 8]
    assert series.meta["filename_or_obj"] == str(tmp_path / "series")
    case = {"subject": "ann", "T1": str(tmp_path / "series"), "T2": str(tmp_path / "twin.nii")}
    assert check_cases([case], ("T1", "T2"), (), need_foreground=False) == []
    assert np.array_equal(open_scan(case["T1"]).dataobj[2, :, 3], twin[2, :, 3])


def test_files_stand_in_the_order_of_the_slices(tmp_path):
    write_series(tmp_path / "series", voxels(), GRIDS["oblique"])
    files = files_of(tmp_path / "series")
    assert files != sorted(files)
    assert [pydicom.dcmread(file).InstanceNumber for file in files] == [1, 2, 3, 4, 5, 6, 7, 8]
    before = sha256_of_scan(tmp_path / "series")
    changed = voxels()
    changed[0, 0, 0] += 1
    write_series(tmp_path / "series", changed, GRIDS["oblique"])
    assert sha256_of_scan(tmp_path / "series") != before


def test_one_of_several_series_is_named(tmp_path):
    folder = tmp_path / "scans"
    write_series(folder, voxels(seed=1), GRIDS["oblique"], SeriesDescription="T1 MPRAGE")
    for path in list(folder.iterdir()):
        path.rename(path.with_name(f"a{path.name}"))
    uid = write_series(folder, voxels((6, 7, 3), seed=2), GRIDS["axial"], SeriesDescription="Localiser 3-plane")
    (folder / "notes.txt").write_text("not a slice")
    with pytest.raises(
        DataError,
        match=r"2 series: 'Localiser 3-plane' \(3 slices, MR, \S+\); 'T1 MPRAGE' \(8 slices, MR, \S+\)",
    ):
        open_scan(folder)
    for part in ("T1 MPRAGE", "t1*"):
        assert np.array_equal(np.asarray(open_scan(f"{folder}#{part}").dataobj), voxels(seed=1))
    assert open_scan(f"{folder}#{uid}").shape == (6, 7, 3)
    assert LoadScand("T1")({"T1": f"{folder}#t1*"})["T1"].meta["filename_or_obj"] == f"{folder}#t1*"
    with pytest.raises(DataError, match="2 series.*none.*'T2': 'Localiser"):
        open_scan(f"{folder}#T2")
    with pytest.raises(DataError, match=r"2 series.*2.*'\*'"):
        open_scan(f"{folder}#*")


@pytest.fixture
def series(tmp_path):
    write_series(tmp_path / "series", voxels(), np.diag([-1.0, -1, 2, 1]))
    return tmp_path / "series"


def test_a_missing_slice_is_said_with_its_place(series):
    third = files_of(series)[2]
    (series / third).unlink()
    with pytest.raises(DataError, match="lacks 1 slice.*2.00.*6.00 mm.*2.00 mm"):
        open_scan(series)
    case = {"subject": "ann", "T1": str(series)}
    with pytest.raises(DataError, match="ann: T1 series 'T1 MPRAGE'.*lacks 1 slice.*/"):
        check_cases([case], ["T1"], (), need_foreground=False)


def change(path, **tags):
    data = pydicom.dcmread(path)
    for tag, value in tags.items():
        setattr(data, tag, value)
    data.save_as(path)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"ImagePositionPatient": [0, 0, 0]}, r"1 slices.*position.*\(I\d+.dcm.*I\d+.dcm.*0.00"),
        ({"ImagePositionPatient": [0, 0, 3]}, r"0\.00.*3\.00 mm"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "different orientations"),
        ({"PixelSpacing": [2, 2]}, "spacing"),
        ({"NumberOfFrames": 5}, "frames.*NIfTI"),
        ({"ImagePositionPatient": None}, "position.*orientation"),
    ],
)
def test_what_is_no_regular_grid_is_refused(series, tags, message):
    change(files_of(series)[1], **tags)
    with pytest.raises(DataError, match=message):
        open_scan(series)


def test_a_tilted_gantry_is_refused(series):
    for number, path in enumerate(files_of(series)):
        change(path, ImagePositionPatient=[0, 0.3 * number, 2 * number])
    with pytest.raises(DataError, match="is tilted"):
        open_scan(series)


def test_what_is_no_series_is_refused(tmp_path, series):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"DICOM.*\(among.*none\)"):
        open_scan(tmp_path / "empty")
    (tmp_path / "empty" / "photo.jpg").write_bytes(b"no scan")
    with pytest.raises(DataError, match=r"DICOM.*\(among.*photo.jpg\)"):
        open_scan(tmp_path / "empty")
    last = files_of(series)[-1]
    content = Path(last).read_bytes()
    Path(last).write_bytes(b"")
    with pytest.raises(DataError, match=r"DICOM \(0 bytes\)"):
        open_scan(series)
    Path(last).write_bytes(content[:-40])
    case = {"subject": "ann", "T1": str(series)}
    with pytest.raises(DataError, match=r"ann: T1 (is not readable|contains a file that cannot be read as DICOM) \("):
        check_cases([case], ["T1"], (), need_foreground=False)


def test_patterns_take_folders(tmp_path):
    for subject in ("ann", "bob"):
        write_series(tmp_path / subject / "T1", voxels(), GRIDS["oblique"])
        nib.Nifti1Image(voxels(), GRIDS["oblique"]).to_filename(tmp_path / subject / "seg.nii")
    cases = find_cases({"T1": f"{tmp_path}/{{subject}}/T1", "label": f"{tmp_path}/{{subject}}/seg.nii"})
    assert [case["T1"] for case in cases] == [str(tmp_path / subject / "T1") for subject in ("ann", "bob")]
    named = find_scans(str(tmp_path), ["T1"], {"T1": "{subject}/T1#t1*"})
    assert [case["T1"] for case in named] == [f"{tmp_path}/{subject}/T1#t1*" for subject in ("ann", "bob")]
    one = [{"subject": "T1", "T1": f"{tmp_path}/ann/T1#t1*"}]
    assert find_scans(f"{tmp_path}/ann/T1#t1*", ["T1"]) == one
    assert find_scans(f"{tmp_path}/ann/T1", ["T1"]) == [{"subject": "T1", "T1": f"{tmp_path}/ann/T1"}]
