"""IXI as it is downloaded, brought into the layout that datalists are made of; can be stopped and gone on with at any time."""

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
from monai_tl.storage.files import naming_damage, read_json, sweep_temporary, write_json
from monai_tl.storage.processes import run_each
from monai_tl.storage.progress import follow, progress_bar
from monai_tl.text import name_some

MADE_WITH, FORMAT = "prepared.json", 1
LIBRARIES = ("itk", "nibabel", "numpy", "scipy")
SHOWN = 20  # failures named in the summary; all stand in prepared.json


class Prepared:
    """The output folder and its ``prepared.json``: settings, versions, a record a subject, who was left out, who failed.

    Args:
        folder: made if it is missing.
        settings: what the voxels depend on, plain data.

    Raises:
        ConfigError: if the folder holds something else, or subjects that were prepared otherwise.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        """Read what is there; nothing is written yet."""
        self.folder = folder.expanduser().absolute()
        self.told: dict[str, Any] = {"format": FORMAT, "settings": settings, "subjects": {}, "left_out": {}, "failed": {}}
        if (self.folder / MADE_WITH).is_file():
            before = _read(self.folder / MADE_WITH)
            changed = [key for key in settings if settings[key] != before["settings"].get(key)]
            if changed:
                told = ", ".join(f"{key} {before['settings'].get(key)}, now {settings[key]}" for key in changed)
                raise ConfigError(f"'{folder}' holds subjects prepared with other settings ({told}); choose another output")
            self.told = {**before, "failed": {}}
        elif self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise ConfigError(f"output '{folder}' exists and holds something else; choose another folder")

    def begin(self, people: People) -> None:
        """Note who is left out and what is used; remove what a killed process left half done."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.sweep()
        versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
        self.told |= {"versions": {"monai_tl": monai_tl.__version__, **versions}, "command": sys.argv}
        self.told["left_out"] = people.left_out
        self.write()

    def sweep(self) -> None:
        """Remove what killed processes left."""
        for path in self.folder.glob(f"{UNFINISHED}*"):
            shutil.rmtree(path, ignore_errors=True)
        sweep_temporary(self.folder)

    def write(self) -> None:
        """Write ``prepared.json``."""
        write_json(self.folder / MADE_WITH, {**self.told, "subjects": dict(sorted(self.told["subjects"].items()))})

    def finished(self, person: Person) -> bool:
        """Say if a subject was prepared from these very files, and its outputs are there."""
        record = self.told["subjects"].get(person.subject)
        if record is None or record["stem"] != person.stem:
            return False
        if not all(path.is_file() for path in outputs(self.folder, person.stem).values()):
            return False
        return all(record["inputs"][role]["sha256"] == _hash(source) for role, source in person.sources.items())

    def forget(self, person: Person) -> None:
        """Remove what was made of other files of this subject: it would pass for what is to be made of these."""
        record = self.told["subjects"].pop(person.subject, None)
        stems = {person.stem, record["stem"]} if record else {person.stem}
        self.write()
        for path in (path for stem in stems for path in outputs(self.folder, stem).values()):
            path.unlink(missing_ok=True)


def read_prepared(folder: Path) -> dict[str, Any] | None:
    """Read a folder's ``prepared.json``: settings, subjects, who was left out, who failed; ``None`` if there is none.

    Raises:
        DataError: if it is damaged.
    """
    return _read(folder / MADE_WITH) if (folder / MADE_WITH).is_file() else None


def prepare_ixi_folder(
    t1: str, t2: str, labels: str, output: str, *, coding: str = "", incomplete: str = "refuse", processes: int = 0
) -> None:
    """Register T2 to T1 and bring labels onto T1's grid, for every subject that is not finished.

    Args:
        t1: folder or ``.tar``, and so are ``t2`` and ``labels``; see `monai_tl.preparation.ixi_sources.find_people`.
        t2: as ``t1``.
        labels: as ``t1``.
        output: folder for ``IXI-T1``, ``IXI-T2``, ``aseg``, ``transforms`` and ``prepared.json``.
        coding: ``"freesurfer"`` or ``"dlmuse"``; empty to detect it from the values in the first label that can be read.
        incomplete: ``"refuse"`` or ``"leave_out"``.
        processes: at a time; 0 for as many as there are cores.

    Raises:
        DataError: if no subject could be prepared, or some are incomplete and are refused.
        ConfigError: if a value makes no sense or the output folder holds something else.
        PartlyDoneError: if some subjects failed; the others are finished.
    """
    if type(processes) is not int or processes < 0:
        raise ConfigError(f"processes takes a whole number, 1 or more (0: one a core); got {processes!r}")
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
    _tell_notes(prepared, [person.subject for person in waiting])
    _summarise(people, len(waiting), failures, prepared, chosen)


