"""A network's ordered stages: what they are called, what freezing the first of them leaves, what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.conv import _ConvNd

from monai_tl.errors import TransferError, did_you_mean


@dataclass(frozen=True)
class StageRow:
    """One line of the table: a stage, and what is left to train when all stages *before* it are frozen.

    Row k belongs to ``freeze=k``, so ``freeze=2`` is the row of ``res_2``, the first stage that is trained then.
    """

    freeze: int
    stage: str
    parameters: int
    trainable: int
    multiply_adds: int | None
    """Multiply-adds of the stage's convolutions per voxel; None in a network that changes its resolution."""


def stages(network: nn.Module) -> dict[str, nn.Module]:
    """Return a network's stages in the order in which data flows: the direct children that hold its weights, the head last.

    Any ``nn.Module`` will do; one whose children are not declared in that order names it in an attribute ``stage_names``.

    Raises:
        TransferError: if the children have no names (a bare ``Sequential`` numbers them), if ``stage_names`` names a
            child that does not exist, or if weights lie outside all stages, where no account would find them.

    Example:
        >>> from monai.networks.nets import SegResNet
        >>> from monai_tl import HighRes3DNet, stages
        >>> list(stages(HighRes3DNet(in_channels=1, out_channels=2)))
        ['conv_0', 'res_1', 'res_2', 'res_3', 'conv_1', 'conv_2']
        >>> network = SegResNet(in_channels=1, out_channels=2)
        >>> network.stage_names = ("convInit", "down_layers", "up_samples", "up_layers", "conv_final")
        >>> list(stages(network))[-1]
        'conv_final'
    """
    kind = type(network).__name__
    children = dict(network.named_children())
    names = tuple(getattr(network, "stage_names", children))
    if not names or any(name.isdecimal() for name in names):
        raise TransferError(f"{kind} has no named stages; build it as an ordered container of named modules")
    for name in names:
        if name not in children:
            raise TransferError(f"{kind} declares a stage '{name}' that it does not have: {did_you_mean(name, children)}")
    for weight in network.state_dict():
        if weight.split(".")[0] not in names:
            raise TransferError(f"{kind} has a weight '{weight}' outside its stages {', '.join(names)}")
    return {name: children[name] for name in names}


def stage_table(network: nn.Module) -> list[StageRow]:
    """Count each stage's parameters, those left to train when freezing stops before it, and its multiply-adds.

    Every parameter counts, whether or not it requires a gradient at the moment; normalisation adds no multiply-adds.

    Raises:
        TransferError: if the network has no named stages.
    """
    named = stages(network)
    parameters = [sum(weight.numel() for weight in stage.parameters()) for stage in named.values()]
    one_resolution = _has_one_resolution(network)
    return [
        StageRow(k, name, parameters[k], sum(parameters[k:]), _multiply_adds(stage) if one_resolution else None)
        for k, (name, stage) in enumerate(named.items())
    ]


def format_stage_table(rows: Sequence[StageRow]) -> str:
    """Lay the table out as text, a line a stage and a line of totals."""
    costs = [row.multiply_adds for row in rows]
    known = [cost for cost in costs if cost is not None]
    lines = [("stage", "parameters", "multiply-adds/voxel", "freeze", "held still", "trainable")]
    for row in rows:
        held = f"up to {rows[row.freeze - 1].stage}" if row.freeze else "nothing"
        numbers = f"{row.parameters:,}", _count(row.multiply_adds), str(row.freeze), held, f"{row.trainable:,}"
        lines.append((row.stage, *numbers))
    cost = _count(sum(known) if len(known) == len(costs) else None)
    lines.append(("total", f"{sum(row.parameters for row in rows):,}", cost, "", "", ""))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = (
        f"{name:<{widths[0]}}  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        for name, *cells in lines
    )
    return "\n".join(line.rstrip() for line in text)


def _has_one_resolution(network: nn.Module) -> bool:
    """Tell whether nothing in the network, convolution or pooling, has a stride other than 1."""
    strides = [module.stride for module in network.modules() if hasattr(module, "stride")]
    return all(set(stride if isinstance(stride, tuple) else (stride,)) == {1} for stride in strides)


def _multiply_adds(stage: nn.Module) -> int:
    # at stride 1 each weight of a convolution is used once a voxel
    return sum(module.weight.numel() for module in stage.modules() if isinstance(module, _ConvNd))


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"
