"""Mutual information, thresholds and head masks, held against what is known."""

from __future__ import annotations

import numpy as np
import pytest

from monai_tl.preparation.similarity import compare_images, head_mask, mutual_information, otsu


def test_mutual_information_by_hand():
    rng = np.random.default_rng(0)
    coin = rng.permutation(np.repeat([0.0, 1.0], 5000))
    assert mutual_information(coin, 5 - 3 * coin) == pytest.approx(1.0), "bit"
    assert mutual_information(np.zeros(40), np.arange(40.0)) == 0
    assert mutual_information(np.arange(31.0), np.arange(31.0)) == 0, "fewer pairs than bins"
    image, other = rng.normal(size=(2, 64_000)).astype(np.float32)
    assert mutual_information(image, -np.exp(image)) == pytest.approx(5.0, abs=1e-3), "log2(32): each determines the other"
    chance = 31 * 31 / (2 * image.size * np.log(2))  # Miller and Madow: the bias of counts
    assert mutual_information(image, other) == pytest.approx(chance, rel=0.15)


def test_overlap_and_cover_by_hand():
    head, other, seen = np.zeros((3, 10, 10, 10), bool)
    head[:, :, 2:8], other[:, :, 4:], seen[:, :, :6] = True, True, True
    voxels = np.random.default_rng(0).normal(size=head.shape)
    fit = compare_images(voxels, voxels, head, other, seen)
    assert fit.covered == pytest.approx(4 / 6)
    assert fit.overlap == pytest.approx(2 * 2 / (4 + 2))
    assert fit.mutual_information > 4


def test_a_threshold_lies_in_the_middle_of_the_gap():
    values = np.concatenate([np.linspace(0, 10, 500), np.linspace(90, 100, 200)])
    assert otsu(values) == pytest.approx(50, abs=1)


def test_the_head_is_whole_although_dark_bone_parts_brain_and_scalp():
    distance = np.linalg.norm(np.indices((48, 48, 48)) - 23.5, axis=0)
    voxels = np.where(distance < 10, 500.0, np.where(distance < 17, 20.0, np.where(distance < 20, 800.0, 10.0)))
    voxels += np.random.default_rng(0).normal(0, 5, voxels.shape)
    mask = head_mask(voxels, np.ones(3))
    assert mask[distance < 19].all()
    assert not mask[distance > 23].any()
