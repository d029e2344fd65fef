"""What people hand in by mistake: the case is named, with what is wrong and what to do; others go on; the exit code says so."""

from __future__ import annotations

import csv
import gzip
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import mentions
from tests.dicom import write_series

BAD, GOOD = "IXI001", "IXI002"


def copy_head(phantoms, folder, subject):
    """Put a small head into a folder in the layout of IXI."""
    stem = sorted((phantoms / "ixi" / "IXI-T1").iterdir())[0].name.removesuffix("-T1.nii.gz")
    for role, place in (("T1", "IXI-T1"), ("T2", "IXI-T2"), ("aseg", "aseg")):
        (folder / place).mkdir(parents=True, exist_ok=True)
        shutil.copy(phantoms / "ixi" / place / f"{stem}-{role}.nii.gz", folder / place / f"{subject}-HH-0001-{role}.nii.gz")


@pytest.fixture
def folder(phantoms, tmp_path):
    """Two heads, the first of which a test spoils."""
    for subject in (BAD, GOOD):
        copy_head(phantoms, tmp_path / "ixi", subject)
    return tmp_path / "ixi"


def file_of(folder, role="T2", subject=BAD):
    return folder / ("aseg" if role == "aseg" else f"IXI-{role}") / f"{subject}-HH-0001-{role}.nii.gz"


def again(path, affine=None, change=lambda voxels: voxels, code=None):
    """Rewrite an image with something else in it."""
    image = nib.load(path)
    made = nib.Nifti1Image(change(np.asanyarray(image.dataobj)), image.affine if affine is None else image.affine @ affine)
    if code is not None:
        made.set_sform(image.affine, 1)
        made.set_qform(image.affine @ nib.affines.from_matvec(np.eye(3), [3, 0, 0]), code)
    nib.save(made, path)


def flatten(path):
    """A header whose affine is 0 throughout: nibabel writes none such."""
    image = nib.load(path)
    header = image.header.copy()
    header["sform_code"], header["qform_code"] = 1, 0
    for row in ("srow_x", "srow_y", "srow_z"):
        header[row] = 0
    header["magic"], header["vox_offset"] = b"n+1", 352
    voxels = np.asanyarray(image.dataobj).astype(header.get_data_dtype())
    path.write_bytes(gzip.compress(bytes(header.binaryblock) + bytes(4) + voxels.tobytes("F")))


def loop(path):
    path.unlink()
    path.symlink_to(path.name)


SHEAR = np.eye(4) + np.diag([0.3, 0, 0], 1)[:4, :4]
IMAGES = {
    "truncated gzip": (lambda path: path.write_bytes(path.read_bytes()[:2000]), "T2 … readable ("),
    "zero bytes": (lambda path: path.write_bytes(b""), "T2 … readable ("),
    "an affine of zeros": (flatten, "T2 … affine … sform (code 1) … axis i … 0"),
    "axes that are not at right angles": (
        lambda path: again(path, SHEAR),
        "T2 … (i and j at 73",
    ),
    "sform against qform": (
        lambda path: again(path, code=1),
        "T2 … sform … qform … 3 mm",
    ),
    "several volumes": (
        lambda path: again(path, change=lambda v: np.stack([v, v], -1)),
        "T2 … 3D (shape 32×32×32×2) … #0 to #1",
    ),
    "a link to itself": (loop, "T2 … link … IXI106-HH-0001-T2.nii.gz"),
}
LABELS = {
    "half a voxel off": (
        lambda path: again(path, nib.affines.from_matvec(np.eye(3), [0.5, 0, 0])),
        "label and T1 … 0.5 mm … resample",
    ),
    "halves among the values": (
        lambda path: again(path, change=lambda v: (v / 2).astype(np.float32)),
        "label … integers (",
    ),
}


SUBJECTS = {f"IXI{100 + number}": name for number, name in enumerate(IMAGES | LABELS)}


@pytest.fixture
def spoiled(phantoms, tmp_path):
    """A case for each fault, and a good one behind them."""
    for subject, name in [*SUBJECTS.items(), ("IXI200", "")]:
        copy_head(phantoms, tmp_path / "spoiled", subject)
        if name:
            (IMAGES | LABELS)[name][0](file_of(tmp_path / "spoiled", "T2" if name in IMAGES else "aseg", subject))
    return tmp_path / "spoiled"


