"""Which family reads a file, and what the usual ways of loading do to it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from monai.handlers import CheckpointLoader
from monai.networks import copy_model_state
from monai.networks.nets import SegResNet
from torch import nn

from monai_tl.errors import TransferError
from monai_tl.networks.build import build_network
from monai_tl.transfer.formats.family import Opened
from monai_tl.transfer.formats.registry import FAMILIES, recognised
from monai_tl.transfer.source import load_weights, read_source
from tests.conftest import mentions
from tests.transfer.formats.sidecar_layouts import (
    SEG_RES_NET,
    brats_bundle,
    nnssl_checkpoint,
    nnunet_checkpoint,
    nnunet_dataset,
    nnunet_network,
    nnunet_plans,
    stu_net_weights,
    write_nnunet,
)

WEIGHTS = {"conv.weight": torch.rand(2, 1, 3, 3, 3), "conv.bias": torch.rand(2)}
FILE = Path("a.pt")


def family_name(content, path: Path = FILE) -> str:
    return recognised(Opened(path, path, content)).name


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (WEIGHTS, "checkpoint"),
        ({"model": WEIGHTS, "optimizer": {}}, "checkpoint"),
        ({"network_weights": WEIGHTS}, "checkpoint"),
        ({"state_dict": WEIGHTS, "pytorch-lightning_version": "2.1"}, "Lightning"),
        ({"state_dict": stu_net_weights()}, "STU-Net"),
        (nnunet_checkpoint(nnunet_network(), nnunet_plans(), nnunet_dataset()), "nnU-Net v2"),
        (nnssl_checkpoint(), "nnssl"),
        ("text", "checkpoint"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_family_is_recognised_by_its_content(content, name):
    assert family_name(content) == name


def test_the_order_decides_between_two_families():
    """An encoder of nnssl is a file of nnU-Net, too, and a STU-Net has the layout of nnU-Net v1."""
    both = {**nnunet_checkpoint(nnunet_network(), nnunet_plans(), nnunet_dataset()), **nnssl_checkpoint()}
    opened = Opened(FILE, FILE, both)
    fit = [family.name for family in FAMILIES if family.recognise(opened)]
    assert fit[:2] == ["nnssl", "nnU-Net v2"]
    assert family_name(both) == "nnssl"
    fit = [family.name for family in FAMILIES if family.recognise(Opened(FILE, FILE, {"state_dict": stu_net_weights()}))]
    assert fit[:2] == ["STU-Net", "nnU-Net v1"]


def test_every_file_has_a_family_and_no_two_share_a_name():
    assert FAMILIES[-1].recognise(Opened(FILE, FILE, None))
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


@pytest.mark.parametrize("prefix", ["net.", "model.", "_model.", "student."])
def test_the_attribute_of_a_lightning_module_is_removed(tmp_path, prefix):
    content = {
        "epoch": 3,
        "pytorch-lightning_version": "2.1.0",
        "state_dict": {prefix + name: value for name, value in WEIGHTS.items()},
        "hyper_parameters": {"lr": 0.1},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5)}},
    }
    torch.save(content, tmp_path / "a.ckpt")
    source = read_source(tmp_path / "a.ckpt")
    assert (source.family, list(source.weights)) == ("Lightning", list(WEIGHTS))
    mentions(source.notes[0], f"prefix '{prefix}'")


def test_the_network_inside_a_lightning_module_is_recognised(tmp_path):
    network = build_network("SegResNet", 1, 3, init_filters=8, blocks_down=[1, 1], blocks_up=[1])
    state = {f"net.{name}": value for name, value in network.state_dict().items()}
    torch.save({"pytorch-lightning_version": "2.1.0", "state_dict": state}, tmp_path / "a.ckpt")
    source = read_source(tmp_path / "a.ckpt")
    assert (source.family, source.assumed) == ("Lightning", True)
    assert str(source.network) == "SegResNet (init_filters=8, blocks_down=[1,1], blocks_up=[1])"
    assert source.weights.keys() == network.state_dict().keys()


def test_only_one_level_of_a_lightning_module_is_removed(tmp_path):
    """MONAI's UNet has a part called model."""
    state = {f"model.model.{name}": value for name, value in WEIGHTS.items()}
    torch.save({"pytorch-lightning_version": "2.1.0", "state_dict": state}, tmp_path / "a.ckpt")
    assert list(read_source(tmp_path / "a.ckpt").weights) == [f"model.{name}" for name in WEIGHTS]


