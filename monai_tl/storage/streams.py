"""Printing that never fails: characters that the terminal's encoding lacks are replaced."""

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
    """Let stdout and stderr of this process accept any text; calling it again has no effect."""
    codecs.register_error(NAME, _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=NAME)


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return a replacement from `PLAIN`, or else the character's number, so that no information is lost."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(PLAIN.get(letter) or letter.encode("ascii", "backslashreplace").decode() for letter in letters), error.end
