"""Whether a target can start from a source, and with which flags; nothing is loaded, trained or evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from monai_tl.networks.network_spec import NetworkSpec
from monai_tl.networks.outline import outline
from monai_tl.networks.stages import stages
from monai_tl.transfer.contract import CompleteContract
from monai_tl.transfer.network_pair import NetworkPair
from monai_tl.transfer.obstacles import AskedStages, settling_flags
from monai_tl.transfer.other_function import LIKE_SOURCE_FLAGS, function_obstacles, other_function
from monai_tl.transfer.shared_weights import with_one_name
from monai_tl.transfer.sides import Sides
from monai_tl.transfer.source import Source
from monai_tl.transfer.tensors import fitted

DOUBT = "if the source's network has the settings assumed above, the target's computes otherwise: "


@dataclass(frozen=True)
class TargetFit:
    """What a target can take from a source.

    Attributes:
        fits: whether a transfer is possible, with the flags.
        flags: of ``monai_tl transfer``, beside ``--source`` and ``--target``; empty if none is needed.
        reasons: what the flags settle, or what prevents the transfer.
    """

    fits: bool
    flags: str
    reasons: tuple[str, ...]


def find_fit(source: Source, network: NetworkSpec, contract: CompleteContract) -> TargetFit:
    """Return whether a target fits a source: with its own network, or else with the source's.

    Args:
        source: as `read_source` reads it without a network.
        network: of the target.
        contract: of the target.

    Example:
        >>> from monai_tl import Contract, read_source
        >>> from monai_tl.networks.network_spec import NetworkSpec
        >>> from monai_tl.transfer.contract import complete
        >>> from monai_tl.transfer.fits import find_fit
        >>> tumour = complete(Contract(("T1", "T2"), (2.0, 2.0, 2.0), "RAS", "zscore_volume", ("background", "tumour core")))
        >>> find_fit(read_source("runs/hippocampus"), NetworkSpec("HighRes3DNet"), tumour).flags
        '--spacing 1.0,1.0,1.0'
    """
    own = _fit(source, network, contract)
    if own.fits or source.network is None:
        return own
    if not source.network.is_known:
        unrun = f"{source.network.network} is code of a user's own, which is not run here; {LIKE_SOURCE_FLAGS} builds it"
        return replace(own, reasons=(*own.reasons, unrun))
    like = _fit(source, source.network, contract)
    flags = f"{LIKE_SOURCE_FLAGS} {like.flags}".strip()
    alone = [reason for reason in own.reasons if reason not in like.reasons] or own.reasons
    if like.fits:
        return replace(like, flags=flags, reasons=(_short(alone), *like.reasons))
    like_alone = [f"with the source's network: {reason}" for reason in like.reasons if reason not in own.reasons]
    return replace(own, reasons=(*own.reasons, *like_alone))


def _fit(source: Source, spec: NetworkSpec, contract: CompleteContract) -> TargetFit:
    network = outline(spec, len(contract.modalities), len(contract.classes))
    known = source.contract.modalities if source.contract else None
    names, differing = stages(network), function_obstacles(source, network, contract, known)
    loaded = replace(source, weights=fitted(source.weights, network.state_dict(), source.path)[0])
    pair = NetworkPair.of({name: tuple(value.shape) for name, value in with_one_name(loaded, network).weights.items()}, network)
    sides = Sides(str(source.path), pair, source.contract, source.contract, contract, {})
    fresh = (pair.head,) if sides.why_fresh() else ()
    asked = AskedStages(names, (), fresh)
    obstacles = [*(replace(one, flags="") for one in differing), *sides.unlike(), *sides.of_stages(asked)]
    flags = settling_flags(obstacles, asked)
    doubts = [f"{DOUBT}{one}" for one in other_function(source, network, contract)] if source.assumed else []
    return TargetFit(not obstacles or bool(flags), flags, (*(one.what for one in obstacles), *doubts))


def _short(reasons: Sequence[str]) -> str:
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return f"with its own network: {reasons[0]}{more}"
