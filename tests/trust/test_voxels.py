"""Voxels and labels that make a training run through and mean nothing: found before it begins, or named when it ends."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import holds, mentions
from tests.trust.conftest import write_image
from tests.trust.test_geometry import SUBJECTS, edit, heads, listed, qc, refused_by_training, train

TOPIC = "Geometry and voxels"
AFFINE = np.diag([1.0, 1, 1, 1])


def change(path, what) -> None:
    """Write an image again with other voxels, of the type that they then have."""
    image = nib.load(path)
    write_image(path, what(np.asanyarray(image.dataobj)), image.affine)


def with_voxel(value: float, dtype=np.float32, count: int = 1):
    def put(voxels):
        voxels = voxels.astype(dtype)
        voxels[8, 8, 4 : 4 + count] = value
        return voxels

    return put


EXTREMES = [
    ("a voxel of 1e300 in 64-bit floats", "t1", with_voxel(1e300, np.float64), {}, ("T1", "1e+300", "3.4e+38")),
    ("a voxel of 3e38", "t1", with_voxel(3e38), {}, ("T1 … 0 … 3e+38", "z-scores")),
    ("voxels of -3e38", "t2", with_voxel(-3e38, count=3), {}, ("T2 … -3e+38", "z-scores")),
    ("a hot voxel of 1e8", "t2", with_voxel(1e8), {}, ("T2 … 1e+08", "1 voxel … 1000")),
    (
        "a scl_slope of 1e38",
        "t1",
        lambda v: v.astype(np.int16),
        {"scl_slope": 1e38},
        ("32-bit", "scl_slope"),
    ),
    ("a scl_slope of 1e-30", "t1", lambda v: v.astype(np.int16), {"scl_slope": 1e-30}, ("z-scores",)),
    (
        "a scl_inter of 1e10",
        "t2",
        lambda v: v.astype(np.int16),
        {"scl_slope": 1, "scl_inter": 1e10},
        ("1.02e+03",),
    ),
]


@pytest.mark.parametrize(
    ("came", "role", "what", "fields", "facts"), EXTREMES, ids=[row[0].replace(" ", "_") for row in EXTREMES]
)
def test_voxels_that_leave_no_z_score_are_found(verb, says, tmp_path, came, role, what, fields, facts):
    folder = heads(tmp_path / "data")
    path = folder / "bob" / f"bob_{role}.nii.gz"
    change(path, what)
    edit(path, **fields)
    answer = refused_by_training(verb, folder, tmp_path, "bob: ", *facts)
    says(TOPIC, came, "train, evaluate, predict, check", answer, *facts)
    if came == EXTREMES[0][0]:
        checked = verb("check", listed(verb, folder), "--output", tmp_path / "qc")
        assert checked.code == 1
        assert [name for name in SUBJECTS if qc(tmp_path / "qc")[name]["state"] == "problem"] == ["bob"]
        mentions(qc(tmp_path / "qc")["bob"]["reasons"], *facts)


NEARLY = [
    (
        "a label of 0.99999994 for 1",
        lambda v: v.astype(np.float32) * np.float32(0.99999994),
        "(0.99999994) … round",
    ),
    (
        "a label of 1.0000001 for 1",
        lambda v: v.astype(np.float32) * np.float32(1.0000001),
        "(1.0000001) … round",
    ),
    ("a label that was resampled linearly", lambda v: v.astype(np.float32) * 0.5, "integers (0.5)"),
]


@pytest.mark.parametrize(("came", "what", "message"), NEARLY, ids=["below", "above", "half"])
def test_labels_that_are_no_integers_are_shown_as_they_are(verb, says, tmp_path, came, what, message):
    folder = heads(tmp_path / "data")
    change(folder / "ann" / "ann_seg.nii.gz", what)
    says(TOPIC, came, "train, evaluate, check", refused_by_training(verb, folder, tmp_path, "ann: label", message), message)


def speck(shape, *at: tuple[slice | int, ...]) -> np.ndarray:
    label = np.zeros(shape, np.uint8)
    for place in at:
        label[place] = 1
    return label


def test_a_label_that_is_lost_on_the_networks_grid_is_named(verb, says, tmp_path):
    """Single voxels of 1 mm between those that a grid of 2 mm looks at; ann's block stays."""
    folder = heads(tmp_path / "data", AFFINE)
    change(folder / "bob" / "bob_seg.nii.gz", lambda v: speck(v.shape, (5, 5, 5), (9, 7, 3)))
    before = train(verb, folder, tmp_path / "fine")
    assert before.code == 0, "on its own grid nothing is lost"
    answer = train(verb, folder, tmp_path / "run", spacing=[2.0, 2.0, 2.0])
    assert (answer.code, (tmp_path / "run").exists()) == (2, False)
    texts = (
        "1 of 2 train … foreground … 2 × 2 × 2 mm",
        "--spacing",
        "bob: 2 voxels … 1 × 1 × 1 mm … 0",
    )
    says(TOPIC, "a label that is lost on the network's grid", "train", answer, *texts)
    assert "ann:" not in answer.err


