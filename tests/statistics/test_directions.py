"""Metrics whose lower values are better, and those without an upper limit: direction, range, families of several metrics."""

import math

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from monai_tl.errors import DataError
from monai_tl.evaluation.metrics import METRICS
from monai_tl.statistics import arm_means, compare_arms, fit_curves
from monai_tl.statistics.crossed_bootstrap import CrossedBootstrap
from monai_tl.statistics.measure import BY_DICE, Measure
from monai_tl.statistics.pairwise import compare_cubes, family_size
from monai_tl.statistics.score_array import StudyScore, arrange
from monai_tl.statistics.verdicts import shows_difference, way
from tests.conftest import mentions

HD95, NSD = METRICS["hd95"], METRICS["nsd"]
NAN = math.nan


def rows(values, n=26):
    """Scores from the values of each arm, shape (seeds, cases)."""
    return [
        StudyScore(arm, n, seed, f"case{case:02}", float(value), 2.0, 2.0)
        for arm, of in values.items()
        for seed, of_seed in enumerate(np.atleast_2d(of))
        for case, value in enumerate(of_seed)
    ]


def distances(gain, seeds=3, cases=12):
    """Scratch at about 8 mm, and freeze 1 that is so many mm nearer."""
    rng = np.random.default_rng(0)
    scratch = rng.uniform(6, 10, cases) + rng.normal(0, 0.1, (seeds, cases))
    return {"scratch": scratch, "1": scratch - gain + rng.normal(0, 0.1, (seeds, cases))}


def test_an_arm_with_a_lower_distance_is_better():
    near, far = (compare_arms(rows(distances(gain)), metric=HD95)[0] for gain in (3.0, -3.0))
    assert (way(near), way(far)) == ("better", "worse")
    assert near.mean == pytest.approx(-3, abs=0.1)
    assert near.low < -1, "a difference in mm is not limited to 1"
    ends = f"[{abs(near.high):.2f}, {abs(near.low):.2f}]"
    mentions(near.verdict, "freeze 1 scores better than scratch: 95 % Hausdorff distance 2.99 mm lower " + ends)
    mentions(far.verdict, "freeze 1 scores worse than scratch: 95 % Hausdorff distance … mm higher")


def test_the_same_scores_by_dice_have_the_other_verdict():
    values = {arm: of / 20 for arm, of in distances(3.0).items()}
    assert [way(compare_arms(rows(values), metric=metric)[0]) for metric in (BY_DICE, HD95)] == ["worse", "better"]


def test_no_clear_difference_is_said_with_its_unit():
    (found,) = compare_arms(rows(distances(0.0)), metric=HD95)
    far = max(abs(found.low), abs(found.high))
    mentions(found.verdict, "no clear difference in 95 % Hausdorff distance … mm [", f"up to ±{far:.2f} mm")
    (few,) = compare_arms(rows(distances(3.0, cases=4)), metric=HD95)
    mentions(few.verdict, "mm in 95 % Hausdorff distance … too few cases")


def test_an_interval_does_not_exceed_the_range():
    skewed = {"scratch": np.array([[0.0, 0.0, 0.0, 0.1, 40.0, 0.0]] * 3) + np.array([[0.0], [0.1], [0.2]])}
    (found,) = arm_means(rows(skewed), metric=HD95)
    assert (found.low, found.mean) == (0, pytest.approx(40.1 / 6 + 0.1))
    assert found.high > 10, "not cut at 1"
    bounded = Measure("share", "share", "", higher_is_better=False, highest=50)
    assert arm_means(rows(skewed), metric=bounded)[0].high <= 50
    opposite = {"scratch": np.array([[0.0, 0.0, 0.1, 0.0, 0.05, 0.0]]), "1": np.array([[1.0, 0.0, 1.0, 1.0, 1.0, 1.0]])}
    assert compare_arms(rows(opposite), metric=NSD)[0].high <= 1


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [(HD95, -0.5, "must be 0 or more"), (HD95, math.inf, "must be 0 or more"), (NSD, 1.5, "must be between 0 and 1")],
)
def test_a_value_outside_the_range_is_refused_by_name(metric, value, text):
    scores = rows({"scratch": np.full((1, 6), 0.5), "1": np.array([[0.5, 0.5, value, 0.5, 0.5, 0.5]])})
    with pytest.raises(DataError) as error:
        compare_arms(scores, metric=metric)
    mentions(str(error.value), f"case02 has {metric.label} {value:g} … freeze 1, n 26, seed 0 … {metric.label} {text}")


