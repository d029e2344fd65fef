"""Plan the windows of a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.inferers import Inferer, SlidingWindowInferer
from torch import Tensor


class FittedSlidingWindow(Inferer):
    """MONAI's ``SlidingWindowInferer`` with a window no larger than the image, which MONAI would pad and compute in vain.

    Args:
        window: largest window (i, j, k) in voxels.
        overlap: of neighbouring windows, 0 to below 1.
        mode: how windows are blended, ``gaussian`` or ``constant``.
        batch_size: windows a step.
    """

    def __init__(self, window: Sequence[int], overlap: float = 0.25, mode: str = "gaussian", batch_size: int = 1) -> None:
        """Keep the settings."""
        super().__init__()
        self.window, self.overlap, self.mode, self.batch_size = tuple(window), overlap, mode, batch_size

    def __call__(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> Any:
        """Infer ``(batch, channel, i, j, k)`` window by window."""
        window = [min(edge, size) for edge, size in zip(self.window, inputs.shape[2:], strict=True)]
        return SlidingWindowInferer(window, self.batch_size, self.overlap, self.mode)(inputs, network, *args, **kwargs)
