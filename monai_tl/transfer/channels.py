"""Adapt a first convolution to other image channels, matched by modality name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from monai_tl.errors import TransferError
from monai_tl.settings.table import refuse_settings


def adapt_channels(kernel: Tensor, source: Sequence[str], target: Sequence[str], new: str = "zero") -> Tensor:
    """Return an input kernel for other image channels, which are matched by name, never by position.

    Args:
        kernel: ``(out, len(source), i, j, k)``.
        source: the modality of each channel of ``kernel``.
        target: the modality of each channel of the result.
        new: how channels that the source lacks are initialised. ``zero`` (and ``frozen``, which differs only in training):
            known channels keep their kernels and new ones are 0, so the response is unchanged. ``mean``: new ones are the
            mean of the known ones, then all are multiplied by known/all, so that the response keeps its magnitude.

    Returns:
        ``(out, len(target), i, j, k)``, same type and device.

    Raises:
        TransferError: if source and target share no channel.
        ConfigError: if ``new`` is not one of the above.
    """
    refuse_settings(new_channels=new)
    known = [name for name in target if name in source]
    if not known:
        raise TransferError(
            f"source and target share no image channel: the source has {', '.join(source)}, the target {', '.join(target)}; "
            "rename one (--rename SOURCE=TARGET), or newly initialise the first stage with --fresh"
        )
    start = torch.zeros_like(kernel[:, 0])
    if new == "mean":
        start = kernel[:, [source.index(name) for name in known]].mean(dim=1)
    scale = len(known) / len(target) if new == "mean" else 1.0
    channels = [kernel[:, source.index(name)] if name in source else start for name in target]
    return torch.stack(channels, dim=1) * scale


def describe_channels(
    source: Sequence[str], target: Sequence[str], new: str = "zero", own: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return for each target channel the origin of its kernels, and for each source channel that is dropped a note.

    Args:
        source, target, new: as in `adapt_channels`.
        own: name in ``source`` -> the source's own name, where they differ.
    """
    own = own or {}
    known = [name for name in target if name in source]
    scaled = f", scaled by {len(known)}/{len(target)}" if new == "mean" and len(known) < len(target) else ""
    start = f"mean of {','.join(known)}{scaled}" if new == "mean" else "zero"
    origins = {
        name: f"kernels of source {own.get(name, name)}{scaled}" if name in source else f"new: starts at {start}"
        for name in target
    }
    return origins | {name: "dropped: the target has no such channel" for name in source if name not in target}
