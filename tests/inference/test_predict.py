"""Predictions lie where the scan lies, are the same however it is stored, and outlive what goes wrong."""

from __future__ import annotations

import csv
import itertools
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from nibabel.processing import resample_from_to
from PIL import Image
from scipy import ndimage

from monai_tl.datasets.datalist import read_datalist
from monai_tl.errors import ConfigError, DataError, PartlyDoneError
from monai_tl.inference.model import find_model
from monai_tl.inference.predict import predict_cases
from tests.conftest import IXI, mentions
from tests.dicom import write_series


def voxels(path):
    return np.asanyarray(nib.load(path).dataobj)


def dice(one, other):
    return 2 * np.sum(one & other) / (one.sum() + other.sum())


@pytest.fixture
def heads(phantoms, tmp_path):
    """A folder with one skull-stripped phantom, ``original_T1.nii.gz`` and ``original_T2.nii.gz``; others may be added."""
    case = read_datalist(phantoms / "brats" / "datalist.json").cases[0]
    folder = tmp_path / "heads"
    folder.mkdir()
    for name in ("T1", "T2"):
        nib.save(nib.load(case[name]), folder / f"original_{name}.nii.gz")
    return folder


PATTERNS = {name: f"{{subject}}_{name}.nii.gz" for name in ("T1", "T2")}


def test_every_axis_permutation_and_flip_gives_the_same_voxels(heads, smoother, tmp_path):
    images = {name: nib.load(heads / f"original_{name}.nii.gz") for name in ("T1", "T2")}
    for axes in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            for name, image in images.items():
                turn = np.array([[axis, sign] for axis, sign in zip(axes, signs, strict=True)])
                code = "".join(("-" if sign < 0 else "+") + str(axis) for axis, sign in turn)
                nib.save(image.as_reoriented(turn), heads / f"turned{code}_{name}.nii.gz")
    predict_cases(find_model(str(smoother)), str(heads), tmp_path / "out", patterns=PATTERNS)
    turned = sorted((tmp_path / "out").glob("turned*_seg.nii.gz"))
    assert len(turned) == 48
    original = np.asanyarray(nib.as_closest_canonical(nib.load(tmp_path / "out" / "original_seg.nii.gz")).dataobj)
    assert 0.03 < original.mean() < 0.9
    for path in turned:
        image, scan = nib.load(path), nib.load(heads / path.name.replace("_seg", "_T1"))
        assert image.shape == scan.shape
        assert np.array_equal(image.affine, scan.affine)
        assert np.array_equal(np.asanyarray(nib.as_closest_canonical(image).dataobj), original), path.name


def rotation(degrees, axis):
    angle = np.deg2rad(degrees)
    others = [other for other in range(3) if other != axis]
    matrix = np.eye(4)
    matrix[np.ix_(others, others)] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return matrix


def copies(image):
    """Oblique, finer, anisotropic: name -> the same head on another grid."""
    centre, size = nib.affines.apply_affine(image.affine, (np.array(image.shape) - 1) / 2), np.array(image.shape)

    def on_grid(matrix, spacing, extent):
        shape = np.ceil(extent / spacing).astype(int)
        affine = np.eye(4)
        affine[:3, :3] = matrix[:3, :3] @ np.diag(spacing)
        affine[:3, 3] = centre - affine[:3, :3] @ ((shape - 1) / 2)
        return resample_from_to(image, (tuple(shape), affine), order=1)

    oblique = rotation(20, 0) @ rotation(15, 2)
    yield "oblique", on_grid(oblique, np.array([0.5, 0.5, 0.5]), size * 1.2)
    yield "finer", on_grid(np.eye(4), np.array([0.5, 0.5, 0.5]), size)
    yield "thick", on_grid(np.eye(4), np.array([0.2, 0.2, 1.0]), size)