def test_bad_images_are_named_and_the_others_predicted(verb, source, spoiled, tmp_path):
    """Labels are not looked at."""
    bad = [subject for subject, name in SUBJECTS.items() if name in IMAGES]
    good = [subject for subject, name in SUBJECTS.items() if name in LABELS] + ["IXI200"]
    words = ("predict", "--bundle", source, "--input", spoiled, "--output")
    answer = verb(*words, tmp_path / "out")
    assert answer.code == 1, answer.err
    head, *lines = answer.err[answer.err.index("monai_tl: ") :].splitlines()
    mentions(head, f"monai_tl: {len(bad)} of {len(SUBJECTS) + 1} cases")
    for line, subject in zip(lines, bad, strict=True):
        assert line.startswith(f"  {subject}: ")
        mentions(line, IMAGES[SUBJECTS[subject]][1])
    assert "Traceback" not in answer.err
    assert [path.name for path in sorted((tmp_path / "out").glob("*.nii.gz"))] == [f"{subject}_seg.nii.gz" for subject in good]
    answer = verb(*words, tmp_path / "none", "--subjects", ",".join(bad))
    assert answer.code == 2
    mentions(answer.err, f"none of {len(bad)} cases")
    assert not (tmp_path / "none").exists()


def test_bad_images_and_labels_are_named_and_the_others_checked(verb, spoiled, tmp_path):
    answer = verb("check", spoiled, "--output", tmp_path / "out")
    assert answer.code == 1, answer.err
    mentions(answer.err, f"{len(SUBJECTS)} of {len(SUBJECTS) + 1} cases … --leave_out")
    with (tmp_path / "out" / "qc.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert rows["IXI200"]["state"] != "problem"
    for subject, name in SUBJECTS.items():
        assert rows[subject]["state"] == "problem"
        mentions(rows[subject]["reasons"], (IMAGES | LABELS)[name][1])


def test_one_volume_on_a_fourth_axis_and_whole_numbers_stored_as_floats_are_as_good_as_any(verb, source, folder, tmp_path):
    words = ("predict", "--bundle", source, "--input", folder, "--subjects", BAD, "--output")
    before = verb(*words, tmp_path / "before")
    again(file_of(folder), change=lambda voxels: voxels[..., None])
    again(file_of(folder, "aseg"), change=lambda voxels: voxels.astype(np.float32))
    assert nib.load(file_of(folder)).shape == (32, 32, 32, 1)
    assert nib.load(file_of(folder, "aseg")).get_data_dtype() == np.float32
    answer = verb("check", folder, "--output", tmp_path / "out")
    assert (answer.code, before.code) == (0, 0), answer.err
    assert verb(*words, tmp_path / "after").code == 0
    one, other = (nib.load(tmp_path / at / f"{BAD}_seg.nii.gz") for at in ("before", "after"))
    assert other.shape == (32, 32, 32)
    assert np.array_equal(np.asanyarray(one.dataobj), np.asanyarray(other.dataobj))


def only_the_good_one_is_taken(verb, source, folder, tmp_path, message):
    """By predict, which goes on; a datalist is not written without a choice."""
    answer = verb("predict", "--bundle", source, "--input", folder, "--output", tmp_path / "predictions")
    assert answer.code == 1, answer.err
    mentions(answer.err, message.format(":"))
    assert [path.name for path in (tmp_path / "predictions").glob("*_seg.nii.gz")] == ["IXI002_seg.nii.gz"]
    answer = verb("datalist", "ixi", "--root", folder, "--output", tmp_path / "none.json")
    assert answer.code == 2, answer.err
    mentions(answer.err, message.format(""))
    assert not (tmp_path / "none.json").exists()


def test_scans_of_different_people_under_one_number(verb, source, folder, tmp_path):
    file_of(folder).rename(file_of(folder).with_name(f"{BAD}-Guys-0777-T2.nii.gz"))
    message = f"{BAD}{{}} … (T1 {BAD}-HH-0001, T2 {BAD}-Guys-0777"
    answer = verb("check", folder, "--output", tmp_path / "out")
    assert answer.code == 1
    mentions(answer.err, message.format(":"))
    only_the_good_one_is_taken(verb, source, folder, tmp_path, message)


def test_one_id_twice(verb, source, folder, tmp_path):
    shutil.copy(file_of(folder), file_of(folder).with_name(f"{BAD}-Guys-0777-T2.nii.gz"))
    message = f"{BAD}{{}} … 2 files … T2 ("
    answer = verb("check", folder, "--output", tmp_path / "out")
    assert answer.code == 1, answer.err
    mentions(answer.err, message.format(":"))
    only_the_good_one_is_taken(verb, source, folder, tmp_path, message)


@pytest.mark.parametrize("role", ["T1", "aseg"])
def test_a_folder_that_may_not_be_read(verb, source, folder, tmp_path, monkeypatch, role):
    """Root may read all: what the system would answer to another is put in its place."""
    closed, access = str(file_of(folder, role).parent), os.access
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != closed and access(path, mode))
    answer = verb("check", folder, "--output", tmp_path / "out")
    assert (answer.code, (tmp_path / "out").exists()) == (2, False)
    mentions(answer.err, f"permission … {closed}")


