"""The result of comparing two arms."""

from __future__ import annotations

import math
from dataclasses import dataclass

from monai_tl.statistics.measure import BY_DICE, Measure


@dataclass(frozen=True)
class ArmComparison:
    """A measure of one arm minus that of another, with ``n`` training subjects, paired by case and seed.

    Attributes:
        arm: the arm that is compared.
        against: the arm whose values are subtracted.
        n: number of training subjects.
        cases: test cases that are defined in both arms for every seed.
        seeds: seeds that were run with both arms.
        left_out: cases that are undefined in at least one run of either arm.
        mean: mean difference.
        low: lower end of the 95 % interval, which covers other cases *and* other seeds (with one seed: other cases only); not
            corrected for the number of comparisons; NaN with fewer than 5 cases.
        high: upper end, see ``low``.
        p: Wilcoxon's signed-rank test of the cases' differences, averaged over seeds; valid for these seeds only.
        p_holm: ``p``, corrected for the family of comparisons that it belongs to.
        rank_biserial: matched-pairs correlation, (ranks for − ranks against) / all ranks, −1 … 1; 0 if all differences are 0,
            NaN with fewer than 5 cases.
        d_z: mean of the cases' differences divided by their standard deviation; 0 if all differences are 0, NaN if all are
            equal but not 0, or with fewer than 5 cases.
        note: limitations of this comparison, as text; empty if there are none.
        verdict: the conclusion, one sentence.
        p_seeds: the p at which the interval would just reach 0 (`CrossedBootstrap.p`); covers other cases and seeds.
        p_seeds_holm: ``p_seeds``, corrected likewise.
        metric: what is compared, with its direction.
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
    metric: Measure = BY_DICE
