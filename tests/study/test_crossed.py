"""Intervals over seeds and cases: variances by hand, the width they imply, and how often they hold the truth."""

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from monai_tl.study.crossed import CrossedBootstrap, seed_aware_p, take_apart

ROOT = Path(__file__).parents[2]


def test_variances_of_a_two_by_two_table_by_hand():
    """[[1, 2], [3, 6]]: mean 3, rows ∓1.5, columns ∓1, rest ±0.5; mean squares 9, 4, 1."""
    parts = take_apart(np.array([[1.0, 2.0], [3.0, 6.0]]))
    assert parts.mean == 3
    assert [*parts.seeds, *parts.cases] == [-1.5, 1.5, -1, 1]
    assert parts.rest.tolist() == [[0.5, -0.5], [-0.5, 0.5]]
    assert parts.variances == pytest.approx([8 / 4, 3 / 4, 1 / 4])
    assert parts.freedom.tolist() == [1, 1, 1]


def test_variances_are_unbiased():
    """Of the mean of 3 seeds and 8 cases: σs²/3, σc²/8, σe²/24."""
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 3, (4000, 3, 1)) + rng.normal(0, 4, (4000, 1, 8)) + rng.normal(0, 1, (4000, 3, 8))
    found = np.mean([take_apart(each).variances for each in scores], axis=0)
    assert found == pytest.approx([9 / 3, 16 / 8, 1 / 24], rel=0.06)


def test_the_width_is_that_of_the_variances_and_their_t():
    rng = np.random.default_rng(1)
    parts = take_apart(rng.normal(0, 0.02, (4, 1)) + rng.normal(0, 0.1, (1, 30)) + rng.normal(0, 0.05, (4, 30)))
    low, high = CrossedBootstrap(0, 20000).interval(parts)
    half = math.sqrt(sum(stats.t.ppf(0.975, parts.freedom) ** 2 * parts.variances))
    assert (high - low) / 2 == pytest.approx(half, rel=0.04)


def test_p_is_where_the_interval_reaches_zero():
    parts = take_apart(np.random.default_rng(2).normal(0.02, 0.05, (3, 12)))
    p = seed_aware_p(parts)
    assert 0.001 < p < 0.5
    assert abs(parts.mean) == pytest.approx(math.sqrt(sum(stats.t.ppf(1 - p / 2, parts.freedom) ** 2 * parts.variances)))
    assert seed_aware_p(take_apart(np.full((3, 6), 0.1))) == pytest.approx(0, abs=1e-11)


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


def test_the_script_prints_writes_and_overwrites_nothing(script, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(script, "SETTINGS", script.SETTINGS[:1])
    script.check_statistics(studies=4, models=1, resamples=49, output=str(tmp_path / "s.csv"))
    printed = capsys.readouterr().out
    assert "| normal | 10 | 3 | 0.0 |" in printed
    assert "| studies | not_converged | differences |" in printed
    assert (tmp_path / "s.csv").read_text().startswith("seeds,cases,seed_deviation,shape,interval,")
    with pytest.raises(ValueError, match="is there already"):
        script.check_statistics(studies=4, output=str(tmp_path / "s.csv"))
