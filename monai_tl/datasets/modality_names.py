"""Modalities by other names: the renames that a user asks for, and those that names suggest."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence

from monai_tl.errors import did_you_mean
from monai_tl.settings.table import SETTINGS, refuse_settings
from monai_tl.text import listed

# the same contrasts by other names, in lower case and without "w" or "weighted" at the end
SAME = {"t1n": "t1", "t1c": "t1ce", "t1gd": "t1ce", "t1post": "t1ce", "t2f": "flair", "t2flair": "flair"}
ANY_RENAME = "--rename SOURCE=TARGET"  # in messages, where no rename suggests itself
OTHERS = {"t1", "t1ce", "t2", "flair", "pd", "ct"}  # contrasts that differ, so that no rename of one to another suggests itself
MOST = 4  # possible renames that a message lists
SCANS_AND_NETWORK = ("the scans", "the network")  # whose modalities are renamed for a prediction


def read_rename(rename: Mapping[str, str] | str | None) -> dict[str, str]:
    """Return a rename from a config or a command line as a dict, name in the source -> name in the target.

    Raises:
        ConfigError: if it is not of this kind.

    Example:
        >>> from monai_tl.datasets.modality_names import read_rename
        >>> read_rename("MR=T1,PD=T2")
        {'MR': 'T1', 'PD': 'T2'}
    """
    refuse_settings(rename=rename)
    return dict(SETTINGS["rename"].read(rename) if isinstance(rename, str) else rename or {})


def rename_problems(
    rename: Mapping[str, str],
    source: Sequence[str] | None,
    target: Sequence[str],
    whose: tuple[str, str] = ("the source", "the target"),
) -> list[str]:
    """List what is wrong with a rename.

    Args:
        rename: name in the source -> name in the target.
        source: modalities of the source; None if they are not known yet.
        target: modalities of the target.
        whose: the two in words.

    Example:
        >>> from monai_tl.datasets.modality_names import rename_problems
        >>> rename_problems({"T1": "MR"}, ["MR"], ["T1", "T2"])
        ['--rename T1=MR is the wrong way round: it takes SOURCE=TARGET, so write --rename MR=T1']
    """
    found = [problem for old, new in rename.items() for problem in _pair_problems(old, new, source, target, whose)]
    return found or _doubled(rename, source or (), whose)


def _pair_problems(
    old: str, new: str, source: Sequence[str] | None, target: Sequence[str], whose: tuple[str, str]
) -> list[str]:
    flag = f"--rename {old}={new}"
    if old == new and new in target:
        return [f"{flag} changes nothing: omit it"]
    swapped = old in target and new not in target
    if swapped and source is not None and new in source and old not in source:
        return [f"{flag} is the wrong way round: it takes SOURCE=TARGET, so write --rename {new}={old}"]
    if swapped and source is None:
        known = did_you_mean(new, target)
        return [f"{flag}: {whose[1]} has no modality '{new}': {known}; the order is SOURCE=TARGET (--rename {new}={old})"]
    sides = ((old, source, whose[0]), (new, target, whose[1]))
    return [
        f"{flag}: {owner} has no modality '{name}': {did_you_mean(name, names)}"
        for name, names, owner in sides
        if names is not None and name not in names
    ]


def _doubled(rename: Mapping[str, str], source: Sequence[str], whose: tuple[str, str]) -> list[str]:
    """Describe each name that two modalities of the source would have."""
    names = [*source, *(old for old in rename if old not in source)]
    count = Counter(renamed(names, rename))
    twice = [new for new in dict.fromkeys(rename.values()) if count[new] > 1]
    both = {new: listed([old for old in names if rename.get(old, old) == new]) for new in twice}
    return [f"--rename: {old} of {whose[0]} would all be {new} of {whose[1]}; name one only" for new, old in both.items()]


def renamed(names: Sequence[str], rename: Mapping[str, str]) -> tuple[str, ...]:
    """Return modalities with the names of the target."""
    return tuple(rename.get(name, name) for name in names)


def suggest_rename(source: Sequence[str], target: Sequence[str]) -> dict[str, str]:
    """Return the rename that names suggest: near ones, else the only two that have no counterpart; empty if there is none.

    Example:
        >>> from monai_tl.datasets.modality_names import suggest_rename
        >>> suggest_rename(["T1w", "flair"], ["FLAIR", "T1", "T2"])
        {'T1w': 'T1', 'flair': 'FLAIR'}
        >>> suggest_rename(["MR"], ["T1"]), suggest_rename(["MR"], ["T1", "T2"])
        ({'MR': 'T1'}, {})
        >>> suggest_rename(["T1"], ["FLAIR"])
        {}
    """
    ours, theirs = _unmatched(source, target)
    near = near_names(ours, theirs)
    single = len(ours) == len(theirs) == 1 and _may_be_same(ours[0], theirs[0])
    return near or ({ours[0]: theirs[0]} if single else {})


def near_names(source: Sequence[str], target: Sequence[str]) -> dict[str, str]:
    """Return modalities without counterpart whose names differ only in writing (``T1w``, ``t1``) -> the target's name."""
    ours, theirs = _unmatched(source, target)
    pairs = [(old, new) for old in ours for new in theirs if _plain(old) == _plain(new)]
    once = [Counter(pair[side] for pair in pairs) for side in (0, 1)]
    return {old: new for old, new in pairs if once[0][old] == once[1][new] == 1}


