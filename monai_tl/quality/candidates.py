"""The cases to check: those of a datalist, or of a folder in a known layout."""

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
from monai_tl.preparation.prepared_folder import read_prepared
from monai_tl.text import name_some

UNLABELLED = "There are no labels in this folder, so labels are not checked."
LAYOUTS = (
    "IXI, as downloaded or prepared (folders IXI-T1, IXI-T2, aseg)",
    "BraTS of 2017 to 2025 ([HGG/]SUBJECT/SUBJECT_t1.nii.gz or …-t1n.nii.gz)",
    "a Decathlon task (dataset.json)",
)


@dataclass(frozen=True)
class Candidates:
    """Cases to check and the meaning of their labels.

    Attributes:
        cases: in order of subject id.
        modalities: images to check; the others are compared with the first.
        foreground: label values of the foreground.
        labels: values that a label may contain in addition to 0; ``None`` allows any integer.
        incomplete: subject -> missing files.
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
    """Find the cases to check.

    Args:
        location: a datalist, or a folder in the layout of IXI (downloaded or prepared), BraTS of any year, or a Decathlon task.
        modalities: default: those of the datalist or task, otherwise T1 and T2; a task's can be renamed, ``T1=T1w``.
        foreground: default: that of the datalist, the hippocampi for IXI, the tumour core for BraTS, all labels of a task.
        labels: default: those of the datalist, any for IXI, the track's for BraTS, those of a task.
        track: of BraTS; default: detected from ids and label values.

    Raises:
        DataError: if there are no such cases, or ids and label values do not identify the track.
        ConfigError: if a folder has no known layout, or a track is named for data other than BraTS.
    """
    path = Path(location).expanduser().absolute()
    if not path.exists():
        raise DataError(f"'{location}' does not exist; name a datalist (.json) or a folder of scans")
    asked = (foreground, labels, track)
    candidates = _of_datalist(path, modalities) if path.is_file() else _of_folder(path, modalities, asked)
    if track and (path.is_file() or not brats.is_brats_layout(path)):
        raise ConfigError(f"--track {track}: '{location}' is not a folder in the layout of BraTS, and only BraTS has tracks")
    refuse_odd_names(candidates.cases)
    return Candidates(
        cases=candidates.cases,
        modalities=candidates.modalities,
        foreground=tuple(foreground) or candidates.foreground,
        labels=tuple(labels) or candidates.labels,
        incomplete=candidates.incomplete,
        notes=candidates.notes,
    )


def _of_datalist(path: Path, modalities: Sequence[str]) -> Candidates:
    data = read_datalist(path)
    for name in modalities:
        if name not in data.modalities:
            raise DataError(f"no modality '{name}' in {path}: {did_you_mean(name, data.modalities)}")
    count = len(data.left_out)
    notes = (f"{count} subject{'s' * (count > 1)} left out of the datalist: not checked.",) if count else ()
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
        f"'{path}' has no known layout (it contains {content}). Known are {'; '.join(LAYOUTS)}. For any other layout, make a "
        "datalist with `monai_tl datalist files` and check that"
    )


def _of_ixi(path: Path, names: tuple[str, ...]) -> Candidates:
    """Return the cases of an IXI folder: downloaded, with FreeSurfer's label values, or prepared, with its recorded coding."""
    labelled, prepared = (path / "aseg").is_dir(), read_prepared(path)
    cases = ixi.find_ixi_cases(path, names, incomplete="leave_out", labelled=labelled)
    notes = [] if labelled else [UNLABELLED]
    absent = sorted({*prepared["left_out"], *prepared["failed"]}) if prepared else []
    if absent:
        notes.append(  # only the number, since --anonymous forbids names
            f"{len(absent)} left out or failed when this folder was prepared (listed in prepared.json): not checked."
        )
    elif not prepared and _on_different_grids(cases, names):
        notes.append(
            f"{' and '.join(names)} are on different grids, as in the IXI download: `monai_tl prepare ixi` resamples them and "
            "the labels to one grid; check its output."
        )
    coding = named_coding(prepared["settings"].get("coding", "none")) if prepared else "freesurfer"
    foreground = tuple(sorted(CODINGS[coding]))
    return _found(cases, names, foreground, None, notes)


def _on_different_grids(cases: Cases, names: Sequence[str]) -> bool:
    """Return whether the first case's modalities have different shapes; unreadable files are reported later."""
    try:
        return len({open_scan(cases[0][name]).shape for name in names}) > 1 if cases else False
    except Exception:  # a damaged file can raise any exception
        return False


def _found(
    cases: Cases,
    modalities: tuple[str, ...],
    foreground: tuple[int, ...],
    labels: tuple[int, ...] | None,
    notes: Sequence[str] = (),
) -> Candidates:
    return Candidates(tuple(cases), modalities, foreground, labels, incomplete=cases.left_out, notes=tuple(notes))
