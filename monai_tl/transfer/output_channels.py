"""Adapt a head to other output channels, matched by the name of their region.

Logits of a softmax count only in relation to each other, the background's included; a sigmoid's logit counts by itself. So a
channel has the same meaning in another network only if both have a softmax or both a sigmoid, and only together with a region
that both have: a background alone is transferred to no other task.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from monai_tl.datasets.regions import BACKGROUND, is_softmax


def adapt_outputs(
    weight: Tensor, initial: Tensor, source: Sequence[str], target: Sequence[str], axes: Sequence[int] = (0,)
) -> Tensor:
    """Return a head's weight for other output channels, which are matched by name, never by position.

    Args:
        weight: of the source's head, with ``len(source)`` entries along each of ``axes``.
        initial: of the target's head before the transfer, with ``len(target)`` entries there.
        source: class of each output channel of ``weight``.
        target: class of each output channel of the result.
        axes: the axes that count classes: 0 in a convolution, 1 in a transposed one, both where classes are mixed.

    Returns:
        Shape, type and device of ``initial``: the source's values where it has the classes of all axes, else the initial ones.
        Where classes are mixed, a new class starts without influence on those of the source.

    Example:
        >>> import torch
        >>> from monai_tl.transfer.output_channels import adapt_outputs
        >>> bias = torch.tensor([0.0, 1.0, 2.0])
        >>> adapt_outputs(bias, torch.full([3], 9.0), ["background", "left", "right"], ["background", "right", "core"])
        tensor([0., 2., 9.])
    """
    shared = [name for name in target if name in source]
    to, taken = ([names.index(name) for name in shared] for names in (list(target), list(source)))
    places, values = [torch.arange(length) for length in initial.shape], weight
    for axis in axes:
        places[axis] = torch.tensor(to)
        values = values.index_select(axis, torch.tensor(taken))
    adapted = initial.clone()
    if tuple(axes) == (0, 1):
        new = [index for index, name in enumerate(target) if name not in source]
        adapted[torch.meshgrid(torch.tensor(to), torch.tensor(new, dtype=torch.long), indexing="ij")] = 0.0
    adapted[torch.meshgrid(*places, indexing="ij")] = values.to(initial)
    return adapted


def why_no_output(source: Sequence[str], target: Sequence[str]) -> str:
    """Return why no output channel of a source can be matched by name; empty if some can.

    Args:
        source, target: classes, the background first if they exclude each other.
    """
    if is_softmax(source) != is_softmax(target):
        words = {True: "exclude each other (softmax)", False: "have a sigmoid each"}
        return (
            f"the source's regions {words[is_softmax(source)]} and the target's {words[is_softmax(target)]}, so their logits "
            "differ in meaning"
        )
    shared = set(source) & set(target) - {BACKGROUND}
    return "" if shared else f"the source has none of the target's regions ({', '.join(_regions(target))})"


def by_position(source: Sequence[str], target: Sequence[str]) -> bool:
    """Return whether a head that is kept although it shares no region keeps its channels by position, as when it is scored."""
    shared = set(source) & set(target) - {BACKGROUND}
    return not shared and len(source) == len(target) and is_softmax(source) == is_softmax(target)


def describe_outputs(source: Sequence[str], target: Sequence[str]) -> dict[str, str]:
    """Return for each target class the origin of its output channel, and for each class of the source that is dropped a note.

    Example:
        >>> from monai_tl.transfer.output_channels import describe_outputs
        >>> describe_outputs(["background", "left"], ["background", "left", "right"])["right"]
        'newly initialised: the source has no such region'
        >>> describe_outputs(["background", "hippocampus"], ["background", "tumour core"])["tumour core"]
        'weights of source hippocampus, by position'
    """
    if by_position(source, target):
        return {new: f"weights of source {old}, by position" for old, new in zip(source, target, strict=True)}
    new = "newly initialised: the source has no such region"
    origins = {name: f"weights of source {name}" if name in source else new for name in target}
    return origins | {name: "dropped: the target has no such region" for name in source if name not in target}


def _regions(classes: Sequence[str]) -> Sequence[str]:
    return classes[1:] if is_softmax(classes) else classes
