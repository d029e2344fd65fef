"""What can be checked: the cases of a datalist, or of a folder in a known layout before there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from monai_tl.datasets import brats, decathlon, ixi
from monai_tl.datasets.datalist import read_datalist
from monai_tl.datasets.label_schemes import CODINGS, named_coding
from monai_tl.datasets.patterns import Case, Cases, refuse_odd_names
from monai_tl.errors import ConfigError, DataError, did_you_mean
from monai_tl.imaging.scan_files import open_scan
from monai_tl.preparation.prepare_ixi import read_prepared
from monai_tl.text import name_some

UNLABELLED = "There are no labels here: nothing is said about them."
LAYOUTS = (
    "IXI, as downloaded or prepared (folders IXI-T1, IXI-T2, aseg)",
    "BraTS of 2017 to 2025 ([HGG/]SUBJECT/SUBJECT_t1.nii.gz or …-t1n.nii.gz)",
    "a Decathlon task (dataset.json)",
)


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
    location: Path,
    modalities: Sequence[str] = (),
    foreground: Sequence[int] = (),
    labels: Sequence[int] = (),
    track: str = "",
) -> Candidates:
    """Find what is to be checked.

    Args:
        location: a datalist, or a folder in the layout of IXI (as downloaded or prepared), BraTS of any year, or a Decathlon
            task.
        modalities: if empty those of the datalist or task, else T1 and T2; a task's can be renamed, ``T1=T1w``.
        foreground: if empty as in the datalist; else the hippocampi for IXI, the tumour core for BraTS, all for a task.
        labels: if empty as in the datalist; else any for IXI, the track's for BraTS, those of the task.
        track: of BraTS; empty: it is found by ids and label values.

    Raises:
        DataError: if there is nothing of that kind, or ids and label values do not tell the track.
        ConfigError: if a folder is in no known layout, or a track is named for what is not BraTS.
    """
    path = Path(location).expanduser().absolute()
    if not path.exists():
        raise DataError(f"'{location}' does not exist; give a datalist (.json) or a folder of scans")
    asked = (foreground, labels, track)
    found = _of_datalist(path, modalities) if path.is_file() else _of_folder(path, modalities, asked)
    if track and (path.is_file() or not brats.is_brats_layout(path)):
        raise ConfigError(f"--track {track}: '{location}' is no folder in the layout of BraTS; only there values have tracks")
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


def _of_folder(path: Path, modalities: Sequence[str], asked: tuple[Sequence[int], Sequence[int], str]) -> Candidates:
    names = tuple(modalities) or ("T1", "T2")
    if ixi.is_ixi_layout(path, names):
        return _of_ixi(path, names)
    if decathlon.is_decathlon_layout(path):
        task = decathlon.read_task(path)
        pairs = decathlon.pairs_of(",".join(modalities), task)
        values = tuple(task.values(()))
        return _found(decathlon.find_decathlon_cases(task, pairs, incomplete="leave_out"), tuple(pairs), values, values)
    if brats.is_brats_layout(path):
        if not brats.has_labels(path):
            return _found(
                brats.find_brats_cases(path, names, incomplete="leave_out", labelled=False), names, (), (), [UNLABELLED]
            )
        cases = brats.find_brats_cases(path, names, incomplete="leave_out")
        coding = brats.find_brats_coding(cases, *asked, most=True)
        return _found(cases, names, coding.foreground, coding.labels, coding.notes)
    content = name_some(sorted(child.name for child in path.iterdir() if not child.name.startswith("."))) or "nothing"
    raise ConfigError(
        f"'{path}' is in no layout known here (it holds {content}). Known are {'; '.join(LAYOUTS)}. For any other make a "
        "datalist by `monai_tl datalist files`, check that"
    )


def _of_ixi(path: Path, names: tuple[str, ...]) -> Candidates:
    """Of a folder as downloaded, with labels as FreeSurfer codes them, or prepared, with the coding that was used then."""
    labelled, told = (path / "aseg").is_dir(), read_prepared(path)
    cases = ixi.find_ixi_cases(path, names, incomplete="leave_out", labelled=labelled)
    notes = [] if labelled else [UNLABELLED]
    absent = sorted({*told["left_out"], *told["failed"]}) if told else []
    if absent:
        notes.append(  # by number: with --anonymous no name may stand here
            f"{len(absent)} left out or failed when this folder was prepared (prepared.json says who): not looked at here."
        )
    elif not told and _on_grids_of_their_own(cases, names):
        notes.append(
            f"{' and '.join(names)} lie on grids of their own, as IXI is downloaded: `monai_tl prepare ixi` brings them, and "
            "labels, onto one; check what it writes."
        )
    coding = named_coding(told["settings"].get("coding", "none")) if told else "freesurfer"
    foreground = tuple(sorted(CODINGS[coding]))
    return _found(cases, names, foreground, None, notes)


def _on_grids_of_their_own(cases: Cases, names: Sequence[str]) -> bool:
    """Say if the first case's modalities have different shapes; a file that cannot be read is told of later."""
    try:
        return len({open_scan(cases[0][name]).shape for name in names}) > 1 if cases else False
    except Exception:  # damaged files raise anything
        return False


def _found(
    cases: Cases,
    modalities: tuple[str, ...],
    foreground: tuple[int, ...],
    labels: tuple[int, ...] | None,
    notes: Sequence[str] = (),
) -> Candidates:
    return Candidates(tuple(cases), modalities, foreground, labels, incomplete=cases.left_out, notes=tuple(notes))
