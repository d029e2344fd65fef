"""Networks by name: their settings, and each mistake in them."""

from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path

import pytest
import torch
from monai.networks.nets import SegResNetVAE, UNet
from torch import nn

from monai_tl.errors import ConfigError, TransferError
from monai_tl.networks.build import build_network
from monai_tl.networks.known import KNOWN_NETWORKS
from monai_tl.networks.stages import stages
from tests.conftest import mentions
from tests.networks.conftest import SMALL, patch_of, small

STRANGER = """
from torch import nn

class MyNet(nn.Module):
    def __init__(self, in_channels, out_channels, width=4):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv3d(in_channels, width, 3, padding=1), nn.ReLU())
        self.body = nn.Sequential(nn.Conv3d(width, width, 3, padding=1), nn.BatchNorm3d(width), nn.ReLU())
        self.last = nn.Conv3d(width, out_channels, 1)

    def forward(self, x):
        return self.last(self.body(self.stem(x)))

def not_a_network(in_channels, out_channels):
    return {}

class Broken(nn.Module):
    def __init__(self, in_channels, out_channels):
        raise KeyError("no such thing")
"""


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A user's module in the working directory."""
    (tmp_path / "strangers_net.py").write_text(STRANGER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "strangers_net", raising=False)
    return "strangers_net.MyNet"


@pytest.mark.parametrize("name", [name for name in KNOWN_NETWORKS if name not in ("VISTA3D", "ResidualEncoderUNet", "VNet")])
def test_every_network_can_be_built_without_settings(name):
    with torch.device("cpu" if name in ("DiNTS", "SwinUNETR") else "meta"):
        network = build_network(name, 2, 3)
    assert len(stages(network)) >= 5
    assert network.rebuild.channels == (2, 3)


@pytest.mark.parametrize(
    ("network", "settings", "facts"),
    [
        ("SegResNett", {}, ["'SegResNett' … 'SegResNet' … There are: … VNet", "my_package.MyNet"]),
        ("SegResNet", {"init_filter": 8}, ["'SegResNet' … 'init_filter' … did you mean 'init_filters'"]),
        ("VNet", {}, ["VNet … 3 image channels, 2 classes … divisible"]),
        ("DynUNet", {"deep_supervision": True}, ["'DynUNet' … deep_supervision is False, not True … omit"]),
        ("SegResNet", {"spatial_dims": 2}, ["'SegResNet' … spatial_dims is 3, not 2 … omit"]),
        ("PlainConvUNet", {"deep_supervision": True}, ["deep_supervision is False"]),
        ("SegResNetDS", {"dsdepth": 4}, ["dsdepth is 1, not 4"]),
        ("SegResNet", {"use_conv_final": False}, ["use_conv_final is True, not False … no output layer"]),
        ("FlexibleUNet", {"pretrained": True}, ["pretrained is False … 2D"]),
        ("monai.networks.nets.DynUNet", {"deep_supervision": True}, ["deep_supervision is False"]),
        ("PlainConvUNet", {"conv_op": "torch.nn.Conv4d"}, ["conv_op … torch.nn.Conv4d"]),
        ("nowhere.Net", {}, ["'nowhere.Net' … nowhere cannot be imported"]),
        ("monai.networks.nets.NoNet", {}, ["monai.networks.nets has no class NoNet"]),
        ("strangers_net.not_a_network", {}, ["not_a_network' is no class of torch.nn.Module"]),
        ("torch.hub.load", {"repo_or_dir": "hub", "model": "net", "source": "local"}, ["no class of torch.nn.Module"]),
        ("strangers_net.Broken", {}, ["Broken cannot be built … no such thing"]),
        ("strangers_net.MyNet", {"depth": 3}, ["'depth' … There are: width"]),
    ],
)
@pytest.mark.usefixtures("stranger")
def test_mistakes_are_refused_by_name(network, settings, facts):
    with pytest.raises(ConfigError) as caught:
        build_network(network, 3, 2, **settings)
    mentions(str(caught.value), *facts)
    assert "\n" not in str(caught.value)


