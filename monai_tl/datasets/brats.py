"""Cases in the layouts of BraTS, 2017 to 2025: file names; `brats_tracks` defines the meaning of the label values."""

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
    """A naming scheme: ``<subject>/<subject><separator><ending>.nii.gz`` (or ``.nii``).

    Attributes:
        years: of the challenges that use it.
        separator: between subject and ending.
        endings: modality or ``"label"`` -> ending.
        family: of ids that do not start as those of a known track; ``None`` if the naming does not determine it.
    """

    years: str
    separator: str
    endings: Mapping[str, str]
    family: str | None = None

    def files(self, folder: Path, role: str) -> list[Path]:
        """Return the files of a subject's folder for a modality or the label: none, one, or two by suffix or encoding."""
        if role not in self.endings:
            return []
        names = [f"{folder.name}{self.separator}{self.endings[role]}{suffix}" for suffix in (".nii.gz", ".nii")]
        return [path for name in names for path in on_disk(folder / name) if patterns.is_file(path)]

    def fits(self, folder: Path) -> bool:
        """Return whether a folder contains any file of a subject in this naming."""
        return folder.is_dir() and any(self.files(folder, role) for role in self.endings)


OLD = Naming(
    "2017–2021", "_", {"T1": "t1", "T1ce": "t1ce", "T2": "t2", "FLAIR": "flair", "label": "seg"}, family=brats_tracks.OLD
)
NEW = Naming("2023–2024", "-", {"T1": "t1n", "T1ce": "t1c", "T2": "t2w", "FLAIR": "t2f", "label": "seg"})
RADIOTHERAPY = Naming("2024 for radiotherapy", "_", {"T1ce": "t1c", "label": "gtv"}, family="BraTS-MEN-RT")
NAMINGS = (OLD, NEW, RADIOTHERAPY)


class Coding(NamedTuple):
    """The meaning of the label values.

    Attributes:
        foreground: values of the tumour core, or the requested values.
        labels: all values that may occur in addition to 0.
        track: with this coding; ``None`` if both of the above were requested without a track.
        notes: how the coding was determined, one line each.
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
    """Find the cases in a BraTS folder; each of its subfolders is a subject.

    Args:
        root: folder with ``HGG/<subject>/<subject>_t1.nii.gz`` (and ``LGG``), or the subjects' folders themselves; files are
            named as in 2017 to 2021, or as in 2023 and 2024.
        modalities: among ``T1, T1ce, T2, FLAIR``; only these and the label must exist.
        incomplete: ``"refuse"``, or ``"leave_out"`` to omit subjects that lack a file.
        labelled: whether cases need a label; only prediction does not.
        grade: ``"HGG"`` or ``"LGG"`` to select one; ``None`` for all.

    Raises:
        ConfigError: if a modality or grade is unknown.
        DataError: if the folder contains no case, names of different years, subjects both inside and outside the grades'
            folders, or no folder of the requested grade; or if a subject lacks a file or has two for one modality.
    """
    unknown = [name for name in modalities if name not in MODALITIES]
    if unknown:
        raise ConfigError(f"unknown BraTS modality '{unknown[0]}': {did_you_mean(unknown[0], MODALITIES)}")
    root = Path(root).expanduser().absolute()
    roles = [*modalities, *(["label"] if labelled else [])]
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; needed is one with {_needed(roles)}")
    folders = _subjects(root, grade)
    naming = naming_of(folders)
    strange = [name for name in modalities if naming and name not in naming.endings]
    if naming and strange:
        there = ",".join(name for name in naming.endings if name != "label")
        raise ConfigError(f"BraTS {naming.years} has no {', '.join(strange)} ({folders[0].name}…): --modalities {there}")
    if naming is None:
        content = name_some(sorted(path.name for path in root.iterdir())) or "nothing"
        raise DataError(f"no case under {root}: looked for {_needed(roles)}; it contains {content}")
    found: dict[str, dict[str, list[str]]] = {role: {} for role in roles}
    for folder in folders:
        for role in roles:
            found[role].setdefault(folder.name, []).extend(str(path) for path in naming.files(folder, role))
    return patterns.pair_by_subject(found, incomplete)


def is_brats_layout(root: Path) -> bool:
    """Return whether a folder contains grades' folders or subjects' folders."""
    return any((root / grade).is_dir() for grade in GRADES) or naming_of(_folders(root)) is not None


def has_labels(root: Path) -> bool:
    """Return whether any subject has a label; the validation cases of a challenge have none.

    Raises:
        DataError: as `find_brats_cases`.
    """
    folders = _subjects(root, None)
    naming = naming_of(folders)
    return naming is not None and any(naming.files(folder, "label") for folder in folders)


def naming_of(folders: Sequence[Path]) -> Naming | None:
    """Return the naming of the subjects' folders; ``None`` if they contain no such file.

    Raises:
        DataError: if the folders follow more than one naming.
    """
    fitting = [(naming, [folder.name for folder in folders if naming.fits(folder)]) for naming in NAMINGS]
    named = [(naming, subjects) for naming, subjects in fitting if subjects]
    if len(named) > 1:
        namings = "; ".join(f"{naming.years}: {name_some(subjects, 3)}" for naming, subjects in named)
        raise DataError(
            f"file names of different years in one folder ({namings}): their labels differ, so move each to its own folder"
        )
    return named[0][0] if named else None


def find_brats_coding(
    cases: Sequence[Case], foreground: Sequence[int], labels: Sequence[int], track: str = "", *, most: bool = False
) -> Coding:
    """Read the labels and determine the meaning of their values; ids and values must agree.

    Args:
        cases: of `find_brats_cases`, with labels.
        foreground: values to use instead of the track's tumour core; empty for the core.
        labels: all values to allow instead of the track's; empty for the track's.
        track: name of the track; empty to detect it from ids and values.
        most: whether it is enough that at least half of the labels agree with the ids; `monai_tl check` then reports the
            others case by case.

    Raises:
        DataError: if no track, or several tracks with different cores, match; and, without ``most``, if a label cannot be
            read, if values occur that neither the track nor ``labels`` includes, or if no label contains the foreground.
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
    """Return nonzero values of a label -> subjects."""
    found: dict[tuple[float, ...], list[str]] = {}
    for case in follow(cases, "reading labels", "case"):
        try:
            found.setdefault(_values(case), []).append(case["subject"])
        except DataError:
            if not readable_only:
                raise
    return found


