"""What the comparison of two arms found."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class ArmComparison:
    """Dice of one arm minus that of another, with ``n`` training subjects, paired by case and seed.

    Attributes:
        arm: whose Dice it is.
        against: what is subtracted.
        n: training subjects.
        cases: test cases defined in both arms with every seed.
        seeds: run with both arms.
        left_out: cases undefined in some run of the two.
        mean: of the difference.
        low: of its 95 % interval over other cases *and* other seeds (with one seed: other cases only), not corrected for the
            number of comparisons; NaN with fewer than 5 cases.
        high: see ``low``.
        p: Wilcoxon's signed-rank test of the cases' differences, averaged over seeds: it holds for these seeds only.
        p_holm: corrected for all comparisons returned together.
        rank_biserial: matched pairs, (ranks for − ranks against) / all ranks, −1 … 1; 0 where nothing differs, NaN with fewer
            than 5 cases.
        d_z: mean of the cases' differences over their standard deviation; 0 where nothing differs, NaN where all do alike or
            with fewer than 5 cases.
        note: what limits it, in words; empty where nothing does.
        verdict: one sentence.
        p_seeds: at which the interval would just reach 0 (`CrossedBootstrap.p`): over other cases and seeds.
        p_seeds_holm: corrected likewise.
    """

    arm: str
    against: str
    n: int
    cases: int
    seeds: int
    left_out: int
    mean: float
    low: float
    high: float
    p: float
    p_holm: float
    rank_biserial: float
    d_z: float
    note: str
    verdict: str
    p_seeds: float = math.nan
    p_seeds_holm: float = math.nan
