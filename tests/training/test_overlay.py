"""The picture of a case shows what lies where."""

from __future__ import annotations

import numpy as np

from monai_tl.training.overlay import PREDICTION, TRUTH, three_planes


def pixels_of(picture, colour):
    return np.argwhere((picture == colour).all(axis=-1))


def test_outlines_lie_where_the_masks_are_in_radiological_view():
    image = np.random.default_rng(0).normal(size=(40, 40, 40))
    truth, prediction = np.zeros((2, 40, 40, 40), dtype=bool)
    truth[28:36, 16:24, 16:24] = True  # high i: the patient's left, on axes that point right, would be low i
    picture = three_planes(image, prediction, truth, height=80)
    assert picture.shape == (80, 240, 3)
    assert picture.dtype == np.uint8
    axial = pixels_of(picture[:, :80], TRUTH)
    assert axial[:, 1].max() < 40, "the patient's right is on the viewer's left"
    assert len(pixels_of(picture, PREDICTION)) == 0
    up = np.zeros_like(truth)
    up[16:24, 16:24, 30:38] = True
    coronal = pixels_of(three_planes(image, up, None, height=80)[:, 80:160], PREDICTION)
    assert coronal[:, 0].max() < 40, "up is up"


def test_nothing_found_and_a_constant_image_still_give_a_picture():
    empty = np.zeros((8, 9, 10), dtype=bool)
    assert three_planes(np.zeros((8, 9, 10)), empty, empty, height=30).shape[0] == 30
