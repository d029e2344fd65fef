"""What a header says, by NIfTI's rules, against worked values and against ITK."""

from __future__ import annotations

from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest

from monai_tl.errors import DataError
from monai_tl.imaging.geometry import affine_fault, geometry_of_nifti
from monai_tl.imaging.grids import on_grid_of
from monai_tl.imaging.scan_files import files_of, geometry_of, open_scan, sha256_of_scan
from tests.conftest import mentions

AFFINE = np.array([[-1.5, 0, 0.1, 12], [0, 0, 2, -7], [0.1, 1, 0, 3], [0, 0, 0, 1.0]])
STRAIGHT = nib.affines.from_matvec(np.diag([-2.0, 2, 2.5]), [9, -8, 7])
SHAPE = (4, 5, 6)


def header(affine: np.ndarray = STRAIGHT, sform: int = 1, qform: int = 1, kind=nib.Nifti1Header, **fields):
    """A header with both forms, then whatever fields a test wants."""
    made = kind()
    made.set_data_shape(SHAPE)
    made.set_data_dtype(np.int16)
    made.set_xyzt_units("mm")
    made.set_sform(affine, 1)
    made.set_qform(affine, 1)
    made["sform_code"], made["qform_code"] = sform, qform
    for name, value in fields.items():
        if name[:-1] == "pixdim":
            made["pixdim"][int(name[-1])] = value
        else:
            made[name] = value
    return made


def write(path: Path, made) -> str:
    """A file with this very header, which nibabel would mend."""
    made = made.copy()
    made["magic"], made["vox_offset"] = b"n+1", 352
    voxels = np.random.default_rng(0).integers(0, 9, SHAPE).astype(np.int16)
    path.write_bytes(bytes(made.binaryblock) + bytes(4) + voxels.tobytes("F"))
    return str(path)


def by_itk(path: str) -> np.ndarray:
    image = itk.imread(path)
    lps = np.eye(4)
    lps[:3, :3] = itk.array_from_matrix(image.GetDirection()) * np.array(image.GetSpacing())
    lps[:3, 3] = image.GetOrigin()
    return np.diag([-1.0, -1, 1, 1]) @ lps


def test_the_form_in_use_counts_and_the_sform_first():
    moved = STRAIGHT.copy()
    moved[0, 3] += 50
    only_qform = header(qform=1, sform=0, srow_x=moved[0])
    assert np.allclose(geometry_of_nifti(only_qform).affine, STRAIGHT, atol=1e-6)
    only_sform = header(qform=0, sform=2, srow_x=moved[0])
    assert np.allclose(geometry_of_nifti(only_sform).affine, moved)
    assert [geometry_of_nifti(one).notes for one in (only_qform, only_sform)] == [(), ()]
    both = geometry_of_nifti(header(srow_x=moved[0]))
    assert both.fault == "has an sform and a qform that disagree by up to 50 mm; set the code of the wrong one to 0"


