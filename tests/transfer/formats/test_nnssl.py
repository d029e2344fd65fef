"""Encoders that nnssl pre-trained, and STU-Net, built from random weights as they are published."""

from __future__ import annotations

import json
import re

import pytest
import torch

from monai_tl.errors import TransferError
from monai_tl.transfer.source import load_weights, read_source
from tests.conftest import mentions
from tests.transfer.formats.sidecar_layouts import NNSSL_PLAN, nnssl_checkpoint, nnunet_network, stu_net_weights, told


def saved(content, path):
    torch.save(content, path)
    return path


def test_stem_and_encoder_are_read_and_the_pre_training_s_decoder_is_not(tmp_path):
    content = nnssl_checkpoint()
    source = read_source(saved(content, tmp_path / "a.pth"))
    theirs = dict(nnunet_network("ResidualEncoderUNet", classes=1).named_parameters())
    assert source.weights.keys() == {name for name in theirs if name.startswith("encoder.")}
    for name, value in source.weights.items():
        turned = theirs[name].permute(0, 1, 4, 3, 2) if value.ndim == 5 else theirs[name]
        assert torch.equal(value, turned)
    assert (source.family, source.lacks) == ("nnssl", ("decoder", "head"))
    decoder = {name for name in content["network_weights"] if name.startswith("decoder.") and ".encoder." not in name}
    names = {name for name in decoder if "all_modules" not in name}
    mentions(told(source), f"{len(names)} weights of the pre-training's decoder are omitted", "1 input channel")


def test_an_encoder_alone_never_loads_as_a_whole_network(tmp_path):
    path = saved(nnssl_checkpoint(), tmp_path / "a.pth")
    network = read_source(path).network.build(1, 3)
    with pytest.raises(TransferError, match=r"Missing.*decoder\."):
        load_weights(network, path)


def test_what_the_plan_states(tmp_path):
    path = saved(nnssl_checkpoint(), tmp_path / "a.pth")
    source = read_source(path)
    assert (source.contract.spacing, source.contract.normalisation) == ((1.0, 1.0, 1.0), "zscore_volume")
    assert source.contract.unknown == ("orientation", "modalities", "classes")
    assert source.network.settings["kernel_sizes"][0] == [3, 3, 1]


def test_the_plan_may_be_next_to_the_file(tmp_path):
    content = nnssl_checkpoint()
    plan = content.pop("nnssl_adaptation_plan")
    path = saved(content, tmp_path / "checkpoint_final.pth")
    (tmp_path / "adaptation_plan.json").write_text(json.dumps(plan), encoding="utf-8")
    source = read_source(path)
    assert (source.family, source.contract.spacing) == ("nnssl", (1.0, 1.0, 1.0))


def test_the_large_encoder_is_known_by_its_name(tmp_path):
    plan = {**NNSSL_PLAN, "architecture_plans": {"arch_class_name": "ResEncL", "arch_kwargs": None}}
    with pytest.raises(TransferError) as raised:  # this one is smaller
        read_source(saved(nnssl_checkpoint(plan), tmp_path / "a.pth"))
    mentions(
        str(raised.value),
        "ResidualEncoderUNet … lacks encoder.stages.1.blocks.1",
        "(4, 4, 3, 3, 1) instead of (32, 32, 3, 3, 3)",
    )


def test_a_transformer_is_read_and_not_built(tmp_path):
    plan = {
        **NNSSL_PLAN,
        "architecture_plans": {"arch_class_name": "PrimusM", "arch_kwargs": None},
        "key_to_encoder": "eva",
        "key_to_stem": "down_projection",
    }
    weights = {"eva.blocks.0.norm1.weight": torch.ones(2), "down_projection.proj.weight": torch.rand(2, 1, 1, 2, 3)}
    content = {"network_weights": {**weights, "decoder.weight": torch.ones(1)}, "nnssl_adaptation_plan": plan}
    source = read_source(saved(content, tmp_path / "a.pth"))
    assert source.network is None
    assert source.weights.keys() == weights.keys()
    assert source.weights["down_projection.proj.weight"].shape == (2, 1, 1, 2, 3), "its tokens have an order, too"
    mentions(told(source), "PrimusM cannot be built here")


@pytest.mark.parametrize("damage", ["missing", "renamed", "shape"])
def test_a_damaged_encoder_is_refused_by_name(tmp_path, damage):
    content, part = nnssl_checkpoint(), "encoder.stages.2.blocks.1.conv2"
    weights = content["network_weights"]
    for name in [name for name in weights if part in name]:
        value = weights.pop(name)
        if damage == "renamed":
            weights[name.replace("conv2", "conv9")] = value
        elif damage == "shape":
            weights[name] = torch.cat([value, value])
    with pytest.raises(TransferError, match=re.escape(part)):
        read_source(saved(content, tmp_path / "a.pth"))


def test_an_encoder_elsewhere_than_the_plan_says_is_refused(tmp_path):
    path = saved(nnssl_checkpoint({**NNSSL_PLAN, "key_to_encoder": "body", "key_to_stem": "start"}), tmp_path / "a.pth")
    with pytest.raises(TransferError, match="no weights under body and start"):
        read_source(path)


@pytest.mark.parametrize("wrapper", ["state_dict", "network_weights"])
def test_stu_net_is_recognised_and_has_no_network_here(tmp_path, wrapper):
    weights = stu_net_weights()
    source = read_source(saved({wrapper: weights, "epoch": 1}, tmp_path / "base_ep4k.model"))
    assert (source.family, source.network, source.contract) == ("STU-Net", None, None)
    assert source.weights.keys() == weights.keys()
    name = "conv_blocks_context.0.0.conv1.weight"
    assert torch.equal(source.weights[name], weights[name].permute(0, 1, 4, 3, 2))
    mentions(told(source), "no network here has this layout … seg_outputs. … --network my_package.MyNet")


def test_version_1_of_nnunet_is_told_from_it(tmp_path):
    weights = {
        "conv_blocks_context.0.blocks.0.conv.weight": torch.rand(2, 1, 3, 3, 3),
        "seg_outputs.0.weight": torch.rand(2, 2),
    }
    assert read_source(saved({"state_dict": weights}, tmp_path / "a.model")).family == "nnU-Net v1"