def _prepare_all(waiting: list[Person], prepared: Prepared, coding: str, processes: int) -> dict[str, str]:
    """Prepare; gives the reasons of those that failed."""
    jobs = {person.subject: SubjectJob(person, str(prepared.folder), coding) for person in waiting}
    failures: dict[str, str] = prepared.told["failed"]
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
                    prepared.told["subjects"][subject] = outcome.result
                prepared.write()
                bar.update()
    finally:
        prepared.sweep()
    return failures


def _summarise(people: People, tried: int, failures: dict[str, str], prepared: Prepared, coding: str) -> None:
    """Say how it went."""
    skipped, done = len(people.complete) - tried, tried - len(failures)
    lines = [f"{subject}: {reason}" for subject, reason in failures.items()]
    if not done and not skipped:
        raise DataError(list_problems(f"none of {tried} subjects could be prepared:", lines, SHOWN))
    print(
        f"{done} prepared, {skipped} finished before, {len(failures)} failed, {len(people.left_out)} left out; "
        f"all is told in {prepared.folder / MADE_WITH}"
    )
    if people.left_out:
        print(list_problems("left out:", [f"{subject} {reason}" for subject, reason in people.left_out.items()], SHOWN))
    if failures:
        raise PartlyDoneError(list_problems(f"{len(failures)} of {tried + skipped} subjects failed:", lines, SHOWN))
    values = ",".join(map(str, sorted(CODINGS[coding])))
    print(f"next: monai_tl datalist ixi --root {prepared.folder} --foreground {values}")


def _tell_notes(prepared: Prepared, subjects: list[str]) -> None:
    """Say what was passed over or converted in headers, a line a kind."""
    records = {name: prepared.told["subjects"][name] for name in subjects if name in prepared.told["subjects"]}
    notes = {
        name: {role: tuple(Note(*note) for note in said) for role, said in record["notes"].items()}
        for name, record in records.items()
    }
    for line in gather_notes(notes):
        print(line)


def _detect(people: People) -> str:
    """Find the coding from the first label that can be read; the others are held to it, each in its turn."""
    for person in people.complete:
        source = person.sources["label"]
        values = _values(person)
        if values is not None:
            coding = coding_of(values, str(source))
            print(f"coding {coding} ({', '.join(map(str, sorted(CODINGS[coding])))}), by the values in {source}")
            return coding
    raise DataError(f"none of {len(people.complete)} labels can be read, e.g. {people.complete[0].sources['label']}")


def _values(person: Person) -> Any:
    """Values of a label, or ``None`` if it cannot be read: that is said when its subject is prepared."""
    source = person.sources["label"]
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = Path(source.path)
            if source.size >= 0:
                path = Path(folder) / Path(source.name).name
                source.copy(path)
            image: Any = open_scan(path)
            return np.unique(np.asanyarray(image.dataobj))
        except Exception:  # damaged files raise anything
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
    """Hash a source, or give nothing where it cannot be read: then it is tried, and said why."""
    try:
        return str(source.sha256())
    except (OSError, DataError):
        return ""


def _read(path: Path) -> dict[str, Any]:
    remedy = "choose another output, or remove it with all that it records"
    told = read_json(path, remedy=remedy, of_format=FORMAT)
    with naming_damage(path, remedy):
        if odd := [key for key in ("settings", "subjects", "left_out", "failed") if not isinstance(told[key], dict)]:
            raise ValueError(f"{', '.join(odd)}")
    return told
