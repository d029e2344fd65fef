"""Files on the grid of another image, its sform and qform included."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_tl.errors import DataError
from monai_tl.imaging.grids import on_grid_of
from monai_tl.inference.save import SavePredictiond, paint

AFFINE = np.array([[-1.5, 0, 0.1, 12], [0, 0, 2, -7], [0.1, 1, 0, 3], [0, 0, 0, 1.0]])

UPRIGHT = np.array([[-1.5, 0, 0, 12], [0, 0, 2, -7], [0, 1, 0, 3], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("codes", [(0, 0), (1, 0), (0, 2), (1, 4), (3, 3)], ids=str)
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_shape_affine_and_codes_are_the_images(tmp_path, codes, kind):
    qcode, scode = codes
    like = kind(np.zeros((4, 5, 6), np.int16), AFFINE)
    like.set_qform(AFFINE, qcode)
    like.set_sform(AFFINE @ np.diag([1, 1, 1, 1]), scode)
    nib.save(like, tmp_path / "like.nii")
    like = nib.load(tmp_path / "like.nii")
    nib.save(on_grid_of(np.ones((4, 5, 6), np.uint8), like), tmp_path / "seg.nii.gz")
    seg = nib.load(tmp_path / "seg.nii.gz")
    assert seg.shape == like.shape
    assert np.allclose(seg.affine, like.affine, atol=1e-5)
    assert (int(seg.header["qform_code"]), int(seg.header["sform_code"])) == codes
    assert np.allclose(seg.header.get_zooms(), like.header.get_zooms())


def test_sform_and_qform_that_disagree_are_both_kept(tmp_path):
    like = nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4))
    like.set_qform(np.diag([2.0, 2, 2, 1]), 1)
    like.set_sform(np.diag([1.0, 1, 1, 1]), 2)
    seg = on_grid_of(np.ones((4, 5, 6), np.uint8), like)
    assert np.array_equal(seg.get_sform(), np.eye(4))
    assert np.allclose(seg.get_qform(), like.get_qform())


def test_a_scan_that_is_no_nifti_still_gives_its_affine():
    seg = on_grid_of(np.ones((4, 5, 6), np.uint8), nib.MGHImage(np.zeros((4, 5, 6), np.float32), AFFINE))
    affine, code = seg.get_sform(coded=True)
    assert np.allclose(affine, AFFINE, atol=1e-5)
    assert (code, seg.get_qform(coded=True)[1]) == (1, 1)


def test_a_prediction_of_another_shape_is_refused(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), tmp_path / "image.nii")
    image = MetaTensor(torch.zeros(1, 4, 5, 6), meta={"filename_or_obj": str(tmp_path / "image.nii")})
    save = SavePredictiond("pred", "image", str(tmp_path / "out"), {"hippocampus": (17, 53)})
    with pytest.raises(DataError, match=r"IXI012.*shape \(4, 5, 7\).*\(4, 5, 6\)"):
        save({"subject": "IXI012", "image": image, "pred": torch.zeros(1, 4, 5, 7)})
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_the_threshold_is_that_of_the_scores(tmp_path):
    """A probability of just 0.5 is foreground, as ChooseRegionsd has it in validation."""
    nib.save(nib.Nifti1Image(np.zeros((1, 1, 3), np.int16), np.eye(4)), tmp_path / "image.nii")
    image = MetaTensor(torch.zeros(1, 1, 1, 3), meta={"filename_or_obj": str(tmp_path / "image.nii")})
    pred = torch.tensor([0.49, 0.5, 0.51]).reshape(1, 1, 1, 3)
    save = SavePredictiond("pred", "image", str(tmp_path), {"hippocampus": (17, 53)})
    assert save({"subject": "s", "image": image, "pred": pred})["pred"].flatten().tolist() == [0, 1, 1]
    assert voxels(tmp_path / "s_seg.nii.gz").ravel().tolist() == [0, 1, 1]


BRATS = {"tumour core": (1, 4), "whole tumour": (1, 2, 4), "enhancing tumour": (4,)}


def voxels(path):
    return np.asanyarray(nib.load(path).dataobj)


@pytest.fixture
def saved(tmp_path):
    """Save probabilities, a row of voxels for each region, of a scan of 1×1×n voxels; gives the case and the folder."""

    def save(regions, rows, **settings):
        row = np.asarray(rows, np.float32)
        nib.save(nib.Nifti1Image(np.zeros((1, 1, row.shape[1]), np.int16), UPRIGHT), tmp_path / "image.nii")
        image = MetaTensor(torch.zeros(1, 1, 1, row.shape[1]), meta={"filename_or_obj": str(tmp_path / "image.nii")})
        pred = torch.as_tensor(row).reshape(len(regions), 1, 1, -1)
        handler = SavePredictiond("pred", "image", str(tmp_path / "out"), regions, **settings)
        return handler({"subject": "s", "image": image, "pred": pred}), tmp_path / "out"

    return save


def test_regions_inside_others_are_painted_over_them_with_the_users_values(saved):
    """Voxels: outside, oedema, necrosis, enhancing, and an enhancing one that the network has in no other region."""
    core, whole, enhancing = [0.1, 0.2, 0.9, 0.9, 0.3], [0.2, 0.8, 0.9, 0.7, 0.4], [0.0, 0.1, 0.2, 0.8, 0.6]
    case, out = saved(BRATS, [core, whole, enhancing], softmax=False)
    seg = nib.load(out / "s_seg.nii.gz")
    assert voxels(out / "s_seg.nii.gz").ravel().tolist() == [0, 2, 1, 4, 4]
    assert seg.get_data_dtype() == np.uint8
    assert case["pred"].squeeze().tolist() == [[0, 0, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 1, 1]], "masks, in their own order"
    assert not (out / "s_probability.nii.gz").exists()


def test_regions_that_exclude_each_other_have_the_users_values(saved):
    left, right = [0.4, 0.1, 0.2, 0.0], [0.35, 0.2, 0.7, 0.5]
    case, out = saved({"left": (17,), "right": (53,)}, [left, right])
    assert voxels(out / "s_seg.nii.gz").ravel().tolist() == [17, 0, 53, 0], "half is not more than the background's half"
    assert case["pred"].squeeze().tolist() == [[1, 0, 0, 0], [0, 0, 1, 0]]


@pytest.mark.parametrize(("value", "dtype"), [(255, np.uint8), (256, np.uint16), (2035, np.uint16)])
def test_values_above_255_are_written_in_16_bits(saved, value, dtype):
    """FreeSurfer's cortical labels are above 1000."""
    _, out = saved({"left": (17,), "cortex": (value,)}, [[0.9, 0.0, 0.1], [0.1, 0.8, 0.1]])
    assert voxels(out / "s_seg.nii.gz").ravel().tolist() == [17, value, 0]
    assert nib.load(out / "s_seg.nii.gz").get_data_dtype() == dtype


