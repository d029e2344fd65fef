"""Every strategy through the whole training: killed and resumed, it ends with the same weights; its records are complete."""

from __future__ import annotations

import csv
import json
import shutil

import pytest
import torch

from tests.conftest import BRATS, mentions

STRATEGIES = ("head", "gradual", "llrd0.75", "l2sp0.01", "lora2", "bitfit", "ema", "warmup", "valley", "sawtooth")


def flags_of_run(tiny_flags, strategy, output, *more):
    flags = dict(zip(tiny_flags[::2], tiny_flags[1::2], strict=True)) | {"--strategy": strategy}
    flags["--iterations"] = "6" if strategy == "gradual" else "4"  # it has six phases
    flags["--inference_window"] = "[32,32,32]"
    return ("transfer", *(word for flag in flags.items() for word in flag), "--output", output, *more)


def weights(path):
    return torch.load(path, weights_only=True)


def differing(one, other, name=""):
    """Name what differs, bit for bit, in nested states."""
    if isinstance(one, torch.Tensor):
        return [] if torch.equal(one, other) else [name]
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        return [found for key in one for found in differing(one[key], other[key], f"{name}.{key}")]
    if isinstance(one, list | tuple):
        assert len(one) == len(other)
        return [found for key, value in enumerate(one) for found in differing(value, other[key], f"{name}.{key}")]
    return [] if one == other else [name]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_killed_and_resumed_it_ends_the_same(strategy, tiny_flags, tmp_path, verb, kill_at, monkeypatch):
    """Optimiser, schedule, averaged weights, adapters, and what is frozen: `last.pt` is the same to the last bit."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    answer = verb(*flags_of_run(tiny_flags, strategy, whole))
    assert answer.code == 0, answer.err
    kill_at(4)
    assert verb(*flags_of_run(tiny_flags, strategy, parts)).code != 0
    monkeypatch.undo()
    assert weights(parts / "last.pt")["iteration"] == 2
    answer = verb(*flags_of_run(tiny_flags, strategy, parts, "--resume", "true"))
    assert answer.code == 0, answer.err
    mentions(answer.out + answer.err, "resumed at iteration 2")
    assert not differing(weights(whole / "last.pt"), weights(parts / "last.pt"))
    assert not differing(weights(whole / "model.pt"), weights(parts / "model.pt"))
    report = json.loads((whole / "transfer_report.json").read_text())
    assert report["strategy"]["name"] == strategy
    assert set(weights(whole / "model.pt")) == set(report["weights"])  # an ordinary network


@pytest.mark.slow
def test_a_study_compares_them(tiny_flags, tmp_path, verb):
    """Planned with its cost, run, gathered and reported; folders are safe, and each arm trains what its name says."""
    folder, arms = tmp_path / "study", "freeze=conv_0+res_2,lora2,valley"
    words = ("study", "layers", *tiny_flags, "--arms", arms, "--seeds", "1", "--output", folder)
    planned = verb(*words, "--plan")
    assert planned.code == 0, planned.err
    assert {line.split()[0] for line in planned.out.splitlines() if "up to 4" in line} == set(arms.split(","))
    answer = verb(*words)
    assert answer.code == 0, answer.err
    assert sorted(path.name for path in (folder / "runs").iterdir()) == [
        "freeze-conv_0+res_2_n3_seed0", "lora2_n3_seed0", "valley_n3_seed0",
    ]  # fmt: skip
    trained = {row["arm"]: float(row["trainable"]) for row in csv.DictReader((folder / "runs.csv").open())}
    assert trained["lora2"] < trained["freeze=conv_0+res_2"] < trained["valley"]
    assert verb("report", folder).code == 0
    page = (folder / "report.html").read_text()
    mentions(page, "freeze conv_0+res_2", "LoRA rank 2", "Hu et al. 2022, arXiv 2106.09685", "Trained parameters")
    assert verb(*words).code == 0, "finished runs are skipped"
    mentions(verb(*words[:-2], "--strategy", "lora2", "--output", folder).err, "--strategy differs from run to run", "--arms")


@pytest.mark.slow
def test_phases_are_proven_and_named(tiny_flags, tmp_path, verb):
    run = tmp_path / "run"
    answer = verb(*flags_of_run(tiny_flags, "gradual", run))
    assert answer.code == 0, answer.err
    said = answer.out + answer.err
    mentions(said, "gradual unfreezing (Howard and Ruder 2018, arXiv 1801.06146)", "iterations 1–1: conv_2")
    report = json.loads((run / "transfer_report.json").read_text())
    states = {name: row["state"] for name, row in report["stages"].items()}
    assert states == {
        "conv_0": "frozen until iteration 5", "res_1": "frozen until iteration 4", "res_2": "frozen until iteration 3",
        "res_3": "frozen until iteration 2", "conv_1": "frozen until iteration 1", "conv_2": "trained",
    }  # fmt: skip
    rows = list(csv.DictReader((run / "phases.csv").open()))
    assert [row["frozen"].count("+") for row in rows[:4]] == [4, 3, 2, 1]
    assert all(row["sha256_begin"] == row["sha256_end"] for row in rows)


@pytest.mark.parametrize(
    ("flags", "facts"),
    [
        (["--strategy", "lor8"], "no strategy is called 'lor8' … did you mean 'lora8'"),
        (["--strategy", "lora0"], "from 1 … '0'"),
        (["--strategy", "head", "--freeze", "2"], "strategy head … set freeze to 0, not 2 … lora"),
        (["--strategy", "lora8", "--freeze", "9"], "0–5 … 9"),
        (["--strategy", "decoder"], "decoder … conv_0, res_1"),
        (["--strategy", "lora8", "--scratch"], "omit --scratch"),
        (["--strategy", "untrained"], "monai_tl evaluate"),
        (["--strategy", "scratch"], "--strategy scratch takes no source … omit --source"),
        (["--strategy", "freeze=conv_0+res_9"], "'res_9' … res_2"),
        (["--strategy", "gradual"], "gradual needs 6 iterations … not 4"),
        (["--strategy", "llrd0.5", "--stage_rate", "0.9"], "stage_rate to 1.0 … 0.9"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_written(flags, facts, tiny_flags, tmp_path, verb):
    answer = verb("transfer", *tiny_flags, *flags, "--output", tmp_path / "run")
    assert answer.code == 2
    mentions(answer.err, *facts.split(" … "))
    assert len(answer.err.strip().splitlines()) == 1, answer.err
    assert not (tmp_path / "run").exists()


def test_arms_differ_only_in_what_their_names_say(tiny_flags, tmp_path, verb):
    """A target whose own config sets a strategy would give it to every arm."""
    bundle = tmp_path / "bundle"
    shutil.copytree(BRATS, bundle, ignore=shutil.ignore_patterns("models"))
    config = bundle / "configs" / "transfer.yaml"
    config.write_text(config.read_text().replace("strategy: null", "strategy: lora8"))
    words = [str(bundle) if word == str(BRATS) else word for word in tiny_flags]
    answer = verb("study", "layers", *words, "--arms", "0,2", "--seeds", "1", "--output", tmp_path / "study")
    assert answer.code == 2
    mentions(answer.err, "strategy", "lora8", "null")
