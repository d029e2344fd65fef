"""Intervals for the mean of scores crossed in two ways: every seed met every case, and both were drawn from more.

The mean over S seeds and C cases varies for three reasons: which seeds, which cases, and what is left of their meeting. With
``x[i, j] = mean + s[i] + c[j] + e[i, j]`` its variance is ``σs²/S + σc²/C + σe²/(SC)``. The means of the cases over the seeds
vary by the last two together, and what those of the seeds vary beyond ``σe²`` is the first. Seeds and cases are drawn
independently, both with replacement (the pigeonhole bootstrap, Owen 2007), with what each level needs where it is small:

* seeds, three for instance: deviations scaled to the unbiased variance (reflated: Carpenter, Goldstein and Rasbash 2003) times
  ``t/1.96`` (Hesterberg 2015), with random signs, since three values say nothing of skewness;
* cases, which may be skewed: the mean of each draw over its own standard error (bootstrap-t: Hall 1988; Efron and
  Tibshirani 1993, chapter 12).

How often it holds the truth: docs/statistics.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import stdtrit

Array = NDArray[np.float64]
FEWEST_CASES = 5  # from fewer an interval would be little more than their range
NORMAL = 1.959963984540054  # 97.5 % point of the normal distribution
LEAST_ERROR = 0.25  # of the standard error: a draw that has less, of nearly equal cases, counts as if it had so much
SMALLEST_P = 1e-12  # what is below is called this


@dataclass(frozen=True)
class Parts:
    """Scores of shape (S, C) taken apart; variances are of the *mean*, and what one seed cannot tell is 0.

    Attributes:
        mean: over all.
        seeds: deviations of the seeds' means, shape (S,).
        cases: deviations of the cases' means, shape (C,).
        variances: parts due to seeds, and to cases and the rest, shape (2,).
        freedom: degrees of freedom of each, shape (2,), at least 1.
    """

    mean: float
    seeds: Array
    cases: Array
    variances: Array
    freedom: Array


def take_apart(scores: Array) -> Parts:
    """Split scores of shape (S ≥ 1, C ≥ 2), without NaN, by the two-way analysis of variance with random effects.

    The seeds' variance is what their means vary beyond the rest. Few seeds may show too little of it by chance, so it is raised
    to where the interval is as wide as Student's of the seeds' means alone. One seed says nothing, and it is 0.
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
    """Draws seeds and cases; the same draws for all scores of one shape, so that a result does not depend on the others."""

    def __init__(self, seed: int = 0, resamples: int = 4999) -> None:
        """Take the seed of the draws, and how many there are to be."""
        self.seed, self.resamples = seed, resamples
        self._drawn: dict[tuple[int, int], tuple[Array, Array]] = {}

    def interval(self, parts: Parts) -> tuple[float, float]:
        """Give both ends of the 95 % interval of the mean; NaN for fewer than 5 cases, and where nothing varies."""
        if len(parts.cases) < FEWEST_CASES or not parts.variances.any():
            return math.nan, math.nan
        signed, _ = self._draws(parts)
        error = np.sqrt(parts.variances)
        by_seed = _scaled(parts.seeds, error[0] * stdtrit(parts.freedom[0], 0.975) / NORMAL)
        low, high = np.quantile(parts.mean + signed @ by_seed - error[1] * self._studentised(parts), [0.025, 0.975])
        return float(low), float(high)

    def p(self, parts: Parts) -> float:
        """Give the two-sided p at which the interval would just reach 0; 1 for a mean of 0, NaN for fewer than 5 cases.

        Draws are too few for small p. So it is where ``√Σ t²·variance`` reaches the mean, with the cases' t stretched as the
        interval stretches it towards 0, but never below Student's.
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
        """Give each draw's deviation of the mean over cases in standard errors of its own, shape (resamples,)."""
        error = math.sqrt(parts.variances[1])
        if error == 0:
            return np.zeros(self.resamples)
        count = len(parts.cases)
        _, drawn = self._draws(parts)
        means, squares = (drawn @ np.stack([parts.cases, parts.cases**2], axis=1)).T / count
        errors = np.sqrt(np.maximum(squares - means**2, 0) / (count - 1))
        return np.asarray(means / np.maximum(errors, LEAST_ERROR * error))

    def _draws(self, parts: Parts) -> tuple[Array, Array]:
        """How often each seed (each time with a random sign) and each case was drawn, shapes (resamples, S) and (…, C)."""
        s, c = len(parts.seeds), len(parts.cases)
        if (s, c) not in self._drawn:
            rng = np.random.default_rng([self.seed, s, c])
            seeds = rng.multinomial(s, np.full(s, 1 / s), size=self.resamples)
            signed = 2 * rng.binomial(seeds, 0.5) - seeds
            cases = rng.multinomial(c, np.full(c, 1 / c), size=self.resamples)
            self._drawn[s, c] = signed.astype(float), cases.astype(float)
        return self._drawn[s, c]


def _scaled(deviations: Array, deviation: float) -> Array:
    """Scale deviations so that their sum over a draw has this standard deviation: to a sum of squares of its square."""
    length = float(np.sqrt((deviations**2).sum()))
    return deviations * (deviation / length) if length > 0 else deviations
