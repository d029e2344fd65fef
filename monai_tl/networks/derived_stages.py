"""Stages of a network that declares none: in the order in which its layers run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from monai_tl.errors import TransferError
from monai_tl.networks.ports import axes_that_differ
from monai_tl.networks.stage_map import StageMap
from monai_tl.networks.trial_pass import spatial_size, trial_pass

HEAD = "head"
FEWEST = 4  # blocks: with fewer, the largest one is taken apart


def derive_stages(network: nn.Module) -> StageMap:
    """Return stages from one forward pass of a network: each is a block of it, in the order in which its layers run.

    A block is a child of the network, or of a container in it. Blocks that take turns are one stage, since neither of them
    could be frozen alone. The head is every layer whose weights depend on the number of classes, or the last layer.

    Args:
        network: takes ``(batch, in_channels, i, j, k)``; it is unchanged. See `monai_tl.networks.trial_pass.trial_pass`.

    Raises:
        TransferError: if some weights never run or belong to no layer, or if there are no two stages.

    Example:
        >>> from monai.networks.nets import BasicUNet
        >>> from monai_tl.networks.derived_stages import derive_stages
        >>> derive_stages(BasicUNet(in_channels=1, features=(4, 4, 8, 8, 8, 4))).names[:3]
        ('conv_0', 'down_1', 'down_2')
    """
    run = _Run(network)
    trial_pass(network, run.begin, run.end, run.recording)
    layers = [name for name, _ in run.layers]
    last = _last_layers(network, layers)
    blocks = _blocks(network, run.first_names, last)
    head = _head_layers(layers, last, blocks)
    groups = _in_turn(_spans(blocks, [name if name not in head else "" for name in layers]))
    _refuse_idle(network, run.first_names, layers, [*head, *(name for group in groups for name in group)])
    if not groups:
        raise TransferError(f"{type(network).__name__} has no stages to freeze: all of its weights belong to its head")
    named = {_stage_name(group): tuple(group) for group in groups}
    if len(named) < len(groups) or HEAD in named:
        raise TransferError(f"{type(network).__name__}: names of its blocks differ only by dots: declare its stages")
    found = StageMap({**named, HEAD: tuple(head)})
    return StageMap(found.prefixes, decoder=_after_the_coarsest(found, run.layers))


class _Run:
    """The layers of a network, which have weights of their own, as they run."""

    def __init__(self, network: nn.Module) -> None:
        self.layers: list[tuple[str, int | None]] = []  # first name, positions of the output
        self.first_names: list[str] = []
        for name, module in network.named_modules():
            if _own_weights(module):
                self.first_names.append(name)

    @contextmanager
    def recording(self) -> Iterator[None]:
        self.layers.clear()
        yield

    def begin(self, names: list[str], module: nn.Module, output: Any) -> None:
        pass

    def end(self, names: list[str], module: nn.Module, output: Any) -> None:
        if names[0] and names[0] in self.first_names:
            self.layers.append((names[0], spatial_size(output)))


def _own_weights(module: nn.Module) -> list[str]:
    stored = [name for name, value in module._parameters.items() if value is not None]
    return stored + [
        name for name, value in module._buffers.items() if value is not None and name not in module._non_persistent_buffers_set
    ]


def _blocks(network: nn.Module, layers: Sequence[str], last: Sequence[str]) -> list[str]:
    """Return names of modules that together hold all layers, in no order: blocks that can be stages.

    Args:
        network: whose modules they are.
        layers: all layers.
        last: those of the head.
    """

    def parts(name: str) -> list[str]:
        """Return the parts of a block; none if it is a layer, or has weights of its own that its parts lack."""
        at = f"{name}." if name else ""
        children = [f"{at}{child}" for child in network.get_submodule(name)._modules]
        return [] if name and name in layers else [child for child in children if any(_is_in(layer, child) for layer in layers)]

    def is_container(name: str) -> bool:
        module = network.get_submodule(name)
        in_turn = type(module) is nn.Sequential and any(parts(child) for child in parts(name))
        return in_turn or isinstance(module, nn.ModuleList | nn.ModuleDict)

    def weights(name: str) -> int:
        return sum(weight.numel() for weight in network.get_submodule(name).parameters())

    blocks = [""]
    while True:
        coarse = [name for name in blocks if parts(name) and is_container(name)]
        whole = sum(not any(_is_in(name, block) for name in last) for block in blocks)  # blocks without a part of the head
        if not coarse and whole < FEWEST:
            # not into single layers, unless there is nothing else
            deep = [name for name in blocks if parts(name) and (not whole or any(parts(child) for child in parts(name)))]
            coarse = sorted(deep, key=weights)[-1:]
        if not coarse:
            return blocks
        blocks = [part for name in blocks for part in (parts(name) if name in coarse else [name])]


def _is_in(name: str, block: str) -> bool:
    return not block or name == block or name.startswith(f"{block}.")


def _spans(blocks: Sequence[str], layers: Sequence[str]) -> list[tuple[int, int, str]]:
    """Return for each block the positions of its first and its last layer, in the order in which blocks begin."""
    at: dict[str, list[int]] = {}
    for position, layer in enumerate(layers):
        for name in blocks:
            if layer and _is_in(layer, name):
                at.setdefault(name, []).append(position)
    return sorted((positions[0], positions[-1], name) for name, positions in at.items())


def _in_turn(spans: Sequence[tuple[int, int, str]]) -> list[list[str]]:
    """Return blocks grouped so that each group ends before the next one begins."""
    groups: list[list[str]] = []
    end = -1
    for first, last, name in spans:
        if first < end:
            groups[-1].append(name)
        else:
            groups.append([name])
        end = max(end, last)
    return groups


def _last_layers(network: nn.Module, layers: Sequence[str]) -> list[str]:
    """Return the layers whose weights depend on the number of classes; the last one that runs if this is unknown."""
    if not layers:
        raise TransferError(f"{type(network).__name__} has no layers with weights")
    if not hasattr(network, "rebuild"):
        return [layers[-1]]
    names = [name for name, _ in [*network.named_parameters(), *network.named_buffers()]]
    rebuild: Callable[[bool, bool], nn.Module] = network.rebuild  # type: ignore[assignment]
    ports = axes_that_differ(rebuild(False, False), rebuild(False, True), names)
    return list(dict.fromkeys(name.rpartition(".")[0] for name in ports)) or [layers[-1]]


def _head_layers(layers: Sequence[str], last: Sequence[str], blocks: Sequence[str]) -> list[str]:
    """Return the last layers, and what runs between and after them in their block."""
    head: list[str] = []
    for block in blocks:
        own = [name for name in layers if _is_in(name, block)]
        first = next((position for position, name in enumerate(own) if name in last), len(own))
        head += own[first:]
    return list(dict.fromkeys([*head, *last]))  # a head that does not run is a head too


def _refuse_idle(network: nn.Module, owners: Sequence[str], ran: Sequence[str], prefixes: Sequence[str]) -> None:
    """Refuse weights that no stage has: their layer never runs, or they belong to the network itself."""
    for name in owners:
        if not any(_is_in(name, prefix) for prefix in prefixes):
            weights = [f"{name}.{own}" if name else own for own in _own_weights(network.get_submodule(name))]
            why = "run at no fixed time, as they belong to no layer of its own" if name in ran or not name else "never run"
            raise TransferError(
                f"{type(network).__name__}: its stages cannot be derived, as these weights {why}: {', '.join(weights[:3])}; "
                "declare its stages, stage -> prefixes of weight names"
            )


def _stage_name(group: Sequence[str]) -> str:
    first, last = group[0].replace(".", "_"), group[-1].replace(".", "_")
    name = first if first == last else f"{first}_to_{last}"
    return f"block_{name}" if name.isdecimal() else name


def _after_the_coarsest(found: StageMap, layers: Sequence[tuple[str, int | None]]) -> tuple[str, ...]:
    """Return the stages after the last one that ends at the lowest resolution; none if there is only one resolution."""
    sizes = [(found.stage_of(name), size) for name, size in layers if size is not None]
    ends = {stage: size for stage, size in sizes if stage and stage != found.head}  # a stage's last layer
    if len(set(ends.values())) < 2:
        return ()
    *_, last = (stage for stage in found if ends.get(stage) == min(ends.values()))
    return found.names[found.names.index(last) + 1 : -1]
