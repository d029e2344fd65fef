"""Headers that say one thing to one program and another to the next: here all parts see one grid, or the case is named."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_tl.imaging.scan_io import LoadScand
from tests.conftest import BRATS, TINY, mentions
from tests.trust.conftest import write_brats

TOPIC = "Geometry and voxels"
SUBJECTS = ("ann", "bob", "cem", "dan")
SHAPE = (16, 16, 16)
LPS = nib.affines.from_matvec(np.diag([-2.0, -2, 2]), [15, 15, -15])
ROLES = ("t1", "t2", "seg")


def heads(folder: Path, affine: np.ndarray = LPS, shape=SHAPE) -> Path:
    """Write four heads."""
    return write_brats(folder, SUBJECTS, shape, affine)


def listed(verb, folder: Path, t1: str = "{subject}/{subject}_t1.nii.gz") -> Path:
    """Make their datalist, after a test has had its way with them: two to train, one to validate, one to test."""
    splits = {"train": SUBJECTS[:2], "validation": SUBJECTS[2:3], "test": SUBJECTS[3:]}
    (folder / "splits.json").write_text(json.dumps(splits))
    patterns = {"T1": t1, "T2": "{subject}/{subject}_t2.nii.gz", "label": "{subject}/{subject}_seg.nii.gz"}
    named = [f"--{name}={folder}/{pattern}" for name, pattern in patterns.items()]
    options = ("--foreground", "1", "--labels", "1,2,4", "--split", folder / "splits.json")
    answer = verb("datalist", "files", *named, *options, "--output", folder / "datalist.json")
    assert answer.code == 0, answer.err
    return folder / "datalist.json"


def edit(path: Path, **fields) -> None:
    """Put fields into a header as they are, which nibabel would mend."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    header = nib.Nifti1Header(bytes(content[:348]), check=False)
    for name, value in fields.items():
        if name == "pixdim":
            header["pixdim"][1:4] = value
        else:
            header[name] = value
    content[:348] = header.binaryblock
    path.write_bytes(gzip.compress(bytes(content), mtime=0))


def edit_all(folder: Path, roles=ROLES, subjects=SUBJECTS, **fields) -> Path:
    for subject in subjects:
        for role in roles:
            edit(folder / subject / f"{subject}_{role}.nii.gz", **fields)
    return folder


def train(verb, folder, output, **settings):
    listed(verb, folder)
    flags = {"bundle": BRATS, "dataset_dir": folder, "output": output, **TINY, **settings}
    return verb("train", *(text for name, value in flags.items() for text in (f"--{name}", str(value).replace(" ", ""))))


def refused_by_training(verb, folder, tmp_path, *facts):
    answer = train(verb, folder, tmp_path / "run")
    assert answer.code == 2, answer.err
    assert not (tmp_path / "run").exists()
    mentions(answer.err, *facts)
    assert "Traceback" not in answer.err
    return answer


