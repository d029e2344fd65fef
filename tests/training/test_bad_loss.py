"""Which patch of a batch made the loss NaN."""

from __future__ import annotations

import torch

from monai_tl.training.bad_loss import describe_bad_loss
from tests.conftest import mentions


def batch(count: int = 3):
    torch.manual_seed(0)
    image = torch.rand(count, 2, 4, 4, 4)
    names = {"subject": [f"s{n}" for n in range(count)], "patch": torch.arange(7, 7 + count)}
    return names, {"image": image, "label": torch.zeros(count, 1, 4, 4, 4), "pred": image.clone()}


def mean(prediction, label):
    return (prediction - label).mean()


def test_an_image_that_is_not_finite_is_the_culprit_although_all_predictions_are():
    """Batch normalisation spreads it over the batch."""
    names, output = batch()
    output["image"][1, 0, 0, 0, :3] = torch.tensor([float("nan"), float("inf"), float("-inf")])
    output["pred"][:] = float("nan")
    message = describe_bad_loss(names, output, mean)
    mentions(message, "patch 2 of 3 … number 8 … subject s1 … 3 … infinite")
    assert "s0" not in message
    assert "s2" not in message
    assert "monai_tl check" in message


def test_the_loss_of_each_patch_finds_the_culprit_where_images_are_finite():
    names, output = batch()
    output["image"][2] *= 1e30
    message = describe_bad_loss(
        names, output, lambda prediction, label: ((prediction - label) * 1e30).mean() * (prediction.max() > 1)
    )
    assert message.count("subject") == 3, "none: no prediction is above 1"
    output["pred"][2] = float("inf")
    message = describe_bad_loss(names, output, mean)
    mentions(message, "patch 3 of 3 … number 9 … subject s2 … e+2")
    assert "s0" not in message


def test_a_finite_prediction_with_a_loss_that_is_not():
    names, output = batch(2)
    output["label"][0] = 1e38
    message = describe_bad_loss(names, output, lambda prediction, label: (label * label).sum() + prediction.mean())
    mentions(message, "subject s0")
    assert "s1" not in message


def test_where_all_are_alike_all_are_named():
    names, output = batch(10)
    output["pred"][:] = float("nan")
    message = describe_bad_loss(names, output, None)
    assert all(f"subject s{n}" in message for n in range(8))
    assert "and 2 more" in message
    mentions(message, "learning_rate … precision float32")


def test_a_batch_of_another_make_still_gives_the_place():
    _, output = batch(2)
    output["image"][0, 0, 0, 0, 0] = float("nan")
    mentions(describe_bad_loss(None, output, None), "patch 1 of 2 … 1 … infinite")
    assert "lower learning_rate" in describe_bad_loss(None, {}, None)
