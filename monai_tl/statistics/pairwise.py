"""Arms of a study compared in pairs, on the same cases and seeds, separately for each number of training subjects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import rankdata, wilcoxon

from monai_tl.statistics.arm_comparison import ArmComparison
from monai_tl.statistics.crossed_bootstrap import FEWEST_CASES, Array, CrossedBootstrap, take_apart
from monai_tl.statistics.multiplicity import Pair, choose_pairs, holm
from monai_tl.statistics.score_array import ScoreCube, StudyScore, arrange
from monai_tl.statistics.verdicts import ALPHA, FEWEST_SEEDS, verdict_of

DECIMALS = 12  # differences closer than this are ties, and 0 is 0: what rounding left of equal scores is no difference


def compare_arms(
    scores: Sequence[StudyScore], pairs: Sequence[Pair] | str | None = None, *, seed: int = 0, resamples: int = 4999
) -> list[ArmComparison]:
    """Compare a study's arms in pairs, for each size at which both were run; all of these are one family for Holm.

    Args:
        scores: a study's rows, in any order.
        pairs: ``(arm, against)``; ``"all"``; None for each transfer arm against scratch and against each random control.
        seed: of the bootstrap; an interval depends on nothing but its own scores and this.
        resamples: bootstrap samples per interval.

    Raises:
        DataError: if there is no score, a case is there twice, or runs were scored on different subjects.
        ConfigError: if a pair names an arm that does not exist, or is given twice.

    Example:
        >>> from monai_tl import StudyScore, compare_arms
        >>> dice = {"scratch": (0.6, 0.5, 0.7, 0.4, 0.6), "2": (0.7, 0.7, 0.7, 0.5, 0.8)}
        >>> scores = [
        ...     StudyScore(arm, 10, seed, subject, value + seed / 100, 1.0, 3.0, 3.0)
        ...     for arm, values in dice.items()
        ...     for seed in range(3)
        ...     for subject, value in zip("abcde", values)
        ... ]
        >>> (found,) = compare_arms(scores)
        >>> found.arm, found.against, found.cases, found.seeds, round(found.mean, 2)
        ('2', 'scratch', 5, 3, 0.12)
    """
    return compare_cube(arrange(scores), pairs, CrossedBootstrap(seed, resamples))


def compare_cube(cube: ScoreCube, pairs: Sequence[Pair] | str | None, bootstrap: CrossedBootstrap) -> list[ArmComparison]:
    """Compare as `compare_arms` does, what is arranged already."""
    chosen = choose_pairs(cube.arms, pairs)
    found = [
        _compare(cube, pair, n, bootstrap)
        for n in cube.sizes
        for pair in chosen
        if all(cube.run_seeds(arm, n).any() for arm in pair)
    ]
    p_holm, p_seeds_holm = holm([each.p for each in found]), holm([each.p_seeds for each in found])
    family = sum(not math.isnan(each.p) for each in found)
    corrected = [
        replace(each, p_holm=p, p_seeds_holm=p_seeds, note=_note(each, family))
        for each, p, p_seeds in zip(found, p_holm, p_seeds_holm, strict=True)
    ]
    return [replace(each, verdict=verdict_of(each)) for each in corrected]


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
    found = ArmComparison(arm, against, n, c, s, left_out, **unknown, note=_unpaired(alone), verdict="")
    if not (s and c):
        return replace(found, cases=0)  # without a common seed nothing is undefined either
    means = np.round(differences.mean(axis=0), DECIMALS)
    parts = take_apart(differences)
    low, high = bootstrap.interval(parts)
    enough = c >= FEWEST_CASES
    return replace(
        found,
        mean=parts.mean,
        low=max(low, -1.0),  # max and min keep NaN where it is their first argument
        high=min(high, 1.0),
        p=signed_rank_p(means),
        rank_biserial=rank_biserial(means) if enough else math.nan,
        d_z=standardised(means) if enough else math.nan,
        p_seeds=bootstrap.p(parts),
    )


def _unpaired(alone: int) -> str:
    return f"{alone} run{'s' if alone > 1 else ''} without a partner of the same seed left out" if alone else ""


def _note(found: ArmComparison, family: int) -> str:
    """Say what limits a comparison among a family of so many."""
    notes = [found.note] if found.note else []
    if found.cases == 0:
        return "; ".join([*notes, "no case is defined in both" if found.seeds else "no seed was run with both"])
    if found.cases < FEWEST_CASES:
        notes.append(f"fewer than {FEWEST_CASES} cases: no interval and no size of the effect")
    elif math.isnan(found.low):
        notes.append("the difference is the same each time: no interval")
    if found.seeds < FEWEST_SEEDS:
        told = "the interval is for other cases only" if found.seeds == 1 else "the interval relies on two values"
        notes.append(f"{found.seeds} seed{'s' if found.seeds > 1 else ''}: what seeds do cannot be told from chance, {told}")
    smallest = 2.0 ** (1 - found.cases)
    if smallest > ALPHA / family:
        notes.append(
            f"with {found.cases} cases Wilcoxon's p cannot fall below {smallest:.2g}, "
            f"and {ALPHA / family:.2g} is needed where {family} {'is' if family == 1 else 'are'} compared"
        )
    return "; ".join(notes)


def signed_rank_p(differences: Array) -> float:
    """Two-sided p of Wilcoxon's signed-rank test of differences of shape (n,); 1 where all are 0.

    Zeros are dropped, as Wilcoxon did. Exact up to 50 without ties (scipy), up to 13 with ties, else a normal approximation.
    """
    nonzero = differences[differences != 0]
    if not len(nonzero):
        return 1.0
    return float(wilcoxon(nonzero).pvalue)


def rank_biserial(differences: Array) -> float:
    """Matched-pairs rank-biserial correlation (Kerby 2014) of differences of shape (n,), zeros dropped; 0 where all are 0."""
    nonzero = differences[differences != 0]
    if not len(nonzero):
        return 0.0
    ranks = rankdata(np.abs(nonzero))
    return float((ranks * np.sign(nonzero)).sum() / ranks.sum())


def standardised(differences: Array) -> float:
    """Mean over standard deviation (n − 1) of differences of shape (n,); 0 where all are 0, NaN where it is not defined."""
    if not differences.any():
        return 0.0
    deviation = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    return float(differences.mean() / deviation) if deviation > 10**-DECIMALS else math.nan
