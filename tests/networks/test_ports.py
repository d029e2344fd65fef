"""The weights at both ends of every network, by name as verified, and by what they do."""

from __future__ import annotations

import copy

import pytest
import torch
from monai.networks.nets import BasicUNet
from torch import nn

from monai_tl.errors import TransferError
from monai_tl.networks.build import build_network
from monai_tl.networks.ports import find_ports
from tests.conftest import mentions
from tests.networks.conftest import ALL, SMALL, patch_of, small

IN, OUT = (1,), (0,)
INPUTS = {  # network -> all weights whose axis 1 counts image channels
    "HighRes3DNet": ["conv_0.conv.weight"],
    "AHNet": ["conv1.weight"],
    "AttentionUnet": ["model.0.conv.0.conv.weight"],
    "BasicUNet": ["conv_0.conv_0.conv.weight"],
    "BasicUNetPlusPlus": ["conv_0_0.conv_0.conv.weight"],
    "DiNTS": ["stem_down.0.mod.1.weight", "stem_down.1.mod.1.weight"],
    "DynUNet": ["input_block.conv1.conv.weight"],
    "DynUNet residual": ["input_block.conv1.conv.weight", "input_block.conv3.conv.weight"],
    "FlexibleUNet": ["encoder.conv1.weight"],
    "FlexibleUNet efficientnet": ["encoder._conv_stem.weight"],
    "HighResNet": ["blocks.0.conv.weight"],
    "MedNeXt": ["stem.weight"],
    "PlainConvUNet": ["encoder.stages.0.0.convs.0.conv.weight"],
    "ResidualEncoderUNet": ["encoder.stem.convs.0.conv.weight"],
    "SegResNet": ["convInit.conv.weight"],
    "SegResNetDS": ["encoder.conv_init.weight"],
    "SwinUNETR": ["swinViT.patch_embed.proj.weight", "encoder1.layer.conv1.conv.weight", "encoder1.layer.conv3.conv.weight"],
    "UNETR": [
        "vit.patch_embedding.patch_embeddings.weight",
        "encoder1.layer.conv1.conv.weight",
        "encoder1.layer.conv3.conv.weight",
    ],
    "UNet": ["model.0.conv.unit0.conv.weight", "model.0.residual.weight"],
    "UNet plain": ["model.0.conv.weight"],
    "VISTA3D": ["image_encoder.encoder.conv_init.weight"],
    "VNet": ["in_tr.conv_block.conv.weight"],
}
OUTPUTS = {  # network -> all weights that count classes, with their axes
    "HighRes3DNet": {"conv_2.conv.weight": OUT, "conv_2.conv.bias": OUT},
    "MedNeXt": {"out_0.conv_out.weight": (1,), "out_0.conv_out.bias": OUT},
    "UNet": {
        "model.2.0.conv.weight": (1,),
        "model.2.0.conv.bias": OUT,
        "model.2.1.conv.unit0.conv.weight": (0, 1),
        "model.2.1.conv.unit0.conv.bias": OUT,
    },
    "UNet plain": {"model.2.conv.weight": (1,), "model.2.conv.bias": OUT},
    "UNETR": {"out.conv.conv.weight": OUT, "out.conv.conv.bias": OUT},
    "SegResNet": {"conv_final.2.conv.weight": OUT, "conv_final.2.conv.bias": OUT},
    "VISTA3D": {"class_head.class_embeddings.weight": OUT},
    "VNet": {
        "out_tr.conv_block.conv.weight": OUT,
        "out_tr.conv_block.adn.N.weight": OUT,
        "out_tr.conv_block.adn.N.bias": OUT,
        "out_tr.conv2.weight": (0, 1),
        "out_tr.conv2.bias": OUT,
        "out_tr.conv_block.adn.N.running_mean": OUT,
        "out_tr.conv_block.adn.N.running_var": OUT,
    },
}
REPEATS_ITS_INPUT = ("VNet",)  # its image reaches the output without passing a kernel


def test_every_network_is_tried():
    assert {name.split()[0] for name in ALL} == set(SMALL)
    assert {name.split()[0] for name in INPUTS} >= {
        name for name in SMALL if not name.startswith(("MedicalNet", "MedNeXt", "SegResNet", "Reg"))
    }


@pytest.mark.parametrize("name", INPUTS)
def test_input_kernels_are_those_that_are_known(name):
    assert find_ports(small(name)).inputs == dict.fromkeys(INPUTS[name], IN)


@pytest.mark.parametrize("name", OUTPUTS)
def test_output_layers_are_those_that_are_known(name):
    assert find_ports(small(name)).outputs == OUTPUTS[name]


