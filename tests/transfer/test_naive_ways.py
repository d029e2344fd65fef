"""Ways of freezing, adapting and proving that other tools take, and that go wrong without an error."""

import numpy as np
import pytest
import torch
from torch import nn

from monai_tl.errors import TransferError
from monai_tl.networks.build import build_network
from monai_tl.transfer.channels import adapt_channels
from monai_tl.transfer.freeze import freeze, frozen_sha256
from monai_tl.transfer.lora import add_lora
from tests.conftest import mentions
from tests.networks.conftest import small


class Adapter(nn.Module):
    """A low-rank change next to a convolution, as libraries for fine-tuning put it in the place of the convolution."""

    def __init__(self, base: nn.Conv3d) -> None:
        super().__init__()
        self.base, self.down = base, nn.Conv3d(base.in_channels, 2, 1)
        self.up = nn.Conv3d(2, base.out_channels, 1)

    def forward(self, image):
        return self.base(image) + self.up(self.down(image))


def test_a_wrapper_around_a_layer_with_several_names_gets_no_gradient():
    """nnU-Net's blocks keep a convolution as ``conv`` and run it through ``all_modules``."""
    image = torch.randn(1, 1, 8, 8, 8)
    naive = small("PlainConvUNet")
    block = naive.get_submodule("encoder.stages.0.0.convs.0")
    block.conv = Adapter(block.conv)
    naive(image).square().mean().backward()
    assert all(parameter.grad is None for parameter in (*block.conv.down.parameters(), *block.conv.up.parameters()))

    network = small("PlainConvUNet")
    add_lora(network, 2)
    network(image).square().mean().backward()
    change = network.get_submodule("encoder.stages.0.0.convs.0.conv").parametrizations.weight[0]
    assert change.up.grad.abs().max() > 0


def test_a_repeated_input_kernel_multiplies_the_response():
    """STU-Net repeats the kernel of one channel for each of several."""
    kernel, image = torch.randn(4, 1, 3, 3, 3), torch.randn(1, 1, 5, 5, 5)
    response = nn.functional.conv3d(image, kernel)
    both = torch.cat([image, image], dim=1)
    torch.testing.assert_close(nn.functional.conv3d(both, kernel.repeat(1, 2, 1, 1, 1)), 2 * response)
    for new in ("mean", "zero"):
        adapted = adapt_channels(kernel, ["T1"], ["T1", "T2"], new)
        torch.testing.assert_close(nn.functional.conv3d(both, adapted), response)


def test_the_proof_of_a_freeze_compares_two_states():
    """``np.abs(old, new)`` writes |old| into new: it is above 0 whatever happened."""
    network = build_network("HighRes3DNet", 1, 2)
    freeze(network, 1)
    weight, before = network.conv_0.conv.weight, frozen_sha256(network)
    old = weight.detach().numpy().copy()
    assert np.abs(old, weight.detach().numpy().copy()).sum() > 0, "nothing changed"
    assert frozen_sha256(network) == before
    with torch.no_grad():
        weight[0, 0, 0, 0, 0] += 1e-6
    assert frozen_sha256(network) != before


def test_a_head_by_the_name_of_another_network_would_freeze_everything():
    """MONAILabel's advice for a SegResNet spares ``conv_0.conv_0``, which is a UNet's; its head is ``conv_final``."""
    network = small("SegResNet")
    for name, parameter in network.named_parameters():
        parameter.requires_grad = "conv_0.conv_0" in name
    assert not [parameter for parameter in network.parameters() if parameter.requires_grad], "the naive way trains nothing"
    with pytest.raises(TransferError) as refused:
        freeze(small("SegResNet"), "conv_0")
    mentions(str(refused.value), "not 'conv_0' … head … always trained … enc_0")
