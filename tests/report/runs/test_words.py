"""Findings say what the intervals say, and what makes them weak."""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import replace

import pytest

from monai_tl.evaluation.compare import Interval, interval_text, signed_interval_text
from monai_tl.report.runs import words
from monai_tl.report.runs.groups import group_runs
from monai_tl.report.runs.read_runs import read_runs
from monai_tl.report.runs.transfer_summary import read_account
from monai_tl.text import difference, duration
from tests.conftest import leave_scores, mentions
from tests.report.conftest import DICE

NAN = math.nan


@pytest.fixture
def group(tmp_path):
    def only():
        (found,) = group_runs(read_runs(tmp_path / "runs", "test"), "test")
        return found

    return only


def shifted(by):
    return {subject: value + change for (subject, value), change in zip(DICE.items(), by, strict=True)}


@pytest.mark.parametrize(
    ("by", "text"),
    [
        ([0.1, -0.1, 0.05, -0.05, 0.02, -0.02], "so these cases do not tell them apart."),
        ([0.06, 0.06, 0.06, 0.06, 0.06, 0.06], "(95 % interval +0.060 to +0.060), so transfer scores higher on these cases."),
        ([-0.06] * 6, "so transfer scores lower on these cases."),
    ],
)
def test_two_runs(make_run, group, by, text):
    make_run("scratch")
    make_run("transfer", shifted(by), source="/w")
    told = words.finding(group())
    mean = (sum(DICE.values()) + sum(by)) / 6
    assert told.startswith(f"transfer reaches a mean Dice of {mean:.3f}, scratch 0.650: a mean difference of")
    mentions(told, "6 cases")
    mentions(told, text)
    assert words.caveats(group()) == [
        "6 cases are few: with fewer than 10, 95 % intervals come out too narrow.",
        "All runs share one seed (0); another seed may turn the result round.",
    ]


def test_one_run_and_none(make_run, group):
    make_run("waiting", None)
    assert words.finding(group()) == "No run of this task has been evaluated yet."
    assert words.caveats(group()) == []
    make_run("alone", {"a": 0.5, "b": NAN})
    assert words.finding(group()) == (
        "alone reaches a mean Dice of 0.500 over 1 case; there is no other run to compare it with."
    )
    assert words.caveats(group()) == ["1 case with a defined Dice: too few for any interval."]


def test_one_case_and_no_common_case_are_too_few(make_run, group):
    make_run("one", {"a": 0.5, "b": NAN})
    make_run("two", {"a": 0.6, "b": 0.5})
    assert words.finding(group()).endswith(
        "a mean difference of +0.100 over the same 1 case, which is too few to tell them apart."
    )
    run = group().scored[0]
    leave_scores(run.folder, [replace(score, dice=NAN) for score in run.scores])
    assert words.finding(group()).endswith("no case is defined in both, so nothing can be said about their difference.")


def test_many_runs_are_counted_and_the_number_of_comparisons_is_told(make_run, group):
    wide = {f"s{n:02}": 0.5 + 0.01 * n for n in range(12)}
    make_run("scratch", wide)
    for name, change in (("up_1", 0.1), ("up_2", 0.2), ("down", -0.1)):
        make_run(name, {subject: value + change for subject, value in wide.items()}, source="/w", seed=int(change > 0.1))
    make_run("same", wide, source="/w")
    assert words.finding(group()) == (
        "Of 4 runs compared with scratch on the same 12 cases, 2 score higher, 1 lower, and 1 cannot be told from it. "
        "The highest mean Dice is 0.755, of up_2."
    )
    assert words.caveats(group()) == [
        "Each run is one training with one seed (2 seeds in all); seeds are not averaged here.",
        "These are 4 comparisons: where nothing differs, about one interval in twenty excludes 0 by chance.",
    ]


def test_runs_without_a_seed_say_so(make_run, group):
    for name in ("one", "two"):
        (make_run(name) / "provenance.json").unlink()
    assert "No seeds are recorded; another training may turn the result round." in words.caveats(group())