def test_a_setting_that_is_given_as_it_has_to_be_is_accepted():
    build_network("DynUNet", 1, 2, deep_supervision=False, **SMALL["DynUNet"][0])


def test_names_of_classes_are_read_as_nnunets_plans_write_them():
    network = build_network("PlainConvUNet", 1, 2, **{**SMALL["PlainConvUNet"][0], "norm_op": "torch.nn.BatchNorm3d"})
    assert any(isinstance(module, nn.BatchNorm3d) for module in network.modules())


def test_nnunets_networks_begin_with_its_own_initial_weights():
    """He's with the slope of its LeakyReLU, and zero for the last norm of a residual block."""
    torch.manual_seed(0)
    network = build_network("ResidualEncoderUNet", 1, 2, **SMALL["ResidualEncoderUNet"][0])
    block = network.encoder.stages[0].blocks[0]
    assert not block.conv2.norm.weight.any()
    assert not block.conv1.conv.bias.any()
    fan_in = block.conv1.conv.weight[0].numel()
    assert block.conv1.conv.weight.std().item() == pytest.approx((2 / (1 + 0.01**2) / fan_in) ** 0.5, rel=0.05)


@pytest.mark.parametrize("given", [None, "auto"])
def test_a_strangers_network(stranger, given):
    network = build_network(stranger, 2, 3, stages=given, width=8)
    assert network.last.weight.shape[:2] == (3, 8)
    if given:
        assert dict(stages(network).prefixes) == {"stem": ("stem",), "body": ("body",), "head": ("last",)}
    else:
        with pytest.raises(TransferError) as caught:
            stages(network)
        mentions(str(caught.value), "MyNet … --stages auto")


def test_stages_of_ones_own(stranger):
    network = build_network(stranger, 1, 2, stages={"trunk": ["stem", "body"], "out": "last"})
    assert stages(network).names == ("trunk", "out")


@pytest.mark.parametrize(
    ("given", "facts"),
    [
        ({"trunk": ["stem", "bodi"], "out": ["last"]}, ["trunk … 'bodi' … did you mean 'body'"]),
        ({"trunk": ["stem", "body.0.weigth"], "out": ["last"]}, ["'body.0.weigth' … 'body.0.weight'"]),
        ({"trunk": ["stem"], "out": ["last"]}, ["outside its stages … body.0.weight"]),
        ({"trunk": ["stem", "body"], "relu": ["body.2"], "out": ["last"]}, ["no weights in relu"]),
        ({"trunk": ["stem", "body"], "out": ["stem"]}, ["'stem' belongs to both"]),
        ({}, ["there are none"]),
    ],
)
def test_wrong_stages_of_ones_own_are_refused(stranger, given, facts):
    with pytest.raises(TransferError) as caught:
        stages(build_network(stranger, 1, 2, stages=given))
    mentions(str(caught.value), *facts)


def test_a_function_can_build_it_too():
    network = build_network(lambda inputs, outputs, size: UNet(3, inputs, outputs, (4, 8), (size,)), 1, 2, size=2)
    assert stages(network).names == ("enc_0", "bottleneck", "head")


def test_weights_have_the_names_of_the_class():
    """The hook that picks one output, and what knows how to build it again, are no part of the weights."""
    settings, _ = SMALL["SegResNetVAE"]
    assert list(small("SegResNetVAE").state_dict()) == list(SegResNetVAE(**settings).state_dict())


@pytest.mark.parametrize("name", ["BasicUNetPlusPlus", "UNet"])
def test_copies_are_networks_of_their_own(name):
    network, image = small(name).eval(), patch_of(name, 1)
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(twin(image), network(image))
        assert twin.rebuild(True, False) is not None


def test_a_module_that_cannot_be_imported_is_named(tmp_path, monkeypatch):
    (tmp_path / "unfinished_net.py").write_text("def x(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError) as raised:
        build_network("unfinished_net.Net", 1, 2)
    mentions(str(raised.value), "'unfinished_net.Net' … cannot be imported (invalid syntax … line 1")
