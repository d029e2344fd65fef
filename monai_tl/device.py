"""Device, number format and memory layout: the choices that make the same training faster."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from monai_tl.errors import ConfigError
from monai_tl.settings.table import refuse_settings

CONV3D: Any = torch.conv3d


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of a name: ``auto`` is the first GPU if there is one, else the CPU.

    Raises:
        ConfigError: if the requested GPU does not exist.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"unknown device '{name}': use auto, cpu, cuda or cuda:1") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device '{name}' was requested, but {torch.cuda.device_count()} GPUs are visible; use auto or cpu")
    return device


def has_bfloat16(device: torch.device) -> bool:
    """Return whether a device computes bfloat16 in hardware; emulating it is slow."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and torch.backends.mkldnn.is_available() and torch.cpu._is_avx512_bf16_supported()


def place(network: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to a device, in the memory layout in which convolutions are fastest (channels last)."""
    return network.to(device=device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]


class MixedPrecisionInferer(Inferer):
    """Run another inferer with bfloat16 autocast and channels-last inputs; weights, loss and logits stay float32.

    MONAI's engines support autocast on CUDA only. Both training and inference call an inferer, on any device.

    Args:
        inferer: e.g. ``SimpleInferer`` to train, ``SlidingWindowInferer`` to predict.
        device: where the network is.
        precision: ``auto`` (bfloat16 where the device has it), ``bfloat16`` or ``float32``.
    """

    def __init__(self, inferer: Inferer, device: torch.device, precision: str = "auto") -> None:
        """Choose the number format."""
        super().__init__()
        refuse_settings(precision=precision)
        self.inferer = inferer
        self.device = torch.device(device)
        self.bfloat16 = precision == "bfloat16" or (precision == "auto" and has_bfloat16(self.device))
        self.precision = "bfloat16" if self.bfloat16 else "float32"

    def __call__(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> Any:
        """Infer ``(batch, channel, i, j, k)`` to float32 logits ``(batch, class, i, j, k)``."""

        def forward(images: Tensor, *more: Any, **named: Any) -> Any:
            images = images.as_tensor() if isinstance(images, MetaTensor) else images
            images = images.contiguous(memory_format=torch.channels_last_3d)
            small = _SmallConvolutions() if self.bfloat16 and self.device.type == "cpu" else nullcontext()
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bfloat16), small:
                logits = network(images, *more, **named)
            return _as_float32(logits)

        forward.__wrapped__ = network  # type: ignore[attr-defined]  # for an inferer that asks which sizes it takes
        return self.inferer(inputs, forward, *args, **kwargs)


class _SmallConvolutions(TorchFunctionMode):
    """Compute convolutions whose image is smaller than their kernel along an axis in float32.

    In bfloat16 on a CPU, PyTorch 2.13 returns parts of their weights' gradient uninitialised: any numbers, or NaN. The lowest
    level of a U-Net has such images if the patch is small.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of PyTorch."""
        if func is CONV3D and len(args) > 1:
            kernel = args[1].shape[2:]
            dilation = args[5] if len(args) > 5 else (kwargs or {}).get("dilation", 1)
            each = [dilation] * 3 if isinstance(dilation, int) else dilation
            if any(edge <= (k - 1) * d for edge, k, d in zip(args[0].shape[2:], kernel, each, strict=True)):
                with torch.autocast("cpu", enabled=False):
                    return func(*[one.float() if isinstance(one, Tensor) else one for one in args], **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _as_float32(logits: Any) -> Any:
    """Convert logits, or a list of them for a network that returns several, as deep supervision does."""
    return logits.float() if isinstance(logits, Tensor) else [_as_float32(part) for part in logits]
