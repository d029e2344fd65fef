"""Which arms are compared, and the correction for multiple comparisons (Holm 1979)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from monai_tl.errors import ConfigError
from monai_tl.transfer.strategy import CONTROL, SCRATCH, UNTRAINED

ALL = "all"
Pair = tuple[str, str]  # arm, and the one it is compared with


def choose_pairs(arms: Sequence[str], pairs: Sequence[Pair] | str | None) -> list[Pair]:
    """Return the pairs of arms to compare.

    Args:
        arms: of the study, in order.
        pairs: ``(arm, against)``; ``"all"`` for each arm with each earlier one; None for each transfer arm against scratch,
            the source without fine-tuning and each random control, if the study has these.

    Raises:
        ConfigError: if an arm does not exist, is compared with itself, or a pair is given twice.
    """
    if pairs is None:
        references = [arm for arm in arms if is_reference(arm)]
        return [(arm, against) for arm in arms if not is_reference(arm) for against in references]
    if isinstance(pairs, str):
        if pairs != ALL:
            raise ConfigError(f'pairs is "{pairs}"; it must be a list of (arm, against), "all", or None')
        return [(arm, against) for against, arm in itertools.combinations(arms, 2)]
    for arm, against in pairs:
        unknown = [name for name in (arm, against) if name not in arms]
        if unknown:
            raise ConfigError(f"there is no arm {', '.join(unknown)} to compare; the study has {', '.join(arms)}")
        if arm == against:
            raise ConfigError(f"the arm {arm} cannot be compared with itself; give two different arms")
    seen = [frozenset(pair) for pair in pairs]
    twice = [pair for pair, found in zip(pairs, seen, strict=True) if seen.count(found) > 1]
    if twice:
        raise ConfigError(f"the pair {twice[0][0]} and {twice[0][1]} is given more than once; give each pair once")
    return list(pairs)


def is_reference(arm: str) -> bool:
    """Return whether transfer is compared with this arm: scratch, the source without fine-tuning, or a frozen random prefix."""
    return arm in (SCRATCH, UNTRAINED) or arm.startswith(CONTROL)


def holm(p: Sequence[float]) -> list[float]:
    """Return p values corrected by Holm's step-down method; NaN stays NaN and is not counted.

    statsmodels' ``multipletests`` is not used, since it runs the garbage collector at each call (0.3 s here).
    """
    values = np.array(p, dtype=float)
    order = np.argsort(values)[: int((~np.isnan(values)).sum())]  # NaN sorts last
    steps = values[order] * np.arange(len(order), 0, -1)
    values[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return [float(value) for value in values]
