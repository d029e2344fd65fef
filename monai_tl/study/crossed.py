"""Intervals for the mean of scores crossed in two ways: every seed met every case, and both were drawn from more.

The mean over S seeds and C cases varies for three reasons: which seeds, which cases, and what is left of their meeting. With
``x[i, j] = mean + s[i] + c[j] + e[i, j]`` its variance is ``σs²/S + σc²/C + σe²/(SC)``, each part estimated without bias from
mean squares (truncated at 0). The pigeonhole bootstrap (Owen 2007) draws seeds and cases independently, both with replacement.
As it is, it is far too narrow at 3 seeds and counts σe² three times. So each level's deviations are first scaled to the
unbiased variance (reflated: Carpenter, Goldstein and Rasbash 2003; Davison and Hinkley 1997, section 3.8) times ``t/1.96`` with
its own degrees of freedom (Hesterberg 2015): the half-width is about ``√Σ t²·variance``. Its coverage: docs/statistics.md.
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
SMALLEST_P = 1e-12  # what is below is called this


@dataclass(frozen=True)
class Parts:
    """Scores of shape (S, C) taken apart; variances are of the *mean*, and what one seed cannot tell is 0.

    Attributes:
        mean: over all.
        seeds: deviations of the seeds' means, shape (S,).
        cases: deviations of the cases' means, shape (C,).
        rest: what remains, shape (S, C); its rows and columns sum to 0.
        variances: parts due to seeds, cases and the rest, shape (3,).
        freedom: degrees of freedom of each, shape (3,), at least 1.
    """

    mean: float
    seeds: Array
    cases: Array
    rest: Array
    variances: Array
    freedom: Array


def take_apart(scores: Array) -> Parts:
    """Split scores of shape (S ≥ 1, C ≥ 2), without NaN, by the two-way analysis of variance with random effects.

    With one seed the rest cannot be told from the cases, and the seeds' part, which nothing tells, is left at 0.
    """
    (s, c), mean = scores.shape, float(scores.mean())
    seeds, cases = scores.mean(axis=1) - mean, scores.mean(axis=0) - mean
    rest = scores - mean - seeds[:, None] - cases
    freedom = np.array([s - 1, c - 1, (s - 1) * (c - 1)], dtype=float)
    squares = np.array([c * (seeds**2).sum(), s * (cases**2).sum(), (rest**2).sum()]) / np.maximum(freedom, 1)
    of_rest = squares[2]
    variances = np.array([max(squares[0] - of_rest, 0), max(squares[1] - of_rest, 0), of_rest]) / (s * c)
    return Parts(mean, seeds, cases, rest, variances, np.maximum(freedom, 1))


def seed_aware_p(parts: Parts) -> float:
    """Give the two-sided p at which an interval of half-width ``√Σ t²·variance`` would just reach 0; 1 for a mean of 0."""
    if parts.mean == 0:
        return 1.0

    def excess(log_p: float) -> float:
        width: float = (stdtrit(parts.freedom, 1 - math.exp(log_p) / 2) ** 2 * parts.variances).sum()
        return width - parts.mean**2

    low = math.log(SMALLEST_P)
    return SMALLEST_P if excess(low) <= 0 else math.exp(brentq(excess, low, 0.0, xtol=1e-6))


class CrossedBootstrap:
    """Draws seeds and cases; the same draws for all scores of one shape, so that a result does not depend on the others."""

    def __init__(self, seed: int = 0, resamples: int = 4999) -> None:
        """Take the seed of the draws, and how many there are to be."""
        self.seed, self.resamples = seed, resamples
        self._drawn: dict[tuple[int, int], tuple[Array, Array, Array]] = {}

    def interval(self, parts: Parts) -> tuple[float, float]:
        """Give both ends of the 95 % interval of the mean; NaN for fewer than 5 cases, and where nothing varies."""
        if len(parts.cases) < FEWEST_CASES or not parts.variances.any():
            return math.nan, math.nan
        signed_seeds, seeds, cases = self._draws(len(parts.seeds), len(parts.cases))
        widths = stdtrit(parts.freedom, 0.975) / NORMAL * np.sqrt(parts.variances)
        by_seed, by_case, rest = (
            _scaled(deviations, width) for deviations, width in zip((parts.seeds, parts.cases, parts.rest), widths, strict=True)
        )
        means = parts.mean + signed_seeds @ by_seed + cases @ by_case
        if rest.any():
            means += np.einsum("rc,rc->r", seeds @ rest, cases)
        low, high = np.quantile(means, [0.025, 0.975])
        return float(low), float(high)

    def _draws(self, s: int, c: int) -> tuple[Array, Array, Array]:
        """How often each seed (with random signs, and without) and each case was drawn, shapes (resamples, S or C).

        Three seeds say nothing of skewness, so a seed's deviation counts as often upwards as downwards.
        """
        if (s, c) not in self._drawn:
            rng = np.random.default_rng([self.seed, s, c])
            seeds = rng.multinomial(s, np.full(s, 1 / s), size=self.resamples)
            signed = 2 * rng.binomial(seeds, 0.5) - seeds
            cases = rng.multinomial(c, np.full(c, 1 / c), size=self.resamples)
            self._drawn[s, c] = signed.astype(float), seeds.astype(float), cases.astype(float)
        return self._drawn[s, c]


def _scaled(deviations: Array, deviation: float) -> Array:
    """Scale deviations so that their sum over a draw has this standard deviation: to a sum of squares of its square."""
    length = float(np.sqrt((deviations**2).sum()))
    return deviations * (deviation / length) if length > 0 else deviations
