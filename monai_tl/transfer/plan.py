"""Plan, weight by weight, what is transferred from a source to a target, from names and shapes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monai_tl.errors import TransferError
from monai_tl.networks.stage_names import refuse_unknown_stages
from monai_tl.transfer.tensors import Weights, name_first

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class TransferPlan:
    """The fate of every target weight: each is copied, adapted or fresh; printed, it is one line for each weight.

    Attributes:
        copied: weights taken from the source unchanged.
        adapted: name -> how it is adapted, e.g. ``"channels T1,T2 from T1"``.
        fresh: weights that keep their initial values.
        unused: source weights of fresh stages, which are not transferred.

    Example:
        >>> from monai_tl import TransferPlan
        >>> print(TransferPlan(("body.weight",), {"first.weight": "channels T1,T2 from T1"}, ("head.weight",), ()))
        copied   body.weight
        adapted  first.weight: channels T1,T2 from T1
        fresh    head.weight
    """

    copied: tuple[str, ...]
    adapted: dict[str, str]
    fresh: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        """Return one line for each weight with its fate."""
        lines = [f"copied   {name}" for name in self.copied]
        lines += [f"adapted  {name}: {how}" for name, how in self.adapted.items()]
        lines += [f"fresh    {name}" for name in self.fresh]
        return "\n".join([*lines, *(f"unused   {name} (of the source)" for name in self.unused)])


def plan_transfer(
    source: Shapes | Weights,
    target: Shapes | Weights,
    *,
    fresh: Sequence[str] = (),
    source_channels: Sequence[str] | None = None,
    target_channels: Sequence[str] | None = None,
) -> TransferPlan:
    """Plan, weight by weight, what is transferred from a source to a target network.

    Nothing is loaded, so a plan can be printed, tested and stored with its run.

    Args:
        source: shape of each trained weight, ``(out, in, i, j, k)`` for a 3D convolution, or the weights themselves.
        target: shape of each target weight, in the network's order, or the network's ``state_dict()``; each name begins
            with its stage.
        fresh: stages that keep their initial values, e.g. ``("conv_2",)``.
        source_channels: modality of each image channel of the source; None if unknown.
        target_channels: modality of each image channel of the target; None if unknown.

    Raises:
        TransferError: if a stage in ``fresh`` does not exist (the existing ones are listed), if a weight outside ``fresh``
            has no counterpart, if the weights take another number of channels than is named, or if nothing would be
            transferred.

    Example:
        >>> from monai_tl import HighRes3DNet, plan_transfer, read_source
        >>> network = HighRes3DNet(in_channels=4, out_channels=2)
        >>> source = read_source("runs/hippocampus", network.state_dict())
        >>> modalities = {"source_channels": ("T1", "T2"), "target_channels": ("T1", "T1ce", "T2", "FLAIR")}
        >>> plan = plan_transfer(source.weights, network.state_dict(), fresh=["conv_2"], **modalities)
        >>> plan.adapted
        {'conv_0.conv.weight': 'channels T1,T1ce,T2,FLAIR from T1,T2'}
        >>> len(plan.copied), plan.fresh
        (119, ('conv_2.conv.weight', 'conv_2.conv.bias'))
    """
    source, target = _shapes_of(source), _shapes_of(target)
    refuse_unknown_stages(fresh, list(dict.fromkeys(map(stage_of, target))))
    wanted = [name for name in target if stage_of(name) not in fresh]
    if not wanted:
        raise TransferError("nothing would be transferred: every stage is fresh; to train from scratch, use --scratch")
    _refuse_other_architecture(source, target, wanted, fresh)
    first = input_weight(target)
    _refuse_other_channels(first, target[first], target_channels, "the target network", "set in_channels to match")
    adapted = {}
    if first in wanted:
        _refuse_other_channels(first, source[first], source_channels, "the source", "correct its metadata.json")
        if source_channels and target_channels and tuple(source_channels) != tuple(target_channels):
            adapted[first] = f"channels {','.join(target_channels)} from {','.join(source_channels)}"
    _refuse_other_shapes(source, target, wanted, first, adapted, fresh)
    return TransferPlan(
        copied=tuple(name for name in wanted if name not in adapted),
        adapted=adapted,
        fresh=tuple(name for name in target if stage_of(name) in fresh),
        unused=tuple(name for name in source if stage_of(name) in fresh),
    )


def stage_of(weight: str) -> str:
    """Return the stage of a weight: ``"res_1.0.layers.1.conv.weight"`` -> ``"res_1"``."""
    return weight.split(".")[0]


def input_weight(shapes: Shapes) -> str:
    """Return the name of the weight that takes the image's channels: the network's first convolution kernel."""
    for name, shape in shapes.items():
        if len(shape) == 5:
            return name
    raise TransferError("the target network has no 3D convolution")


def _shapes_of(weights: Shapes | Weights) -> Shapes:
    return {name: tuple(getattr(value, "shape", value)) for name, value in weights.items()}


def _refuse_other_architecture(source: Shapes, target: Shapes, wanted: Sequence[str], fresh: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in source]
    surplus = [name for name in source if name not in target and stage_of(name) not in fresh]
    if len(missing) == len(wanted):
        raise TransferError(
            f"the source has another architecture: it has none of the target's {len(wanted)} weights. "
            f"The target needs {name_first(wanted)}; the source has {name_first(list(source))}"
        )
    if missing:
        raise TransferError(
            f"{len(missing)} of {len(wanted)} weights have no counterpart in the source: {name_first(missing)}. "
            f"Newly initialise their stages ({_fresh_flag(missing, fresh)}) or use another source"
        )
    if surplus:
        in_target = {stage_of(name) for name in surplus} <= {stage_of(name) for name in target}
        remedy = f", or newly initialise their stages ({_fresh_flag(surplus, fresh)})" if in_target else ""
        raise TransferError(
            f"the source has {len(surplus)} weights that the target lacks: {name_first(surplus)}; it was trained with another "
            f"network. Use the source's network for the target{remedy}"
        )


def _refuse_other_channels(name: str, shape: tuple[int, ...], channels: Sequence[str] | None, whose: str, remedy: str) -> None:
    if channels and (len(shape) != 5 or shape[1] != len(channels)):
        raise TransferError(
            f"'{name}' of {whose} has shape {tuple(shape)}, which does not fit its {len(channels)} image channels "
            f"({', '.join(channels)}); {remedy}"
        )


def _refuse_other_shapes(
    source: Shapes, target: Shapes, names: Sequence[str], first: str, adapted: Mapping[str, str], fresh: Sequence[str]
) -> None:
    for name in names:
        ours, theirs = tuple(source[name]), tuple(target[name])
        if ours == theirs or (name in adapted and ours[:1] + ours[2:] == theirs[:1] + theirs[2:]):
            continue
        hint = f"newly initialise its stage with {_fresh_flag([name], fresh)}"
        if name == first and name not in adapted and ours[1:2] != theirs[1:2]:
            hint = "the names of its image channels are unknown: put the source's metadata.json next to it, or " + hint
        raise TransferError(f"'{name}' has shape {ours} in the source and {theirs} in the target; {hint}")


def _fresh_flag(weights: Sequence[str], fresh: Sequence[str]) -> str:
    return f"--fresh {','.join(dict.fromkeys([*fresh, *map(stage_of, weights)]))}"
