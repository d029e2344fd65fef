"""Fit one tensor to another shape: a first convolution to other image channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from monai_tl.errors import TransferError
from monai_tl.settings.table import refuse_settings


def adapt_channels(kernel: Tensor, source: Sequence[str], target: Sequence[str], new: str = "zero") -> Tensor:
    """Give a first convolution's kernel for other image channels; a channel is known by its name, never by its position.

    Args:
        kernel: ``(out, len(source), i, j, k)``.
        source: the modality of each channel of ``kernel``.
        target: the modality of each channel wanted.
        new: ``zero`` (and ``frozen``, which differs in training only): known channels keep their kernels, new ones are 0, so
            the response stays what it was. ``mean``: new ones start at the mean of the known, then all are scaled by known/all,
            so that the response keeps its size.

    Returns:
        ``(out, len(target), i, j, k)``, same type and device.

    Raises:
        TransferError: if no channel is known.
        ConfigError: if ``new`` is not one of the above.
    """
    refuse_settings(new_channels=new)
    known = [name for name in target if name in source]
    if not known:
        raise TransferError(
            f"no image channel is known: the source has {', '.join(source)}, the target {', '.join(target)}; call the same "
            "modality by the same name, or start the first stage anew with --fresh"
        )
    start = torch.zeros_like(kernel[:, 0])
    if new == "mean":
        start = kernel[:, [source.index(name) for name in known]].mean(dim=1)
    scale = len(known) / len(target) if new == "mean" else 1.0
    channels = [kernel[:, source.index(name)] if name in source else start for name in target]
    return torch.stack(channels, dim=1) * scale


def describe_channels(source: Sequence[str], target: Sequence[str], new: str = "zero") -> dict[str, str]:
    """Say for each target channel where its kernels come from, and for each source channel if it is dropped."""
    known = [name for name in target if name in source]
    scaled = f", scaled by {len(known)}/{len(target)}" if new == "mean" and len(known) < len(target) else ""
    start = f"mean of {','.join(known)}{scaled}" if new == "mean" else "zero"
    told = {name: f"kernels of source {name}{scaled}" if name in source else f"new: starts at {start}" for name in target}
    return told | {name: "dropped: the target has no such channel" for name in source if name not in target}
