"""Comparisons of arms: against hand-worked values, scipy and statsmodels; what must not change them, what limits them."""

import math
import random
from dataclasses import astuple

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from monai_tl.errors import ConfigError, DataError
from monai_tl.statistics import compare_arms
from monai_tl.statistics.multiplicity import choose_pairs, holm
from monai_tl.statistics.pairwise import rank_biserial, signed_rank_p, standardised
from monai_tl.statistics.score_array import StudyScore
from tests.conftest import mentions

NAN = math.nan


def rows(dice, n=26):
    """Rows from the Dice of each arm, shape (seeds, cases)."""
    return [
        StudyScore(arm, n, seed, f"case{case}", float(value), 2.0, 2.0)
        for arm, values in dice.items()
        for seed, of_seed in enumerate(np.atleast_2d(values))
        for case, value in enumerate(of_seed)
    ]


def drawn(seeds, cases, gain=0.0, seed=0):
    """Scratch, and freeze 1 that gains about so much."""
    rng = np.random.default_rng(seed)
    scratch = np.clip(rng.normal(0.5, 0.1, cases) + rng.normal(0, 0.03, (seeds, cases)), 0, 1)
    return {"scratch": scratch, "1": scratch + gain + rng.normal(0, 0.03, (seeds, cases))}


def test_hand_worked_values():
    """Means over seeds +.1 −.02 +.03 +.04 +.05: ranks 5, −1, 2, 3, 4, so (14 − 1)/15; Wilcoxon by counting: 4 of 32 signs."""
    by = np.array([[0.1, -0.02, 0.03, 0.04, 0.05]] * 3) + np.array([[0.01], [-0.01], [0.0]])
    (found,) = compare_arms(rows({"scratch": np.full((3, 5), 0.5), "1": 0.5 + by}))
    assert (found.arm, found.against, found.n, found.cases, found.seeds, found.left_out) == ("1", "scratch", 26, 5, 3, 0)
    assert found.mean == pytest.approx(0.04)
    assert found.rank_biserial == pytest.approx(13 / 15)
    assert found.p == pytest.approx(4 / 32)
    assert found.p_holm == found.p, "a family of one"
    assert found.d_z == pytest.approx(0.04 / math.sqrt((0.06**2 + 0.06**2 + 0.01**2 + 0 + 0.01**2) / 4))
    mentions(found.note, "5 cases … Wilcoxon's p … 0.062 … 1 comparison … 0.05")
    assert found.low < 0.04 < found.high


def test_p_is_scipys_and_holm_is_statsmodels():
    scores = [row for gain, n in ((0.0, 26), (0.01, 52), (0.03, 104)) for row in rows(drawn(3, 20, gain, n), n)]
    found = compare_arms(scores, resamples=99)
    for each, (gain, n) in zip(found, ((0.0, 26), (0.01, 52), (0.03, 104)), strict=True):
        dice = drawn(3, 20, gain, n)
        assert each.p == pytest.approx(stats.wilcoxon(dice["1"].mean(0), dice["scratch"].mean(0)).pvalue)
    for corrected, p in (("p_holm", "p"), ("p_seeds_holm", "p_seeds")):
        expected = multipletests([getattr(each, p) for each in found], method="holm")[1]
        assert [getattr(each, corrected) for each in found] == pytest.approx(list(expected))


def test_holm_as_worked_by_hand_leaves_out_what_is_unknown():
    assert holm([0.01, NAN, 0.04, 0.03]) == pytest.approx([0.03, NAN, 0.06, 0.06], nan_ok=True)
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert math.isnan(holm([NAN])[0])


def test_ties_and_zeros_in_the_signed_ranks():
    """1, 1, 1, 1, 1 and 0: only all signs alike are as extreme, 2 of 32; the normal approximation would say 0.025."""
    assert signed_rank_p(np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.0])) == pytest.approx(2 / 32)
    assert signed_rank_p(np.zeros(6)) == 1
    assert rank_biserial(np.array([0.1, 0.1, 0.1, -0.1, 0.0])) == pytest.approx(0.5)
    assert math.isnan(standardised(np.full(6, 0.1)))
    assert standardised(np.zeros(6)) == 0


