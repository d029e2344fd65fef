"""MONAI bundles, as of the Model Zoo, and this toolkit's own bundles and run folders: their metadata and configs are data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_tl.datasets.regions import BACKGROUND
from monai_tl.networks.known import KNOWN_NETWORKS
from monai_tl.networks.network_spec import NetworkSpec
from monai_tl.text import listed
from monai_tl.transfer.formats.config_data import ConfigData, Unread, read_configs
from monai_tl.transfer.formats.family import Expected, Family, Opened, Reading, metadata_of
from monai_tl.transfer.formats.stated_preprocessing import stated_preprocessing
from monai_tl.transfer.formats.unwrapping import unwrapped

CONFIGS = ("inference", "train", "evaluate")
NETWORK_IDS = ("network_def", "network")
BUILD = "build_network"
NUMBERS = ("in_channels", "out_channels", "spatial_dims", "n_classes", "num_classes")  # not settings: a target has its own
REMOVED = {"SwinUNETR": ("img_size",)}  # arguments that MONAI no longer has; the weights do not depend on them


def _is_own(opened: Opened) -> bool:
    metadata = metadata_of(opened.path)
    known = metadata is not None and "preprocessing" in metadata and "network_data_format" in metadata
    return known and bool(_own_configs(opened))


def _is_bundle(opened: Opened) -> bool:
    """Return whether the folders are a bundle's; a metadata.json alone is what a user states of weights of any family."""
    metadata, folder = metadata_of(opened.path), opened.path.parent
    in_bundle = folder.name == "models" and (folder.parent / "configs").is_dir()
    return metadata is not None and "network_data_format" in metadata and in_bundle


def _own_configs(opened: Opened) -> list[ConfigData]:
    folder = opened.path.parent
    of_bundle = read_configs(folder.parent / "configs", ["train"]) if folder.name == "models" else []
    return read_configs(folder, ["config"]) + of_bundle


def _read_own(opened: Opened) -> Reading:
    weights, notes = unwrapped(opened.content, opened.path)
    network, _, why = _network(_own_configs(opened))
    return Reading(weights, network, Expected(), notes=tuple(notes), remarks=(why,) if why else ())


def _read_bundle(opened: Opened) -> Reading:
    weights, notes = unwrapped(opened.content, opened.path)
    metadata, root = metadata_of(opened.path) or {}, opened.path.parent.parent
    configs = read_configs(root / "configs", CONFIGS)
    network, numbers, why = _network(configs)
    channels, of_channels = _names(metadata, ("inputs", "image"), numbers.get("in_channels"))
    classes, of_classes = _names(metadata, ("outputs", "pred"), numbers.get("out_channels"))
    if classes and classes[0].casefold() == BACKGROUND:
        classes = (BACKGROUND, *classes[1:])
    grid, of_grid = stated_preprocessing(configs, numbers.get("in_channels"))
    expected = Expected(channels, grid.spacing, grid.orientation, grid.normalisation, classes)
    remarks = (*([why] if why else []), *of_channels, *of_classes, *of_grid)
    return Reading(weights, network, expected, _licence(root), notes=tuple(notes), remarks=remarks)


def _network(configs: Sequence[ConfigData]) -> tuple[NetworkSpec | None, dict[str, int], str]:
    """Return the network that configs define, the numbers of its channels, and what cannot be read."""
    why = "network: no config defines it"
    for config in configs:
        for place in NETWORK_IDS:
            found = config.value(place)
            if isinstance(found, Mapping) and "_target_" in found:
                spec, why = _spec(found)
                numbers = {name: found[name] for name in NUMBERS if isinstance(found.get(name), int)}
                return spec, numbers, why
    return None, {}, why


def _spec(found: Mapping[str, Any]) -> tuple[NetworkSpec | None, str]:
    path = str(found["_target_"])
    settings = {name: value for name, value in found.items() if not name.startswith("_") and name not in NUMBERS}
    kind = path.split(".")[-1]
    if found.get("spatial_dims", 3) != 3:
        return None, f"network: a {kind} with spatial_dims {found['spatial_dims']}; networks here are 3D"
    if kind == BUILD:
        kind = str(settings.pop("network", ""))
        if kind not in KNOWN_NETWORKS:  # to build it would import and run what a stranger's config names
            return None, f"network: {kind} is a class of its own, and code that a source names is not run: --network {kind}"
        settings = {name: value for name, value in settings.items() if value is not None or name != "stages"}
    elif kind not in KNOWN_NETWORKS or path not in (kind, KNOWN_NETWORKS[kind].path, f"monai.networks.nets.{kind}"):
        return None, f"network: {path} is not one of {listed(sorted(KNOWN_NETWORKS))}, and code in a bundle is not run"
    for name in REMOVED.get(kind, ()):
        settings.pop(name, None)
    unread = [f"{name}: {value}" for name, value in settings.items() if not _is_plain(value)]
    if unread:
        return None, f"network: {kind} has settings that are known only by running the config ({'; '.join(unread)})"
    return NetworkSpec(kind, settings), ""


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    return all(map(_is_plain, value)) if isinstance(value, list) else not isinstance(value, Unread)


def _names(metadata: Mapping[str, Any], place: tuple[str, str], number: int | None) -> tuple[tuple[str, ...] | None, list[str]]:
    """Return the names of a network's channels; None with a note if they are not as many as the network has."""
    side, name = place
    stated = metadata["network_data_format"].get(side, {}).get(name, {})
    names = stated.get("channel_def") or {}
    ordered = tuple(str(names[index]) for index in sorted(names, key=int))
    wanted = number or stated.get("num_channels") or len(ordered)
    what = "modalities" if side == "inputs" else "classes"
    if not ordered:
        return None, [f"{what}: metadata.json names none of {wanted}"]
    if len(ordered) != wanted:
        return None, [f"{what}: metadata.json names {len(ordered)} ({', '.join(ordered)}), the network has {wanted}"]
    return ordered, []


def _licence(root: Path) -> str | None:
    """Return the first line of a bundle's licence, and where its data's terms are."""
    path = root / "LICENSE"
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []
    first = next((line.strip() for line in lines if line.strip()), None)
    terms = (
        "; its training data have terms of their own: docs/data_license.txt"
        if (root / "docs" / "data_license.txt").is_file()
        else ""
    )
    return f"{first[:80]}{terms}" if first else None


OWN_RUN = Family("monai_tl run or bundle", _is_own, _read_own)
BUNDLE = Family("MONAI bundle", _is_bundle, _read_bundle)
