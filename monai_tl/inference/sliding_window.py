"""Plan the windows of a prediction."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from monai.inferers import Inferer, SlidingWindowInferer
from torch import Tensor

from monai_tl.errors import is_out_of_memory
from monai_tl.settings.table import refuse_settings

logger = logging.getLogger(__name__)

SMALLEST = 32  # voxels; below, there is more border than window


class FittedSlidingWindow(Inferer):
    """MONAI's ``SlidingWindowInferer`` with a window no larger than the image, which MONAI would pad and compute in vain.

    Where memory runs out, the same windows are tried one at a time with the result outside the GPU, then windows of half
    the edge and so on; each step is said, since a prediction from smaller windows is not the same.

    Args:
        window: largest window (i, j, k) in voxels.
        overlap: of neighbouring windows, 0 to below 1.
        mode: how windows are blended, ``gaussian`` or ``constant``.
        batch_size: windows a step.

    Raises:
        ConfigError: for a window or overlap out of range.

    Example:
        >>> import torch
        >>> from monai_tl import FittedSlidingWindow, HighRes3DNet
        >>> inferer = FittedSlidingWindow((16, 16, 16))
        >>> network = HighRes3DNet(in_channels=1, out_channels=2).eval()
        >>> inferer(torch.randn(1, 1, 12, 20, 16), network).shape
        torch.Size([1, 2, 12, 20, 16])
    """

    def __init__(self, window: Sequence[int], overlap: float = 0.25, mode: str = "gaussian", batch_size: int = 1) -> None:
        """Keep the settings."""
        super().__init__()
        refuse_settings(inference_window=window, inference_overlap=overlap)
        self.window, self.overlap, self.mode, self.batch_size = tuple(window), overlap, mode, batch_size

    def __call__(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> Any:
        """Infer ``(batch, channel, i, j, k)`` window by window.

        Raises:
            RuntimeError: if the smallest plan runs out of memory too.
        """
        before = None
        for window, inferer in self._plans(inputs):
            if before:
                logger.warning("out of memory in windows of %s: trying %s", before, "×".join(map(str, window)))
            try:
                return inferer(inputs, network, *args, **kwargs)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                failure = error.with_traceback(None)  # whose frames hold the memory that is to be given back
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            before = "×".join(map(str, window))
        raise failure

    def _plans(self, inputs: Tensor) -> Iterator[tuple[list[int], SlidingWindowInferer]]:
        """Give what to try, from the plan asked for to the smallest."""
        window = [min(edge, size) for edge, size in zip(self.window, inputs.shape[2:], strict=True)]
        yield window, SlidingWindowInferer(window, self.batch_size, self.overlap, self.mode)
        if inputs.device.type != "cpu":
            yield window, SlidingWindowInferer(window, 1, self.overlap, self.mode, device="cpu")
        while max(window) > SMALLEST:
            window = [min(edge, max(edge // 2, SMALLEST)) for edge in window]
            yield window, SlidingWindowInferer(window, 1, self.overlap, self.mode, device="cpu")
