"""The cases to check: those of a datalist, or of a folder in a known layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from monai_tl.datasets import brats, brats_tracks, decathlon, ixi
from monai_tl.datasets.datalist import read_datalist
from monai_tl.datasets.label_schemes import CODINGS, named_coding
from monai_tl.datasets.patterns import Case, Cases, refuse_odd_names
from monai_tl.datasets.regions import FOREGROUND, Regions, check_regions, foreground_of, read_regions
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
        regions: name -> label values; empty without labels.
        labels: values that a label may contain in addition to 0; ``None`` allows any integer.
        incomplete: subject -> missing files.
        notes: what cannot be checked, and why.
    """

    cases: tuple[Case, ...]
    modalities: tuple[str, ...]
    regions: Regions
    labels: tuple[int, ...] | None = None
    incomplete: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def foreground(self) -> tuple[int, ...]:
        """The label values of all regions."""
        return foreground_of(self.regions)


def find_candidates(
    location: Path,
    modalities: Sequence[str] = (),
    foreground: Sequence[int] = (),
    labels: Sequence[int] = (),
    track: str = "",
    regions: str = "",
) -> Candidates:
    """Find the cases to check.

    Args:
        location: a datalist, or a folder in the layout of IXI (downloaded or prepared), BraTS of any year, or a Decathlon task.
        modalities: default: those of the datalist or task, otherwise T1 and T2; a task's can be renamed, ``T1=T1w``.
        foreground: label values of one region.
        labels: default: those of the datalist, any for IXI, the track's for BraTS, those of a task.
        track: of BraTS; default: detected from ids and label values.
        regions: as `read_regions` takes them, with the names of a task's labels; ``"brats"`` for the three of a BraTS track.
            They replace ``foreground``. Default of both: the regions of the datalist, the hippocampi for IXI, the tumour core
            for BraTS, each label of a task.

    Raises:
        DataError: if there are no such cases, or ids and label values do not identify the track.
        ConfigError: if a folder has no known layout, a track is named for data other than BraTS, or for regions that
            `read_regions` or `check_regions` refuse.
    """
    path = Path(location).expanduser().absolute()
    if not path.exists():
        raise DataError(f"'{location}' does not exist; name a datalist (.json) or a folder of scans")
    asked = _Asked(regions, tuple(foreground), tuple(labels), track)
    candidates = _of_datalist(path, modalities, asked) if path.is_file() else _of_folder(path, modalities, asked)
    if track and (path.is_file() or not brats.is_brats_layout(path)):
        raise ConfigError(f"--track {track}: '{location}' is not a folder in the layout of BraTS, and only BraTS has tracks")
    refuse_odd_names(candidates.cases)
    candidates = replace(candidates, labels=asked.labels or candidates.labels)
    if candidates.regions:
        check_regions(candidates.regions, candidates.labels or None)
    return candidates


class _Asked(NamedTuple):
    """What the flags say about labels; empty values are not asked for."""

    text: str
    foreground: tuple[int, ...]
    labels: tuple[int, ...]
    track: str

    def regions(self, names: Mapping[str, int] | None = None) -> Regions:
        """Return the regions that were asked for; names alone take their values from ``names``."""
        return read_regions(self.text, names) or _one(self.foreground)


def _one(foreground: Sequence[int]) -> Regions:
    """Return one region, or none without values: labels that could not be read."""
    return {FOREGROUND: tuple(foreground)} if foreground else {}


def _of_datalist(path: Path, modalities: Sequence[str], asked: _Asked) -> Candidates:
    data = read_datalist(path)
    for name in modalities:
        if name not in data.modalities:
            raise DataError(f"no modality '{name}' in {path}: {did_you_mean(name, data.modalities)}")
    count = len(data.left_out)
    notes = (f"{count} subject{'s' * (count > 1)} left out of the datalist: not checked.",) if count else ()
    regions = asked.regions() or data.regions
    return Candidates(data.cases, tuple(modalities) or data.modalities, regions, data.labels, notes=notes)


def _of_folder(path: Path, modalities: Sequence[str], asked: _Asked) -> Candidates:
    names = tuple(modalities) or ("T1", "T2")
    if ixi.is_ixi_layout(path, names):
        return _of_ixi(path, names, asked)
    if decathlon.is_decathlon_layout(path):
        task = decathlon.read_task(path)
        pairs = decathlon.pairs_of(",".join(modalities), task)
        regions = asked.regions(task.labels) or {name: (value,) for name, value in task.labels.items()}
        cases = decathlon.find_decathlon_cases(task, pairs, incomplete="leave_out")
        return _found(cases, tuple(pairs), regions, tuple(task.values(())))
    if brats.is_brats_layout(path):
        return _of_brats(path, names, asked)
    content = name_some(sorted(child.name for child in path.iterdir() if not child.name.startswith("."))) or "nothing"
    raise ConfigError(
        f"'{path}' has no known layout (it contains {content}). Known are {'; '.join(LAYOUTS)}. For any other layout, make a "
        "datalist with `monai_tl datalist files` and check that"
    )


def _of_brats(path: Path, names: tuple[str, ...], asked: _Asked) -> Candidates:
    """Return the cases of a BraTS folder, with the tumour core of their track unless other regions are asked for."""
    if not brats.has_labels(path):
        cases = brats.find_brats_cases(path, names, incomplete="leave_out", labelled=False)
        return _found(cases, names, {}, (), [UNLABELLED])
    cases = brats.find_brats_cases(path, names, incomplete="leave_out")
    by_track = asked.text == brats_tracks.BRATS_REGIONS
    regions = _one(asked.foreground) if by_track else asked.regions()
    coding = brats.find_brats_coding(cases, foreground_of(regions), asked.labels, asked.track, most=True)
    if by_track:
        regions = brats_tracks.regions_of_track(coding.track)
    return _found(cases, names, regions or _one(coding.foreground), coding.labels, coding.notes)


def _of_ixi(path: Path, names: tuple[str, ...], asked: _Asked) -> Candidates:
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
    return _found(cases, names, asked.regions() or _one(sorted(CODINGS[coding])), None, notes)


def _on_different_grids(cases: Cases, names: Sequence[str]) -> bool:
    """Return whether the first case's modalities have different shapes; unreadable files are reported later."""
    try:
        return len({open_scan(cases[0][name]).shape for name in names}) > 1 if cases else False
    except Exception:  # a damaged file can raise any exception
        return False


def _found(
    cases: Cases,
    modalities: tuple[str, ...],
    regions: Regions,
    labels: tuple[int, ...] | None,
    notes: Sequence[str] = (),
) -> Candidates:
    return Candidates(tuple(cases), modalities, regions, labels, incomplete=cases.left_out, notes=tuple(notes))
