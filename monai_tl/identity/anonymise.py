"""Names that stand for subjects in what is passed on, and text without what would give them away.

A plain hash of an id is no pseudonym: there are few ids, and whoever hashes them all reads the table backwards. With a
secret key (HMAC, RFC 2104) that does not work, and the same key gives the same names again.
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

DIGITS = 10  # hexadecimal: two of 10 000 subjects get the same name once in 20 000 tries, and that is refused
WITHHELD = "withheld, since it names the subject or its files: check without --anonymous to read it"


def key_path(folder: Path) -> Path:
    """Name the key of an output folder: beside it, so that the folder can be passed on and the key stays."""
    return folder.absolute().with_name(f"{folder.absolute().name}.key")


def read_or_make_key(folder: Path) -> bytes:
    """Give the key of an output folder, made (readable by its owner only) where there is none.

    Raises:
        DataError: if the file is no key.
    """
    path = key_path(folder)
    if not path.exists():
        with atomic_write(path) as temporary:
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            temporary.write_text(secrets.token_hex(32) + "\n", encoding="ascii")
    text = path.read_text(encoding="utf-8", errors="replace").strip()
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise DataError(f"{path} is no key of 64 hexadecimal digits; move it away, and a new one gives new pseudonyms")
    return bytes.fromhex(text)


def keyed_hash(key: bytes, text: str) -> str:
    """Hash a text with a key: 64 hexadecimal digits."""
    return hmac.new(key, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


def pseudonyms(subjects: Sequence[str], key: bytes) -> dict[str, str]:
    """Give each subject its pseudonym, e.g. ``"case_3fa1b2c4d5"``.

    Raises:
        DataError: if two subjects would share one.
    """
    named = {subject: f"case_{keyed_hash(key, subject)[:DIGITS]}" for subject in subjects}
    if len(set(named.values())) < len(named):
        raise DataError("two subjects have the same pseudonym under this key; remove the key, and a new one is made")
    return named


def without_names(text: str, case: Case) -> str:
    """Replace a case's paths by the roles of the files; a text that still says a name or a path is withheld.

    What is said of a DICOM series is withheld whole: descriptions are free text, UIDs and file names lead to the patient.
    """
    roles = {role: path for role, path in case.items() if role != "subject"}
    if "series" in text and any(os.path.isdir(split_path(path)[0]) for path in roles.values()):
        return f"what is wrong with a series is {WITHHELD}"
    said = {os.path.basename(path): role for role, path in roles.items() if os.path.basename(path) not in case}
    said |= {path: role for role, path in roles.items()}
    if said:
        longest_first = "|".join(re.escape(name) for name in sorted(said, key=len, reverse=True))
        text = re.sub(rf"(?<!\w)(?:{longest_first})(?!\w)", lambda found: f"({said[found[0]]}'s file)", text)
    text = re.sub(r"\s*\([^()]*/[^()]*\)", "", text)
    stems = [os.path.basename(path).split(".")[0] for role, path in case.items() if role != "subject"]
    told = [case["subject"], *(stem for stem in stems if stem not in case)]
    if "/" in text or any(part.lower() in text.lower() for part in told):
        return f"a reason is {WITHHELD}"
    return text
