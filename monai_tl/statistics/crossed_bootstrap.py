"""Intervals for the mean of scores with two crossed random factors: every seed is scored on every case.

The mean over S seeds and C cases has three sources of variance: the seeds, the cases, and their interaction with the residual.
With ``x[i, j] = mean + s[i] + c[j] + e[i, j]`` its variance is ``σs²/S + σc²/C + σe²/(SC)``. The variance of the cases' means
estimates the last two terms together; the variance of the seeds' means beyond ``σe²`` estimates the first. Seeds and cases are
resampled independently, with replacement (the pigeonhole bootstrap, Owen 2007), with a small-sample correction for each:

* seeds, of which there may be three: deviations are scaled to the unbiased variance (reflated: Carpenter, Goldstein and Rasbash
  2003) times ``t/1.96`` (Hesterberg 2015), with random signs, since three values cannot show skewness;
* cases, which may be skewed: the mean of each draw is divided by its own standard error (bootstrap-t: Hall 1988; Efron and
  Tibshirani 1993, chapter 12).

Measured coverage: docs/statistics.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import stdtrit

Array = NDArray[np.float64]
FEWEST_CASES = 5  # with fewer cases, an interval would hardly differ from their range
NORMAL = 1.959963984540054  # 97.5 % point of the normal distribution
LEAST_ERROR = 0.25  # lower limit of a draw's standard error, as a share of the sample's: a draw may have nearly equal cases
SMALLEST_P = 1e-12  # smaller values are reported as this


@dataclass(frozen=True)
class Parts:
    """Mean, deviations and variance components of scores of shape (S, C); the variances are those of the *mean*.

    Attributes:
        mean: over all scores.
        seeds: deviations of the seeds' means, shape (S,).
        cases: deviations of the cases' means, shape (C,).
        variances: due to seeds (0 with one seed), and due to cases and residual, shape (2,).
        freedom: degrees of freedom of each variance, shape (2,), at least 1.
    """

    mean: float
    seeds: Array
    cases: Array
    variances: Array
    freedom: Array


def take_apart(scores: Array) -> Parts:
    """Split scores of shape (S ≥ 1, C ≥ 2), without NaN, by the two-way analysis of variance with random effects.

    The seeds' variance is the variance of their means beyond that of the residual. With few seeds it may be too small by
    chance, so it is raised until the interval is at least as wide as Student's interval of the seeds' means alone. With one
    seed it is unknown, and set to 0.
    """
    (s, c), mean = scores.shape, float(scores.mean())
    seeds, cases = scores.mean(axis=1) - mean, scores.mean(axis=0) - mean
    rest = scores - mean - seeds[:, None] - cases
    freedom = np.array([s - 1, c - 1, (s - 1) * (c - 1)], dtype=float)
    squares = np.array([c * (seeds**2).sum(), s * (cases**2).sum(), (rest**2).sum()]) / np.maximum(freedom, 1)
    freedom = np.maximum(freedom[:2], 1)
    t = stdtrit(freedom, 0.975)
    least = squares[0] - (t[1] / t[0]) ** 2 * squares[1]
    variances = np.array([max(squares[0] - squares[2], least, 0) if s > 1 else 0, squares[1]]) / (s * c)
    return Parts(mean, seeds, cases, variances, freedom)


class CrossedBootstrap:
    """Resample seeds and cases; all scores of one shape share the same draws, so a result does not depend on the others."""

    def __init__(self, seed: int = 0, resamples: int = 4999) -> None:
        """Set the seed and the number of the draws."""
        self.seed, self.resamples = seed, resamples
        self._drawn: dict[tuple[int, int], tuple[Array, Array]] = {}

    def interval(self, parts: Parts) -> tuple[float, float]:
        """Return both ends of the 95 % interval of the mean; NaN with fewer than 5 cases, or if nothing varies."""
        if len(parts.cases) < FEWEST_CASES or not parts.variances.any():
            return math.nan, math.nan
        signed, _ = self._draws(parts)
        error = np.sqrt(parts.variances)
        by_seed = _scaled(parts.seeds, error[0] * stdtrit(parts.freedom[0], 0.975) / NORMAL)
        low, high = np.quantile(parts.mean + signed @ by_seed - error[1] * self._studentised(parts), [0.025, 0.975])
        return float(low), float(high)

    def p(self, parts: Parts) -> float:
        """Return the two-sided p at which the interval would just reach 0; 1 for a mean of 0, NaN with fewer than 5 cases.

        The number of draws limits how small a p they can show. So p is where ``√Σ t²·variance`` equals the mean; the cases' t
        is stretched as the bootstrap stretches the interval towards 0, but is never below Student's t.
        """
        if len(parts.cases) < FEWEST_CASES:
            return math.nan
        if parts.mean == 0:
            return 1.0
        towards_zero = np.quantile(math.copysign(1, parts.mean) * self._studentised(parts), 0.975)
        stretch = np.array([1.0, max(towards_zero / stdtrit(parts.freedom[1], 0.975), 1.0)])

        def excess(log_p: float) -> float:
            t = stretch * stdtrit(parts.freedom, 1 - math.exp(log_p) / 2)
            width: float = (t**2 * parts.variances).sum()
            return width - parts.mean**2

        low = math.log(SMALLEST_P)
        return SMALLEST_P if excess(low) <= 0 else math.exp(brentq(excess, low, 0.0, xtol=1e-6))

    def _studentised(self, parts: Parts) -> Array:
        """Return the deviation of each draw's mean over cases, divided by the draw's standard error, shape (resamples,)."""
        error = math.sqrt(parts.variances[1])
        if error == 0:
            return np.zeros(self.resamples)
        count = len(parts.cases)
        _, drawn = self._draws(parts)
        means, squares = (drawn @ np.stack([parts.cases, parts.cases**2], axis=1)).T / count
        errors = np.sqrt(np.maximum(squares - means**2, 0) / (count - 1))
        return np.asarray(means / np.maximum(errors, LEAST_ERROR * error))

    def _draws(self, parts: Parts) -> tuple[Array, Array]:
        """Return how often each seed (with random signs) and each case was drawn, shapes (resamples, S) and (resamples, C)."""
        s, c = len(parts.seeds), len(parts.cases)
        if (s, c) not in self._drawn:
            rng = np.random.default_rng([self.seed, s, c])
            seeds = rng.multinomial(s, np.full(s, 1 / s), size=self.resamples)
            signed = 2 * rng.binomial(seeds, 0.5) - seeds
            cases = rng.multinomial(c, np.full(c, 1 / c), size=self.resamples)
            self._drawn[s, c] = signed.astype(float), cases.astype(float)
        return self._drawn[s, c]


def _scaled(deviations: Array, deviation: float) -> Array:
    """Scale deviations so that their sum over a draw has this standard deviation."""
    length = float(np.sqrt((deviations**2).sum()))
    return deviations * (deviation / length) if length > 0 else deviations
