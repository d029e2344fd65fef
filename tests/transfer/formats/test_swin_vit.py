"""SwinUNETR's self-supervised encoders: everything is loaded, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.networks.utils import copy_model_state

from monai_tl.errors import TransferError
from monai_tl.networks.outline import outline
from monai_tl.networks.stages import stage_weights, stages
from monai_tl.transfer.source import read_source
from tests.conftest import mentions
from tests.transfer.formats import layouts


def saved(content, folder: Path) -> Path:
    torch.save(content, folder / "weights.pt")
    return folder / "weights.pt"


@pytest.fixture(scope="module")
def trained():
    return layouts.swin_unetr()


def same(weights, network, *beginnings: str) -> int:
    """Count the network's weights with these beginnings, all of which are in the source, bit for bit."""
    expected = layouts.only(network.state_dict(), *beginnings)
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], value) for name, value in expected.items())
    return len(expected)


def loaded_naively(network, state, prefix: str) -> int:
    """Count what ``strict=False`` loads after the prefix DataParallel put before the names is replaced."""
    other = {prefix + name.removeprefix("module."): value for name, value in state.items()}
    kept = {name: value for name, value in other.items() if name in network.state_dict()}
    network.load_state_dict(kept, strict=False)
    return len(kept)


def test_every_weight_of_model_swinvit_is_loaded(tmp_path, trained):
    source = read_source(saved(layouts.ssl_swin_vit(trained), tmp_path))
    assert same(source.weights, trained, "swinViT.") == 126
    assert source.family == "SwinViT, self-supervised"
    assert str(source.network) == f"SwinUNETR (feature_size={layouts.SIZE}, downsample=merging)"
    mentions(" ".join(source.notes), "4 weights … rotation_head.weight")
    mentions(" ".join(source.remarks), "mergingv2 … another function", "-1000…1000 HU")
    assert source.contract is None, "BrainSegFounder's files have the same layout, and saw MR"


def test_the_naive_way_leaves_the_transformer_random(trained):
    """Without renaming, none of 159 weights fits; with the right prefix, the 32 of the MLPs stay random."""
    state = layouts.ssl_swin_vit(trained)["state_dict"]
    assert loaded_naively(layouts.swin_unetr(), state, "") == 0
    assert loaded_naively(layouts.swin_unetr(), state, "swinViT.") == 94


def test_monais_own_loader_agrees(trained, tmp_path):
    """``SwinUNETR.load_from`` is the reference for the published layout."""
    content = layouts.ssl_swin_vit(trained)
    theirs = layouts.swin_unetr()
    for weight in theirs.parameters():
        torch.nn.init.zeros_(weight)
    theirs.load_from(content)
    assert same(read_source(saved(content, tmp_path)).weights, theirs, "swinViT.") == 126


@pytest.mark.parametrize("swin", ["swinViT", "swin_vit"])
def test_files_of_the_trainers_are_read(tmp_path, trained, swin):
    source = read_source(saved(layouts.ssl_trainer(trained, swin), tmp_path))
    assert same(source.weights, trained, "swinViT.") == 126


def test_what_the_encoder_lacks_is_named(tmp_path, trained):
    source = read_source(saved(layouts.ssl_swin_vit(trained), tmp_path))
    network = outline(source.network, 1, 2)
    fresh = set(stages(network).expand(source.lacks))
    for stage, names in stage_weights(network).items():
        there = [name for name in names if name in source.weights]
        assert len(there) in (0, len(names)), f"{stage} is neither transferred nor fresh"
        assert (stage in fresh) is not bool(there)
    assert "head" in source.lacks


def test_every_weight_of_the_disruptive_autoencoder_but_its_head_is_loaded(tmp_path, trained):
    """MONAI's test of the published file expects 157 of 159 weights: all but the head, which has one channel."""
    source = read_source(saved(layouts.disruptive(trained), tmp_path))
    assert len(source.weights) == 157
    assert same(source.weights, trained, "swinViT.", "encoder", "decoder") == 157
    assert source.lacks == ("head",)
    from monai.networks.nets.swin_unetr import filter_swinunetr

    theirs, loaded, left = copy_model_state(
        layouts.swin_unetr(), layouts.disruptive(trained)["model"], filter_func=filter_swinunetr
    )
    assert (len(loaded), len(left)) == (157, 2)
    assert all(torch.equal(theirs[name], value) for name, value in source.weights.items())


@pytest.mark.parametrize(
    "name", [f"module.{name}" for name in ("layers3.0.blocks.1.mlp.fc1.weight", "layers2.0.downsample.norm.bias")]
)
@pytest.mark.parametrize(("how", "fact"), [("missing", "lacks"), ("renamed", "has besides"), ("shape", "(3, 5) instead of")])
def test_a_damaged_encoder_is_refused_by_name(tmp_path, trained, how, fact, name):
    content = layouts.ssl_swin_vit(trained)
    content["state_dict"] = layouts.damaged(content["state_dict"], how, name)
    with pytest.raises(TransferError) as raised:
        read_source(saved(content, tmp_path))
    ours = name.replace("module.", "swinViT.").replace("fc1", "linear1")
    mentions(str(raised.value), "SwinUNETR (feature_size=12", ours, fact)


def test_a_version_2_encoder_says_so(tmp_path):
    network = layouts.swin_unetr(use_v2=True)
    source = read_source(saved(layouts.ssl_trainer(network), tmp_path))
    assert source.network.settings["use_v2"] is True
    assert same(source.weights, network, "swinViT.") == 134
