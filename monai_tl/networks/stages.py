"""A network's ordered stages: their names, parameters, and costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.conv import _ConvNd

from monai_tl.errors import TransferError, did_you_mean


@dataclass(frozen=True)
class StageRow:
    """One row of the table: a stage, and the parameters that are trained if all stages *before* it are frozen.

    Row k belongs to ``freeze=k``. For example, ``freeze=2`` is the row of ``res_2``, which is then the first trained stage.
    """

    freeze: int
    stage: str
    parameters: int
    trainable: int
    multiply_adds: int | None
    """Multiply-adds of the stage's convolutions per voxel; None in a network that changes its resolution."""


def stages(network: nn.Module) -> dict[str, nn.Module]:
    """Return a network's stages, which are its direct children, in the order in which data flows, the head last.

    Any ``nn.Module`` can be used. If its children are declared in another order, set its attribute ``stage_names`` to the names
    in the order of the data flow.

    Raises:
        TransferError: if the children have no names (a plain ``Sequential`` numbers them), if ``stage_names`` contains a
            child that does not exist, or if a weight belongs to no stage.

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
            raise TransferError(f"{kind} has no stage '{name}', which stage_names contains: {did_you_mean(name, children)}")
    for weight in network.state_dict():
        if weight.split(".")[0] not in names:
            raise TransferError(f"{kind} has a weight '{weight}' outside its stages {', '.join(names)}")
    return {name: children[name] for name in names}


def stage_table(network: nn.Module) -> list[StageRow]:
    """Return each stage's parameters, the parameters trained if all stages before it are frozen, and its multiply-adds.

    All parameters are counted, whether or not they require a gradient. Multiply-adds are those of convolutions.

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
    """Return the table as text, one line per stage and a line of totals."""
    costs = [row.multiply_adds for row in rows]
    known = [cost for cost in costs if cost is not None]
    lines = [("stage", "parameters", "multiply-adds/voxel", "freeze", "frozen", "trainable")]
    for row in rows:
        frozen = f"up to {rows[row.freeze - 1].stage}" if row.freeze else "nothing"
        numbers = f"{row.parameters:,}", _count(row.multiply_adds), str(row.freeze), frozen, f"{row.trainable:,}"
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
    """Return whether all convolutions and pooling layers have stride 1."""
    strides = [module.stride for module in network.modules() if hasattr(module, "stride")]
    return all(set(stride if isinstance(stride, tuple) else (stride,)) == {1} for stride in strides)


def _multiply_adds(stage: nn.Module) -> int:
    # at stride 1 each weight of a convolution is used once per voxel
    return sum(module.weight.numel() for module in stage.modules() if isinstance(module, _ConvNd))


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"
