"""Stages of a network that declares none: their order, and what cannot be derived."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from monai_tl.errors import TransferError
from monai_tl.networks.build import build_network
from monai_tl.networks.derived_stages import derive_stages
from monai_tl.networks.known import unused_weights
from monai_tl.networks.stages import stages
from monai_tl.transfer.freeze import freeze
from tests.conftest import mentions
from tests.networks.conftest import note_gradient, patch_of, small


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(inputs, outputs, 3, stride, padding=1), nn.BatchNorm3d(outputs), nn.ReLU())


class Shaped(nn.Module):
    """A small U-Net, whose children are declared in another order than they run."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.out = nn.Sequential(nn.Conv3d(8, 8, 1), nn.ReLU(), nn.Conv3d(8, out_channels, 1))
        self.up = nn.ModuleList([nn.ConvTranspose3d(16, 8, 2, 2)])
        self.down = nn.ModuleList([conv(in_channels, 8), conv(8, 16, 2)])
        self.side = nn.Conv3d(16, out_channels, 1)  # of deep supervision

    def forward(self, x):
        first = self.down[0](x)
        second = self.down[1](first)
        self.side(second)
        return self.out(self.up[0](second) + first)


class InTurn(nn.Module):
    """Two blocks that take turns, in a container with others."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv3d(in_channels, 4, 1)
        self.wide = nn.ModuleList([nn.Conv3d(4, 4, 1), nn.Conv3d(4, 4, 1)])
        self.left, self.right = Pair(4), Pair(4)
        self.tail = nn.Conv3d(4, 4, 1)
        self.last = nn.Conv3d(4, out_channels, 1)

    def forward(self, x):
        x = self.wide[1](self.wide[0](self.stem(x)))
        x = self.right.one(self.left.one(x))
        x = self.right.two(self.left.two(x))
        return self.last(self.tail(x))


class Pair(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.two = nn.Conv3d(width, width, 1), nn.Conv3d(width, width, 1)


class Idle(nn.Module):
    """Has a block that never runs, and a weight that belongs to no layer."""

    def __init__(self, in_channels: int, out_channels: int, token: bool = False) -> None:
        super().__init__()
        self.stem, self.last = nn.Conv3d(in_channels, 4, 1), nn.Conv3d(4, out_channels, 1)
        if token:
            self.token = nn.Parameter(torch.zeros(1))
        else:
            self.spare = nn.Conv3d(4, 4, 1)

    def forward(self, x):
        return self.last(self.stem(x))


def test_the_order_is_that_of_the_layers_and_the_head_as_small_as_possible():
    found = derive_stages(build_network(Shaped, 1, 2))
    assert dict(found.prefixes) == {
        "down_0": ("down.0",),
        "down_1": ("down.1",),
        "up_0": ("up.0",),
        "out": ("out",),
        "head": ("out.2", "side"),
    }
    assert (found.encoder, found.decoder) == (("down_0", "down_1"), ("up_0", "out"))
    assert found.stage_of("out.0.weight") == "out"


def test_without_a_way_to_build_it_again_the_head_is_the_last_layer():
    assert derive_stages(Shaped(1, 2)).prefixes["head"] == ("out.2",)
    assert "side" in derive_stages(Shaped(1, 2)).names


def test_blocks_that_take_turns_are_one_stage():
    found = derive_stages(build_network(InTurn, 1, 2))
    assert found.names == ("stem", "wide_0", "wide_1", "left_to_right", "tail", "head")
    assert found.prefixes["left_to_right"] == ("left", "right")
    assert found.decoder == ()


@pytest.mark.parametrize(("token", "facts"), [(False, ["never run: spare.weight, spare.bias"]), (True, ["no layer … token"])])
def test_weights_that_no_stage_can_have_are_named(token, facts):
    with pytest.raises(TransferError) as caught:
        derive_stages(build_network(Idle, 1, 2, token=token))
    mentions(str(caught.value), "Idle", *facts, "declare its stages")


def test_a_network_that_takes_no_cube_is_refused_with_its_reason():
    class Picky(Idle):
        def forward(self, x):
            raise ValueError("only 17 voxels, please")

    with pytest.raises(TransferError) as caught:
        derive_stages(build_network(Picky, 1, 2))
    mentions(str(caught.value), "Picky … 16 to 128 voxels … only 17 voxels, please … declare its stages")


def test_a_network_that_computes_with_values_runs_on_the_cpu():
    class Asks(Shaped):
        def forward(self, x):
            return super().forward(x + float(x.mean()))

    assert derive_stages(build_network(Asks, 1, 2)).names == derive_stages(build_network(Shaped, 1, 2)).names


@pytest.mark.parametrize(
    "name",
    ["UNet", "DynUNet", "PlainConvUNet", "SegResNet", "SegResNetDS", "AttentionUnet", "BasicUNetPlusPlus", "RegUNet"],
)
def test_for_known_networks_taken_as_unknown_no_depth_leaves_a_gradient_path(name):
    found = derive_stages(small(name))
    assert len(found) >= 4
    for depth in range(1, len(found)):
        network = small(name)
        network.stage_map = found
        freeze(network, depth)
        held = [key for key, weight in network.named_parameters() if not weight.requires_grad]
        flow = list[tuple[str, bool]]()
        for key, module in network.named_modules():
            if found.stage_of(key) in found.names[:depth] and next(module.parameters(recurse=False), None) is not None:
                module.register_forward_hook(partial(note_gradient, flow, key))
        network.train()(patch_of(name, 1, batch=2)).square().mean().backward()
        assert not [key for key, needs in flow if needs], (depth, found.names[depth - 1])
        assert flow
        missing = {key for key, weight in network.named_parameters() if weight.grad is None}
        assert missing == set(held) | set(unused_weights(network))


def test_derived_stages_hold_every_weight():
    network = build_network(InTurn, 2, 3, stages="auto")
    assert stages(network).head == "head"
    before = {key: value.clone() for key, value in network.state_dict().items()}
    derive_stages(network)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())
