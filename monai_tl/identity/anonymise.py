"""Pseudonyms of subjects, and removal of identifying text from messages.

A plain hash of an id is not a pseudonym: there are so few ids that hashing all of them reveals whose it is. A keyed hash
(HMAC, RFC 2104) prevents that, and the same key yields the same pseudonyms again.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from monai_tl.datasets.patterns import Case
from monai_tl.errors import DataError
from monai_tl.imaging.scan_files import split_path
from monai_tl.storage.files import atomic_write

DIGITS = 10  # hexadecimal: a collision among 10 000 subjects has a probability of 1 in 20 000, and is refused
WITHHELD = "withheld, since it names the subject or its files: run the check without --anonymous to read it"


def key_path(folder: Path) -> Path:
    """Return the path of an output folder's key: next to the folder, so that sharing the folder does not share the key."""
    return folder.absolute().with_name(f"{folder.absolute().name}.key")


def read_or_make_key(folder: Path) -> bytes:
    """Return the key of an output folder; create it, readable by its owner only, if it does not exist.

    Raises:
        DataError: if the file is not a key.
    """
    path = key_path(folder)
    if not path.exists():
        with atomic_write(path) as temporary:
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            temporary.write_text(secrets.token_hex(32) + "\n", encoding="ascii")
    text = path.read_text(encoding="utf-8", errors="replace").strip()
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise DataError(
            f"{path} is not a key of 64 hexadecimal digits; move it away to have a new key, and new pseudonyms, created"
        )
    return bytes.fromhex(text)


def keyed_hash(key: bytes, text: str) -> str:
    """Return the keyed hash of a text: 64 hexadecimal digits."""
    return hmac.new(key, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


def pseudonyms(subjects: Sequence[str], key: bytes) -> dict[str, str]:
    """Return subject -> pseudonym, e.g. ``"case_3fa1b2c4d5"``.

    Raises:
        DataError: if two subjects would share one.
    """
    named = {subject: f"case_{keyed_hash(key, subject)[:DIGITS]}" for subject in subjects}
    if len(set(named.values())) < len(named):
        raise DataError("two subjects have the same pseudonym under this key; remove the key to have a new one created")
    return named


def without_names(text: str, case: Case) -> str:
    """Replace the paths in a message by the files' roles; withhold a message that still contains a name or path.

    Messages about a DICOM series are always withheld: descriptions are free text, and UIDs and file names identify the patient.
    """
    roles = {role: path for role, path in case.items() if role != "subject"}
    if "series" in text and any(os.path.isdir(split_path(path)[0]) for path in roles.values()):
        return f"the reason why a series cannot be used is {WITHHELD}"
    role_of = {os.path.basename(path): role for role, path in roles.items() if os.path.basename(path) not in case}
    role_of |= {path: role for role, path in roles.items()}
    if role_of:
        longest_first = "|".join(re.escape(name) for name in sorted(role_of, key=len, reverse=True))
        text = re.sub(rf"(?<!\w)(?:{longest_first})(?!\w)", lambda match: f"({role_of[match[0]]}'s file)", text)
    text = re.sub(r"\s*\([^()]*/[^()]*\)", "", text)
    stems = [os.path.basename(path).split(".")[0] for role, path in case.items() if role != "subject"]
    identifying = [case["subject"], *(stem for stem in stems if stem not in case)]
    if "/" in text or any(name.lower() in text.lower() for name in identifying):
        return f"a reason is {WITHHELD}"
    return text
