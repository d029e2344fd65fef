"""Whether a value is what a setting takes, and what is said where it is not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from monai_tl.errors import ConfigError, did_you_mean, list_problems
from monai_tl.settings.values import Either, Kind, Text, Words

SHOWN = 100  # letters of a value


def refusal(name: str, kind: Kind, value: Any, *, typed: bool = False) -> str:
    """Say what a setting takes, and what came instead; nothing where the value is right.

    Args:
        name: of the setting or flag.
        kind: what it takes.
        value: as it came.
        typed: whether it is text as it was typed, to be read first.
    """
    try:
        right = kind.allows(kind.read(value) if typed else value)
    except ValueError:
        right = False
    if right:
        return ""
    if isinstance(kind, Words):
        return f"unknown {name} {_shown(value, typed)}: {did_you_mean(str(value), kind.words)}"
    return f"{name} takes {kind.takes}; got {_shown(value, typed)}{_which_is_text(kind, value, typed)}"


def read_value(name: str, kind: Kind, text: str) -> Any:
    """Read what was typed.

    Raises:
        ConfigError: where it is nothing of the kind, or out of its range.
    """
    wrong = refusal(name, kind, text, typed=True)
    if wrong:
        raise ConfigError(wrong)
    return kind.read(text)


def raise_refusals(problems: Iterable[str], what: str = "settings") -> None:
    """Raise all that is wrong at once: one problem as it is, several a line each.

    Raises:
        ConfigError: if there is any.
    """
    told = [problem for problem in dict.fromkeys(problems) if problem]
    if told:
        raise ConfigError(told[0] if len(told) == 1 else list_problems(f"{len(told)} {what} cannot be used:", told, shown=20))


def _shown(value: Any, typed: bool) -> str:
    """A value as it came: numbers and lists bare, words in quotes."""
    if isinstance(value, str):
        text = value if typed and re.fullmatch(r"[-+.0-9]\S*|\[.*\]|\(.*\)", value) else repr(value)
    elif isinstance(value, tuple):
        text = repr(list(value))
    else:
        text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _which_is_text(kind: Kind, value: Any, typed: bool) -> str:
    """Why a config's 1e-4, or MONAI's true, is none: both are text there."""
    if typed or not isinstance(value, str) or isinstance(kind, Text | Either):
        return ""
    try:
        meant = kind.read(value)
    except ValueError:
        return ""
    if not kind.allows(meant):
        return ""
    written = repr(meant)
    return f", which is text here; write {written if '.' in written else written.replace('e-', '.0e-')}"
