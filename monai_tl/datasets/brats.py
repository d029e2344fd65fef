"""Cases in the layouts of BraTS, 2017 to 2025: what files are called; what their label values mean is in `tracks`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from monai_tl.datasets import brats_tracks, patterns
from monai_tl.datasets.brats_tracks import Track, choose_track, named_track
from monai_tl.datasets.ids import on_disk
from monai_tl.datasets.patterns import Case, Cases
from monai_tl.errors import ConfigError, DataError, did_you_mean, first_line
from monai_tl.imaging.scan_files import open_scan
from monai_tl.storage.progress import follow
from monai_tl.text import name_some

MODALITIES = ("T1", "T1ce", "T2", "FLAIR")
GRADES = ("HGG", "LGG")


@dataclass(frozen=True)
class Naming:
    """How files are called: ``<subject>/<subject><separator><ending>.nii.gz`` (or ``.nii``).

    Attributes:
        years: those that use it.
        separator: what stands between subject and ending.
        endings: modality or ``"label"`` -> ending.
        family: of ids that begin as those of no known track; ``None`` where files do not tell.
    """

    years: str
    separator: str
    endings: Mapping[str, str]
    family: str | None = None

    def files(self, folder: Path, role: str) -> list[Path]:
        """Give the files of a subject's folder for one modality or the label: none, one, or two by suffix or encoding."""
        if role not in self.endings:
            return []
        names = [f"{folder.name}{self.separator}{self.endings[role]}{suffix}" for suffix in (".nii.gz", ".nii")]
        return [path for name in names for path in on_disk(folder / name) if patterns.is_file(path)]

    def fits(self, folder: Path) -> bool:
        """Say if a folder is a subject's, by any of its files."""
        return folder.is_dir() and any(self.files(folder, role) for role in self.endings)


OLD = Naming(
    "2017–2021", "_", {"T1": "t1", "T1ce": "t1ce", "T2": "t2", "FLAIR": "flair", "label": "seg"}, family=brats_tracks.OLD
)
NEW = Naming("2023–2024", "-", {"T1": "t1n", "T1ce": "t1c", "T2": "t2w", "FLAIR": "t2f", "label": "seg"})
RADIOTHERAPY = Naming("2024 for radiotherapy", "_", {"T1ce": "t1c", "label": "gtv"}, family="BraTS-MEN-RT")
NAMINGS = (OLD, NEW, RADIOTHERAPY)


class Coding(NamedTuple):
    """What label values mean.

    Attributes:
        foreground: values of the tumour core, or those asked for.
        labels: all that may occur besides 0.
        track: whose coding it is; ``None`` where both were asked for without one.
        notes: how it was found, a line each.
    """

    foreground: tuple[int, ...]
    labels: tuple[int, ...]
    track: Track | None
    notes: tuple[str, ...]


def find_brats_cases(
    root: Path,
    modalities: Sequence[str] = ("T1", "T2"),
    *,
    incomplete: str = "refuse",
    labelled: bool = True,
    grade: str | None = None,
) -> Cases:
    """Find the cases below a BraTS folder; every folder in it is a subject.

    Args:
        root: folder with ``HGG/<subject>/<subject>_t1.nii.gz`` (and ``LGG``), or the subjects' folders themselves; files are
            called as in 2017 to 2021, or as in 2023 and 2024.
        modalities: of ``T1, T1ce, T2, FLAIR``; only these and the label have to be there.
        incomplete: ``"refuse"``, or ``"leave_out"`` to go on without subjects that lack a file.
        labelled: whether a case needs its label, as it does but for prediction.
        grade: ``"HGG"`` or ``"LGG"`` to take only these; ``None`` takes all.

    Raises:
        ConfigError: if a modality or grade is unknown.
        DataError: if the folder holds no case, names of different years, subjects both beside and in the grades' folders,
            or does not tell the grade that is asked for, or if a subject lacks a file or has two for one modality.
    """
    unknown = [name for name in modalities if name not in MODALITIES]
    if unknown:
        raise ConfigError(f"unknown BraTS modality '{unknown[0]}': {did_you_mean(unknown[0], MODALITIES)}")
    root = Path(root).expanduser().absolute()
    roles = [*modalities, *(["label"] if labelled else [])]
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; needed is one that holds {_needed(roles)}")
    folders = _subjects(root, grade)
    naming = naming_of(folders)
    strange = [name for name in modalities if naming and name not in naming.endings]
    if naming and strange:
        there = ",".join(name for name in naming.endings if name != "label")
        raise ConfigError(f"BraTS {naming.years} has no {', '.join(strange)} ({folders[0].name}…): --modalities {there}")
    if naming is None:
        content = sorted(path.name for path in root.iterdir())
        held = name_some(content) or "nothing"
        raise DataError(f"no case under {root}: looked for {_needed(roles)}; it holds {held}")
    found: dict[str, dict[str, list[str]]] = {role: {} for role in roles}
    for folder in folders:
        for role in roles:
            found[role].setdefault(folder.name, []).extend(str(path) for path in naming.files(folder, role))
    return patterns.pair_by_subject(found, incomplete)


