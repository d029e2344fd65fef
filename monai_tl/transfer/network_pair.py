"""A source's and a target's weights by name and shape, and what prevents that the one becomes the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from monai_tl.datasets.modality_names import ANY_RENAME, rename_flag, rename_hint, suggest_rename
from monai_tl.errors import TransferError
from monai_tl.networks.ports import Ports, find_ports
from monai_tl.networks.stage_map import StageMap
from monai_tl.networks.stages import stage_weights, stages
from monai_tl.text import listed
from monai_tl.transfer.obstacles import Obstacle
from monai_tl.transfer.output_channels import by_position, why_no_output
from monai_tl.transfer.tensors import name_first

Shapes = Mapping[str, tuple[int, ...]]
Names = tuple[tuple[str, ...], tuple[str, ...]]  # of a source's channels and of a target's
NO_PORTS = Ports({}, {})


def shapes_of(network: nn.Module) -> Shapes:
    """Return the shape of each weight, in the order of the stages; a weight with several names has one here."""
    state = network.state_dict()
    return {name: tuple(state[name].shape) for names in stage_weights(network).values() for name in names}


@dataclass(frozen=True)
class NetworkPair:
    """Shapes of a source's weights and of a target's, in the order of the target's stages.

    Attributes:
        source, target: shape of each weight, by name.
        stages: of the target.
        ports: the target's weights that take image channels, and those that return classes.
        no_ports: why ``ports`` are unknown; empty if they are known.
    """

    source: Shapes
    target: Shapes
    stages: StageMap
    ports: Ports = field(default=NO_PORTS)
    no_ports: str = ""

    @classmethod
    def of(cls, source: Shapes, network: nn.Module) -> NetworkPair:
        """Return the pair of a source and a target network."""
        try:
            ports, why = find_ports(network), ""
        except TransferError as error:
            ports, why = NO_PORTS, str(error)
        return cls(source, shapes_of(network), stages(network), ports, why)

    @property
    def head(self) -> str:
        """The last stage."""
        return self.stages.head

    @property
    def of_head(self) -> list[str]:
        """The target's weights in the last stage."""
        return [name for name in self.target if self.stages.stage_of(name) == self.head]

    def stages_of(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the stages of weights, in order."""
        found = {self.stages.stage_of(name) for name in names}
        return tuple(stage for stage in self.stages if stage in found)

    def wanted(self, fresh: Sequence[str]) -> list[str]:
        """Return the target's weights that come from the source."""
        return [name for name in self.target if self.stages.stage_of(name) not in fresh]

    def outputs(self, source: Sequence[str], target: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """Return the weights of the head with the axes that count classes; none if the heads differ in more than classes."""
        ours = {name: shape for name, shape in self.source.items() if self.stages.stage_of(name) == self.head}
        theirs = {name: self.target[name] for name in self.of_head}
        ports = dict(self.ports.outputs)
        in_head = bool(ports) and ports.keys() <= theirs.keys() and not ports.keys() & self.ports.inputs.keys()
        if not in_head or ours.keys() != theirs.keys():
            return {}
        fits = all(_without(ours[name], ports.get(name, ())) == _without(theirs[name], ports.get(name, ())) for name in theirs)
        counts = all(
            (ours[name][axis], theirs[name][axis]) == (len(source), len(target))
            for name, axes in ports.items()
            for axis in axes
        )
        return ports if fits and counts else {}


def _without(shape: tuple[int, ...], axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(length for axis, length in enumerate(shape) if axis not in axes)


def why_fresh_head(pair: NetworkPair, source: Sequence[str], target: Sequence[str]) -> str:
    """Return why a head cannot be matched with other classes by name; empty if it can, or if the classes are the same.

    Args:
        pair: the two networks.
        source, target: their classes.
    """
    if tuple(source) == tuple(target):
        return ""
    return why_no_output(source, target) or ("" if pair.outputs(source, target) else "its weights differ in more than classes")


def plan_obstacles(
    pair: NetworkPair,
    fresh: Sequence[str],
    channels: tuple[Sequence[str] | None, Sequence[str] | None] = (None, None),
    classes: Names | None = None,
) -> Iterator[Obstacle]:
    """Yield what prevents a transfer between two networks.

    Args:
        pair: the two networks.
        fresh: the target's stages that take nothing from the source.
        channels: modalities of the source and of the target; None where unknown.
        classes: of source and target; None if unknown.
    """
    wanted = pair.wanted(fresh)
    if not wanted:
        yield Obstacle("nothing would be transferred: every stage is fresh", "to train from scratch, use --scratch")
        return
    common = [name for name in wanted if name in pair.source]
    if not common:
        yield Obstacle(
            f"the source has another architecture: it has none of the target's {len(wanted)} weights. The target needs "
            f"{name_first(wanted)}; the source has {name_first(list(pair.source))}",
            "use a source with the target's network",
        )
        return
    yield from _unpaired(pair, wanted, fresh)
    inputs = [name for name in pair.ports.inputs if name in common]
    wrong = list(_other_numbers(pair, channels, inputs))
    yield from wrong
    adapted: dict[str, tuple[int, ...]] = {}
    if channels[0] and channels[1] and tuple(channels[0]) != tuple(channels[1]):
        adapted = {name: pair.ports.inputs[name] for name in inputs}
        yield from _no_channel(pair, channels[0], channels[1], inputs)
        if pair.no_ports:
            yield Obstacle(f"modalities: source [{', '.join(channels[0])}], target [{', '.join(channels[1])}]; {pair.no_ports}")
    if classes is not None and classes[0] != classes[1] and pair.head not in fresh and not by_position(*classes):
        reason = why_fresh_head(pair, *classes)
        adapted |= pair.outputs(*classes)
        if reason:
            yield _no_output(pair, reason, *classes)
            common = [name for name in common if pair.stages.stage_of(name) != pair.head]
    if not wrong:
        yield from _other_shapes(pair, common, adapted)


def _unpaired(pair: NetworkPair, wanted: Sequence[str], fresh: Sequence[str]) -> Iterator[Obstacle]:
    missing = [name for name in wanted if name not in pair.source]
    surplus = [name for name in pair.source if name not in pair.target and pair.stages.stage_of(name) not in fresh]
    if missing:
        yield Obstacle(
            f"{len(missing)} of {len(wanted)} weights have no counterpart in the source: {name_first(missing)}",
            "use another source",
            fresh=pair.stages_of(missing),
            to_fresh="newly initialise their stages",
        )
    if surplus:
        stages = pair.stages_of(surplus)
        in_target = all(pair.stages.stage_of(name) for name in surplus)
        yield Obstacle(
            f"the source has {len(surplus)} weights that the target lacks: {name_first(surplus)}; it was trained with another "
            "network",
            "use the source's network for the target",
            fresh=stages if in_target else (),
            to_fresh="newly initialise their stages" if in_target else "",
        )


def _other_numbers(
    pair: NetworkPair, channels: tuple[Sequence[str] | None, Sequence[str] | None], read: Sequence[str]
) -> Iterator[Obstacle]:
    """Yield the first kernels that take another number of channels than is named; ``read`` are those that the source has."""
    sides = [(pair.target, list(pair.ports.inputs), channels[1], "the target network", "set in_channels to match")]
    sides += [(pair.source, list(read), channels[0], "the source", "correct its metadata.json")]
    for shapes, names, modalities, whose, remedy in sides:
        for name in names if modalities else ():
            axes = pair.ports.inputs[name]
            if any(axis >= len(shapes[name]) or shapes[name][axis] != len(modalities or ()) for axis in axes):
                yield Obstacle(
                    f"'{name}' of {whose} has shape {tuple(shapes[name])}, which does not fit its {len(modalities or ())} "
                    f"image channels ({', '.join(modalities or ())})",
                    remedy,
                )
                break


def _no_channel(pair: NetworkPair, source: Sequence[str], target: Sequence[str], inputs: Sequence[str]) -> Iterator[Obstacle]:
    """Yield that no modality has a counterpart by name."""
    if set(source) & set(target) or not inputs:
        return
    found, hint = suggest_rename(source, target), rename_hint(source, target)
    yield Obstacle(
        f"modalities: source [{', '.join(source)}], target [{', '.join(target)}], none in common",
        hint,
        flags=rename_flag(found) if found else ANY_RENAME if hint else "",
        fresh=pair.stages_of(inputs),
        to_fresh="newly initialise the first stage",
    )


def _no_output(pair: NetworkPair, reason: str, source: Sequence[str], target: Sequence[str]) -> Obstacle:
    return Obstacle(
        f"classes: source [{', '.join(source)}], target [{', '.join(target)}]: the head cannot be kept, as {reason}",
        fresh=(pair.head,),
        to_fresh="newly initialise it",
    )


def _other_shapes(pair: NetworkPair, common: Sequence[str], adapted: Mapping[str, Sequence[int]]) -> Iterator[Obstacle]:
    """Yield weights of another shape; in an adapted one, the channels or the classes may differ."""
    differ = [
        name
        for name in common
        if _without(pair.source[name], adapted.get(name, ())) != _without(pair.target[name], adapted.get(name, ()))
        or len(pair.source[name]) != len(pair.target[name])
    ]
    unnamed = [
        name
        for name in differ
        if name in pair.ports.inputs and name not in adapted and _differs_in(pair, name, pair.ports.inputs[name])
    ]
    if unnamed:
        yield Obstacle(
            _shapes_text(pair, unnamed[0]),
            "the names of its image channels are unknown: put the source's metadata.json next to it",
            fresh=pair.stages_of(unnamed),
            to_fresh="newly initialise its stage",
        )
    differ = [name for name in differ if name not in unnamed]
    if differ:
        stages = pair.stages_of(differ)
        more = f" (so do {len(differ) - 1} more weights of {listed(stages)})" if len(differ) > 1 else ""
        whose = "their stages" if len(stages) > 1 else "its stage"
        yield Obstacle(_shapes_text(pair, differ[0]) + more, fresh=stages, to_fresh=f"newly initialise {whose}")


def _differs_in(pair: NetworkPair, name: str, axes: Sequence[int]) -> bool:
    ours, theirs = pair.source[name], pair.target[name]
    return any(ours[axis : axis + 1] != theirs[axis : axis + 1] for axis in axes)


def _shapes_text(pair: NetworkPair, name: str) -> str:
    return f"'{name}' has shape {tuple(pair.source[name])} in the source and {tuple(pair.target[name])} in the target"
