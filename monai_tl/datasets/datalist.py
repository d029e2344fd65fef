"""The datalist: cases, regions and splits; written once, then only read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from monai_tl.datasets.ids import normal
from monai_tl.datasets.patterns import Case, refuse_odd_names
from monai_tl.datasets.regions import Regions, check_regions, foreground_of
from monai_tl.datasets.splits import check_lists, check_splits, read_lists, refuse_duplicates, subjects_sha256
from monai_tl.errors import ConfigError, DataError, did_you_mean, list_problems
from monai_tl.settings.refusals import raise_refusals, refusal
from monai_tl.settings.table import LABELS, SPLITS
from monai_tl.storage.files import write_text
from monai_tl.storage.text_tables import read_text

FORMAT = 2


@dataclass(frozen=True)
class Datalist:
    """Cases and their splits.

    Attributes:
        path: of its file; ``None`` before it is written.
        modalities: names of the images that every case has.
        regions: name -> label values, which may overlap; one region ``foreground`` if they were not named.
        labels: all values that a label may contain in addition to 0; ``None`` allows any integer.
        ignore: label values of voxels that count nowhere: not in sampling, loss or scores.
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
    regions: dict[str, tuple[int, ...]]
    cases: tuple[Case, ...]
    splits: dict[str, tuple[str, ...]]
    labels: tuple[int, ...] | None = None
    ignore: tuple[int, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    split_rule: dict[str, Any] = field(default_factory=dict)
    track: dict[str, str] = field(default_factory=dict)
    path: Path | None = None

    @property
    def foreground(self) -> tuple[int, ...]:
        """The label values of all regions."""
        return foreground_of(self.regions)

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
        named = sorted(self.foreground) if len(self.regions) == 1 else [[name, sorted(of)] for name, of in self.regions.items()]
        content = [
            list(self.modalities),
            named,
            files,
            sorted(self.splits.items()),
            *([list(self.ignore)] if self.ignore else []),
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def make_datalist(
    cases: Sequence[Case],
    *,
    modalities: Sequence[str],
    regions: Regions,
    splits: Mapping[str, Sequence[str]],
    labels: Sequence[int] | None = None,
    ignore: Sequence[int] = (),
    split_rule: Mapping[str, Any] | None = None,
    left_out: Mapping[str, str] | None = None,
    track: Mapping[str, str] | None = None,
) -> Datalist:
    """Combine cases and splits after checking that they agree; nothing is written or opened.

    Raises:
        ConfigError: if there is no modality or one occurs twice, or for regions that `check_regions` refuses.
        DataError: if a case lacks a file, a subject occurs twice or in two splits or has no case, or a split is empty.
    """
    if not modalities or len(set(modalities)) < len(modalities):
        raise ConfigError(f"modalities takes different names, e.g. T1,T2; got {list(modalities)}")
    asked = ({} if labels is None else {"labels": labels}) | ({"ignore": ignore} if ignore else {})
    raise_refusals((refusal(name, LABELS, given) for name, given in asked.items()), "label values")
    check_regions(regions, labels, ignore)
    refuse_duplicates("cases", [case["subject"] for case in cases])
    needed = ("subject", *modalities, "label")
    lacking = [f"{case['subject']} lacks {key}" for case in cases for key in needed if key not in case]
    if lacking:
        raise DataError(list_problems("every case needs each modality and a label:", lacking))
    refuse_odd_names(cases)
    check_splits(splits, {case["subject"] for case in cases})
    kept = [{"subject": case["subject"], **{key: os.path.abspath(case[key]) for key in needed[1:]}} for case in cases]
    return Datalist(
        modalities=tuple(modalities),
        regions={name: tuple(values) for name, values in regions.items()},
        cases=tuple(sorted(kept, key=lambda case: case["subject"])),
        splits={name: tuple(splits[name]) for name in SPLITS if name in splits},
        labels=None if labels is None else tuple(labels),
        ignore=tuple(ignore),
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
    content = read_lists(path)
    remedy = "make it again with `monai_tl datalist`"
    needed = ("format", "modalities", "regions", "cases", "splits", "sha256")
    if content.get("format", FORMAT) != FORMAT:
        raise DataError(f"{path} has format {content['format']}, this version reads {FORMAT}; {remedy}")
    missing = [key for key in needed if key not in content]
    if missing:
        raise DataError(f"{path} is not a datalist: it lacks {', '.join(missing)}; {remedy}")
    cases = content["cases"]
    if not all(isinstance(case, dict) and "subject" in case and {*map(type, case.values())} == {str} for case in cases):
        raise DataError(f"{path}: every case needs a subject and its paths, all strings; {remedy}")
    splits = check_lists(path, content["splits"])
    if {name: subjects_sha256(subjects) for name, subjects in splits.items()} != content["sha256"]:
        raise DataError(f"{path}: the splits do not match their sha256, so they were changed by hand; {remedy}")
    splits = {name: [*map(normal, subjects)] for name, subjects in splits.items()}
    here = [{**{key: str(path.parent / case[key]) for key in case}, "subject": normal(case["subject"])} for case in cases]
    keys = ("modalities", "regions", "labels", "split_rule", "left_out", "track")
    rest: dict[str, Any] = {key: content.get(key) for key in keys} | {"ignore": content.get("ignore", ())}
    try:
        datalist = make_datalist(here, splits=splits, **rest)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    return replace(datalist, path=path)


def _content(datalist: Datalist, folder: Path) -> dict[str, Any]:
    """Return the content of the file."""
    below = os.path.join(folder, "")

    def shown(path: str) -> str:
        return path.removeprefix(below).replace(os.sep, "/") if path.startswith(below) else path

    return {
        "format": FORMAT,
        "modalities": list(datalist.modalities),
        "regions": {name: list(values) for name, values in datalist.regions.items()},
        "labels": None if datalist.labels is None else list(datalist.labels),
        **({"ignore": list(datalist.ignore)} if datalist.ignore else {}),
        "splits": {name: list(subjects) for name, subjects in datalist.splits.items()},
        "sha256": {name: subjects_sha256(subjects) for name, subjects in datalist.splits.items()},
        "split_rule": datalist.split_rule,
        **({"track": datalist.track} if datalist.track else {}),
        "left_out": datalist.left_out,
        "cases": [{**{key: shown(case[key]) for key in case}, "subject": case["subject"]} for case in datalist.cases],
    }
