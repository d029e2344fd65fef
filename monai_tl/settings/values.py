"""Kinds of values: what a setting or a flag takes, how text from a shell becomes it, and what is said of anything else.

A kind is a value itself. It says what it takes, reads text, and looks at what a config or a program hands over; nothing is
converted on the way: 16.0 is no whole number, and the text ``"16"`` is none either unless it comes from a shell.
"""

from __future__ import annotations

import math
import numbers
import re
from dataclasses import dataclass
from typing import Any, Protocol

import yaml

WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]*)")  # 007 might be meant as it is written, or be octal
DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


class Kind(Protocol):
    """What a value may be."""

    @property
    def takes(self) -> str:
        """What it is, with an example: ``"a whole number from 1, e.g. 4"``."""

    def read(self, text: str) -> Any:
        """Read what was typed; a ValueError says that it is nothing of this kind."""

    def allows(self, value: Any) -> bool:
        """Say if a value is of this kind and in its range."""


@dataclass(frozen=True)
class Whole:
    """A whole number.

    Attributes:
        least, most: of its range, both in it.
        unit: of it, and what it counts, e.g. ``"voxels"``.
        example: as users write it.
        what: says all of this in other words.
    """

    least: int | None = 0
    most: int | None = None
    unit: str = ""
    example: str = ""
    what: str = ""

    @property
    def takes(self) -> str:
        """What it is, with an example."""
        low = "" if self.least is None else f" from {self.least}"
        range_ = low + ("" if self.most is None else f" to {self.most}")
        return self.what or f"a whole number{range_}{_bracketed(self.unit)}{_such_as(self.example)}"

    def read(self, text: str) -> int:
        """Read digits."""
        if not WHOLE.fullmatch(text.strip()):
            raise ValueError(text)
        return int(text)

    def allows(self, value: Any) -> bool:
        """Say if it is a whole number in the range; True and 1.0 are none."""
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            return False
        return (self.least is None or self.least <= value) and (self.most is None or value <= self.most)  # type: ignore[operator]


@dataclass(frozen=True)
class Number:
    """A finite number.

    Attributes:
        above, below: of its range, and not in it.
        least, most: of its range, and in it.
        unit, example, what: as of `Whole`.
    """

    above: float | None = None
    least: float | None = None
    below: float | None = None
    most: float | None = None
    unit: str = ""
    example: str = ""
    what: str = ""

    @property
    def takes(self) -> str:
        """What it is, with an example."""
        bounds = ((" above", self.above), (" from", self.least), (" below", self.below), (" to", self.most))
        told = [f"{word} {bound:g}" for word, bound in bounds if bound is not None]
        joint = " and" if self.below is not None and len(told) > 1 else ""
        return self.what or f"a number{joint.join(told)}{_bracketed(self.unit)}{_such_as(self.example)}"

    def read(self, text: str) -> int | float:
        """Read a number with a point, as shells and programs write it."""
        if not DECIMAL.fullmatch(text.strip()):
            raise ValueError(text)
        return int(text) if WHOLE.fullmatch(text.strip()) else float(text)

    def allows(self, value: Any) -> bool:
        """Say if it is a finite number in the range; True is none."""
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
            return False
        value = float(value)
        at_least = (self.above is None or value > self.above) and (self.least is None or value >= self.least)
        return at_least and (self.below is None or value < self.below) and (self.most is None or value <= self.most)


@dataclass(frozen=True)
class YesNo:
    """True or false.

    Attributes:
        as_text: whether a config may hold it as text too, for whatever reads it by `read` itself.
    """

    as_text: bool = False
    takes: str = "true or false"

    def read(self, text: str) -> bool:
        """Read true or false in any case; yes, no, on, off, 0 and 1 are left to other tools."""
        known = {"true": True, "false": False}
        if text.strip().lower() not in known:
            raise ValueError(text)
        return known[text.strip().lower()]

    def allows(self, value: Any) -> bool:
        """Say if it is True or False."""
        return isinstance(value, bool) or (self.as_text and isinstance(value, str) and value.lower() in ("true", "false"))


