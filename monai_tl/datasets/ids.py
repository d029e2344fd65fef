"""Subject ids as they are compared and written: one encoding of accents, nothing that cannot be seen.

File systems keep names as they came: Windows and Linux mostly write é as one character (NFC), older Macs as e and an accent
(NFD). Ids are compared and written in NFC; paths stay byte for byte what the file system has.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from monai_tl.errors import DataError

UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control, zero-width, direction marks; "Cs": bytes that are no UTF-8
VARIANTS = range(0xFE00, 0xFE10)  # selectors that only change how the character before them looks


def normal(text: str) -> str:
    """Give a text with accents composed (NFC), as ids are compared and written."""
    return unicodedata.normalize("NFC", text)


def visible(text: str) -> str:
    """Give a text so that every character of it can be seen: ``Bob\\\\u200b``, ``'Bob '``; most stay as they are."""
    seen = "".join(_escaped(letter) if _unseen(letter) else letter for letter in text)
    return f"'{seen}'" if text != text.strip() else seen


def quoted(subject: str) -> str:
    """Give an id in quotes, so that every character of it can be seen."""
    text = visible(subject)
    return text if text.startswith("'") else f"'{text}'"


def fault_of(subject: str) -> str:
    """Say why a text cannot be a subject's id; empty if it can."""
    if any(unicodedata.category(letter) == "Cs" for letter in subject):
        return "is in a file name that is not UTF-8, perhaps Latin-1 (convmv -f latin1 -t utf8 renames such files)"
    if any(map(_unseen, subject)):
        return "holds characters that cannot be seen (shown here by their codes)"
    if subject != subject.strip():
        return "begins or ends with a space"
    if subject in ("", ".", "..") or any(sign in subject for sign in "/\\"):
        return "is no file name, and predictions are named after it"
    return ""


def refuse_odd_ids(subjects: Iterable[str]) -> None:
    """Refuse ids that cannot be part of a file name, or that cannot be told from others by looking at them.

    Raises:
        DataError: for the first one.
    """
    for subject in subjects:
        if fault := fault_of(subject):
            raise DataError(f"subject {quoted(subject)} {fault}; rename the subject")


def refuse_odd_paths(paths: Iterable[str]) -> None:
    """Refuse paths that are not UTF-8: no table or datalist could name them.

    Raises:
        DataError: for the first one.
    """
    for path in paths:
        if any(unicodedata.category(letter) == "Cs" for letter in path):
            raise DataError(f"the path {visible(path)} is not UTF-8, perhaps Latin-1; rename it (convmv -f latin1 -t utf8)")


def alike(subjects: Iterable[str]) -> list[list[str]]:
    """Give groups of different ids that differ only in case, spaces, or how a character is encoded."""
    groups: dict[str, list[str]] = {}
    for subject in subjects:
        letters = "".join(letter for letter in unicodedata.normalize("NFKC", subject) if not _unseen(letter))
        groups.setdefault("".join(letters.casefold().split()), []).append(subject)
    return [group for group in groups.values() if len(group) > 1]


def on_disk(path: Path) -> list[Path]:
    """Give the files of that name, accents composed or decomposed: none, one, or two that look the same."""
    if path.name.isascii() or not path.parent.is_dir():
        return [path] if os.path.lexists(path) else []
    return sorted(other for other in path.parent.iterdir() if normal(other.name) == normal(path.name))


def _unseen(letter: str) -> bool:
    return unicodedata.category(letter) in UNSEEN or ord(letter) in VARIANTS


def _escaped(letter: str) -> str:
    return letter.encode("ascii", "backslashreplace").decode() if ord(letter) > 126 else repr(letter)[1:-1]
