"""A network that a user chose, ``{"name": "SegResNet", "init_filters": 16}``: built once, so that mistakes show at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from monai_tl.errors import ConfigError
from monai_tl.networks.build import build_network
from monai_tl.networks.input_sizes import (
    TRIED_EDGES,
    InputSizes,
    input_sizes,
    refuse_unfit_size,
    refuse_unfit_window,
    sizes_from,
)
from monai_tl.networks.known import KNOWN_NETWORKS
from monai_tl.networks.stages import stages

SIZE_ARGUMENTS = ("img_size", "input_image_size")  # of classes whose weights depend on the size of their images


def checked_network(
    entry: Mapping[str, Any], channels: tuple[int, int], window: Sequence[int] | None, batch_size: int = 1
) -> dict[str, Any]:
    """Build a network on trial, and return its entry with the size of images, if its weights depend on it.

    Args:
        entry: name, arguments and stages of a network, as in `monai_tl.workflow.network_entry.network_def_of`.
        channels: numbers of image channels and of classes.
        window: size (i, j, k) of a training patch in voxels; None if it is not known.
        batch_size: patches per step.

    Raises:
        ConfigError: for an unknown network or argument, a value that the class refuses, or a window that does not fit.
        TransferError: for invalid stages.

    Example:
        >>> from monai_tl.networks.chosen_network import checked_network
        >>> checked_network({"name": "SegResNet", "init_filters": 8}, (1, 2), [20, 20, 20])
        Traceback (most recent call last):
        monai_tl.errors.ConfigError: window [20,20,20] does not fit SegResNet, which takes multiples of 8 voxels: ...
    """
    sized = _sized(entry)
    if sized and window is not None:
        refuse_unfit_size(str(entry["name"]), sizes_of_network(entry, channels), window)
    given = {**entry, **({} if window is None else {name: list(window) for name in sized})}
    network = _built(given, channels)
    stages(network)
    if window is not None:
        refuse_unfit_window(network, channels[0], window, batch_size)
    return given


def sizes_of_network(entry: Mapping[str, Any], channels: tuple[int, int]) -> InputSizes:
    """Return the sizes of images that a network takes; one that is built for a size may be built for any of these.

    Raises:
        ConfigError, TransferError: as `checked_network`.
    """
    sized = _sized(entry)
    if not sized:
        return input_sizes(_built(entry, channels), channels[0], [TRIED_EDGES[0]] * 3)

    def takes(size: Sequence[int]) -> bool:
        try:
            network = _built({**entry, **{name: list(size) for name in sized}}, channels)
            refuse_unfit_window(network, channels[0], size, 2)
        except ConfigError:
            return False
        return True

    with torch.device("meta"):
        base = next(([edge] * 3 for edge in TRIED_EDGES if takes([edge] * 3)), None)
        if base is None:
            _built({**entry, **{name: [TRIED_EDGES[0]] * 3 for name in sized}}, channels)
            raise ConfigError(
                f"network '{entry['name']}' cannot be built for {TRIED_EDGES[0]}³ voxels; set {sized[0]} yourself"
            )
        return sizes_from(takes, base)


def _sized(entry: Mapping[str, Any]) -> list[str]:
    """Return the arguments for the size of images that a known network takes and that are not given."""
    known = KNOWN_NETWORKS.get(str(entry["name"]))
    return [name for name in SIZE_ARGUMENTS if known and name in known.settings and name not in entry]


def _built(entry: Mapping[str, Any], channels: tuple[int, int]) -> nn.Module:
    """Build a network; torch's random state is unchanged."""
    state = torch.get_rng_state()
    try:
        settings = {name: value for name, value in entry.items() if name not in ("name", "stages")}
        return build_network(str(entry["name"]), *channels, stages=entry.get("stages"), **settings)
    finally:
        torch.set_rng_state(state)
