"""Grids are copied exactly, a known motion is found again, labels keep their volume."""

from __future__ import annotations

import importlib.util
import math
import sys
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from scipy.spatial.transform import Rotation

from monai_tl.errors import DataError
from monai_tl.imaging import grids
from monai_tl.phantoms.heads import FIELD_OF_VIEW, Anatomy, label_map, render_head
from monai_tl.preparation import register, similarity
from tests.conftest import ROOT


def oblique(rng: np.random.Generator, flip: bool = False) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.random(random_state=int(rng.integers(99))).as_matrix() * rng.uniform(0.5, 3, 3)
    affine[:3, 3] = rng.uniform(-90, 90, 3)
    if flip:
        affine[:, 0] *= -1
    return affine


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script that makes pairs whose position is known."""
    spec = importlib.util.spec_from_file_location("check_registration", ROOT / "scripts" / "check_registration.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def registered(script):
    """Two pairs and what was found; the first is moved as far as any."""
    pairs = [script.make_pair(case, 64, 0) for case in range(2)]
    return [(pair, register.register(pair.t1, pair.t2)) for pair in pairs]


@pytest.mark.parametrize("flip", [False, True], ids=["right-handed", "left-handed"])
def test_a_voxel_lies_at_the_same_place_for_nibabel_and_itk(flip):
    rng = np.random.default_rng(int(flip))
    for _ in range(5):
        voxels, affine = rng.normal(size=(4, 5, 6)).astype(np.float32), oblique(rng, flip)
        image = grids.to_itk(voxels, affine)
        for index in ([0, 0, 0], [3, 4, 5], [1, 0, 4]):
            x, y, z = apply_affine(affine, index)
            assert np.allclose(image.TransformIndexToPhysicalPoint(index), (-x, -y, z), atol=1e-9)
            assert image.GetPixel(index) == voxels[tuple(index)]
        back, again = grids.from_itk(image)
        assert np.array_equal(back, voxels)
        assert np.allclose(again, affine, atol=1e-9)


def test_axes_that_are_not_at_right_angles_are_refused():
    skewed = np.eye(4)
    skewed[0, 1] = 0.1
    with pytest.raises(DataError, match=r"5\.7°.*resample"):
        grids.to_itk(np.zeros((2, 2, 2), np.float32), skewed)


@pytest.mark.slow
def test_known_motions_are_found_within_the_goal(registered, script):
    """The head is life-size: voxels of 3 mm, whose error may be 0.7 mm."""
    for pair, found in registered:
        mean, largest = script.displacement(pair, register.matrix_of(found.transform))
        assert mean <= script.GOAL
        assert largest <= 2 * script.GOAL
    first = registered[0][0]
    assert (first.angle, first.shift) == (15.0, 20.0)


@pytest.mark.slow
def test_a_repetition_gives_the_same_bits(registered):
    pair, before = registered[1]
    again = register.register(pair.t1, pair.t2)
    assert list(again.transform.GetParameters()) == list(before.transform.GetParameters())
    assert np.array_equal(again.voxels, before.voxels)


@pytest.mark.slow
def test_a_wrong_position_shows_in_the_measures(registered):
    """Positions that are 5 mm and 10 mm off differ from the right one in mutual information and overlap."""
    pair, found = registered[1]
    voxels, size = np.asarray(pair.t1.dataobj), np.asarray(nib.affines.voxel_sizes(pair.t1.affine))
    information, overlap = [found.alignment.mutual_information], [found.alignment.overlap]
    for shift in (5.0, 10.0):
        moved = register._rigid(np.zeros(3), (0, 0, 0), (0, 0, 0))
        moved.SetMatrix(found.transform.GetMatrix())
        moved.SetOffset([value + shift / math.sqrt(3) for value in found.transform.GetOffset()])
        off = similarity.assess(voxels, *register.resample(pair.t2, pair.t1, moved), size)
        information.append(off.mutual_information)
        overlap.append(off.overlap)
    assert information[0] > 1.3 * information[1] > 1.3 * information[2]
    assert overlap[0] > 0.95
    assert overlap[0] > overlap[1] + 0.01 > overlap[2] + 0.02
    assert 0.6 < found.alignment.covered < 0.95


@pytest.mark.slow
def test_quality_control_suspects_what_is_laid_wrong_and_nothing_else(registered, script):
    """By a little more than 2 mm, shifted and turned, as ``scripts/check_registration.py`` does it for 20 heads."""
    tried = script.QualityControl([], [], [])
    for n, (pair, found) in enumerate(registered):
        matrix = register.matrix_of(found.transform)
        tried.right.append(script.measured(pair, matrix, str(n)))
        for off in script.misregister(pair, matrix, np.random.default_rng(n), 2):
            tried.wrong.append(script.measured(pair, off, str(n)))
            tried.far.append(script.displacement(pair, off)[0])
    assert min(tried.far) > script.WRONG
    assert max(tried.far) < 2.5
    assert script.suspects(tried.right, tried.wrong) == ([False] * 2, [True] * 4)
    assert [one.off["T2"][0] for one in tried.wrong] == pytest.approx(tried.far, abs=0.9)


@pytest.mark.slow
def test_the_transform_file_holds_the_convention(registered, tmp_path):
    """T1's points to T2's, LPS: read as plain text, by the definition of Euler angles in ITK (Z · X · Y)."""
    pair, found = registered[0]
    path = tmp_path / "t.tfm"
    register.write_transform(path, found.transform)
    lines = dict(line.split(": ", 1) for line in path.read_text().splitlines() if ": " in line)
    x, y, z, *shift = map(float, lines["Parameters"].split())
    centre = np.array(list(map(float, lines["FixedParameters"].split()))[:3])
    turn = Rotation.from_euler("ZXY", [z, x, y]).as_matrix()
    points = apply_affine(pair.t1.affine, np.argwhere(np.ones((2, 2, 2))) * 40)
    lps = points * (-1, -1, 1)
    ours = (lps - centre) @ turn.T + centre + shift
    assert np.allclose(ours * (-1, -1, 1), apply_affine(pair.truth, points), atol=1.5)
    assert np.allclose(ours, apply_affine(register.matrix_of(register.read_transform(path)), lps), atol=1e-9)


def test_a_file_that_holds_no_transform_is_refused(tmp_path):
    (tmp_path / "t.tfm").write_text("nothing")
    with pytest.raises(DataError, match=r"t\.tfm.*ITK"):
        register.read_transform(tmp_path / "t.tfm")


def test_resampling_onto_the_own_grid_changes_nothing_and_leaves_air_where_nothing_was_measured():
    rng = np.random.default_rng(0)
    image = nib.Nifti1Image(rng.uniform(10, 20, (8, 9, 10)).astype(np.float32), oblique(rng))
    still = register._rigid(np.zeros(3), (0, 0, 0), (0, 0, 0))
    voxels, seen = register.resample(image, image, still)
    assert seen.all()
    assert np.allclose(voxels, np.asarray(image.dataobj), atol=1e-3)
    still.SetTranslation([float(value) for value in grids.LPS[:3, :3] @ image.affine[:3, 0] * 3])  # three voxels along i
    voxels, seen = register.resample(image, image, still)
    assert seen[:5].all()
    assert not seen[5:].any()
    assert np.allclose(voxels[:5], np.asarray(image.dataobj)[3:], atol=1e-3)
    assert (voxels[5:] == 0).all()


@pytest.mark.slow
def test_a_scan_of_one_value_is_refused(registered):
    t1 = registered[0][0].t1
    flat = nib.Nifti1Image(np.full((4, 4, 4), 7, np.float32), np.eye(4))
    with pytest.raises(DataError, match="T2.*same value.*7"):
        register.register(t1, flat)


def test_labels_keep_their_volume_on_another_grid():
    """FreeSurfer's conformed grid: 1 mm, axes left, inferior, anterior; T1 as in IXI: oblique, 0.94 × 0.94 × 1.2 mm."""
    layers, left = render_head(Anatomy.draw(np.random.default_rng(0)), 128)
    labels = label_map(layers, left)
    voxel = FIELD_OF_VIEW / 128
    affine = np.diag([voxel, voxel, voxel, 1.0])
    affine[:3, 3] = -95
    conformed = nib.Nifti1Image(labels, affine).as_reoriented(np.array([[0, -1], [2, 1], [1, -1]]))
    t1 = np.eye(4)
    t1[:3, :3] = Rotation.from_euler("xyz", [4, -3, 7], degrees=True).as_matrix() * voxel * [0.94, 0.94, 1.2]
    t1[:3, 3] = t1[:3, :3] @ np.full(3, -74.0)
    like = nib.Nifti1Image(np.zeros((150, 150, 150), np.uint8), t1)
    moved = grids.regrid_labels(conformed, like)
    for sides in ((17, 53), (2, 41), (4, 43)):
        before = np.isin(labels, sides).sum() * voxel**3
        after = np.isin(moved, sides).sum() * abs(np.linalg.det(t1[:3, :3]))
        assert after == pytest.approx(before, rel=0.02), sides
    inside = apply_affine(np.linalg.inv(affine) @ t1, [75, 75, 75])
    assert moved[75, 75, 75] == labels[tuple(np.rint(inside).astype(int))]


