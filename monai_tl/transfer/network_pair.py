"""A source's and a target's weights by name and shape, and what prevents that the one becomes the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from monai_tl.datasets.modality_names import ANY_RENAME, rename_flag, rename_hint, suggest_rename
from monai_tl.errors import TransferError
from monai_tl.text import listed
from monai_tl.transfer.obstacles import Obstacle
from monai_tl.transfer.output_channels import by_position, output_weights, why_no_output
from monai_tl.transfer.tensors import name_first

Shapes = Mapping[str, tuple[int, ...]]
Names = tuple[tuple[str, ...], tuple[str, ...]]  # of a source's channels and of a target's


def stage_of(weight: str) -> str:
    """Return the stage of a weight: ``"res_1.0.layers.1.conv.weight"`` -> ``"res_1"``."""
    return weight.split(".")[0]


def input_weight(shapes: Shapes) -> str:
    """Return the name of the weight that takes the image's channels: the network's first convolution kernel."""
    for name, shape in shapes.items():
        if len(shape) == 5:
            return name
    raise TransferError("the target network has no 3D convolution")


@dataclass(frozen=True)
class NetworkPair:
    """Shapes of a source's weights and of a target's, in the order of the target's stages.

    Attributes:
        source, target: shape of each weight, by name.
    """

    source: Shapes
    target: Shapes

    @property
    def stages(self) -> list[str]:
        """The target's stages that have weights, in order."""
        return list(dict.fromkeys(map(stage_of, self.target)))

    @property
    def first(self) -> str:
        """The weight that takes the image's channels."""
        return input_weight(self.target)

    @property
    def head(self) -> str:
        """The last stage."""
        return self.stages[-1]

    @property
    def of_head(self) -> list[str]:
        """The target's weights in the last stage."""
        return [name for name in self.target if stage_of(name) == self.head]

    def wanted(self, fresh: Sequence[str]) -> list[str]:
        """Return the target's weights that come from the source."""
        return [name for name in self.target if stage_of(name) not in fresh]

    def outputs(self, source: Sequence[str], target: Sequence[str]) -> tuple[str, ...]:
        """Return the head's weights whose first axis is the class; none if they differ in more than that, or in names."""
        ours, theirs = ({n: s for n, s in of.items() if stage_of(n) == self.head} for of in (self.source, self.target))
        names = output_weights(theirs, len(target))
        fits = ours.keys() == theirs.keys() and names == output_weights(ours, len(source)) and self.first not in names
        rest_fits = fits and all(ours[name][name in names :] == theirs[name][name in names :] for name in theirs)
        return names if rest_fits else ()


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
    first = pair.first
    common = [name for name in wanted if name in pair.source]
    if not common:
        yield Obstacle(
            f"the source has another architecture: it has none of the target's {len(wanted)} weights. The target needs "
            f"{name_first(wanted)}; the source has {name_first(list(pair.source))}",
            "use a source with the target's network",
        )
        return
    yield from _unpaired(pair, wanted, fresh)
    wrong = list(_other_numbers(pair, channels, read=first in common))
    yield from wrong
    adapted: tuple[str, ...] = ()
    if first in common and channels[0] and channels[1] and tuple(channels[0]) != tuple(channels[1]):
        adapted = (first,)
        yield from _no_channel(first, channels[0], channels[1])
    if classes is not None and classes[0] != classes[1] and pair.head not in fresh and not by_position(*classes):
        reason = why_fresh_head(pair, *classes)
        adapted += pair.outputs(*classes)
        if reason:
            yield _no_output(pair, reason, *classes)
            common = [name for name in common if stage_of(name) != pair.head]
    if not wrong:
        yield from _other_shapes(pair, common, adapted)


