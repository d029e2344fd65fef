import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from monai_tl.transfer.contract import Contract, describe

METADATA = {
    "name": "Something",
    "network_data_format": {
        "inputs": {"image": {"dtype": "float32", "num_channels": 9}},
        "outputs": {"pred": {"dtype": "float32", "num_channels": 9}},
    },
}


def _tiny(channels: int = 1, classes: int = 2, seed: int = 0) -> nn.Sequential:
    def stage(channels: int, features: int) -> nn.Sequential:
        parts = {"conv": nn.Conv3d(channels, features, 3, padding=1, bias=False), "norm": nn.BatchNorm3d(features)}
        return nn.Sequential(OrderedDict(parts, act=nn.ReLU()))

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(OrderedDict(first=stage(channels, 4), body=stage(4, 4), head=nn.Conv3d(4, classes, 1)))
    network.rebuild = lambda more_inputs, more_outputs: _tiny(channels + more_inputs, classes + more_outputs)
    return network


def _contract(**changed: object) -> Contract:
    usual = {
        "modalities": ["T1"],
        "spacing": [1.0, 1.0, 1.0],
        "orientation": "RAS",
        "normalisation": "zscore_volume",
        "classes": ["background", "hippocampus"],
    }
    return Contract(**{**usual, **changed})


@pytest.fixture
def tiny() -> Callable[..., nn.Sequential]:
    """Build a network of the stages first, body and head: its channels, its classes, the seed of its weights."""
    return _tiny


@pytest.fixture
def contract() -> Callable[..., Contract]:
    """Build a contract: T1 at 1 mm, RAS, whole-volume z-score, hippocampus; any field can be replaced."""
    return _contract


@pytest.fixture
def metadata() -> dict:
    """The least that `describe` fills in."""
    return json.loads(json.dumps(METADATA))


@pytest.fixture
def run_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write a run folder: weights and, where a contract is given, the metadata.json next to them."""

    def write(network: nn.Module, agreed: Contract | None = None, lineage: tuple = (), name: str = "source") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        torch.save(network.state_dict(), folder / "model.pt")
        if agreed is not None:
            (folder / "metadata.json").write_text(json.dumps(describe(METADATA, agreed, lineage)), encoding="utf-8")
        return folder

    return write