@dataclass(frozen=True)
class Words:
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def takes(self) -> str:
        """All of them."""
        return f"{', '.join(self.words[:-1])} or {self.words[-1]}"

    def read(self, text: str) -> str:
        """Take the text as it is."""
        return text

    def allows(self, value: Any) -> bool:
        """Say if it is one of them."""
        return isinstance(value, str) and value in self.words


@dataclass(frozen=True)
class Text:
    """Any text, taken as it was typed.

    Attributes:
        what: it is, e.g. ``"a folder"``.
        pattern: that it has to fit; by default it only may not be empty.
        also: whether a value of another type may stand for it that prints as it, e.g. ``torch.device``.
    """

    what: str = "text that is not empty"
    pattern: str = r"(?s).*\S.*"
    also: str = ""

    @property
    def takes(self) -> str:
        """What it is."""
        return self.what

    def read(self, text: str) -> str:
        """Take the text as it is."""
        return text

    def allows(self, value: Any) -> bool:
        """Say if it is text that fits; a path of Python's is text too."""
        value = str(value) if hasattr(value, "__fspath__") or type(value).__name__ == self.also else value
        return isinstance(value, str) and re.fullmatch(self.pattern, value) is not None


@dataclass(frozen=True)
class Listed:
    """A list, each of its items of one kind.

    Attributes:
        of: the kind of its items.
        count: of items; None: one or more.
        different: whether no two may be the same.
        what: it is, with an example.
        empty: whether there may be none.
        any_above: a limit that at least one item has to be above.
    """

    of: Kind
    what: str
    count: int | None = None
    different: bool = False
    empty: bool = False
    any_above: float | None = None

    @property
    def takes(self) -> str:
        """What it is, with an example."""
        return self.what

    def read(self, text: str) -> list[Any]:
        """Read ``[a,b]``, ``['a','b']``, ``(a,b)`` or ``a,b``."""
        inner = text.strip()
        if not inner:
            raise ValueError(text)
        inner = inner[1:-1] if (inner[:1], inner[-1:]) in (("[", "]"), ("(", ")")) else inner
        try:
            items = yaml.load(f"[{inner}]", yaml.BaseLoader)  # whose items all stay text
        except yaml.YAMLError:
            raise ValueError(text) from None
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items) or inner.rstrip().endswith(","):
            raise ValueError(text)
        return [self.of.read(item) for item in items]

    def allows(self, value: Any) -> bool:
        """Say if it is a list or tuple of such items."""
        if not isinstance(value, list | tuple) or not (value or self.empty):
            return False
        right = all(self.of.allows(item) for item in value) and (self.count is None or len(value) == self.count)
        many = not self.different or len(set(value)) == len(value) if right else True
        return right and many and (self.any_above is None or max(value) > self.any_above)


@dataclass(frozen=True)
class Either:
    """Of one kind or another; text is read as the first of them that it fits."""

    kinds: tuple[Kind, ...]
    what: str

    @property
    def takes(self) -> str:
        """What it is, with an example."""
        return self.what

    def read(self, text: str) -> Any:
        """Read it as the first kind that allows it."""
        for kind in self.kinds:
            try:
                value = kind.read(text)
            except ValueError:
                continue
            if kind.allows(value):
                return value
        raise ValueError(text)

    def allows(self, value: Any) -> bool:
        """Say if it is of one of the kinds."""
        return any(kind.allows(value) for kind in self.kinds)


@dataclass(frozen=True)
class Nothing:
    """No value: ``null``, as YAML writes it."""

    takes: str = "null"

    def read(self, text: str) -> None:
        """Read null."""
        if text != "null":
            raise ValueError(text)

    def allows(self, value: Any) -> bool:
        """Say if it is None."""
        return value is None


def _bracketed(unit: str) -> str:
    return f" ({unit})" if unit else ""


def _such_as(example: str) -> str:
    return f", e.g. {example}" if example else ""
