"""Which patch made the loss NaN or infinite."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

ALL = 8  # patches named where none can be told from the others


def describe_bad_loss(batch: Any, output: Mapping[str, Any], loss_function: Callable[[Tensor, Tensor], Tensor] | None) -> str:
    """Say which patch of a batch is at fault, and what to do.

    Args:
        batch: collated; of ``"subject"`` and ``"patch"`` (number over the whole training) what it has.
        output: of the trainer: ``"image"``, ``"label"`` and ``"pred"``, each (batch, channel, i, j, k).
        loss_function: takes prediction and label.
    """
    image = output.get("image")
    if image is None:
        return "lower learning_rate, or try precision float32"
    names = _names(batch, len(image))
    spoiled = {n: int((~torch.isfinite(one)).sum()) for n, one in enumerate(image) if not torch.isfinite(one).all()}
    if spoiled:
        told = "; ".join(f"{names[n]} holds {count} values that are not finite" for n, count in spoiled.items())
        return f"{told}. Look at that scan (monai_tl check), and at the transforms that it goes through"
    guilty = [n for n in range(len(image)) if not _is_finite(output, n, loss_function)]
    if 0 < len(guilty) < len(image):
        told = "; ".join(f"{names[n]} has such a loss, from an image of {_range(image[n])}" for n in guilty)
        return f"{told}. Look at that scan (monai_tl check), lower learning_rate, or try precision float32"
    told = ", ".join(names[:ALL]) + (f" and {len(names) - ALL} more" if len(names) > ALL else "")
    return f"{told}, their images all finite ({_range(image)}): lower learning_rate, or try precision float32"


def _names(batch: Any, count: int) -> list[str]:
    known = batch if isinstance(batch, Mapping) else {}
    names = []
    for n in range(count):
        number = f", number {int(known['patch'][n])} of the training" if "patch" in known else ""
        subject = f" of subject {known['subject'][n]}" if "subject" in known else ""
        names.append(f"patch {n + 1} of {count} in the batch{number}{subject}")
    return names


def _is_finite(output: Mapping[str, Any], n: int, loss_function: Callable[[Tensor, Tensor], Tensor] | None) -> bool:
    """Whether a patch's own prediction and loss are finite."""
    prediction, label = output.get("pred"), output.get("label")
    if prediction is None or not torch.isfinite(prediction[n]).all():
        return False
    if loss_function is None or label is None:
        return True
    with torch.no_grad():
        return math.isfinite(float(loss_function(prediction[n : n + 1], label[n : n + 1])))


def _range(image: Tensor) -> str:
    return f"values {float(image.min()):.4g} to {float(image.max()):.4g}"
