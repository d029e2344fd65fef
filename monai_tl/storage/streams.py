"""Printing that never fails: characters that the terminal lacks are replaced, a reader that has gone is noticed."""

from __future__ import annotations

import codecs
import io
import os
import select
import sys
from typing import TextIO

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


def is_closed(stream: TextIO) -> bool:
    """Return whether the reader of a stream has gone, as after ``| head``; what was not read is then thrown away."""
    if sys.platform == "win32":
        return False
    poll = select.poll()
    poll.register(stream.fileno(), 0)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # or Python would report it again when it ends
    return True


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return a replacement from `PLAIN`, or else the character's number, so that no information is lost."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(PLAIN.get(letter) or letter.encode("ascii", "backslashreplace").decode() for letter in letters), error.end