def test_order_of_rows_does_not_matter_and_turning_a_pair_turns_its_signs():
    scores = rows(drawn(3, 12, 0.02))
    (first,) = compare_arms(scores)
    shuffled = random.Random(1).sample(scores, len(scores))
    assert compare_arms(shuffled) == [first]
    (turned,) = compare_arms(scores, [("scratch", "1")])
    assert [turned.mean, turned.low, turned.high] == pytest.approx([-first.mean, -first.high, -first.low])
    assert (turned.p, turned.rank_biserial) == pytest.approx((first.p, -first.rank_biserial))


def test_other_comparisons_do_not_change_an_interval():
    dice = drawn(3, 12, 0.02)
    (alone,) = compare_arms(rows(dice))
    together = compare_arms(rows(dice | {"2": dice["1"] + 0.01}))[0]
    assert (together.low, together.high, together.p) == (alone.low, alone.high, alone.p)
    assert together.p_holm >= alone.p_holm


def test_identical_arms_show_no_difference():
    dice = drawn(3, 12)["scratch"]
    (found,) = compare_arms(rows({"scratch": dice, "1": dice}))
    assert (found.mean, math.isnan(found.low), math.isnan(found.high)) == (0, True, True)
    mentions(found.note, "no interval")
    assert (found.p, found.p_holm, found.p_seeds, found.rank_biserial, found.d_z) == (1, 1, 1, 0, 0)
    mentions(found.verdict, "n = 26: freeze 1 and scratch … the same … 12 cases and 3 seeds")


def test_what_rounding_leaves_of_equal_scores_is_no_difference():
    assert 0.1 + 0.2 != 0.3
    (found,) = compare_arms(rows({"scratch": np.full((3, 6), 0.3), "1": np.full((3, 6), 0.1 + 0.2)}))
    assert (found.mean, found.p, found.rank_biserial) == (0, 1, 0)


def test_a_case_undefined_in_one_run_is_left_out_of_the_pair_and_counted():
    dice = drawn(3, 12, 0.02)
    with_nan = {arm: values.copy() for arm, values in dice.items()} | {"2": dice["1"]}
    with_nan["1"][1, 4] = NAN
    one, two = compare_arms(rows(with_nan))
    assert (one.cases, one.left_out, two.cases, two.left_out) == (11, 1, 12, 0)
    expected = (dice["1"] - dice["scratch"])[:, np.arange(12) != 4].mean()
    assert one.mean == pytest.approx(expected)
    nothing = {arm: np.full((3, 6), NAN) for arm in ("scratch", "1")}
    (none,) = compare_arms(rows(nothing))
    assert (none.cases, none.left_out, none.seeds) == (0, 6, 3)
    assert all(math.isnan(value) for value in (none.mean, none.low, none.p, none.p_holm))
    mentions(none.verdict, "n = 26: freeze 1 and scratch cannot be compared … no case")


def test_one_seed_gives_the_t_interval_of_its_cases_and_says_what_it_is():
    dice = drawn(1, 40, 0.05)
    (found,) = compare_arms(rows(dice), resamples=20000)
    by = (dice["1"] - dice["scratch"])[0]
    expected = stats.t.interval(0.95, 39, by.mean(), stats.sem(by))
    assert [found.low, found.high] == pytest.approx(expected, abs=0.001)
    assert found.p_seeds == pytest.approx(stats.ttest_1samp(by, 0).pvalue, rel=1e-3)
    mentions(found.note, "1 seed … other cases only")
    mentions(found.verdict, "one seed … these trained networks only … results may reverse with other seeds")


@pytest.mark.parametrize("cases", [1, 4])
def test_few_cases_have_no_interval(cases):
    (found,) = compare_arms(rows(drawn(3, cases, 0.05)))
    assert math.isnan(found.low)
    assert all(map(math.isnan, (found.p_seeds, found.rank_biserial, found.d_z)))
    assert "fewer than 5 cases: no interval" in found.note
    mentions(found.verdict, "3 seeds … too few cases")