def is_brats_layout(root: Path) -> bool:
    """Say if a folder holds grades' folders, or a subject's."""
    return any((root / grade).is_dir() for grade in GRADES) or naming_of(_folders(root)) is not None


def has_labels(root: Path) -> bool:
    """Say if a subject has a label: the cases of a challenge's validation have none.

    Raises:
        DataError: as `find_cases`.
    """
    folders = _subjects(root, None)
    naming = naming_of(folders)
    return naming is not None and any(naming.files(folder, "label") for folder in folders)


def naming_of(folders: Sequence[Path]) -> Naming | None:
    """Give the one naming that subjects' folders follow; ``None`` if they hold no such file.

    Raises:
        DataError: if different folders, or one, follow two.
    """
    fitting = [(naming, [folder.name for folder in folders if naming.fits(folder)]) for naming in NAMINGS]
    named = [(naming, subjects) for naming, subjects in fitting if subjects]
    if len(named) > 1:
        told = "; ".join(f"{naming.years}: {name_some(subjects, 3)}" for naming, subjects in named)
        raise DataError(f"names of different years in one folder ({told}): their labels differ, so give each a folder")
    return named[0][0] if named else None


def find_brats_coding(
    cases: Sequence[Case], foreground: Sequence[int], labels: Sequence[int], track: str = "", *, most: bool = False
) -> Coding:
    """Read the labels and say what their values mean; ids and values have to agree.

    Args:
        cases: of `find_cases`, with labels.
        foreground: values to take instead of the track's tumour core; none: those.
        labels: likewise, of all values.
        track: name of the track; empty: it is found by ids and values.
        most: whether it is enough that at least half of the labels agree with the ids: which of the others cannot be read or
            holds something else is then for a check to say, case by case.

    Raises:
        DataError: if no track or several with different cores fit; and, without ``most``, if a label cannot be read, if values
            occur that the track, or ``labels``, does not know, or if no label holds the foreground.
    """
    found = {} if most and (track or (foreground and labels)) else _read(cases, most)
    if track:
        chosen: Track | None = named_track(track)
    elif (foreground and labels) or (most and not found):
        chosen = None
    else:
        chosen = choose_track([case["subject"] for case in cases], found, _naming(cases).family, most=most)
    coding = Coding(
        tuple(foreground or (chosen.core if chosen else ())),
        tuple(labels or (chosen.labels if chosen else ())),
        chosen,
        tuple(_notes(cases, chosen, foreground, labels, bool(track))),
    )
    if not most:
        _refuse_strange(coding, found, bool(labels))
    return coding


def _read(cases: Sequence[Case], readable_only: bool) -> dict[tuple[float, ...], list[str]]:
    """Values besides 0 that a label holds -> subjects."""
    found: dict[tuple[float, ...], list[str]] = {}
    for case in follow(cases, "reading labels", "case"):
        try:
            found.setdefault(_values(case), []).append(case["subject"])
        except DataError:
            if not readable_only:
                raise
    return found


