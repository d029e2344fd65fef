"""Preparation of downloaded IXI scans for a datalist; it can be interrupted and resumed at any time."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

import monai_tl
from monai_tl.datasets.case_checks import gather_notes
from monai_tl.datasets.label_schemes import CODINGS, coding_of, named_coding
from monai_tl.errors import ConfigError, DataError, PartlyDoneError, list_problems
from monai_tl.imaging.geometry import Note
from monai_tl.imaging.scan_files import open_scan
from monai_tl.preparation import register
from monai_tl.preparation.ixi_sources import People, Person, find_people
from monai_tl.preparation.prepare_subject import UNFINISHED, SubjectJob, outputs, prepare_subject
from monai_tl.storage.cores import cores_at_hand, keep_within_cores
from monai_tl.storage.files import sweep_temporary
from monai_tl.storage.processes import run_each
from monai_tl.storage.progress import follow, progress_bar
from monai_tl.storage.records import FolderRecord
from monai_tl.text import name_some

MADE_WITH, FORMAT = "prepared.json", 1
_LISTS = ("subjects", "left_out", "failed")
LIBRARIES = ("itk", "nibabel", "numpy", "scipy")
SHOWN = 20  # failures listed in the summary; prepared.json lists all


class Prepared:
    """The output folder and its ``prepared.json``: settings, versions, one record per subject, omitted and failed subjects.

    Args:
        folder: created if it does not exist.
        settings: that the output voxels depend on, as plain data.

    Raises:
        ConfigError: if the folder contains something else, or subjects prepared with other settings.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        """Read an existing ``prepared.json``; nothing is written."""
        self.folder = folder.expanduser().absolute()
        self.settings, self.record = settings, _record(self.folder)
        self.record.refuse_foreign()
        begun = self.record.resume(settings, *_LISTS)
        self.subjects: dict[str, dict[str, Any]] = begun["subjects"] if begun else {}
        self.left_out: dict[str, str] = {}
        self.failed: dict[str, str] = {}

    def begin(self, people: People) -> None:
        """Record omitted subjects and versions; remove the incomplete files of killed processes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.sweep()
        self.left_out = people.left_out
        self.write()

    def sweep(self) -> None:
        """Remove the incomplete files of killed processes."""
        for path in self.folder.glob(f"{UNFINISHED}*"):
            shutil.rmtree(path, ignore_errors=True)
        sweep_temporary(self.folder)

    def write(self) -> None:
        """Write ``prepared.json``."""
        versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
        parts = {"subjects": dict(sorted(self.subjects.items())), "left_out": self.left_out, "failed": self.failed}
        made_by = {"versions": {"monai_tl": monai_tl.__version__, **versions}, "command": sys.argv}
        self.record.write(self.settings, **parts, **made_by)

    def finished(self, person: Person) -> bool:
        """Return whether a subject was prepared from the same files and its outputs exist."""
        entry = self.subjects.get(person.subject)
        if entry is None or entry["stem"] != person.stem:
            return False
        if not all(path.is_file() for path in outputs(self.folder, person.stem).values()):
            return False
        return all(entry["inputs"][role]["sha256"] == _hash(source) for role, source in person.sources.items())

    def forget(self, person: Person) -> None:
        """Remove outputs that were made from other files of this subject, so that they are not taken for current ones."""
        entry = self.subjects.pop(person.subject, None)
        stems = {person.stem, entry["stem"]} if entry else {person.stem}
        self.write()
        for path in (path for stem in stems for path in outputs(self.folder, stem).values()):
            path.unlink(missing_ok=True)


def read_prepared(folder: Path) -> dict[str, Any] | None:
    """Read a folder's ``prepared.json``: settings, subjects, omitted and failed ones; ``None`` if it does not exist.

    Raises:
        DataError: if it is damaged.
    """
    return _record(folder).read(*_LISTS)


def prepare_ixi_folder(
    t1: str, t2: str, labels: str, output: str, *, coding: str = "", incomplete: str = "refuse", processes: int = 0
) -> None:
    """Register T2 to T1 and resample the labels to T1's grid, for every subject that is not finished.

    Args:
        t1: folder or ``.tar`` of T1 scans; see `monai_tl.preparation.ixi_sources.find_people`.
        t2: the same for T2.
        labels: the same for labels.
        output: folder for ``IXI-T1``, ``IXI-T2``, ``aseg``, ``transforms`` and ``prepared.json``.
        coding: ``"freesurfer"`` or ``"dlmuse"``; empty to detect it from the values in the first label that can be read.
        incomplete: ``"refuse"`` or ``"leave_out"``.
        processes: number of parallel processes; 0 for one per core.

    Raises:
        DataError: if no subject could be prepared, or incomplete subjects are refused.
        ConfigError: if a value is invalid or the output folder contains something else.
        PartlyDoneError: if some subjects failed; the others are finished.
    """
    if type(processes) is not int or processes < 0:
        raise ConfigError(f"processes takes an integer of 1 or more (0: one per core); got {processes!r}")
    chosen = named_coding(coding) if coding else ""
    people = find_people(t1, t2, labels, incomplete=incomplete)
    if people.strange:
        print(f"{len(people.strange)} files have no IXI id in their names and are not used: {name_some(people.strange)}")
    chosen = chosen or _detect(people)
    prepared = Prepared(Path(output), _settings(chosen))
    prepared.begin(people)
    waiting = [person for person in follow(people.complete, "hashing", "subject") if not prepared.finished(person)]
    for person in waiting:
        prepared.forget(person)
    failures = _prepare_all(waiting, prepared, chosen, keep_within_cores("--processes", processes or cores_at_hand()))
    _print_notes(prepared, [person.subject for person in waiting])
    _summarise(people, len(waiting), failures, prepared, chosen)


def _prepare_all(waiting: list[Person], prepared: Prepared, coding: str, processes: int) -> dict[str, str]:
    """Prepare the subjects and return the reasons of failures, by subject."""
    jobs = {person.subject: SubjectJob(person, str(prepared.folder), coding) for person in waiting}
    failures = prepared.failed
    try:
        with (
            progress_bar(len(jobs), "preparing", "subject") as bar,
            closing(run_each(prepare_subject, jobs, processes)) as outcomes,
        ):
            for subject, outcome in outcomes:
                outcome.raise_full_disk(prepared.folder)
                if outcome.fault:
                    failures[subject] = outcome.fault
                else:
                    prepared.subjects[subject] = outcome.result
                prepared.write()
                bar.update()
    finally:
        prepared.sweep()
    return failures


def _summarise(people: People, tried: int, failures: dict[str, str], prepared: Prepared, coding: str) -> None:
    """Print the numbers of prepared, failed and omitted subjects, and the next command.

    Raises:
        DataError: if no subject could be prepared.
        PartlyDoneError: if some failed.
    """
    skipped, done = len(people.complete) - tried, tried - len(failures)
    lines = [f"{subject}: {reason}" for subject, reason in failures.items()]
    if not done and not skipped:
        raise DataError(list_problems(f"none of {tried} subjects could be prepared:", lines, SHOWN))
    print(
        f"{done} prepared, {skipped} finished before, {len(failures)} failed, {len(people.left_out)} left out; "
        f"details in {prepared.folder / MADE_WITH}"
    )
    if people.left_out:
        print(list_problems("left out:", [f"{subject} {reason}" for subject, reason in people.left_out.items()], SHOWN))
    if failures:
        raise PartlyDoneError(list_problems(f"{len(failures)} of {tried + skipped} subjects failed:", lines, SHOWN))
    values = ",".join(map(str, sorted(CODINGS[coding])))
    print(f"next: monai_tl datalist ixi --root {prepared.folder} --foreground {values}")


def _print_notes(prepared: Prepared, subjects: list[str]) -> None:
    """Print what was ignored or converted in headers, one line per kind."""
    records = {name: prepared.subjects[name] for name in subjects if name in prepared.subjects}
    notes = {
        name: {role: tuple(Note(*note) for note in of_role) for role, of_role in record["notes"].items()}
        for name, record in records.items()
    }
    for line in gather_notes(notes):
        print(line)


def _detect(people: People) -> str:
    """Return the coding of the first readable label; the other labels are checked against it later."""
    for person in people.complete:
        source = person.sources["label"]
        values = _values(person)
        if values is not None:
            coding = coding_of(values, str(source))
            print(f"coding {coding} ({', '.join(map(str, sorted(CODINGS[coding])))}), by the values in {source}")
            return coding
    raise DataError(f"none of {len(people.complete)} labels can be read, e.g. {people.complete[0].sources['label']}")


def _values(person: Person) -> Any:
    """Return the values of a label, or ``None`` if it cannot be read, which is reported when its subject is prepared."""
    source = person.sources["label"]
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = Path(source.path)
            if source.size >= 0:
                path = Path(folder) / Path(source.name).name
                source.copy(path)
            image: Any = open_scan(path)
            return np.unique(np.asanyarray(image.dataobj))
        except Exception:  # a damaged file can raise any exception
            return None


def _settings(coding: str) -> dict[str, Any]:
    return {
        "coding": coding,
        "registration": {
            "metric": "Mattes mutual information in T1's head",
            "bins": register.BINS,
            "levels_mm": list(register.LEVELS),
            "steps": register.STEPS,
            "points": register.POINTS,
            "seed": register.SAMPLING_SEED,
        },
        "T2": "cubic B-spline, once, cut off at its own range, 0 outside its field of view",
        "labels": "nearest neighbour",
        "transform": "T1's points to T2's, LPS, mm",
    }


def _hash(source: Any) -> str:
    """Return the hash of a source; empty if it cannot be read, which is reported when its subject is prepared."""
    try:
        return str(source.sha256())
    except (OSError, DataError):
        return ""


def _record(folder: Path) -> FolderRecord:
    return FolderRecord(folder, MADE_WITH, FORMAT, "prepared subjects", "choose another output")
