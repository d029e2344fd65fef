"""Prediction windows."""

from __future__ import annotations

import torch

from monai_tl.inference.foreground import foreground_probability, not_background
from monai_tl.inference.windows import FittedSlidingWindow


def test_a_window_is_no_larger_than_the_image():
    seen = []

    def network(window):
        seen.append(tuple(window.shape[2:]))
        return window.clone()  # MONAI weighs what it gets in place

    image = torch.rand(1, 1, 10, 20, 12)
    assert torch.allclose(FittedSlidingWindow([16] * 3, overlap=0.25)(image, network), image, atol=1e-6)
    assert set(seen) == {(10, 16, 12)}
    assert len(seen) == 2


def test_foreground_is_the_softmax_of_the_last_class():
    logits = torch.tensor([0.0, torch.log(torch.tensor(3.0))]).reshape(2, 1, 1, 1)
    assert torch.allclose(foreground_probability(logits), torch.tensor(0.75))
    assert foreground_probability(torch.zeros(2, 3, 4, 5)).shape == (1, 3, 4, 5)


def test_what_lies_above_the_background_is_kept_whatever_its_value():
    image = torch.full((2, 4, 4, 4), -0.5)
    image[1, 1, 2, 3] = -0.4
    kept = not_background(image)
    assert kept.sum() == 1
    assert bool(kept[1, 1, 2, 3])
