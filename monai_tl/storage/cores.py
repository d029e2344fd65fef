"""How many cores this process may use, and how threads wait for each other; asked before PyTorch is imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")  # any of them: the user has decided how threads wait


def cores_at_hand() -> int:
    """Return how many cores this process may use: those that it may run on, within the quota of its cgroups."""
    # what Python 3.13 calls process_cpu_count; not every system knows which cores a process may run on
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(int(quota) for quota in _quotas())]))


def thread_settings() -> dict[str, str]:
    """Return how many threads OpenMP starts and how they wait, for a process that is yet to import PyTorch.

    Threads that spin while they wait take the core of whoever they wait for, where anything else runs on the machine. A
    container's quota is unknown to OpenMP, which would start a thread for each core of the machine.

    Returns:
        Environment variables, without those that the user set.
    """
    told = {} if any(name in os.environ for name in WAITING) else {"OMP_WAIT_POLICY": "PASSIVE"}
    cores = cores_at_hand()
    if "OMP_NUM_THREADS" not in os.environ and cores < (os.cpu_count() or 1):
        told["OMP_NUM_THREADS"] = str(cores)
    return told


def fitting(asked: int, threads: int = 1) -> int:
    """Return how many processes of so many threads fit the cores, of those that were asked for; one always does."""
    return min(asked, max(1, cores_at_hand() // threads))


def keep_within_cores(flag: str, asked: int, threads: int = 1) -> int:
    """Return `fitting`, and say on stderr where that is less than was asked for.

    Args:
        flag: that asks for it.
        asked: processes at a time.
        threads: of each.
    """
    at_once = fitting(asked, threads)
    if at_once < asked:
        each = f" of {threads} threads each" if threads > 1 else ""
        print(f"{flag} {asked}: {cores_at_hand()} cores are at hand, so {at_once} at a time{each}", file=sys.stderr)
    return at_once


def _quotas() -> Iterator[float]:
    """Yield each limit of the cgroups that this process is in, in cores: version 2 and 1, a group's and those above it."""
    try:
        lines = OWN_GROUPS.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):  # not Linux
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        own = PurePosixPath(group.lstrip("/"))
        for folder in (own, *own.parents):
            yield from _quota(CGROUPS / folder) if not controllers else _quota(CGROUPS / "cpu" / folder)


def _quota(folder: Path) -> Iterator[float]:
    try:
        if (folder / "cpu.max").is_file():
            most, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        else:
            most, period = ((folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii").strip() for name in ("quota", "period"))
    except (OSError, ValueError):
        return
    if most.isdecimal() and int(period) > 0:  # "max" or -1: no limit
        yield int(most) / int(period)