def test_a_thin_sheet_is_lost_along_one_axis_only(verb, says, tmp_path):
    folder = heads(tmp_path / "data", AFFINE)
    for subject in SUBJECTS:
        change(folder / subject / f"{subject}_seg.nii.gz", lambda v: speck(v.shape, (slice(4, 12), slice(4, 12), 7)))
    answer = train(verb, folder, tmp_path / "run", spacing=[1.0, 1.0, 4.0])
    texts = (
        "2 of 2 train … foreground … network's grid (1 × 1 × 4 mm)",
        "ann: 64 voxels … 1 × 1 × 1 mm … 0",
    )
    says(TOPIC, "a thin label across the network's thick slices", "train", answer, *texts)


def test_a_label_that_loses_or_gains_much_is_reported(verb, says, tmp_path):
    folder = heads(tmp_path / "data", AFFINE)
    change(
        folder / "bob" / "bob_seg.nii.gz",
        lambda v: speck(v.shape, *((i, j, k) for i in (3, 5, 7, 9) for j in (3, 5) for k in (3, 5, 9)), (8, 8, 8)),
    )
    change(folder / "cem" / "cem_seg.nii.gz", lambda v: speck(v.shape, (5, 5, 5)))
    change(folder / "dan" / "dan_seg.nii.gz", lambda v: v)
    answer = train(verb, folder, tmp_path / "run", spacing=[2.0, 2.0, 2.0])
    assert answer.code == 0, "validation is on each case's own grid"
    texts = (
        "labels … 1 of 2 train … (bob) … volume … 2",
        "bob: 25 voxels … 1 × 1 × 1 mm … 1 (32% … volume)",
    )
    printed = answer.out + answer.err
    mentions(printed, *texts)
    line = next(line for line in printed.splitlines() if holds(line, texts[0]))
    says(TOPIC, "a label that loses more than half on the network's grid", "train", line.strip(), *texts)


def test_a_scan_with_nan_that_no_check_saw_is_named_by_its_normalisation(verb, says, tmp_path, monkeypatch):
    """As if the check had let a scan pass."""
    folder = heads(tmp_path / "data")
    change(folder / "bob" / "bob_t2.nii.gz", with_voxel(np.nan, count=2))
    monkeypatch.setattr("monai_tl.datasets.case_checks.voxel_faults", lambda stored: [])
    answer = train(verb, folder, tmp_path / "run", batch_size=2, class_ratios=[0, 1], spacing=[2.0, 2.0, 2.0])
    assert answer.code == 2, answer.err
    says(
        TOPIC,
        "NaN in a scan that changed after it was checked",
        "train",
        answer,
        "modality 2 … bob",
        "2 voxels … NaN or infinite",
    )
    assert "ann" not in answer.err


def test_a_loss_that_diverged_names_all_its_patches(verb, says, tmp_path):
    answer = train(verb, heads(tmp_path / "data"), tmp_path / "run", learning_rate=1e30, batch_size=2, spacing=[2.0, 2.0, 2.0])
    assert answer.code == 2, answer.err
    texts = ("the loss is nan at iteration", "of subject ann", "of subject bob", "images are finite", "lower learning_rate")
    says(TOPIC, "a learning rate at which the loss turns NaN", "train", answer, *texts)
