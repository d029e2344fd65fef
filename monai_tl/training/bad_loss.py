"""Find the patch that made the loss NaN or infinite."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

ALL = 8  # patches that are named if none can be identified as the cause


def describe_bad_loss(batch: Any, output: Mapping[str, Any], loss_function: Callable[[Tensor, Tensor], Tensor] | None) -> str:
    """Return which patch of a batch made the loss NaN or infinite, and the remedy.

    Args:
        batch: collated; may hold ``"subject"`` and ``"patch"`` (the patch's number, counted over the whole training).
        output: the trainer's output: ``"image"``, ``"label"`` and ``"pred"``, each (batch, channel, i, j, k).
        loss_function: takes prediction and label.
    """
    image = output.get("image")
    if image is None:
        return "lower learning_rate, or try precision float32"
    names = _names(batch, len(image))
    spoiled = {n: int((~torch.isfinite(patch)).sum()) for n, patch in enumerate(image) if not torch.isfinite(patch).all()}
    if spoiled:
        patches = "; ".join(f"{names[n]} holds {count} NaN or infinite values" for n, count in spoiled.items())
        return f"{patches}. Check that scan (monai_tl check) and the config's transforms"
    guilty = [n for n in range(len(image)) if not _is_finite(output, n, loss_function)]
    if 0 < len(guilty) < len(image):
        patches = "; ".join(f"{names[n]} has such a loss, with image {_range(image[n])}" for n in guilty)
        return f"{patches}. Check that scan (monai_tl check), lower learning_rate, or try precision float32"
    patches = ", ".join(names[:ALL]) + (f" and {len(names) - ALL} more" if len(names) > ALL else "")
    return f"{patches}; all images are finite ({_range(image)}): lower learning_rate, or try precision float32"


def _names(batch: Any, count: int) -> list[str]:
    known = batch if isinstance(batch, Mapping) else {}
    names = []
    for n in range(count):
        number = f", number {int(known['patch'][n])} of the training" if "patch" in known else ""
        subject = f" of subject {known['subject'][n]}" if "subject" in known else ""
        names.append(f"patch {n + 1} of {count} in the batch{number}{subject}")
    return names


def _is_finite(output: Mapping[str, Any], n: int, loss_function: Callable[[Tensor, Tensor], Tensor] | None) -> bool:
    """Return whether a patch's prediction and loss are finite."""
    prediction, label = output.get("pred"), output.get("label")
    if prediction is None or not torch.isfinite(prediction[n]).all():
        return False
    if loss_function is None or label is None:
        return True
    with torch.no_grad():
        return math.isfinite(float(loss_function(prediction[n : n + 1], label[n : n + 1])))


def _range(image: Tensor) -> str:
    return f"values {float(image.min()):.4g} to {float(image.max()):.4g}"
