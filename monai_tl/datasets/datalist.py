"""The datalist: cases, foreground values and splits; written once, then only read."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from monai_tl.datasets.ids import normal, visible
from monai_tl.datasets.patterns import Case, refuse_odd_names
from monai_tl.errors import ConfigError, DataError, did_you_mean, list_problems
from monai_tl.settings.refusals import raise_refusals, refusal
from monai_tl.settings.table import LABELS, POLICY, SPLITS
from monai_tl.storage.files import write_text
from monai_tl.storage.text_tables import read_text
from monai_tl.text import name_some

FORMAT = 1


class Splits(dict[str, tuple[str, ...]]):
    """Split -> its subjects in order of id, without empty splits.

    Attributes:
        left_out: subject -> why it is in no split, although a list names it.
    """

    def __init__(self, lists: Mapping[str, Sequence[str]]) -> None:
        """Sort each list, so that the same subjects always result in the same file."""
        super().__init__({name: tuple(sorted(subjects)) for name, subjects in lists.items()})
        self.left_out: dict[str, str] = {}


@dataclass(frozen=True)
class Datalist:
    """Cases and their splits.

    Attributes:
        path: of its file; ``None`` before it is written.
        modalities: names of the images that every case has.
        foreground: label values that count as foreground.
        labels: all values that a label may contain in addition to 0; ``None`` allows any integer.
        cases: in order of subject id, each with absolute paths.
        splits: the non-empty ones of ``train, validation, test``; a case may be in none.
        left_out: subject -> why it was left out.
        split_rule: how the splits were drawn, e.g. ``{"ratios": [0.7, 0.15, 0.15], "seed": 0}``.
        track: of BraTS, which defines the label values: ``{"name": "gli2023", "coding": "1 necrosis, …"}``; otherwise empty.

    Example:
        >>> from monai_tl import read_datalist
        >>> data = read_datalist("data/ixi/datalist.json")
        >>> data.modalities, data.foreground, {name: len(subjects) for name, subjects in data.splits.items()}
        (('T1', 'T2'), (17, 53), {'train': 3, 'validation': 1, 'test': 2})
    """

    modalities: tuple[str, ...]
    foreground: tuple[int, ...]
    cases: tuple[Case, ...]
    splits: dict[str, tuple[str, ...]]
    labels: tuple[int, ...] | None = None
    left_out: dict[str, str] = field(default_factory=dict)
    split_rule: dict[str, Any] = field(default_factory=dict)
    track: dict[str, str] = field(default_factory=dict)
    path: Path | None = None

    def split(self, name: str, modalities: Sequence[str] | None = None) -> list[Case]:
        """Return the cases of one split, each with ``"subject"``, the given modalities (default: all) and ``"label"``.

        Raises:
            DataError: if there is no such split or modality; the existing ones are listed.
        """
        if name not in self.splits:
            raise DataError(f"no split '{name}' in {self.path or 'the datalist'}: {did_you_mean(name, self.splits)}")
        wanted = self.modalities if modalities is None else tuple(modalities)
        for modality in wanted:
            if modality not in self.modalities:
                hint = did_you_mean(modality, self.modalities)
                raise DataError(f"no modality '{modality}' in {self.path or 'the datalist'}: {hint}")
        by_subject = {case["subject"]: case for case in self.cases}
        keys = ("subject", *wanted, "label")
        return [{key: by_subject[subject][key] for key in keys} for subject in self.splits[name]]

    def sha256(self) -> str:
        """Return the hash of cases and splits; it depends only on paths relative to the files' common folder."""
        roles = (*self.modalities, "label")
        root = os.path.commonpath([os.path.dirname(case[role]) for case in self.cases for role in roles])
        files = [[case["subject"], *(Path(case[role]).relative_to(root).as_posix() for role in roles)] for case in self.cases]
        content = [list(self.modalities), sorted(self.foreground), files, sorted(self.splits.items())]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def make_datalist(
    cases: Sequence[Case],
    *,
    modalities: Sequence[str],
    foreground: Sequence[int],
    splits: Mapping[str, Sequence[str]],
    labels: Sequence[int] | None = None,
    split_rule: Mapping[str, Any] | None = None,
    left_out: Mapping[str, str] | None = None,
    track: Mapping[str, str] | None = None,
) -> Datalist:
    """Combine cases and splits after checking that they agree; nothing is written or opened.

    Raises:
        ConfigError: if there is no modality or one occurs twice, or a label value is not an integer from 1.
        DataError: if a case lacks a file, a subject occurs twice or in two splits or has no case, or a split is empty.
    """
    if not modalities or len(set(modalities)) < len(modalities):
        raise ConfigError(f"modalities takes different names, e.g. T1,T2; got {list(modalities)}")
    asked = {"foreground": foreground} | ({} if labels is None else {"labels": labels})
    raise_refusals((refusal(name, LABELS, given) for name, given in asked.items()), "label values")
    if labels is not None and not set(foreground) <= set(labels):
        raise ConfigError(f"foreground {list(foreground)} is not among the labels {list(labels)}; name every value that occurs")
    _refuse_twice("cases", [case["subject"] for case in cases])
    needed = ("subject", *modalities, "label")
    lacking = [f"{case['subject']} lacks {key}" for case in cases for key in needed if key not in case]
    if lacking:
        raise DataError(list_problems("every case needs each modality and a label:", lacking))
    refuse_odd_names(cases)
    _check_splits(splits, {case["subject"] for case in cases})
    kept = [{"subject": case["subject"], **{key: os.path.abspath(case[key]) for key in needed[1:]}} for case in cases]
    return Datalist(
        modalities=tuple(modalities),
        foreground=tuple(foreground),
        cases=tuple(sorted(kept, key=lambda case: case["subject"])),
        splits={name: tuple(splits[name]) for name in SPLITS if name in splits},
        labels=None if labels is None else tuple(labels),
        left_out=dict(left_out or {}),
        split_rule=dict(split_rule or {}),
        track=dict(track or {}),
    )


