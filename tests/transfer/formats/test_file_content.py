"""Files are read by their bytes, whatever they are called, and nothing in them is run."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from monai_tl.errors import TransferError
from monai_tl.transfer.formats.file_content import read_content
from monai_tl.transfer.source import read_source
from tests.conftest import mentions

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_safetensors_called_pth(tmp_path):
    """As some of Brainchop's files."""
    path = tmp_path / "model.pth"
    safetensors.torch.save_file(WEIGHTS, path)
    with pytest.raises(Exception, match="UnpicklingError|invalid|Weights only|header|magic|unpickl"):
        torch.load(path, weights_only=True)  # the naive way goes by the suffix
    assert torch.equal(read_source(path).weights["a.weight"], WEIGHTS["a.weight"])


def test_a_checkpoint_called_safetensors(tmp_path):
    path = tmp_path / "model.safetensors"
    torch.save(WEIGHTS, path)
    assert torch.equal(read_source(path).weights["a.weight"], WEIGHTS["a.weight"])


@pytest.mark.parametrize("share", [0.001, 0.02, 0.5, 0.99])
def test_truncated_safetensors_are_refused(tmp_path, share):
    path = tmp_path / "model.pth"
    safetensors.torch.save_file({"a": torch.zeros(1000)}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(TransferError, match=r"cannot be read|damaged"):
        read_content(path)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16, np.int64, np.int32, np.uint8, np.bool_])
def test_numbers_of_numpy_are_read(tmp_path, kind):
    torch.save({"model": WEIGHTS, "best": kind(1), "history": [kind(0), kind(1)]}, tmp_path / "a.pt")
    content = read_content(tmp_path / "a.pt")
    assert content["best"] == 1
    assert type(content["best"]) is kind


def test_numbers_as_numpy_1_named_them_are_read(tmp_path):
    path = tmp_path / "a.pt"
    torch.save({"model": WEIGHTS, "best": np.float64(0.5)}, path, _use_new_zipfile_serialization=False)
    new, old = b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"
    content = path.read_bytes()
    assert new in content
    path.write_bytes(content.replace(new, old))
    with pytest.raises(Exception, match="Weights only"):
        torch.load(path, weights_only=True)
    assert read_content(path)["best"] == 0.5


def test_arrays_of_objects_are_refused(tmp_path):
    torch.save({"model": WEIGHTS, "any": np.array([object()], dtype=object)}, tmp_path / "a.pt")
    with pytest.raises(TransferError, match="Python objects"):
        read_content(tmp_path / "a.pt")


def test_objects_are_refused_by_their_name(tmp_path):
    torch.save({"model": WEIGHTS, "args": argparse.Namespace(lr=1)}, tmp_path / "a.pt")
    with pytest.raises(TransferError, match=r"Python objects \(argparse.Namespace\).*nothing was run"):
        read_content(tmp_path / "a.pt")


class CreatesAFolder:
    """Pickles to an instruction to create a folder on loading."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("place", ["network_weights", "init_args", "_best_ema", "nnssl_adaptation_plan"])
def test_code_in_a_file_of_any_family_is_refused_and_not_run(tmp_path, place):
    trap, path = tmp_path / "created", tmp_path / "checkpoint_final.pth"
    torch.save({"network_weights": WEIGHTS, "trainer_name": "a", place: CreatesAFolder(trap)}, path)
    with pytest.raises(TransferError, match=r"Python objects \(posix.mkdir\)"):
        read_source(path)
    assert not trap.exists()
    torch.load(path, weights_only=False)
    assert trap.exists()  # the trap was a real one


def test_torchscript_is_refused_with_a_remedy(tmp_path):
    path = tmp_path / "model.pt"
    torch.jit.script(nn.Conv3d(1, 1, 1)).save(path)
    with pytest.raises(TransferError) as raised:
        read_content(path)
    mentions(str(raised.value), f"'{path}' … TorchScript … nothing was run … torch.jit.load … state_dict()")
