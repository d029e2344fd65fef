"""How a score changes with the number of training subjects: one mixed model of all arms and runs.

``value ~ arm * log2(n) + (1 | case) + (1 | seed) + (1 | run)``, fitted by restricted maximum likelihood (statsmodels' MixedLM,
all random effects crossed within one group). Sizes are centred at their geometric mean. The random effect of the run accounts
for what all its cases have in common; without it, the scores of one network would count as independent.

The model assumes effects that add up, are normally distributed and vary equally everywhere: an approximation for scores near an
end of their range, and for skewed ones such as distances. Its cases differ in difficulty but gain equally from an arm, so its
intervals for differences between arms are too narrow. Each term therefore also gets a crossed interval, which assumes none of
this: the same line is fitted to each seed and case alone, and its coefficients are resampled as in `crossed_bootstrap`.
docs/statistics.md reports the coverage of both.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec

from monai_tl.errors import first_line
from monai_tl.statistics.crossed_bootstrap import FEWEST_CASES, Array, CrossedBootstrap, take_apart
from monai_tl.statistics.measure import BY_DICE, Measure
from monai_tl.statistics.score_array import ScoreCube, StudyScore, arrange
from monai_tl.transfer.arms import arm_words

LARGEST = 2e8  # scores × (random effects)², to which the time is proportional: about 15 s
SLOPE = ", slope"
OPTIMISERS = ("powell", "nm")  # gradient-based ones report convergence far from the optimum if a variance is near 0
EFFECTS = "arm * log2(n) + (1 | case) + (1 | seed) + (1 | run)"


@dataclass(frozen=True)
class CurveTerm:
    """One coefficient, in the metric's unit; slopes are per doubling of the training subjects.

    Attributes:
        term: e.g. ``"scratch"`` (the mean at the middle size), ``"scratch, slope"``, ``"freeze 1 − scratch"``.
        estimate: from the mixed model, or from the crossed analysis if the mixed model could not be fitted.
        low: lower end of the crossed 95 % interval, which covers other cases and seeds, and does not exceed the metric's range
            (means and differences); NaN with fewer than 5 complete cases.
        high: upper end, see ``low``.
        p: from the crossed analysis, for the coefficient being 0; not corrected for the number of terms.
        model_low: lower end of the mixed model's own 95 % interval, which is too narrow if cases gain unequally.
        model_high: upper end, see ``model_low``.
        model_p: from the mixed model.
    """

    term: str
    estimate: float
    low: float
    high: float
    p: float
    model_low: float
    model_high: float
    model_p: float


@dataclass(frozen=True)
class CurveModel:
    """The model of a study's learning curves.

    Attributes:
        formula: of the mixed model.
        terms: its fixed effects; empty if there are too few scores.
        middle: geometric mean of the sizes, at which the arms' means and differences are evaluated.
        deviations: standard deviations of ``"case"``, ``"seed"``, ``"run"`` and ``"residual"``.
        converged: whether the fit of the mixed model converged.
        note: limitations and failures, one line; empty if there are none.
    """

    formula: str
    terms: tuple[CurveTerm, ...]
    middle: float
    deviations: dict[str, float]
    converged: bool
    note: str


@dataclass(frozen=True)
class _Design:
    """Fixed effects by cell (an arm at a size), shape (cells, terms)."""

    cells: list[tuple[int, int]]  # indices of arm and size
    matrix: Array
    names: list[str]
    middle: float
    notes: list[str]


@dataclass(frozen=True)
class _Fit:
    estimates: Array
    errors: Array
    deviations: dict[str, float]
    converged: bool
    notes: list[str]


def fit_curves(scores: Sequence[StudyScore], *, metric: Measure = BY_DICE, seed: int = 0, resamples: int = 4999) -> CurveModel:
    """Model the scores of all runs by arm and number of training subjects.

    Args:
        scores: of a study, in any order; undefined ones are omitted.
        metric: what they measure.
        seed: of the bootstrap for the crossed intervals.
        resamples: bootstrap samples per interval.

    Raises:
        DataError: if there is no score, a run scored a case twice, or runs were scored on different subjects.
    """
    cube = arrange(scores, metric)
    design = _design(cube)
    fit = _fit_mixed(cube, design)
    crossed, limits = _crossed(cube, design, CrossedBootstrap(seed, resamples))
    z = stats.norm.ppf(0.975)
    terms = []
    for name, estimate, error, (mean, low, high, p) in zip(design.names, fit.estimates, fit.errors, crossed, strict=True):
        model_p = float(2 * stats.norm.sf(abs(estimate) / error)) if error > 0 else math.nan
        ends = float(estimate - z * error), float(estimate + z * error)
        terms.append(CurveTerm(name, float(mean if math.isnan(estimate) else estimate), low, high, p, *ends, model_p))
    note = "; ".join([*design.notes, *fit.notes, *limits])
    return CurveModel(f"{metric.name} ~ {EFFECTS}", tuple(terms), design.middle, fit.deviations, fit.converged, note)


def _design(cube: ScoreCube) -> _Design:
    """Build the design matrix; arms run at one size only have no slope and are omitted if other arms have one."""
    run = np.asarray(cube.exists.any(axis=2))
    sloped = len(cube.sizes) > 1 and bool((run.sum(axis=1) > 1).any())
    arms = [arm for arm in range(len(cube.arms)) if run[arm].sum() > 1 or not sloped]
    omitted = [arm_words(arm) for index, arm in enumerate(cube.arms) if index not in arms]
    notes = [f"omitted, since run with one size only: {', '.join(omitted)}"] if omitted else []
    if not sloped:
        notes.append("no arm was run with more than one size: no slopes")
    cells = [(arm, size) for arm in arms for size in range(len(cube.sizes)) if run[arm, size]]
    middle = float(np.exp(np.mean(np.log([cube.sizes[size] for size in sorted({size for _, size in cells})]))))
    doublings = np.array([math.log2(cube.sizes[size] / middle) for _, size in cells])
    first, *later = [arm_words(cube.arms[arm]) for arm in arms]
    is_arm = [np.array([cell[0] == arm for cell in cells], dtype=float) for arm in arms[1:]]
    columns, names = [np.ones(len(cells)), *is_arm], [first, *(f"{arm} − {first}" for arm in later)]
    if sloped:
        columns += [doublings, *(column * doublings for column in is_arm)]
        names += [f"{name}{SLOPE}" for name in names]
    return _Design(cells, np.column_stack(columns), names, middle, notes)


def _fit_mixed(cube: ScoreCube, design: _Design) -> _Fit:
    """Fit with statsmodels; scores are divided by their standard deviation, since the optimisers need values near 1."""
    arms, sizes = (np.array(index) for index in zip(*design.cells, strict=True))
    scores = cube.values[arms, sizes]  # cells, seeds, subjects
    cell, seed, case = np.nonzero(~np.isnan(scores))
    values = scores[cell, seed, case]
    unit = float(values.std()) if len(values) else 0.0
    kinds = {"case": case, "seed": seed, "run": cell * len(cube.seeds) + seed}
    levels = {kind: number for kind, of in kinds.items() if (number := len(np.unique(of))) > 1}
    columns = sum(levels.values())
    fault = ""
    if len(values) <= columns + len(design.names) or unit == 0 or len(levels) < 2:
        fault = "too few different scores for the mixed model"
    elif len(values) * columns**2 > LARGEST:
        fault = f"{len(values)} scores of {levels['run']} runs are too many for the mixed model"
    else:
        try:
            effects = {kind: _indicators(kinds[kind]) for kind in levels}
            return _statsmodels(values / unit, design.matrix[cell], effects, unit)
        except (np.linalg.LinAlgError, ValueError) as error:
            fault = f"the mixed model could not be fitted ({first_line(error)})"
    unknown = np.full(len(design.names), math.nan)
    return _Fit(unknown, unknown, {}, False, [fault])


def _statsmodels(values: Array, fixed: Array, effects: dict[str, Array], unit: float) -> _Fit:
    names = list(effects)
    labels = [[[str(column) for column in range(matrix.shape[1])]] for matrix in effects.values()]
    components = VCSpec(names, labels, [[matrix] for matrix in effects.values()])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the result holds the same information
        fit = MixedLM(values, fixed, np.zeros(len(values)), exog_vc=components).fit(method=list(OPTIMISERS))
    variances = dict(zip(names, map(float, fit.vcomp), strict=True)) | {"residual": float(fit.scale)}
    deviations = {name: unit * math.sqrt(max(variance, 0)) for name, variance in variances.items()}
    notes = [] if fit.converged else ["the mixed model did not converge: its intervals cannot be relied on"]
    none = [name for name in names if variances[name] < 1e-6]
    if none:
        notes.append(f"no variance found between {'s, '.join(none)}s")
    return _Fit(unit * np.asarray(fit.fe_params), unit * np.asarray(fit.bse_fe), deviations, bool(fit.converged), notes)


def _indicators(levels: NDArray[np.int64]) -> Array:
    """Return one indicator column per level, shape (scores, levels)."""
    values, place = np.unique(levels, return_inverse=True)
    return np.asarray(np.eye(len(values))[place])


def _bounds(term: str, mean: str, metric: Measure) -> tuple[float, float]:
    """Return the smallest and the largest possible value of a term; a slope has none, since the line only approximates."""
    if term.endswith(SLOPE):
        return -math.inf, math.inf
    return 0.0 if term == mean else -metric.highest, metric.highest


def _crossed(
    cube: ScoreCube, design: _Design, bootstrap: CrossedBootstrap
) -> tuple[list[tuple[float, float, float, float]], list[str]]:
    """Fit the line to each complete seed and case alone; return mean, interval and p of each term, and limitations."""
    arms, sizes = (np.array(index) for index in zip(*design.cells, strict=True))
    seeds = cube.exists[arms, sizes].all(axis=0)
    scores = cube.values[arms, sizes][:, seeds]
    cases = ~np.isnan(scores).any(axis=(0, 1))
    if not seeds.any() or cases.sum() < FEWEST_CASES:
        limit = f"{int(seeds.sum())} seeds with all runs, {int(cases.sum())} cases defined in all of them: no crossed intervals"
        return [(math.nan,) * 4] * len(design.names), [limit]
    coefficients = np.einsum("tk,ksc->tsc", np.linalg.pinv(design.matrix), scores[:, :, cases])
    rows = []
    for name, coefficient in zip(design.names, coefficients, strict=True):
        parts = take_apart(coefficient)
        least, most = _bounds(name, design.names[0], cube.metric)
        low, high = bootstrap.interval(parts)
        rows.append((parts.mean, max(low, least), min(high, most), bootstrap.p(parts)))  # NaN stays NaN
    if seeds.all() and cases.all():
        return rows, []
    return rows, [f"crossed intervals over {cases.sum()} complete cases and {seeds.sum()} seeds"]
