"""What follows from a study's tables by counting: bands over seeds, whole seeds, targets, late medians."""

from __future__ import annotations

import dataclasses
import math

import pytest

from monai_tl.report.study.study_facts import bands, late_median, read_study_facts
from monai_tl.report.study.study_figures import pick_spread, targets
from monai_tl.study.study_tables import CurveRow
from tests.report.study.conftest import change_scores

NAN = math.nan


def test_a_band_is_mean_lowest_and_highest_where_half_of_the_runs_train():
    values = {0: (0.1, 0.2, 0.3), 1: (0.3, 0.4), 2: (0.2,)}  # seed -> Dice at 50, 100, 150
    rows = [
        CurveRow("1", 26, seed, 50 * (at + 1), 1.0, NAN, dice) for seed, own in values.items() for at, dice in enumerate(own)
    ]
    (band,) = bands(rows, "val_dice").values()
    assert band.iterations == (50, 100)
    assert band.mean == pytest.approx((0.2, 0.3))
    assert (band.low, band.high) == ((0.1, 0.2), (0.3, 0.4))
    assert band.seeds == 3
    assert bands(rows, "loss") == {}


@pytest.mark.parametrize(
    ("values", "middle"), [([1, 2, 9], 2), ([1, 2, NAN], 2), ([1, NAN, NAN], NAN), ([1, NAN], NAN), ([], NAN), ([4, 2], 3)]
)
def test_a_run_that_never_arrived_is_later_than_any(values, middle):
    assert late_median(values) == pytest.approx(middle, nan_ok=True)


def test_some_are_spread_evenly_with_both_ends():
    assert pick_spread([1, 2, 3], 4) == [1, 2, 3]
    assert pick_spread(list(range(10)), 4) == [0, 3, 6, 9]


def test_what_a_study_is_made_of(make_study):
    left_out = {("2", 52, 1): "failed", ("scratch", 26, 2): "waiting"}
    study = read_study_facts(make_study(arms=("2", "random2", "scratch", "0"), sizes=(52, 26), left_out=left_out))
    assert study.arms == ("scratch", "0", "2", "random2")
    assert (study.sizes, study.seeds, study.whole_seeds) == ((26, 52), (0, 1, 2), (0,))
    assert [study.count(state) for state in ("finished", "failed", "waiting")] == [22, 1, 1]
    assert study.reference == "scratch"
    assert len(targets(study, "0", 26)) == 2, "seed 2 has no scratch run and so no target"
    assert len(targets(study, "2", 52)) == 2


def test_a_case_that_is_undefined_with_one_seed_is_undefined(make_study):
    folder = make_study(arms=("scratch",), sizes=(26,), cases=5)
    first, other = read_study_facts(folder).subjects[:2]

    def undefined(run, score):
        gone = (run[2], score.subject) == (0, first)
        return dataclasses.replace(score, values={"dice": NAN, "hd95": NAN}) if gone else score

    change_scores(folder, undefined)
    study = read_study_facts(folder)
    cases = study.cases["scratch", 26]
    assert math.isnan(cases[first])
    assert cases[other] == pytest.approx(sum(score.value for score in study.scores if score.subject == other) / 3)


def test_an_empty_segmentation_is_farther_than_any_and_two_are_left_out(make_study):
    folder = make_study(arms=("scratch",), sizes=(26,), seeds=(0,), cases=5)
    values = iter([(0.5, 3.0), (0.0, NAN), (0.0, NAN), (NAN, NAN), (0.9, 1.0)])
    change_scores(
        folder, lambda _, score: dataclasses.replace(score, values=dict(zip(("dice", "hd95"), next(values), strict=True)))
    )
    found = read_study_facts(folder).distances["scratch", 26]
    assert len(found) == 4
    assert math.isnan(late_median(found)), "half of the four are farther than any"
    assert late_median(found[:2] + found[3:]) == 3.0
