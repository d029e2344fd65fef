"""L2-SP: the penalty and its gradient against hand-worked values."""

from __future__ import annotations

import math

import pytest
import torch
from monai.engines import SupervisedTrainer
from monai.losses import DiceCELoss
from torch import nn
from torch.utils.data import DataLoader

from monai_tl.errors import ConfigError, TransferError
from monai_tl.training.losses import IgnoreVoxels
from monai_tl.transfer.freeze import freeze
from monai_tl.transfer.lora import add_lora
from monai_tl.transfer.rates import parameter_groups
from monai_tl.transfer.source_distance import LossWithSource

HEAD = ("head.weight", "head.bias")


class Nothing(nn.Module):
    """A loss of 0, so that only the penalty has a gradient."""

    def forward(self, prediction: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return 0.0 * prediction.sum()


def move(network: nn.Module, by: float = 0.5) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(by * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))


def penalty_of(loss: LossWithSource) -> torch.Tensor:
    return loss(torch.zeros(1), torch.zeros(1))


def test_the_gradient_is_the_distance_for_transferred_weights_and_the_weight_for_fresh_ones(tiny):
    network = tiny()
    start = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    loss = LossWithSource(Nothing(), network, HEAD, alpha=0.3, beta=0.07)
    move(network)
    penalty_of(loss).backward()
    for name, parameter in network.named_parameters():
        if parameter.ndim == 1:  # biases and norms are free
            assert parameter.grad is None, name
        elif name in HEAD:
            assert torch.allclose(parameter.grad, 0.07 * parameter, rtol=0, atol=1e-6), name
        else:
            assert torch.allclose(parameter.grad, 0.3 * (parameter - start[name]), rtol=0, atol=1e-6), name


def test_the_penalty_is_that_of_the_paper(tiny):
    network = tiny()
    loss = LossWithSource(Nothing(), network, HEAD)
    start = {name: parameter.detach().double() for name, parameter in network.named_parameters()}
    start = {name: value.clone() for name, value in start.items()}
    move(network)
    kernels = {name: p.detach().double() for name, p in network.named_parameters() if p.ndim > 1}
    distance = sum(float((value - start[name]).square().sum()) for name, value in kernels.items() if name not in HEAD)
    size = float(kernels["head.weight"].square().sum())
    assert penalty_of(loss).item() == pytest.approx(0.1 / 2 * distance + 0.01 / 2 * size, rel=1e-6)
    assert float(loss.penalty) == pytest.approx(0.1 / 2 * distance + 0.01 / 2 * size, rel=1e-6)


def test_at_the_start_transferred_weights_cost_nothing(tiny):
    network = tiny()
    assert penalty_of(LossWithSource(Nothing(), network, HEAD, beta=0)).item() == 0.0
    assert penalty_of(LossWithSource(Nothing(), network, HEAD)).item() == pytest.approx(
        0.005 * network.head.weight.square().sum().item(), rel=1e-6
    )


def test_the_start_is_that_of_the_transfer_even_if_weights_are_restored_later(tiny):
    """As in a resumed run, which loads its weights after this loss was built."""
    network = tiny()
    loss = LossWithSource(Nothing(), network, HEAD, beta=0)
    network.load_state_dict(tiny(seed=1).state_dict())
    expected = sum(
        (p - q).square().sum().item()
        for (name, p), q in zip(tiny(seed=1).named_parameters(), tiny().parameters(), strict=True)
        if p.ndim > 1 and name not in HEAD
    )
    assert penalty_of(loss).item() == pytest.approx(0.05 * expected, rel=1e-5)


def test_frozen_weights_add_nothing_until_they_are_trained(tiny):
    network = tiny()
    freeze(network, ["first"])
    loss = LossWithSource(Nothing(), network, HEAD, beta=0)
    with torch.no_grad():
        network.first.conv.weight += 1
    assert penalty_of(loss).item() == 0.0
    network.first.conv.weight.requires_grad_(True)
    assert penalty_of(loss).item() == pytest.approx(0.05 * network.first.conv.weight.numel(), rel=1e-5)


