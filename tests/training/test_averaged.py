"""Averaged weights: the numbers, what must not change by a bit, and a resume."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict

import pytest
import torch
from ignite.engine import Engine, Events
from torch import nn

from monai_tl.errors import ConfigError
from monai_tl.networks.build import build_network
from monai_tl.training.averaged import AverageWeights
from monai_tl.training.checkpoint import KeepState
from monai_tl.transfer.freeze import freeze, frozen_sha256
from monai_tl.transfer.lora import add_lora, change_rank, merged_state
from monai_tl.transfer.rates import parameter_groups


def small() -> nn.Module:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU())
    return nn.Sequential(OrderedDict(body=body, head=nn.Conv3d(4, 2, 1)))


def fill(network: nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(value)


def test_the_average_follows_its_formula():
    network = nn.Linear(3, 2)
    averaged, expected, values = AverageWeights(network, decay=0.6), 0.0, [3.0, 1.0, -2.0, 5.0, 4.0, 0.5, 7.0, 1.0]
    for updates, value in enumerate(values):
        fill(network, value)
        averaged.update()
        decay = min(0.6, (1 + updates) / (10 + updates)) if updates else 0.0
        expected = decay * expected + (1 - decay) * value
        assert averaged.network.weight.detach().numpy() == pytest.approx(expected, rel=1e-6)
    assert (1 + len(values)) / (10 + len(values)) < 0.6, "the warm-up"
    for _ in range(20):
        averaged.update()
    fill(network, 3.0)
    averaged.update()  # after more than 12 updates it is the decay itself
    assert averaged.network.bias.detach().numpy() == pytest.approx(0.6 * 1.0 + 0.4 * 3.0, rel=1e-3)


def test_frozen_values_are_in_the_average_bit_for_bit():
    """0.999 · w + 0.001 · w is not w, and the average of two negative zeros must not be a positive one."""
    network = small()
    with torch.no_grad():
        network.body[0].weight[0].fill_(-0.0)
        network.body[0].weight[1].fill_(1e-42)  # a denormal number
    freeze(network, ["body"])
    averaged, held = AverageWeights(network), frozen_sha256(network)
    optimizer = torch.optim.AdamW(parameter_groups(network, 0.1))
    for _ in range(30):
        network.train()(torch.randn(2, 1, 4, 4, 4)).square().mean().backward()
        optimizer.step()
        averaged.update()
    assert frozen_sha256(averaged.network) == frozen_sha256(network) == held
    assert not torch.equal(averaged.network.head.weight, network.head.weight)


def test_buffers_are_copied_and_stay_apart():
    network = small()
    averaged = AverageWeights(network)
    for _ in range(3):
        network.train()(torch.randn(2, 1, 4, 4, 4))
        averaged.update()
    norm, copied = network.body[1], averaged.network.body[1]
    assert torch.equal(copied.running_mean, norm.running_mean)
    assert copied.num_batches_tracked == 3
    assert copied.num_batches_tracked.dtype == torch.int64
    network(torch.randn(2, 1, 4, 4, 4))
    assert copied.num_batches_tracked == 3, "until the next update"
    assert not torch.equal(copied.running_mean, norm.running_mean)


def test_averaged_adapters_are_merged_to_a_change_of_their_rank():
    network = build_network("HighRes3DNet", 1, 2)
    source = {name: value.clone() for name, value in network.state_dict().items()}
    add_lora(network, 2)
    averaged = AverageWeights(network)
    optimizer = torch.optim.AdamW(parameter_groups(network, 1e-2))
    for _ in range(3):
        optimizer.zero_grad()
        network(torch.randn(1, 1, 8, 8, 8)).square().mean().backward()
        optimizer.step()
        averaged.update()
    merged = merged_state(averaged.network)
    assert list(merged) == list(source)
    assert change_rank(source["conv_0.conv.weight"], merged["conv_0.conv.weight"]) == 2
    assert not torch.equal(merged["conv_0.conv.weight"], merged_state(network)["conv_0.conv.weight"])


@pytest.mark.parametrize("decay", [1, 1.0, -0.1, math.nan, "0.9", True])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(ConfigError, match=f"^decay takes a number.*{decay!r}$"):
        AverageWeights(small(), decay)


def train(folder, epochs, *, lora=False, resume=False):
    """Train on numbered batches; validation prefers the later epoch. Return the network, its average, the optimiser."""
    network = small()
    if lora:
        add_lora(network, 2)
    optimizer = torch.optim.AdamW(parameter_groups(network, 1e-2))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=10**6)
    evaluator = Engine(lambda engine, batch: None)

    def step(engine, batch):
        optimizer.zero_grad()
        image = torch.randn(2, 1, 4, 4, 4, generator=torch.Generator().manual_seed(engine.state.iteration))
        network.train()(image).square().mean().backward()
        optimizer.step()

    trainer = Engine(step)
    trainer.state.epoch_length = 3
    averaged = AverageWeights(network, decay=0.9)
    averaged.attach(trainer)
    evaluator.state.metrics["val_dice"] = 0.0

    def validate(engine):
        evaluator.state.metrics["val_dice"] = 0.1 * engine.state.epoch

    trainer.add_event_handler(Events.EPOCH_COMPLETED, validate)
    KeepState(folder, network, optimizer, scheduler, evaluator, resume=resume, averaged=averaged).attach(trainer)
    trainer.run(range(3), max_epochs=epochs, epoch_length=3)
    return network, averaged


@pytest.mark.parametrize("lora", [False, True])
def test_the_best_file_holds_the_averaged_network_and_a_resume_goes_on_bit_for_bit(tmp_path, lora):
    network, averaged = train(tmp_path / "whole", 4, lora=lora)
    best = torch.load(tmp_path / "whole" / "model.pt", weights_only=True)
    assert list(best) == list(small().state_dict()), "an ordinary network's"
    expected = merged_state(averaged.network)
    assert all(torch.equal(value, expected[name]) for name, value in best.items())
    assert not torch.equal(best["head.weight"], network.head.weight)

    train(tmp_path / "parts", 2, lora=lora)
    last = torch.load(tmp_path / "parts" / "last.pt", weights_only=True)
    assert last["averaged"]["n_averaged"] == 6
    train(tmp_path / "parts", 4, lora=lora, resume=True)
    for name in ("model.pt", "last.pt"):
        one, two = (torch.load(tmp_path / folder / name, weights_only=True) for folder in ("whole", "parts"))
        assert flat(one) == flat(two)


def flat(content):
    """Nested states as plain values, so that they can be compared bit for bit."""
    if isinstance(content, torch.Tensor):
        return content.dtype, tuple(content.shape), content.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    if isinstance(content, dict):
        return {key: flat(value) for key, value in content.items()}
    return [flat(value) for value in content] if isinstance(content, list | tuple) else content


def test_an_average_that_is_not_finite_is_never_written(tmp_path):
    network, averaged = train(tmp_path, 1)
    fill(averaged.network, math.inf)
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    evaluator, trainer = Engine(lambda *_: None), Engine(lambda *_: None)
    evaluator.state.metrics["val_dice"] = 0.9
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1)
    before = copy.deepcopy((tmp_path / "model.pt").read_bytes())
    with pytest.raises(ConfigError, match=r"averaged\.module\.body"):
        KeepState(tmp_path, network, optimizer, scheduler, evaluator, averaged=averaged).keep(trainer)
    assert (tmp_path / "model.pt").read_bytes() == before
