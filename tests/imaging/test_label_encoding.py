"""What a network learns of a label: an index or masks, the voxels of each class, and how often patches are centred on them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import ClassesToIndicesd, LabelToMaskd, RandCropByLabelClassesd

from monai_tl.errors import ConfigError
from monai_tl.imaging.label_encoding import IGNORED, ClassIndicesd, EncodeLabeld, sampling_ratios
from tests.conftest import mentions

BRATS = {"core": (1, 4), "whole": (1, 2, 4)}
SIDES = {"left": (17,), "right": (53, 54)}
AFFINE = torch.tensor([[-2.0, 0, 0, 5], [0, 1, 0, 7], [0, 0, 3, 9], [0, 0, 0, 1]], dtype=torch.float64)


def label_of(values, at=((0, 0, 0), (1, 2, 3), (3, 3, 3), (2, 0, 1), (0, 3, 0))) -> MetaTensor:
    """Return 4×4×4 voxels of background but for these values, one voxel each."""
    voxels = torch.zeros(1, 4, 4, 4)
    for value, (i, j, k) in zip(values, at, strict=False):
        voxels[0, i, j, k] = value
    return MetaTensor(voxels, affine=AFFINE, meta={"filename_or_obj": "a_seg.nii"})


def found(encoded) -> dict[tuple[int, ...], int]:
    """Return the voxels that are not 0, by their place (channel, i, j, k)."""
    return {tuple(place): int(encoded[tuple(place)]) for place in torch.nonzero(encoded.as_tensor()).tolist()}


def test_classes_that_exclude_each_other_become_an_index():
    """A value in no region is background, an ignored one -1."""
    encoded = EncodeLabeld("label", SIDES, ignore=[255])({"label": label_of([17, 53, 54, 255, 7])})["label"]
    assert encoded.shape == (1, 4, 4, 4)
    assert found(encoded) == {(0, 0, 0, 0): 1, (0, 1, 2, 3): 2, (0, 3, 3, 3): 2, (0, 2, 0, 1): IGNORED}


def test_overlapping_regions_become_a_mask_each():
    """Necrosis is in both, oedema in the whole tumour only; an ignored voxel is ignored in each region."""
    encoded = EncodeLabeld("label", BRATS, masks=True, ignore=[255])({"label": label_of([1, 2, 4, 255, 3])})["label"]
    assert encoded.shape == (2, 4, 4, 4)
    core = {(0, 0, 0, 0): 1, (0, 3, 3, 3): 1, (0, 2, 0, 1): -1}
    whole = {(1, 0, 0, 0): 1, (1, 1, 2, 3): 1, (1, 3, 3, 3): 1, (1, 2, 0, 1): -1}
    assert found(encoded) == {**core, **whole}


def test_regions_keep_the_order_in_which_they_are_given():
    turned = EncodeLabeld("label", dict(reversed(BRATS.items())), masks=True)({"label": label_of([2])})["label"]
    assert found(turned) == {(0, 0, 0, 0): 1}
    turned = EncodeLabeld("label", dict(reversed(SIDES.items())))({"label": label_of([17, 53])})["label"]
    assert found(turned) == {(0, 0, 0, 0): 2, (0, 1, 2, 3): 1}


@pytest.mark.parametrize("masks", [False, True])
def test_the_grid_is_kept_and_the_input_is_not_changed(masks):
    label = label_of([17, 53, 255])
    before = label.clone()
    case = {"label": label, "subject": "a"}
    encoded = EncodeLabeld("label", SIDES, masks=masks, ignore=[255])(case)
    assert torch.equal(encoded["label"].affine, AFFINE)
    assert encoded["label"].meta["filename_or_obj"] == "a_seg.nii"
    assert encoded["subject"] == "a"
    assert torch.equal(case["label"], before)
    assert encoded["label"].dtype == torch.int8, "cached for every case"
    assert not isinstance(EncodeLabeld("label", SIDES)({"label": label.as_tensor()})["label"], MetaTensor)


def test_more_than_127_regions_do_not_wrap_around():
    many = {f"region {n}": (n,) for n in range(1, 201)}
    encoded = EncodeLabeld("label", many, ignore=[255])({"label": label_of([200, 127, 128, 255])})["label"]
    assert found(encoded) == {(0, 0, 0, 0): 200, (0, 1, 2, 3): 127, (0, 3, 3, 3): 128, (0, 2, 0, 1): IGNORED}


def random_label(values, seed=0, shape=(12, 11, 10)) -> MetaTensor:
    return MetaTensor(torch.as_tensor(np.random.default_rng(seed).choice(values, (1, *shape)), dtype=torch.float32))


@pytest.mark.parametrize("masks", [False, True])
def test_one_region_is_encoded_as_monai_does(masks):
    """LabelToMaskd, which configs of earlier versions used, gives the same voxels."""
    label = random_label([0, 1, 2, 4])
    ours = EncodeLabeld("label", {"core": (1, 4)}, masks=masks)({"label": label})["label"]
    monais = LabelToMaskd("label", select_labels=[1, 4])({"label": label.clone()})["label"]
    assert torch.equal(ours.float(), monais.float())


@pytest.mark.parametrize(("classes", "most"), [(2, None), (2, 50), (3, 7)])
def test_the_voxels_of_classes_are_found_as_monai_does(classes, most):
    label = random_label(range(classes))
    ours = ClassIndicesd("label", classes, most)({"label": label})["label_cls_indices"]
    monais = ClassesToIndicesd("label", num_classes=classes, max_samples_per_class=most)({"label": label})["label_cls_indices"]
    assert len(ours) == len(monais) == classes
    assert all(np.array_equal(one, other) for one, other in zip(ours, monais, strict=True))


def test_the_voxels_of_masks_are_those_of_each_region_and_of_none():
    """Voxel 0 is core, 1 is oedema, 2 background, 3 ignored: in no list, so that no patch is centred on it."""
    label = torch.tensor([1, 2, 0, 255]).reshape(1, 4, 1, 1)
    encoded = EncodeLabeld("label", BRATS, masks=True, ignore=[255])({"label": label})
    background, core, whole = ClassIndicesd("label", 3)(encoded)["label_cls_indices"]
    assert (background.tolist(), core.tolist(), whole.tolist()) == ([2], [0], [0, 1])


def test_the_voxels_of_an_index_leave_out_those_that_are_ignored():
    label = torch.tensor([17, 53, 0, 255]).reshape(1, 4, 1, 1)
    encoded = EncodeLabeld("label", SIDES, ignore=[255])({"label": label})
    background, left, right = ClassIndicesd("label", 3)(encoded)["label_cls_indices"]
    assert (background.tolist(), left.tolist(), right.tolist()) == ([2], [0], [1])


CENTRES = {1: (8, 8, 8), 2: (24, 24, 24)}  # of the one voxel of each class


def centres(label, ratios, classes, draws=400) -> dict[str, int]:
    """Count what patches of 3×3×3 voxels are centred on: each region, or nothing."""
    crop = RandCropByLabelClassesd(
        ["label"], "label", (3, 3, 3), ratios=ratios, num_classes=classes, indices_key="label_cls_indices", warn=False
    )
    crop.set_random_state(seed=0)
    case = ClassIndicesd("label", classes)({"label": label})
    middles = [crop(case)[0]["label"][:, 1, 1, 1].tolist() for _ in range(draws)]
    return {str(middle): middles.count(middle) for middle in sorted(middles)}


def two_voxels(masks: bool, *present: int) -> MetaTensor:
    voxels = torch.zeros(1, 32, 32, 32)
    for value in present:
        voxels[(0, *CENTRES[value])] = value
    return EncodeLabeld("label", {"one": (1,), "other": (2,)}, masks=masks)({"label": MetaTensor(voxels)})["label"]


@pytest.mark.parametrize(
    ("masks", "middles"), [(False, ("[0]", "[1]", "[2]")), (True, ("[0, 0]", "[1, 0]", "[0, 1]"))], ids=["index", "masks"]
)
@pytest.mark.parametrize("ratios", [[1, 1], [1, 3, 1]], ids=str)
def test_patches_are_centred_as_the_ratios_say(masks, middles, ratios):
    """Of 400 draws each count lies within 3 standard deviations (at most 10 draws each) of its share."""
    label = two_voxels(masks, 1, 2)
    shares = sampling_ratios(ratios, {"one": (1,), "other": (2,)})
    counts = centres(label, shares, 3)
    expected = [400 * share / sum(shares) for share in shares]
    assert sum(counts.values()) == 400
    assert [counts[middle] for middle in middles] == pytest.approx(expected, abs=30)


@pytest.mark.parametrize("masks", [False, True])
def test_a_region_that_a_case_lacks_is_not_drawn_and_the_others_are(masks):
    label = two_voxels(masks, 1)
    assert [len(of) for of in ClassIndicesd("label", 3)({"label": label})["label_cls_indices"]] == [32**3 - 1, 1, 0]
    counts = centres(label, [1.0, 0.5, 0.5], 3)
    background, one = ("[0, 0]", "[1, 0]") if masks else ("[0]", "[1]")
    assert set(counts) == {background, one}
    assert counts[background] == pytest.approx(400 * 2 / 3, abs=30), "1 to 0.5"


@pytest.mark.parametrize(
    ("ratios", "regions", "shares"),
    [
        ([1, 1], 1, [1, 1]),
        ([1, 3], 2, [1, 1.5, 1.5]),
        ([0, 1], 4, [0, 0.25, 0.25, 0.25, 0.25]),
        ([1, 2, 3], 2, [1, 2, 3]),
        ([1, 0, 3], 2, [1, 0, 3]),
    ],
)
def test_the_share_of_the_foreground_is_divided_among_the_regions(ratios, regions, shares):
    assert sampling_ratios(ratios, {str(n): (n,) for n in range(regions)}) == shares


@pytest.mark.parametrize(("ratios", "regions"), [([1, 1, 1], ("a",)), ([1, 1, 1], ("a", "b", "c")), ([1, 1, 1, 1], ("a", "b"))])
def test_another_number_of_ratios_is_refused(ratios, regions):
    with pytest.raises(ConfigError) as refusal:
        sampling_ratios(ratios, dict.fromkeys(regions, (1,)))
    mentions(str(refusal.value), f"class_ratios … two … {1 + len(regions)} … {', '.join(regions)} … {ratios}")