def test_a_lightning_module_with_two_networks_is_left_to_the_target(tmp_path):
    state = {f"{part}{name}": value for part in ("net.", "teacher.") for name, value in WEIGHTS.items()}
    torch.save({"pytorch-lightning_version": "2.1.0", "state_dict": state}, tmp_path / "a.ckpt")
    assert list(read_source(tmp_path / "a.ckpt").weights) == list(state)
    with pytest.raises(TransferError, match=r"under 'net.' and 'teacher.', and either may be meant"):
        read_source(tmp_path / "a.ckpt", WEIGHTS)


def test_a_student_is_used_and_its_teacher_named(tmp_path):
    torch.save({"student": WEIGHTS, "teacher": WEIGHTS}, tmp_path / "a.pt")
    mentions(read_source(tmp_path / "a.pt").notes[0], "'student' … teacher")


def network(seed: int, channels: int = 4, classes: int = 3) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SegResNet(**SEG_RES_NET, in_channels=channels, out_channels=classes)


def same(one: nn.Module, other: nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())


def test_monais_tolerant_loader_loads_nothing_from_a_wrapped_file(tmp_path):
    """CheckpointLoader(strict_shape=False) compares the names of the network with those of the wrapper."""
    path, trained = tmp_path / "model.pt", network(1)
    torch.save({"model": trained.state_dict()}, path)
    naive, untouched = network(2), network(2)
    CheckpointLoader(str(path), {"model": naive}, strict=False, strict_shape=False)(Engine(lambda engine, batch: None))
    assert same(naive, untouched), "the naive way reports no error"
    assert same(load_weights(network(2), path), trained)


def test_copy_model_state_skips_other_shapes_and_we_refuse_them(tmp_path):
    path, trained = tmp_path / "model.pt", network(1, channels=1)
    torch.save(trained.state_dict(), path)
    naive, first = network(2), "convInit.conv.weight"
    _, changed, unchanged = copy_model_state(naive, trained, inplace=True)
    assert changed
    assert first in unchanged, "the naive way reports no error"
    with pytest.raises(TransferError, match=f"size mismatch for {first}"):
        load_weights(network(2), path)


def test_an_account_of_weights_is_a_comparison_that_can_fail(tmp_path):
    """A check by ``np.abs(old, new)`` compares nothing, as its second argument is where the result goes."""
    path, trained = tmp_path / "model.pt", network(1)
    torch.save({"net": {f"module.backbone.{name}": value for name, value in trained.state_dict().items()}}, path)
    naive = network(2)
    stripped = {name.removeprefix("module."): value for name, value in torch.load(path)["net"].items()}
    naive.load_state_dict(stripped, strict=False)
    assert same(naive, network(2)), "the naive way loads nothing and reports no error"
    assert same(load_weights(network(2), path), trained)


def test_sources_of_any_kind_have_facts_of_the_same_kind(tmp_path):
    plans, dataset = nnunet_plans(), nnunet_dataset()
    torch.save(nnssl_checkpoint(), tmp_path / "ssl.pth")
    folders = [
        brats_bundle(tmp_path / "zoo"),
        write_nnunet(tmp_path / "nnunet", nnunet_checkpoint(nnunet_network(), plans, dataset), plans, dataset),
        tmp_path / "ssl.pth",
    ]
    for folder in folders:
        source = read_source(folder)
        assert source.contract is not None
        assert source.network is not None
        assert source.network.flags.startswith(f"--network {source.network.network} --set ")
        assert all(isinstance(note, str) and "\n" not in note for note in (*source.notes, *source.remarks))
