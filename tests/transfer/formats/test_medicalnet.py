"""MedicalNet: the weights fit MONAI's ResNet by name and shape, and compute something else in it."""

from __future__ import annotations

import json

import pytest
import torch
from monai.networks.nets.resnet import ResNet, get_inplanes
from torch import nn

from monai_tl.errors import ConfigError, TransferError
from monai_tl.networks.build import build_network
from monai_tl.networks.same_function import function_differences
from monai_tl.networks.stages import stages
from monai_tl.transfer.source import read_source
from tests.conftest import mentions
from tests.transfer.formats import layouts
from tests.transfer.formats.test_swin_vit import saved


def reference(state: dict, x: torch.Tensor, *, shortcut: str) -> torch.Tensor:
    """MedicalNet's encoder, from its paper and code: basic blocks, stride 2, 1, 2, 1, 1 and dilation 1, 1, 2, 4."""

    def norm(x, name):
        statistics = (state[f"{name}.running_mean"], state[f"{name}.running_var"])
        return nn.functional.batch_norm(x, *statistics, state[f"{name}.weight"], state[f"{name}.bias"])

    def convolve(x, name, stride=1, dilation=1, padding=0):
        return nn.functional.conv3d(x, state[f"{name}.weight"], None, stride, padding, dilation)

    x = norm(convolve(x, "conv1", stride=2, padding=3), "bn1").relu()
    x = nn.functional.max_pool3d(x, 3, 2, 1)
    for layer, stride, dilation in ((1, 1, 1), (2, 2, 1), (3, 1, 2), (4, 1, 4)):
        name = f"layer{layer}.0"
        out = norm(convolve(x, f"{name}.conv1", stride, dilation, dilation), f"{name}.bn1").relu()
        out = norm(convolve(out, f"{name}.conv2", 1, dilation, dilation), f"{name}.bn2")
        if shortcut == "B" and f"{name}.downsample.0.weight" in state:
            x = norm(convolve(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
        elif layer > 1:
            x = x[..., ::stride, ::stride, ::stride]
            x = torch.cat([x, x.new_zeros(out.shape[0], out.shape[1] - x.shape[1], *x.shape[2:])], 1)
        x = (out + x).relu()
    return x


def features(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    x = network.maxpool(network.act(network.bn1(network.conv1(x))))
    for name in ("layer1", "layer2", "layer3", "layer4"):
        x = network.get_submodule(name)(x)
    return x


def encoder_of(network: nn.Module, weights: dict) -> nn.Module:
    network.load_state_dict({**network.state_dict(), **weights})
    return network.eval()


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_the_network_that_is_built_computes_as_medicalnet_and_monais_does_not(tmp_path, shortcut):
    content, x = layouts.medicalnet(10, shortcut), torch.randn(1, 1, 40, 32, 24)
    source = read_source(saved(content, tmp_path))
    assert source.network.settings == {"depth": 10, "shortcut": shortcut}
    ours = encoder_of(source.network.build(1, 2), source.weights)
    expected = reference(source.weights, x, shortcut=shortcut)
    assert expected.shape[2:] == (5, 4, 3)
    with torch.no_grad():
        assert torch.allclose(features(ours, x), expected, atol=1e-4)
        theirs = ResNet(
            "basic",
            [1, 1, 1, 1],
            get_inplanes(),
            n_input_channels=1,
            shortcut_type=shortcut,
            feed_forward=False,
            bias_downsample=False,
        )
        theirs.load_state_dict(source.weights)  # strictly, and without a word
        naive = features(theirs.eval(), x)
    assert naive.shape != expected.shape
    told = " ".join(function_differences(ours, theirs))
    mentions(told, "stride 2 becomes 1 in conv1")
    mentions(told, "dilation 4 becomes 1", "layer4.0.conv1")
    mentions(" ".join(source.remarks), "FlexibleUNet", "another function", "network MedicalNet")


@pytest.mark.parametrize(("depth", "weights"), [(10, 62), (18, 107), (50, 288)])
def test_depth_is_inferred_and_every_weight_accounted_for(tmp_path, depth, weights):
    shortcut = "A" if depth == 18 else "B"
    source = read_source(saved(layouts.medicalnet(depth, shortcut), tmp_path))
    if shortcut == "B":
        assert source.network.settings == {"depth": depth, "shortcut": "B"}
    assert len(source.weights) == len(layouts.medicalnet(depth, shortcut)["state_dict"])
    network = source.network.build(1, 2)
    missing = network.state_dict().keys() - source.weights.keys()
    assert all(name.startswith("conv_seg.") for name in missing)
    assert source.weights.keys() <= network.state_dict().keys()
    assert (source.lacks, source.licence) == (("head",), "MIT (published weights of MedicalNet)")


def test_logits_are_on_the_grid_of_the_image():
    network = build_network("MedicalNet", 2, 3, depth=10).eval()
    assert network(torch.randn(1, 2, 21, 17, 30)).shape == (1, 3, 21, 17, 30)
    assert list(stages(network)) == ["stem", "layer1", "layer2", "layer3", "layer4", "head"]


def test_a_fine_tuned_network_is_read_whole(tmp_path):
    network = build_network("MedicalNet", 2, 3, depth=10)
    source = read_source(saved({"model": network.state_dict()}, tmp_path))
    assert source.weights.keys() == network.state_dict().keys()
    assert (source.lacks, source.licence) == ((), None)


@pytest.mark.parametrize("settings", [{"depth": 20}, {"shortcut": "C"}])
def test_other_depths_are_refused(settings):
    with pytest.raises(ConfigError) as raised:
        build_network("MedicalNet", 1, 2, **settings)
    mentions(str(raised.value), "10, 18, 34", "A or B")


@pytest.mark.parametrize(("how", "fact"), [("missing", "lacks"), ("renamed", "has besides"), ("shape", "instead of")])
@pytest.mark.parametrize("name", ["layer3.0.conv2.weight", "bn1.running_mean"])
def test_a_damaged_file_is_refused_by_name(tmp_path, how, fact, name):
    content = layouts.medicalnet()
    content["state_dict"] = layouts.damaged(content["state_dict"], how, f"module.{name}")
    with pytest.raises(TransferError) as raised:
        read_source(saved(content, tmp_path))
    mentions(str(raised.value), "MedicalNet (depth=10, shortcut=B)", fact, name)


def test_other_numbers_of_blocks_are_refused(tmp_path):
    state = layouts.medicalnet(10)["state_dict"]
    more = layouts.renamed(layouts.only(state, "module.layer1."), (r"layer1\.0", "layer1.1"))
    with pytest.raises(TransferError) as raised:
        read_source(saved({**state, **more}, tmp_path))
    mentions(str(raised.value), "basic blocks [2, 1, 1, 1]", "18: basic [2, 2, 2, 2]")


def test_a_classifier_of_monai_is_not_taken_for_medicalnet(tmp_path):
    network = ResNet("basic", [1, 1, 1, 1], get_inplanes(), n_input_channels=1, num_classes=2)
    assert read_source(saved(network.state_dict(), tmp_path)).family == "checkpoint"


@pytest.mark.parametrize("preprocessing", [{}, {"preprocessing": {"spacing": [1, 1, 1]}}])
def test_who_states_its_modalities_next_to_it_keeps_its_network(tmp_path, preprocessing):
    """A metadata.json alone makes no bundle; without it, the first stage is lost to a target with more channels."""
    path = saved(layouts.medicalnet(), tmp_path)
    stated = {"network_data_format": {"inputs": {"image": {"channel_def": {"0": "T1"}}}}, **preprocessing}
    (tmp_path / "metadata.json").write_text(json.dumps(stated), encoding="utf-8")
    source = read_source(path)
    assert (source.family, source.network.network, source.contract.modalities) == ("MedicalNet", "MedicalNet", ("T1",))
    assert source.contract.spacing == ((1, 1, 1) if preprocessing else None)
