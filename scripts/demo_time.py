"""How long scripts/demo.sh takes on this machine: seconds of each of its seven parts, from the speed of a training step.

python scripts/demo_time.py [--subjects 20] [--size 64] [--window 16] [--source_iterations 640] [--target_iterations 160]
"""

from __future__ import annotations

import sys
from pathlib import Path

import fire

sys.path.insert(0, str(Path(__file__).parent))
from benchmark import median_seconds, training_step

from monai_tl.device import choose_device
from monai_tl.storage.cores import cores_at_hand

START = 8.0  # s that a command takes to import its libraries and build a bundle
HEAD = 1.0  # s in which one process draws a phantom head of 64³ voxels
FORWARD = 1 / 6  # of a training step: one patch instead of two, forward instead of forward and backward


def demo_seconds(
    step: float, subjects: int, size: int, window: int, source_iterations: int, target_iterations: int
) -> list[int]:
    """Return the seconds of each part of the demo.

    Args:
        step: seconds of a training step of two patches.
        subjects: heads in each of the two layouts.
        size: voxels along an edge of a head.
        window: voxels along an edge of a patch.
        source_iterations: training steps of the source.
        target_iterations: training steps of each target.
    """
    case = max(1.0, size / window) ** 3 * FORWARD * step  # sliding windows that do not overlap
    source = START + source_iterations * step + 2 * 0.1 * subjects * case
    target = START + target_iterations * step + 2 * 0.1 * subjects * case
    heads = 2 * subjects * HEAD * (size / 64) ** 3 / cores_at_hand()
    parts = [heads + 3 * START / 4, source + START + 0.25 * subjects * case, target, target]
    parts += [2 * (START + 0.4 * subjects * case), START / 2, START]
    return [round(part) for part in parts]


def main(
    subjects: int = 20, size: int = 64, window: int = 16, source_iterations: int = 640, target_iterations: int = 160
) -> None:
    """Time some training steps and print the seconds of each part."""
    device = choose_device()
    work = training_step(device, window, "auto")
    step = min(median_seconds(work, device, 1) for _ in range(4))  # of a moment in which no other process was in the way
    print(*demo_seconds(step, subjects, size, window, source_iterations, target_iterations))


if __name__ == "__main__":
    fire.Fire(main)
