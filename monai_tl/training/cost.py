"""The cost of a training, ``cost.csv``: seconds per step and peak memory, one row per validation."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from monai_tl.storage.tables import read_table, write_table


@dataclass(frozen=True, slots=True)
class Cost:
    """A row of ``cost.csv``, measured since the last row.

    Attributes:
        iteration: iteration of the validation.
        step_seconds: median of a training step, from asking for its batch to its loss.
        memory_mib: peak so far, in MiB, of the GPU that trains, else of the process.
    """

    iteration: int
    step_seconds: float = field(metadata={"form": ".6f"})
    memory_mib: float = field(metadata={"form": ".1f"})


def peak_memory_mib(device: torch.device) -> float:
    """Return the peak memory in MiB so far of the device that trains: of a GPU, else of the process; NaN on Windows."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:
        return math.nan
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def write_costs(path: Path, costs: Sequence[Cost]) -> None:
    """Write the rows so far, atomically."""
    write_table(path, Cost, costs)


def read_costs(path: Path) -> list[Cost]:
    """Read the rows of a ``cost.csv``; none without a file.

    Raises:
        DataError: if it is damaged, with the line.
    """
    return read_table(path, Cost, remedy="restore it, or delete it to continue without its costs") if path.is_file() else []
