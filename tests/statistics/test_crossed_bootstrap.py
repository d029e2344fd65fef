"""Intervals over seeds and cases: variances by hand, the width they imply, and how often they hold the truth."""

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from monai_tl.statistics.crossed_bootstrap import CrossedBootstrap, take_apart

ROOT = Path(__file__).parents[2]


def test_variances_of_a_two_by_two_table_by_hand():
    """[[1, 2], [3, 6]]: mean 3, rows ∓1.5, columns ∓1, rest ±0.5; mean squares 9, 4, 1."""
    parts = take_apart(np.array([[1.0, 2.0], [3.0, 6.0]]))
    assert parts.mean == 3
    assert [*parts.seeds, *parts.cases] == [-1.5, 1.5, -1, 1]
    assert parts.variances == pytest.approx([(9 - 1) / 4, 4 / 4])
    assert parts.freedom.tolist() == [1, 1]


def test_variances_are_unbiased():
    """Of the mean of 3 seeds and 8 cases: σs²/3, and σc²/8 + σe²/24."""
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 3, (4000, 3, 1)) + rng.normal(0, 4, (4000, 1, 8)) + rng.normal(0, 2, (4000, 3, 8))
    found = np.mean([take_apart(each).variances for each in scores], axis=0)
    assert found == pytest.approx([9 / 3, 16 / 8 + 4 / 24], rel=0.03)


def test_the_width_is_that_of_the_variances_and_their_t():
    rng = np.random.default_rng(1)
    parts = take_apart(rng.normal(0, 0.02, (4, 1)) + rng.normal(0, 0.1, (1, 30)) + rng.normal(0, 0.05, (4, 30)))
    low, high = CrossedBootstrap(0, 20000).interval(parts)
    half = math.sqrt(sum(stats.t.ppf(0.975, parts.freedom) ** 2 * parts.variances))
    assert (high - low) / 2 == pytest.approx(half, rel=0.04)


def test_it_is_no_narrower_than_students_of_the_seeds_means():
    """Three seeds that differ less than the rest lets expect, cases that do not differ: what seeds do is not known to be 0."""
    rest = np.random.default_rng(4).normal(0, 0.1, (3, 20))
    scores = rest - rest.mean(axis=1, keepdims=True) + np.array([[0.0], [0.017], [0.034]])
    parts = take_apart(scores)
    assert (scores - scores.mean(1, keepdims=True)).var(ddof=1) > 20 * 0.017**2, "mean squares of seeds below those of the rest"
    low, high = CrossedBootstrap(0, 20000).interval(parts)
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.975, 2) * stats.sem([0, 0.017, 0.034]), rel=0.1)


def test_of_one_seed_it_is_the_bootstrap_t_of_scipy():
    """Skewed, 12 cases; scipy takes the standard error of each draw from our formula, since it has none itself."""
    cases = 1 - np.random.default_rng(3).exponential(size=12)
    low, high = CrossedBootstrap(0, 20000).interval(take_apart(cases[None]))
    error = stats.sem(cases)

    def studentised(sample, axis):
        return (sample.mean(axis) - cases.mean()) / np.maximum(stats.sem(sample, axis=axis), error / 4)

    drawn = stats.bootstrap((cases,), studentised, n_resamples=20000, method="percentile", random_state=1)
    t = drawn.confidence_interval
    assert [low, high] == pytest.approx([cases.mean() - t.high * error, cases.mean() - t.low * error], abs=0.03)
    assert cases.mean() - low > 1.4 * (high - cases.mean()), "the tail, which few cases show, is below"


def test_cases_that_hardly_differ_leave_the_interval_finite():
    """Two cases of ten differ: in a tenth of the draws none does, and the mean over its standard error would be infinite."""
    low, high = CrossedBootstrap(0, 4999).interval(take_apart(np.array([[0.3, 0.2, *[0.0] * 8]])))
    assert -0.1 < low < 0 < 0.05 < high < 0.3


