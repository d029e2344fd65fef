"""Sliding-window inference that adapts to the image and to the available memory."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from monai.inferers import Inferer, SlidingWindowInferer
from torch import Tensor, nn

from monai_tl.errors import is_out_of_memory
from monai_tl.networks.input_sizes import InputSizes, input_sizes
from monai_tl.settings.table import refuse_settings

logger = logging.getLogger(__name__)

SMALLEST = 32  # voxels; in smaller windows, most voxels are near the border


class FittedSlidingWindow(Inferer):
    """MONAI's ``SlidingWindowInferer`` with a window no larger than the image, since MONAI would pad the image to it.

    Networks with strides take only some sizes, see `monai_tl.networks.input_sizes.input_sizes`. The window is the largest of
    these within the given one; an image that is smaller is padded to the next of these sizes by repeating its border, as in
    training (zeros are no background after a z-score), and the result is cropped.

    If memory runs out, the same windows are tried one at a time with the result kept on the CPU, then windows of half the
    edge, and so on. Each retry is logged, since smaller windows change the prediction.

    Args:
        window: largest window (i, j, k) in voxels.
        overlap: share of a window that neighbouring windows overlap, at least 0 and below 1.
        mode: weights for blending overlapping windows, ``gaussian`` or ``constant``.
        batch_size: windows per forward pass.

    Raises:
        ConfigError: for a window or overlap out of range; when called, if the network takes no window that was tried.

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
            RuntimeError: if memory runs out even with the smallest windows.
        """
        before = None
        for window, inferer in self._plans(inputs, self._sizes(inputs, network)):
            if before:
                logger.warning("out of memory with sliding windows of %s voxels: trying %s", before, "×".join(map(str, window)))
            try:
                return inferer(inputs, network, *args, **kwargs)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                failure = error.with_traceback(None)  # the traceback's frames would keep the memory allocated
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            before = "×".join(map(str, window))
        raise failure

    def _sizes(self, inputs: Tensor, network: Any) -> InputSizes:
        """Return the sizes of windows that the network takes; any, if it is a function of unknown content."""
        module = inspect.unwrap(network)
        return input_sizes(module, inputs.shape[1], self.window) if isinstance(module, nn.Module) else InputSizes()

    def _plans(self, inputs: Tensor, sizes: InputSizes) -> Iterator[tuple[list[int], SlidingWindowInferer]]:
        """Yield windows and inferers to try, from the requested window to the smallest."""
        image = sizes.around(inputs.shape[2:])
        window = [min(edge, most) for edge, most in zip(sizes.within(self.window), image, strict=True)]
        yield window, self._inferer(window, self.batch_size)
        if inputs.device.type != "cpu":
            yield window, self._inferer(window, 1, device="cpu")
        while max(window) > SMALLEST:
            smaller = sizes.within([min(edge, max(edge // 2, SMALLEST)) for edge in window])
            if smaller == window:
                return
            window = smaller
            yield window, self._inferer(window, 1, device="cpu")

    def _inferer(self, window: Sequence[int], batch_size: int, device: str | None = None) -> SlidingWindowInferer:
        return SlidingWindowInferer(window, batch_size, self.overlap, self.mode, padding_mode="replicate", device=device)