def test_runs_without_a_partner_are_omitted_and_counted():
    dice = drawn(3, 12, 0.02)
    (found,) = compare_arms(rows({"scratch": dice["scratch"], "1": dice["1"][:2]}))
    assert found.seeds == 2
    mentions(found.note, "1 run omitted … same seed … 2 seeds")
    apart = [row for row in rows(dice) if (row.arm == "1") == (row.seed == 1)]
    (none,) = compare_arms(apart)
    assert (none.seeds, none.cases, none.left_out) == (0, 0, 0)
    assert "no seed was run with both" in none.verdict


def test_seeds_widen_the_interval_where_wilcoxon_is_blind_to_them():
    """Each seed moves all its cases: Wilcoxon sees 40 cases that agree, the verdict sees three seeds that do not."""
    rng = np.random.default_rng(3)
    by = np.array([[0.09], [0.03], [0.0]]) + rng.normal(0, 0.01, (3, 40))
    (found,) = compare_arms(rows({"scratch": np.full((3, 40), 0.5), "1": 0.5 + by}))
    assert found.p_holm < 1e-6
    assert found.low < 0 < found.high
    half = stats.t.ppf(0.975, 2) * np.std(by.mean(1), ddof=1) / math.sqrt(3)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)
    mentions(found.verdict, "no clear difference … freeze 1 … scratch … results may reverse with other seeds")


def test_the_verdict_names_what_it_rests_on():
    (found,) = compare_arms(rows(drawn(3, 42, 0.03)))
    assert found.verdict.startswith("n = 26: freeze 1 scores better than scratch: Dice 0.0")
    assert f"higher [{found.low:.3f}, {found.high:.3f}] over 42 cases and 3 seeds (Holm p" in found.verdict
    (turned,) = compare_arms(rows(drawn(3, 42, 0.03)), [("scratch", "1")])
    mentions(turned.verdict, f"scratch scores worse than freeze 1: Dice … lower [{found.low:.3f}, {found.high:.3f}]")
    (open_,) = compare_arms(rows(drawn(3, 6, 0.005)))
    far = max(abs(open_.low), abs(open_.high))
    mentions(open_.verdict, f"compatible … up to ±{far:.3f}")


def test_pairs_by_default_all_or_as_asked():
    arms = ["scratch", "0", "2", "random2"]
    default = [("0", "scratch"), ("0", "random2"), ("2", "scratch"), ("2", "random2")]
    assert choose_pairs(arms, None) == default
    assert len(choose_pairs(arms, "all")) == 6
    assert choose_pairs(arms, [("2", "0")]) == [("2", "0")]
    for pairs, text in (
        ([("3", "0")], "no arm 3 … scratch, 0, 2, random2"),
        ([("2", "2")], "2 … itself"),
        ([("2", "0"), ("0", "2")], "2 and 0 … more than once"),
        ("some", 'pairs is "some" … (arm, against) … "all"'),
    ):
        with pytest.raises(ConfigError) as error:
            choose_pairs(arms, pairs)
        mentions(str(error.value), text)


def test_an_arm_that_was_not_run_at_a_size_is_not_compared_there():
    dice = drawn(3, 8)
    found = compare_arms([*rows(dice, 26), *rows({"scratch": dice["scratch"]}, 52)])
    assert [(each.arm, each.n) for each in found] == [("1", 26)]


def test_a_dice_that_is_none_is_refused_by_name():
    with pytest.raises(DataError, match=r"case2.*1\.7.*freeze 1, n 26, seed 0.*0.*1"):
        compare_arms(rows({"scratch": np.full((1, 6), 0.5), "1": np.array([[0.5, 0.5, 1.7, 0.5, 0.5, 0.5]])}))


def test_different_subjects_are_refused_by_name():
    scores = rows(drawn(3, 8))
    lacking = [row for row in scores if not (row.arm == "1" and row.seed == 2 and row.subject in ("case3", "case5"))]
    with pytest.raises(DataError, match="freeze 1, n 26, seed 2 lacks case3, case5; 1 of 6 runs"):
        compare_arms(lacking)
    with pytest.raises(DataError, match="case0.*once.*scratch, n 26, seed 0"):
        compare_arms([*scores, scores[0]])
    with pytest.raises(DataError, match="there is no score"):
        compare_arms([])


def test_fields_come_in_the_order_that_tables_have():
    (found,) = compare_arms(rows(drawn(3, 8)))
    assert astuple(found)[:6] == ("1", "scratch", 26, 8, 3, 0)