def test_p_is_where_the_interval_reaches_zero():
    """At both ends where scores are symmetric; a skewed one's shorter side is judged by Student's t."""
    rng, bootstrap = np.random.default_rng(2), CrossedBootstrap(0, 20000)
    seeds, some = rng.normal(0, 0.03, (4, 1)), rng.normal(0.02, 0.05, (4, 12))
    symmetric, skewed = np.concatenate([some, 0.04 - some], axis=1) + seeds, 1 - rng.exponential(size=(1, 12))
    for scores, high in ((symmetric, pytest.approx(0.05, abs=0.005)), (skewed, pytest.approx(0.14, abs=0.05))):
        ends = [bootstrap.p(take_apart(scores - end)) for end in bootstrap.interval(take_apart(scores))]
        assert ends == [pytest.approx(0.05, abs=0.005), high]
    assert bootstrap.p(take_apart(np.full((3, 6), 0.1))) == pytest.approx(0, abs=1e-11)
    assert bootstrap.p(take_apart(np.zeros((3, 6)))) == 1
    assert math.isnan(bootstrap.p(take_apart(some[:, :4])))


def test_p_is_never_below_students():
    """Nine cases gain alike and one far more: the bootstrap knows that what is below is near, Student's t does not."""
    cases = np.array([[0.02, 0.021, 0.019, 0.022, 0.018, 0.02, 0.021, 0.019, 0.02, 0.2]])
    low, _ = CrossedBootstrap().interval(take_apart(cases))
    assert low > stats.t.interval(0.95, 9, cases.mean(), stats.sem(cases[0]))[0]
    assert CrossedBootstrap().p(take_apart(cases)) == pytest.approx(stats.ttest_1samp(cases[0], 0).pvalue)


def test_draws_depend_on_the_seed_alone():
    parts = take_apart(np.random.default_rng(2).normal(0.02, 0.05, (3, 12)))
    bootstrap = CrossedBootstrap(7, 500)
    first = bootstrap.interval(parts)
    assert bootstrap.interval(parts) == first == CrossedBootstrap(7, 500).interval(parts)
    assert CrossedBootstrap(8, 500).interval(parts) != first


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("check_statistics", ROOT / "scripts" / "check_statistics.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["check_statistics"] = module
    spec.loader.exec_module(module)
    return module


def test_coverage_and_false_alarms_where_seeds_matter(script):
    """Small and seeded: 120 studies of three comparisons. The plain bootstrap and Wilcoxon alone fail here, plainly."""
    row = script.check(script.Setting(3, 20, 0.05, "normal"), 120, 399, 0)
    assert 91 <= row["interval"] <= 99
    assert row["naive"] < 88
    assert row["wilcoxon"] > 25
    assert row["verdict"] <= 9


def test_false_alarms_where_seeds_do_nothing(script):
    row = script.check(script.Setting(3, 20, 0.0, "normal"), 120, 399, 0)
    assert 92 <= row["interval"] <= 100
    assert row["wilcoxon"] <= 10
    assert row["verdict"] <= row["wilcoxon"]


def test_intervals_of_single_runs_hold_where_bca_does_not(script):
    row = script.check_single(6, "skewed", 150, 399, 0)
    assert 89 <= row["interval"] <= 99
    assert row["bca"] < 88


def test_the_script_prints_writes_and_overwrites_nothing(script, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(script, "SETTINGS", script.SETTINGS[:1])
    script.check_statistics(studies=4, models=1, resamples=49, output=str(tmp_path / "s.csv"))
    printed = capsys.readouterr().out
    assert "| normal | 10 | 3 | 0.0 |" in printed
    assert "| studies | not_converged | differences |" in printed
    assert (tmp_path / "s.csv").read_text().startswith("seeds,cases,seed_deviation,shape,interval,")
    with pytest.raises(ValueError, match="already exists.*--output"):
        script.check_statistics(studies=4, output=str(tmp_path / "s.csv"))