@pytest.mark.slow
def test_life_size_hippocampi_keep_their_volume_from_a_conformed_grid():
    """256³ of 1 mm on axes left, inferior, anterior, as FreeSurfer makes them, onto an oblique anisotropic T1."""
    layers, left = render_head(Anatomy.draw(np.random.default_rng(0)), int(FIELD_OF_VIEW))  # voxels of 1 mm
    conformed = np.zeros((256, 256, 256), np.uint8)
    inside = slice(32, 32 + int(FIELD_OF_VIEW))
    conformed[inside, inside, inside] = label_map(layers, left)
    affine = np.array([[-1.0, 0, 0, 128], [0, 0, 1, -128], [0, -1, 0, 128], [0, 0, 0, 1]])
    labels = nib.Nifti1Image(conformed, np.eye(4)).as_reoriented(np.array([[0, -1], [2, 1], [1, -1]]))
    labels = nib.Nifti1Image(np.asarray(labels.dataobj), affine)
    assert nib.aff2axcodes(labels.affine) == ("L", "I", "A")
    t1 = np.eye(4)
    t1[:3, :3] = Rotation.from_euler("xyz", [4, -3, 7], degrees=True).as_matrix() * [0.94, 0.94, 1.2]
    t1[:3, 3] = t1[:3, :3] @ [-128.0, -128.0, -100.0]
    moved = grids.regrid_labels(labels, nib.Nifti1Image(np.zeros((256, 256, 200), np.uint8), t1))
    for side in (17, 53):
        before, after = float((conformed == side).sum()), (moved == side).sum() * 0.94 * 0.94 * 1.2
        print(f"{side}: {before / 1000:.3f} ml as it came, {after / 1000:.3f} ml on T1's grid")
        assert before > 1500, "life-size"
        assert after == pytest.approx(before, rel=0.02)


def test_labels_on_the_same_grid_stay_as_they_are():
    labels = np.random.default_rng(0).integers(0, 2036, (4, 5, 6)).astype(np.float32)  # aparc+aseg goes to 2035
    image = nib.Nifti1Image(labels, oblique(np.random.default_rng(1)))
    assert np.array_equal(grids.regrid_labels(image, image), labels)
