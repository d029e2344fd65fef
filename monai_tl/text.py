"""How people read numbers, names and durations: the one place that formats them."""

from __future__ import annotations

import math
from collections.abc import Sequence

NONE = "–"  # where there is no number


def name_some(names: Sequence[str], shown: int = 5) -> str:
    """Join the first few names and count the rest: ``"A, B, C, D, E and 7 more"``."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def signed(value: float) -> str:
    """Write a difference with its sign, ``"−0.012"``."""
    return f"{value:+.3f}".replace("-", "−")


def plural(count: int, noun: str) -> str:
    """Write ``"1 case"``, ``"2 cases"``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(names: Sequence[str]) -> str:
    """Write ``"T1, T2 and FLAIR"``."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def tight(text: str) -> str:
    """Keep a per cent sign on the line of its number."""
    return text.replace(" %", "\u00a0%")


def number(value: float | None, digits: int = 3) -> str:
    """Write a number, a dash where it is undefined."""
    return NONE if value is None or math.isnan(value) else f"{value:.{digits}f}"


def difference(value: float) -> str:
    """Write a difference with its sign, a dash where it is undefined."""
    return NONE if math.isnan(value) else signed(value)


def duration(seconds: float) -> str:
    """Write a wall time with its two largest units: ``"12 min 03 s"``."""
    if math.isnan(seconds):
        return NONE
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def printable(text: str) -> str:
    """Give a text with what has no glyph (line ends, controls, bytes that are no text) made visible."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def in_time(seconds: float) -> str:
    """Say a duration: ``40 s``, ``12 min``, ``3.5 h``, ``2.1 days``."""
    for limit, unit, name in ((90, 1, "s"), (90 * 60, 60, "min")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
