"""Findings say what the intervals say, and what makes them weak."""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import replace

import pytest

from monai_tl.evaluation.compare import Interval
from monai_tl.evaluation.comparison_text import interval_text, signed_interval_text
from monai_tl.report.runs import words
from monai_tl.report.runs.groups import group_runs
from monai_tl.report.runs.read_runs import read_runs
from monai_tl.report.runs.transfer_summary import read_transfer_summary
from monai_tl.text import difference, duration, number
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
        ([0.1, -0.1, 0.05, -0.05, 0.02, -0.02], "no clear difference"),
        ([0.06, 0.06, 0.06, 0.06, 0.06, 0.06], "(95 % interval +0.060 to +0.060), so transfer scores higher on these cases."),
        ([-0.06] * 6, "so transfer scores lower on these cases."),
    ],
)
def test_two_runs(make_run, group, by, text):
    make_run("scratch")
    make_run("transfer", shifted(by), source="/w")
    sentence = words.finding(group())
    mean = (sum(DICE.values()) + sum(by)) / 6
    assert sentence.startswith(f"transfer reaches a mean Dice of {mean:.3f}, scratch 0.650: a mean difference of")
    mentions(sentence, "6 cases")
    mentions(sentence, text)
    few, seed = words.caveats(group())
    mentions(few, "6 cases … 10")
    mentions(seed, "one seed (0) … results may reverse with other seeds")


def test_one_run_and_none(make_run, group):
    make_run("waiting", None)
    assert words.finding(group()) == "No run of this task has been evaluated yet."
    assert words.caveats(group()) == []
    make_run("alone", {"a": 0.5, "b": NAN})
    mentions(words.finding(group()), "alone … 0.500 over 1 case … no other run")
    (few,) = words.caveats(group())
    mentions(few, "1 case … too few")


def test_one_case_and_no_common_case_are_too_few(make_run, group):
    make_run("one", {"a": 0.5, "b": NAN})
    make_run("two", {"a": 0.6, "b": 0.5})
    mentions(words.finding(group()), "mean difference of +0.100 … 1 case, too few")
    run = group().scored[0]
    leave_scores(run.folder, [replace(score, values={"dice": NAN, "hd95": NAN}) for score in run.scores])
    mentions(words.finding(group()), "no case is defined in both")


def test_many_runs_and_their_comparisons_are_counted(make_run, group):
    wide = {f"s{n:02}": 0.5 + 0.01 * n for n in range(12)}
    make_run("scratch", wide)
    for name, change in (("up_1", 0.1), ("up_2", 0.2), ("down", -0.1)):
        make_run(name, {subject: value + change for subject, value in wide.items()}, source="/w", seed=int(change > 0.1))
    make_run("same", wide, source="/w")
    counts = "4 runs … scratch … 12 cases, 2 score higher, 1 lower, and 1 without a clear difference"
    mentions(words.finding(group()), counts, "highest mean Dice … 0.755 … up_2")
    seeds, comparisons = words.caveats(group())
    mentions(seeds, "2 seeds")
    mentions(comparisons, "4 comparisons … one interval in twenty")


def test_runs_without_a_seed_say_so(make_run, group):
    for name in ("one", "two"):
        (make_run(name) / "provenance.json").unlink()
    mentions(" ".join(words.caveats(group())), "No seeds are recorded; results may reverse with other seeds")


def test_the_title_and_the_sentence_below_it(make_run, tmp_path):
    def title_and_lead():
        groups = group_runs(read_runs(tmp_path / "runs", "test"), "test")
        return words.title(groups, "test"), words.lead(groups, "test")

    def check(title, lead):
        for text, facts in zip(title_and_lead(), (title, lead), strict=True):
            mentions(text, facts)

    make_run("a", None)
    check("tumour core: runs … test split", "1 training run; no run … evaluated on the test split")
    make_run("b")
    make_run("c")
    check("tumour core: comparison … test split", "3 training runs, 2 of them scored by Dice … same 6 cases of the test split")
    make_run("d", classes=("background", "hippocampus"))
    check(
        "tumour core and hippocampus: comparison",
        "4 training runs in 2 groups … not compared … 3 of them scored by Dice (higher is better)",
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["/a/.venv/bin/monai_tl", "transfer", "--window", "[24,24,24]"], "monai_tl transfer --window '[24,24,24]'"),
        (["/a/monai_tl/__main__.py", "x y", "$(rm)"], "python -m monai_tl 'x y' '$(rm)'"),
        (["/a/monai/bundle/__main__.py", "run"], "python -m monai.bundle run"),
        ([], ""),
        ("monai_tl", ""),
        (None, ""),
    ],
)
def test_a_command_is_one_that_a_shell_takes(make_run, given, expected):
    (run,) = read_runs(make_run("one"), "test")
    run.provenance["command"] = given
    assert words.command(run) == expected
    if expected:
        assert shlex.split(expected)[-1] == given[-1]


def test_origins(make_run):
    def origin_of(name, **made):
        return words.origin(read_runs(make_run(name, **made), "test")[0])

    mentions(origin_of("a", report=None), "No transfer")
    mentions(origin_of("b"), "from scratch … every stage trained")
    mentions(origin_of("c", frozen=2), "Random prefix … no source; conv_0, res_1 frozen")
    mentions(
        origin_of("d", source="/w/model.pt", frozen=1),
        "Transfer from /w/model.pt (sha256 0123456789ab…) … 1 copied, 1 adapted, 1 fresh; conv_0 frozen",
    )
    mentions(origin_of("e", source="/w"), "no stage frozen")


def test_the_validation_dice_of_the_source_is_shown(make_run):
    (run,) = read_runs(make_run("d", source="/w/model.pt", frozen=1), "test")
    report = json.loads((run.folder / "transfer_report.json").read_text())
    report["source"]["validation_dice"] = 0.0204
    summary = read_transfer_summary(run.folder / "transfer_report.json", report)
    assert "(sha256 0123456789ab…, validation Dice 0.020 in its own task)" in words.origin(replace(run, transfer=summary))


def test_settings(make_run):
    (run,) = read_runs(make_run("one", seed=3), "test")
    assert words.setting(run).startswith("seed 3, device cpu (x86_64), monai_tl 0.1.0, monai 1.6.1")
    run.provenance["device"] = {"asked": "cuda:0", "processor": "x86_64", "gpus": ["Card A"]}
    assert "device cuda:0 (Card A)" in words.setting(run)
    run.provenance.clear()
    assert words.setting(run) == "seed not recorded, device not recorded, versions not recorded"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(7.4, "7 s"), (63, "1 min 03 s"), (59.6, "1 min 00 s"), (3600, "1 h 00 min"), (9000, "2 h 30 min"), (NAN, "–")],
)
def test_durations(seconds, expected):
    assert duration(seconds) == expected


def test_numbers_that_are_none():
    assert number(NAN) == number(None) == difference(NAN) == "–"
    assert number(0.0) == "0.000"
    assert interval_text(Interval(NAN, NAN)) == signed_interval_text(Interval(NAN, NAN)) == "none"
    assert signed_interval_text(Interval(-0.1, 0.2)) == "[−0.100, +0.200]"
