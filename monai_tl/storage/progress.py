"""Progress bars: none where they could not be read, and few lines in a log file."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
BAR_FROM = 11  # items of a quick kind; fewer are done before a bar could be read


def progress_bar(total: int, what: str, unit: str, **settings: Any) -> tqdm[Any]:
    """Return a bar on stderr, to be updated by hand; ``settings`` are further ones of tqdm."""
    calm = 0.5 if sys.stderr.isatty() else 10.0  # seconds between updates: a log file needs no more
    return tqdm(total=total, desc=what, unit=unit, mininterval=calm, dynamic_ncols=True, **settings)


def follow(items: Iterable[Item], what: str, unit: str) -> Iterable[Item]:
    """Pass items on under a bar, where there are enough of them."""
    listed = list(items)
    bar: Iterable[Item] = tqdm(listed, desc=what, unit=unit, disable=len(listed) < BAR_FROM)
    return bar
