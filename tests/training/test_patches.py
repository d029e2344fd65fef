"""Windows are a function of seed and number, and never look past the border of what was cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import CacheDataset, MetaTensor
from monai.transforms import ClassesToIndicesd, Compose, RandAffined, RandCropByLabelClassesd

from monai_tl.errors import ConfigError
from monai_tl.training.patches import Patches, PatchNumbers, epochs_of, margin_for, room_for

KEYS = ["image", "label"]


def turning(keys, window, angles, scales, mode="bilinear", padding_mode="zeros"):
    spatial = {"rotate_range": angles, "scale_range": scales, "spatial_size": window}
    return RandAffined(keys, prob=1.0, mode=mode, padding_mode=padding_mode, **spatial)


def cases(count=3, size=20):
    random = np.random.default_rng(0)
    data = []
    for number in range(count):
        label = torch.zeros(1, size, size, size)
        label[:, 8:11, 8:11, 8:11] = 1
        image = torch.as_tensor(random.normal(number, 0.1, (1, size, size, size)), dtype=torch.float32)
        data.append({"image": MetaTensor(image), "label": MetaTensor(label)})
    return CacheDataset(data, ClassesToIndicesd("label", num_classes=2), copy_cache=False, progress=False)


def windows(seed=0, count=3):
    crop = RandCropByLabelClassesd(
        KEYS, "label", room_for([6] * 3, 10, 0.1), ratios=[1, 1], num_classes=2, indices_key="label_cls_indices"
    )
    turn = turning(KEYS, [6] * 3, [0.17] * 3, [0.1] * 3, mode=["bilinear", "nearest"], padding_mode="border")
    return Patches(cases(count), Compose([crop, turn]), seed)


def pixels(drawn):
    return drawn[0]["image"].as_tensor()


def test_a_window_depends_on_seed_and_number_alone():
    one, other = windows(), windows()
    first = [pixels(one[number]) for number in (0, 1, 2, 7)]
    again = [pixels(other[number]) for number in (7, 2, 1, 0)][::-1]  # another order, other windows in between
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(pixels(one[0]), pixels(windows(seed=1)[0]))
    assert not torch.equal(first[0], pixels(one[3]))


def test_each_case_comes_once_a_round_in_changing_order():
    drawn = windows(count=4)
    orders = [[round(float(pixels(drawn[4 * round_ + n]).mean())) for n in range(4)] for round_ in range(6)]
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    assert len({tuple(order) for order in orders}) > 1


def test_drawing_leaves_the_cached_case_as_it_was():
    drawn = windows()
    before = [(case["image"].clone(), case["label"].clone(), len(case["label_cls_indices"])) for case in drawn.cases]
    for number in range(30):
        drawn[number]
    for (image, label, indices), case in zip(before, drawn.cases, strict=True):
        assert torch.equal(image, case["image"])
        assert torch.equal(label, case["label"])
        assert indices == len(case["label_cls_indices"])
        assert case["image"].applied_operations == []


def test_half_of_the_windows_are_centred_on_the_foreground():
    drawn = windows()
    held = [bool(drawn[n][0]["label"][0, 2:4, 2:4, 2:4].any()) for n in range(200)]
    assert 0.4 < np.mean(held) < 0.7  # background windows may lie near it too


@pytest.mark.parametrize("window", [[8, 8, 8], [9, 9, 9], [16, 12, 8]])
def test_turned_windows_hold_no_padded_corner(window):
    room = room_for(window, 10.0, 0.1)
    ones = {"image": torch.ones(1, *room)}
    turn = turning("image", window, [np.radians(10)] * 3, [0.1] * 3)
    turn.set_random_state(0)
    assert min(float(turn(ones)["image"].min()) for _ in range(100)) == pytest.approx(1.0, abs=1e-5)
    tight = {"image": torch.ones(1, *[edge - 2 for edge in room])}  # the margin is no larger than it has to be
    extreme = turning("image", window, [(np.radians(10),) * 2] * 3, [(0.1, 0.1)] * 3)
    assert float(extreme(ones)["image"].min()) == pytest.approx(1.0, abs=1e-5)
    assert float(extreme(tight)["image"].min()) < 0.99


def test_margins():
    assert margin_for([96] * 3, 0.0, 0.0) == [0, 0, 0]
    assert margin_for([11] * 3, 0.0, 0.1) == [1, 1, 1]  # half of 10 voxels, a tenth more: 0.5, rounded up
    assert room_for([96] * 3, 10.0, 0.1) == [
        edge + 2 * side for edge, side in zip([96] * 3, margin_for([96] * 3, 10.0, 0.1), strict=True)
    ]


def test_numbers_go_on_where_the_last_epoch_ended():
    numbers = PatchNumbers(per_epoch=4)
    assert (list(numbers), len(numbers)) == ([0, 1, 2, 3], 4)
    numbers.set_epoch(5)
    assert list(numbers) == [20, 21, 22, 23]


def test_epochs():
    assert epochs_of(600, 50) == 12
    with pytest.raises(ConfigError, match=r"iterations \(600\).*validate_every \(70\)"):
        epochs_of(600, 70)
    for bad in (0, "10", 2.5, True):
        with pytest.raises(ConfigError, match="validate_every.*1"):
            epochs_of(600, bad)  # type: ignore[arg-type]