@pytest.mark.parametrize("kind", [nib.Nifti1Header, nib.Nifti2Header])
@pytest.mark.parametrize(
    ("fields", "facts"),
    [
        ({"sform": 0, "qform": 0}, ("orientation", "sform_code 0, qform_code 0", "set_sform", "dcm2niix")),
        ({"sform": -1, "qform": 0}, ("orientation", "sform_code -1")),
        ({"srow_y": (0, np.nan, 0, 1)}, ("sform (code 1)", "not finite", "srow_y: 0, nan, 0, 1", "sform_code … 0")),
        ({"srow_x": (-2, 0, 0, np.inf), "qform": 0}, ("sform (code 1)", "srow_x: -2, 0, 0, inf")),
        ({"srow_z": (0, 0, 0, 7)}, ("sform (code 1) … axis k … 0", "sform_code … 0")),
        ({"srow_z": (2, 2, 0, 7), "srow_x": (2, 2, 0, 1), "srow_y": (0, 0, 1, 1)}, ("axes in one plane",)),
        ({"sform": 0, "pixdim3": 0}, ("qform (code 1)", "along k", "pixdim[3] is 0")),
        ({"sform": 0, "pixdim1": -2}, ("along i", "pixdim[1] is -2")),
        ({"sform": 0, "pixdim2": np.nan}, ("along j", "pixdim[2] is nan")),
        ({"sform": 0, "pixdim0": 0.5}, ("pixdim[0] … 0.5 … 1 … -1",)),
        ({"sform": 0, "quatern_b": 1.1, "quatern_c": 0, "quatern_d": 0}, ("quaternion … 1.1",)),
        ({"sform": 0, "qoffset_y": np.nan}, ("not finite", "offset")),
        ({"xyzt_units": 1}, ("2000 × 2000 × 2500 mm", "metre", "0.05 to 30")),
        ({"xyzt_units": 3}, ("0.002 × 0.002 × 0.0025 mm", "micron")),
        ({"srow_x": (-2, 0.4, 0, 9)}, ("not at right angles (i and j at",)),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_a_fault(kind, fields, facts):
    fault = geometry_of_nifti(header(kind=kind, **fields)).fault
    mentions(fault, *facts)


@pytest.mark.parametrize("scale", [0.01, 40.0])
def test_lengths_without_a_unit_that_no_scan_has(scale):
    fault = geometry_of_nifti(header(np.diag([scale, scale, scale, 1]), xyzt_units=0)).fault
    assert f"voxels of {scale:g} × {scale:g} × {scale:g} mm (unit of length: not stated, mm assumed)" in fault


@pytest.mark.parametrize(
    ("fields", "facts"),
    [
        ({"qform": 0, "pixdim1": 1}, ("sform", "pixdim 1 × 2 × 2.5, sform 2 × 2 × 2.5, qform_code 0")),
        ({"qform": 0, "pixdim3": 2.5 * 1.001}, ("pixdim 2 × 2 × 2.5025, sform 2 × 2 × 2.5,",)),
        ({"pixdim2": 0}, ("qform … sform", "pixdim[2] is 0")),
        ({"quatern_b": np.nan}, ("qform", "not finite")),
        ({"quatern_b": 0, "quatern_c": 1.2, "quatern_d": 0}, ("qform", "quaternion … 1.2")),
        ({"quatern_c": 1.00001}, ("normalised", "length 1.00001")),
        ({"sform": 0, "quatern_c": 1.0009}, ("normalised", "length 1.0009")),
        ({"sform": 25}, ("sform_code … defined", "sform_code 25")),
        ({"xyzt_units": 5}, ("defined … NIfTI", "5")),
    ],
    ids=str,
)
def test_what_is_passed_over_is_said_and_the_grid_is_the_same(fields, facts):
    found = geometry_of_nifti(header(**fields))
    assert found.fault == ""
    assert np.allclose(found.affine, STRAIGHT, atol=1e-4)
    (note,) = found.notes
    mentions(str(note), *facts)


def test_what_is_usual_is_not_remarked():
    for made in (header(), header(qform=0), header(sform=0), header(xyzt_units=0), header(xyzt_units=10), header(pixdim0=0)):
        assert geometry_of_nifti(made).notes == ()
    third = nib.affines.from_matvec(np.diag([2.0, 2, -2]))
    assert np.array_equal(geometry_of_nifti(header(third, sform=0)).affine, third), "pixdim[0] -1 turns the third axis"
    one, other = (geometry_of_nifti(header(third, sform=0, pixdim0=side)).affine for side in (0, 1))
    assert np.array_equal(one, other), "by the standard 0 means 1"


@pytest.mark.parametrize(("unit", "factor"), [(1, 0.001), (3, 1000.0)], ids=["metre", "micron"])
@pytest.mark.parametrize("form", ["sform", "qform"])
def test_metres_and_microns_become_mm_as_in_itk(tmp_path, unit, factor, form):
    there = np.diag([factor] * 3 + [1.0]) @ STRAIGHT
    made = header(there, xyzt_units=unit, **{"qform" if form == "sform" else "sform": 0})
    path = write(tmp_path / "scan.nii", made)
    image = open_scan(path)
    assert np.allclose(image.affine, STRAIGHT, rtol=1e-5)
    assert np.allclose(image.affine, by_itk(path), rtol=1e-5)
    assert np.allclose(nib.affines.voxel_sizes(image.affine), [2, 2, 2.5])
    name = {1: "metre", 3: "micron"}[unit]
    assert f"its lengths are in {name}, converted to mm" in str(geometry_of(image).notes[0])


@pytest.mark.parametrize("codes", [(1, 1), (1, 0), (0, 1)], ids=str)
@pytest.mark.parametrize("affine", [STRAIGHT, AFFINE], ids=["straight", "oblique"])
def test_affines_are_nibabels_bit_for_bit_and_itks(tmp_path, codes, affine):
    oblique = nib.affines.from_matvec(np.linalg.qr(affine[:3, :3])[0] * [1, 2, 3], affine[:3, 3])
    path = write(tmp_path / "scan.nii", header(oblique, *codes))
    image = open_scan(path)
    assert np.array_equal(image.affine, nib.load(path).affine)
    assert np.allclose(image.affine, by_itk(path), atol=1e-4)


def test_all_that_the_opened_header_says_fits_the_affine(tmp_path):
    """Stale pixdim, a foreign qform of code 0 and microns: what reads the header itself is not led astray."""
    there = np.diag([1000.0] * 3 + [1]) @ STRAIGHT
    path = write(tmp_path / "scan.nii", header(there, qform=0, xyzt_units=3, pixdim1=7, quatern_d=0.7, qoffset_x=99))
    image = open_scan(path)
    for affine in (image.affine, image.get_sform(), image.get_qform()):
        assert np.allclose(affine, STRAIGHT, rtol=1e-5)
    assert np.allclose(image.header.get_zooms(), [2, 2, 2.5])
    assert image.header.get_xyzt_units()[0] == "mm"


@pytest.mark.parametrize(
    "fields",
    [
        {"qform": 0, "pixdim1": 1, "pixdim2": 1, "pixdim3": 1, "quatern_c": 0, "qoffset_x": 0},
        {"qform": 1, "quatern_c": 1.00001},
        {"sform": 25, "qform": 0},
        {"xyzt_units": 3, "srow_x": (-2000, 0, 0, 9), "srow_y": (0, 2000, 0, 9), "srow_z": (0, 0, 2000, 9), "qform": 0},
        {"xyzt_units": 5},
    ],
    ids=str,
)
def test_what_is_written_on_a_scans_grid_says_word_for_word_what_the_scan_says(tmp_path, fields):
    scan = open_scan(write(tmp_path / "scan.nii", header(**fields)))
    nib.save(on_grid_of(np.ones(SHAPE, np.uint8), scan), tmp_path / "seg.nii.gz")
    seg = open_scan(tmp_path / "seg.nii.gz")
    stored, written = geometry_of(scan).stored, geometry_of(seg).stored
    for name in ("srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "sform_code", "qform_code"):
        assert np.array_equal(stored[name], written[name]), name
    assert np.array_equal(stored["pixdim"][:4], written["pixdim"][:4])
    assert stored["xyzt_units"] == written["xyzt_units"]
    assert np.array_equal(scan.affine, seg.affine)


def test_a_pair_of_header_and_image_goes_through_the_same_door(tmp_path):
    image = nib.Nifti1Pair(np.ones(SHAPE, np.int16), STRAIGHT)
    nib.save(image, tmp_path / "scan.img")
    for ending in (".img", ".hdr"):
        assert np.array_equal(open_scan(tmp_path / f"scan{ending}").affine, STRAIGHT)
        assert [Path(path).name for path in files_of(tmp_path / f"scan{ending}")] == ["scan.hdr", "scan.img"]
    before = sha256_of_scan(tmp_path / "scan.img")
    content = bytearray((tmp_path / "scan.hdr").read_bytes())
    content[252:256] = bytes(4)
    (tmp_path / "scan.hdr").write_bytes(content)
    with pytest.raises(DataError, match="orientation: neither.*sform.*qform"):
        open_scan(tmp_path / "scan.img")
    assert sha256_of_scan(tmp_path / "scan.img") != before, "a header that changed is a scan that changed"


def test_analyze_holds_no_orientation_and_spms_matrix_does(tmp_path):
    nib.save(nib.AnalyzeImage(np.ones(SHAPE, np.int16), np.diag([-2.0, 2, 2, 1])), tmp_path / "scan.img")
    with pytest.raises(DataError, match="orientation.*Analyze.*dcm2niix"):
        open_scan(tmp_path / "scan.img")
    nib.save(nib.Spm2AnalyzeImage(np.ones(SHAPE, np.int16), STRAIGHT), tmp_path / "spm.img")
    spm = open_scan(tmp_path / "spm.img")
    assert np.allclose(spm.affine, STRAIGHT)
    assert "spm.mat" in str(geometry_of(spm).notes[0])


@pytest.mark.parametrize("ending", [".mgh", ".mgz"])
def test_freesurfers_format_without_its_flag_is_unknown(tmp_path, ending):
    path = tmp_path / f"scan{ending}"
    image = nib.MGHImage(np.ones(SHAPE, np.float32), STRAIGHT)
    nib.save(image, path)
    assert np.allclose(open_scan(path).affine, STRAIGHT, atol=1e-5)
    if ending == ".mgh":
        content = bytearray(path.read_bytes())
        content[28:30] = bytes(2)
        path.write_bytes(content)
        with pytest.raises(DataError, match="goodRASFlag 0"):
            open_scan(path)


@pytest.mark.parametrize(
    ("slope", "inter", "message"),
    [
        (np.inf, 0, "scl_slope inf, scl_inter 0"),
        (-np.inf, 0, "scl_slope -inf, scl_inter 0"),
        (2, np.nan, "scl_slope 2, scl_inter nan"),
        (1, np.inf, "scl_slope 1, scl_inter inf"),
    ],
    ids=str,
)
def test_a_scaling_that_is_not_finite_is_a_fault(tmp_path, slope, inter, message):
    with pytest.raises(DataError, match="scaling that is not finite") as refusal:
        open_scan(write(tmp_path / "scan.nii", header(scl_slope=slope, scl_inter=inter)))
    mentions(str(refusal.value), message)


def test_a_slope_that_is_no_number_means_none_and_is_said(tmp_path):
    image = open_scan(write(tmp_path / "scan.nii", header(scl_slope=np.nan, scl_inter=np.nan)))
    assert np.asanyarray(image.dataobj).dtype == np.int16
    assert "scl_slope nan" in str(geometry_of(image).notes[0])


def test_a_volume_of_a_4d_image_has_its_notes(tmp_path):
    four = nib.Nifti1Image(np.ones((*SHAPE, 2), np.int16), STRAIGHT)
    nib.save(four, tmp_path / "four.nii")
    content = bytearray((tmp_path / "four.nii").read_bytes())
    content[80:84] = np.float32(1).tobytes()
    (tmp_path / "four.nii").write_bytes(content)
    assert "pixdim 1 × 2 × 2.5" in str(geometry_of(open_scan(f"{tmp_path}/four.nii#1")).notes[0])


def test_an_affine_of_any_format_has_to_have_a_place():
    broken = STRAIGHT.copy()
    broken[0, 3] = np.nan
    assert "not finite" in affine_fault(broken)
    assert affine_fault(STRAIGHT) == ""
