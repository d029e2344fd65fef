"""The number of cores and the settings of threads, which must be known before PyTorch is imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")  # if the user set any of these, keep it


def cores_at_hand() -> int:
    """Return how many cores this process may use, limited by its CPU affinity and the quotas of its cgroups."""
    # os.process_cpu_count needs Python 3.13; sched_getaffinity does not exist on every system
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(int(quota) for quota in _quotas())]))


def thread_settings() -> dict[str, str]:
    """Return environment variables for OpenMP: the number of threads, and how they wait; set them before importing PyTorch.

    Threads that spin while waiting may occupy the core of the thread that they wait for, if other processes run on the machine.
    OpenMP does not know a container's quota and would start one thread per core of the machine.

    Returns:
        Environment variables, without those that the user set.
    """
    variables = {} if any(name in os.environ for name in WAITING) else {"OMP_WAIT_POLICY": "PASSIVE"}
    cores = cores_at_hand()
    if "OMP_NUM_THREADS" not in os.environ and cores < (os.cpu_count() or 1):
        variables["OMP_NUM_THREADS"] = str(cores)
    return variables


def fitting(asked: int, threads: int = 1) -> int:
    """Return how many of the requested processes, of so many threads each, the cores can run at a time; at least one."""
    return min(asked, max(1, cores_at_hand() // threads))


def keep_within_cores(flag: str, asked: int, threads: int = 1) -> int:
    """Return the number of processes to run at a time; print a line to stderr if it is smaller than requested.

    Args:
        flag: the flag that requests it, for the message.
        asked: requested number of processes at a time.
        threads: number of threads of each process.
    """
    at_once = fitting(asked, threads)
    if at_once < asked:
        each = f" of {threads} threads each" if threads > 1 else ""
        print(f"{flag} {asked}: {cores_at_hand()} cores are available, so {at_once} at a time{each}", file=sys.stderr)
    return at_once


def _quotas() -> Iterator[float]:
    """Yield the limits, in cores, of the cgroups (version 1 or 2) of this process and of their parents."""
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
