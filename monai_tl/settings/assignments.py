"""Settings of a component whose arguments no table lists, on a command line: ``--set init_filters=16,blocks_down=[1,2,2]``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from monai_tl.settings.untyped import read_untyped

NAME_AND_VALUE = re.compile(r"\s*([A-Za-z_]\w*)\s*=(.*)", re.DOTALL)
CLOSES = {")": "(", "]": "[", "}": "{"}


@dataclass(frozen=True)
class Assignments:
    """Arguments by name, e.g. ``init_filters=16,blocks_down=[1,2,2]``; a list is written in brackets.

    Attributes:
        takes: description with an example.
        repeated: a flag of this kind may be given several times, each time with further arguments.
    """

    takes: str = (
        "arguments as NAME=VALUE, separated by commas, each name once, lists in brackets, e.g. init_filters=16,strides=[2,2]"
    )
    repeated: bool = True

    def read(self, text: str) -> dict[str, Any]:
        """Read ``a=1,b=[2,3],c=true``: values as in YAML, with commas inside brackets and quotes.

        Example:
            >>> from monai_tl.settings.assignments import Assignments
            >>> Assignments().read("init_filters=16,blocks_down=[1,2,2],norm=[instance,{affine: true}],dropout_prob=null")
            {'init_filters': 16, 'blocks_down': [1, 2, 2], 'norm': ['instance', {'affine': True}], 'dropout_prob': None}
        """
        values: dict[str, Any] = {}
        for part in _parts(text):
            match = NAME_AND_VALUE.fullmatch(part)
            if match is None or match[1] in values or not match[2].strip():
                raise ValueError(text)
            values[match[1]] = read_untyped(match[2].strip())
        return values

    def allows(self, value: Any) -> bool:
        """Return whether the value is a mapping of names to values."""
        return isinstance(value, Mapping) and all(isinstance(name, str) and name.isidentifier() for name in value)

    def write(self, values: Mapping[str, Any]) -> str:
        """Return the text that `read` reads as these values, e.g. for a command to copy."""
        return ",".join(f"{name}={_written(value)}" for name, value in values.items())


ASSIGNMENTS = Assignments()


def _parts(text: str) -> Iterator[str]:
    """Yield what stands between commas that are in no brackets and no quotes."""
    opened: list[str] = []
    start, quote = 0, ""
    for at, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in CLOSES.values():
            opened.append(character)
        elif character in CLOSES:
            if not opened or opened.pop() != CLOSES[character]:
                raise ValueError(text)
        elif character == "," and not opened:
            yield text[start:at]
            start = at + 1
    if opened or quote:
        raise ValueError(text)
    yield text[start:]


def _written(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_written(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_written, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str) and (not re.fullmatch(r"[\w.]+", value) or not isinstance(read_untyped(value), str)):
        return "'" + value.replace("'", "''") + "'"
    return repr(value) if isinstance(value, float) else str(value)
