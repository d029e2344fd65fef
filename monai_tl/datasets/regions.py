"""Regions: what a network is to segment, as named sets of label values; they may overlap, as the tumour regions of BraTS do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations

from monai_tl.errors import ConfigError, did_you_mean
from monai_tl.settings.refusals import raise_refusals, refusal
from monai_tl.settings.table import LABELS

Regions = Mapping[str, Sequence[int]]

FOREGROUND = "foreground"  # the one region of a datalist that was made with --foreground
BACKGROUND = "background"
REGIONS_EXAMPLE = "'tumour core=1,4; whole tumour=1,2,4', or anterior=1,posterior=2"
_ITEM = re.compile(r"\s*(?P<name>[^=;,]+?)\s*(=\s*(?P<values>\d+(\s*,\s*\d+)*)\s*)?(?=[;,]|$)[;,]?")


def read_regions(text: str, names: Mapping[str, int] | None = None) -> dict[str, tuple[int, ...]]:
    """Parse ``--regions``: names with label values, or names alone if the values of names are known.

    Args:
        text: e.g. ``"tumour core=1,4; whole tumour=1,2,4"``, ``"anterior=1,posterior=2"`` or ``"spleen,liver"``; ``"all"``
            makes each known name a region.
        names: label value of each name, as in ``dataset.json`` or in a label table.

    Returns:
        Name -> label values, in the given order.

    Raises:
        ConfigError: if it cannot be parsed, a name occurs twice, or a name without values is not known.

    Example:
        >>> from monai_tl.datasets.regions import read_regions
        >>> read_regions("tumour core=1,4; whole tumour=1,2,4")
        {'tumour core': (1, 4), 'whole tumour': (1, 2, 4)}
        >>> read_regions("posterior, anterior", {"anterior": 1, "posterior": 2})
        {'posterior': (2,), 'anterior': (1,)}
    """
    names = names or {}
    if text.strip() == "all" and names:
        return {name: (value,) for name, value in names.items()}
    regions: dict[str, tuple[int, ...]] = {}
    at = 0
    while at < len(text.rstrip(" ;,")):
        item = _ITEM.match(text, at)
        if item is None:
            raise ConfigError(f"regions takes names with label values, e.g. {REGIONS_EXAMPLE}; got '{text}'")
        name, values = item["name"], item["values"]
        if name in regions:
            raise ConfigError(f"regions names '{name}' twice: {text}")
        if values is None and name not in names:
            known = f": {did_you_mean(name, list(names))}" if names else f"; write {name}=VALUE, e.g. {REGIONS_EXAMPLE}"
            raise ConfigError(f"the label value of region '{name}' is not known{known}")
        regions[name] = (names[name],) if values is None else tuple(map(int, values.split(",")))
        at = item.end()
    return regions


def check_regions(regions: Regions, labels: Sequence[int] | None = None, ignore: Sequence[int] = ()) -> None:
    """Refuse regions that cannot be meant.

    Args:
        regions: name -> label values.
        labels: all values that a label may contain in addition to 0; ``None`` allows any.
        ignore: label values of voxels that count nowhere.

    Raises:
        ConfigError: if there is no region, one has no values, a value below 1, a value twice, an unknown value or an ignored
            one, or is called ``background``, or two have the same values.
    """
    if not isinstance(regions, Mapping) or not regions:
        raise ConfigError(f"regions takes one region or more, e.g. {REGIONS_EXAMPLE}; got {regions!r}")
    for name, values in regions.items():
        if not name.strip() or name == BACKGROUND:
            raise ConfigError(f"a region cannot be called '{name}'; background is what is in no region")
        raise_refusals([refusal(f"region '{name}'", LABELS, values)], "label values")
        if unknown := [value for value in values if labels is not None and value not in labels]:
            raise ConfigError(
                f"region '{name}' has the label value {_join(unknown)}, which is not among the labels {_join(labels or ())}; "
                "name every value that occurs"
            )
        if ignored := [value for value in values if value in ignore]:
            raise ConfigError(f"region '{name}' has the label value {_join(ignored)}, which is to be ignored")
    for one, other in combinations(regions, 2):
        if set(regions[one]) == set(regions[other]):
            raise ConfigError(f"regions '{one}' and '{other}' have the same label values ({_join(regions[one])})")


def overlaps(regions: Regions) -> list[tuple[str, str]]:
    """Return the pairs of regions that share a label value.

    Example:
        >>> from monai_tl.datasets.regions import overlaps
        >>> overlaps({"core": (1, 4), "whole": (1, 2, 4), "other": (7,)})
        [('core', 'whole')]
    """
    return [(one, other) for one, other in combinations(regions, 2) if set(regions[one]) & set(regions[other])]


def foreground_of(regions: Regions) -> tuple[int, ...]:
    """Return the label values of all regions, each once, in order."""
    return tuple(dict.fromkeys(value for values in regions.values() for value in values))


def is_softmax(classes: Sequence[str]) -> bool:
    """Return whether a network's classes exclude each other: the first is the background; else each has its own sigmoid."""
    return bool(classes) and classes[0] == BACKGROUND


