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
    """Dice of an arm at one training size, over the cases whose Dice is defined with every seed.

    Attributes:
        arm: as in `StudyScore`.
        n: number of training subjects.
        seeds: number of seeds that were run.
        cases: number of cases with a defined Dice for all seeds.
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


def arm_means(scores: Sequence[StudyScore], *, seed: int = 0, resamples: int = 4999) -> list[ArmMean]:
    """Return the mean Dice of each arm at each size at which it was run, ordered by arm, then by size.

    Args:
        scores: rows of a study, in any order.
        seed: of the bootstrap.
        resamples: bootstrap samples per interval.

    Raises:
        DataError: if there is no score, a run scored a case twice, or runs were scored on different subjects.
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
