"""Figures are drawn the same each time, whatever the names and the user's own settings."""

from __future__ import annotations

import io
import math

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from monai_tl.report.kit.figures import DPI, FEW_RUNS, SOFTWARE, WIDTH, Curve, draw_curves, draw_scores, look, shorten

ODD = ["$x_1$", "_hidden", "<img src=x onerror=alert(1)>&\"'", r"$\frac{$", "大脑", "x" * 300, ""]


def opened(png):
    picture = Image.open(io.BytesIO(png))
    picture.load()
    return picture


def curves(count, length=5):
    return [Curve(f"run {n}", range(10, 10 * length + 1, 10), np.linspace(0, 0.5 + n / 1000, length)) for n in range(count)]


def ink(png):
    """The share of pixels that are not white."""
    return float((np.asarray(opened(png).convert("L")) < 250).mean())


def test_a_figure_is_a_png_that_is_marked_as_ours_and_the_same_each_time():
    draw = [draw_scores(["one", "two"], [[0.5, 0.6], [0.7]]) for _ in range(2)]
    assert draw[0] == draw[1]
    assert opened(draw[0]).info["Software"] == SOFTWARE
    assert opened(draw[0]).width == WIDTH * DPI
    assert draw_curves(curves(2), "loss") == draw_curves(curves(2), "loss")


def test_an_axis_without_a_largest_value_begins_at_zero_and_holds_all(monkeypatch):
    drawn = []
    monkeypatch.setattr("monai_tl.report.kit.figures.as_png", drawn.append)
    draw_scores(["one"], [[2.0, math.nan, 30.0]], "distance, mm", math.inf)
    draw_scores(["one"], [[0.4, 0.9]])
    distance, ratio = (figure.axes[0].get_xlim() for figure in drawn)
    assert distance == pytest.approx((-0.45, 31.5))
    assert ratio == pytest.approx((-0.015, 1.015))


def test_odd_names_are_drawn_as_they_stand():
    """Dollars included: as mathematics, one of these would be an error."""
    dice = [[0.5, 0.6]] * len(ODD)
    assert ink(draw_scores(ODD, dice)) > 0.01
    assert ink(draw_curves([Curve(name, [1, 2], [0.1, 0.2]) for name in ODD], "loss")) > 0.01


def test_a_name_that_begins_with_an_underscore_stands_in_the_legend():
    def legend(name):
        return np.asarray(opened(draw_curves([Curve(name, [1, 2], [1, 2])], "loss")).convert("L"))[-60:]

    assert (legend("_b") < 128).sum() > (legend(" ") < 128).sum() + 20


def test_undefined_values_and_no_values():
    nan = math.nan
    assert ink(draw_scores(["some", "none"], [[0.5, nan], [nan, nan]])) > 0.005
    assert ink(draw_curves([Curve("some", [1, 2], [nan, 0.2]), Curve("none", [], [])], "validation Dice", dice=True)) > 0.005
    assert ink(draw_curves([Curve("all undefined", [1], [nan])], "validation Dice", dice=True)) > 0.005
    assert ink(draw_curves([Curve("one point", [1], [0.5])], "loss")) > 0.005


def test_many_runs_do_not_make_the_legend_grow():
    few, many, more = (opened(draw_curves(curves(n), "loss", ["run 0", "run 5"])) for n in (FEW_RUNS, FEW_RUNS + 1, 100))
    assert many.size == more.size
    assert many.height < few.height
    grown = opened(draw_scores([f"run {n}" for n in range(100)], [[0.5, 0.6]] * 100))
    assert grown.height < 5000, "a thin row a run"


def test_looks_differ_without_colour():
    looks = [look(n) for n in range(FEW_RUNS)]
    assert len({(one.line, one.marker) for one in looks}) == FEW_RUNS
    assert len({(one.colour, one.line) for one in looks}) == FEW_RUNS


def test_global_settings_neither_matter_nor_change():
    plain = draw_scores(["one"], [[0.5, 0.6]])
    with mpl.rc_context({"font.size": 30, "text.usetex": True, "axes.facecolor": "red"}):
        assert draw_scores(["one"], [[0.5, 0.6]]) == plain
        assert mpl.rcParams["font.size"] == 30
        assert mpl.rcParams["text.usetex"]


@pytest.mark.parametrize(("name", "expected"), [("short", "short"), ("a" * 20 + "b" * 20, "a" * 5 + "…" + "b" * 4)])
def test_long_names_keep_both_ends(name, expected):
    assert shorten(name, 10) == expected
    assert len(shorten("x" * 300)) == 30
