"""Pairwise comparison of a study's arms on the same cases and seeds, for each number of training subjects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import rankdata, wilcoxon

from monai_tl.statistics.arm_comparison import ArmComparison
from monai_tl.statistics.crossed_bootstrap import FEWEST_CASES, Array, CrossedBootstrap, take_apart
from monai_tl.statistics.measure import BY_DICE, Measure
from monai_tl.statistics.multiplicity import Pair, choose_pairs, holm
from monai_tl.statistics.score_array import ScoreCube, StudyScore, arrange
from monai_tl.statistics.verdicts import ALPHA, FEWEST_SEEDS, verdict_of
from monai_tl.text import plural

DECIMALS = 12  # differences are rounded to this, so that rounding errors of equal scores become ties and zeros


def compare_arms(
    scores: Sequence[StudyScore],
    pairs: Sequence[Pair] | str | None = None,
    *,
    metric: Measure = BY_DICE,
    seed: int = 0,
    resamples: int = 4999,
) -> list[ArmComparison]:
    """Compare a study's arms in pairs, for each size at which both were run; all comparisons are one family for Holm.

    Args:
        scores: of a study, in any order.
        pairs: ``(arm, against)``; ``"all"``; None for each transfer arm against scratch and against each random control.
        metric: what the scores measure, an entry of `monai_tl.evaluation.metrics.METRICS`; intervals do not exceed its range.
        seed: of the bootstrap; an interval depends only on its own scores and this seed.
        resamples: bootstrap samples per interval.

    Raises:
        DataError: if there is no score, a run scored a case twice, runs were scored on different subjects, or a value is
            outside the metric's range.
        ConfigError: if a pair names an arm that does not exist, or is given twice.

    Example:
        >>> from monai_tl import StudyScore, compare_arms
        >>> dice = {"scratch": (0.6, 0.5, 0.7, 0.4, 0.6), "2": (0.7, 0.7, 0.7, 0.5, 0.8)}
        >>> scores = [
        ...     StudyScore(arm, 10, seed, subject, value + seed / 100, 3.0, 3.0)
        ...     for arm, values in dice.items()
        ...     for seed in range(3)
        ...     for subject, value in zip("abcde", values)
        ... ]
        >>> (result,) = compare_arms(scores)
        >>> result.arm, result.against, result.cases, result.seeds, round(result.mean, 2)
        ('2', 'scratch', 5, 3, 0.12)
    """
    return compare_cubes([arrange(scores, metric)], pairs, CrossedBootstrap(seed, resamples))


def compare_cubes(
    cubes: Sequence[ScoreCube], pairs: Sequence[Pair] | str | None, bootstrap: CrossedBootstrap
) -> list[ArmComparison]:
    """Compare arms by several metrics or regions: the comparisons of all arrays, in their order, are one family for Holm."""
    results = [
        _compare(cube, pair, n, bootstrap)
        for cube in cubes
        for n in cube.sizes
        for pair in choose_pairs(cube.arms, pairs)
        if all(cube.run_seeds(arm, n).any() for arm in pair)
    ]
    p_holm, p_seeds_holm = holm([each.p for each in results]), holm([each.p_seeds for each in results])
    family = family_size(results)
    corrected = [
        replace(each, p_holm=p, p_seeds_holm=p_seeds, note=_note(each, family))
        for each, p, p_seeds in zip(results, p_holm, p_seeds_holm, strict=True)
    ]
    return [replace(each, verdict=verdict_of(each)) for each in corrected]


def family_size(results: Sequence[ArmComparison]) -> int:
    """Return the number of comparisons that Holm's correction counts: those with a p."""
    return sum(not math.isnan(each.p) for each in results)


def _compare(cube: ScoreCube, pair: Pair, n: int, bootstrap: CrossedBootstrap) -> ArmComparison:
    arm, against = pair
    run = [cube.run_seeds(each, n) for each in pair]
    both = run[0] & run[1]
    alone = int((run[0] ^ run[1]).sum())
    differences = np.round(cube.of(arm, n)[both] - cube.of(against, n)[both], DECIMALS)
    defined = ~np.isnan(differences).any(axis=0)
    differences = differences[:, defined]
    s, c = differences.shape
    unknown = dict.fromkeys(("mean", "low", "high", "p", "p_holm", "rank_biserial", "d_z"), math.nan)
    left_out = int((~defined).sum())
    result = ArmComparison(arm, against, n, c, s, left_out, **unknown, note=_unpaired(alone), verdict="", metric=cube.metric)
    if not (s and c):
        return replace(result, cases=0)  # without a common seed, no case counts as undefined either
    means = np.round(differences.mean(axis=0), DECIMALS)
    parts = take_apart(differences)
    low, high = bootstrap.interval(parts)
    enough = c >= FEWEST_CASES
    return replace(
        result,
        mean=parts.mean,
        low=max(low, -cube.metric.highest),  # max and min keep NaN if it is their first argument
        high=min(high, cube.metric.highest),
        p=signed_rank_p(means),
        rank_biserial=rank_biserial(means) if enough else math.nan,
        d_z=standardised(means) if enough else math.nan,
        p_seeds=bootstrap.p(parts),
    )


def _unpaired(alone: int) -> str:
    return f"{alone} run{'s' if alone > 1 else ''} omitted, since the other arm has no run with the same seed" if alone else ""


def _note(result: ArmComparison, family: int) -> str:
    """Return the limitations of a comparison that belongs to a family of this many."""
    notes = [result.note] if result.note else []
    if result.cases == 0:
        return "; ".join([*notes, "no case is defined in both" if result.seeds else "no seed was run with both"])
    if result.cases < FEWEST_CASES:
        notes.append(f"fewer than {FEWEST_CASES} cases: no interval and no effect size")
    elif math.isnan(result.low):
        notes.append("all differences are equal: no interval")
    if result.seeds < FEWEST_SEEDS:
        limit = "the interval covers other cases only" if result.seeds == 1 else "the interval relies on two values"
        notes.append(f"{plural(result.seeds, 'seed')}: too few to separate the effect of the seed from chance; {limit}")
    smallest = 2.0 ** (1 - result.cases)
    if smallest > ALPHA / family:
        notes.append(
            f"with {result.cases} cases, Wilcoxon's p cannot be below {smallest:.2g}, "
            f"but {plural(family, 'comparison')} would need {ALPHA / family:.2g}"
        )
    return "; ".join(notes)


def signed_rank_p(differences: Array) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test of differences of shape (n,); 1 if all are 0.

    Zeros are dropped, as in Wilcoxon's original test. The test is exact for up to 50 differences without ties (scipy) and up to
    13 with ties, otherwise a normal approximation.
    """
    nonzero = differences[differences != 0]
    if not len(nonzero):
        return 1.0
    return float(wilcoxon(nonzero).pvalue)


def rank_biserial(differences: Array) -> float:
    """Return the matched-pairs rank-biserial correlation (Kerby 2014) of differences of shape (n,); zeros are dropped.

    It is 0 if all differences are 0.
    """
    nonzero = differences[differences != 0]
    if not len(nonzero):
        return 0.0
    ranks = rankdata(np.abs(nonzero))
    return float((ranks * np.sign(nonzero)).sum() / ranks.sum())


def standardised(differences: Array) -> float:
    """Return mean / standard deviation (n − 1) of differences of shape (n,); 0 if all are 0, NaN if undefined."""
    if not differences.any():
        return 0.0
    deviation = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    return float(differences.mean() / deviation) if deviation > 10**-DECIMALS else math.nan
