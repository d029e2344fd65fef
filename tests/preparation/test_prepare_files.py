"""Images and labels of unlike grids come to one grid, where each point of the body keeps its position and its value."""

from __future__ import annotations

import csv
import json
import shlex
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from scipy import ndimage
from scipy.spatial.transform import Rotation

from monai_tl.errors import ConfigError, DataError, PartlyDoneError, in_words
from monai_tl.imaging.grids import LPS, itk
from monai_tl.phantoms.heads import FIELD_OF_VIEW, Anatomy, label_map, render_head, scan
from monai_tl.preparation import prepare_case, prepared_folder
from monai_tl.preparation.common_grid import CommonGrid, VoxelGrid, spaced
from monai_tl.preparation.prepare_files import prepare_files_folder
from monai_tl.preparation.similarity import Alignment
from monai_tl.storage.processes import Outcome
from tests.conftest import mentions
from tests.dicom import write_series

CENTRE, RADIUS = np.array([4.0, -6.0, 9.0]), 11.0  # mm, of the structure with label 4; label 2 is the half of it behind y = −6
MOTION = np.eye(4)  # from T1's points to FLAIR's, RAS
MOTION[:3, :3] = Rotation.from_euler("xyz", [7, -4, 5], degrees=True).as_matrix()
MOTION[:3, 3] = (6, -8, 5)


def ramp(points: np.ndarray) -> np.ndarray:
    """What is at these points of the body (mm, RAS): linear interpolation of it is exact."""
    return 1000 + points @ (3.0, -2.0, 4.0)


def structure(points: np.ndarray) -> np.ndarray:
    inside = np.linalg.norm(points - CENTRE, axis=-1) < RADIUS
    return np.where(inside, np.where(points[..., 1] < CENTRE[1], 2, 4), 0)


def draw(what, grid: VoxelGrid, motion: np.ndarray | None = None) -> np.ndarray:
    """Draw something of the body, which has moved, on a grid."""
    points = apply_affine(np.linalg.inv(np.eye(4) if motion is None else motion) @ grid.affine, np.indices(grid.shape).T)
    return what(points).T


