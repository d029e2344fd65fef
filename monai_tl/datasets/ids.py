"""Normalisation and checks of subject ids: composed accents (NFC), and no invisible characters.

File systems store names as written: Windows and Linux mostly encode é as one character (NFC), older Macs as e and an accent
(NFD). Ids are compared and written in NFC; paths keep the bytes of the file system.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from monai_tl.errors import DataError

INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control, zero-width, direction marks; "Cs": bytes that are not UTF-8
VARIANTS = range(0xFE00, 0xFE10)  # variation selectors, which only change the appearance of the character before


def normal(text: str) -> str:
    """Return a text with composed accents (NFC), as ids are compared and written."""
    return unicodedata.normalize("NFC", text)


def visible(text: str) -> str:
    """Return a text with all characters visible: ``Bob\\\\u200b``, ``'Bob '``; most texts are unchanged."""
    seen = "".join(_escaped(letter) if _invisible(letter) else letter for letter in text)
    return f"'{seen}'" if text != text.strip() else seen


def quoted(subject: str) -> str:
    """Return an id in quotes with all characters visible."""
    text = visible(subject)
    return text if text.startswith("'") else f"'{text}'"


def fault_of(subject: str) -> str:
    """Return why a text cannot be a subject id; empty if it can."""
    if any(unicodedata.category(letter) == "Cs" for letter in subject):
        return "is in a file name that is not UTF-8, perhaps Latin-1 (convmv -f latin1 -t utf8 renames such files)"
    if any(map(_invisible, subject)):
        return "contains invisible characters (shown here by their codes)"
    if subject != subject.strip():
        return "begins or ends with a space"
    if subject in ("", ".", "..") or any(sign in subject for sign in "/\\"):
        return "is not a valid file name, and predictions are named after the subject"
    return ""


def refuse_odd_ids(subjects: Iterable[str]) -> None:
    """Refuse ids that cannot be part of a file name, or that contain invisible characters.

    Raises:
        DataError: for the first such id.
    """
    for subject in subjects:
        if fault := fault_of(subject):
            raise DataError(f"subject {quoted(subject)} {fault}; rename the subject")


def refuse_odd_paths(paths: Iterable[str]) -> None:
    """Refuse paths that are not UTF-8, since tables and datalists cannot contain them.

    Raises:
        DataError: for the first such path.
    """
    for path in paths:
        if any(unicodedata.category(letter) == "Cs" for letter in path):
            raise DataError(f"the path {visible(path)} is not UTF-8, perhaps Latin-1; rename it (convmv -f latin1 -t utf8)")


def alike(subjects: Iterable[str]) -> list[list[str]]:
    """Return groups of ids that differ only in case, spaces or encoding of characters."""
    groups: dict[str, list[str]] = {}
    for subject in subjects:
        letters = "".join(letter for letter in unicodedata.normalize("NFKC", subject) if not _invisible(letter))
        groups.setdefault("".join(letters.casefold().split()), []).append(subject)
    return [group for group in groups.values() if len(group) > 1]


def on_disk(path: Path) -> list[Path]:
    """Return the files with this name, with composed or decomposed accents: none, one, or two that look the same."""
    if path.name.isascii() or not path.parent.is_dir():
        return [path] if os.path.lexists(path) else []
    return sorted(other for other in path.parent.iterdir() if normal(other.name) == normal(path.name))


def _invisible(letter: str) -> bool:
    return unicodedata.category(letter) in INVISIBLE or ord(letter) in VARIANTS


def _escaped(letter: str) -> str:
    return letter.encode("ascii", "backslashreplace").decode() if ord(letter) > 126 else repr(letter)[1:-1]
