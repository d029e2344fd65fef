"""The source as it is: what a supervisor asks for first."""

from __future__ import annotations

import json

import pytest
import torch

from monai_tl.inference.scores import read_scores
from tests.conftest import BRATS


@pytest.fixture
def untrained(verb, source, phantoms, tmp_path):
    """Score the source as it is on some phantoms."""

    def call(*flags, data=phantoms / "brats", output=tmp_path / "untrained"):
        words = ("--source", source, "--target", BRATS, "--datalist", data / "datalist.json", "--device", "cpu")
        return verb("evaluate", *words, "--window", "[16,16,16]", "--output", output, *flags), output

    return call


def test_a_source_as_it_is_scores_what_the_source_scores(untrained, verb, source, phantoms):
    """On the source's own test cases, by way of the target's bundle: the same Dice, case by case."""
    answer, run = untrained(data=phantoms / "ixi")
    assert answer.code == 0, answer.err
    assert "classes: source [background, hippocampus], target [background, tumour core]" in answer.out
    assert verb("evaluate", "--run", source, "--split", "test").code == 0
    ours, theirs = (read_scores(folder / "scores_test.csv") for folder in (run, source))
    assert [(one.subject, one.dice, one.prediction_ml) for one in ours] == [
        (one.subject, one.dice, one.prediction_ml) for one in theirs
    ]
    kept, given = (torch.load(folder / "model.pt", weights_only=True) for folder in (run, source))
    assert kept.keys() == given.keys()
    assert all(torch.equal(value, given[name]) for name, value in kept.items())
    assert json.loads((run / "metadata.json").read_text())["validation_dice"] is None


def test_it_stands_in_compare_and_report_as_untrained(untrained, verb, tiny_flags, tmp_path):
    assert untrained(output=tmp_path / "runs" / "untrained")[0].code == 0
    words = iter(tiny_flags)
    flags = [text for name in words for text in (name, next(words)) if name != "--source"]
    scratch = tmp_path / "runs" / "scratch"
    assert verb("transfer", *flags, "--scratch", "--output", scratch).code == 0
    assert verb("evaluate", "--run", scratch, "--split", "test").code == 0
    told = verb("compare", scratch, tmp_path / "runs" / "untrained")
    assert "untrained − scratch" in told.out
    assert verb("report", "--runs", tmp_path / "runs").code == 0
    page = (tmp_path / "runs" / "report.html").read_text()
    assert "Nothing was trained: the weights of" in page
    assert "the source as it is" in page


def test_other_numbers_of_classes_and_a_second_call_are_refused(untrained, verb, source, tmp_path):
    answer, run = untrained("--classes", "['background','core','oedema']")
    assert answer.code == 2, answer.out
    assert not run.exists()
    assert untrained()[0].code == 0
    answer, run = untrained()
    assert answer.code == 2
    assert "already holds a run" in answer.err
    for words in ((), ("--run", run, "--source", source), ("--run", run, "--output", tmp_path / "x")):
        assert verb("evaluate", *words).code == 2
