"""Kinds of values that settings and flags take.

A kind describes what it takes, reads text from a command line, and checks values from configs and programs. Checking converts
nothing: 16.0 is not a whole number, and neither is the text ``"16"``, unless it comes from a command line.
"""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import yaml

WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]*)")  # not 007, which could be an id or octal
DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


class Kind(Protocol):
    """What a value may be."""

    @property
    def takes(self) -> str:
        """Description with an example: ``"a whole number from 1, e.g. 4"``."""

    def read(self, text: str) -> Any:
        """Read a value from text; raise a ValueError if the text is not of this kind."""

    def allows(self, value: Any) -> bool:
        """Return whether a value is of this kind and in its range."""


@dataclass(frozen=True)
class Whole:
    """A whole number.

    Attributes:
        least, most: bounds of its range, inclusive.
        unit: its unit or what it counts, e.g. ``"voxels"``.
        example: an example as users write it.
        what: a description that replaces the one made from the above.
    """

    least: int | None = 0
    most: int | None = None
    unit: str = ""
    example: str = ""
    what: str = ""

    @property
    def takes(self) -> str:
        """Description with an example."""
        low = "" if self.least is None else f" from {self.least}"
        range_ = low + ("" if self.most is None else f" to {self.most}")
        return self.what or f"a whole number{range_}{_bracketed(self.unit)}{_such_as(self.example)}"

    def read(self, text: str) -> int:
        """Read digits."""
        if not WHOLE.fullmatch(text.strip()):
            raise ValueError(text)
        return int(text)

    def allows(self, value: Any) -> bool:
        """Return whether the value is a whole number in the range; True and 1.0 are not."""
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            return False
        return (self.least is None or self.least <= value) and (self.most is None or value <= self.most)  # type: ignore[operator]