@pytest.mark.parametrize("name", ALL)
@torch.no_grad()
def test_an_input_kernel_acts_on_its_channel_alone(name):
    network = small(name, in_channels=2).eval()
    kernels = find_ports(network).inputs
    assert set(kernels.values()) == {IN}
    image = patch_of(name, 2)
    only_first = image.clone()
    only_first[:, 1] = 0
    alone, both = network(only_first), network(image)
    for key in kernels:
        before = network.get_parameter(key).clone()
        network.get_parameter(key)[:, 1] *= -2
        assert torch.equal(network(only_first), alone), f"{key}: the second channel is 0"
        assert not torch.equal(network(image), both), key
        network.get_parameter(key)[:] = before
    for key in kernels:  # together they are all that sees the channel
        network.get_parameter(key)[:, 1] = 0
    assert torch.equal(network(image), network(only_first)) == (name not in REPEATS_ITS_INPUT)


@pytest.mark.parametrize("name", ALL)
@torch.no_grad()
def test_output_layers_in_another_order_give_the_classes_in_that_order(name):
    network = small(name, out_channels=3).eval()
    image, order = patch_of(name, 1), [2, 0, 1]
    before = network(image)
    assert before.shape[1] == 3
    assert not torch.allclose(before, before[:, order])
    for key, axes in find_ports(network).outputs.items():
        for axis in axes:
            value = network.state_dict()[key]
            value.copy_(value.index_select(axis, torch.tensor(order)))
    torch.testing.assert_close(network(image), before[:, order], rtol=1e-4, atol=1e-4)


def test_axes_that_count_a_channel_several_times_are_named():
    settings = {**SMALL["UNETR"][0], "proj_type": "perceptron"}
    ports = find_ports(build_network("UNETR", 2, 2, **settings))
    weight = "vit.patch_embedding.patch_embeddings.1.weight"
    assert ports.inputs[weight] == (1,)
    assert ports.several == {weight: 16**3}
    assert find_ports(small("UNETR", in_channels=2)).several == {}
    assert find_ports(small("VNet", in_channels=2)).several == {}

    class Shuffled(nn.Module):
        def __init__(self, in_channels: int, out_channels: int) -> None:
            super().__init__()
            self.head = nn.Conv3d(in_channels, 8 * out_channels, 1)

    ports = find_ports(build_network(Shuffled, 2, 3, stages={"head": ["head"]}))
    assert ports.several == {"head.weight": 8, "head.bias": 8}


def test_layers_that_return_an_image_are_no_input_kernels():
    ports = find_ports(small("SegResNetVAE"))
    assert list(ports.inputs) == ["convInit.conv.weight"]
    assert ports.images == {"vae_conv_final.2.conv.weight": OUT, "vae_conv_final.2.conv.bias": OUT}


@pytest.mark.parametrize("name", ["UNet", "SwinUNETR"])  # SwinUNETR is built again on the CPU
def test_ports_are_found_without_a_change_of_the_random_state_or_of_the_network(name):
    network = small(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.randn(2)
    torch.manual_seed(3)
    find_ports(network)
    assert torch.equal(torch.randn(2), expected)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_network_that_cannot_be_built_again_is_refused():
    with pytest.raises(TransferError) as caught:
        find_ports(BasicUNet(features=(4, 4, 4, 4, 4, 4)))
    mentions(str(caught.value), "BasicUNet … build_network")


@pytest.mark.parametrize("channels", [3, 2])
def test_a_residual_block_of_as_many_features_as_images_is_no_other_network(channels):
    """Four features of 3 + 1 channels need no convolution beside the block: 3 + 2 do, as 3 do."""
    ports = find_ports(build_network("UNet", channels, 2, channels=[4, 8, 8], strides=[1, 2], num_res_units=1))
    assert set(ports.inputs) == {"model.0.conv.unit0.conv.weight", "model.0.residual.weight"}


def test_a_network_can_be_copied_after_its_ports_were_found():
    """As for averaged weights."""
    network = build_network("BasicUNet", 1, 2, features=(4, 4, 8, 8, 8, 4))
    ports = find_ports(network)
    assert find_ports(copy.deepcopy(network)) == ports


def test_an_image_that_is_added_to_features_enters_by_no_kernel():
    """Its channels could not be exchanged by name, so the input kernels are not known."""
    with pytest.raises(TransferError, match="UNet has other weights with other numbers of channels"):
        find_ports(build_network("UNet", 4, 2, channels=[4, 8, 8], strides=[1, 2], num_res_units=1))
