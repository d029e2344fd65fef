"""Learning curves: the mean Dice of each arm at each number of training subjects, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monai_tl.statistics.crossed_bootstrap import CrossedBootstrap, take_apart
from monai_tl.statistics.score_array import ScoreCube, StudyScore, arrange


@dataclass(frozen=True)
class ArmMean:
    """Dice of an arm at a size, over the cases that are defined with every seed.

    Attributes:
        arm: as in `StudyScore`.
        n: training subjects.
        seeds: that were run.
        cases: defined with all of them.
        mean: over cases and seeds; NaN where there is no such case.
        median: over cases, of their means over seeds.
        low: of the mean's 95 % interval over other cases and other seeds (with one seed: other cases only); NaN with fewer
            than 5 cases. Cases make most of it, and are shared by all arms: to compare arms, see `compare_arms`.
        high: see ``low``.
    """

    arm: str
    n: int
    seeds: int
    cases: int
    mean: float
    median: float
    low: float
    high: float


def arm_means(scores: Sequence[StudyScore], *, seed: int = 0, resamples: int = 4999) -> list[ArmMean]:
    """Give each arm's mean Dice at each size at which it was run, by arm, then by size.

    Args:
        scores: a study's rows, in any order.
        seed: of the bootstrap.
        resamples: bootstrap samples per interval.

    Raises:
        DataError: if there is no score, a case is there twice, or runs were scored on different subjects.
    """
    cube, bootstrap = arrange(scores), CrossedBootstrap(seed, resamples)
    return [_mean(cube, arm, n, bootstrap) for arm in cube.arms for n in cube.sizes if cube.run_seeds(arm, n).any()]


def _mean(cube: ScoreCube, arm: str, n: int, bootstrap: CrossedBootstrap) -> ArmMean:
    dice = cube.of(arm, n)[cube.run_seeds(arm, n)]
    dice = dice[:, ~np.isnan(dice).any(axis=0)]
    seeds, cases = dice.shape
    if not cases:
        return ArmMean(arm, n, seeds, 0, math.nan, math.nan, math.nan, math.nan)
    parts = take_apart(dice)
    low, high = bootstrap.interval(parts)
    median = float(np.median(dice.mean(axis=0)))
    return ArmMean(arm, n, seeds, cases, parts.mean, median, max(low, 0.0), min(high, 1.0))
