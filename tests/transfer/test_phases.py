"""Phases and schedules as values: their rates at hand-worked iterations, and what cannot be a schedule."""

import json
import math

import pytest

from monai_tl.errors import ConfigError
from monai_tl.transfer.phases import CURVES, Phase, Schedule
from tests.conftest import mentions

BODY, ALL = ("head",), ("body", "head")


def two(first=4, last=10):
    return Schedule("two", (Phase(1, first, BODY, curve="linear"), Phase(first + 1, last, ALL, warm_up=2, curve="poly")))


def test_a_warm_up_rises_to_1_and_the_curve_begins_at_1():
    """As in OpenMind's code: (1 + step) / steps, then (1 - step / steps) ** 0.9."""
    phase = Phase(11, 20, ALL, warm_up=4, curve="poly")
    assert [phase.factor(n) for n in (11, 12, 13, 14)] == [0.25, 0.5, 0.75, 1.0]
    assert phase.factor(15) == 1.0
    assert phase.factor(18) == pytest.approx(0.5**0.9)  # 3 of 6 iterations done
    assert phase.factor(20) == pytest.approx((1 / 6) ** 0.9)
    assert phase.factor(21) == 0.0  # what a scheduler asks after the last iteration


@pytest.mark.parametrize(
    ("curve", "quarter", "half", "end"),
    [
        ("constant", 1, 1, 1),
        ("linear", 0.75, 0.5, 0),
        ("poly", 0.75**0.9, 0.5**0.9, 0),
        ("cosine", (1 + math.sqrt(0.5)) / 2, 0.5, 0),
    ],
)
def test_curves(curve, quarter, half, end):
    phase = Phase(1, 8, ALL, curve=curve)
    assert [phase.factor(n) for n in (1, 3, 5, 9)] == pytest.approx([1, quarter, half, end])


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("warm_up", [0, 1, 3, 7])
def test_no_iteration_has_a_rate_of_0_or_above_1(curve, warm_up):
    phase = Phase(5, 11, ALL, warm_up=warm_up, curve=curve)
    assert all(0 < phase.factor(n) <= 1 for n in range(5, 12))
    assert max(phase.factor(n) for n in range(5, 12)) == 1


def test_a_frozen_stage_has_a_rate_of_0_and_the_bounds_are_exact():
    schedule = two()
    assert [schedule.factor(n, "body") for n in (1, 4, 5, 6, 7)] == [0, 0, 0.5, 1, 1]
    assert [schedule.factor(n, "head") for n in (1, 4, 5)] == [1, 0.25, 0.5]
    assert schedule.factor(10, "body") == pytest.approx(0.25**0.9)
    assert (schedule.iterations, schedule.settled_after, schedule.stages) == (10, 4, ("head", "body"))


def test_the_iteration_after_the_last_is_known_and_later_ones_are_refused():
    assert two().factor(11, "head") == 0
    with pytest.raises(ConfigError) as refused:
        two().factor(12, "head")
    mentions(str(refused.value), "1–10 … 12")
    with pytest.raises(ConfigError):
        two().phase_at(0)


def test_a_schedule_is_printed_in_one_line_per_phase_and_stored_as_plain_data():
    text = str(Schedule("two", two().phases, "a note")).splitlines()
    assert len(text) == 4
    mentions(text[1], "1–4 … head … falls to 0 … linear")
    mentions(text[2], "5–10 … body, head … rises until 6 … poly")
    mentions(text[3], "a note")
    stored = json.loads(json.dumps(two().as_dict()))
    assert stored["iterations"] == 10
    assert stored["phases"][1] == {"first": 5, "last": 10, "trained": ["body", "head"], "warm_up": 2, "curve": "poly"}
    assert Schedule(stored["name"], tuple(Phase(**row) for row in stored["phases"])) == two()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"first": 0}, "0–5 … from 1"),
        ({"last": 0}, "1–0 … not precede"),
        ({"warm_up": 6}, "6 … 0 to 5"),
        ({"warm_up": -1}, "-1 … 0 to 5"),
        ({"curve": "polly"}, "polly … poly"),
        ({"trained": ()}, "no stage"),
    ],
)
def test_impossible_phases_are_refused(given, message):
    with pytest.raises(ConfigError) as refused:
        Phase(**{"first": 1, "last": 5, "trained": BODY, **given})
    mentions(str(refused.value), message)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ([], "begins at iteration 1"),
        ([(2, 5)], "begins at iteration 1"),
        ([(1, 4), (6, 9)], "4 … 6 … 5"),
        ([(1, 4), (4, 9)], "4 … 4 … 5"),
    ],
)
def test_gaps_and_overlaps_are_refused(bounds, message):
    with pytest.raises(ConfigError) as refused:
        Schedule("broken", tuple(Phase(first, last, ALL) for first, last in bounds))
    mentions(str(refused.value), message)
