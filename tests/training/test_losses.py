"""The loss of overlapping regions, and voxels that count in no loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss, DiceLoss

from monai_tl.errors import ConfigError
from monai_tl.training.losses import DiceBCELoss, IgnoreVoxels, refuse_unfit_loss
from tests.conftest import mentions


def drawn(regions=2, batch=2, size=4, seed=0):
    """Return logits and masks (batch, region, i, j, k); each mask holds the next one, as nested regions do."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (batch, regions, size, size, size))
    field = random.uniform(size=(batch, 1, size, size, size))
    field[0] **= 3  # the first patch has more of each
    masks = np.concatenate([field < 0.6 / (1 + region) for region in range(regions)], axis=1).astype(float)
    return logits, masks


def by_hand(logits, masks, batch: bool) -> float:
    """Dice of sigmoids per region (or per region and patch), and binary cross-entropy over all voxels, in numpy."""
    probability = 1 / (1 + np.exp(-logits))
    axes = (0, 2, 3, 4) if batch else (2, 3, 4)
    both = (probability * masks).sum(axes)
    dice = 1 - (2 * both + 1e-5) / (probability.sum(axes) + masks.sum(axes) + 1e-5)
    entropy = -(masks * np.log(probability) + (1 - masks) * np.log(1 - probability))
    return float(dice.mean() + entropy.mean())


def tensors(*arrays):
    return [torch.as_tensor(array, dtype=torch.float32) for array in arrays]


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("regions", [1, 2, 3])
def test_dice_and_cross_entropy_of_a_sigmoid_per_region(regions, batch):
    logits, masks = drawn(regions)
    assert float(DiceBCELoss(batch)(*tensors(logits, masks))) == pytest.approx(by_hand(logits, masks, batch), rel=1e-5)
    assert by_hand(logits, masks, True) != pytest.approx(by_hand(logits, masks, False), rel=1e-3), "the cases differ"


def test_certain_logits_worked_by_hand():
    """Region one is right in both voxels; region two is 0.5 in both, of which one is true: Dice 0.5, entropy ln 2."""
    logits = torch.tensor([[30.0, -30.0], [0.0, 0.0]]).reshape(1, 2, 2, 1, 1)
    masks = torch.tensor([[1.0, 0.0], [1.0, 0.0]]).reshape(1, 2, 2, 1, 1)
    assert float(DiceBCELoss()(logits, masks)) == pytest.approx((0 + 0.5) / 2 + (0 + np.log(2)) / 2, abs=1e-4)


def test_masks_of_int8_are_as_good_as_floats():
    logits, masks = tensors(*drawn())
    assert float(DiceBCELoss()(logits, masks.to(torch.int8))) == float(DiceBCELoss()(logits, masks))


def test_monais_own_loss_takes_a_softmax_over_overlapping_regions():
    """The reason for DiceBCELoss: with perfect logits on two overlapping masks DiceCELoss(sigmoid=True) is not near 0."""
    masks = torch.ones(1, 2, 2, 2, 2)
    logits = 40 * (2 * masks - 1)
    assert float(DiceBCELoss()(logits, masks)) == pytest.approx(0, abs=1e-4)
    assert float(DiceCELoss(sigmoid=True, batch=True)(logits, masks)) > 1
    logits, masks = tensors(*drawn())
    ours, monais = (float(loss(logits, masks)) for loss in (DiceBCELoss(), DiceCELoss(sigmoid=True, batch=True)))
    assert ours != pytest.approx(monais, rel=0.01)


def softmax_pair():
    """Return MONAI's loss as train.yaml has it, logits of three classes and an index of them."""
    random = np.random.default_rng(1)
    logits = torch.as_tensor(random.normal(size=(2, 3, 4, 4, 4)), dtype=torch.float32)
    label = torch.as_tensor(random.integers(0, 3, (2, 1, 4, 4, 4)), dtype=torch.float32)
    return DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True), logits, label


def sigmoid_pair():
    return DiceBCELoss(), *tensors(*drawn())


PAIRS = pytest.mark.parametrize(("pair", "softmax"), [(softmax_pair, True), (sigmoid_pair, False)], ids=["softmax", "sigmoid"])


@PAIRS
def test_nothing_ignored_gives_the_plain_loss_to_the_bit(pair, softmax):
    loss, logits, label = pair()
    plain, wrapped = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    one, other = loss(plain, label), IgnoreVoxels(loss, softmax)(wrapped, label)
    one.backward()
    other.backward()
    assert float(one) == float(other)
    assert torch.equal(plain.grad, wrapped.grad)