def test_new_channels_stay_near_where_they_start_and_known_ones_get_no_gradient(tiny):
    network = tiny(channels=2)
    freeze(network, ["first"], trained_inputs={"first.conv.weight": [1]})
    loss = LossWithSource(Nothing(), network, HEAD, alpha=1, beta=0)
    with torch.no_grad():
        network.first.conv.weight[:, 1] += 2
    network(torch.randn(1, 2, 4, 4, 4))  # the mask is set in a forward pass
    penalty_of(loss).backward()
    gradient = network.first.conv.weight.grad
    assert torch.equal(gradient[:, 0], torch.zeros_like(gradient[:, 0]))
    assert torch.allclose(gradient[:, 1], torch.full_like(gradient[:, 1], 2.0))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_does_not_round_the_penalty(tiny, dtype):
    network = tiny()
    loss = LossWithSource(Nothing(), network, HEAD)
    move(network, by=1e-3)
    expected = penalty_of(loss).item()
    with torch.autocast("cpu", dtype=dtype):
        assert penalty_of(loss).item() == expected


def test_the_other_loss_is_added_and_gets_lists_as_they_are(tiny):
    network = tiny()
    logits, label = torch.randn(1, 2, 4, 4, 4), torch.randint(-1, 2, (1, 1, 4, 4, 4)).float()
    other = IgnoreVoxels(DiceCELoss(to_onehot_y=True, softmax=True), softmax=True)
    loss = LossWithSource(other, network, HEAD)
    assert loss(logits, label).item() == pytest.approx(other(logits, label).item() + float(loss.penalty), rel=1e-6)
    assert not list(loss.parameters()), "the network is no part of the loss"

    class OfList(nn.Module):
        def forward(self, prediction, label):
            return sum(part.sum() for part in prediction)

    assert LossWithSource(OfList(), network, HEAD, beta=0)([torch.ones(1), torch.ones(2)], label).item() == 3.0


def test_in_training_a_strong_pull_keeps_the_weights(tiny):
    def distance(alpha: float) -> float:
        network = tiny()
        start = network.body.conv.weight.detach().clone()
        generator = torch.Generator().manual_seed(0)
        cases = [{"image": torch.randn(1, 8, 8, 8, generator=generator), "label": torch.ones(1, 8, 8, 8)} for _ in range(20)]
        SupervisedTrainer(
            device=torch.device("cpu"), max_epochs=1, epoch_length=20, train_data_loader=DataLoader(cases), network=network,
            optimizer=torch.optim.SGD(parameter_groups(network, 0.1)), decollate=False,
            loss_function=LossWithSource(DiceCELoss(to_onehot_y=True, softmax=True), network, HEAD, alpha=alpha),
        ).run()  # fmt: skip
        return (network.body.conv.weight - start).norm().item()

    assert distance(5.0) < 0.5 * distance(0.0)


@pytest.mark.parametrize("name", ["alpha", "beta"])
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "0.1", True])
def test_a_pull_that_is_no_number_from_0_is_refused(tiny, name, value):
    with pytest.raises(ConfigError, match=f"^{name} takes a number from 0.*{value!r}$"):
        LossWithSource(Nothing(), tiny(), HEAD, **{name: value})


def test_names_that_do_not_fit_the_network_are_refused(tiny):
    with pytest.raises(TransferError, match="no weight 'hed.weight'"):
        LossWithSource(Nothing(), tiny(), ["hed.weight"])
    with pytest.raises(TransferError, match="all weights are fresh"):
        LossWithSource(Nothing(), tiny(), list(tiny().state_dict()))
    network = tiny()
    add_lora(network, 2)
    with pytest.raises(TransferError, match="low-rank adapters"):
        LossWithSource(Nothing(), network, HEAD)
