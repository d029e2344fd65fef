"""Which sizes of images a network takes, found by trying it on tensors without values, never by names of networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.func import functional_call

from monai_tl.errors import ConfigError, first_line

PRIMES = (2, 3, 5, 7)  # of which strides are made
TRIED_EDGES = (96, 128, 160, 192, 480)  # voxels, tried without values: multiples of most products of strides
SMALL_EDGES = (32, 64)  # voxels, tried with values, by networks that cannot do without
MOST_STEPS = 8  # multiples that are tried to find the smallest size


@dataclass(frozen=True)
class InputSizes:
    """The sizes (i, j, k), in voxels, of the images that a network takes.

    Attributes:
        multiple: of which each edge is a multiple.
        least: smallest edges.
        fixed: the only size, of a network whose weights depend on it; None for others.

    Example:
        >>> from monai_tl.networks.input_sizes import InputSizes
        >>> sizes = InputSizes(multiple=(8, 8, 4), least=(16, 16, 8))
        >>> sizes.around([30, 32, 5]), sizes.within([30, 32, 5])
        ([32, 32, 8], [24, 32, 8])
        >>> print(sizes)
        multiples of 8 × 8 × 4 voxels from 16 × 16 × 8 on
    """

    multiple: tuple[int, ...] = (1, 1, 1)
    least: tuple[int, ...] = (1, 1, 1)
    fixed: tuple[int, ...] | None = None

    def around(self, size: Sequence[int]) -> list[int]:
        """Return the smallest size that the network takes with no edge below the given one."""
        return self._fitted(size, up=True)

    def within(self, size: Sequence[int]) -> list[int]:
        """Return the largest size that the network takes with no edge above the given one, but at least the smallest."""
        return self._fitted(size, up=False)

    def _fitted(self, size: Sequence[int], up: bool) -> list[int]:
        if self.fixed:
            return list(self.fixed)
        edges = zip(size, self.multiple, self.least, strict=True)
        return [max((edge + (multiple - 1) * up) // multiple * multiple, least) for edge, multiple, least in edges]

    def __str__(self) -> str:
        """Return the sizes in words."""
        if self.fixed:
            return f"only {_times(self.fixed)} voxels"
        low = f" from {_edges(self.least)} on" if self.least != self.multiple else ""
        return f"multiples of {_edges(self.multiple)} voxels{low}" if set(self.multiple) != {1} else f"any size{low}"


_FOUND: WeakKeyDictionary[nn.Module, InputSizes] = WeakKeyDictionary()


def input_sizes(network: nn.Module, channels: int, window: Sequence[int]) -> InputSizes:
    """Find the sizes of images that a network takes; the network is unchanged, and so is torch's random state.

    Args:
        network: returns logits on the grid of its images, alone or among others.
        channels: number of its image channels.
        window: a size (i, j, k) that it may take, tried first: the only way to find the size of a network that takes one only.

    Raises:
        ConfigError: if it takes none of the sizes that are tried.

    Example:
        >>> from monai_tl import build_network
        >>> from monai_tl.networks.input_sizes import input_sizes
        >>> print(input_sizes(build_network("SegResNet", 1, 2), channels=1, window=(96, 96, 96)))
        multiples of 8 voxels
    """
    if network not in _FOUND:
        _FOUND[network] = _find(network, channels, window)
    return _FOUND[network]


def refuse_unfit_window(network: nn.Module, channels: int, window: Sequence[int], batch_size: int = 1) -> None:
    """Refuse a training patch that a network does not take, and a network that does not return one tensor in training.

    Args:
        network: in training mode.
        channels: number of its image channels.
        window: size (i, j, k) of a patch in voxels.
        batch_size: number of patches; some networks take no single small one, as a norm needs more than one value.

    Raises:
        ConfigError: with the sizes that fit.
    """
    name, why = type(network).__name__, ""
    for device in ("meta", ""):  # with values, if the network needs them
        trial = _Trial(network, channels, device)
        if trial.takes(window, batch_size):
            if trial.returned != 1:
                raise ConfigError(
                    f"{name} returns {trial.returned} tensors in training; needed is one of logits, so return that"
                )
            return
        why = why or trial.refusal
    try:
        sizes = input_sizes(network, channels, window)
    except ConfigError:
        raise ConfigError(f"window {_flag(window)} does not fit {name}, nor do others that were tried: {why}") from None
    refuse_unfit_size(name, sizes, window)
    raise ConfigError(  # too few values for a norm
        f"window {_flag(window)} does not fit {name} with batch_size {batch_size} ({why}): raise one of both"
    )


def refuse_unfit_size(name: str, sizes: InputSizes, window: Sequence[int]) -> None:
    """Refuse a training patch that is none of the sizes that the network ``name`` takes.

    Raises:
        ConfigError: with the nearest ones.
    """
    nearest = list(dict.fromkeys(map(_flag, (sizes.within(window), sizes.around(window)))))
    if _flag(window) not in nearest:
        wanted = " or ".join(nearest)
        raise ConfigError(f"window {_flag(window)} does not fit {name}, which takes {sizes}: set --window {wanted}")


class _Trial:
    """Apply a network to zeros: on the device ``meta``, where tensors have no values, or, with ``""``, on its own."""

    def __init__(self, network: nn.Module, channels: int, device: str) -> None:
        self.network, self.channels, self.refusal, self.returned = network, channels, "", 1
        own, buffers = _places(network)
        self.device = torch.device(device or next((value.device for value in own.values()), "cpu"))
        if device:
            self.values = {name: _on(value, self.device) for name, value in {**own, **buffers}.items()}
        else:  # statistics of the network would change otherwise
            self.values = {**own, **{name: value.clone() for name, value in buffers.items()}}

    def takes(self, size: Sequence[int], batch_size: int = 2) -> bool:
        """Return whether the output has the size of the input; ``refusal`` says why not."""
        state = torch.get_rng_state()
        try:
            image = torch.zeros(batch_size, self.channels, *size, device=self.device)
            output = functional_call(self.network, self.values, (image,), tie_weights=False)
        except Exception as error:  # a network may raise anything
            self.refusal = first_line(error)
            return False
        finally:
            torch.set_rng_state(state)
        found = [tuple(one.shape[-3:]) for one in _tensors(output)]
        self.returned = len(found)
        self.refusal = f"its output has other sizes ({', '.join(map(_times, found)) or 'none'})"
        return tuple(size) in found


def _find(network: nn.Module, channels: int, window: Sequence[int]) -> InputSizes:
    for device, edges in (("meta", TRIED_EDGES), ("", SMALL_EDGES)):
        trial = _Trial(network, channels, device)
        for base in (list(window), *([edge] * 3 for edge in edges)):
            if trial.takes(base):
                return sizes_from(trial.takes, base)
    raise ConfigError(f"{type(network).__name__} takes no images of {_times(window)} voxels: {trial.refusal}")


def sizes_from(takes: Callable[[Sequence[int]], bool], base: Sequence[int]) -> InputSizes:
    """Return the sizes from one that fits: each edge is a multiple, and so is the distance to another one that fits.

    Args:
        takes: whether the network takes a size (i, j, k).
        base: one that it takes.
    """
    steps = list(base)
    if not takes([2 * edge for edge in base]):
        return InputSizes(fixed=tuple(base))
    for axes in ((0, 1, 2), (0,), (1,), (2,)):
        for prime in PRIMES:
            while all(steps[axis] % prime == 0 for axis in axes):
                smaller = [step // prime if axis in axes else step for axis, step in enumerate(steps)]
                if not takes([edge + step for edge, step in zip(base, smaller, strict=True)]):
                    break
                steps = smaller
    least = next((low for low in _times_each(steps) if takes(low)), list(base))
    return InputSizes(tuple(steps), tuple(map(min, least, base)))


def _times_each(steps: Sequence[int]) -> Iterator[list[int]]:
    yield from ([count * step for step in steps] for count in range(1, MOST_STEPS + 1))


def _places(network: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the parameters and the buffers of each module by name; a module that is registered twice has one name."""
    own: dict[str, Tensor] = {}
    buffers: dict[str, Tensor] = {}
    for path, module in network.named_modules():
        for found, of in ((own, module._parameters), (buffers, module._buffers)):
            found.update({f"{path}.{name}".lstrip("."): value for name, value in of.items() if value is not None})
    return own, buffers


def _on(value: Tensor, device: torch.device) -> Tensor:
    return value.detach().to(device).requires_grad_(value.requires_grad)


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    for part in output if isinstance(output, list | tuple) else output.values() if isinstance(output, dict) else ():
        yield from _tensors(part)


def _times(size: Sequence[int]) -> str:
    return " × ".join(map(str, size))


def _edges(size: Sequence[int]) -> str:
    return str(size[0]) if len(set(size)) == 1 else _times(size)


def _flag(size: Sequence[int]) -> str:
    return f"[{','.join(map(str, size))}]"