def test_the_title_and_the_sentence_below_it(make_run, tmp_path):
    def told():
        groups = group_runs(read_runs(tmp_path / "runs", "test"), "test")
        return words.title(groups, "test"), words.lead(groups, "test")

    make_run("a", None)
    assert told() == (
        "Segmentation of tumour core: runs on the test split",
        "1 training run; none has been evaluated on the test split yet.",
    )
    make_run("b")
    make_run("c")
    assert told() == (
        "Segmentation of tumour core: runs compared on the test split",
        "3 training runs, 2 of them evaluated, "
        "scored by Dice overlap with the reference on the same 6 cases of the test split.",
    )
    make_run("d", classes=("background", "hippocampus"))
    assert told() == (
        "Segmentation of tumour core and hippocampus: runs compared on the test split",
        "4 training runs of 2 tasks, which are never compared with each other, 3 of them evaluated, "
        "scored by Dice overlap with the reference of the test split.",
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["/a/.venv/bin/monai_tl", "transfer", "--window", "[24,24,24]"], "monai_tl transfer --window '[24,24,24]'"),
        (["/a/monai_tl/__main__.py", "x y", "$(rm)"], "python -m monai_tl 'x y' '$(rm)'"),
        (["/a/monai/bundle/__main__.py", "run"], "python -m monai.bundle run"),
        ([], ""),
        ("monai_tl", ""),
        (None, ""),
    ],
)
def test_a_command_is_one_that_a_shell_takes(make_run, given, told):
    (run,) = read_runs(make_run("one"), "test")
    run.provenance["command"] = given
    assert words.command(run) == told
    if told:
        assert shlex.split(told)[-1] == given[-1]


def test_origins(make_run):
    def told(name, **made):
        return words.origin(read_runs(make_run(name, **made), "test")[0])

    assert told("a", report=None) == "No transfer: trained from random weights by its training config alone."
    assert told("b") == "Trained from scratch: random weights, every stage trained."
    assert told("c", frozen=2) == "Random prefix: no source; conv_0, res_1 held still at random weights."
    assert told("d", source="/w/model.pt", frozen=1) == (
        "Transfer from /w/model.pt (sha256 0123456789ab…): weights 1 copied, 1 adapted, 1 fresh; conv_0 held still."
    )
    assert told("e", source="/w").endswith("; no stage held still.")


def test_how_good_the_source_was_is_told(make_run):
    (run,) = read_runs(make_run("d", source="/w/model.pt", frozen=1), "test")
    report = json.loads((run.folder / "transfer_report.json").read_text())
    report["source"]["validation_dice"] = 0.0204
    account = read_account(run.folder / "transfer_report.json", report)
    assert "(sha256 0123456789ab…, validation Dice 0.020 in its own task)" in words.origin(replace(run, account=account))


def test_settings(make_run):
    (run,) = read_runs(make_run("one", seed=3), "test")
    assert words.setting(run).startswith("seed 3, device cpu (x86_64), monai_tl 0.1.0, monai 1.6.1")
    run.provenance["device"] = {"asked": "cuda:0", "processor": "x86_64", "gpus": ["Card A"]}
    assert "device cuda:0 (Card A)" in words.setting(run)
    run.provenance.clear()
    assert words.setting(run) == "seed not recorded, device not recorded, versions not recorded"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(7.4, "7 s"), (63, "1 min 03 s"), (59.6, "1 min 00 s"), (3600, "1 h 00 min"), (9000, "2 h 30 min"), (NAN, "–")],
)
def test_durations(seconds, told):
    assert duration(seconds) == told


def test_numbers_that_are_none():
    assert words.number(NAN) == words.number(None) == difference(NAN) == "–"
    assert words.number(0.0) == "0.000"
    assert interval_text(Interval(NAN, NAN, "none")) == signed_interval_text(Interval(NAN, NAN, "none")) == "none"
    assert signed_interval_text(Interval(-0.1, 0.2, "BCa")) == "[−0.100, +0.200]"
