"""Every strategy through the whole training: killed and resumed, it ends with the same weights; its records are complete."""

from __future__ import annotations

import json

import pytest
import torch

from tests.conftest import mentions

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
