"""The verdict on each comparison of a study as a sentence: what the data show, and what they leave open."""

from __future__ import annotations

import math

from monai_tl.statistics.arm_comparison import ArmComparison
from monai_tl.statistics.crossed_bootstrap import FEWEST_CASES
from monai_tl.text import plural, signed
from monai_tl.transfer.arms import arm_words

ALPHA = 0.05
FEWEST_SEEDS = 3  # with fewer, the effect of the seed cannot be separated from chance


def shows_difference(result: ArmComparison) -> bool:
    """Return whether the arms differ: the interval excludes 0, and both corrected p values are at most 0.05.

    Wilcoxon's p alone is not enough, since it is valid for the drawn seeds only: the result may reverse with other seeds. The
    interval alone is not enough, since it is not corrected for the number of comparisons.
    """
    excluded = not math.isnan(result.low) and not result.low <= 0 <= result.high
    return excluded and result.p_holm <= ALPHA and result.p_seeds_holm <= ALPHA


def way(result: ArmComparison) -> str:
    """Return the verdict in short, by the metric's direction: ``"better"``, ``"worse"`` or ``"no clear difference"``."""
    if not shows_difference(result):
        return "no clear difference"
    return "better" if result.metric.is_better(result.mean) else "worse"


def verdict_of(result: ArmComparison) -> str:
    """Return the verdict on a comparison whose other fields are set."""
    arm, against = arm_words(result.arm), arm_words(result.against)
    start = f"n = {result.n}: "
    if not result.cases:
        return f"{start}{arm} and {against} cannot be compared: {result.note}."
    metric = result.metric
    difference = f"{metric.difference_text(result.mean)} in {metric.label}"
    basis = f"over {plural(result.cases, 'case')} and {plural(result.seeds, 'seed')}"
    if math.isnan(result.low) and result.cases < FEWEST_CASES:
        return f"{start}{arm} − {against} is {difference} {basis}: too few cases for any conclusion."
    if math.isnan(result.low):
        if result.mean == 0:
            return f"{start}{arm} and {against} score the same {metric.label} {basis}."
        each = basis.replace("over", "in each of")
        return f"{start}{arm} − {against} is {difference} {each}."
    if not shows_difference(result):
        interval = f"[{signed(result.low, metric.digits)}, {signed(result.high, metric.digits)}]"
        far = metric.text(max(abs(result.low), abs(result.high)))
        return (
            f"{start}no clear difference in {metric.label} between {arm} and {against} "
            f"({metric.difference_text(result.mean)} {interval} {basis}; {_p(result)})"
            f"{_why_not(result)}; these data are compatible with a difference of up to ±{far}."
        )
    low, high = sorted((abs(result.low), abs(result.high)))
    single = " With one seed, this applies to these trained networks only; results may reverse with other seeds."
    by = f"{metric.text(abs(result.mean))} {'higher' if result.mean > 0 else 'lower'}"
    ends = f"[{low:.{metric.digits}f}, {high:.{metric.digits}f}]"
    return (
        f"{start}{arm} scores {way(result)} than {against}: {metric.label} {by} {ends} {basis} ({_p(result)})."
        f"{single if result.seeds == 1 else ''}"
    )


def _why_not(result: ArmComparison) -> str:
    if result.p_holm <= ALPHA:
        return ": the cases differ with these seeds, but results may reverse with other seeds"
    if not result.low <= 0 <= result.high:
        return ": the interval excludes 0, but is not corrected for the number of comparisons"
    return ""


def _p(result: ArmComparison) -> str:
    """Return the larger of both corrected p values, which decides."""
    p = max(result.p_holm, result.p_seeds_holm)
    return "Holm p < 0.001" if p < 0.001 else f"Holm p {p:.2g}" if p < 0.1 else f"Holm p {p:.2f}"
