"""What only a GPU shows: its number formats, frozen stages, resuming, predictions. Without one, all of it is skipped."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.inferers import SimpleInferer
from monai.losses import DiceCELoss

from monai_tl.device import MixedPrecisionInferer, place
from monai_tl.networks.highres3dnet import HighRes3DNet
from monai_tl.training.cost import read_costs
from monai_tl.transfer.freeze import freeze
from tests.conftest import BRATS, TINY

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is visible")
GPU = torch.device("cuda:0")


def task():
    """Two patches with a bright ball to segment, and a network that has not seen them."""
    torch.manual_seed(0)
    axis = torch.linspace(-1, 1, 32)
    ball = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2 < 0.2).float()
    label = torch.stack([ball, ball.roll(6, 0)])[:, None]
    return HighRes3DNet(2, 2), torch.randn(2, 2, 32, 32, 32) + label, label


def losses(network, image, label, precision, steps=50):
    network = place(copy.deepcopy(network), GPU)
    inferer = MixedPrecisionInferer(SimpleInferer(), GPU, precision)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    loss_of, image, label = DiceCELoss(to_onehot_y=True, softmax=True), image.to(GPU), label.to(GPU)
    found = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = loss_of(inferer(image, network), label)
        loss.backward()
        optimiser.step()
        found.append(loss.item())
    return np.array(found)


def test_training_in_bfloat16_follows_training_in_float32():
    network, image, label = task()
    half, full = (losses(network, image, label, precision) for precision in ("auto", "float32"))
    assert MixedPrecisionInferer(SimpleInferer(), GPU).precision == "bfloat16"
    assert full[-1] < 0.5 * full[0]
    assert np.abs(half - full).mean() < 0.015 * full.mean(), (half, full)


def test_logits_are_the_cpus():
    network, image, _ = task()
    network.eval()
    with torch.no_grad():
        ours = MixedPrecisionInferer(SimpleInferer(), GPU, "float32")(image.to(GPU), place(copy.deepcopy(network), GPU))
        theirs = network(image)
    assert torch.allclose(ours.cpu(), theirs, atol=2e-3 * theirs.abs().max().item())


def test_frozen_stages_take_less_memory():
    def peak(frozen):
        network, image, label = task()
        freeze(network, frozen)
        torch.cuda.reset_peak_memory_stats()
        losses(network, image, label, "auto", steps=2)
        return torch.cuda.max_memory_allocated()

    whole, part = peak([]), peak(["conv_0", "res_1", "res_2", "res_3"])
    assert part < 0.5 * whole, (part, whole)


@pytest.fixture(scope="module")
def fine_tuned(tmp_path_factory, source, phantoms):
    """A transfer on the GPU from a source that the CPU trained."""
    from monai_tl import cli

    run = tmp_path_factory.mktemp("runs") / "freeze_2"
    settings = {**TINY, "device": "cuda", "dataset_dir": str(phantoms / "brats")}
    cli.transfer(source=str(source), target=str(BRATS), freeze=2, output=str(run), **settings)
    return run


def test_a_transfer_holds_its_frozen_stages_and_states_its_cost(fine_tuned, source):
    ours, theirs = (torch.load(run / "model.pt", map_location="cpu", weights_only=True) for run in (fine_tuned, source))
    moved = {name.split(".")[0] for name, value in ours.items() if not torch.equal(value, theirs[name])}
    assert not {"conv_0", "res_1"} & moved
    assert {"res_2", "res_3", "conv_2"} <= moved
    device = json.loads((fine_tuned / "provenance.json").read_text())["device"]
    assert device["asked"].startswith("cuda")
    assert torch.cuda.get_device_name() in device["gpus"]
    assert all(0 < cost.step_seconds < 60 and 1 < cost.memory_mib < 4096 for cost in read_costs(fine_tuned))


def test_an_interrupted_run_goes_on_where_it_was(fine_tuned, source, phantoms, tmp_path, verb, kill_at, monkeypatch):
    flags = {"source": source, "target": BRATS, "freeze": 2, "output": tmp_path / "run", "dataset_dir": phantoms / "brats"}
    flags |= {**TINY, "device": "cuda"}
    words = [text for name, value in flags.items() for text in (f"--{name}", str(value).replace(" ", ""))]
    kill_at(4)
    assert verb("transfer", *words).code == 130
    monkeypatch.undo()
    assert verb("transfer", *words, "--resume", "true").code == 0
    ours, theirs = (
        torch.load(run / "last.pt", map_location="cpu", weights_only=True)["network"] for run in (tmp_path / "run", fine_tuned)
    )
    for name, value in theirs.items():  # a GPU's sums are not bit-identical from run to run
        assert torch.allclose(ours[name].float(), value.float(), rtol=0.05, atol=1e-2), name


def test_predictions_are_the_cpus(fine_tuned, phantoms, tmp_path, verb):
    masks = {}
    for device in ("cpu", "cuda"):
        words = ["--input", phantoms / "brats" / "datalist.json", "--output", tmp_path / device, "--device", device]
        assert verb("predict", "--bundle", fine_tuned, *words, "--probabilities", "--precision", "float32").code == 0
        found = sorted((tmp_path / device).glob("*_probability.nii.gz"))
        masks[device] = np.stack([np.asanyarray(nib.load(path).dataobj) for path in found])
    assert np.abs(masks["cpu"] - masks["cuda"]).max() < 0.05
    assert np.abs(masks["cpu"] - masks["cuda"]).mean() < 0.001


def test_monai_alone_trains_on_it(source, phantoms, tmp_path):
    configs = [str(BRATS / "configs" / f"{name}.yaml") for name in ("train", "transfer")]
    flags = {"config_file": configs, "bundle_root": BRATS, "source": source, "freeze": 2, "run_dir": tmp_path / "run", **TINY}
    flags |= {"dataset_dir": phantoms / "brats", "device": "cuda:0", "workers": 2}
    words = [text for name, value in flags.items() for text in (f"--{name}", str(value))]
    subprocess.run([sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", *words], check=True)
    assert (tmp_path / "run" / "model.pt").is_file()


def test_a_study_runs_on_it(source, phantoms, tmp_path, verb):
    words = ["--source", source, "--target", BRATS, "--dataset_dir", phantoms / "brats", "--output", tmp_path / "study"]
    tiny = [text for name, value in TINY.items() for text in (f"--{name}", str(value).replace(" ", ""))]
    answer = verb("study", "layers", *words, "--arms", "scratch,2", "--seeds", 1, *tiny[:-1], "cuda")
    assert answer.code == 0, answer.err
    assert len((tmp_path / "study" / "runs.csv").read_text().splitlines()) == 3