@dataclass(frozen=True)
class Number:
    """A finite number.

    Attributes:
        above, below: exclusive bounds of its range.
        least, most: inclusive bounds of its range.
        unit, example, what: as in `Whole`.
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
        """Description with an example."""
        bounds = ((" above", self.above), (" from", self.least), (" below", self.below), (" to", self.most))
        parts = [f"{word} {bound:g}" for word, bound in bounds if bound is not None]
        joint = " and" if self.below is not None and len(parts) > 1 else ""
        return self.what or f"a number{joint.join(parts)}{_bracketed(self.unit)}{_such_as(self.example)}"

    def read(self, text: str) -> int | float:
        """Read a number with a decimal point."""
        if not DECIMAL.fullmatch(text.strip()):
            raise ValueError(text)
        return int(text) if WHOLE.fullmatch(text.strip()) else float(text)

    def allows(self, value: Any) -> bool:
        """Return whether the value is a finite number in the range; True is not."""
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
            return False
        value = float(value)
        at_least = (self.above is None or value > self.above) and (self.least is None or value >= self.least)
        return at_least and (self.below is None or value < self.below) and (self.most is None or value <= self.most)


@dataclass(frozen=True)
class YesNo:
    """True or false.

    Attributes:
        as_text: whether a config may also hold it as text, to be read by `read` later.
    """

    as_text: bool = False
    takes: str = "true or false"

    def read(self, text: str) -> bool:
        """Read true or false in any case; yes, no, on, off, 0 and 1 are refused."""
        known = {"true": True, "false": False}
        if text.strip().lower() not in known:
            raise ValueError(text)
        return known[text.strip().lower()]

    def allows(self, value: Any) -> bool:
        """Return whether the value is True or False."""
        return isinstance(value, bool) or (self.as_text and isinstance(value, str) and value.lower() in ("true", "false"))


@dataclass(frozen=True)
class Words:
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def takes(self) -> str:
        """All words."""
        return f"{', '.join(self.words[:-1])} or {self.words[-1]}"

    def read(self, text: str) -> str:
        """Return the text unchanged."""
        return text

    def allows(self, value: Any) -> bool:
        """Return whether the value is one of the words."""
        return isinstance(value, str) and value in self.words


@dataclass(frozen=True)
class Text:
    """Any text.

    Attributes:
        what: description, e.g. ``"a folder"``.
        pattern: regular expression that the text must match; by default any text that is not blank.
        also: name of another type whose values are allowed if their text matches, e.g. ``"device"`` for ``torch.device``.
    """

    what: str = "text that is not empty"
    pattern: str = r"(?s).*\S.*"
    also: str = ""

    @property
    def takes(self) -> str:
        """Description."""
        return self.what

    def read(self, text: str) -> str:
        """Return the text unchanged."""
        return text

    def allows(self, value: Any) -> bool:
        """Return whether the value is text that matches the pattern; ``pathlib`` paths count as text."""
        value = str(value) if hasattr(value, "__fspath__") or type(value).__name__ == self.also else value
        return isinstance(value, str) and re.fullmatch(self.pattern, value) is not None


@dataclass(frozen=True)
class Listed:
    """A list, each of its items of one kind.

    Attributes:
        of: the kind of its items.
        count: number of items; None: any number from ``least``.
        least: smallest number of items; an empty list is allowed by ``empty``.
        different: whether all items must differ.
        what: description with an example.
        empty: whether the list may be empty.
        any_above: at least one item must be above this limit.
    """

    of: Kind
    what: str
    count: int | None = None
    least: int = 1
    different: bool = False
    empty: bool = False
    any_above: float | None = None

    @property
    def takes(self) -> str:
        """Description with an example."""
        return self.what

    def read(self, text: str) -> list[Any]:
        """Read ``[a,b]``, ``['a','b']``, ``(a,b)`` or ``a,b``."""
        inner = text.strip()
        if not inner:
            raise ValueError(text)
        inner = inner[1:-1] if (inner[:1], inner[-1:]) in (("[", "]"), ("(", ")")) else inner
        try:
            items = yaml.load(f"[{inner}]", yaml.BaseLoader)  # BaseLoader leaves all items text
        except yaml.YAMLError:
            raise ValueError(text) from None
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items) or inner.rstrip().endswith(","):
            raise ValueError(text)
        return [self.of.read(item) for item in items]

    def allows(self, value: Any) -> bool:
        """Return whether the value is a list or tuple of such items."""
        if not isinstance(value, list | tuple) or not (value or self.empty):
            return False
        enough = len(value) == self.count if self.count is not None else len(value) >= self.least or not value
        valid = enough and all(self.of.allows(item) for item in value)
        return (
            valid
            and (not self.different or len(set(value)) == len(value))
            and (self.any_above is None or max(value) > self.any_above)
        )


@dataclass(frozen=True)
class Pairs:
    """Names by name: ``MR=T1,PD=T2`` on a command line, a mapping in a config, which may also hold that text.

    Attributes:
        of: the kind of the names on both sides.
        what: description with an example.
    """

    of: Kind
    what: str

    @property
    def takes(self) -> str:
        """Description with an example."""
        return self.what

    def read(self, text: str) -> dict[str, str]:
        """Read ``a=b,c=d``; each left name may occur once."""
        items = [item.split("=") for item in text.split(",")]
        pairs = {item[0].strip(): item[-1].strip() for item in items if len(item) == 2}
        if len(pairs) < len(items) or not self._are_names(pairs):
            raise ValueError(text)
        return pairs

    def allows(self, value: Any) -> bool:
        """Return whether the value is a mapping of names to names, or text that `read` understands."""
        if isinstance(value, str):
            try:
                value = self.read(value)
            except ValueError:
                return False
        return isinstance(value, Mapping) and self._are_names(value)

    def _are_names(self, pairs: Mapping[Any, Any]) -> bool:
        return all(isinstance(name, str) and self.of.allows(name) for pair in pairs.items() for name in pair)


@dataclass(frozen=True)
class Either:
    """A value of one of several kinds; text is read as the first kind that allows it."""

    kinds: tuple[Kind, ...]
    what: str

    @property
    def takes(self) -> str:
        """Description with an example."""
        return self.what

    def read(self, text: str) -> Any:
        """Read the text as the first kind that allows it."""
        for kind in self.kinds:
            try:
                value = kind.read(text)
            except ValueError:
                continue
            if kind.allows(value):
                return value
        raise ValueError(text)

    def allows(self, value: Any) -> bool:
        """Return whether the value is of one of the kinds."""
        return any(kind.allows(value) for kind in self.kinds)


@dataclass(frozen=True)
class Nothing:
    """No value: ``null`` in YAML."""

    takes: str = "null"

    def read(self, text: str) -> None:
        """Read null."""
        if text != "null":
            raise ValueError(text)

    def allows(self, value: Any) -> bool:
        """Return whether the value is None."""
        return value is None


def _bracketed(unit: str) -> str:
    return f" ({unit})" if unit else ""


def _such_as(example: str) -> str:
    return f", e.g. {example}" if example else ""