@PAIRS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_ignored_voxels_have_no_gradient_and_the_others_have(pair, softmax, dtype):
    loss, logits, label = pair()
    label[..., 1] = -1
    logits = logits.to(dtype).requires_grad_()
    value = IgnoreVoxels(loss, softmax)(logits, label)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[..., 1] == 0).all()
    assert (logits.grad[..., 0] != 0).any()
    assert (logits.grad[..., 2] != 0).any()


@PAIRS
def test_what_a_network_says_of_ignored_voxels_does_not_matter(pair, softmax):
    loss, logits, label = pair()
    label[..., 1] = -1
    other = logits.clone()
    other[..., 1] = 100 * torch.randn_like(other[..., 1])
    ignore = IgnoreVoxels(loss, softmax)
    assert float(ignore(logits, label)) == float(ignore(other, label))


@PAIRS
def test_an_ignored_voxel_counts_as_certain_background_that_is_right(pair, softmax):
    """The loss is that of the plain loss with logits of ±10⁴ for the background there, whatever the label was."""
    loss, logits, label = pair()
    known, certain = label.clone(), logits.clone()
    label[..., 1], known[..., 1] = -1, 0
    certain[:, :, ..., 1] = -1e4
    if softmax:
        certain[:, 0, ..., 1] = 1e4
    assert float(IgnoreVoxels(loss, softmax)(logits, label)) == float(loss(certain, known))


def test_a_voxel_that_one_region_ignores_is_ignored_in_all():
    loss, logits, masks = sigmoid_pair()
    masks[:, :, 0, 0, 0] = -1
    ignore = IgnoreVoxels(loss, softmax=False)
    for region in range(2):
        half = masks.clone()
        half[:, region, 0, 0, 0] = 1
        assert float(ignore(logits, masks)) == float(ignore(logits, half))


def test_all_voxels_ignored_gives_no_loss():
    loss, logits, masks = sigmoid_pair()
    logits.requires_grad_()
    value = IgnoreVoxels(loss, softmax=False)(logits, torch.full_like(masks, -1))
    value.backward()
    assert float(value) == pytest.approx(0, abs=1e-5)
    assert (logits.grad == 0).all()


@pytest.mark.parametrize(
    "loss",
    [
        DiceCELoss(to_onehot_y=True, softmax=True),
        DiceCELoss(softmax=True),
        DiceLoss(to_onehot_y=True, softmax=True, squared_pred=True),
        DiceLoss(to_onehot_y=True, sigmoid=True),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_a_loss_with_a_softmax_is_refused_for_regions_with_a_sigmoid_each(loss):
    with pytest.raises(ConfigError) as refusal:
        IgnoreVoxels(loss, softmax=False)
    mentions(str(refusal.value), f"{type(loss).__name__} … softmax … monai_tl.training.losses.DiceBCELoss … background")
    if getattr(loss, "dice", loss).to_onehot_y:
        IgnoreVoxels(loss, softmax=True)


def test_the_cross_entropy_of_several_sigmoids_is_a_softmax_too():
    """MONAI's DiceCELoss(sigmoid=True): see above; of a single region it is binary."""
    for loss in (DiceCELoss(sigmoid=True), torch.nn.CrossEntropyLoss()):
        with pytest.raises(ConfigError) as refusal:
            refuse_unfit_loss(loss, softmax=False, regions=2)
        mentions(str(refusal.value), f"{type(loss).__name__} … softmax … monai_tl.training.losses.DiceBCELoss")
    refuse_unfit_loss(DiceCELoss(sigmoid=True), softmax=False, regions=1)
    refuse_unfit_loss(DiceBCELoss(), softmax=False, regions=2)
    refuse_unfit_loss(DiceLoss(sigmoid=True), softmax=False, regions=2)


@pytest.mark.parametrize("loss", [DiceBCELoss(), DiceCELoss(softmax=True)], ids=lambda loss: type(loss).__name__)
def test_a_loss_of_masks_is_refused_for_classes_that_exclude_each_other(loss):
    """Its masks would be compared with the index of the classes."""
    with pytest.raises(ConfigError) as refusal:
        IgnoreVoxels(loss, softmax=True)
    mentions(str(refusal.value), f"background … {type(loss).__name__} … softmax … to_onehot_y")


def test_a_loss_that_does_not_say_what_it_takes_is_used_as_it_is():
    class Mean(torch.nn.Module):
        def forward(self, logits, label):
            return logits.mean() + label.float().mean()

    logits, masks = tensors(*drawn())
    assert [float(IgnoreVoxels(Mean(), softmax)(logits, masks)) for softmax in (True, False)] == [
        float(Mean()(logits, masks))
    ] * 2
