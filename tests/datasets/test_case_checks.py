"""Every fault is found, named, and all of them are reported at once."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_tl.datasets.case_checks import check_cases
from monai_tl.errors import DataError
from tests.conftest import mentions

AFFINE = np.array([[-2.0, 0, 0, 90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])


def image_voxels(shape=(8, 8, 8), dtype=np.int16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 1000, shape).astype(dtype)


def label_voxels(*values: int) -> np.ndarray:
    voxels = np.zeros((8, 8, 8), np.int16)
    voxels.flat[100 : 100 + len(values)] = values
    return voxels


def save(path: str, voxels: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    nib.Nifti1Image(voxels, affine).to_filename(path)


@pytest.fixture
def case(tmp_path):
    return make_case(tmp_path, "IXI012")


def make_case(folder: Path, subject: str) -> dict[str, str]:
    made = {role: str(folder / f"{subject}-{role}.nii.gz") for role in ("T1", "T2", "label")}
    for role, path in made.items():
        save(path, label_voxels(17, 53, 2) if role == "label" else image_voxels())
    return {"subject": subject, **made}


def check(*cases: dict[str, str], modalities=("T1", "T2"), need_foreground=True, **more) -> list[str]:
    return check_cases(cases, modalities, (17, 53), need_foreground=need_foreground, **more)


def faults_of(*cases: dict[str, str], **arguments) -> list[str]:
    with pytest.raises(DataError, match=r"\d+ problems? in \d+ of \d+ cases; correct these files") as refusal:
        check(*cases, **arguments)
    return [line.strip() for line in str(refusal.value).splitlines()[1:]]


def test_a_sound_case_passes(case):
    assert check(case) == []
    assert check(case, known_labels=(2, 17, 53)) == []


def test_what_differs_without_harm_passes(case):
    """A trailing axis of length 1, another type, scaled integers, a shift that float32 headers lose."""
    save(case["T1"], image_voxels((8, 8, 8, 1), np.float32))
    save(case["label"], label_voxels(17, 53).astype(np.float32), AFFINE + np.diag([5e-4, 0, 0], 1))
    scaled = nib.Nifti1Image(image_voxels().astype(np.float32) / 7, AFFINE)
    scaled.set_data_dtype(np.int16)
    scaled.to_filename(case["T2"])
    assert nib.load(case["T2"]).dataobj.slope != 1
    assert check(case) == []


def test_an_image_of_one_value_is_no_image(case):
    save(case["T1"], np.full((8, 8, 8), 7, np.int16))
    with pytest.raises(DataError, match="T1.*same value.*7"):
        check(case)


def test_a_foreground_value_that_no_label_contains_is_reported(case):
    save(case["label"], label_voxels(17))
    assert check(case) == ["foreground value 53 is in none of the 1 labels, which contain 0, 17"]


def test_a_region_that_no_training_case_has_is_refused(case):
    regions = {"left": (17,), "right": (53,), "both": (17, 53), "other": (54, 55)}
    assert check(case, regions={name: regions[name] for name in ("left", "both")}) == []
    with pytest.raises(DataError) as raised:
        check(case, regions=regions)
    mentions(str(raised.value), "1 labels … 'other' (54, 55) … 0, 2, 17, 53 … classes")
    assert check(case, regions=regions, need_foreground=False) == [], "a validation case may lack a region"


def test_a_case_to_predict_needs_no_label(case):
    del case["label"]
    assert check(case) == []


def test_a_modality_that_is_not_used_is_not_looked_at(case):
    Path(case["T2"]).unlink()
    assert check(case, modalities=("T1",)) == []


def test_missing_files_and_missing_names(case):
    Path(case["T1"]).unlink()
    del case["T2"]
    assert faults_of(case) == [f"IXI012: T1 does not exist: {case['T1']}", "IXI012: has no T2, only T1, label"]


@pytest.mark.parametrize("role", ["T1", "label"])
@pytest.mark.parametrize("kept", [0, 100, 0.7])
def test_truncated_files_are_unreadable(case, role, kept):
    path = Path(case[role])
    save(case[role], np.random.default_rng(0).integers(0, 5, (8, 8, 8)).astype(np.int16))
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if kept < 1 else kept])
    (fault,) = faults_of(case)
    assert fault.startswith(f"IXI012: {role} is not readable (")
    assert case[role] in fault


def test_files_of_another_kind_are_unreadable(case):
    Path(case["T1"]).write_bytes(gzip.compress(b"no scan" * 100))
    Path(case["T2"]).write_text("no gzip")
    assert [fault.split(" (")[0] for fault in faults_of(case)] == [
        "IXI012: T1 is not readable",
        "IXI012: T2 is not readable",
    ]


def test_other_than_3d_is_refused(case):
    save(case["T1"], image_voxels((8, 8)))
    save(case["T2"], image_voxels((8, 8, 8, 3)))
    several = "is not 3D (shape 8×8×8×3); select one volume by appending #0 to #2 to the path"
    assert faults_of(case) == [f"IXI012: T1 is not 3D (shape 8×8): {case['T1']}", f"IXI012: T2 {several}: {case['T2']}"]
    save(case["T1"], image_voxels())
    assert check({**case, "T2": case["T2"] + "#2"}) == []
    assert faults_of({**case, "T2": case["T2"] + "#3"}) == [
        f"IXI012: T2 has no volume '3' (shape 8×8×8×3); it has the volumes #0 to #2: {case['T2']}#3"
    ]
    four = image_voxels((8, 8, 8, 3), np.float32)
    four[0, 0, 0, 1] = np.nan
    save(case["T2"], four)
    assert check({**case, "T2": case["T2"] + "#2"}) == []
    fault = f"IXI012: T2 has 1 voxels that are NaN or infinite: {case['T2']}#1"
    assert faults_of({**case, "T2": case["T2"] + "#1"}) == [fault]


def test_axes_that_are_not_at_right_angles_are_refused(case):
    """A hundredth of a cosine is what headers' rounding may do; ten degrees are a tilted gantry."""
    for role in ("T1", "T2", "label"):
        save(case[role], label_voxels(17, 53) if role == "label" else image_voxels(), AFFINE @ sheared(0.009))
    assert check(case) == []
    save(case["T2"], image_voxels(), AFFINE @ sheared(np.tan(np.deg2rad(10))))
    line = "T2 has axes that are not at right angles (j and k at 80.0°); resample it to a grid with orthogonal axes"
    assert faults_of(case)[0] == f"IXI012: {line}: {case['T2']}"


