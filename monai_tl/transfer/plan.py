"""Plan, weight by weight, what is transferred from a source to a target, from names and shapes alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from monai_tl.networks.stage_names import chosen_fresh
from monai_tl.text import listed
from monai_tl.transfer.network_pair import Names, NetworkPair, Shapes, plan_obstacles, why_fresh_head
from monai_tl.transfer.obstacles import AskedStages, refuse_obstacles
from monai_tl.transfer.tensors import Weights


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
    target: nn.Module,
    *,
    fresh: Sequence[str] = (),
    source_channels: Sequence[str] | None = None,
    target_channels: Sequence[str] | None = None,
    source_classes: Sequence[str] | None = None,
    target_classes: Sequence[str] | None = None,
) -> TransferPlan:
    """Plan, weight by weight, what is transferred from a source to a target network.

    Nothing is loaded, so a plan can be printed, tested and stored with its run; the network may be on the meta device.

    Args:
        source: shape of each trained weight, ``(out, in, i, j, k)`` for a 3D convolution, or the weights themselves.
        target: network with the stages that `stages` lists. Image channels and classes can differ from the source's if its
            input kernels and output layers are known, as those of a network from `build_network` are.
        fresh: stages that keep their initial values, and groups of stages: ``("conv_2",)``, ``("decoder", "head")``.
        source_channels: modality of each image channel of the source; None if unknown.
        target_channels: modality of each image channel of the target; None if unknown.
        source_classes: class of each output channel of the source; None if unknown.
        target_classes: class of each output channel of the target; None if unknown.

    Raises:
        TransferError: if a stage in ``fresh`` does not exist (the existing ones are listed), if a weight outside ``fresh``
            has no counterpart, if the weights take another number of channels than is named, if no channel has a counterpart,
            or if nothing would be transferred; all reasons are listed.

    Example:
        >>> from monai_tl import HighRes3DNet, plan_transfer, read_source
        >>> network = HighRes3DNet(in_channels=4, out_channels=2)
        >>> source = read_source("runs/hippocampus", network.state_dict())
        >>> modalities = {"source_channels": ("T1", "T2"), "target_channels": ("T1", "T1ce", "T2", "FLAIR")}
        >>> plan = plan_transfer(source.weights, network, fresh=["conv_2"], **modalities)
        >>> plan.adapted
        {'conv_0.conv.weight': 'channels T1,T1ce,T2,FLAIR from T1,T2'}
        >>> len(plan.copied), plan.fresh
        (119, ('conv_2.conv.weight', 'conv_2.conv.bias'))
    """
    pair = NetworkPair.of({name: tuple(getattr(value, "shape", value)) for name, value in source.items()}, target)
    chosen = chosen_fresh(pair.stages, fresh)
    channels, classes = (source_channels, target_channels), _both(source_classes, target_classes)
    refuse_obstacles(plan_obstacles(pair, chosen, channels, classes), AskedStages(pair.stages, fresh=chosen))
    return plan_pair(pair, chosen, channels, classes)


def plan_pair(
    pair: NetworkPair,
    fresh: Sequence[str],
    channels: tuple[Sequence[str] | None, Sequence[str] | None],
    classes: Names | None,
) -> TransferPlan:
    """Plan a transfer that nothing prevents, see `plan_obstacles`, whose arguments these are."""
    wanted, modalities = pair.wanted(fresh), _both(*channels)
    adapted: dict[str, str] = {}
    if modalities and modalities[0] != modalities[1]:
        how = f"channels {','.join(modalities[1])} from {','.join(modalities[0])}"
        adapted |= {name: how for name in wanted if name in pair.ports.inputs}
    if classes and classes[0] != classes[1] and pair.head not in fresh and not why_fresh_head(pair, *classes):
        adapted |= dict.fromkeys(pair.outputs(*classes), _outputs_text(*classes))
    return TransferPlan(
        copied=tuple(name for name in wanted if name not in adapted),
        adapted=adapted,
        fresh=tuple(name for name in pair.target if pair.stages.stage_of(name) in fresh),
        unused=tuple(name for name in pair.source if pair.stages.stage_of(name) in fresh),
    )


def _both(source: Sequence[str] | None, target: Sequence[str] | None) -> Names | None:
    return (tuple(source), tuple(target)) if source and target else None


def _outputs_text(source: Sequence[str], target: Sequence[str]) -> str:
    new = [name for name in target if name not in source]
    return f"outputs {','.join(target)} from {','.join(source)}" + (f"; {listed(new)} newly initialised" if new else "")
