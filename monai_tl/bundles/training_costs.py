"""What a training of HighRes3DNet costs on a device, by measurements on two CPU cores and on an H200."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from monai_tl.device import has_bfloat16

VOXEL_BYTES = {True: 3420.0, False: 6740.0}  # of a step with two classes, with and without bfloat16; H200, 2×96³
CLASS_BYTES = 36.0  # of each further class per voxel: logits, loss and gradient
USABLE = 0.8  # share of a GPU's memory
GPU_STEP = 4 * 96**3  # voxels; a step of 0.2 s on an H200
GPU_SECONDS, GPU_VALIDATION, GPU_FLOAT32 = 51e-9, 0.2e-6, 3.7  # per voxel, everything included; factor without bfloat16
CPU_STEP = {True: 4 * 32**3, False: 2 * 32**3}  # voxels; a step of 2 s, of 2.6 s without bfloat16
CPU_SECONDS, CPU_VALIDATION, CPU_FLOAT32 = 15e-6, 7.5e-6, 2.6  # 11 to 18 µs, 200 G multiply-adds a second in training


@dataclass(frozen=True)
class Resources:
    """What a training costs on a device.

    Attributes:
        name: of the device, e.g. ``two CPU cores with bfloat16``.
        gpu: whether it is a GPU.
        step_voxels: largest number of voxels in the patches of one step.
        voxel_bytes: memory of a step per voxel of its patches.
        voxel_seconds: time of a step per voxel of its patches.
        validation_seconds: time of a validation per voxel of a case.
    """

    name: str
    gpu: bool
    step_voxels: int
    voxel_bytes: float
    voxel_seconds: float
    validation_seconds: float


def resources_of(device: torch.device, outputs: int = 2) -> Resources:
    """Return what a training costs on a device; times are those of two CPU cores or of an H200, memory is the GPU's own.

    Args:
        device: a CPU or GPU, as `monai_tl.device.choose_device` returns it.
        outputs: number of output channels of the network.

    Example:
        >>> import torch
        >>> from monai_tl.bundles.training_costs import resources_of
        >>> resources_of(torch.device("cpu")).gpu
        False
    """
    bfloat16 = has_bfloat16(device)
    voxel_bytes = VOXEL_BYTES[bfloat16] + CLASS_BYTES * max(0, outputs - 2)
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        slower = 1.0 if bfloat16 else GPU_FLOAT32
        step = min(GPU_STEP, int(USABLE * card.total_memory / voxel_bytes))
        return Resources(str(card.name), True, step, voxel_bytes, GPU_SECONDS * slower, GPU_VALIDATION * slower)
    slower = 1.0 if bfloat16 else CPU_FLOAT32
    name = f"two CPU cores {'with' if bfloat16 else 'without'} bfloat16"
    return Resources(name, False, CPU_STEP[bfloat16], voxel_bytes, CPU_SECONDS * slower, CPU_VALIDATION * slower)
