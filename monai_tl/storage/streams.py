"""Printing never fails: a letter that a terminal's encoding lacks is written with those that it has."""

from __future__ import annotations

import codecs
import io
import sys

PLAIN = {
    "−": "-", "–": "-", "—": "-", "×": "x", "·": ".", "…": "...", "≥": ">=", "≤": "<=", "±": "+-", "→": "->", "√": "sqrt",
    "°": " degrees", "³": "^3", "²": "^2", "‘": "'", "’": "'", "“": '"', "”": '"', "█": "#",
}  # fmt: skip
NAME = "monai_tl.plain"


def print_anything() -> None:
    """Let stdout and stderr of this process take any text; once is enough, more does no harm."""
    codecs.register_error(NAME, _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=NAME)


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write a minus sign as a hyphen, and so on; anything else by its number, so that nothing is lost."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(PLAIN.get(letter) or letter.encode("ascii", "backslashreplace").decode() for letter in letters), error.end