def sheared(amount: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[1, 2] = amount
    return matrix


def test_a_header_whose_two_affines_disagree_is_refused(case):
    image = nib.load(case["T1"])
    for code, moved, sound in ((1, 0.1, True), (1, 3.0, False), (0, 3.0, True)):
        other = AFFINE.copy()
        other[1, 3] += moved
        image.set_sform(AFFINE, 1)
        image.set_qform(other, code)
        image.to_filename(case["T1"])
        if sound:
            assert check(case) == []
        else:
            line = "T1 has an sform and a qform that disagree by up to 3 mm; set the code of the wrong one to 0"
            assert faults_of(case) == [f"IXI012: {line}: {case['T1']}"]


def test_a_label_half_a_voxel_off_is_refused(case):
    shifted = AFFINE @ nib.affines.from_matvec(np.eye(3), [0.5, 0, 0])
    save(case["label"], label_voxels(17), shifted)
    assert faults_of(case) == [
        "IXI012: label and T1 are up to 1 mm apart; resample one to the other (`monai_tl prepare files`)"
    ]


def test_a_label_whose_axes_run_another_way_needs_no_resampling(case):
    label = nib.load(case["label"])
    turned = label.as_reoriented(np.array([[1, 1], [0, -1], [2, 1]]))
    save(case["label"], np.asarray(turned.dataobj), turned.affine)
    (fault,) = faults_of(case)
    assert "label has the same points as T1, but its axes are" in fault
    assert "reorder them without resampling" in fault


def test_links_that_lead_nowhere_and_in_a_circle(case):
    for role in ("T1", "T2"):
        Path(case[role]).unlink()
    Path(case["T1"]).symlink_to("gone.nii.gz")
    Path(case["T2"]).symlink_to(Path(case["T2"]).name)
    assert [fault.split(": ")[1] for fault in faults_of(case)] == [
        "T1 is a broken link (to gone.nii.gz)",
        "T2 is a broken link (to IXI012-T2.nii.gz)",
    ]


def test_colour_and_an_affine_without_volume_are_refused(case):
    save(case["T1"], np.zeros((8, 8, 8), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])))
    flat = nib.Nifti1Image(image_voxels(), None)
    flat.header["sform_code"], flat.header["qform_code"] = 1, 0
    flat.header["srow_x"], flat.header["srow_y"], flat.header["srow_z"] = (2, 0, 0, 0), (0, 2, 0, 0), (0, 0, 0, 0)
    Path(case["T2"]).write_bytes(gzip.compress(bytes(flat.header.binaryblock) + bytes(4) + bytes(1024)))
    faults = faults_of(case)
    assert "T1 does not contain one number per voxel" in faults[0]
    assert "T2 has no usable affine" in faults[1]


