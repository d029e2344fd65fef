"""From logits to probabilities to masks of regions."""

from __future__ import annotations

import math

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import AsDiscrete

from monai_tl.errors import DataError
from monai_tl.inference.postprocess import ChooseRegionsd, choose_regions, region_probabilities
from tests.conftest import mentions


def at(*values: float) -> torch.Tensor:
    """One voxel: (channel, 1, 1, 1)."""
    return torch.tensor(values).reshape(-1, 1, 1, 1)


def test_a_softmax_is_over_all_classes_and_leaves_the_background_out():
    """Odds of 1 : 2 : 5."""
    logits = at(0.0, math.log(2), math.log(5))
    assert region_probabilities(softmax=True)(logits).flatten().tolist() == pytest.approx([2 / 8, 5 / 8])


def test_each_region_has_its_own_sigmoid():
    """Odds of 1, 2 and 5 to 1: the sum may be above 1, since regions overlap."""
    logits = at(0.0, math.log(2), math.log(5))
    assert region_probabilities(softmax=False)(logits).flatten().tolist() == pytest.approx([1 / 2, 2 / 3, 5 / 6])
    assert region_probabilities(softmax=False)(torch.zeros(3, 4, 5, 6)).shape == (3, 4, 5, 6)


@pytest.mark.parametrize("softmax", [True, False])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_logit_that_is_not_a_number_is_refused(softmax, value):
    """Also infinity, of which a sigmoid would be sure; voxels are counted, not their channels."""
    logits = torch.zeros(3, 2, 2, 2)
    logits[1, 0, 0, 0] = logits[2, 0, 0, 0] = logits[0, 1, 1, 1] = value
    with pytest.raises(DataError) as refusal:
        region_probabilities(softmax)(logits)
    mentions(str(refusal.value), "2 of 8 voxels … --precision float32")


@pytest.mark.parametrize(
    ("probability", "softmax", "chosen"),
    [
        ((0.5,), True, [1]),
        ((0.5,), False, [1]),
        ((0.4999999,), True, [0]),
        ((0.5, 0.4999999, 1.0), False, [1, 0, 1]),
        ((0.4, 0.35), True, [1, 0]),  # 0.25 for the background: the most probable, although below 0.5
        ((0.2, 0.45), True, [0, 1]),
        ((0.3, 0.3), True, [0, 0]),
        ((0.0, 0.0), True, [0, 0]),
        ((0.0, 1.0), True, [0, 1]),
        ((0.25, 0.5), True, [0, 1]),
        ((0.45, 0.45), True, [1, 0]),
        ((0.25, 0.25), True, [0, 0]),
    ],
)
def test_one_region_has_a_threshold_and_several_that_exclude_each_other_are_compared(probability, softmax, chosen):
    assert choose_regions(at(*probability), softmax).flatten().tolist() == chosen


def test_regions_that_exclude_each_other_never_overlap_and_others_may():
    logits = torch.randn(4, 6, 6, 6, generator=torch.Generator().manual_seed(0)) * 3
    exclusive = choose_regions(region_probabilities(True)(logits), True)
    assert exclusive.shape == (3, 6, 6, 6)
    assert exclusive.sum(dim=0).max() == 1
    assert torch.equal(exclusive, torch.stack([(logits.argmax(dim=0) == n).float() for n in (1, 2, 3)]))
    free = choose_regions(region_probabilities(False)(logits), False)
    assert free.sum(dim=0).max() > 1
    assert torch.equal(free, (logits >= 0).float())


@pytest.mark.parametrize("softmax", [True, False])
def test_one_region_is_chosen_as_monai_does(softmax):
    """AsDiscrete(threshold=0.5), which configs of earlier versions used."""
    probability = MetaTensor(torch.tensor([0.49, 0.5, 0.51, 0.0, 1.0]).reshape(1, 5, 1, 1))
    assert torch.equal(choose_regions(probability, softmax), AsDiscrete(threshold=0.5)(probability))


def test_a_case_keeps_its_metadata_and_its_other_keys():
    affine = torch.diag(torch.tensor([2.0, 1, 1, 1], dtype=torch.float64))
    pred = MetaTensor(torch.full((2, 2, 2, 2), 0.6), affine=affine, meta={"filename_or_obj": "a.nii"})
    case = ChooseRegionsd("pred", softmax=False)({"subject": "a", "pred": pred})
    assert case["subject"] == "a"
    assert torch.equal(case["pred"].affine, affine)
    assert case["pred"].meta["filename_or_obj"] == "a.nii"
    assert case["pred"].unique().tolist() == [1]
    assert pred.unique().tolist() == pytest.approx([0.6]), "the input is not changed"
    several = ChooseRegionsd("pred", softmax=True)({"pred": pred})["pred"]
    assert isinstance(several, MetaTensor)
    assert torch.equal(several.affine, affine)
