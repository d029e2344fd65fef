import gzip
import hashlib
import json
import os
import pickle
import random
import re
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from monai.networks.nets import HighResNet
from torch import nn

from monai_tl.errors import DataError, TransferError
from monai_tl.networks.highres3dnet import HighRes3DNet
from monai_tl.transfer.source import find_weights, load_weights, read_source
from tests.conftest import mentions

WEIGHTS = {
    "first.weight": torch.arange(6.0).reshape(2, 3),
    "head.bias": torch.tensor([1.0, -0.0]),
    "head.count": torch.tensor(7),
}


class CreatesAFile:
    """Pickles to an instruction to create a file on loading."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def same(weights, expected=WEIGHTS) -> bool:
    return list(weights) == list(expected) and all(torch.equal(weights[name], value) for name, value in expected.items())


def saved(content, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def prefixed(prefix: str) -> dict:
    return {prefix + name: value for name, value in WEIGHTS.items()}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(WEIGHTS, id="plain"),
        pytest.param({"model": WEIGHTS, "optimizer": {"state": {}, "step": 3}}, id="MONAI"),
        pytest.param({"epoch": 3, "state_dict": prefixed("module.")}, id="DistributedDataParallel"),
        pytest.param({"state_dict": prefixed("network."), "loops": None}, id="Lightning"),
        pytest.param({"network_weights": prefixed("_orig_mod.")}, id="nnU-Net, compiled"),
        pytest.param(prefixed("module._orig_mod."), id="distributed, compiled"),
        pytest.param(prefixed("_orig_mod.module."), id="compiled, distributed"),
        pytest.param({"net": {"model": WEIGHTS}}, id="wrapped twice"),
    ],
)
def test_weights_are_found_in_what_was_saved_around_them(tmp_path, content):
    assert same(read_source(saved(content, tmp_path / "a.pt")).weights)


def test_a_prefix_that_only_some_weights_have_is_part_of_their_name(tmp_path):
    mixed = {"module.a": torch.zeros(1), "b": torch.zeros(1)}
    assert same(read_source(saved(mixed, tmp_path / "a.pt")).weights, mixed)


def test_safetensors_are_read(tmp_path):
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(WEIGHTS, path)
    source = read_source(path)
    assert same(dict(sorted(source.weights.items())))
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_the_hash_is_the_file_s(tmp_path, size):
    path = saved({"a": torch.zeros(size)}, tmp_path / "a.pt")
    assert read_source(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_names_of_monais_highresnet_are_understood(tmp_path):
    theirs, ours = HighResNet(3, 1, 2), HighRes3DNet(1, 2, head_norm=True)
    path = saved({"model": theirs.state_dict()}, tmp_path / "a.pt")
    assert set(read_source(path).weights) == set(ours.state_dict())
    load_weights(ours, path)
    assert torch.equal(ours.res_2[1].layers[-1].conv.weight, theirs.blocks[5].layers[-1].conv.weight)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["models/model.pt", "configs/metadata.json"], "models/model.pt"),
        (["model.pt", "config.yaml"], "model.pt"),
        (["models/model.pt", "model.pt"], "models/model.pt"),
        (["models/model.safetensors", "models/model.pt"], "models/model.pt"),
        (["model.safetensors"], "model.safetensors"),
    ],
    ids=["bundle", "run folder", "bundle before run", "model.pt first", "exported alone"],
)
def test_a_bundle_and_a_run_folder_know_where_their_weights_are(tmp_path, files, found):
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        saved(WEIGHTS, path) if name.endswith(".pt") else safetensors.torch.save_file(WEIGHTS, path)
    assert find_weights(tmp_path) == tmp_path / found
    assert find_weights(tmp_path / files[0]) == tmp_path / files[0]


def test_a_source_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(TransferError, match=rf"'{tmp_path}/none' does not exist.*bundle.*run folder.*\.pt.*\.safetensors"):
        read_source(tmp_path / "none")
    message = (
        "holds no weights: .*models/model.pt, models/model.safetensors, model.pt, model.safetensors; name a bundle, a run "
        "folder, a folder of nnU-Net or a weights file"
    )
    with pytest.raises(TransferError, match=message):
        read_source(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "train.yaml").touch()
    with pytest.raises(TransferError, match=r"holds no weights.*train it first \(monai_tl train --bundle"):
        read_source(tmp_path)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("around", [lambda trap: trap, lambda trap: {"model": WEIGHTS, "extra": trap}])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, zipped, around):
    trap, path = tmp_path / "created", tmp_path / "a.pt"
    torch.save(around(CreatesAFile(trap)), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(TransferError, match=r"^source '.*a\.pt'.*Python objects"):
        read_source(path)
    assert not trap.exists()
    torch.load(path, weights_only=False)
    assert trap.exists()  # the trap was a real one


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_bare_pickle_with_code_is_refused_and_not_run(tmp_path):
    trap, path = tmp_path / "created", tmp_path / "a.pt"
    path.write_bytes(pickle.dumps(CreatesAFile(trap)))
    with pytest.raises(TransferError, match=r"nothing was run.*torch\.save\(network\.state_dict\(\)"):
        read_source(path)
    assert not trap.exists()


def test_a_pickled_network_is_refused(tmp_path):
    with pytest.raises(TransferError, match="Python objects"):
        read_source(saved(nn.Sequential(nn.Conv3d(1, 1, 1)), tmp_path / "a.pt"))


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.9])
def test_a_truncated_file_is_refused(tmp_path, suffix, share):
    path = tmp_path / f"a.{suffix}"
    torch.save(WEIGHTS, path) if suffix == "pt" else safetensors.torch.save_file(WEIGHTS, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(TransferError, match=r"^source '.*' (cannot be read \(.+\).*\.pt|is no plain file|is empty)"):
        read_source(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_no_damage_whatever_ends_in_another_error(tmp_path):
    """Torch fails on damaged files of its older format in a dozen ways: struct.error, IndexError, AssertionError …"""
    path, drawn, refusals = tmp_path / "a.pt", random.Random(0), []
    torch.save(WEIGHTS, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    for _ in range(150):
        damaged = bytearray(content[: drawn.randrange(1, len(content))])
        for _ in range(3):
            damaged[drawn.randrange(len(damaged))] = drawn.randrange(256)
        path.write_bytes(bytes(damaged))
        try:
            read_source(path)
        except TransferError as error:
            refusals.append(str(error))
    assert len(refusals) > 140
    assert not any("\n" in line for line in refusals)


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"", "is empty"), (b"not weights at all", "is a text file"), (gzip.compress(b"an image"), "is a compressed file")],
)
def test_what_is_no_weights_file_is_called_what_it_is(tmp_path, content, what):
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(TransferError, match=rf"a\.pt' {what}; needed is a \.pt or \.safetensors"):
        read_source(tmp_path / "a.pt")


def test_an_archive_of_other_files_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/scan.txt", "text")
    with pytest.raises(TransferError, match=r"is an archive of other files; needed"):
        read_source(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "holds nothing"),
        ({"epoch": 3, "optimizer": {"lr": 0.1}}, "holds epoch, optimizer"),
        ({"model": {"epoch": 3}}, "holds epoch"),
        ({"model": {}}, "holds nothing"),
    ],
)
def test_a_checkpoint_without_weights_is_refused(tmp_path, content, message):
    needed = (
        "holds no weights: .*a state dict.* under model, network, net, state_dict, model_state_dict, network_weights, student"
    )
    with pytest.raises(TransferError, match=f"{needed}; .*{message}$"):
        read_source(saved(content, tmp_path / "a.pt"))


def test_entries_that_are_no_tensors_are_named(tmp_path):
    with pytest.raises(TransferError, match=r"no weights.*1 of its 2 .*step \(int\)"):
        read_source(saved({"a.weight": torch.zeros(1), "step": 3}, tmp_path / "a.pt"))


def test_files_that_differ_in_one_number_are_refused(tmp_path):
    saved(WEIGHTS, tmp_path / "model.pt")
    (tmp_path / "models").mkdir()
    saved({"model": WEIGHTS | {"head.count": torch.tensor(8)}}, tmp_path / "models" / "model.pt")
    with pytest.raises(TransferError, match=r"different.*\(head.count\)"):
        find_weights(tmp_path)
    saved({"model": WEIGHTS}, tmp_path / "models" / "model.pt")
    assert find_weights(tmp_path) == tmp_path / "models" / "model.pt"


def test_only_a_last_state_is_of_a_training_that_is_not_finished(tmp_path):
    saved({"network": WEIGHTS}, tmp_path / "last.pt")
    with pytest.raises(TransferError, match="last.pt.*unfinished.*--resume true"):
        find_weights(tmp_path)


@pytest.mark.parametrize(("content", "kind"), [([torch.zeros(1)], "list"), (torch.zeros(1), "Tensor"), (3, "int")])
def test_what_is_no_state_dict_is_refused(tmp_path, content, kind):
    with pytest.raises(TransferError, match=f"holds a {kind}"):
        read_source(saved(content, tmp_path / "a.pt"))


def test_a_checkpoint_that_holds_itself_is_refused(tmp_path):
    content: dict = {}
    content["model"] = content
    with pytest.raises(TransferError, match="holds a dict.*state dict of named weights"):
        read_source(saved(content, tmp_path / "a.pt"))


def written(name: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"name": name}), encoding="utf-8")


def test_a_run_s_own_metadata_goes_before_its_bundle_s(tmp_path):
    path = saved(WEIGHTS, tmp_path / "models" / "model.pt")
    assert read_source(tmp_path).metadata is None
    written("bundle", tmp_path / "configs" / "metadata.json")
    assert read_source(tmp_path).metadata == {"name": "bundle"}
    assert read_source(path).metadata == {"name": "bundle"}
    written("run", tmp_path / "models" / "metadata.json")
    assert read_source(tmp_path).metadata == {"name": "run"}


def test_a_run_folder_takes_no_metadata_from_elsewhere(tmp_path):
    saved(WEIGHTS, tmp_path / "run" / "model.pt")
    written("stranger", tmp_path / "configs" / "metadata.json")
    assert read_source(tmp_path / "run").metadata is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"name": ', "is damaged (line 1: Expecting value): correct it or remove it"),
        (b"\xff\xfe", "is damaged (it is not UTF-8 text)"),
        (b"[1, 2]", "is damaged (it holds a list instead of an object)"),
        (b"[]", "is damaged (it holds a list instead of an object)"),
        (b'"text"', "is damaged (it holds a str instead of an object)"),
    ],
)
def test_metadata_that_cannot_be_read_is_refused(tmp_path, content, message):
    path = saved(WEIGHTS, tmp_path / "model.pt")
    (tmp_path / "metadata.json").write_bytes(content)
    with pytest.raises(DataError, match=re.escape(f"metadata.json {message}")):
        read_source(path)


def test_a_bundle_s_config_is_never_run(tmp_path):
    trap = tmp_path / "created"
    config = f"imports: [$import os]\ntrap: $os.mkdir({str(trap)!r})\ninitialize: [$os.mkdir({str(trap)!r})]\nrun: ['@trap']\n"
    saved(WEIGHTS, tmp_path / "models" / "model.pt")
    written(f"$__import__('os').mkdir({str(trap)!r})", tmp_path / "configs" / "metadata.json")
    (tmp_path / "configs" / "train.yaml").write_text(config, encoding="utf-8")
    source = read_source(tmp_path)
    assert source.metadata is not None
    assert source.metadata["name"].startswith("$__import__")
    assert not trap.exists()


def test_loading_sets_every_weight_and_gives_the_network_back(tmp_path, tiny):
    source, network = tiny(seed=1), tiny(seed=2)
    path = saved({"model": source.state_dict()}, tmp_path / "a.pt")
    assert load_weights(network, path) is network
    assert same(network.state_dict(), source.state_dict())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("head.bias"), 'Missing … state_dict: "head.bias"'),
        (lambda state: state.update({"aux.bias": torch.zeros(1)}), 'Unexpected … state_dict: "aux.bias"'),
        (lambda state: state.update({"head.bias": torch.zeros(3)}), "size … head.bias"),
    ],
    ids=["missing", "surplus", "shape"],
)
def test_loading_another_network_s_weights_is_refused(tmp_path, tiny, change, message):
    state = tiny().state_dict()
    change(state)
    path = saved(state, tmp_path / "a.pt")
    with pytest.raises(TransferError, match=r"a\.pt' does not hold the weights of this network: ") as raised:
        load_weights(tiny(), path)
    mentions(str(raised.value), message)
    assert "\n" not in str(raised.value)
