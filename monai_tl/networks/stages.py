"""A network's ordered stages: their names, parameters, and costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor, nn

from monai_tl.errors import TransferError
from monai_tl.networks.known import stage_rule
from monai_tl.networks.stage_costs import multiply_adds
from monai_tl.networks.stage_map import StageMap

Part = TypeVar("Part")


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
    """Multiply-adds of the stage per voxel of the image; None if the network takes no cube to count them on."""


def stages(network: nn.Module) -> StageMap:
    """Return a network's stages in the order in which data flows, the head last.

    They are the network's attribute ``stage_map`` if it has one, the stages of known networks (`KNOWN_NETWORKS`), or the
    children of a ``Sequential`` whose children have names.

    Raises:
        TransferError: if the network declares no stages, if a weight belongs to none, or if a stage has no weights.

    Example:
        >>> from monai.networks.nets import SegResNet
        >>> from monai_tl import HighRes3DNet, stages
        >>> list(stages(HighRes3DNet(in_channels=1, out_channels=2)))
        ['conv_0', 'res_1', 'res_2', 'res_3', 'conv_1', 'conv_2']
        >>> stages(SegResNet(in_channels=1, out_channels=2)).prefixes["enc_0"]
        ('convInit', 'down_layers.0')
    """
    found = _declared(network)
    owners = _owners(network, found)
    lost = [names[0] for names, stage in owners if stage is None]
    if lost:
        raise TransferError(
            f"{type(network).__name__} has {len(lost)} weights outside its stages {', '.join(found)}: {', '.join(lost[:3])}"
        )
    empty = [name for name in found if name not in {stage for _, stage in owners}]
    if empty:
        raise TransferError(
            f"{type(network).__name__} has no weights in {', '.join(empty)}: give each stage weights of its own"
        )
    return found


def stage_weights(network: nn.Module) -> dict[str, tuple[str, ...]]:
    """Return the names of each stage's weights and buffers, as in ``state_dict()``.

    A tensor with several names, such as those of a module that is registered twice, has one name here: the first that belongs
    to a stage. `shared_names` returns the others.
    """
    found = stages(network)
    members: dict[str, list[str]] = {name: [] for name in found}
    for names, stage in _owners(network, found):
        assert stage is not None  # `stages` has checked it
        members[stage].append(_own_name(names, found))
    return {name: tuple(own) for name, own in members.items()}


def shared_names(network: nn.Module) -> dict[str, str]:
    """Return further names of weights that have several in ``state_dict()`` -> the name that `stage_weights` lists.

    nnU-Net's networks list each weight of the encoder under four names, and MONAI's ``DynUNet`` under two. ``load_state_dict``
    loads them one after the other, so the last one counts.
    """
    found = stages(network)
    return {
        name: _own_name(names, found)
        for names, _ in _owners(network, found)
        for name in names
        if name != _own_name(names, found)
    }


def parts_of_stages(named: Iterable[tuple[str, Part]], found: StageMap, chosen: Sequence[str]) -> dict[str, Part]:
    """Return the weights, buffers or modules of some stages by name, each once although it may have several names.

    Args:
        named: of a network, e.g. ``network.named_parameters(remove_duplicate=False)``: with all names of shared ones.
        found: the network's stages.
        chosen: names of stages.
    """
    parts: dict[int, tuple[str, Part]] = {}
    for name, part in named:
        if found.stage_of(name) in chosen:
            parts.setdefault(id(part), (name, part))
    return dict(parts.values())


def _declared(network: nn.Module) -> StageMap:
    declared = getattr(network, "stage_map", None)
    if isinstance(declared, StageMap):
        return declared
    rule = stage_rule(type(network))
    if rule is not None:
        return rule(network)
    names = [name for name, _ in network.named_children()]
    if isinstance(network, nn.Sequential) and names and not any(name.isdecimal() for name in names):
        return StageMap({name: (name,) for name, child in network.named_children() if child.state_dict()})
    raise TransferError(
        f"{type(network).__name__} declares no stages: set `stages` to stage -> prefixes of weight names, the head last, or "
        "--stages auto, which takes the order in which its layers run"
    )


def _owners(network: nn.Module, found: StageMap) -> list[tuple[list[str], str | None]]:
    """Return for each tensor of the network all its names in ``state_dict()``, and its stage."""
    tensors: dict[str, Tensor] = dict(network.named_parameters(remove_duplicate=False))
    tensors |= dict(network.named_buffers(remove_duplicate=False))
    names: dict[int, list[str]] = {}
    for name in network.state_dict():
        names.setdefault(id(tensors[name]), []).append(name)
    return [(own, next(filter(None, map(found.stage_of, own)), None)) for own in names.values()]


def _own_name(names: Sequence[str], found: StageMap) -> str:
    return next(name for name in names if found.stage_of(name) is not None)


def stage_table(network: nn.Module) -> list[StageRow]:
    """Return each stage's parameters, the parameters trained if all stages before it are frozen, and its multiply-adds.

    All parameters are counted, whether or not they require a gradient. Multiply-adds: `monai_tl.networks.stage_costs`.

    Raises:
        TransferError: if the network has no stages.
    """
    found = stages(network)
    weights = [parts_of_stages(network.named_parameters(remove_duplicate=False), found, [name]).values() for name in found]
    parameters = [sum(weight.numel() for weight in own) for own in weights]
    try:
        costs, _edge = multiply_adds(network, found)
    except TransferError:
        costs = {}
    return [StageRow(k, name, parameters[k], sum(parameters[k:]), costs.get(name)) for k, name in enumerate(found)]


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


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"
