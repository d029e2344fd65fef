"""A target's network that takes a source's weights by name and shape, and computes something else from them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from monai_tl.networks.known import known_network
from monai_tl.networks.outline import outline
from monai_tl.networks.same_function import function_differences
from monai_tl.transfer.contract import CompleteContract
from monai_tl.transfer.obstacles import Obstacle
from monai_tl.transfer.source import Source

LIKE_SOURCE_FLAGS = "--network like_source"


def function_obstacles(
    source: Source, network: nn.Module, contract: CompleteContract, modalities: Sequence[str] | None
) -> list[Obstacle]:
    """List in what a target's network computes something else than the source's from the same weights.

    Layers are not compared if the source's network is unknown, or if settings that would show it are only assumed of it.

    Args:
        source: of the transfer.
        network: of the target.
        contract: of the target.
        modalities: of the source, by the target's names; None if unknown.
    """
    entry = known_network(type(network))
    if entry and entry.repeats_image and modalities and tuple(modalities) != contract.modalities:
        what = (
            f"{type(network).__name__} also adds its image's channels to its first features, so with other modalities (source "
            f"[{', '.join(modalities)}], target [{', '.join(contract.modalities)}]) it computes otherwise from the same weights"
        )
        return [Obstacle(what, "continue with --accept_differences", flags="--accept_differences")]
    if source.network is None or source.assumed:
        return []
    remedy = f"use the source's network ({LIKE_SOURCE_FLAGS}), or continue with --accept_differences"
    return [
        Obstacle(f"the networks compute otherwise from the same weights: {one}", remedy, flags=LIKE_SOURCE_FLAGS)
        for one in other_function(source, network, contract)
    ]


def other_function(source: Source, network: nn.Module, contract: CompleteContract) -> list[str]:
    """Return in what a target's network computes something else, also where the source's network is only assumed."""
    own = f"{type(network).__module__}.{type(network).__qualname__}"
    if source.network is None or not (source.network.is_known or source.network.network == own):  # other code is not run
        return []
    return function_differences(outline(source.network, len(contract.modalities), len(contract.classes)), network)