def qc(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "qc.csv").open(newline="", encoding="utf-8") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def numbers_of(verb, folder: Path, tmp_path: Path, name: str) -> dict[str, object]:
    """All numbers that a training, its evaluation, a prediction and a check come to, and what they said."""
    run = tmp_path / f"run_{name}"
    answers = {"train": train(verb, folder, run, spacing=[2.0, 2.0, 2.0])}
    answers["evaluate"] = verb("evaluate", "--run", run, "--split", "test")
    answers["predict"] = verb(
        "predict", "--bundle", run, "--input", folder / "datalist.json", "--output", tmp_path / f"out_{name}"
    )
    answers["check"] = verb("check", folder / "datalist.json", "--output", tmp_path / f"qc_{name}")
    assert [answer.code for answer in answers.values()] == [0, 0, 0, 0], answers
    metrics = [{key: row[key] for key in ("loss", "val_dice")} for row in rows(run / "metrics.csv")]
    predicted = {row["case"]: row["volume_ml"] for row in rows(tmp_path / f"out_{name}" / "predictions.csv")}
    checked = {
        case: (row["spacing"], row["orientation"], row["foreground_ml"]) for case, row in qc(tmp_path / f"qc_{name}").items()
    }
    scores = [row for row in rows(run / "scores_test.csv") if row["metric"] != "seconds"]
    return {"metrics": metrics, "scores": scores, "predicted": predicted, "checked": checked, "answers": answers}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Heads whose headers are in order, and what they come to (filled by the first test that asks)."""
    return {
        "folder": heads(tmp_path_factory.mktemp("sound") / "data"),
        "numbers": None,
        "place": tmp_path_factory.mktemp("numbers"),
    }


STALE = {"qform_code": 0, "quatern_b": 0, "quatern_c": 0, "quatern_d": 0, "qoffset_x": 0, "qoffset_y": 0, "qoffset_z": 0}
MICRON = {"xyzt_units": 3, "srow_x": LPS[0] * 1000, "srow_y": LPS[1] * 1000, "srow_z": LPS[2] * 1000, "qform_code": 0}
METRE = {"xyzt_units": 1, "pixdim": 0.002, "sform_code": 0, "qoffset_x": 0.015, "qoffset_y": 0.015, "qoffset_z": -0.015}
UNUSED = "qform … sform"
SAID = "pixdim and its sform"


@pytest.mark.parametrize(
    ("came", "roles", "fields", "texts"),
    [
        (
            "pixdim of another size than the sform, qform of code 0",
            ROLES,
            {"pixdim": 1, **STALE},
            [SAID, "T1, T2, label", "pixdim 1 × 1 × 1, sform 2 × 2 × 2"],
        ),
        ("pixdim that is stale in the images alone", ("t1", "t2"), {"pixdim": 2.002, **STALE}, [SAID, "T1, T2: its pixdim"]),
        ("lengths in metre, with a qform alone", ROLES, METRE, ["metre, converted"]),
    ],
    ids=["stale", "images", "metre"],
)
def test_every_part_comes_to_the_numbers_of_a_header_in_order(verb, says, sound, tmp_path, came, roles, fields, texts):
    if sound["numbers"] is None:
        sound["numbers"] = numbers_of(verb, sound["folder"], sound["place"], "sound")
    shutil.copytree(sound["folder"], tmp_path / "data")
    edit_all(tmp_path / "data", roles, **fields)
    found, right = numbers_of(verb, tmp_path / "data", tmp_path, "odd"), sound["numbers"]
    for what in ("metrics", "scores", "predicted", "checked"):
        close_to(found[what], right[what])
    voxels = np.asanyarray(nib.load(sound["folder"] / "dan" / "dan_seg.nii.gz").dataobj).sum()
    spacing, axes, ml = found["checked"]["dan"]
    assert (spacing, axes) == ("2×2×2", "LPS")
    assert float(ml) == pytest.approx(voxels * 8 / 1000)
    for name, answer in found["answers"].items():
        assert texts[0] in answer.out + answer.err, (name, answer)
    printed = found["answers"]["train"].out + found["answers"]["train"].err
    assert printed.count(texts[0]) == 2, "a line for training, one for validation"
    says(TOPIC, came, "train, evaluate, predict, check", found["answers"]["train"], *texts)
    scan, seg = tmp_path / "data" / "dan" / "dan_t1.nii.gz", tmp_path / "out_odd" / "dan_seg.nii.gz"
    assert raw_geometry(scan) == raw_geometry(seg), "whichever form a program believes, one lies on the other"


@pytest.mark.parametrize(
    ("came", "roles", "fields", "texts"),
    [
        ("pixdim in another order than the sform's axes", ("seg",), {"pixdim": (2, 2, 3), **STALE}, [SAID, "label:"]),
        ("pixdim of 0 with a valid sform", ROLES, {"pixdim": (2, 2, 0)}, [UNUSED, "pixdim[3] is 0"]),
        ("a quaternion of length 1.2 with a valid sform", ("t1",), {"quatern_d": 1.2}, [UNUSED, "length 1.2"]),
        ("a quaternion a little too long with a valid sform", ("t2",), {"quatern_d": 1.00001}, ["normalised"]),
        ("a quaternion a little too long and no sform", ROLES, {"quatern_d": 1.0001, "sform_code": 0}, ["normalised"]),
        ("lengths in micron, sform", ROLES, {"pixdim": 2000, **MICRON}, ["micron, converted"]),
        ("lengths in micron in the labels alone", ("seg",), {"pixdim": 2000, **MICRON}, ["label … micron"]),
        ("a sform code that NIfTI does not define", ("t1",), {"sform_code": 25}, ["sform_code 25"]),
        ("a scl_slope of NaN", ("t2",), {"scl_slope": np.nan}, ["scl_slope"]),
    ],
    ids=lambda value: value.replace(" ", "_") if isinstance(value, str) else "",
)
def test_what_is_passed_over_is_said_and_the_network_sees_the_same(verb, says, sound, tmp_path, came, roles, fields, texts):
    shutil.copytree(sound["folder"], tmp_path / "data")
    edit_all(tmp_path / "data", roles, **fields)
    answer = verb("check", listed(verb, tmp_path / "data"), "--output", tmp_path / "qc")
    assert answer.code == 0, answer.err
    assert f"4 of 4 cases ({', '.join(SUBJECTS)})" in answer.out
    assert all(
        row["notes"] and row["spacing"] == "2×2×2" and row["orientation"] == "LPS" for row in qc(tmp_path / "qc").values()
    )
    mentions((tmp_path / "qc" / "check.html").read_text(), *texts)
    says(TOPIC, came, "train, evaluate, predict, check", answer, *texts)
    paths = [f"ann/ann_{role}.nii.gz" for role in ROLES]
    seen, right = (
        LoadScand(ROLES)(dict(zip(ROLES, (f"{folder}/{path}" for path in paths), strict=True)))
        for folder in (tmp_path / "data", sound["folder"])
    )
    for role in ROLES:
        assert np.array_equal(seen[role], right[role])
        assert np.allclose(seen[role].affine, right[role].affine, atol=1e-4)


def close_to(found, right) -> None:
    """Equal, but for the rounding of a unit that is converted."""
    if isinstance(right, dict):
        assert found.keys() == right.keys()
        for key in right:
            close_to(found[key], right[key])
    elif isinstance(right, list | tuple):
        assert len(found) == len(right)
        for one, other in zip(found, right, strict=True):
            close_to(one, other)
    else:
        try:
            assert float(found) == pytest.approx(float(right), rel=1e-4, abs=1e-6, nan_ok=True)
        except ValueError:
            assert found == right


def raw_geometry(path: Path) -> tuple[bytes, ...]:
    content = gzip.decompress(path.read_bytes())
    return content[76:92], content[123:124], content[252:328]


REFUSED = [
    (
        "no orientation at all: both codes 0",
        ROLES,
        {"sform_code": 0, "qform_code": 0},
        ("orientation", "sform_code 0, qform_code 0", "nibabel: image.set_sform(affine, 1)"),
    ),
    ("no orientation in the label alone", ("seg",), {"sform_code": 0, "qform_code": 0}, ("label … orientation",)),
    ("codes below 0", ("t1",), {"sform_code": -1, "qform_code": 0}, ("T1 … orientation", "sform_code -1")),
    (
        "a sform with NaN and a valid qform",
        ("t2",),
        {"srow_y": (0, np.nan, 0, 15)},
        ("T2 … affine … sform (code 1)", "srow_y: 0, nan, 0, 15", "sform_code to 0"),
    ),
    (
        "a sform with a column of 0",
        ("t2",),
        {"srow_z": (0, 0, 0, 1), "qform_code": 0},
        ("sform (code 1) … axis k … 0",),
    ),
    (
        "a slice distance of 0 with a qform alone",
        ROLES,
        {"sform_code": 0, "pixdim": (2, 2, 0)},
        ("qform (code 1) … along k (pixdim[3] is 0)",),
    ),
    ("a negative pixdim with a qform alone", ("t1",), {"sform_code": 0, "pixdim": (2, -2, 2)}, ("along j (pixdim[2] is -2)",)),
    (
        "a pixdim of NaN with a qform alone",
        ("seg",),
        {"sform_code": 0, "pixdim": (np.nan, 2, 2)},
        ("along i (pixdim[1] is nan)",),
    ),
    (
        "a quaternion of length 1.1 with a qform alone",
        ("t1",),
        {"sform_code": 0, "quatern_d": 1.1},
        ("qform (code 1) … quaternion of length 1.1",),
    ),
    (
        "a quaternion that is a little too long, and turned against the sform",
        ("t1",),
        {"quatern_d": 0, "quatern_b": 1.00001},
        ("T1 … sform … qform", "84.9 mm"),
    ),
    (
        "lengths in micron with no unit",
        ROLES,
        {"srow_x": LPS[0] * 1000, "srow_y": LPS[1] * 1000, "srow_z": LPS[2] * 1000, "qform_code": 0, "xyzt_units": 0},
        ("2000 × 2000 × 2000 mm … unit",),
    ),
    (
        "lengths in mm under the unit metre",
        ("t2",),
        {"xyzt_units": 1},
        ("2000 × 2000 × 2000 mm … metre",),
    ),
    (
        "lengths in mm under the unit micron",
        ROLES,
        {"xyzt_units": 3},
        ("0.002 × 0.002 × 0.002 mm … micron",),
    ),
    (
        "voxels that begin inside the header",
        ("t1",),
        {"vox_offset": 0},
        ("T1 … vox_offset 0 … 352",),
    ),
    (
        "a scl_slope that is infinite",
        ("t1",),
        {"scl_slope": np.inf},
        ("T1 … scl_slope inf",),
    ),
]


@pytest.mark.parametrize(("came", "roles", "fields", "facts"), REFUSED, ids=[row[0].replace(" ", "_") for row in REFUSED])
def test_what_has_no_place_is_named(verb, says, source, sound, tmp_path, came, roles, fields, facts):
    folder = tmp_path / "data"
    shutil.copytree(sound["folder"], folder)
    edit_all(folder, roles, ["bob"], **fields)
    checked = verb("check", listed(verb, folder), "--output", tmp_path / "qc")
    table = qc(tmp_path / "qc")
    assert checked.code == 1
    assert [name for name in SUBJECTS if table[name]["state"] == "problem"] == ["bob"]
    mentions(table["bob"]["reasons"], *facts)
    says(TOPIC, came, "train, evaluate, predict, check", checked, *facts)
    if came in (REFUSED[0][0], REFUSED[3][0]):
        refused_by_training(verb, folder, tmp_path, "bob: ", *facts)
        answer = verb("predict", "--bundle", source, "--input", folder / "datalist.json", "--output", tmp_path / "out")
        assert answer.code == 1, answer.err
        mentions(answer.err, *facts)
        found = sorted(path.name.split("_")[0] for path in (tmp_path / "out").glob("*_seg.nii.gz"))
        assert found == ["ann", "cem", "dan"]


def test_an_analyze_image_has_no_orientation(verb, says, tmp_path):
    folder = heads(tmp_path / "data")
    for subject in SUBJECTS:
        image = nib.load(folder / subject / f"{subject}_t1.nii.gz")
        nib.save(nib.AnalyzeImage(np.asanyarray(image.dataobj), np.diag([-2.0, 2, 2, 1])), folder / subject / "scan.img")
    datalist = listed(verb, folder, "{subject}/scan.img")
    answer = verb("check", datalist, "--output", tmp_path / "qc")
    assert answer.code == 1
    texts = ("T1 … orientation … Analyze", "dcm2niix")
    mentions(qc(tmp_path / "qc")["ann"]["reasons"], *texts)
    says(
        TOPIC,
        "an Analyze image",
        "train, evaluate, predict, check",
        qc(tmp_path / "qc")["ann"]["reasons"].split(": /")[0],
        *texts,
    )


def test_notes_hold_no_id_where_ids_are_hidden(verb, tmp_path):
    folder = edit_all(heads(tmp_path / "data"), ("t1",), pixdim=1, **STALE)
    answer = verb("check", listed(verb, folder), "--output", tmp_path / "qc", "--anonymous")
    assert answer.code == 0, answer.err
    assert "4 of 4 cases" in answer.out + answer.err
    for path in (tmp_path / "qc").rglob("*"):
        assert path.is_dir() or not any(name.encode() in path.read_bytes() for name in SUBJECTS if path.suffix != ".png"), path
    assert not any(name in answer.out for name in SUBJECTS)


DAMAGE = {
    "a gzip file whose check sum is wrong": (
        lambda content: content[:-8] + bytes([content[-8] ^ 255]) + content[-7:],
        "CRC check failed",
    ),
    "a gzip file whose length is wrong": (
        lambda content: content[:-1] + bytes([content[-1] ^ 255]),
        "Incorrect length of data",
    ),
    "a gzip file that ends before its check sum": (lambda content: content[:-6], "ended before the end-of-stream marker"),
    "a gzip file with rubbish behind it": (lambda content: content + b"rubbish", "Not a gzipped file"),
    "two scans in one gzip file": (lambda content: content + content, "bytes more"),
    "fewer voxels than the header says": (lambda content: gzip.compress(gzip.decompress(content)[:-4]), "Expected"),
    "more voxels than the header says": (
        lambda content: gzip.compress(shorter(gzip.decompress(content))),
        "bytes more",
    ),
}


def shorter(content: bytes) -> bytes:
    """A header that says one slice less."""
    return content[:46] + struct.pack("<h", SHAPE[2] - 2) + content[48:]


@pytest.mark.parametrize("came", DAMAGE, ids=[name.replace(" ", "_") for name in DAMAGE])
def test_files_are_read_to_their_end(verb, says, sound, tmp_path, came):
    folder, (spoil, message) = tmp_path / "data", DAMAGE[came]
    shutil.copytree(sound["folder"], folder)
    for role in ROLES:
        path = folder / "bob" / f"bob_{role}.nii.gz"
        path.write_bytes(spoil(path.read_bytes()))
    answer = refused_by_training(verb, folder, tmp_path, "bob: T1 … readable (", "label … readable (", message)
    says(TOPIC, came, "train, evaluate, predict, check", answer, message)
    if came == next(iter(DAMAGE)):
        checked = verb("check", folder / "datalist.json", "--output", tmp_path / "qc")
        assert (checked.code, qc(tmp_path / "qc")["bob"]["state"]) == (1, "problem")
        assert message in qc(tmp_path / "qc")["bob"]["reasons"]