def write_datalist(path: Path, datalist: Datalist) -> Path:
    """Write a datalist once; paths below its folder become relative, so that both can be moved together.

    Returns:
        The absolute path. A file with the same content is kept.

    Raises:
        ConfigError: if the file exists with other content.
    """
    path = Path(path).expanduser().absolute()
    if path.is_dir() or path.suffix != ".json":
        raise ConfigError(f"output '{path}' is not a .json file; name one, e.g. {path / 'datalist.json'}")
    text = json.dumps(_content(datalist, path.parent), indent=1, ensure_ascii=False) + "\n"
    if path.exists():
        if not path.is_file() or read_text(path) != text:
            raise ConfigError(f"{path} exists with other content; choose another name, or remove it if no run needs it")
        return path
    write_text(path, text)
    return path


def read_datalist(path: Path | str) -> Datalist:
    """Read a datalist and check that it is complete and unchanged; no scan is opened.

    Raises:
        DataError: if the file is missing or not a datalist, if a split was changed by hand, or cases and splits disagree.

    Example:
        >>> from monai_tl import read_datalist
        >>> len(read_datalist("data/brats/datalist.json").cases)
        6
    """
    path = Path(path).expanduser().absolute()
    content = _read_json(path)
    remedy = "make it again with `monai_tl datalist`"
    needed = ("format", "modalities", "foreground", "cases", "splits", "sha256")
    missing = [key for key in needed if key not in content]
    if missing:
        raise DataError(f"{path} is not a datalist: it lacks {', '.join(missing)}; {remedy}")
    if content["format"] != FORMAT:
        raise DataError(f"{path} has format {content['format']}, this version reads {FORMAT}; {remedy}")
    cases = content["cases"]
    if not all(isinstance(case, dict) and "subject" in case and {*map(type, case.values())} == {str} for case in cases):
        raise DataError(f"{path}: every case needs a subject and its paths, all strings; {remedy}")
    splits = _lists_of_text(path, content["splits"])
    if {name: _hash(subjects) for name, subjects in splits.items()} != content["sha256"]:
        raise DataError(f"{path}: the splits do not match their sha256, so they were changed by hand; {remedy}")
    splits = {name: [*map(normal, subjects)] for name, subjects in splits.items()}
    here = [{**{key: str(path.parent / case[key]) for key in case}, "subject": normal(case["subject"])} for case in cases]
    keys = ("modalities", "foreground", "labels", "split_rule", "left_out", "track")
    rest: dict[str, Any] = {key: content.get(key) for key in keys}
    try:
        datalist = make_datalist(here, splits=splits, **rest)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    return replace(datalist, path=path)


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
    _refuse_twice("subjects", subjects)
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
    lists = _lists_of_text(path, {name: value for name, value in _read_json(path).items() if isinstance(value, list)})
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
    _check_splits(chosen, {*subjects, *without})
    splits = Splits({name: [subject for subject in names if subject not in without] for name, names in chosen.items()})
    _check_splits(splits, set(subjects))
    splits.left_out = dict.fromkeys(without, f"listed in {path.name}, but has no case")
    return splits