def grid_of(shape, spacing, turn=(0, 0, 0), axes=(0, 1, 2), centre=(0, 0, 0)) -> VoxelGrid:
    """A grid whose voxel axes are these axes of the body, turned by some degrees, around a centre."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix() @ np.eye(3)[:, list(axes)] * spacing
    affine[:3, 3] = np.array(centre) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return VoxelGrid(tuple(shape), affine)


T1 = grid_of((40, 36, 32), (1.5, 1.6, 1.7), turn=(3, -2, 4), axes=(1, 2, 0))
FLAIR = grid_of((50, 54, 15), (1.2, 1.2, 5.0), turn=(-8, 5, 12), centre=MOTION[:3, 3])


def save(path: Path, voxels: np.ndarray, grid: VoxelGrid, dtype=np.float32) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image((np.rint(voxels) if np.dtype(dtype).kind in "iu" else voxels).astype(dtype), grid.affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(grid.affine, 1)
    nib.save(image, path)
    return path


@pytest.fixture
def raw(tmp_path) -> Path:
    """Two cases: T1 as integers; FLAIR of the moved body on thick, turned slices, with the label that was drawn on it."""
    for more, subject in enumerate(("A", "B")):
        folder = tmp_path / "raw" / subject
        save(folder / "t1.nii.gz", draw(ramp, T1) + more, T1, np.int16)
        save(folder / "flair.nii.gz", draw(ramp, FLAIR, MOTION) + more, FLAIR)
        save(folder / "seg.nii.gz", draw(structure, FLAIR, MOTION), FLAIR, np.uint8)
    return tmp_path / "raw"


@pytest.fixture
def here(monkeypatch) -> dict:
    """Work in this process with the true motions, by modality; registration and processes have tests of their own."""
    truth = {"FLAIR": MOTION, "T1": np.linalg.inv(MOTION)}
    monkeypatch.setattr(prepared_folder, "run_each", in_turn)
    monkeypatch.setattr(prepare_case, "find_position", lambda fixed, moving, names: rigid(truth[names[1]]))
    monkeypatch.setattr(prepare_case, "better_place", lambda *_: np.zeros((5, 3)))
    monkeypatch.setattr(prepare_case, "_judged", lambda fit, *_: fit)  # a ramp has no head
    return truth


def in_turn(task, items, processes):
    for name, item in items.items():
        try:
            outcome = Outcome(result=task(item))
        except Exception as error:
            outcome = Outcome(fault=in_words(error))
        yield name, outcome


def rigid(ras: np.ndarray):
    transform = itk().Euler3DTransform[itk().D].New()
    lps = LPS @ ras @ LPS
    transform.SetMatrix(itk().GetMatrixFromArray(np.ascontiguousarray(lps[:3, :3])))
    transform.SetOffset(lps[:3, 3].tolist())
    return transform


def run(raw: Path, output: Path, *, files=("T1", "FLAIR", "label"), incomplete="refuse", **wanted) -> dict:
    names = {"label": "seg"}
    patterns = {role: f"{raw}/{{subject}}/{names.get(role, role.lower())}.nii.gz" for role in files}
    prepare_files_folder(patterns, str(output), CommonGrid(**wanted), incomplete=incomplete, processes=1)
    return json.loads((output / "prepared.json").read_text(encoding="utf-8"))


def case(output: Path, subject: str = "A") -> dict:
    return {path.name[len(subject) + 1 : -7]: nib.load(path) for path in (output / subject).glob("*.nii.gz")}


def largest_error(image, source: VoxelGrid, motion=None, moved=None) -> float:
    """Largest difference of an image from what is at its points, where the source that it was made from has voxels around.

    Args:
        image: on any grid.
        source: the grid on which it was drawn.
        motion: from the body to the image.
        moved: from the image's points to the source's.
    """
    grid = VoxelGrid.of(image)
    there = np.linalg.inv(source.affine) @ (np.eye(4) if moved is None else moved) @ grid.affine
    index = apply_affine(there, np.indices(grid.shape).T).T
    inside = np.all([(at >= 0) & (at <= n - 1) for at, n in zip(index, source.shape, strict=True)], axis=0)
    assert inside.mean() > 0.4
    return float(np.abs(np.asarray(image.dataobj) - draw(ramp, grid, motion))[inside].max())


def on_one_grid(images: dict) -> np.ndarray:
    affine = images["T1"].affine
    for image in images.values():
        assert np.array_equal(image.affine, affine)
        assert image.shape == images["T1"].shape
        assert np.allclose(image.header.get_qform(), affine, atol=1e-3)
    return affine


def label_as_drawn(image, motion=None) -> None:
    """A label keeps its volume within 5 % and its place within half a millimetre."""
    grid, values = VoxelGrid.of(image), np.asarray(image.dataobj)
    assert set(np.unique(values)) == {0, 2, 4}
    ball = 4 / 3 * np.pi * RADIUS**3
    for value in (2, 4):
        assert (values == value).sum() * grid.voxel.prod() == pytest.approx(ball / 2, rel=0.05)
    centre = apply_affine(grid.affine, np.argwhere(values).mean(0))
    assert np.linalg.norm(centre - apply_affine(np.eye(4) if motion is None else motion, CENTRE)) < 0.5


def test_all_files_come_to_the_grid_of_the_reference_and_the_label_follows_its_modality(raw, tmp_path, here, capsys):
    record = run(raw, tmp_path / "out", reference="T1")
    mentions(
        capsys.readouterr().out, "reference: T1", "label follows FLAIR … T1", "2 prepared", "next: monai_tl datalist files"
    )
    images = case(tmp_path / "out")
    assert np.allclose(on_one_grid(images), T1.affine, atol=1e-5)
    original = nib.load(raw / "A" / "t1.nii.gz")
    assert images["T1"].get_data_dtype() == np.int16
    assert np.array_equal(np.asarray(images["T1"].dataobj), np.asarray(original.dataobj))
    assert largest_error(images["FLAIR"], FLAIR, moved=MOTION) < 0.01
    label_as_drawn(images["label"])
    entry = record["subjects"]["A"]
    assert entry["doubts"] == []
    assert entry["modalities"]["FLAIR"]["position"] == "registered"
    assert entry["modalities"]["FLAIR"]["moved_mm"] == pytest.approx(11.4, abs=3)
    before, after = entry["label"]["ml_before_after"]["4"]
    assert before == pytest.approx(after, rel=0.05)
    lines = (tmp_path / "out" / "A" / "A_FLAIR_to_T1.tfm").read_text().splitlines()
    (shift,) = [line.split()[-3:] for line in lines if line.startswith("Parameters")]
    assert [float(value) for value in shift] == pytest.approx(LPS[:3, :3] @ MOTION[:3, 3], abs=1e-6)


def test_without_a_choice_the_grid_is_that_of_the_label(raw, tmp_path, here, capsys):
    run(raw, tmp_path / "out")
    mentions(capsys.readouterr().out, "reference: FLAIR (the label lies on its grid)")
    images = case(tmp_path / "out")
    assert np.allclose(on_one_grid(images), FLAIR.affine, atol=1e-5)
    for role, name in (("FLAIR", "flair"), ("label", "seg")):
        assert np.array_equal(np.asarray(images[role].dataobj), np.asarray(nib.load(raw / "A" / f"{name}.nii.gz").dataobj))
    assert images["T1"].get_data_dtype() == np.int16  # rounded, as it came
    assert largest_error(images["T1"], T1, MOTION, np.linalg.inv(MOTION)) <= 1.01  # rounded twice, on disk and here


def test_a_label_on_no_grid_is_in_the_space_of_the_reference_or_follows_what_is_named(raw, tmp_path, here, capsys):
    for subject in ("A", "B"):
        other = grid_of((70, 70, 70), (1, 1, 1), turn=(2, 2, 2), centre=MOTION[:3, 3])
        save(raw / subject / "seg.nii.gz", draw(structure, other, MOTION), other, np.uint8)
    run(raw, tmp_path / "out")
    mentions(capsys.readouterr().out, "reference: T1 (the first modality)", "label … no modality's grid … T1 … --label_on")
    centre = apply_affine(T1.affine, np.argwhere(np.asarray(case(tmp_path / "out")["label"].dataobj)).mean(0))
    assert np.linalg.norm(centre - apply_affine(MOTION, CENTRE)) < 0.5  # not moved
    run(raw, tmp_path / "out2", reference="T1", label_on="FLAIR")
    label_as_drawn(case(tmp_path / "out2")["label"])
    run(raw, tmp_path / "out3", label_on="FLAIR")
    mentions(capsys.readouterr().out, "reference: FLAIR (the label follows its grid)")


def test_headers_alone_move_nothing(raw, tmp_path, here, monkeypatch):
    record = run(raw, tmp_path / "out", reference="T1", how="none")
    images = case(tmp_path / "out")
    assert largest_error(images["FLAIR"], FLAIR, MOTION) < 0.01
    label_as_drawn(images["label"], MOTION)
    assert not list((tmp_path / "out").rglob("*.tfm"))
    assert record["subjects"]["A"]["modalities"]["FLAIR"]["off_mm"] == 0
    monkeypatch.setattr(prepare_case, "better_place", lambda *_: np.full((5, 3), 3.0))
    monkeypatch.setattr(prepare_case, "find_position", None)
    record = run(raw, tmp_path / "doubtful", reference="T1", how="none")
    (doubt,) = record["subjects"]["A"]["doubts"]
    mentions(doubt, "FLAIR … header … 5.2 mm … --register rigid")


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (1.0, 2.0, 3.0)])
def test_a_spacing_is_along_the_body_and_everything_is_resampled_once(raw, tmp_path, here, spacing):
    run(raw, tmp_path / "out", reference="T1", spacing=spacing)
    images = case(tmp_path / "out")
    affine = on_one_grid(images)
    canonical = nib.as_closest_canonical(images["T1"])
    assert np.allclose(nib.affines.voxel_sizes(canonical.affine), spacing, atol=1e-4)
    assert nib.aff2axcodes(affine) == nib.aff2axcodes(T1.affine)
    assert largest_error(images["FLAIR"], FLAIR, moved=MOTION) < 0.01
    assert largest_error(images["T1"], T1) <= 1.01
    assert (np.asarray(images["T1"].dataobj) > 0).all()  # no voxel's centre is outside T1's field of view
    extent = nib.affines.voxel_sizes(affine) * images["T1"].shape
    assert (extent >= T1.voxel * T1.shape - 0.5).all()
    assert (extent < T1.voxel * T1.shape + nib.affines.voxel_sizes(affine)).all()
    label_as_drawn(images["label"])


@pytest.mark.parametrize("edges", [(1, 2), (1, 3), (1, 1.5), (2, 1), (1, 4), (0.9375, 1.2)])
@pytest.mark.parametrize("length", [60, 61])
def test_nearest_labels_are_not_shifted_by_another_spacing(edges, length):
    """At twice the spacing, centres halfway between old ones would shift a label by 0.87 mm against its image."""
    grid = grid_of((length,) * 3, (edges[0],) * 3)
    new = spaced(grid, (edges[1],) * 3)
    ball = draw(lambda points: (np.linalg.norm(points - (2.3, -1.1, 0.7), axis=-1) < 16).astype(int), grid)
    labels = prepare_case.regrid_labels(nib.Nifti1Image(ball.astype(np.uint8), grid.affine), new)
    change = prepare_case.compare_labels(nib.Nifti1Image(ball.astype(np.uint8), grid.affine), labels, new, np.eye(4))
    assert change.shift_mm < 0.1 * max(edges)
    assert change.ml(1)[1] == pytest.approx(change.ml(1)[0], rel=0.02)
    index = apply_affine(np.linalg.inv(grid.affine) @ new.affine, [(0, 0, 0), np.array(new.shape) - 1])
    assert (index > -0.5).all()
    assert (index < length - 0.5).all()


def test_a_crop_keeps_positions_and_is_recorded(raw, tmp_path, here):
    whole = run(raw, tmp_path / "whole", reference="T1")["subjects"]["A"]
    entry = run(raw, tmp_path / "out", reference="T1", crop="label", margin=4.0)["subjects"]["A"]
    images = case(tmp_path / "out")
    affine = on_one_grid(images)
    uncropped = np.asarray(case(tmp_path / "whole")["label"].dataobj)
    more = np.ceil(4.0 / T1.voxel).astype(int)
    low, high = np.argwhere(uncropped).min(0) - more, np.argwhere(uncropped).max(0) + more + 1
    box = tuple(map(slice, low, high))
    for role, image in case(tmp_path / "whole").items():
        assert np.array_equal(np.asarray(images[role].dataobj), np.asarray(image.dataobj)[box])
    assert np.allclose(apply_affine(affine, (0, 0, 0)), apply_affine(T1.affine, low), atol=1e-5)
    assert largest_error(images["FLAIR"], FLAIR, moved=MOTION) < 0.01
    assert entry["cropped_from"]["first_voxel"] == low.tolist()
    assert entry["cropped_from"]["shape"] == whole["grid"]["shape"] == list(T1.shape)
    assert entry["grid"]["shape"] == (high - low).tolist()
    assert np.allclose(entry["grid"]["affine"], affine, atol=1e-5)


def test_a_crop_to_one_value_ends_at_the_grid_and_names_a_value_that_is_not_there(raw, tmp_path, here, capsys):
    entry = run(raw, tmp_path / "out", reference="T1", crop=(2,), margin=0.0)["subjects"]["A"]
    values = np.asarray(case(tmp_path / "out")["label"].dataobj)
    for axis in range(3):
        faces = np.moveaxis(values == 2, axis, 0)
        assert faces[0].any()
        assert faces[-1].any()
    assert entry["doubts"] == [], "the rest is meant to be cut off"
    mentions(capsys.readouterr().out, "--foreground 2 ", "values that occur: 2,4")
    entry = run(raw, tmp_path / "far", reference="T1", crop=(2,), margin=900.0)["subjects"]["A"]
    assert entry["grid"]["shape"] == list(T1.shape)
    with pytest.raises(DataError, match=r"none of 2 subjects.*\n.*no 7, 9 to crop to, only 0, 2, 4"):
        run(raw, tmp_path / "none", reference="T1", crop=(7, 9))


def test_a_crop_to_the_image(raw, tmp_path, here):
    for subject in ("A", "B"):
        image = nib.load(raw / subject / "t1.nii.gz")
        brain = np.zeros(T1.shape)
        brain[10:20, 8:30, 5:25] = np.asarray(image.dataobj)[10:20, 8:30, 5:25]
        save(raw / subject / "t1.nii.gz", brain, T1, np.int16)
    entry = run(raw, tmp_path / "out", files=("T1",), crop="image", margin=0.0)["subjects"]["A"]
    assert entry["grid"]["shape"] == [10, 22, 20]
    assert entry["cropped_from"]["first_voxel"] == [10, 8, 5]
    assert entry["label"] is None
    assert (np.asarray(case(tmp_path / "out", "B")["T1"].dataobj) == brain[10:20, 8:30, 5:25]).all()
    values = draw(structure, T1)
    for subject in ("A", "B"):
        save(raw / subject / "seg.nii.gz", values, T1, np.uint8)
    entry = run(raw, tmp_path / "labelled", files=("T1", "label"), crop="image", margin=0.0)["subjects"]["A"]
    off = (values == 4).sum() - (values[10:20, 8:30, 5:25] == 4).sum()
    assert off > 0
    mentions("\n".join(entry["doubts"]), f"cuts off {off} of 4 ({(values == 4).sum()} voxels, ")


def test_what_lies_on_the_grid_already_is_kept_bit_for_bit_unless_it_has_to_move(raw, tmp_path, here):
    """With other axes and a scaling: MRI that came registered is not blurred again."""
    for subject in ("A", "B"):
        image = nib.Nifti1Image(np.round(draw(ramp, T1)).astype(np.int16), T1.affine)
        turned = image.as_reoriented(np.array([[1, -1], [0, 1], [2, -1]]))
        turned.header.set_slope_inter(0.5, 3)
        nib.save(turned, raw / subject / "t2.nii.gz")
    stored = np.asarray(turned.dataobj).copy()
    here["T2"] = np.eye(4)
    here["T2"][0, 3] = 0.6
    entry = run(raw, tmp_path / "out", files=("T1", "T2"))["subjects"]["A"]
    assert entry["modalities"]["T2"]["position"] == "kept"
    kept = case(tmp_path / "out")["T2"]
    assert kept.get_data_dtype() == np.int16
    assert (kept.dataobj.slope, kept.dataobj.inter) == (0.5, 3)
    back = nib.load(tmp_path / "out" / "A" / "A_T2.nii.gz").as_reoriented(np.array([[1, -1], [0, 1], [2, -1]]))
    assert np.array_equal(np.asarray(back.dataobj), stored * 0.5 + 3)
    on_one_grid(case(tmp_path / "out"))
    here["T2"][0, 3] = 0.8
    entry = run(raw, tmp_path / "moved", files=("T1", "T2"))["subjects"]["A"]
    assert entry["modalities"]["T2"]["position"] == "registered"


def test_series_and_volumes_are_prepared_as_files_are(tmp_path, here):
    """T1 as a DICOM series, FLAIR as the second volume of a 4D image."""
    write_series(tmp_path / "raw" / "A" / "t1", np.rint(draw(ramp, T1)).astype(np.int16), T1.affine)
    both = np.stack([np.zeros(FLAIR.shape), draw(ramp, FLAIR, MOTION)], -1)
    save(tmp_path / "raw" / "A" / "four.nii.gz", both, FLAIR)
    patterns = {"T1": f"{tmp_path}/raw/{{subject}}/t1", "FLAIR": f"{tmp_path}/raw/{{subject}}/four.nii.gz#1"}
    for _ in range(2):  # finished the second time
        prepare_files_folder(patterns, str(tmp_path / "out"), CommonGrid(), processes=1)
    images = case(tmp_path / "out")
    on_one_grid(images)
    assert largest_error(images["T1"], T1) <= 0.51
    assert largest_error(images["FLAIR"], FLAIR, moved=MOTION) < 0.01


def test_what_was_not_measured_is_air_in_ct_too(raw, tmp_path, here):
    for subject in ("A", "B"):
        small = grid_of((20, 20, 20), (1.5, 1.5, 1.5))
        ct = np.full(small.shape, -1000.0)
        ct[5:15, 5:15, 5:15] = 40
        save(raw / subject / "ct.nii.gz", ct, small, np.int16)
    here["CT"] = np.eye(4)
    run(raw, tmp_path / "out", files=("T1", "CT"), reference="T1")
    voxels = np.asarray(case(tmp_path / "out")["CT"].dataobj)
    assert voxels[0, 0, 0] == -1000
    assert voxels.max() == 40


def test_label_values_that_are_lost_are_named_with_their_number(raw, tmp_path, here, capsys):
    image = nib.load(raw / "A" / "seg.nii.gz")
    values = np.asarray(image.dataobj).copy()
    values[0, 0, 0] = values[1, 0, 0] = 9  # outside T1's field of view
    save(raw / "A" / "seg.nii.gz", values, FLAIR, np.uint8)
    entry = run(raw, tmp_path / "out", reference="T1")["subjects"]["A"]
    assert entry["label"]["lost_voxels"] == {"9": 2}
    mentions(capsys.readouterr().out, "1 of 2 cases … doubtful", "A: label values lost by resampling: 9 (2 voxels, 0.0144 ml)")
    rows = list(csv.DictReader((tmp_path / "out" / "prepared.csv").open()))
    assert [(row["subject"], row["role"], row["position"]) for row in rows] == [
        (subject, *rest)
        for subject in ("A", "B")
        for rest in (("T1", "reference"), ("FLAIR", "registered"), ("label", "FLAIR"))
    ]
    assert [row["doubts"] for row in rows if row["doubts"]] == [entry["doubts"][0]]
    assert float(rows[1]["moved_mm"]) == entry["modalities"]["FLAIR"]["moved_mm"]


def test_a_label_that_is_partly_or_wholly_beside_the_grid(raw, tmp_path, here):
    beside = FLAIR.affine.copy()
    beside[:3, 3] += (60, 0, 0)
    save(raw / "A" / "seg.nii.gz", draw(structure, FLAIR, MOTION), FLAIR._replace(affine=beside), np.uint8)
    beside[:3, 3] -= (33, 0, 0)
    save(raw / "B" / "seg.nii.gz", draw(structure, FLAIR, MOTION), FLAIR._replace(affine=beside), np.uint8)
    with pytest.raises(PartlyDoneError, match=r"1 of 2 .*\n.*A: none of the \d+ voxels .* overlap"):
        run(raw, tmp_path / "out", reference="T1", how="none")
    entry = json.loads((tmp_path / "out" / "prepared.json").read_text())["subjects"]["B"]
    mentions("\n".join(entry["doubts"]), "label value 4 has 2.", "centre moves by")


def test_doubts_about_an_alignment(raw, tmp_path, here, monkeypatch):
    alignments = iter([Alignment(1.0, 0.9, 0.9), Alignment(0.9, 0.7, 0.5)] * 2)
    monkeypatch.undo()
    monkeypatch.setattr(prepared_folder, "run_each", in_turn)
    monkeypatch.setattr(prepare_case, "find_position", lambda *_: rigid(MOTION))
    monkeypatch.setattr(prepare_case, "compare_images", lambda *_: next(alignments))
    entry = run(raw, tmp_path / "out", reference="T1")["subjects"]["A"]
    mentions("\n".join(entry["doubts"]), "0.900 bits … 1.000", "FLAIR and T1 … 0.70 … 0.75", "covers 50%")


def test_a_repetition_skips_what_is_finished_and_makes_what_is_lost(raw, tmp_path, here, capsys):
    first = run(raw, tmp_path / "out", reference="T1")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("A_*")}
    (tmp_path / "out" / "B" / "B_label.nii.gz").unlink()
    capsys.readouterr()
    again = run(raw, tmp_path / "out", reference="T1")
    mentions(capsys.readouterr().out, "1 prepared, 1 finished before, 0 failed")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("A_*")} == stamps
    assert again["subjects"]["A"] == first["subjects"]["A"]
    assert (tmp_path / "out" / "B" / "B_label.nii.gz").is_file()


def test_changed_files_and_settings_are_refused_before_anything_is_written(raw, tmp_path, here):
    run(raw, tmp_path / "out", reference="T1", spacing=(2.0, 2.0, 2.0))
    before = contents(tmp_path / "out")
    with pytest.raises(ConfigError, match=r"\(spacing was 2\.0,2\.0,2\.0, is not set\)"):
        run(raw, tmp_path / "out", reference="T1")
    with pytest.raises(ConfigError, match=r"\(files was T1,FLAIR,label, is T1,label"):
        run(raw, tmp_path / "out", files=("T1", "label"), reference="T1", spacing=(2.0, 2.0, 2.0), label_on="T1")
    save(raw / "B" / "flair.nii.gz", draw(ramp, FLAIR, MOTION) + 2, FLAIR)
    with pytest.raises(DataError, match=r"1 case have changed.*another output:\n  B: FLAIR"):
        run(raw, tmp_path / "out", reference="T1", spacing=(2.0, 2.0, 2.0))
    assert contents(tmp_path / "out") == before


def contents(folder: Path) -> dict:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_damaged_file_fails_its_case_alone(raw, tmp_path, here):
    path = raw / "A" / "flair.nii.gz"
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(PartlyDoneError, match=r"1 of 2 subjects failed:\n  A: FLAIR is not readable"):
        run(raw, tmp_path / "out", reference="T1")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["B", "prepared.csv", "prepared.json"]


def test_a_subject_that_is_no_longer_there_is_named(raw, tmp_path, here, capsys):
    run(raw, tmp_path / "out", reference="T1")
    (raw / "B" / "flair.nii.gz").unlink()
    with pytest.raises(DataError, match="1 of 2 subjects are incomplete"):
        run(raw, tmp_path / "out", reference="T1")
    record = run(raw, tmp_path / "out", reference="T1", incomplete="leave_out")
    assert record["left_out"] == {"B": "lacks FLAIR"}
    mentions(capsys.readouterr().out, "prepared before and not among these files: B")


def test_a_label_on_other_grids_in_other_cases_is_asked_about(raw, tmp_path, here):
    save(raw / "A" / "seg.nii.gz", draw(structure, T1), T1, np.uint8)
    with pytest.raises(DataError, match=r"different modalities; set --label_on.*\n  A: T1\n  B: FLAIR"):
        run(raw, tmp_path / "out", reference="T1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": "T2"}, "--reference T2: no such modality.*T1, FLAIR"),
        ({"label_on": "label"}, "--label_on label"),
        ({"how": "affine"}, "unknown --register 'affine'.*rigid, none"),
        ({"files": ("T1", "FLAIR"), "crop": "label"}, "--crop needs labels.*--crop image"),
        ({"files": ("T1", "FLAIR"), "label_on": "T1"}, "--label_on needs labels"),
        ({"files": ("label",)}, "no modality"),
        ({"files": ("T1", "t1", "label")}, "T1 and t1 differ only in case"),
        ({"files": ("T1", "FL/AIR")}, "'FL/AIR'.*file name"),
    ],
)
def test_settings_that_cannot_be(raw, tmp_path, here, change, message):
    with pytest.raises(ConfigError, match=message):
        run(raw, tmp_path / "out", **change)
    assert not (tmp_path / "out").exists()


def test_folders_that_cannot_be(raw, tmp_path, here):
    with pytest.raises(ConfigError, match=r"without \*, #"):
        run(raw, tmp_path / "{subject}")
    with pytest.raises(ConfigError, match="something other than"):
        run(raw, raw)
    run(raw, tmp_path / "out", reference="T1")
    record = json.loads((tmp_path / "out" / "prepared.json").read_text())
    del record["subjects"]["A"]["modalities"]
    (tmp_path / "out" / "prepared.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match=r"prepared\.json is damaged.*modalities"):
        run(raw, tmp_path / "out", reference="T1")


def test_the_printed_commands_work(raw, tmp_path, here, verb):
    words = ["--T1", f"{raw}/{{subject}}/t1.nii.gz", "--FLAIR", f"{raw}/{{subject}}/flair.nii.gz"]
    label = ["--label", f"{raw}/{{subject}}/seg.nii.gz"]
    output = tmp_path / "o ut"
    done = verb(
        "prepare", "files", *words, *label, "--output", output, "--spacing", "[2,2,2]", "--crop", "2,4", "--margin", "3"
    )
    assert done.code == 0, done.err
    (line,) = [line for line in done.out.splitlines() if line.startswith("next: ")]
    mentions(line, "--foreground 2,4")
    made = verb(*shlex.split(line)[2:], "--split", "0.5,0.5,0", "--person", "none")
    assert made.code == 0, made.err
    datalist = json.loads((output / "datalist.json").read_text())
    assert datalist["modalities"] == ["T1", "FLAIR"]
    checked = verb("check", output / "datalist.json", "--output", tmp_path / "check")
    assert "grid" not in checked.err
    assert verb("prepare", "files", *words, *label, "--output", output, "--margin", "3").code == 2
    done = verb("prepare", "files", *words, "--output", tmp_path / "unlabelled")
    mentions(done.out, "reference: T1", "next: monai_tl predict --bundle RUN --T1", "unlabelled/{subject}/{subject}_T1.nii.gz")


@pytest.mark.slow
def test_a_head_on_thick_turned_slices_is_found_and_laid_on_t1(tmp_path):
    """Life-size, real registration and processes: FLAIR with its label on slices of 5 mm, turned and moved by 11 mm."""
    rng = np.random.default_rng(5)
    layers, left = render_head(Anatomy.draw(rng), 64)
    t1, flair, anatomy = scan(layers, "T1", rng), scan(layers, "FLAIR", rng), label_map(layers, left)
    own = grid_of((64,) * 3, (FIELD_OF_VIEW / 64,) * 3)
    thick = grid_of((96, 96, 34), (2, 2, 5), turn=(8, -3, 2), centre=(4, 5, -3))
    sampled = partial(
        ndimage.affine_transform, matrix=np.linalg.inv(MOTION @ own.affine) @ thick.affine, output_shape=thick.shape
    )
    save(tmp_path / "raw" / "A" / "t1.nii.gz", t1, own)
    save(tmp_path / "raw" / "A" / "flair.nii.gz", sampled(flair, order=1, cval=np.percentile(flair, 2)), thick)
    save(tmp_path / "raw" / "A" / "seg.nii.gz", sampled(anatomy, order=0), thick, np.uint8)
    entry = run(tmp_path / "raw", tmp_path / "out", reference="T1")["subjects"]["A"]
    images = case(tmp_path / "out")
    on_one_grid(images)
    fit = entry["modalities"]["FLAIR"]
    assert fit["alignment"]["mutual_information"] > 1.5 * fit["by_header"]["mutual_information"]
    assert fit["alignment"]["overlap"] > 0.95
    found, truth = np.asarray(images["label"].dataobj), anatomy
    for sides in ((2, 41), (4, 43), (16,), (7, 46)):
        one, other = np.isin(found, sides), np.isin(truth, sides)
        assert 2 * (one & other).sum() / (one.sum() + other.sum()) > 0.75, sides
        assert one.sum() == pytest.approx(other.sum(), rel=0.08), sides
    inside = (np.asarray(images["FLAIR"].dataobj) > 0) & (truth > 0)
    assert np.corrcoef(np.asarray(images["FLAIR"].dataobj)[inside], flair[inside])[0, 1] > 0.9