def regions_of(regions: Regions, classes: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the regions of a datalist that a network's classes name, in the order of the classes.

    A single class besides the background takes a datalist's single region ``foreground``, whatever the class is called.

    Args:
        regions: of the datalist.
        classes: of the network: ``background`` first if they exclude each other (softmax), otherwise one per region (sigmoid).

    Raises:
        ConfigError: if a class is not a region of the datalist, or classes that exclude each other overlap.

    Example:
        >>> from monai_tl.datasets.regions import regions_of
        >>> regions_of({"foreground": (17, 53)}, ["background", "hippocampus"])
        {'hippocampus': (17, 53)}
        >>> regions_of({"core": (1, 4), "whole": (1, 2, 4)}, ["whole", "core"])
        {'whole': (1, 2, 4), 'core': (1, 4)}
    """
    wanted = list(classes[1:] if is_softmax(classes) else classes)
    if not wanted or BACKGROUND in wanted:
        raise ConfigError(f"classes takes {BACKGROUND} first, if at all, and a region each; got {list(classes)}")
    if list(regions) == [FOREGROUND] and len(wanted) == 1:
        return {wanted[0]: tuple(regions[FOREGROUND])}
    for name in wanted:
        if name not in regions:
            raise ConfigError(
                f"the datalist has no region '{name}': {did_you_mean(name, list(regions))}; name its regions in classes, or "
                f'make the datalist again with --regions "{name}=…"'
            )
    chosen = {name: tuple(regions[name]) for name in wanted}
    if is_softmax(classes) and (shared := overlaps(chosen)):
        one, other = shared[0]
        raise ConfigError(
            f"regions '{one}' and '{other}' share label values ({_join(set(chosen[one]) & set(chosen[other]))}), but with "
            f"'{BACKGROUND}' first, classes exclude each other; choose regions that do not overlap, or omit it from classes "
            "and set loss to monai_tl.training.losses.DiceBCELoss: each region then has its own sigmoid (`monai_tl bundle new` "
            "makes such a bundle of a datalist whose regions overlap)"
        )
    return chosen


def painted_values(regions: Regions) -> dict[str, int]:
    """Return the value with which a segmentation shows each region, in the order in which they are painted over each other.

    Regions with more label values come first, so that regions inside them stay visible. If each region has exactly one label
    value that no region painted later has, these are the user's own label values; otherwise they are 1, 2, … in the order of
    ``regions``.

    Example:
        >>> from monai_tl.datasets.regions import painted_values
        >>> painted_values({"tumour core": (1, 4), "whole tumour": (1, 2, 4), "enhancing tumour": (4,)})
        {'whole tumour': 2, 'tumour core': 1, 'enhancing tumour': 4}
        >>> painted_values({"hippocampus": (17, 53)})
        {'hippocampus': 1}
    """
    order = sorted(regions, key=lambda name: -len(regions[name]))
    own = [
        [value for value in regions[name] if not any(value in regions[later] for later in order[at + 1 :])]
        for at, name in enumerate(order)
    ]
    if all(len(values) == 1 for values in own):
        return {name: values[0] for name, values in zip(order, own, strict=True)}
    return {name: list(regions).index(name) + 1 for name in order}


def _join(values: Sequence[int] | set[int]) -> str:
    return ", ".join(map(str, sorted(values)))
