"""Figures of a study: the same each time, distinguishable without colour, and drawn whatever the names and values."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image

from monai_tl.report.kit.figures import SOFTWARE, look
from monai_tl.report.study.arm_display import ORDER, explain_arm, hatch_of, look_of
from monai_tl.report.study.plots import (
    ArmBox,
    Line,
    Span,
    Times,
    draw_bands,
    draw_cases,
    draw_forest,
    draw_sizes,
    draw_times,
    pale,
)
from monai_tl.transfer.strategy import names_of

NAN = math.nan
ODD = ("$x_1$", r"$\frac{$", "_hidden", "<&>", "x" * 200)
ARMS = (*ORDER, "random2")


def ink(drawing):
    """The share of pixels that are not white."""
    with Image.open(io.BytesIO(drawing.png)) as picture:
        assert picture.info["Software"] == SOFTWARE
        return float((np.asarray(picture.convert("L")) < 250).mean())


def line(name, at=(1, 2), values=(0.2, 0.3)):
    return Line(name, look(0), at, values, [v - 0.1 for v in values], [v + 0.1 for v in values])


def test_arms_are_distinguishable_without_colour():
    looks = [look_of(arm) for arm in ARMS]
    assert len({own.marker for own in looks}) == len({own.glyph for own in looks}) == len(ARMS)
    assert len({own.colour for own in looks}) == len(ARMS)
    assert len({hatch_of(arm) for arm in ARMS}) == len(ARMS)


def test_strategies_are_distinguishable():
    """By colour, line and marker together; also those of one kind, and deeper networks."""
    more = ("lora4", "lora16", "llrd0.5", "l2sp0.1", "freeze=encoder", *map(str, range(6, 13)))
    arms = [*ORDER, *(name for name in names_of(None) if name not in (*ORDER, "random2", "untrained")), *more]
    assert len({look_of(arm)[:3] for arm in arms}) == len(arms)
    assert all(explain_arm(arm) != explain_arm("unknown") for arm in arms)


def test_the_same_figure_each_time():
    spans = [Span("26 training subjects", "freeze 1", look_of("1"), 0.1, 0.0, 0.2, True)]
    assert draw_forest(spans, "difference") == draw_forest(spans, "difference")


def test_few_cases_have_no_box_and_one_run_no_median():
    """A box is filled with its arm's pale colour, which nothing else has."""

    def boxed(count):
        drawing = draw_cases([ArmBox("freeze 1", look_of("1"), "", list(np.linspace(0.2, 0.8, count)))], "Dice")
        with Image.open(io.BytesIO(drawing.png)) as picture:
            colour = np.round(255 * np.array(pale(look_of("1").colour)))
            return bool((np.abs(np.asarray(picture.convert("RGB")) - colour).max(axis=2) < 2).mean() > 0.01)

    assert [boxed(count) for count in (4, 5)] == [False, True]
    one, none = (draw_times([Times("26", "1", look(0), [50.0], middle)], 100) for middle in (50.0, NAN))
    assert ink(one) == ink(none)


def test_a_verdict_fills_its_mark():
    sure, not_sure = (
        draw_forest([Span("26", "freeze 1", look_of("1"), 0.1, NAN, NAN, filled)], "difference") for filled in (True, False)
    )
    assert ink(sure) > ink(not_sure)


@pytest.mark.parametrize("value", [0.0, -0.5, 1.0, NAN])
def test_any_difference_can_be_drawn(value):
    assert ink(draw_forest([Span("26", "freeze 1", look_of("1"), value, NAN, NAN, False)], "difference")) > 0.005


def test_odd_names_and_values_are_drawn_as_they_stand():
    assert ink(draw_cases([ArmBox(name, look(0), "//", [0.2, NAN]) for name in ODD], "Dice")) > 0.01
    assert ink(draw_times([Times(name, name, look(0), [NAN, 50.0], NAN) for name in ODD], 100)) > 0.01
    assert ink(draw_bands([line(name) for name in ODD], "loss")) > 0.01
    assert ink(draw_sizes([line(name) for name in ODD], "Dice")) > 0.01


def test_a_median_that_nobody_reached_is_not_drawn():
    with_stroke, without = (draw_times([Times("26", "1", look(0), [NAN, 50.0], middle)], 100) for middle in (80.0, NAN))
    assert ink(with_stroke) > ink(without)


def test_one_size_one_point_no_interval():
    single = Line("scratch", look(0), (26,), (0.5,), (NAN,), (NAN,))
    assert ink(draw_sizes([single], "Dice")) > 0.005
    assert ink(draw_bands([single], "Dice", dice=True)) > 0.005
    assert ink(draw_cases([ArmBox("none", look(0), "", [NAN])], "Dice")) > 0.005
