"""Learning curves: means of arms, and the model of all runs, against known lines and statsmodels."""

import math
import random

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from monai_tl.statistics import arm_means, fit_curves, mixed_model
from monai_tl.statistics.score_array import StudyScore
from tests.conftest import mentions

NAN = math.nan


def study(arms=("scratch", "1"), sizes=(26, 52, 104), seeds=3, cases=8, noise=0.02):
    """Scratch has 0.5 at 52 subjects and gains 0.05 a doubling; freeze 1 has 0.03 more and gains 0.04."""
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 0.1, cases)
    hard -= hard.mean()
    lines = {"scratch": (0.5, 0.05), "1": (0.53, 0.04), "random2": (0.4, 0.05)}
    return [
        StudyScore(arm, n, seed, f"case{case}", middle + slope * math.log2(n / 52) + hard[case] + by, 2.0, 2.0)
        for arm, (middle, slope) in lines.items()
        if arm in arms
        for n in sizes
        for seed in range(seeds)
        for case, by in enumerate(rng.normal(0, noise, cases) + rng.normal(0, noise))
    ]


def test_means_of_arms_by_hand():
    dice = [[0.2, 0.4, 0.9, NAN], [0.4, 0.6, 0.8, 0.5]]
    scores = [StudyScore("0", 26, seed, str(case), dice[seed][case], 1.0, 1.0) for seed in range(2) for case in range(4)]
    (found,) = arm_means(scores)
    assert (found.arm, found.n, found.seeds, found.cases) == ("0", 26, 2, 3)
    assert (found.mean, found.median) == pytest.approx((3.3 / 6, 0.5))
    assert math.isnan(found.low), "3 cases"


def test_means_come_by_arm_and_size_within_zero_and_one():
    found = arm_means(study(("scratch", "1", "random2")), resamples=299)
    assert [(each.arm, each.n) for each in found][:4] == [("scratch", 26), ("scratch", 52), ("scratch", 104), ("1", 26)]
    assert found[-1].arm == "random2"
    assert all(0 <= each.low < each.mean < each.high <= 1 for each in found)
    low = [StudyScore("0", 26, seed, str(case), 0.9 * (case == 0), 1.0, 1.0) for seed in range(3) for case in range(6)]
    assert arm_means(low)[0].low == 0


def test_the_lines_are_found():
    scores = study()
    model = fit_curves(random.Random(0).sample(scores, len(scores)))
    terms = {term.term: term for term in model.terms}
    assert list(terms) == ["scratch", "freeze 1 − scratch", "scratch, slope", "freeze 1 − scratch, slope"]
    assert model.middle == pytest.approx(52)
    assert model.converged
    assert [term.estimate for term in model.terms] == pytest.approx([0.5, 0.03, 0.05, -0.01], abs=0.015)
    assert all(term.low < term.estimate < term.high for term in model.terms)
    assert all(term.model_low < term.estimate < term.model_high for term in model.terms)
    assert terms["scratch, slope"].model_p < 0.001
    assert terms["freeze 1 − scratch, slope"].p > 0.05
    assert model.deviations["case"] == pytest.approx(0.1, abs=0.05)
    assert model.deviations["residual"] == pytest.approx(0.02, abs=0.004)
    assert model.deviations["run"] == pytest.approx(0.02, abs=0.01)


@pytest.mark.filterwarnings("ignore")  # of variances at 0
@pytest.mark.parametrize("optimiser", ["nm", "basinhopping"])
def test_the_model_is_that_of_a_formula(optimiser):
    """And its fit the best there is: with no variance between seeds, L-BFGS and BFGS end elsewhere and call it converged."""
    scores = study()
    table = pd.DataFrame([(s.arm, math.log2(s.n / 52), s.seed, s.subject, s.value) for s in scores])
    table.columns = ["arm", "doublings", "seed", "case", "dice"]
    table["run"] = table.arm + table.doublings.astype(str) + "/" + table.seed.astype(str)
    table["dice"] /= table.dice.std()
    unit = np.std([s.value for s in scores], ddof=1)
    components = {kind: f"0 + C({kind})" for kind in ("case", "seed", "run")}
    formula = "dice ~ C(arm, Treatment('scratch')) * doublings"
    fit = smf.mixedlm(formula, table, groups=np.ones(len(table)), vc_formula=components).fit(method=optimiser)
    model = fit_curves(scores)
    by_name = {
        "Intercept": "scratch",
        "C(arm, Treatment('scratch'))[T.1]": "freeze 1 − scratch",
        "doublings": "scratch, slope",
        "C(arm, Treatment('scratch'))[T.1]:doublings": "freeze 1 − scratch, slope",
    }
    terms = {term.term: term for term in model.terms}
    for name, ours in by_name.items():
        assert terms[ours].estimate == pytest.approx(fit.fe_params[name] * unit, abs=1e-6)
        width = terms[ours].model_high - terms[ours].model_low
        assert width == pytest.approx(2 * 1.96 * fit.bse_fe[name] * unit, rel=0.01)


def test_one_size_has_no_slopes_and_one_seed_no_seed_effect():
    model = fit_curves(study(sizes=(26,), seeds=1))
    assert [term.term for term in model.terms] == ["scratch", "freeze 1 − scratch"]
    assert "no arm was run with more than one size: no slopes" in model.note
    assert "seed" not in model.deviations


def test_an_arm_with_one_size_is_omitted_and_named():
    scores = [row for row in study(("scratch", "1", "random2")) if row.arm != "random2" or row.n == 26]
    model = fit_curves(scores)
    assert not any("random" in term.term for term in model.terms)
    mentions(model.note, "omitted … one size only … random freeze 2")


def test_undefined_dice_and_missing_runs_shrink_the_crossed_part_and_are_counted():
    scores = [row for row in study() if not (row.arm == "1" and row.seed == 2 and row.n == 52)]
    scores[3] = StudyScore("scratch", 26, 0, "case3", NAN, 2.0, 2.0)
    model = fit_curves(scores)
    assert model.converged
    assert "crossed intervals over 7 complete cases and 2 seeds" in model.note


def test_a_fit_that_fails_is_reported_in_one_line(monkeypatch):
    class Broken:
        def __init__(self, *args, **kwargs):
            raise np.linalg.LinAlgError("Singular matrix\nmore")

    monkeypatch.setattr(mixed_model, "MixedLM", Broken)
    model = fit_curves(study())
    assert not model.converged
    assert model.note == "the mixed model could not be fitted (Singular matrix)"
    assert all(math.isnan(term.model_low) and math.isfinite(term.estimate) for term in model.terms)


def test_a_fit_that_does_not_converge_is_reported(monkeypatch):
    fit = mixed_model.MixedLM.fit

    def stopped(self, **kwargs):
        found = fit(self, **kwargs)
        found.converged = False
        return found

    monkeypatch.setattr(mixed_model.MixedLM, "fit", stopped)
    mentions(fit_curves(study()).note, "mixed model did not converge")


def test_too_many_and_too_few_scores_are_reported(monkeypatch):
    mentions(fit_curves(study(cases=4)).note, "4 cases … no crossed intervals")
    mentions(fit_curves(study(sizes=(26,), seeds=1, cases=1)).note, "too few … scores … mixed model")
    monkeypatch.setattr(mixed_model, "LARGEST", 10)
    mentions(fit_curves(study()).note, "144 scores of 18 runs … too many … mixed model")
