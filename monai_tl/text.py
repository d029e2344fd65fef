"""Numbers, names and durations as text for people: all formatting is done here."""

from __future__ import annotations

import math
from collections.abc import Sequence

NONE = "–"  # stands for an undefined number


def name_some(names: Sequence[str], shown: int = 5) -> str:
    """Return the first few names joined and the rest counted: ``"A, B, C, D, E and 7 more"``."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def signed(value: float, digits: int = 3) -> str:
    """Return a difference with its sign, ``"−0.012"``."""
    return f"{value:+.{digits}f}".replace("-", "−")


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: ``"1 case"``, ``"2 cases"``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(names: Sequence[str]) -> str:
    """Return all names joined: ``"T1, T2 and FLAIR"``."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def tight(text: str) -> str:
    """Return a text in which no line breaks between a number and its per cent sign."""
    return text.replace(" %", "\u00a0%")


def number(value: float | None, digits: int = 3) -> str:
    """Return a number as text, or a dash if it is undefined."""
    return NONE if value is None or math.isnan(value) else f"{value:.{digits}f}"


def millilitres(ml: float) -> str:
    """Return a volume in ml with three digits, ``"1.74"``, ``"25.5"``, ``"1314"``."""
    return f"{ml:.{2 if ml < 10 else 1 if ml < 100 else 0}f}"


def difference(value: float, digits: int = 3) -> str:
    """Return a difference with its sign, or a dash if it is undefined."""
    return NONE if math.isnan(value) else signed(value, digits)


def duration(seconds: float) -> str:
    """Return a wall time in its two largest units: ``"12 min 03 s"``."""
    if math.isnan(seconds):
        return NONE
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def printable(text: str) -> str:
    """Return a text with its unprintable characters (line ends, control characters, undecodable bytes) replaced by ``�``."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def in_time(seconds: float) -> str:
    """Return a rounded duration: ``40 s``, ``12 min``, ``3.5 h``, ``2.1 days``."""
    for limit, unit, name in ((90, 1, "s"), (90 * 60, 60, "min")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
