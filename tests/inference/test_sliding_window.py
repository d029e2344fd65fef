"""Prediction windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_tl.device import MixedPrecisionInferer
from monai_tl.imaging.normalise import NormaliseImaged
from monai_tl.inference.postprocess import not_background, region_probabilities
from monai_tl.inference.sliding_window import FittedSlidingWindow
from tests.conftest import mentions


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
    assert torch.allclose(region_probabilities(True)(logits), torch.tensor(0.75))
    assert region_probabilities(True)(torch.zeros(2, 3, 4, 5)).shape == (1, 3, 4, 5)


def test_what_lies_above_the_background_is_kept_whatever_its_value():
    image = torch.full((2, 4, 4, 4), -0.5)
    image[1, 1, 2, 3] = -0.4
    kept = not_background(image)
    assert kept.sum() == 1
    assert bool(kept[1, 1, 2, 3])


def head(background, tissue=(100.0, 500.0)):
    """A head of 8×8×8 voxels in a volume of 16×16×16."""
    volume = torch.full((1, 16, 16, 16), float(background))
    volume[:, 4:12, 4:12, 4:12] = torch.linspace(*tissue, 512).reshape(8, 8, 8)
    return volume


@pytest.mark.parametrize(
    ("normalisation", "image"),
    [
        ("zscore_volume", head(0)),
        ("zscore_nonzero", head(0)),
        ("minmax", head(0)),
        ("percentile(0.5,99.5)", head(0)),
        ("window(-175,250)", head(-1024, (-100, 250))),
        ("window(-175,250)", head(0, (20, 80))),  # a masked head: 0 HU is water and lies inside the window
        ("fixed(40,80,-175,250)", head(-1024, (-100, 250))),
        ("fixed(40,80)", head(-1024, (-100, 250))),
        ("fixed(300,1e6)", head(0)),  # all intensities become nearly equal
        ("fixed(300,1e-3)", head(0.1)),  # and here large, so that rounding is too
    ],
)
@pytest.mark.parametrize("bright", [False, True])
def test_the_box_of_a_head_is_found_whatever_the_normalisation(normalisation, image, bright):
    """Also if one voxel is 100 times as bright as the head."""
    if bright:
        image = image.clone()
        image[0, 8, 8, 8] = 50_000
    normalised = NormaliseImaged("image", normalisation)({"image": image})["image"]
    noise = torch.empty_like(normalised).uniform_(-1, 1, generator=torch.Generator().manual_seed(0))
    resampled = normalised * (1 + 3e-7 * noise)  # rounding
    inside = not_background(resampled)[0]
    found = [inside.any(dim=other).nonzero().flatten().tolist() for other in ((1, 2), (0, 2), (0, 1))]
    assert [(where[0], where[-1]) for where in found] == [(4, 11)] * 3


def test_z_scored_images_are_cropped_as_before():
    image = torch.from_numpy(np.random.default_rng(0).gamma(2, 50, (2, 20, 20, 20)).astype(np.float32))
    image[:, :6] = image[:, :, :6] = 0
    for name in ("zscore_volume", "zscore_nonzero"):
        normalised = NormaliseImaged("image", name)({"image": image})["image"]
        before = (normalised - normalised[:, :1, :1, :1]).abs() > 1e-3
        assert torch.equal(not_background(normalised), before)


def out_of_memory_above(edge):
    def network(window):
        if max(window.shape[2:]) > edge:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return window.clone()

    return network


def test_out_of_memory_a_smaller_plan_is_tried_and_said(caplog):
    image = torch.rand(1, 1, 100, 100, 60)
    answer = FittedSlidingWindow([96, 96, 96])(image, out_of_memory_above(50))
    assert torch.allclose(answer, image, atol=1e-6)
    (warning,) = caplog.messages
    mentions(warning, "out of memory … 96×96×60 … 48×48×32")


def test_when_no_plan_fits_the_error_comes_out():
    with pytest.raises(RuntimeError, match="out of memory"):
        FittedSlidingWindow([64, 64, 64])(torch.rand(1, 1, 64, 64, 64), out_of_memory_above(10))


def test_another_error_is_not_taken_for_it():
    calls = []

    def network(window):
        calls.append(window.shape)
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        FittedSlidingWindow([64, 64, 64])(torch.rand(1, 1, 64, 64, 64), network)
    assert len(calls) == 1, "no smaller plan is tried"


class Halved(torch.nn.Module):
    """Takes even edges only, and notes the size of each window."""

    def __init__(self):
        super().__init__()
        self.pool = torch.nn.AvgPool3d(2)
        self.seen = []

    def forward(self, x):
        self.seen.append(tuple(x.shape[2:]))
        return torch.nn.functional.interpolate(self.pool(x), scale_factor=2)


@pytest.mark.parametrize(
    ("size", "window", "seen"),
    [((7, 9, 12), (16, 16, 16), (8, 10, 12)), ((20, 20, 20), (9, 11, 16), (8, 10, 16)), ((6, 6, 6), (6, 6, 6), (6, 6, 6))],
)
def test_windows_and_images_are_fitted_to_the_sizes_that_a_network_takes(size, window, seen):
    """An image that is too small is padded, and the answer has its own size."""
    network, image = Halved(), torch.rand(1, 1, *size)
    inferer = MixedPrecisionInferer(FittedSlidingWindow(window, overlap=0), torch.device("cpu"), "float32")
    answer = inferer(image, network)
    assert answer.shape == image.shape
    assert network.seen[-1] == seen


def test_a_padded_image_s_answer_lies_on_its_own_voxels():
    class Same(Halved):
        def forward(self, x):
            if any(edge % 4 for edge in x.shape[2:]):
                raise ValueError("multiples of 4")
            return 2 * x

    image = torch.rand(1, 1, 5, 6, 9)
    assert torch.allclose(FittedSlidingWindow((8, 8, 8))(image, Same()), 2 * image, atol=1e-6)


def test_a_padded_image_goes_on_as_it_ends():
    """As the patches of the training do: zeros would be tissue to a network whose background is -0.8."""

    class Sees(Halved):
        def forward(self, x):
            self.lowest, self.highest = float(x.min()), float(x.max())
            return super().forward(x)

    network = Sees()
    FittedSlidingWindow((8, 8, 8))(torch.full((1, 1, 7, 5, 8), -0.8), network)
    assert network.seen[-1] == (8, 6, 8)
    assert network.lowest == network.highest == pytest.approx(-0.8)
