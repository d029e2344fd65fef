"""Checks of setting values, and the messages for invalid ones."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from monai_tl.errors import ConfigError, did_you_mean, list_problems
from monai_tl.settings.normalisation import Normalisations
from monai_tl.settings.values import Either, Kind, Text, Words

SHOWN = 100  # characters of a value in a message


def refusal(name: str, kind: Kind, value: Any, *, typed: bool = False) -> str:
    """Return the message for an invalid value: what the setting takes and what it got; empty if the value is valid.

    Args:
        name: name of the setting or flag.
        kind: what it takes.
        value: the value to check.
        typed: whether the value is text from a command line, which is to be read first.
    """
    try:
        valid = kind.allows(kind.read(value) if typed else value)
    except ValueError:
        valid = False
    if valid:
        return ""
    if isinstance(kind, Normalisations):
        return kind.fault(value)
    if isinstance(kind, Words):
        return f"unknown {name} {_shown(value, typed)}: {did_you_mean(str(value), kind.words)}"
    return f"{name} takes {kind.takes}; got {_shown(value, typed)}{_which_is_text(kind, value, typed)}"


def read_value(name: str, kind: Kind, text: str) -> Any:
    """Read the text of a value from a command line.

    Raises:
        ConfigError: if it is of another kind or out of range.
    """
    if problem := refusal(name, kind, text, typed=True):
        raise ConfigError(problem)
    return kind.read(text)


def raise_refusals(problems: Iterable[str], what: str = "settings") -> None:
    """Raise all problems in one error, one per line if there are several; empty ones are ignored.

    Raises:
        ConfigError: if there is any problem.
    """
    lines = [problem for problem in dict.fromkeys(problems) if problem]
    if lines:
        raise ConfigError(lines[0] if len(lines) == 1 else list_problems(f"{len(lines)} {what} are invalid:", lines, shown=20))


def _shown(value: Any, typed: bool) -> str:
    """Return a value as a message shows it: numbers and lists bare, words in quotes."""
    if isinstance(value, str):
        text = value if typed and re.fullmatch(r"[-+.0-9]\S*|\[.*\]|\(.*\)", value) else repr(value)
    elif isinstance(value, tuple):
        text = repr(list(value))
    else:
        text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _which_is_text(kind: Kind, value: Any, typed: bool) -> str:
    """Return a hint for a value that YAML reads as text, e.g. 1e-4 or a quoted number."""
    if typed or not isinstance(value, str) or isinstance(kind, Text | Either):
        return ""
    try:
        intended = kind.read(value)
    except ValueError:
        return ""
    if not kind.allows(intended):
        return ""
    written = repr(intended)
    return f", which is text here; write {written if '.' in written else written.replace('e-', '.0e-')}"
