"""Cases in the layouts of BraTS, 2017 to 2024: what files are called, and what their label values mean."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from monai_tl.data import files
from monai_tl.data.read import open_scan
from monai_tl.errors import ConfigError, DataError, did_you_mean

MODALITIES = ("T1", "T1ce", "T2", "FLAIR")
GRADES = ("HGG", "LGG")
BAR_FROM = 11  # cases; fewer are read before a bar could be


@dataclass(frozen=True)
class Naming:
    """How files are called: ``<subject>/<subject><separator><ending>.nii.gz`` (or ``.nii``).

    Attributes:
        years: those that use it.
        endings: modality or ``"label"`` -> ending.
        labels: the values that occur besides 0.
        core: those of the tumour core.
        cavity: the label of a resection cavity, which is not part of the tumour core; from 2024 on.
    """

    years: str
    separator: str
    endings: Mapping[str, str]
    labels: tuple[int, ...]
    core: tuple[int, ...]
    cavity: int | None = None

    def files(self, folder: Path, role: str) -> list[Path]:
        """Give the files of a subject's folder for one modality or the label: none, one, or two by their suffix."""
        name = f"{folder.name}{self.separator}{self.endings[role]}"
        return [path for suffix in (".nii.gz", ".nii") if files.is_file(path := folder / f"{name}{suffix}")]

    def known(self, found: Iterable[Sequence[float]]) -> list[int]:
        """Give the values that may occur, besides 0: a cavity's too, if a label holds it beside enhancing tumour."""
        cavity = [self.cavity] if self.cavity and any({3, self.cavity} <= set(values) for values in found) else []
        return sorted({*self.labels, *cavity})

    def fits(self, folder: Path) -> bool:
        """Say if a folder is a subject's, by any of its files."""
        return folder.is_dir() and any(self.files(folder, role) for role in self.endings)


OLD = Naming(
    "2017–2021",
    "_",
    {"T1": "t1", "T1ce": "t1ce", "T2": "t2", "FLAIR": "flair", "label": "seg"},
    labels=(1, 2, 4),
    core=(1, 4),
)
NEW = Naming(
    "2023–2024",
    "-",
    {"T1": "t1n", "T1ce": "t1c", "T2": "t2w", "FLAIR": "t2f", "label": "seg"},
    labels=(1, 2, 3),
    core=(1, 3),
    cavity=4,
)
NAMINGS = (OLD, NEW)


def find_cases(
    root: Path,
    modalities: Sequence[str] = ("T1", "T2"),
    *,
    incomplete: str = "refuse",
    labelled: bool = True,
    grade: str | None = None,
) -> files.Cases:
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
    if naming is None:
        content = sorted(path.name for path in root.iterdir())
        held = files.name_some(content) or "nothing"
        raise DataError(f"no case under {root}: looked for {_needed(roles)}; it holds {held}")
    found: dict[str, dict[str, list[str]]] = {role: {} for role in roles}
    for folder in folders:
        for role in roles:
            found[role].setdefault(folder.name, []).extend(str(path) for path in naming.files(folder, role))
    return files.pair_by_subject(found, incomplete)


def is_layout(root: Path) -> bool:
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
        told = "; ".join(f"{naming.years}: {files.name_some(subjects, 3)}" for naming, subjects in named)
        raise DataError(f"names of different years in one folder ({told}): their labels differ, so give each a folder")
    return named[0][0] if named else None


def values_of(cases: Sequence[files.Case], foreground: Sequence[int], labels: Sequence[int]) -> tuple[list[int], list[int]]:
    """Read the labels and give the tumour core's values, and all that may occur, besides 0.

    The names tell the years; the values have to agree with them. In 2024 labels hold a resection cavity, 4, as well; a
    4 without a single label that holds both 3 and 4 is rather a file from before 2023.

    Args:
        cases: of `find_cases`, with labels.
        foreground: values to take instead of the years' tumour core; none: those.
        labels: likewise, of all values.

    Raises:
        DataError: if a label cannot be read, if the values are not those of the names' years or those asked for, which are
            listed, or if no label holds the foreground.
    """
    found: dict[tuple[float, ...], list[str]] = {}
    for case in tqdm(cases, desc="reading labels", unit="case", disable=len(cases) < BAR_FROM):
        found.setdefault(_values(case), []).append(case["subject"])
    core, known = (foreground, labels) if foreground and labels else _values_of_years(cases, found)
    foreground, labels = foreground or core, labels or known
    occurring = {value for values in found for value in values}
    strange = sorted(occurring - set(labels))
    if strange:
        at = next(subjects[0] for values, subjects in found.items() if strange[0] in values)
        raise DataError(f"labels hold {_join(strange)} (e.g. {at}), which --labels {_join(labels)} does not name")
    if not occurring & set(foreground):
        raise DataError(f"no label holds the foreground {_join(foreground)}, only {_join(sorted(occurring))}")
    return list(foreground), list(labels)


def _values_of_years(
    cases: Sequence[files.Case], found: Mapping[tuple[float, ...], Sequence[str]]
) -> tuple[Sequence[int], Sequence[int]]:
    """The tumour core's and all values in the years that names tell, if the values (-> subjects) agree."""
    naming = naming_of([Path(case["label"]).parent for case in cases])
    assert naming is not None  # by `find_cases`
    occurring = {value for values in found for value in values}
    known = naming.known(found)
    if not occurring or not occurring <= set(known):
        told = "; ".join(f"{_join(values)} in {files.name_some(names, 2)}" for values, names in sorted(found.items()))
        raise DataError(
            f"files are called as in BraTS {naming.years}, whose label values are {_join(naming.labels)}, but labels hold "
            f"{_join(sorted(occurring))} ({told}); keep years apart, or say what they mean by --foreground and --labels"
        )
    return naming.core, known


def values_by_name(cases: Sequence[files.Case]) -> tuple[list[int], list[int]]:
    """Give the tumour core's values and all that may occur in the years that the names tell, whatever single labels hold.

    Unlike `values_of` it refuses nothing: which label cannot be read or holds something else is for a check to say, case by
    case. From 2023 on labels are read until one settles whether there is a cavity.

    Args:
        cases: of `find_cases`, with labels.
    """
    naming = naming_of([Path(case["label"]).parent for case in cases])
    assert naming is not None  # by `find_cases`
    return list(naming.core), naming.known(_values_if_readable(case) for case in cases)


def patient_of(subject: str) -> str:
    """Give the patient of a subject: ``BraTS-GLI-00005`` of ``BraTS-GLI-00005-101``, the scans of one at several times."""
    return subject.rsplit("-", 1)[0] if subject.startswith("BraTS-") else subject


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
            f"{root} holds subjects beside {' and '.join(level.name for level in levels)} ({files.name_some(strays)}), whose "
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


def _values(case: files.Case) -> tuple[float, ...]:
    """The values besides 0 that a label holds."""
    try:
        voxels: Any = np.asanyarray(open_scan(case["label"]).dataobj)
    except Exception as error:  # a damaged file can raise anything
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{case['subject']}: label is not readable ({first}): {case['label']}") from error
    return tuple(value.item() for value in np.unique(voxels[voxels != 0]))


def _values_if_readable(case: files.Case) -> tuple[float, ...]:
    try:
        return _values(case)
    except DataError:
        return ()


def _join(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" if value == round(value) else str(value) for value in values) or "nothing but 0"


def _needed(roles: Sequence[str]) -> str:
    shown = [f"<subject>{n.separator}{{{','.join(n.endings[role] for role in roles)}}}.nii.gz" for n in NAMINGS]
    return f"[HGG/ or LGG/]<subject>/{' or '.join(shown)}"
