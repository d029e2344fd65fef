"""What can be checked: the cases of a datalist, or of a folder in a known layout before there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from monai_tl.data import brats, files, ixi
from monai_tl.data.datalist import read_datalist
from monai_tl.data.files import Case, name_some, refuse_odd_names
from monai_tl.errors import ConfigError, DataError, did_you_mean


@dataclass(frozen=True)
class Candidates:
    """Cases to check and what their labels mean.

    Attributes:
        cases: in order of subject id.
        modalities: images that are looked at, the first being the one that the others are compared with.
        foreground: label values that count.
        labels: values that a label may hold besides 0; ``None`` allows any integer.
        incomplete: subject -> what it lacks.
        notes: what cannot be checked, and why.
    """

    cases: tuple[Case, ...]
    modalities: tuple[str, ...]
    foreground: tuple[int, ...]
    labels: tuple[int, ...] | None = None
    incomplete: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def find_candidates(
    location: Path, modalities: Sequence[str] = (), foreground: Sequence[int] = (), labels: Sequence[int] = ()
) -> Candidates:
    """Find what is to be checked.

    Args:
        location: a datalist, or a folder in the layout of IXI or BraTS.
        modalities: those of the datalist, else T1 and T2, if empty.
        foreground: as in the datalist, else 17 and 53 for IXI, 1 and 4 for BraTS, if empty.
        labels: as in the datalist, else any for IXI, 1, 2 and 4 for BraTS, if empty.

    Raises:
        DataError: if there is nothing of that kind.
        ConfigError: if a folder is in no known layout.
    """
    path = Path(location).expanduser().absolute()
    if not path.exists():
        raise DataError(f"'{location}' does not exist; give a datalist (.json) or a folder of scans")
    found = _of_datalist(path, modalities) if path.is_file() else _of_folder(path, modalities)
    refuse_odd_names(found.cases)
    return Candidates(
        cases=found.cases,
        modalities=found.modalities,
        foreground=tuple(foreground) or found.foreground,
        labels=tuple(labels) or found.labels,
        incomplete=found.incomplete,
        notes=found.notes,
    )


def _of_datalist(path: Path, modalities: Sequence[str]) -> Candidates:
    data = read_datalist(path)
    for name in modalities:
        if name not in data.modalities:
            raise DataError(f"no modality '{name}' in {path}: {did_you_mean(name, data.modalities)}")
    out = len(data.left_out)
    notes = (f"{out} subject{'s' * (out > 1)} left out of the datalist: not looked at here.",) if out else ()
    return Candidates(data.cases, tuple(modalities) or data.modalities, data.foreground, data.labels, notes=notes)


def _of_folder(path: Path, modalities: Sequence[str]) -> Candidates:
    names = tuple(modalities) or ("T1", "T2")
    if any((path / f"IXI-{name}").is_dir() for name in names):
        labelled = (path / "aseg").is_dir()
        cases = ixi.find_cases(path, names, incomplete="leave_out", labelled=labelled)
        return _found(cases, names, (17, 53), None, labelled)
    if any(path.glob("*/*_seg.nii*")) or any((path / grade).is_dir() for grade in brats.GRADES):
        cases = brats.find_cases(path, names, incomplete="leave_out")
        return _found(cases, names, (1, 4), (1, 2, 4), True)
    content = name_some(sorted(child.name for child in path.iterdir() if not child.name.startswith("."))) or "nothing"
    raise ConfigError(
        f"'{path}' is in no layout known here (it holds {content}): make a datalist by `monai_tl datalist files`, check that"
    )


def _found(
    cases: files.Cases, modalities: tuple[str, ...], foreground: tuple[int, ...], labels: tuple[int, ...] | None, labelled: bool
) -> Candidates:
    notes = () if labelled else ("There are no labels here: nothing is said about them.",)
    return Candidates(tuple(cases), modalities, foreground, labels, incomplete=cases.left_out, notes=notes)
