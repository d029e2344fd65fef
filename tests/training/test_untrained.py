"""The source as it is: what a supervisor asks for first."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from monai_tl.datasets.datalist import make_datalist, write_datalist
from monai_tl.evaluation.score_table import read_scores
from tests.conftest import BRATS, mentions


@pytest.fixture
def untrained(verb, source, phantoms, tmp_path):
    """Score the source as it is on some phantoms."""

    def call(*flags, data=phantoms / "brats", output=tmp_path / "untrained"):
        words = ("--source", source, "--target", BRATS, "--datalist", data / "datalist.json", "--device", "cpu")
        return verb("evaluate", *words, "--window", "[16,16,16]", "--output", output, *flags), output

    return call


def test_a_source_as_it_is_scores_what_the_source_scores(untrained, verb, source, phantoms, tmp_path):
    """On the source's own test cases, by way of the target's bundle: the same Dice, case by case."""
    answer, run = untrained("--metrics", "dice,nsd", "--tolerance", "2", data=phantoms / "ixi")
    assert answer.code == 0, answer.err
    assert list(read_scores(run / "scores_test.csv")[0].values) == ["dice", "nsd"]
    mentions(answer.out, "classes … [background, hippocampus] … [background … core]")
    scored = shutil.copytree(source, tmp_path / "source")
    assert verb("evaluate", "--run", scored, "--split", "test").code == 0
    ours, theirs = (read_scores(folder / "scores_test.csv") for folder in (run, scored))
    assert [(one.subject, one.values["dice"], one.prediction_ml) for one in ours] == [
        (one.subject, one.values["dice"], one.prediction_ml) for one in theirs
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
    compared = verb("compare", scratch, tmp_path / "runs" / "untrained")
    assert "untrained − scratch" in compared.out
    assert verb("report", "--runs", tmp_path / "runs").code == 0
    page = (tmp_path / "runs" / "report.html").read_text()
    assert "Not fine-tuned: the weights of" in page
    assert "source, not fine-tuned" in page


def test_what_the_source_was_trained_on_is_refused_before_a_folder_is_made(verb, source, phantoms, tmp_path):
    data = json.loads((phantoms / "ixi" / "datalist.json").read_text())
    cases = {
        case["subject"]: {**case, **{r: str(phantoms / "ixi" / case[r]) for r in ("T1", "T2", "label")}}
        for case in data["cases"]
    }
    swapped = {**data["splits"], "train": data["splits"]["test"], "test": data["splits"]["train"]}
    chosen = {
        **{key: data[key] for key in ("modalities", "regions", "labels")},
        "cases": [{**case, "subject": case["subject"]} for case in cases.values()],
        "splits": swapped,
    }
    path = write_datalist(tmp_path / "swapped.json", make_datalist(**chosen))
    words = (
        "evaluate",
        "--source",
        source,
        "--target",
        BRATS,
        "--datalist",
        path,
        "--output",
        tmp_path / "run",
        "--device",
        "cpu",
    )
    answer = verb(*words)
    assert (answer.code, (tmp_path / "run").exists()) == (2, False)
    mentions(answer.err, f"{len(swapped['test'])} … {len(swapped['test'])} test")
    assert verb(*words, "--window", "[16,16,16]", "--accept_overlap", "true").code == 0
    mentions(verb("compare", tmp_path / "run").out, f"{len(swapped['test'])} of the cases … before (accepted)")


@pytest.mark.parametrize(
    ("classes", "fresh"),
    [("['background','core','oedema']", ()), ("['core','hippocampus']", ()), (None, ("--fresh", "conv_2"))],
)
def test_a_source_that_would_not_be_scored_as_it_is_is_refused(untrained, classes, fresh):
    answer, run = untrained(*(("--classes", classes) if classes else fresh))
    assert (answer.code, run.exists()) == (2, False)
    mentions(answer.err, "background, hippocampus … it cannot be scored untrained" if classes else "omit --fresh")


def test_a_source_of_other_classes_is_refused_with_all_other_differences(untrained):
    answer, _ = untrained("--classes", "['background','core','oedema']", "--spacing", "[2,2,2]")
    mentions(answer.err, "background, core, oedema", "differ also in spacing: source [1.0, 1.0, 1.0], target [2.0, 2.0, 2.0]")


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