def test_several_metrics_are_one_family():
    """Two metrics, two arms: Holm over the four p, as statsmodels does it; a comparison without a p is not counted."""
    by_mm, by_share = distances(0.2), {arm: of / 20 for arm, of in distances(0.3).items()}
    for values in (by_mm, by_share):
        values["2"] = values["1"] + np.random.default_rng(1).normal(0, 0.02, values["1"].shape)
    cubes = [arrange(rows(by_mm), HD95), arrange(rows(by_share), NSD)]
    found = compare_cubes(cubes, None, CrossedBootstrap(0, 999))
    assert [(each.metric.name, each.arm) for each in found] == [("hd95", "1"), ("hd95", "2"), ("nsd", "1"), ("nsd", "2")]
    for corrected, p in (("p_holm", "p"), ("p_seeds_holm", "p_seeds")):
        expected = multipletests([getattr(each, p) for each in found], method="holm")[1]
        assert [getattr(each, corrected) for each in found] == pytest.approx(list(expected))
    assert family_size(found) == 4
    nothing = arrange(rows({arm: np.full((3, 12), NAN) for arm in by_mm}), NSD)
    assert family_size(compare_cubes([cubes[0], nothing], None, CrossedBootstrap(0, 99))) == 2


def test_a_larger_family_can_take_a_verdict_back():
    """p 0.0156 of 7 cases that agree: below 0.05 alone, not as one of four."""
    gain = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1])
    one = {"scratch": np.full((1, 7), 8.0), "1": 8.0 - gain[None]}
    alone = compare_cubes([arrange(rows(one), HD95)], None, CrossedBootstrap())
    together = compare_cubes([arrange(rows(one), HD95)] * 4, None, CrossedBootstrap())
    assert [shows_difference(each) for each in alone] == [True]
    assert together[0].p_holm == pytest.approx(4 * 2 / 2**7)
    assert not any(shows_difference(each) for each in together)


def test_learning_curves_of_a_distance():
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 1.0, 8)
    scores = [
        StudyScore(arm, n, seed, f"case{case}", 8 - 1.5 * math.log2(n / 52) - gain + hard[case] + by, 2.0, 2.0)
        for arm, gain in (("scratch", 0.0), ("1", 2.0))
        for n in (26, 52, 104)
        for seed in range(3)
        for case, by in enumerate(rng.normal(0, 0.2, 8))
    ]
    model = fit_curves(scores, metric=HD95)
    assert model.formula.startswith("hd95 ~ arm * log2(n)")
    terms = {term.term: term.estimate for term in model.terms}
    assert [terms["scratch"], terms["freeze 1 − scratch"], terms["scratch, slope"]] == pytest.approx([8, -2, -1.5], abs=0.4)


def test_the_interval_of_a_mean_in_the_model_stays_in_the_range_and_a_slope_s_does_not_matter():
    scores = rows({"scratch": np.array([[0.0, 0.0, 0.0, 0.1, 0.9, 0.0]] * 3) + np.array([[0.0], [0.05], [0.1]])}, 26)
    scores += rows({"scratch": np.array([[0.0, 0.0, 0.1, 0.0, 1.0, 0.0]] * 3)}, 52)
    mean, slope = fit_curves(scores).terms
    assert (mean.term, mean.low) == ("scratch", 0)
    assert slope.low < 0 < slope.high