def test_several_probabilities_are_volumes_of_one_file_on_the_scans_grid(saved):
    core, whole = [0.1, 0.9, 0.3], [0.2, 0.8, 0.6]
    _, out = saved({"core": (1, 4), "whole": (1, 2, 4)}, [core, whole], softmax=False, probabilities=True)
    written = nib.load(out / "s_probability.nii.gz")
    assert written.shape == (1, 1, 3, 2)
    assert written.get_data_dtype() == np.float32
    assert np.allclose(written.affine, UPRIGHT, atol=1e-5)
    assert voxels(out / "s_probability.nii.gz")[0, 0, :, 0].tolist() == pytest.approx(core)
    assert voxels(out / "s_probability.nii.gz")[0, 0, :, 1].tolist() == pytest.approx(whole), "in the order of the regions"


def test_one_probability_is_a_volume(saved):
    _, out = saved({"hippocampus": (17, 53)}, [[0.1, 0.9]], probabilities=True)
    assert voxels(out / "s_probability.nii.gz").shape == (1, 1, 2)


def test_painting_follows_the_regions_and_not_the_channels_order():
    """Given with the whole first, the core is painted over it all the same."""
    masks = np.zeros((2, 3, 1, 1))
    masks[0, :2], masks[1, 1:2] = 1, 1
    assert paint(masks, {"whole": (1, 2), "core": (1,)}).ravel().tolist() == [2, 1, 0]
    assert paint(masks[::-1], {"core": (1,), "whole": (1, 2)}).ravel().tolist() == [2, 1, 0]
