"""The sizes of images that a network takes: found by trying it, against hand-worked products of strides."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_tl.errors import ConfigError
from monai_tl.networks.build import build_network
from monai_tl.networks.input_sizes import InputSizes, input_sizes, refuse_unfit_window
from monai_tl.transfer.lora import add_lora
from tests.conftest import mentions

SMALL_UNETR = {"feature_size": 4, "hidden_size": 24, "mlp_dim": 32, "num_heads": 2}


class Strided(nn.Module):
    """Halves the resolution along each axis by a stride of its own, and restores it."""

    def __init__(self, *strides: int) -> None:
        super().__init__()
        self.down = nn.Conv3d(1, 4, strides, strides)
        self.norm = nn.BatchNorm3d(4)
        self.up = nn.ConvTranspose3d(4, 2, strides, strides)

    def forward(self, x):
        return self.up(self.norm(self.down(x)))


class Fixed(nn.Module):
    """Its weights depend on the size of the image."""

    def __init__(self, *size: int) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(1, 2, *size))

    def forward(self, x):
        return x.expand(-1, 2, -1, -1, -1) + self.position


class NeedsValues(Strided):
    """Looks at a value, as no tensor without values allows."""

    def forward(self, x):
        noise = float(torch.rand(1))
        return super().forward(x + (noise if float(x.mean()) else 0))


@pytest.mark.parametrize(
    ("network", "multiple", "least"),
    [
        (Strided(1, 1, 1), (1, 1, 1), (1, 1, 1)),
        (Strided(2, 3, 4), (2, 3, 4), (2, 3, 4)),
        (NeedsValues(2, 4, 2), (2, 4, 2), (2, 4, 2)),
        (build_network("SegResNet", 1, 2, init_filters=8), (8, 8, 8), (8, 8, 8)),
        (build_network("UNet", 1, 2, channels=[4, 8, 8], strides=[3, 2]), (6, 6, 6), (12, 12, 12)),
        (
            build_network("DynUNet", 1, 2, kernel_size=[3] * 3, strides=[1, [2, 2, 1], 2], upsample_kernel_size=[[2, 2, 1], 2]),
            (4, 4, 2),
            (8, 8, 4),  # a norm of each image needs more than one voxel
        ),
    ],
)  # fmt: skip
def test_edges_are_multiples_of_the_strides(network, multiple, least):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    sizes = input_sizes(network, 1, (24, 24, 24))
    assert (sizes.multiple, sizes.least, sizes.fixed) == (multiple, least, None)
    assert torch.equal(torch.get_rng_state(), state)
    after = network.state_dict()
    assert all(after[name].device.type == "cpu" and torch.equal(after[name], value) for name, value in before.items())
    with torch.no_grad():
        assert network.eval()(torch.zeros(2, 1, *sizes.least)).shape[2:] == sizes.least


def test_a_network_for_one_size_takes_only_this():
    sizes = input_sizes(Fixed(12, 10, 8), 1, (12, 10, 8))
    assert sizes == InputSizes(fixed=(12, 10, 8))
    assert sizes.around([40, 4, 4]) == sizes.within([40, 4, 4]) == [12, 10, 8]
    assert str(sizes) == "only 12 × 10 × 8 voxels"
    with pytest.raises(ConfigError) as caught:
        input_sizes(Fixed(12, 10, 8), 1, (16, 16, 16))
    mentions(str(caught.value), "Fixed takes no images of 16 × 16 × 16 voxels")


def test_sizes_near_another_one():
    sizes = InputSizes(multiple=(8, 8, 4), least=(16, 16, 8))
    assert sizes.around([17, 16, 1]) == [24, 16, 8]
    assert sizes.within([17, 23, 1]) == [16, 16, 8]
    assert InputSizes().around([5, 6, 7]) == InputSizes().within([5, 6, 7]) == [5, 6, 7]


@pytest.mark.parametrize(
    ("network", "window", "facts"),
    [
        (build_network("SegResNet", 1, 2, init_filters=8), [20, 16, 16], "SegResNet … of 8 voxels … [16,16,16] or [24,16,16]"),
        (Fixed(16, 16, 16), [20, 20, 20], "[20,20,20] … Fixed"),
        (build_network("UNet", 1, 2, channels=[4, 8, 8], strides=[2, 2]), [4, 4, 4], "[4,4,4] … UNet … from 8 on … [8,8,8]"),
    ],
)  # fmt: skip
def test_a_training_patch_that_does_not_fit_is_refused_with_those_that_do(network, window, facts):
    with pytest.raises(ConfigError) as caught:
        refuse_unfit_window(network, 1, window)
    mentions(str(caught.value), "window", facts)


def test_a_norm_over_the_batch_may_need_more_patches():
    network = build_network("FlexibleUNet", 1, 2)
    refuse_unfit_window(network, 1, [32, 32, 32], batch_size=2)
    with pytest.raises(ConfigError) as caught:
        refuse_unfit_window(network, 1, [32, 32, 32], batch_size=1)
    mentions(str(caught.value), "[32,32,32] … FlexibleUNet with batch_size 1 … more than 1 value per channel")


def test_a_network_that_returns_several_tensors_is_refused_by_name():
    class Two(Strided):
        def forward(self, x):
            return [super().forward(x), x]

    with pytest.raises(ConfigError) as caught:
        refuse_unfit_window(Two(1, 1, 1), 1, [8, 8, 8])
    mentions(str(caught.value), "Two returns 2 tensors in training … one")


def test_adapters_are_tried_without_values_too():
    """With values, the first validation of a network on a CPU would wait a minute or more."""
    network, places = build_network("BasicUNet", 1, 2, features=(4, 4, 8, 8, 8, 4)), set()
    add_lora(network, 2)
    network.conv_0.register_forward_pre_hook(lambda module, inputs: places.add(inputs[0].device.type))
    assert str(input_sizes(network, 1, (32, 32, 32))) == str(input_sizes(build_network("BasicUNet", 1, 2), 1, (32, 32, 32)))
    assert places == {"meta"}
