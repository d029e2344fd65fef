import json
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from monai_tl.networks.stage_map import StageMap
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
    network.rebuild = partial(_other_tiny, channels, classes)
    return network


def _other_tiny(channels: int, classes: int, more_inputs: bool, more_outputs: bool) -> nn.Sequential:
    return _tiny(channels + more_inputs, classes + more_outputs)


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


class Shaped(nn.Module):
    """A network without values: weights of the given shapes, whose stages are the first parts of their names.

    ``first.conv.weight`` takes the image's channels, and the head's weights and biases return classes.
    """

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.shapes = shapes
        self.stage_map = StageMap({name.split(".")[0]: [name.split(".")[0]] for name in shapes})
        for name, shape in shapes.items():
            *path, key = name.split(".")
            module: nn.Module = self
            for part in path:
                if part not in module._modules:
                    module.add_module(part, nn.Module())
                module = module._modules[part]
            module.register_buffer(key, torch.empty(shape, device="meta"))

    def rebuild(self, more_inputs: bool, more_outputs: bool) -> nn.Module:
        def other(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
            if more_inputs and name.startswith("first") and len(shape) == 5:
                return (shape[0], shape[1] + 1, *shape[2:])
            return (shape[0] + 1, *shape[1:]) if more_outputs and name.startswith("head") and shape else shape

        return Shaped({name: other(name, shape) for name, shape in self.shapes.items()})


@pytest.fixture
def shaped() -> Callable[..., nn.Module]:
    """Build a network from the shapes of its weights."""
    return Shaped