def _refuse_strange(coding: Coding, found: brats_tracks.Found, asked: bool) -> None:
    """Raise if unknown values occur, or if no label contains the foreground."""
    occurring = {value for values in found for value in values}
    strange = sorted(occurring - set(coding.labels))
    if strange:
        at = next(subjects[0] for values, subjects in found.items() if strange[0] in values)
        whose = f"--labels {_join(coding.labels)} does not name" if asked else f"is not known in {coding.track}"
        raise DataError(f"labels contain {_join(strange)} (e.g. {at}), which {whose}")
    if not occurring & set(coding.foreground):
        raise DataError(f"no label contains the foreground {_join(coding.foreground)}, only {_join(sorted(occurring))}")


def _notes(
    cases: Sequence[Case], chosen: Track | None, foreground: Sequence[int], labels: Sequence[int], asked: bool
) -> Iterator[str]:
    """Yield notes on the track, how it was determined, and which of its values were overridden."""
    families = brats_tracks.families_of([case["subject"] for case in cases], _naming(cases).family)
    if chosen:
        yield f"BraTS track {chosen}, {'by --track' if asked else 'by ids and label values'}"
        others = [family for family in families if family and family != chosen.family]
        if others:
            yield f"warning: ids are those of {' and '.join(others)}, but --track {chosen.name} is used"
        if foreground and set(foreground) != set(chosen.core):
            yield f"foreground {_join(foreground)} by --foreground, instead of the track's tumour core {_join(chosen.core)}"
        if labels and set(labels) != set(chosen.labels):
            yield f"labels {_join(labels)} by --labels, instead of the track's {_join(chosen.labels)}"
    elif foreground and labels:
        yield f"foreground {_join(foreground)} of labels {_join(labels)} as requested; no BraTS track was detected"


def _naming(cases: Sequence[Case]) -> Naming:
    naming = naming_of([Path(case["label"]).parent for case in cases])
    assert naming is not None  # guaranteed by `find_brats_cases`
    return naming


def _subjects(root: Path, grade: str | None) -> list[Path]:
    """Return the subjects' folders, of one grade if requested."""
    if grade is not None and grade not in GRADES:
        raise ConfigError(f"unknown grade '{grade}': {did_you_mean(grade, GRADES)}")
    outside = [path for path in _folders(root) if path.name not in GRADES]
    levels = [root / name for name in GRADES if (root / name).is_dir()]
    if grade is not None and not levels:
        raise DataError(f"--grade {grade}: {root} is not divided by grade (it has neither an HGG nor an LGG folder)")
    if not levels:
        return outside
    strays = [folder.name for folder in outside if any(naming.fits(folder) for naming in NAMINGS)]
    if strays:
        raise DataError(
            f"{root} contains subjects outside {' and '.join(level.name for level in levels)} ({name_some(strays)}), whose "
            "grade is unknown; move them, or set --root to the folder with the intended subjects"
        )
    if grade is not None and root / grade not in levels:
        raise DataError(f"--grade {grade}: {root} has no folder {grade}, only {levels[0].name}")
    return [folder for level in levels if grade in (None, level.name) for folder in _folders(level)]


def _folders(root: Path) -> list[Path]:
    """Return the subfolders; raise if one is not readable, since its subjects would be missing unnoticed."""
    folders = [root, *(path for path in root.iterdir() if path.is_dir())] if os.access(root, os.R_OK | os.X_OK) else [root]
    closed = [path for path in folders if not os.access(path, os.R_OK | os.X_OK)]
    if closed:
        raise DataError(f"no permission to read the folder {closed[0]}; change its permissions, or move it")
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _values(case: Case) -> tuple[float, ...]:
    """Return the nonzero values of a label."""
    try:
        voxels: Any = np.asanyarray(open_scan(case["label"]).dataobj)
    except Exception as error:  # a damaged file can raise any exception
        raise DataError(f"{case['subject']}: label is not readable ({first_line(error)}): {case['label']}") from error
    return tuple(value.item() for value in np.unique(voxels[voxels != 0]))


def _join(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" if value == round(value) else str(value) for value in values) or "nothing but 0"


def _needed(roles: Sequence[str]) -> str:
    able = [naming for naming in NAMINGS if all(role in naming.endings for role in roles)]
    shown = [f"<subject>{n.separator}{{{','.join(n.endings[role] for role in roles)}}}.nii.gz" for n in able]
    return f"[HGG/ or LGG/]<subject>/{' or '.join(shown)}"
