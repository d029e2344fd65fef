"""Which cases and runs are shown as pictures, and what becomes of a picture that is broken."""

from __future__ import annotations

import io
import math

import pytest
from PIL import Image

from monai_tl.report.runs.examples import RUNS_SHOWN, choose_cases, choose_runs, read_overlay
from monai_tl.report.runs.groups import group_runs
from monai_tl.report.runs.read_runs import read_runs
from tests.conftest import score_of
from tests.report.conftest import draw_overlay


def scores(**dice):
    return [score_of(subject, value, 1.0, 2.0, 2.0, 1.0) for subject, value in dice.items()]


@pytest.mark.parametrize(
    ("dice", "expected"),
    [
        ({"a": 0.4, "b": 0.9, "c": 0.1, "d": 0.6, "e": 0.5}, [("best", "b"), ("median", "e"), ("worst", "c")]),
        ({"a": 0.4, "b": 0.9, "c": 0.1, "d": 0.6}, [("best", "b"), ("median", "a"), ("worst", "c")]),
        ({"a": 0.5, "b": math.nan, "c": 0.5, "d": 0.5}, [("best", "a"), ("median", "c"), ("worst", "d")]),
        ({"a": 0.4, "b": 0.9}, [("best", "b"), ("worst", "a")]),
        ({"a": 0.4, "b": math.nan}, [("only", "a")]),
        ({"a": math.nan}, []),
    ],
)
def test_best_median_and_worst(dice, expected):
    assert [(rank, score.subject) for rank, score in choose_cases(scores(**dice))] == expected


def test_of_many_runs_the_reference_and_three_others_are_shown(make_run, tmp_path):
    for n in range(14):
        make_run(f"run_{n}", {"a": 0.5 + 0.02 * n, "b": 0.5}, source="/w" if n else None)
    groups = group_runs(read_runs(tmp_path / "runs", "test"), "test")
    assert [[run.name for run in runs] for runs in choose_runs(groups)] == [["run_0", "run_6", "run_13"]]


def test_the_page_as_a_whole_has_its_limit(make_run, tmp_path):
    for n in range(RUNS_SHOWN + 3):
        make_run(f"task_{n:02}", {f"case_{n}": 0.5})
    groups = group_runs(read_runs(tmp_path / "runs", "test"), "test")
    assert [len(runs) for runs in choose_runs(groups)] == [1] * RUNS_SHOWN + [0] * 3


def test_a_wide_picture_is_made_smaller_and_a_broken_one_is_none(tmp_path):
    draw_overlay(tmp_path / "a" / "wide.png", width=2400)
    with Image.open(io.BytesIO(read_overlay(tmp_path / "a" / "wide.png"))) as picture:
        assert picture.size == (800, 80)
    draw_overlay(tmp_path / "a" / "plain.png")
    with Image.open(io.BytesIO(read_overlay(tmp_path / "a" / "plain.png"))) as picture:
        assert picture.size == (720, 240)
        assert picture.getpixel((110, 110)) == (230, 159, 0)
    whole = (tmp_path / "a" / "plain.png").read_bytes()
    for name, content in (("cut.png", whole[: len(whole) // 2]), ("empty.png", b""), ("text.png", b"<script>")):
        (tmp_path / "a" / name).write_bytes(content)
        assert read_overlay(tmp_path / "a" / name) is None
