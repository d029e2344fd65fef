"""NiftyNet's HighRes3DNet: logits equal to an implementation that is independent of the package."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from monai_tl.errors import TransferError
from monai_tl.networks.highres3dnet import HighRes3DNet
from monai_tl.transfer.source import read_source
from tests.conftest import mentions
from tests.transfer.formats import layouts
from tests.transfer.formats.test_swin_vit import saved

REAL = os.environ.get("MONAI_TL_REALDATA")
FILE = "highres3dnet_niftynet/highres3dnet_li_parameters-7d297872.pth"


class Reference(nn.Module):
    """HighRes3DNet by Li et al. 2017 with NiftyNet's extra convolution, its names as in the PyTorch file."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.block = nn.ModuleList([convolutional([nn.Identity(), nn.Conv3d(inputs, 16, 3, padding=1, bias=False)], 16)])
        self.block[0].convolutional_block.append(nn.ReLU())
        before = 16
        for width, dilation in ((16, 1), (32, 2), (64, 4)):
            stage = nn.Module()
            stage.dilation_block = nn.ModuleList()
            for _ in range(3):
                residual = nn.Module()
                residual.residual_block = nn.ModuleList(
                    [preactivated(before, width, dilation), preactivated(width, width, dilation)]
                )
                stage.dilation_block.append(residual)
                before = width
            self.block.append(stage)
        self.block.append(convolutional([nn.Conv3d(64, 80, 1, bias=False)], 80))
        self.block[4].convolutional_block.append(nn.ReLU())
        self.block.append(nn.Identity())  # dropout
        self.block.append(convolutional([nn.Conv3d(80, outputs, 1, bias=False)], outputs))

    def forward(self, x: Tensor) -> Tensor:
        x = run(self.block[0], x)
        for stage in self.block[1:4]:
            for residual in stage.dilation_block:
                out = x
                for half in residual.residual_block:
                    out = run(half, out)
                more = out.shape[1] - x.shape[1]
                x = out + nn.functional.pad(x, (0, 0, 0, 0, 0, 0, more // 2, more // 2))
        return run(self.block[6], run(self.block[4], x))


def convolutional(layers: list[nn.Module], width: int) -> nn.Module:
    module = nn.Module()
    module.convolutional_block = nn.Sequential(*layers, nn.BatchNorm3d(width))
    return module


def preactivated(inputs: int, outputs: int, dilation: int) -> nn.Module:
    module = nn.Module()
    kernel = nn.Conv3d(inputs, outputs, 3, padding=dilation, dilation=dilation, bias=False)
    module.convolutional_block = nn.Sequential(nn.BatchNorm3d(inputs), nn.ReLU(), nn.Identity(), kernel)
    return module


def run(module: nn.Module, x: Tensor) -> Tensor:
    for layer in module.convolutional_block:
        x = layer(x)
    return x


@pytest.fixture(scope="module")
def trained() -> Reference:
    """With BatchNorm statistics and slopes that show in the logits."""
    torch.manual_seed(0)
    network = Reference(1, 5).eval()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith(("running_mean", "bias")):
                value.normal_(0, 0.3)
            elif name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
    return network


def logits(weights, network: nn.Module, x: Tensor) -> Tensor:
    network.load_state_dict(weights)
    with torch.no_grad():
        return network.eval()(x)


def test_logits_are_those_of_an_independent_network(tmp_path, trained):
    source, x = read_source(saved(trained.state_dict(), tmp_path)), torch.randn(1, 1, 20, 18, 16)
    assert len(source.weights) == 126
    assert source.family == "HighRes3DNet of NiftyNet"
    assert source.network.settings == {"head_norm": True, "negative_slope": 0}
    with torch.no_grad():
        expected = trained(x)
    assert torch.allclose(logits(source.weights, source.network.build(1, 5), x), expected, atol=1e-4)
    naive = logits(source.weights, HighRes3DNet(1, 5, head_norm=True), x)
    assert (naive - expected).abs().max() > 0.01, "with the study's LeakyReLU it is another function"


def test_facts_of_the_published_weights_are_not_claimed_for_others(tmp_path, trained):
    source = read_source(saved({"model": trained.state_dict()}, tmp_path))
    assert (source.contract, source.licence, source.lacks) == (None, None, ())


@pytest.mark.realdata
@pytest.mark.skipif(REAL is None, reason="MONAI_TL_REALDATA is not set")
def test_logits_of_the_published_weights():
    source, reference = read_source(Path(str(REAL)) / FILE), Reference(1, 160)
    torch.manual_seed(0)
    x = torch.randn(1, 1, 32, 28, 24)
    stored = torch.load(Path(str(REAL)) / FILE, weights_only=True)
    expected, network = logits(stored, reference, x), source.network.build(1, 160)
    assert len(source.weights) == 126
    ours = logits(source.weights, network, x)
    assert torch.allclose(ours, expected, atol=1e-4)
    assert expected.min() < -1, "MONAI's HighResNet would end in a ReLU on these logits"
    assert source.licence.startswith("MIT")
    expected = source.contract
    assert (expected.modalities, expected.spacing, expected.orientation) == (("T1",), (1.0, 1.0, 1.0), "RAS")
    assert (expected.normalisation, expected.classes) == (None, None)
    mentions(" ".join(source.remarks), "160 classes without names", "histogram landmarks")


@pytest.mark.parametrize(("how", "fact"), [("missing", "lacks"), ("renamed", "has besides"), ("shape", "instead of")])
@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("block.2.dilation_block.1.residual_block.1.convolutional_block.3.weight", "res_2.1.layers.3.conv.weight"),
        ("block.6.convolutional_block.1.running_var", "conv_2.adn.N.running_var"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, trained, how, fact, name, ours):
    with pytest.raises(TransferError) as raised:
        read_source(saved(layouts.damaged(trained.state_dict(), how, name), tmp_path))
    mentions(str(raised.value), "HighRes3DNet", fact, ours)
