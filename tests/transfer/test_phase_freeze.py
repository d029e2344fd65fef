"""Freezing for a while: nothing moves meanwhile, and afterwards all is as before."""

import copy

import pytest
import torch

from monai_tl.errors import TransferError
from monai_tl.networks.build import build_network
from monai_tl.transfer.freeze import freeze, frozen_sha256, frozen_values
from monai_tl.transfer.phase_freeze import stages_frozen


def settings(network):
    """Return what freezing changes: which weights require gradients, which modules have a mode of their own, what is listed."""
    return (
        {name: parameter.requires_grad for name, parameter in network.named_parameters()},
        {name: "train" in module.__dict__ for name, module in network.named_modules()},
        sorted(frozen_values(network)),
    )


def modes(network):
    return {name: module.training for name, module in network.named_modules()}


@pytest.mark.parametrize("norm", ["freeze", "track"])
@pytest.mark.parametrize("outer", [(), ("first",), ("body",)])
def test_all_is_released_that_was_frozen_and_nothing_else(tiny, outer, norm):
    network = tiny()
    freeze(network, outer)
    network.head.bias.requires_grad_(False)  # as for a strategy that trains only some weights
    before, expected = settings(network), modes(network.eval().train())
    with stages_frozen(network, ["first", "head"], norm=norm):
        network.train()
        assert network.first.norm.training == (norm == "track" and "first" not in outer)
        assert [name for name, parameter in network.named_parameters() if parameter.requires_grad] == (
            [] if "body" in outer else ["body.conv.weight", "body.norm.weight", "body.norm.bias"]
        )
    assert settings(network) == before
    assert modes(network) == expected
    assert modes(network.eval().train()) == expected


def test_released_modules_are_in_the_networks_own_mode(tiny):
    network = tiny().eval()
    with stages_frozen(network, ["first"]):
        network.train()
    assert network.first.norm.training
    with stages_frozen(network, ["first"]):
        network.eval()
    assert not network.first.norm.training


def test_an_error_inside_releases_too(tiny):
    network = tiny()
    before = settings(network)
    with pytest.raises(ZeroDivisionError), stages_frozen(network, ["first"]):
        raise ZeroDivisionError
    assert settings(network) == before


def test_an_unknown_stage_changes_nothing(tiny):
    network = tiny()
    before = settings(network)
    with pytest.raises(TransferError), stages_frozen(network, ["first", "boddy"]):
        pass
    assert settings(network) == before


def test_an_optimiser_with_state_neither_moves_nor_decays_frozen_weights(tiny):
    network, image = tiny(), torch.randn(2, 1, 6, 6, 6, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.5)

    def step():
        network.train()
        optimizer.zero_grad(set_to_none=False)  # MONAI's default
        network(image).square().mean().backward()
        optimizer.step()

    step()  # momentum of all weights
    state = copy.deepcopy(optimizer.state_dict()["state"][0])
    with stages_frozen(network, ["first"]):
        held, moving = frozen_sha256(network), network.head.weight.clone()
        step()
        step()
        assert frozen_sha256(network) == held
        assert not torch.equal(network.head.weight, moving)
    assert all(torch.equal(value, optimizer.state_dict()["state"][0][key]) for key, value in state.items())
    first = network.first.conv.weight.clone()
    step()
    assert not torch.equal(network.first.conv.weight, first)


def test_a_frozen_encoder_of_a_unet_has_no_graph_and_is_released():
    torch.manual_seed(0)
    network = build_network("SegResNet", 1, 2, init_filters=8, blocks_down=[1, 1], blocks_up=[1])
    outputs = []
    network.down_layers[1].register_forward_hook(lambda module, inputs, output: outputs.append(output.requires_grad))
    image = torch.randn(1, 1, 8, 8, 8)
    with stages_frozen(network, ["encoder"]):
        network.train()(image).sum().backward()
        assert all((p.grad is None) == name.startswith(("convInit", "down_layers")) for name, p in network.named_parameters())
    network(image).sum().backward()
    assert outputs == [False, True]
    assert all(parameter.grad is not None for parameter in network.parameters())


class ContinuousNorm(torch.nn.BatchNorm3d):
    """Normalises by the batch, and follows it, in evaluation mode too."""

    def forward(self, image):
        return torch.nn.functional.batch_norm(
            image, self.running_mean, self.running_var, self.weight, self.bias, True, self.momentum, self.eps
        )


def test_statistics_that_follow_every_batch_are_still_only_meanwhile(tiny):
    network, image = tiny(), torch.randn(1, 1, 6, 6, 6)
    network.first.norm = ContinuousNorm(4)
    with stages_frozen(network, ["first"]):
        network(image)
        assert not network.first.norm.running_mean.any()
    network(image)
    assert network.first.norm.running_mean.all()
