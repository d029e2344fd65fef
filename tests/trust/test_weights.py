"""Which weights: sources that hold nonsense, two files in one place, other number formats, names with prefixes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tests.conftest import BRATS, TINY, mentions

TOPIC = "Weights and scores"
SHORT = {"window": "[12,12,12]", "iterations": 2, "validate_every": 2, "patience": 0, "batch_size": 1, "device": "cpu"}
SHORT["inference_window"] = "[32,32,32]"


@pytest.fixture
def weights(source) -> dict[str, torch.Tensor]:
    return torch.load(source / "model.pt", weights_only=True)


@pytest.fixture
def copy_of_source(source, tmp_path):
    """The run as it was after training: other tests score the one they share."""

    def copy(name):
        return shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("scores_*", "overlays_*"))

    return copy


@pytest.fixture
def given(source, tmp_path):
    """Leave weights as a source with the metadata of the one that they were; gives its folder."""

    def give(content, name="model.pt"):
        folder = tmp_path / "given"
        folder.mkdir(exist_ok=True)
        shutil.copy(source / "metadata.json", folder)
        if name.endswith(".pt"):
            torch.save(content, folder / name)
        else:
            export(content, folder / name)
        return folder

    return give


@pytest.fixture
def transfer(verb, phantoms, tmp_path):
    """Fine-tune from a source for two iterations, the first two stages held still."""

    def call(source, *more):
        flags = {"source": source, "target": BRATS, "dataset_dir": phantoms / "brats", "output": tmp_path / "run", **SHORT}
        return verb("transfer", *(str(word) for name, value in flags.items() for word in (f"--{name}", value)), *more)

    return call


def export(content: dict[str, torch.Tensor], path: Path) -> None:
    safetensors.torch.save_file({name: value.contiguous() for name, value in content.items()}, path)


def refused(answer, run: Path, *texts: str) -> None:
    assert answer.code == 2, answer.err
    assert "Traceback" not in answer.err
    assert not run.exists()
    for text in texts:
        mentions(answer.err, text)


BROKEN = {
    "a source whose weights hold NaN": (
        "conv_1.conv.weight",
        float("nan"),
        "NaN or infinite values in conv_1.conv.weight (64 of",
    ),
    "a source with an infinite variance": (
        "res_1.0.layers.0.N.running_var",
        float("inf"),
        "in res_1.0.layers.0.N.running_var (1 of",
    ),
    "a source with a variance below 0": (
        "conv_0.adn.N.running_var",
        -1.0,
        "variances below 0 … running_var",
    ),
}


@pytest.mark.parametrize("came", BROKEN)
def test_a_source_that_holds_nonsense_is_refused(weights, given, transfer, says, tmp_path, came):
    name, value, text = BROKEN[came]
    key = name if name in weights else next(one for one in weights if one.endswith("running_var"))
    weights[key][0] = value
    answer = transfer(given(weights))
    refused(answer, tmp_path / "run", text.replace(name, key))
    says(TOPIC, came, "transfer, evaluate, predict", answer, text.replace(name, key))


def test_weights_that_hold_nan_predict_and_score_nothing(weights, copy_of_source, phantoms, verb, says, tmp_path):
    """A run whose weights were spoiled afterwards: no empty predictions, no Dice of 0."""
    run = copy_of_source("spoiled")
    weights["conv_2.conv.bias"][:] = float("nan")
    torch.save(weights, run / "model.pt")
    text = "NaN … infinite … conv_2.conv.bias (2 of 2)"
    refused(verb("predict", "--bundle", run, "--input", phantoms / "ixi", "--output", tmp_path / "p"), tmp_path / "p", text)
    answer = verb("evaluate", "--run", run)
    refused(answer, run / "scores_test.csv", text)
    says(TOPIC, "a run whose weights hold NaN", "evaluate, predict, transfer", answer, text)


def test_a_source_of_integers_or_with_what_is_no_tensor_is_named(weights, given, transfer, says, tmp_path):
    name = "res_2.0.layers.0.conv.weight"
    name = name if name in weights else next(one for one in weights if one.startswith("res_2") and one.endswith("conv.weight"))
    answer = transfer(given(weights | {name: (100 * weights[name]).to(torch.int8)}))
    refused(answer, tmp_path / "run", f"{name} (int8)")
    says(TOPIC, "a source whose weights are integers", "transfer, evaluate, predict", answer, f"{name} (int8)")
    answer = transfer(given(weights | {"conv_0.step": 7}))
    refused(answer, tmp_path / "run", f"1 of … {len(weights) + 1} … conv_0.step")
    says(TOPIC, "a source with entries that are no weights", "transfer, evaluate, predict", answer, "conv_0.step (int)")
    answer = transfer(given(weights | {"conv_1.conv.weight": torch.zeros(0)}))
    refused(answer, tmp_path / "run", "empty: conv_1.conv.weight")
    answer = transfer(given({"n_averaged": torch.tensor(3), **{f"module.{key}": value for key, value in weights.items()}}))
    refused(answer, tmp_path / "run", "1 weights … n_averaged")
    says(TOPIC, "an average of weights with its counter", "transfer", answer, "n_averaged")


def test_other_number_formats_are_converted_and_reported(weights, given, transfer, says, tmp_path):
    changed = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    answer = transfer(given(changed), "--freeze", "2")
    assert answer.code == 0, answer.err
    text = f"{sum(value.is_floating_point() for value in weights.values())} weights converted from float16 to float32"
    says(TOPIC, "a source in half precision", "transfer, evaluate, predict", answer, text)
    made = torch.load(tmp_path / "run" / "model.pt", weights_only=True)
    assert {value.dtype for value in made.values()} == {torch.float32, torch.int64}
    assert torch.equal(made["conv_0.conv.weight"], changed["conv_0.conv.weight"].float()), "frozen, so still the source's"
    assert json.loads((tmp_path / "run" / "transfer_report.json").read_text())["source"]["notes"] == [text]


def test_numbers_beyond_the_format_are_refused(weights, given, transfer, tmp_path):
    wide = {name: value.double() if value.is_floating_point() else value for name, value in weights.items()}
    wide["conv_1.conv.weight"][0] = 1e300
    text = "conv_1.conv.weight (float64 … float32"
    refused(transfer(given(wide)), tmp_path / "run", text)


def test_counters_that_are_missing_begin_at_0(weights, given, transfer, says, tmp_path):
    old = {name: value for name, value in weights.items() if not name.endswith("num_batches_tracked")}
    answer = transfer(given(old), "--freeze", "2")
    assert answer.code == 0, answer.err
    text = f"{len(weights) - len(old)} … BatchNorm … (num_batches_tracked) … 0"
    says(TOPIC, "a source from before BatchNorm counted", "transfer, evaluate, predict", answer, text)
    made = torch.load(tmp_path / "run" / "model.pt", weights_only=True)
    counters = [name for name in weights if name.endswith("num_batches_tracked") and name.startswith("conv_0")]
    assert [int(made[name]) for name in counters] == [0], "frozen: nothing counted"
    half = {name: value for name, value in weights.items() if not name.endswith("running_mean")}
    shutil.rmtree(tmp_path / "run")
    refused(transfer(given(half)), tmp_path / "run", "weights have no counterpart in the source", "running_mean")


def test_prefixes_are_stripped_by_fit_and_reported(weights, given, transfer, says, tmp_path):
    """Further prefixes: tests/transfer/test_tensors.py."""
    lightning = {
        "epoch": 1,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": {f"_model.{name}": value for name, value in weights.items()},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0)}}}],
        "hyper_parameters": {"lr": 1e-3, "model": {"depth": 3}},
    }
    answer = transfer(given(lightning), "--freeze", "2")
    assert answer.code == 0, answer.err
    text = "prefix '_model.'"
    says(TOPIC, "a Lightning checkpoint of self._model", "transfer, evaluate, predict", answer, text)
    made = torch.load(tmp_path / "run" / "model.pt", weights_only=True)
    assert torch.equal(made["conv_0.conv.weight"], weights["conv_0.conv.weight"])


def test_weights_that_are_there_twice_are_refused(weights, given, transfer, says, tmp_path):
    both = {f"{prefix}.{name}": value for prefix in ("student", "teacher") for name, value in weights.items()}
    answer = transfer(given(both))
    refused(answer, tmp_path / "run", "'student.' … 'teacher.'")
    says(TOPIC, "student and teacher in one file", "transfer, evaluate, predict", answer, "'student.' … 'teacher.'")
    refused(transfer(given({"net": weights, "model": weights})), tmp_path / "run", "holds weights under model and net")
    answer = transfer(given({"state_dict": weights, "ema_state_dict": weights}))
    mentions(answer.out, "'state_dict' … ema_state_dict")


def test_two_files_of_weights_that_differ_are_refused_by_every_verb(
    weights, copy_of_source, phantoms, verb, transfer, says, tmp_path
):
    run = copy_of_source("twins")
    older = {name: value + 1 if value.is_floating_point() else value for name, value in weights.items()}
    export(older, run / "model.safetensors")
    text = f"'{run / 'model.pt'}' … '{run / 'model.safetensors'}' … different"
    refused(transfer(run), tmp_path / "run", text)
    refused(verb("predict", "--bundle", run, "--input", phantoms / "ixi", "--output", tmp_path / "p"), tmp_path / "p", text)
    answer = verb("evaluate", "--run", run)
    refused(answer, run / "scores_test.csv", text, "remove or rename one")
    says(
        TOPIC,
        "model.pt next to an older model.safetensors",
        "evaluate, predict, transfer, compare, study",
        answer,
        "hold different",
    )


def test_two_files_of_the_same_weights_are_one(weights, copy_of_source, verb):
    run = copy_of_source("twins")
    export(weights, run / "model.safetensors")
    answer = verb("evaluate", "--run", run)
    assert answer.code == 0, answer.err
    assert "hold the same weights;" in answer.out + answer.err
    assert json.loads((run / "scores_test.json").read_text())["weights"] == str(run / "model.pt")


def test_a_bundle_with_weights_in_two_places_is_refused(weights, given, transfer, says, tmp_path):
    folder = given(weights)
    (folder / "models").mkdir()
    torch.save({name: value * 0 for name, value in weights.items()}, folder / "models" / "model.pt")
    answer = transfer(folder)
    refused(answer, tmp_path / "run", "different weights")
    says(TOPIC, "models/model.pt next to another model.pt", "evaluate, predict, transfer", answer, "different weights")


def test_last_pt_alone_is_of_a_training_that_is_not_finished(source, transfer, says, tmp_path):
    (tmp_path / "cut").mkdir()
    shutil.copy(source / "last.pt", tmp_path / "cut")
    answer = transfer(tmp_path / "cut")
    text = f"{tmp_path / 'cut' / 'last.pt'} … finished … --resume"
    refused(answer, tmp_path / "run", text)
    says(TOPIC, "a folder with last.pt alone", "evaluate, predict, transfer", answer, "last.pt … unfinished … --resume true")


def test_a_training_that_holds_nan_does_not_go_on(source, copy_of_source, verb, says, phantoms, tmp_path):
    run = copy_of_source("diverged")
    last = torch.load(run / "last.pt", weights_only=True)
    last["network"]["conv_1.conv.weight"][0] = float("nan")
    torch.save(last, run / "last.pt")
    (run / "config.yaml").write_text((run / "config.yaml").read_text().replace(str(source), str(run)))
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    flags = {"dataset_dir": phantoms / "ixi", **{name: str(value).replace(" ", "") for name, value in TINY.items()}}
    words = [str(word) for name, value in flags.items() for word in (f"--{name}", value)]
    answer = verb("train", "--bundle", BRATS.parent / "ixi_hippocampus", "--output", run, *words, "--resume", "true")
    assert answer.code == 2
    says(TOPIC, "a training to resume whose last.pt holds NaN", "train, transfer", answer, "network.conv_1.conv.weight")
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.name in before} == before


def test_statistics_that_overflow_are_never_written(phantoms, verb, says, tmp_path):
    """The loss stays finite, since training does not use the statistics; validation and every later use would."""
    run = tmp_path / "run"
    flags = {"bundle": BRATS, "dataset_dir": phantoms / "brats", "output": run, **SHORT, "normalisation": "zscore_volume"}
    words = [str(word) for name, value in flags.items() for word in (f"--{name}", value)]
    scale = "[{'_target_':'ScaleIntensityd','keys':'image','minv':0.0,'maxv':1e30}]"
    answer = verb("train", *words, "--precision", "float32", "--crop", "{'_target_':'Compose','transforms':" + scale + "}")
    assert answer.code == 2, answer.out
    assert "Traceback" not in answer.err
    assert not (run / "model.pt").exists()
    assert not (run / "last.pt").exists()
    says(TOPIC, "statistics of BatchNorm that overflow", "train, transfer", answer, "NaN or")


def test_weights_named_for_a_prediction_are_those_that_it_notes(weights, source, phantoms, verb, tmp_path):
    """--ckpt once loaded other weights than predictions.json named."""
    torch.save({name: value * 0 for name, value in weights.items()}, tmp_path / "zero.pt")
    words = ("predict", "--bundle", source, "--input", phantoms / "ixi" / "datalist.json", "--split", "test")
    words += ("--output", tmp_path / "p")
    assert verb(*words, "--ckpt", tmp_path / "zero.pt").code == 0
    from monai_tl.storage.files import sha256_of

    noted = json.loads((tmp_path / "p" / "predictions.json").read_text())["settings"]["weights_sha256"]
    assert noted == sha256_of(tmp_path / "zero.pt")
    answer = verb(*words)
    assert answer.code == 2
    mentions(answer.err, "holds predictions with other settings (weights_sha256 was")