@pytest.fixture
def series(phantoms, tmp_path):
    """Of two subjects, ``T1`` as a DICOM series in a folder and ``T2.nii`` on its grid."""
    path = sorted((phantoms / "ixi" / "IXI-T1").iterdir())[0]
    for subject in ("ann", "bob"):
        image, other = (
            nib.as_closest_canonical(nib.load(str(path).replace("T1", name))).slicer[..., 8:24] for name in ("T1", "T2")
        )
        write_series(tmp_path / "scans" / subject / "T1", np.rint(image.get_fdata()), np.eye(4), SeriesDescription="T1 sag")
        nib.save(nib.Nifti1Image(np.asanyarray(other.dataobj), np.eye(4)), tmp_path / "scans" / subject / "T2.nii")
    return tmp_path / "scans"


def predicted(verb, source, series, output):
    patterns = ("--T1={subject}/T1", "--T2={subject}/T2.nii")
    return verb("predict", "--bundle", source, "--input", series, "--output", output, *patterns)


def test_a_folder_with_a_localiser_and_two_series(verb, source, series, tmp_path):
    place = series / "ann" / "T1"
    for number, (name, slices) in enumerate((("T1 sag", 0), ("Localiser", 3), ("T1 tra", 5))):
        if slices:
            write_series(place, np.zeros((6, 7, slices), np.int16), np.eye(4), seed=number, SeriesDescription=name)
        for path in list(place.glob("I*")):
            path.rename(path.with_name(f"s{number}{path.name[1:]}"))
    answer = predicted(verb, source, series, tmp_path / "out")
    assert answer.code == 1, answer.err
    mentions(answer.err, "1 of 2 cases … ann")
    assert "T1 holds 3 series: " in answer.err
    for description in ("'Localiser' (3 slices, MR, ", "'T1 tra' (5 slices, MR, ", "'T1 sag' (16 slices, MR, "):
        mentions(answer.err, description)
    mentions(answer.err, f"{place}#DESCRIPTION … {place}#UID")
    assert (tmp_path / "out" / "bob_seg.nii.gz").is_file()


def test_a_slice_that_went_missing_after_the_first_call_too(verb, source, series, tmp_path):
    assert predicted(verb, source, series, tmp_path / "out").code == 0
    sorted((series / "ann" / "T1").iterdir())[7].unlink()
    answer = predicted(verb, source, series, tmp_path / "out")
    assert answer.code == 1, answer.err
    mentions(answer.out, "1 of 2 cases … finished")
    assert "T1 series 'T1 sag' (15 slices, MR, " in answer.err
    assert "lacks 1 slice between " in answer.err
    assert "export it from the archive again" in answer.err


def test_a_series_whose_folder_may_not_be_read(verb, source, series, tmp_path, monkeypatch):
    closed, scandir = str(series / "ann" / "T1"), os.scandir

    def refuse(path="."):
        if str(path) == closed:
            raise PermissionError(13, "Permission denied", closed)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    answer = predicted(verb, source, series, tmp_path / "out")
    assert answer.code == 1, answer.err
    mentions(answer.err, "ann: T1 … readable ([Errno 13] Permission")
    assert (tmp_path / "out" / "bob_seg.nii.gz").is_file()


@pytest.mark.parametrize("what", ["predict", "check", "datalist"])
def test_a_full_disk(verb, source, folder, tmp_path, monkeypatch, what):
    """It would be full for the next case too: one line, nothing half written."""

    def full(_):
        raise OSError(28, "No space left on device")

    words = {
        "predict": ("predict", "--bundle", source, "--input", folder, "--subjects", BAD, "--output", tmp_path / "out"),
        "check": ("check", folder, "--output", tmp_path / "out"),
        "datalist": ("datalist", "ixi", "--root", folder, "--split", "1,0,0", "--output", tmp_path / "out" / "d.json"),
    }[what]
    monkeypatch.setattr(os, "fsync", full)
    answer = verb(*words)
    assert answer.code == 2
    mentions(answer.err, "disk … full")
    assert [path for path in Path(tmp_path / "out").rglob("*") if path.is_file()] == []
    monkeypatch.undo()
    assert verb(*words).code == 0