def _unpaired(pair: NetworkPair, wanted: Sequence[str], fresh: Sequence[str]) -> Iterator[Obstacle]:
    missing = [name for name in wanted if name not in pair.source]
    surplus = [name for name in pair.source if name not in pair.target and stage_of(name) not in fresh]
    if missing:
        yield Obstacle(
            f"{len(missing)} of {len(wanted)} weights have no counterpart in the source: {name_first(missing)}",
            "use another source",
            fresh=tuple(dict.fromkeys(map(stage_of, missing))),
            to_fresh="newly initialise their stages",
        )
    if surplus:
        stages = tuple(dict.fromkeys(map(stage_of, surplus)))
        in_target = set(stages) <= set(pair.stages)
        yield Obstacle(
            f"the source has {len(surplus)} weights that the target lacks: {name_first(surplus)}; it was trained with another "
            "network",
            "use the source's network for the target",
            fresh=stages if in_target else (),
            to_fresh="newly initialise their stages" if in_target else "",
        )


def _other_numbers(
    pair: NetworkPair, channels: tuple[Sequence[str] | None, Sequence[str] | None], *, read: bool
) -> Iterator[Obstacle]:
    """Yield first kernels that take another number of channels than is named."""
    name = pair.first
    sides = [(pair.target[name], channels[1], "the target network", "set in_channels to match")]
    sides += [(pair.source[name], channels[0], "the source", "correct its metadata.json")] if read else []
    for shape, names, whose, remedy in sides:
        if names and (len(shape) != 5 or shape[1] != len(names)):
            yield Obstacle(
                f"'{name}' of {whose} has shape {tuple(shape)}, which does not fit its {len(names)} image channels "
                f"({', '.join(names)})",
                remedy,
            )


def _no_channel(first: str, source: Sequence[str], target: Sequence[str]) -> Iterator[Obstacle]:
    """Yield that no modality has a counterpart by name."""
    if set(source) & set(target):
        return
    found, hint = suggest_rename(source, target), rename_hint(source, target)
    yield Obstacle(
        f"modalities: source [{', '.join(source)}], target [{', '.join(target)}], none in common",
        hint,
        flags=rename_flag(found) if found else ANY_RENAME if hint else "",
        fresh=(stage_of(first),),
        to_fresh="newly initialise the first stage",
    )


def _no_output(pair: NetworkPair, reason: str, source: Sequence[str], target: Sequence[str]) -> Obstacle:
    return Obstacle(
        f"classes: source [{', '.join(source)}], target [{', '.join(target)}]: the head cannot be kept, as {reason}",
        fresh=(pair.head,),
        to_fresh="newly initialise it",
    )


def _other_shapes(pair: NetworkPair, common: Sequence[str], adapted: Sequence[str]) -> Iterator[Obstacle]:
    """Yield weights of another shape; in an adapted one, the channels or the classes may differ."""
    first = pair.first
    differ = []
    for name in common:
        ours, theirs = list(pair.source[name]), list(pair.target[name])
        if name in adapted:
            axis = 1 if name == first else 0
            del ours[axis : axis + 1], theirs[axis : axis + 1]
        if ours != theirs:
            differ.append(name)
    if first in differ and first not in adapted and pair.source[first][1:2] != pair.target[first][1:2]:
        differ.remove(first)
        yield Obstacle(
            _shapes_text(pair, first),
            "the names of its image channels are unknown: put the source's metadata.json next to it",
            fresh=(stage_of(first),),
            to_fresh="newly initialise its stage",
        )
    if differ:
        stages = tuple(dict.fromkeys(map(stage_of, differ)))
        more = f" (so do {len(differ) - 1} more weights of {listed(stages)})" if len(differ) > 1 else ""
        whose = "their stages" if len(stages) > 1 else "its stage"
        yield Obstacle(_shapes_text(pair, differ[0]) + more, fresh=stages, to_fresh=f"newly initialise {whose}")


def _shapes_text(pair: NetworkPair, name: str) -> str:
    return f"'{name}' has shape {tuple(pair.source[name])} in the source and {tuple(pair.target[name])} in the target"
