"""Tables in ``docs/`` of what is refused: each test checks its own row, and writes it where MONAI_TL_WRITE_DOCS is set."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from monai_tl.storage.files import write_text


class MessageTable:
    """A page whose rows are ``| what came | … | `` message `` |``; numbers and hashes in a message may differ.

    Args:
        page: of ``docs/``.
        places: folders of this machine; a path below a folder in one of them is shown from that folder on.
        tests: what to run so that the page is written.
    """

    def __init__(self, page: Path, places: Sequence[Path], tests: str) -> None:
        self.page, self._tests = page, tests
        self._places = "|".join(re.escape(str(place)) for place in places)
        self._lock = FileLock(places[0] / f"{page.name}.lock")

    def tidy(self, message: str) -> str:
        """Return a message in one line, without this machine's places and the ends of long lists."""
        message = re.sub(rf"({self._places})/[^/\s']+/?", "", message).replace(f"{Path(__file__).parents[1]}/", "")
        listed = re.compile(r"There are: ([^()\n]{60})[^()\n]*?(?=[.;)]|$)")
        return listed.sub(r"There are: \1…", " ".join(message.replace("|", "\\|").split()))

    def check(self, cells: Sequence[str], shown: str, topic: str = "") -> None:
        """Check that the page has this row; ``cells`` come before the message, ``topic`` is the heading above the table."""
        start = "".join(f"| {cell} " for cell in cells) + "| `` "
        with self._lock:
            lines = self.page.read_text(encoding="utf-8").splitlines()
            known = any(line.startswith(start) and _fits(line[len(start) : -len(" `` |")], shown) for line in lines)
            if os.environ.get("MONAI_TL_WRITE_DOCS") and not known:
                self._put(lines, cells[0], f"{start}{shown} `` |", topic)
                write_text(self.page, "\n".join(lines) + "\n")
                known = True
        assert known, f"{start}{shown} `` |\nis not in {self.page}: MONAI_TL_WRITE_DOCS=1 pytest {self._tests}"

    def _put(self, lines: list[str], came: str, row: str, topic: str) -> None:
        """Replace the row of what came, else add one at the end of its topic's table."""
        for at, line in enumerate(lines):
            if line.startswith(f"| {came} | "):
                lines[at] = row
                return
        at = lines.index(f"## {topic}") + 1 if topic else 0
        while at < len(lines) and not lines[at].startswith("## "):
            at += 1
        while not lines[at - 1]:
            at -= 1
        lines.insert(at, row)

    def strangers(self, sources: str) -> list[str]:
        """Return what came in rows that no test's source names; with MONAI_TL_WRITE_DOCS set these rows are removed."""
        with self._lock:
            lines = self.page.read_text(encoding="utf-8").splitlines()
            rows = [line for line in lines if " | `` " in line]
            assert len(rows) >= 20, f"{self.page} has lost its rows"
            strange = [row for row in rows if row.split(" | ")[0].removeprefix("| ") not in sources]
            if os.environ.get("MONAI_TL_WRITE_DOCS") and strange:
                write_text(self.page, "\n".join(line for line in lines if line not in strange) + "\n")
                return []
        return strange


def _fits(listed: str, shown: str) -> bool:
    """Say if a row's message is this one, numbers and hashes apart: trained weights give others on another processor."""
    one, other = (re.sub(r"\b[0-9a-f]{12}\b|\d+(\.\d*)?(e[-+]?\d+)?", "#", text) for text in (listed, shown))
    if one.endswith(" …") and other.endswith(" …"):  # cut at a length that numbers shift
        one, other = one.removesuffix(" …").rstrip("#"), other.removesuffix(" …").rstrip("#")
        return one.startswith(other) or other.startswith(one)
    return one == other
