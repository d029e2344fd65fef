"""Layers whose statistics move in evaluation mode are stopped when they are frozen, or refused."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from monai_tl.errors import TransferError
from monai_tl.networks.build import build_network
from monai_tl.networks.moving_statistics import resume_moving_statistics, stop_moving_statistics
from monai_tl.transfer.freeze import freeze, frozen_sha256
from tests.conftest import mentions


class ContinuousNorm(nn.BatchNorm3d):
    """Normalises by the batch always, as the norm of Models Genesis and SuPreM does."""

    def forward(self, x):
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, True, self.momentum, self.eps
        )


class CountingNorm(nn.BatchNorm3d):
    """Counts its calls, whatever its momentum."""

    def forward(self, x):
        self.num_batches_tracked += 1
        return super().forward(x)


class ItsOwn(nn.BatchNorm3d):
    """A stranger that behaves."""

    def forward(self, x):
        return super().forward(x) * 2


class Normed(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, norm: type[nn.Module] = ContinuousNorm) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv3d(in_channels, 4, 3, padding=1), norm(4), nn.ReLU())
        self.body = nn.Sequential(nn.Conv3d(4, 4, 3, padding=1), norm(4), nn.ReLU())
        self.head = nn.Conv3d(4, out_channels, 1)

    def forward(self, x):
        return self.head(self.body(self.stem(x)))


def normed(norm: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return build_network(Normed, 1, 2, stages={"stem": ["stem"], "body": ["body"], "head": ["head"]}, norm=norm)


def step(network: nn.Module) -> None:
    optimizer = torch.optim.SGD([weight for weight in network.parameters() if weight.requires_grad], lr=0.1)
    network.train()(torch.randn(2, 1, 8, 8, 8)).square().mean().backward()
    optimizer.step()


def test_evaluation_mode_alone_does_not_hold_them():
    """The naive way, which this is for."""
    network = normed(ContinuousNorm)
    before = network.stem[1].running_mean.clone()
    network.stem.eval().requires_grad_(False)
    step_input = torch.randn(2, 1, 8, 8, 8)
    network.stem(step_input)
    assert not torch.equal(network.stem[1].running_mean, before)


@pytest.mark.parametrize("norm", [ContinuousNorm, ItsOwn])
def test_frozen_statistics_stay_bit_for_bit_and_others_move(norm):
    network = normed(norm)
    freeze(network, 1)
    held, moving = frozen_sha256(network), network.body[1].running_mean.clone()
    for twin in (copy.deepcopy(network), network):
        step(twin)
        step(twin)
        assert frozen_sha256(twin) == held
        assert not torch.equal(twin.body[1].running_mean, moving)


def test_the_output_follows_the_batch_as_before():
    network = normed(ContinuousNorm).eval()
    image = torch.randn(2, 1, 8, 8, 8)
    before = network(image)
    freeze(network, 2)
    assert torch.equal(network(image), before)


def test_a_layer_that_is_trained_again_gets_its_momentum_back():
    layer = ContinuousNorm(4, momentum=0.3)
    stop_moving_statistics({"norm": layer})
    stop_moving_statistics({"norm": layer})
    assert layer.momentum == 0
    resume_moving_statistics(layer)
    assert layer.momentum == 0.3
    resume_moving_statistics(layer)
    assert layer.momentum == 0.3


def test_a_layer_that_cannot_be_stopped_is_refused_by_name_and_nothing_is_frozen():
    network = normed(CountingNorm)
    with pytest.raises(TransferError) as caught:
        freeze(network, 1)
    mentions(str(caught.value), "stem.1 (CountingNorm) … evaluation mode … --norm track")
    assert all(weight.requires_grad for weight in network.parameters())
    assert network.train().stem.training
    assert network.stem[1].momentum == 0.1
    freeze(network, 1, norm="track")


def test_a_trial_changes_neither_the_layer_nor_the_random_state():
    layer = ContinuousNorm(4)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    torch.manual_seed(1)
    expected = torch.randn(3)
    torch.manual_seed(1)
    stop_moving_statistics({"norm": layer})
    assert torch.equal(torch.randn(3), expected)
    assert layer.training
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