def rename_flag(rename: Mapping[str, str]) -> str:
    """Return a rename as a flag for a shell: ``--rename MR=T1``."""
    return f"--rename {shlex.quote(','.join(f'{old}={new}' for old, new in rename.items()))}"


def rename_hint(source: Sequence[str], target: Sequence[str], whose: tuple[str, str] = ("the source", "the target")) -> str:
    """Return how modalities can be matched: what `suggest_rename` finds, else the possible renames; empty if there is none.

    Example:
        >>> from monai_tl.datasets.modality_names import rename_hint
        >>> rename_hint(["MR"], ["T1"])
        "if the source's MR is the target's T1: --rename MR=T1"
        >>> rename_hint(["MR"], ["T1", "T2"])
        'say which are the same (--rename MR=T1 or --rename MR=T2)'
    """
    found = suggest_rename(source, target)
    if found:
        pairs = [
            f"{whose[0]}{_genitive(whose[0])} {old} is {whose[1]}{_genitive(whose[1])} {new}" for old, new in found.items()
        ]
        return f"if {listed(pairs)}: {rename_flag(found)}"
    ours, theirs = _unmatched(source, target)
    flags = [rename_flag({old: new}) for old in ours for new in theirs if _may_be_same(old, new)]
    if not flags:
        return ""
    return (
        f"say which are the same ({' or '.join(flags) if len(flags) <= MOST and 1 in (len(ours), len(theirs)) else ANY_RENAME})"
    )


def _unmatched(source: Sequence[str], target: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the names without counterpart on each side."""
    return [name for name in source if name not in target], [name for name in target if name not in source]


def scans_hint(found: Sequence[str], modalities: Mapping[str, str]) -> str:
    """Return the advice of `rename_hint` for scans to predict, to be appended to a message; empty if there is none.

    Args:
        found: modalities of the scans.
        modalities: modality of the network -> its name in the scans, as far as the user has said so.
    """
    asked = any(new != old for new, old in modalities.items())
    hint = "" if asked else rename_hint(found, list(modalities), SCANS_AND_NETWORK)
    return f"; {hint}" if hint else ""


def _may_be_same(old: str, new: str) -> bool:
    return not {_plain(old), _plain(new)} <= OTHERS


def _genitive(owner: str) -> str:
    return "'" if owner.endswith("s") else "'s"


def _plain(name: str) -> str:
    text = re.sub(r"[\W_]+", "", name).casefold()
    text = re.sub(r"(?<=.)(weighted|w)$", "", text)
    return SAME.get(text, text)
