"""The network of a task, ``network: {name: SegResNet, init_filters: 16}``, and the id ``network_def`` that builds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai_tl.errors import ConfigError, did_you_mean
from monai_tl.settings.stage_lists import StageLists
from monai_tl.settings.values import Text

OWN_NETWORK = "HighRes3DNet"
OWN_PAPER = "W. Li et al., On the compactness, efficiency, and representation of 3D convolutional networks, IPMI 2017"
OWN_TARGET = "monai_tl.networks.highres3dnet.HighRes3DNet"
OWN_ARGUMENTS = ("head_norm", "negative_slope")
BUILT_BY = "monai_tl.networks.build.build_network"
FILLED = ("in_channels", "out_channels", "network")  # by the recipe
NETWORK = Text(
    "a network's name, e.g. SegResNet, a class of your own, e.g. my_package.MyNet, or like_source", r"[A-Za-z_][\w.]*\w"
)


def network_def_of(network: Mapping[str, Any], *, has_head_norm: bool = True) -> dict[str, Any]:
    """Return the id ``network_def`` of a network.

    Args:
        network: its ``name``, optionally its ``stages``, and arguments of its class; empty: HighRes3DNet.
        has_head_norm: whether the config has the setting ``head_norm``, to which HighRes3DNet refers.

    Example:
        >>> from monai_tl.workflow.network_entry import network_def_of
        >>> network_def_of({"name": "SegResNet", "init_filters": 16})["network"]
        'SegResNet'
    """
    settings = {name: value for name, value in network.items() if name not in ("name", "stages")}
    name, stages = network.get("name", OWN_NETWORK), network.get("stages")
    channels = {"in_channels": "$len(@modalities)", "out_channels": "$len(@classes)"}
    if name == OWN_NETWORK and stages is None:
        norm = {"head_norm": "@head_norm"} if has_head_norm else {}
        return {"_target_": OWN_TARGET, **channels, **norm, **settings}
    return {"_target_": BUILT_BY, "network": name, **channels, "stages": stages, **settings}


def entry_of(network_def: Any) -> dict[str, Any] | None:
    """Return the network of an id ``network_def``, as `network_def_of` takes it; None if it is another class by itself."""
    if not isinstance(network_def, Mapping) or network_def.get("_target_") not in (OWN_TARGET, BUILT_BY):
        return None
    given = {name: value for name, value in network_def.items() if name not in ("_target_", *FILLED) and value is not None}
    if given.get("head_norm") == "@head_norm":
        del given["head_norm"]
    return {"name": network_def.get("network", OWN_NETWORK), **given}


def network_name(network_def: Any) -> str:
    """Return the name of the network of an id ``network_def``."""
    entry = entry_of(network_def)
    if entry is None:
        target = network_def.get("_target_", "") if isinstance(network_def, Mapping) else str(network_def)
        return str(target).rpartition(".")[2]
    return str(entry["name"])


def metadata_for(metadata: Mapping[str, Any], of_bundle: Any, of_run: Any) -> dict[str, Any]:
    """Return a bundle's metadata for a run with another network, which its description names instead.

    Args:
        metadata: of the bundle.
        of_bundle, of_run: their ids ``network_def``.
    """
    theirs, ours = network_name(of_bundle), network_name(of_run)
    if ours == theirs:
        return dict(metadata)
    references = [one for one in metadata.get("references", []) if one != OWN_PAPER]
    return {**metadata, "description": str(metadata.get("description", "")).replace(theirs, ours), "references": references}


def refuse_bad_entry(network: Any, where: str) -> None:
    """Refuse an entry ``network`` that names no network, or whose stages or arguments are no such things.

    Raises:
        ConfigError: with the mistake; whether the network takes these arguments shows when it is built.
    """
    if not isinstance(network, Mapping) or not NETWORK.allows(network.get("name")):
        raise ConfigError(f"{where} takes a name and arguments, e.g. {{name: SegResNet, init_filters: 16}}; got {network!r}")
    stages = network.get("stages")
    if stages is not None and not StageLists().allows(stages):
        raise ConfigError(f"{where}: stages takes {StageLists().takes}; got {stages!r}")
    for name in network:
        if not isinstance(name, str) or not name.isidentifier() or name in FILLED:
            raise ConfigError(f"{where}: '{name}' cannot be set: channels follow modalities and classes")
    others = [name for name in network if name not in ("name", "stages", *OWN_ARGUMENTS)]
    if network["name"] == OWN_NETWORK and others:
        raise ConfigError(f"network '{OWN_NETWORK}' takes no argument '{others[0]}': {did_you_mean(others[0], OWN_ARGUMENTS)}")
