"""Splits of subjects: drawn at random, or read from a file."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from monai_tl.datasets.ids import normal, visible
from monai_tl.errors import ConfigError, DataError, did_you_mean
from monai_tl.settings.refusals import raise_refusals, refusal
from monai_tl.settings.table import POLICY, SPLITS
from monai_tl.storage.text_tables import read_text
from monai_tl.text import name_some


class Splits(dict[str, tuple[str, ...]]):
    """Split -> its subjects in order of id, without empty splits.

    Attributes:
        left_out: subject -> why it is in no split, although a list names it.
    """

    def __init__(self, lists: Mapping[str, Sequence[str]]) -> None:
        """Sort each list, so that the same subjects always result in the same file."""
        super().__init__({name: tuple(sorted(subjects)) for name, subjects in lists.items()})
        self.left_out: dict[str, str] = {}


def random_splits(
    subjects: Sequence[str], ratios: Sequence[float], seed: int, *, person_of: Callable[[str], str] = str
) -> Splits:
    """Draw train, validation and test from subject ids, independent of their order.

    Args:
        subjects: ids, each once.
        ratios: shares of train, validation and test, which sum to 1. A split with a share of 0 is omitted.
        seed: the same ids, ratios and seed result in the same splits.
        person_of: subject -> person. All subjects of a person are in one split, and shares are shares of persons.

    Raises:
        ConfigError: if the ratios are not three shares that sum to 1.
        DataError: if a subject occurs twice, or a split with a share above 0 would be empty.
    """
    if len(ratios) != len(SPLITS) or min(ratios) < 0 or not abs(sum(ratios) - 1) <= 1e-6:
        raise ConfigError(f"ratios takes the shares of {', '.join(SPLITS)}, which sum to 1; got {list(ratios)}")
    refuse_duplicates("subjects", subjects)
    import numpy as np

    persons = sorted({person_of(subject) for subject in subjects})
    shuffled = [str(person) for person in np.random.default_rng(seed).permutation(persons)]
    ends = [int(end) for end in np.rint(np.cumsum(ratios) * len(shuffled))]
    drawn = {name: shuffled[start:end] for name, start, end in zip(SPLITS, [0, *ends], ends, strict=False)}
    empty = [name for name, ratio in zip(SPLITS, ratios, strict=True) if ratio > 0 and not drawn[name]]
    if empty:
        remedy = "add subjects, or set other ratios, e.g. --split 0.4,0.3,0.3 (0 omits a split)"
        kind = "subjects" if len(persons) == len(subjects) else "persons"
        raise DataError(f"{len(persons)} {kind} at ratios {list(ratios)} leave {' and '.join(empty)} empty; {remedy}")
    split_of = {person: name for name, members in drawn.items() for person in members}
    chosen = {name: [subject for subject in subjects if split_of.get(person_of(subject)) == name] for name in SPLITS}
    return Splits({name: members for name, members in chosen.items() if members})


def splits_from_file(path: Path, subjects: Sequence[str], *, train: str = "train", absent: str = "refuse") -> Splits:
    """Read splits from a JSON file of lists: ``train``, ``validation`` (or ``val``) and ``test``.

    Args:
        path: of the file; entries that are not lists (such as a source) are ignored.
        subjects: ids of the existing cases. Those that no list names are in no split.
        train: name of the list to use as ``train``, e.g. ``"S1"`` if the file has training sets of several sizes.
        absent: ``"refuse"``, or ``"leave_out"`` to omit listed subjects that have no case.

    Raises:
        DataError: if the file cannot be read, lacks the list or has an unknown one, if a subject is in two splits or has
            no case, or a split is empty.
    """
    raise_refusals([refusal("absent", POLICY, absent)])
    path = Path(path).expanduser()
    lists = check_lists(path, {name: value for name, value in read_lists(path).items() if isinstance(value, list)})
    lists = {name: [normal(subject).strip() for subject in listed] for name, listed in lists.items()}
    if train not in lists:
        raise DataError(f"no list '{train}' in {path} to train on: {did_you_mean(train, lists)}; choose one with --train")
    if "val" in lists and "validation" in lists:
        raise DataError(f"{path} has both 'val' and 'validation'; keep one")
    sources = {"train": train, "validation": "val" if "val" in lists else "validation", "test": "test"}
    others = [name for name in lists if name not in sources.values()]
    if others and train == "train":  # if the training list is chosen, other lists are its alternatives
        raise DataError(f"unknown list '{others[0]}' in {path}: {did_you_mean(others[0], SPLITS)}")
    chosen = {name: lists[source] for name, source in sources.items() if source in lists}
    without = [subject for names in chosen.values() for subject in names if subject not in set(subjects)]
    if without and absent == "refuse":
        remedy = "add their scans, or omit these subjects with --absent leave_out"
        raise DataError(
            f"{len(without)} subjects listed in {path} have no case: {name_some([*map(visible, without)])}; {remedy}"
        )
    check_splits(chosen, {*subjects, *without})
    splits = Splits({name: [subject for subject in names if subject not in without] for name, names in chosen.items()})
    check_splits(splits, set(subjects))
    splits.left_out = dict.fromkeys(without, f"listed in {path.name}, but has no case")
    return splits


def refuse_duplicates(where: str, subjects: Sequence[str]) -> None:
    """Raise a DataError if a subject occurs twice; ``where`` names the list."""
    twice = [subject for subject, times in Counter(subjects).items() if times > 1]
    if twice:
        raise DataError(f"subjects occur twice in {where}: {name_some(twice)}; keep each once")


def subjects_sha256(subjects: Sequence[str]) -> str:
    """Hash a list of subject ids, in their order."""
    return hashlib.sha256("\n".join(subjects).encode()).hexdigest()


def check_lists(path: Path, lists: Any) -> dict[str, list[str]]:
    """Return lists of subject ids by name as they are, or raise a DataError for anything else."""
    if not isinstance(lists, dict):
        raise DataError(f"{path}: splits must map names to lists; got {type(lists).__name__}")
    for name, subjects in lists.items():
        if not isinstance(subjects, list) or not all(isinstance(subject, str) for subject in subjects):
            raise DataError(f"{path}: '{name}' must be a list of subject ids in quotes")
    return lists


def check_splits(splits: Mapping[str, Sequence[str]], existing: set[str]) -> None:
    """Raise a DataError for an unknown or empty split, a subject without a case, or one in two splits."""
    for name, subjects in splits.items():
        if name not in SPLITS:
            raise DataError(f"unknown split '{name}': {did_you_mean(name, SPLITS)}")
        if not subjects:
            raise DataError(f"the split '{name}' is empty; add a subject or omit the split")
        refuse_duplicates(f"split '{name}'", subjects)
        strangers = [subject for subject in subjects if subject not in existing]
        if strangers:
            raise DataError(f"subjects of split '{name}' have no case: {name_some(strangers)}")
    if not splits:
        raise DataError(f"there is no split; needed is at least one of {', '.join(SPLITS)}")
    for one, other in combinations(splits, 2):
        shared = sorted(set(splits[one]) & set(splits[other]))
        if shared:
            raise DataError(f"subjects both in {one} and in {other}: {name_some(shared)}; keep each in one split")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse duplicate names, of which JSON would silently drop the first."""
    twice = [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]
    if twice:
        raise ValueError(f"'{twice[0]}' occurs twice")
    return dict(pairs)


def read_lists(path: Path) -> dict[str, Any]:
    """Read the JSON object of a datalist, or of a file of splits; a name that occurs twice is refused."""
    if path.parent.is_file():
        raise DataError(f"'{path.parent}' is a file; dataset_dir takes the folder that contains it ({path.parent.parent})")
    if not path.is_file():
        raise DataError(f"there is no file {path}; make a datalist with `monai_tl datalist`, or correct the path")
    text = read_text(path)
    try:
        content = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON with lists by name ({error})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} contains a {type(content).__name__}; needed is one object with lists by name")
    return content
