"""Comparing a measure of a case with the other cases: robust z by median and median absolute deviation (MAD)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from monai_tl.quality.measures import Measures

ROBUST_Z = 3.5  # by median and MAD: Iglewicz and Hoaglin 1993, How to Detect and Handle Outliers
LEAST_COHORT = 8  # cases; the MAD of fewer is unreliable


class Suspicion(NamedTuple):
    """Why a case is suspect: the kind, the reason with its number, and the ratio to the limit (1: at the limit)."""

    kind: str
    reason: str
    weight: float


class Compared(NamedTuple):
    """A measure that is compared within the cohort.

    Attributes:
        name: for messages.
        unit: of its values.
        of: returns its value for a case, or None.
        low_only: whether only low values are suspect.
        matters: returns the smallest relevant difference from a median, since in a uniform cohort any difference has a high z;
            of a ratio the smallest relevant factor.
        ratio: whether values are compared by their ratio, on a logarithmic scale; they are above 0.
    """

    name: str
    unit: str
    of: Callable[[Measures], float | None]
    low_only: bool
    matters: Callable[[float], float]
    ratio: bool = False


def robust_z(values: Sequence[float], least_spread: float = 0.0) -> list[float]:
    """Return ``(value - median) / (1.4826 MAD)``; for a normal distribution, 1.4826 MAD is its standard deviation.

    Args:
        values: of a cohort.
        least_spread: lower limit of 1.4826 MAD; if both are 0, z is 0 at the median and infinite elsewhere.
    """
    distances = np.asarray(values, dtype=float) - np.median(values)
    spread = max(1.4826 * float(np.median(np.abs(distances))), least_spread)
    return [float(d / spread) if spread else math.copysign(math.inf, d) if d else 0.0 for d in distances]


def against_cohort(cases: Sequence[Measures], compared: Compared) -> list[tuple[str, float, Suspicion | None]]:
    """Return for each case its robust z, and a suspicion if z and the difference from the median are large.

    Returns:
        Subject, z, suspicion or None; empty if fewer than `LEAST_COHORT` cases have the measure.
    """
    values = {case.subject: compared.of(case) for case in cases}
    known = {subject: float(value) for subject, value in values.items() if value is not None and math.isfinite(value)}
    if len(known) < LEAST_COHORT:
        return []
    median = float(np.median(list(known.values())))
    matters = compared.matters(median)
    scale: Callable[[float], float] = math.log if compared.ratio else float
    least = scale(matters)
    scores = robust_z([scale(value) for value in known.values()], least_spread=least / (2 * ROBUST_Z))
    judged = []
    for (subject, value), z in zip(known.items(), scores, strict=True):
        far = abs(z) > ROBUST_Z and abs(scale(value) - scale(median)) > least and (z < 0 or not compared.low_only)
        unit = f" {compared.unit}" if compared.unit else ""
        by = " of the logarithm" if compared.ratio else ""
        reason = f"{compared.name} is {value:.3g}{unit}, the cohort's median {median:.3g} (robust z{by} {z:+.1f})"
        judged.append((subject, round(z, 2), Suspicion("cohort", reason, abs(z) / ROBUST_Z) if far else None))
    return judged
