"""What a training costs, ``cost.csv``: seconds a step and the peak of memory, a row each validation."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch

from monai_tl.errors import DataError
from monai_tl.storage.files import atomic_write


@dataclass(frozen=True, slots=True)
class Cost:
    """A row: what was measured since the last one.

    Attributes:
        iteration: at which it was written.
        step_seconds: median of a training step, from asking for its batch to its loss.
        memory_mib: peak so far, of the GPU where one is used, else of the process.
    """

    iteration: int
    step_seconds: float
    memory_mib: float


COLUMNS = tuple(field.name for field in fields(Cost))


def peak_memory_mib() -> float:
    """Give the most memory that this process ever held, in MiB: of its GPUs if it uses any, else of its own; NaN on Windows."""
    if torch.cuda.is_initialized():
        return sum(torch.cuda.max_memory_allocated(gpu) for gpu in range(torch.cuda.device_count())) / 2**20
    try:
        import resource
    except ImportError:
        return math.nan
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def write_costs(path: Path, costs: Sequence[Cost]) -> None:
    """Write the rows so far, atomically."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows((cost.iteration, f"{cost.step_seconds:.6f}", f"{cost.memory_mib:.1f}") for cost in costs)


def read_costs(path: Path) -> list[Cost]:
    """Read the rows of a ``cost.csv``, none where there is no file.

    Raises:
        DataError: if it is damaged, with the line.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        table = csv.reader(file)
        found = []
        for cells in table:
            try:
                if table.line_num > 1:
                    iteration, seconds, memory = cells
                    found.append(Cost(int(iteration), float(seconds), float(memory)))
                elif tuple(cells) != COLUMNS:
                    raise ValueError
            except ValueError:
                told = f"{path}, line {table.line_num} is not {', '.join(COLUMNS)}"
                raise DataError(f"{told}: restore it, or delete it and go without its costs") from None
        return found
