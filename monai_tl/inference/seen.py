"""What scores must not be shown without: that some of the cases were trained on or chosen by, and somebody accepted it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_tl.errors import DataError
from monai_tl.files import write_json


def seen_file(scores: Path | str) -> Path:
    """Name the file beside a table of scores: ``scores_test.overlap.json``."""
    return Path(scores).with_suffix(".overlap.json")


def write_seen(scores: Path | str, overlap: Mapping[str, Any] | None) -> None:
    """Keep what was accepted (``shared`` cases, ``said`` in lines), or take away what an earlier evaluation left."""
    if overlap is None:
        seen_file(scores).unlink(missing_ok=True)
    else:
        write_json(seen_file(scores), dict(overlap))


def read_seen(scores: Path | str) -> str:
    """Say in a line which of the cases were seen before; empty where none was, or nothing is known.

    Raises:
        DataError: if the file is damaged.
    """
    path = seen_file(scores)
    if not path.is_file():
        return ""
    try:
        return in_short(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is damaged ({type(error).__name__}: {error}); evaluate the run again") from None


def in_short(overlap: Mapping[str, Any]) -> str:
    """Say it in a few words, for a summary."""
    count = int(overlap["shared"])
    were = "was" if count == 1 else "were"
    return f"{count} of the cases {were} trained on or chosen by before (accepted), so these scores are too good"