@pytest.mark.parametrize("role", ["T2", "label"])
def test_another_grid_is_refused(case, role):
    voxels = label_voxels(17, 53)
    save(case[role], voxels[:, :, :7])
    assert faults_of(case) == [
        f"IXI012: {role} has shape 8×8×7, T1 8×8×8; resample one to the other (`monai_tl prepare files`)"
    ]
    shifted = AFFINE.copy()
    shifted[1, 3] += 0.01
    save(case[role], voxels, shifted)
    assert faults_of(case) == [
        f"IXI012: {role} and T1 are up to 0.01 mm apart; resample one to the other (`monai_tl prepare files`)"
    ]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_finite_are_counted(case, value):
    voxels = image_voxels(dtype=np.float32)
    voxels[0, 0, :3] = value
    save(case["T2"], voxels)
    assert faults_of(case) == [f"IXI012: T2 has 3 voxels that are NaN or infinite: {case['T2']}"]


def test_labels_are_known_integers(case):
    save(case["label"], label_voxels(17, 77, 85))
    (fault,) = faults_of(case, known_labels=(17, 53))
    assert fault.startswith("IXI012: label contains unknown values (77, 85), known are 17, 53: ")
    voxels = label_voxels(17).astype(np.float32)
    voxels[0, 0, :2] = 0.5, np.nan
    save(case["label"], voxels)
    (fault,) = faults_of(case)
    assert fault.startswith("IXI012: label contains values that are not integers (0.5, nan): ")


def test_no_foreground_is_a_fault_in_training_and_a_warning_elsewhere(case):
    save(case["label"], label_voxels(2, 41))
    line = "IXI012: label contains no foreground (17, 53), only 0, 2, 41"
    assert faults_of(case) == [line]
    assert check(case, need_foreground=False) == [line]


def test_all_faults_of_all_cases_are_reported_at_once(tmp_path):
    cases = [make_case(tmp_path, f"IXI00{number}") for number in range(4)]
    Path(cases[0]["T1"]).unlink()
    save(cases[0]["T2"], np.full((8, 8, 8), np.nan, np.float32))
    save(cases[2]["label"], label_voxels(2))
    assert [fault.split(": ")[0:2] for fault in faults_of(*cases)] == [
        ["IXI000", "T1 does not exist"],
        ["IXI000", "T2 has 512 voxels that are NaN or infinite"],
        ["IXI002", "label contains no foreground (17, 53), only 0, 2"],
    ]
    for case in cases:
        Path(case["T2"]).write_bytes(b"")
    Path(cases[1]["T1"]).unlink()
    faults = faults_of(*cases)
    assert len(faults) == 6
    assert faults[-1] == "and 2 more"


def test_a_bar_is_shown_for_many_cases_only(case, capsys):
    check(*[case] * 10)
    assert capsys.readouterr().err == ""
    check(*[case] * 11)
    assert "checking cases: 100%" in capsys.readouterr().err
