"""Comparisons of a study in plain words: what the data say, and what they leave open."""

from __future__ import annotations

import math

from monai_tl.statistics.arm_comparison import ArmComparison
from monai_tl.statistics.crossed_bootstrap import FEWEST_CASES
from monai_tl.text import plural, signed
from monai_tl.transfer.arms import arm_words

ALPHA = 0.05
FEWEST_SEEDS = 3  # from fewer, what a seed does cannot be told from chance


def tells_apart(found: ArmComparison) -> bool:
    """Say if the arms differ: the interval excludes 0, and both corrected p are at most 0.05.

    Wilcoxon's p alone holds for the seeds that were drawn: with others the sign may turn. The interval alone is not corrected.
    """
    excluded = not math.isnan(found.low) and not found.low <= 0 <= found.high
    return excluded and found.p_holm <= ALPHA and found.p_seeds_holm <= ALPHA


def verdict_of(found: ArmComparison) -> str:
    """Write the sentence for a comparison whose other fields are known."""
    arm, against = arm_words(found.arm), arm_words(found.against)
    start = f"n = {found.n}: "
    if not found.cases:
        return f"{start}{arm} and {against} cannot be compared: {found.note}."
    basis = f"over {plural(found.cases, 'case')} and {plural(found.seeds, 'seed')}"
    if math.isnan(found.low) and found.cases < FEWEST_CASES:
        return f"{start}{arm} − {against} is {signed(found.mean)} {basis}: too few cases to say more."
    if math.isnan(found.low):
        if found.mean == 0:
            return f"{start}{arm} and {against} score the same {basis}."
        return f"{start}{arm} − {against} is {signed(found.mean)} each time {basis}."
    interval = f"[{signed(found.low)}, {signed(found.high)}]"
    if not tells_apart(found):
        far = max(abs(found.low), abs(found.high))
        return (
            f"{start}these data do not tell {arm} from {against} ({signed(found.mean)} {interval} {basis}; {_p(found)})"
            f"{_why_not(found)}; a difference of up to ±{far:.3f} is compatible with them."
        )
    way = "higher" if found.mean > 0 else "lower"
    ends = sorted((abs(found.low), abs(found.high)))
    single = " One seed: this holds for these trained networks, not for training." if found.seeds == 1 else ""
    by = f"{abs(found.mean):.3f} {way} than {against} [{ends[0]:.3f}, {ends[1]:.3f}]"
    return f"{start}{arm} scores {by} {basis} ({_p(found)}).{single}"


def _why_not(found: ArmComparison) -> str:
    if found.p_holm <= ALPHA:
        return ": on these seeds the cases differ, but other seeds could turn it"
    if not found.low <= 0 <= found.high:
        return ": the interval excludes 0, but not after correction for the number of comparisons"
    return ""


def _p(found: ArmComparison) -> str:
    """The larger of both corrected p: the one that decides."""
    p = max(found.p_holm, found.p_seeds_holm)
    return "Holm p < 0.001" if p < 0.001 else f"Holm p {p:.2g}" if p < 0.1 else f"Holm p {p:.2f}"
