"""A stranger's network through the whole chain, by the command line: train, transfer, evaluate, predict, resume, study."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from tests.conftest import BRATS, IXI, mentions

MODULE = '''
from torch import nn


class {name}(nn.Module):
    """No MONAI, a head that is declared first, and blocks in a list."""

    def __init__(self, in_channels, out_channels, width=8):
        super().__init__()
        self.final = nn.Conv3d(width, out_channels, 1)
        self.stem = nn.Conv3d(in_channels, width, 2, stride=2)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Conv3d(width, width, 3, padding=1), nn.BatchNorm3d(width))])
        self.up = nn.ConvTranspose3d(width, width, 2, stride=2)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.final(self.up(x))
'''
TINY = {"window": "[16,16,16]", "iterations": 2, "validate_every": 2, "patience": 0, "batch_size": 1, "device": "cpu"}
STAGES = "{stem: [stem], body: [blocks, up], head: [final]}"


def flags(**values: object) -> list[str]:
    return [text for name, value in {**TINY, **values}.items() for text in (f"--{name}", str(value))]


@pytest.fixture
def stranger(tmp_path, monkeypatch) -> str:
    """A module in the working directory, with a name of its own for each test, as Python imports a name only once."""
    name = f"stranger_{tmp_path.name.rstrip('0123456789')}"
    (tmp_path / f"{name}.py").write_text(MODULE.format(name="Net"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return f"{name}.Net"


@pytest.mark.parametrize("stages", [STAGES, "auto"])
def test_a_class_of_ones_own_is_trained_transferred_scored_and_applied(verb, phantoms, stranger, stages):
    network = ("--network", stranger, "--set", "width=4", "--stages", stages)
    answer = verb("train", "--bundle", IXI, *flags(dataset_dir=phantoms / "ixi", output="own"), *network)
    assert answer.code == 0, answer.err
    config = yaml.safe_load(Path("own/config.yaml").read_text(encoding="utf-8"))
    assert (config["network_def"]["network"], config["network_def"]["width"]) == (stranger, 4)
    metadata = json.loads(Path("own/metadata.json").read_text(encoding="utf-8"))
    assert metadata["description"].startswith(f"{stranger} that learns")

    where = {"dataset_dir": phantoms / "brats", "source": "own", "target": BRATS, "output": "moved"}
    answer = verb("transfer", *flags(**where, freeze=1), *network)
    assert answer.code == 0, answer.err
    mentions(answer.out, "stem … frozen", "stem unchanged bit for bit")
    before, after = (torch.load(f"{run}/model.pt", weights_only=True) for run in ("own", "moved"))
    same = {name for name in before if before[name].shape == after[name].shape and torch.equal(before[name], after[name])}
    assert {name for name in same if name.startswith("stem")} == {"stem.weight", "stem.bias"}
    assert not {name for name in same if not name.startswith("stem")} - {"blocks.0.1.num_batches_tracked"}

    resumed = verb("transfer", *flags(**where, freeze=1, resume="true"), *network)
    assert resumed.code == 0, resumed.err
    assert all(torch.equal(value, after[name]) for name, value in torch.load("moved/model.pt", weights_only=True).items())
    scored = verb("evaluate", "--run", "moved", "--device", "cpu")
    assert scored.code == 0, scored.err
    assert Path("moved/scores_test.csv").is_file()
    predicted = verb("predict", "--bundle", "moved", "--input", phantoms / "brats", "--output", "masks", "--device", "cpu")
    assert predicted.code == 0, predicted.err
    assert len(list(Path("masks").glob("*_seg.nii.gz"))) == 6


@pytest.mark.parametrize(
    ("given", "facts"),
    [
        (["--network", "{own}"], "Net declares no stages … --stages auto"),
        (["--network", "{own}", "--stages", "{{a: [stem], b: [blocks]}}"], "Net … weights outside its stages a, b"),
        (["--network", "{own}", "--stages", "auto", "--window", "[17,16,16]"], "Net … multiples of 2 … [16,16,16]"),
        (["--network", "{own}x"], "has no class Netx"),
        (["--network", "not_there.Net"], "'not_there.Net' … cannot be imported"),
        (["--network", "SegRestNet"], "'SegRestNet' … 'SegResNet'"),
        (["--network", "SegResNet", "--set", "init_filter=8"], "init_filter … 'init_filters'"),
        (["--network", "SegResNet", "--set", "init_filters=many"], "init_filters='many'"),
        (["--set", "init_filters=8"], "'HighRes3DNet' … 'init_filters' … head_norm"),
        (["--network", "SegResNet", "--head_norm", "true"], "--head_norm has no effect"),
        (["--network", "SegResNet", "--network_def#init_filters", "8"], "--network_def#init_filters … --set"),
        (["--network", "like_source"], "like_source … --source"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_before_anything_is_written(verb, phantoms, stranger, given, facts):
    given = [word.format(own=stranger) for word in given]
    tiny = {name: value for name, value in TINY.items() if f"--{name}" not in given}
    words = [text for name, value in tiny.items() for text in (f"--{name}", str(value))]
    answer = verb("train", "--bundle", IXI, "--dataset_dir", phantoms / "ixi", "--output", "bad", *words, *given)
    assert (answer.code, answer.err.count("\n")) == (2, 1), answer.err
    mentions(answer.err, facts)
    assert not Path("bad").exists()


def test_a_datalist_alone_makes_a_bundle_of_the_network(verb, phantoms, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    where = ("--datalist", phantoms / "ixi" / "datalist.json", "--scratch", "--output", "runs/one")
    answer = verb("transfer", *where, "--network", "SegRestNet")
    mentions(answer.err, "'SegRestNet' … 'SegResNet'")
    assert not Path("runs").exists()
    answer = verb("transfer", *where, *flags(), "--network", "SegResNet", "--set", "init_filters=8")
    assert answer.code == 0, answer.err
    task = yaml.safe_load(Path("runs/ixi_bundle/task.yaml").read_text(encoding="utf-8"))
    assert task["network"] == {"name": "SegResNet", "init_filters": 8}
    assert yaml.safe_load(Path("runs/one/config.yaml").read_text(encoding="utf-8"))["network_def"]["network"] == "SegResNet"
    assert verb("bundle", "check", "runs/ixi_bundle").code == 0


def test_a_study_s_arms_are_the_stages_of_its_network(verb, phantoms, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = ("study", "layers", "--target", BRATS, "--output", "study", "--plan", "--seeds", "1")
    network = ("--network", "SegResNet", "--set", "init_filters=8")
    answer = verb(*study, *flags(dataset_dir=phantoms / "brats"), *network, "--arms", "scratch,random9")
    assert answer.code == 2
    mentions(answer.err, "'random9' … 9 stages … 0 to 7")
    answer = verb(*study, *flags(dataset_dir=phantoms / "brats"), *network, "--arms", "scratch,random7")
    assert answer.code == 0, answer.err
    mentions(answer.out, "random7")