def test_resampled_copies_give_the_same_segmentation_in_the_world(heads, smoother, tmp_path):
    """Thick slices are five times as thick as wide, as 1×1×5 mm are; smoothed before, so that no detail is lost to them."""
    for name in ("T1", "T2"):
        image = nib.load(heads / f"original_{name}.nii.gz")
        smooth = nib.Nifti1Image(ndimage.gaussian_filter(image.get_fdata(dtype=np.float32), 1.5), image.affine)
        nib.save(smooth, heads / f"original_{name}.nii.gz")
        for kind, copy in copies(smooth):
            nib.save(copy, heads / f"{kind}_{name}.nii.gz")
    predict_cases(find_model(str(smoother)), str(heads), tmp_path / "out", patterns=PATTERNS, probabilities=True)
    original = nib.load(tmp_path / "out" / "original_seg.nii.gz")
    truth = np.asanyarray(original.dataobj) > 0
    for kind in ("oblique", "finer", "thick"):
        probability = nib.load(tmp_path / "out" / f"{kind}_probability.nii.gz")
        back = resample_from_to(probability, original, order=1).get_fdata() >= 0.5
        assert dice(back, truth) >= 0.98, kind


def test_monai_alone_gives_the_same_voxels(source, phantoms, tmp_path):
    predict_cases(find_model(str(source)), str(phantoms / "ixi" / "datalist.json"), tmp_path / "ours", split="test")
    flags = {
        "config_file": IXI / "configs" / "inference.yaml",
        "bundle_root": IXI,
        "dataset_dir": phantoms / "ixi",
        "ckpt": source / "model.pt",
        "output_dir": "theirs",
        "inference_window": "[16,16,16]",
        "device": "cpu",
    }
    words = [str(text) for name, value in flags.items() for text in (f"--{name}", value)]
    subprocess.run([sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", *words], cwd=tmp_path, check=True)
    ours = sorted((tmp_path / "ours").glob("*_seg.nii.gz"))
    assert len(ours) == 2
    for path in ours:
        theirs = nib.load(tmp_path / "theirs" / path.name)
        assert np.array_equal(voxels(path), np.asanyarray(theirs.dataobj))
        assert np.array_equal(nib.load(path).affine, theirs.affine)


def test_volumes_of_a_4d_image_and_dicom_series_give_the_voxels_of_their_twins(heads, smoother, tmp_path):
    """The same two modalities as two files, as volumes of one, and as series in folders."""
    images = [nib.as_closest_canonical(nib.load(heads / f"original_{name}.nii.gz")) for name in ("T1", "T2")]
    affine = images[0].affine @ nib.affines.from_matvec(rotation(20, 0)[:3, :3])
    both = np.stack([np.rint(np.asanyarray(image.dataobj)).astype(np.int16) for image in images], axis=-1)
    nib.Nifti1Image(both, affine).to_filename(tmp_path / "ann_four.nii.gz")
    for number, name in enumerate(("T1", "T2")):
        nib.Nifti1Image(both[..., number], affine).to_filename(tmp_path / f"ann_three_{name}.nii.gz")
        write_series(tmp_path / "ann_scans", both[..., number], affine, seed=number, SeriesDescription=name)
        for path in (tmp_path / "ann_scans").glob("I*"):
            path.rename(path.with_name(f"{name}{path.name}"))
    layouts = {
        "three": {name: f"{{subject}}_three_{name}.nii.gz" for name in ("T1", "T2")},
        "four": {name: f"{{subject}}_four.nii.gz#{number}" for number, name in enumerate(("T1", "T2"))},
        "series": {name: f"{{subject}}_scans#{name}" for name in ("T1", "T2")},
    }
    masks = {}
    for layout, patterns in layouts.items():
        predict_cases(find_model(str(smoother)), str(tmp_path), tmp_path / layout, patterns=patterns)
        (path,) = (tmp_path / layout).glob("*_seg.nii.gz")
        masks[layout] = nib.load(path)
        assert len(list((tmp_path / layout).glob("*.png"))) == 1
    assert 0.03 < voxels(masks["three"].get_filename()).mean() < 0.9
    for layout in ("four", "series"):
        assert np.array_equal(np.asanyarray(masks[layout].dataobj), np.asanyarray(masks["three"].dataobj)), layout
        assert np.allclose(masks[layout].affine, masks["three"].affine, atol=1e-4)
    predict_cases(find_model(str(smoother)), str(tmp_path), tmp_path / "four", patterns=layouts["four"])


def table(folder):
    with (folder / "predictions.csv").open() as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def test_volume_picture_and_probability(heads, smoother, tmp_path):
    out = tmp_path / "out"
    image = nib.load(heads / "original_T1.nii.gz")
    for name in ("T1", "T2"):  # 2 mm voxels: eight times the volume
        scan = nib.load(heads / f"original_{name}.nii.gz")
        nib.save(
            nib.Nifti1Image(np.asanyarray(scan.dataobj), np.diag([2.0, 2, 2, 1]) @ scan.affine), heads / f"big_{name}.nii.gz"
        )
    predict_cases(find_model(str(smoother)), str(heads), out, patterns=PATTERNS, probabilities=True)
    for case, voxel in (("original", 1.0), ("big", 8.0)):
        mask, probability = voxels(out / f"{case}_seg.nii.gz"), voxels(out / f"{case}_probability.nii.gz")
        assert mask.shape == probability.shape == image.shape
        assert (mask.dtype, probability.dtype) == (np.uint8, np.float32)
        assert set(np.unique(mask)) == {0, 1}
        assert np.array_equal(mask > 0, probability >= 0.5)
        assert float(table(out)[case]["volume_ml"]) == pytest.approx(mask.sum() * voxel / 1000, abs=1e-4)
        assert float(table(out)[case]["seconds"]) > 0
        picture = np.asarray(Image.open(out / f"{case}.png"))
        assert picture.shape[0] == 260
        assert (picture == (230, 159, 0)).all(axis=-1).sum() > 50


def test_finished_cases_are_skipped_and_changed_ones_done_again(heads, smoother, tmp_path, capsys):
    out = tmp_path / "out"
    for name in ("T1", "T2"):
        (heads / f"other_{name}.nii.gz").write_bytes((heads / f"original_{name}.nii.gz").read_bytes())

    def times():
        return {path.name: path.stat().st_mtime_ns for path in out.glob("*_seg.nii.gz")}

    predict_cases(find_model(str(smoother)), str(heads), out, patterns=PATTERNS)
    first = times()
    predict_cases(find_model(str(smoother)), str(heads), out, patterns=PATTERNS)
    assert times() == first
    mentions(capsys.readouterr().out, "2 of 2 cases … finished")
    scan = nib.load(heads / "other_T1.nii.gz")
    nib.save(nib.Nifti1Image(np.flip(np.asanyarray(scan.dataobj), 0).copy(), scan.affine), heads / "other_T1.nii.gz")
    (out / "original.png").unlink()
    predict_cases(find_model(str(smoother)), str(heads), out, patterns=PATTERNS)
    assert all(times()[name] > first[name] for name in first)
    predict_cases(find_model(str(smoother)), str(heads), out, patterns=PATTERNS, probabilities=True)
    assert (out / "other_probability.nii.gz").is_file()


def test_predictions_made_otherwise_are_not_mixed(heads, smoother, source, tmp_path):
    out = tmp_path / "out"
    predict_cases(find_model(str(smoother)), str(heads), out, patterns=PATTERNS)
    model = find_model(str(smoother))
    model.set({"inference_overlap": 0.5})
    with pytest.raises(ConfigError, match="inference_overlap"):
        predict_cases(model, str(heads), out, patterns=PATTERNS)
    with pytest.raises(ConfigError, match="weights_sha256 was.*normalisation was.*inference_window was.*2 more"):
        predict_cases(find_model(str(source)), str(heads), out, patterns=PATTERNS)


def test_another_persons_scan_under_the_same_name_is_refused(heads, smoother, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for name in ("T1", "T2"):
        scan = nib.load(heads / f"original_{name}.nii.gz")
        nib.save(
            nib.Nifti1Image(np.flip(np.asanyarray(scan.dataobj), 0).copy(), scan.affine), other / f"original_{name}.nii.gz"
        )
    predict_cases(find_model(str(smoother)), str(heads), tmp_path / "out", patterns=PATTERNS)
    with pytest.raises(ConfigError, match="'original'"):
        predict_cases(find_model(str(smoother)), str(other), tmp_path / "out", patterns=PATTERNS)


def test_an_empty_prediction_is_reported(heads, smoother, tmp_path, capsys):
    for name in ("T1", "T2"):
        scan = nib.load(heads / f"original_{name}.nii.gz")
        board = (np.indices(scan.shape).sum(axis=0) % 2 + 1).astype(np.int16)  # its means over 125 voxels are all alike
        nib.save(nib.Nifti1Image(board, scan.affine), heads / f"nobody_{name}.nii.gz")
    predict_cases(find_model(str(smoother)), str(heads), tmp_path / "out", patterns=PATTERNS)
    mentions(capsys.readouterr().out, "nothing … 1 of")


def test_what_lies_in_the_way_is_not_overwritten(heads, smoother, tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "original_seg.nii.gz").write_text("drawn by hand")
    with pytest.raises(ConfigError, match="original_seg.nii.gz' exists.*overwritten"):
        predict_cases(find_model(str(smoother)), str(heads), out, patterns=PATTERNS)
    assert [path.name for path in out.iterdir()] == ["original_seg.nii.gz"]
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file' exists.*overwritten"):
        predict_cases(find_model(str(smoother)), str(heads), tmp_path / "file", patterns=PATTERNS)


def test_one_failing_case_does_not_stop_the_others(heads, smoother, tmp_path, verb):
    for name in ("T1", "T2"):
        whole = (heads / f"original_{name}.nii.gz").read_bytes()
        (heads / f"broken_{name}.nii.gz").write_bytes(whole[: len(whole) // 2] if name == "T2" else whole)
    with pytest.raises(PartlyDoneError, match=r"1 of 2 cases.*predicted:\s+broken.*T2.*readable"):
        predict_cases(find_model(str(smoother)), str(heads), tmp_path / "out", patterns=PATTERNS)
    assert set(table(tmp_path / "out")) == {"original"}
    words = [f"--{name}={pattern}" for name, pattern in PATTERNS.items()]
    answer = verb("predict", "--bundle", smoother, "--input", heads, "--output", tmp_path / "out", *words)
    assert (answer.code, "Traceback" in answer.err) == (1, False)
    mentions(answer.out, "1 of 2 cases … finished")
    (heads / "original_T1.nii.gz").write_bytes(b"")
    with pytest.raises(DataError, match="none.*2 cases"):
        predict_cases(find_model(str(smoother)), str(heads), tmp_path / "second", patterns=PATTERNS)


def test_a_subject_that_lacks_a_modality_does_not_stop_the_others(heads, smoother, tmp_path):
    (heads / "half_T1.nii.gz").write_bytes((heads / "original_T1.nii.gz").read_bytes())
    with pytest.raises(PartlyDoneError, match=r"1 of 2 cases.*predicted:\s+half: lacks T2"):
        predict_cases(find_model(str(smoother)), str(heads), tmp_path / "out", patterns=PATTERNS)
    assert set(table(tmp_path / "out")) == {"original"}
    with pytest.raises(DataError, match=r"none.*1 cases.*predicted:\s+half: lacks T2"):
        predict_cases(find_model(str(smoother)), str(heads), tmp_path / "new", patterns=PATTERNS, subjects=["half"])
    assert not (tmp_path / "new").exists()


def test_a_full_disk_ends_it_with_a_line(heads, smoother, tmp_path, verb, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "out/original_seg.nii.gz")

    monkeypatch.setattr(nib, "save", full)
    words = [f"--{name}={pattern}" for name, pattern in PATTERNS.items()]
    answer = verb("predict", "--bundle", smoother, "--input", heads, "--output", tmp_path / "out", *words)
    assert answer.code == 2
    mentions(answer.err, "disk … full … out/original_seg.nii.gz")
    assert not list((tmp_path / "out").glob("*.nii.gz"))
    monkeypatch.undo()
    assert verb("predict", "--bundle", smoother, "--input", heads, "--output", tmp_path / "out", *words).code == 0


def test_interrupted_it_keeps_what_is_finished(heads, smoother, tmp_path, verb, monkeypatch):
    from monai_tl.inference import predict as module

    for name in ("T1", "T2"):
        (heads / f"other_{name}.nii.gz").write_bytes((heads / f"original_{name}.nii.gz").read_bytes())
    one = module._predict_one

    def interrupted(model, case, *rest):
        if case["subject"] == "other":
            raise KeyboardInterrupt
        one(model, case, *rest)

    monkeypatch.setattr(module, "_predict_one", interrupted)
    words = [f"--{name}={pattern}" for name, pattern in PATTERNS.items()]
    answer = verb("predict", "--bundle", smoother, "--input", heads, "--output", tmp_path / "out", *words)
    assert (answer.code, answer.err.splitlines()[-1]) == (130, "monai_tl: interrupted; finished work is kept")
    assert set(table(tmp_path / "out")) == {"original"}