def _check_splits(splits: Mapping[str, Sequence[str]], existing: set[str]) -> None:
    for name, subjects in splits.items():
        if name not in SPLITS:
            raise DataError(f"unknown split '{name}': {did_you_mean(name, SPLITS)}")
        if not subjects:
            raise DataError(f"the split '{name}' is empty; add a subject or omit the split")
        _refuse_twice(f"split '{name}'", subjects)
        strangers = [subject for subject in subjects if subject not in existing]
        if strangers:
            raise DataError(f"subjects of split '{name}' have no case: {name_some(strangers)}")
    if not splits:
        raise DataError(f"there is no split; needed is at least one of {', '.join(SPLITS)}")
    for one, other in combinations(splits, 2):
        shared = sorted(set(splits[one]) & set(splits[other]))
        if shared:
            raise DataError(f"subjects both in {one} and in {other}: {name_some(shared)}; keep each in one split")


def _refuse_twice(where: str, subjects: Sequence[str]) -> None:
    twice = [subject for subject, times in Counter(subjects).items() if times > 1]
    if twice:
        raise DataError(f"subjects occur twice in {where}: {name_some(twice)}; keep each once")


def _content(datalist: Datalist, folder: Path) -> dict[str, Any]:
    """Return the content of the file."""
    below = os.path.join(folder, "")

    def shown(path: str) -> str:
        return path.removeprefix(below).replace(os.sep, "/") if path.startswith(below) else path

    return {
        "format": FORMAT,
        "modalities": list(datalist.modalities),
        "foreground": list(datalist.foreground),
        "labels": None if datalist.labels is None else list(datalist.labels),
        "splits": {name: list(subjects) for name, subjects in datalist.splits.items()},
        "sha256": {name: _hash(subjects) for name, subjects in datalist.splits.items()},
        "split_rule": datalist.split_rule,
        **({"track": datalist.track} if datalist.track else {}),
        "left_out": datalist.left_out,
        "cases": [{**{key: shown(case[key]) for key in case}, "subject": case["subject"]} for case in datalist.cases],
    }


def _hash(subjects: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(subjects).encode()).hexdigest()


def _lists_of_text(path: Path, lists: Any) -> dict[str, list[str]]:
    if not isinstance(lists, dict):
        raise DataError(f"{path}: splits must map names to lists; got {type(lists).__name__}")
    for name, subjects in lists.items():
        if not isinstance(subjects, list) or not all(isinstance(subject, str) for subject in subjects):
            raise DataError(f"{path}: '{name}' must be a list of subject ids in quotes")
    return lists


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse duplicate names, of which JSON would silently drop the first."""
    twice = [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]
    if twice:
        raise ValueError(f"'{twice[0]}' occurs twice")
    return dict(pairs)


def _read_json(path: Path) -> dict[str, Any]:
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