def _refuse_strange(coding: Coding, found: brats_tracks.Found, asked: bool) -> None:
    """Refuse values that are not known, and labels none of which holds the foreground."""
    occurring = {value for values in found for value in values}
    strange = sorted(occurring - set(coding.labels))
    if strange:
        at = next(subjects[0] for values, subjects in found.items() if strange[0] in values)
        whose = f"--labels {_join(coding.labels)} does not name" if asked else f"is not known in {coding.track}"
        raise DataError(f"labels hold {_join(strange)} (e.g. {at}), which {whose}")
    if not occurring & set(coding.foreground):
        raise DataError(f"no label holds the foreground {_join(coding.foreground)}, only {_join(sorted(occurring))}")


def _notes(
    cases: Sequence[Case], chosen: Track | None, foreground: Sequence[int], labels: Sequence[int], asked: bool
) -> Iterator[str]:
    """Say which track was taken and why, and what was asked for in its place."""
    families = brats_tracks.families_of([case["subject"] for case in cases], _naming(cases).family)
    if chosen:
        yield f"BraTS track {chosen}, {'as asked for' if asked else 'by ids and label values'}"
        others = [family for family in families if family and family != chosen.family]
        if others:
            yield f"warning: ids are those of {' and '.join(others)}, and --track {chosen.name} is taken all the same"
        if foreground and set(foreground) != set(chosen.core):
            yield f"foreground {_join(foreground)} as asked for, in place of the track's tumour core {_join(chosen.core)}"
        if labels and set(labels) != set(chosen.labels):
            yield f"labels {_join(labels)} as asked for, in place of the track's {_join(chosen.labels)}"
    elif foreground and labels:
        yield f"foreground {_join(foreground)} of labels {_join(labels)} as asked for; no BraTS track was looked for"


def _naming(cases: Sequence[Case]) -> Naming:
    naming = naming_of([Path(case["label"]).parent for case in cases])
    assert naming is not None  # by `find_cases`
    return naming


def _subjects(root: Path, grade: str | None) -> list[Path]:
    """The subjects' folders, of one grade if asked for."""
    if grade is not None and grade not in GRADES:
        raise ConfigError(f"unknown grade '{grade}': {did_you_mean(grade, GRADES)}")
    beside = [path for path in _folders(root) if path.name not in GRADES]
    levels = [root / name for name in GRADES if (root / name).is_dir()]
    if grade is not None and not levels:
        raise DataError(f"--grade {grade}: {root} does not tell grades (it has neither an HGG nor an LGG folder)")
    if not levels:
        return beside
    strays = [folder.name for folder in beside if any(naming.fits(folder) for naming in NAMINGS)]
    if strays:
        raise DataError(
            f"{root} holds subjects beside {' and '.join(level.name for level in levels)} ({name_some(strays)}), whose "
            "grade is not told; move them, or give --root the folder that holds those that are meant"
        )
    if grade is not None and root / grade not in levels:
        raise DataError(f"--grade {grade}: {root} has no folder {grade}, only {levels[0].name}")
    return [folder for level in levels if grade in (None, level.name) for folder in _folders(level)]


def _folders(root: Path) -> list[Path]:
    """The folders in a folder, each of which may be read: the subjects in others would be missing unnoticed."""
    folders = [root, *(path for path in root.iterdir() if path.is_dir())] if os.access(root, os.R_OK | os.X_OK) else [root]
    closed = [path for path in folders if not os.access(path, os.R_OK | os.X_OK)]
    if closed:
        raise DataError(f"no permission to read the folder {closed[0]}; change its permissions, or move it")
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _values(case: Case) -> tuple[float, ...]:
    """The values besides 0 that a label holds."""
    try:
        voxels: Any = np.asanyarray(open_scan(case["label"]).dataobj)
    except Exception as error:  # a damaged file can raise anything
        raise DataError(f"{case['subject']}: label is not readable ({first_line(error)}): {case['label']}") from error
    return tuple(value.item() for value in np.unique(voxels[voxels != 0]))


def _join(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" if value == round(value) else str(value) for value in values) or "nothing but 0"


def _needed(roles: Sequence[str]) -> str:
    able = [naming for naming in NAMINGS if all(role in naming.endings for role in roles)]
    shown = [f"<subject>{n.separator}{{{','.join(n.endings[role] for role in roles)}}}.nii.gz" for n in able]
    return f"[HGG/ or LGG/]<subject>/{' or '.join(shown)}"
