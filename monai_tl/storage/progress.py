"""Progress bars, which are omitted for few items and rarely updated in log files."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
BAR_FROM = 11  # items; fewer are done before anyone could read a bar


def progress_bar(total: int, what: str, unit: str, **settings: Any) -> tqdm[Any]:
    """Return a bar on stderr that the caller updates; ``settings`` are further arguments of tqdm."""
    interval = 0.5 if sys.stderr.isatty() else 10.0  # seconds between updates: a log file needs fewer lines
    return tqdm(total=total, desc=what, unit=unit, mininterval=interval, dynamic_ncols=True, **settings)


def follow(items: Iterable[Item], what: str, unit: str) -> Iterable[Item]:
    """Return the items as an iterable that shows a progress bar if there are at least `BAR_FROM`."""
    listed = list(items)
    bar: Iterable[Item] = tqdm(listed, desc=what, unit=unit, disable=len(listed) < BAR_FROM)
    return bar
