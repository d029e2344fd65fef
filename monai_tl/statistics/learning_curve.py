"""Learning curves: the mean of each arm at each number of training subjects, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monai_tl.statistics.crossed_bootstrap import CrossedBootstrap, take_apart
from monai_tl.statistics.measure import BY_DICE, Measure
from monai_tl.statistics.score_array import ScoreCube, StudyScore, arrange


@dataclass(frozen=True)
class ArmMean:
    """Scores of an arm at one training size, over the cases that are defined with every seed.

    Attributes:
        arm: as in `StudyScore`.
        n: number of training subjects.
        seeds: number of seeds that were run.
        cases: number of cases that are defined for all seeds.
        mean: over cases and seeds; NaN if there is no such case.
        median: over cases, of their means over seeds.
        low: lower end of the mean's 95 % interval, which covers other cases and other seeds (with one seed: other cases only);
            NaN with fewer than 5 cases. Most of its width comes from the cases, which all arms share: to compare arms, use
            `compare_arms`.
        high: upper end, see ``low``.
    """

    arm: str
    n: int
    seeds: int
    cases: int
    mean: float
    median: float
    low: float
    high: float


def arm_means(
    scores: Sequence[StudyScore], *, metric: Measure = BY_DICE, seed: int = 0, resamples: int = 4999
) -> list[ArmMean]:
    """Return the mean score of each arm at each size at which it was run, ordered by arm, then by size.

    Args:
        scores: of a study, in any order.
        metric: what they measure; intervals do not exceed its range.
        seed: of the bootstrap.
        resamples: bootstrap samples per interval.

    Raises:
        DataError: if there is no score, a run scored a case twice, runs were scored on different subjects, or a value is
            outside the metric's range.
    """
    cube, bootstrap = arrange(scores, metric), CrossedBootstrap(seed, resamples)
    return [_mean(cube, arm, n, bootstrap) for arm in cube.arms for n in cube.sizes if cube.run_seeds(arm, n).any()]


def _mean(cube: ScoreCube, arm: str, n: int, bootstrap: CrossedBootstrap) -> ArmMean:
    values = cube.of(arm, n)[cube.run_seeds(arm, n)]
    values = values[:, ~np.isnan(values).any(axis=0)]
    seeds, cases = values.shape
    if not cases:
        return ArmMean(arm, n, seeds, 0, math.nan, math.nan, math.nan, math.nan)
    parts = take_apart(values)
    low, high = bootstrap.interval(parts)
    median = float(np.median(values.mean(axis=0)))
    return ArmMean(arm, n, seeds, cases, parts.mean, median, max(low, 0.0), min(high, cube.metric.highest))
