"""Files on the grid of another image, its sform and qform included."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_tl.errors import DataError
from monai_tl.imaging.grids import on_grid_of
from monai_tl.inference.save import SavePredictiond

AFFINE = np.array([[-1.5, 0, 0.1, 12], [0, 0, 2, -7], [0.1, 1, 0, 3], [0, 0, 0, 1.0]])


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
    save = SavePredictiond("pred", "image", str(tmp_path / "out"))
    with pytest.raises(DataError, match=r"IXI012.*shape \(4, 5, 7\).*\(4, 5, 6\)"):
        save({"subject": "IXI012", "image": image, "pred": torch.zeros(1, 4, 5, 7)})
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_the_threshold_is_that_of_the_scores(tmp_path):
    """A probability of just 0.5 is foreground, as AsDiscrete has it in evaluate.yaml."""
    nib.save(nib.Nifti1Image(np.zeros((1, 1, 3), np.int16), np.eye(4)), tmp_path / "image.nii")
    image = MetaTensor(torch.zeros(1, 1, 1, 3), meta={"filename_or_obj": str(tmp_path / "image.nii")})
    pred = torch.tensor([0.49, 0.5, 0.51]).reshape(1, 1, 1, 3)
    mask = SavePredictiond("pred", "image", str(tmp_path))({"subject": "s", "image": image, "pred": pred})["pred"]
    assert mask.flatten().tolist() == [0, 1, 1]
