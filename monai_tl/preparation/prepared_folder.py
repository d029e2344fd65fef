"""The folder of a preparation: resumable, one process per subject, and everything recorded in its ``prepared.json``."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import monai_tl
from monai_tl.datasets.case_checks import gather_notes
from monai_tl.errors import ConfigError, DataError, PartlyDoneError, list_problems
from monai_tl.imaging.geometry import Note
from monai_tl.storage.cores import cores_at_hand, keep_within_cores
from monai_tl.storage.files import atomic_write, sweep_temporary
from monai_tl.storage.processes import run_each
from monai_tl.storage.progress import follow, progress_bar
from monai_tl.storage.records import FolderRecord

MADE_WITH, FORMAT = "prepared.json", 1
REMEDY = "choose another output"
UNFINISHED = ".unfinished-"
LIBRARIES = ("itk", "nibabel", "numpy", "scipy")
FAILURES_SHOWN = 20  # failures listed in the summary; prepared.json lists all
_LISTS = ("subjects", "left_out", "failed")


class RawFile(Protocol):
    """A file that a subject is prepared from; its text is its name."""

    def sha256(self) -> str:
        """Return the hash of its content."""


class Material(Protocol):
    """The raw files of one subject.

    Attributes:
        subject: its id.
        stem: start of the names of its output files.
        sources: by role, e.g. ``"T1"`` and ``"label"``.
    """

    @property
    def subject(self) -> str:
        """Return its id."""

    @property
    def stem(self) -> str:
        """Return the start of the names of its output files."""

    @property
    def sources(self) -> Mapping[str, Any]:
        """Return its raw files by role."""


class Prepared:
    """The output folder and its ``prepared.json``: settings, versions, one record per subject, omitted and failed subjects.

    Args:
        folder: created if it does not exist.
        settings: that the output voxels depend on, as plain data.
        outputs: returns the output files of a subject, by role, from the folder and the subject's stem.

    Raises:
        ConfigError: if the folder contains something else, or subjects prepared with other settings.
        DataError: if ``prepared.json`` is damaged.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], outputs: Callable[[Path, str], dict[str, Path]]) -> None:
        """Read an existing ``prepared.json``; nothing is written."""
        self.folder = folder.expanduser().absolute()
        self.settings, self.record, self.outputs = settings, _record(self.folder), outputs
        self.record.refuse_foreign()
        begun = self.record.resume(settings, *_LISTS)
        if begun:
            _refuse_damaged_entries(self.record.path, begun)
        self.subjects: dict[str, dict[str, Any]] = begun["subjects"] if begun else {}
        self.left_out: dict[str, str] = {}
        self.failed: dict[str, str] = {}

    def begin(self, left_out: dict[str, str]) -> None:
        """Record omitted subjects and versions; remove the incomplete files of killed processes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.sweep()
        self.left_out = left_out
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

    def changed(self, material: Material) -> list[str]:
        """Return the roles whose files differ from those that a subject was prepared from; none if it is new."""
        entry = self.subjects.get(material.subject)
        if entry is None:
            return []
        before = {role: source["sha256"] for role, source in entry["inputs"].items()}
        now = {role: _hash(source) for role, source in material.sources.items()}
        return [role for role in {**before, **now} if before.get(role) != now.get(role)]

    def written(self, material: Material) -> bool:
        """Return whether a subject was prepared under this stem, from any files, and its outputs exist."""
        entry = self.subjects.get(material.subject)
        if entry is None or entry["stem"] != material.stem:
            return False
        return all(path.is_file() for path in self.outputs(self.folder, material.stem).values())

    def forget(self, material: Material) -> None:
        """Remove the outputs of a subject, so that outputs from other files are not taken for current ones."""
        entry = self.subjects.pop(material.subject, None)
        stems = {material.stem, entry["stem"]} if entry else {material.stem}
        self.write()
        for path in (path for stem in stems for path in self.outputs(self.folder, stem).values()):
            path.unlink(missing_ok=True)

    def prepare_all(self, task: Callable[[Any], dict[str, Any]], jobs: Mapping[str, Any], processes: int) -> None:
        """Run a task on each subject's job, in a process of its own, and record what it returns or why it failed."""
        at_once = keep_within_cores("--processes", processes or cores_at_hand())
        try:
            with progress_bar(len(jobs), "preparing", "subject") as bar, closing(run_each(task, jobs, at_once)) as outcomes:
                for subject, outcome in outcomes:
                    outcome.raise_full_disk(self.folder)
                    if outcome.fault:
                        self.failed[subject] = outcome.fault
                    else:
                        self.subjects[subject] = outcome.result
                    self.write()
                    bar.update()
        finally:
            self.sweep()

    def print_notes(self, subjects: Sequence[str]) -> None:
        """Print what was ignored or converted in headers, one line per kind."""
        records = {name: self.subjects[name] for name in subjects if name in self.subjects}
        notes = {
            name: {role: tuple(Note(*note) for note in of_role) for role, of_role in record["notes"].items()}
            for name, record in records.items()
        }
        for line in gather_notes(notes):
            print(line)

    def summarise(self, complete: int, tried: int) -> None:
        """Print the numbers of prepared, failed and omitted subjects.

        Args:
            complete: number of complete subjects.
            tried: number of those that were not finished before.

        Raises:
            DataError: if no subject could be prepared.
        """
        skipped, done = complete - tried, tried - len(self.failed)
        if not done and not skipped:
            raise DataError(list_problems(f"none of {tried} subjects could be prepared:", self._failures(), FAILURES_SHOWN))
        print(
            f"{done} prepared, {skipped} finished before, {len(self.failed)} failed, {len(self.left_out)} left out; "
            f"details in {self.record.path}"
        )
        if self.left_out:
            print(
                list_problems("left out:", [f"{subject} {reason}" for subject, reason in self.left_out.items()], FAILURES_SHOWN)
            )

    def raise_failures(self, complete: int) -> None:
        """Raise a PartlyDoneError if any of the complete subjects failed."""
        if self.failed:
            headline = f"{len(self.failed)} of {complete} subjects failed:"
            raise PartlyDoneError(list_problems(headline, self._failures(), FAILURES_SHOWN))

    def _failures(self) -> list[str]:
        return [f"{subject}: {reason}" for subject, reason in self.failed.items()]


def waiting_subjects(prepared: Prepared, complete: Sequence[Any], finished: Callable[[Any], bool]) -> list[Any]:
    """Return the subjects that are not finished, after removing what was written of them."""
    waiting = [material for material in follow(complete, "hashing", "subject") if not finished(material)]
    for material in waiting:
        prepared.forget(material)
    return waiting


def publish(made: Mapping[str, Path], outputs: Mapping[str, Path]) -> None:
    """Move finished files, by role, to their places."""
    for role, target in outputs.items():
        with atomic_write(target) as temporary:
            made[role].rename(temporary)


def read_prepared(folder: Path) -> dict[str, Any] | None:
    """Read a folder's ``prepared.json``: settings, subjects, omitted and failed ones; ``None`` if it does not exist.

    Raises:
        DataError: if it is damaged.
    """
    record = _record(folder)
    content = record.read(*_LISTS)
    if content:
        _refuse_damaged_entries(record.path, content)
    return content


def refuse_processes(processes: int) -> None:
    """Refuse a number of processes that is not a whole number from 0.

    Raises:
        ConfigError: if so.
    """
    if type(processes) is not int or processes < 0:
        raise ConfigError(f"processes takes an integer of 1 or more (0: one per core); got {processes!r}")


def _refuse_damaged_entries(path: Path, content: Mapping[str, Any]) -> None:
    """Raise for a subject's entry that lacks what a resumption reads."""
    for subject, entry in content["subjects"].items():
        lacking = [name for name in ("stem", "inputs", "notes") if not isinstance(entry, dict) or name not in entry]
        hashed = not lacking and isinstance(entry["inputs"], dict) and isinstance(entry["stem"], str)
        if not hashed or not all(isinstance(one, dict) and "sha256" in one for one in entry["inputs"].values()):
            why = f"lacks {', '.join(lacking)}" if lacking else "has no valid stem and hashes of its inputs"
            raise DataError(f"{path} is damaged (the entry of subject {subject} {why}): {REMEDY}")


def _hash(source: RawFile) -> str:
    """Return the hash of a source; empty if it cannot be read, which is reported when its subject is prepared."""
    try:
        return source.sha256()
    except (OSError, DataError):
        return ""


def _record(folder: Path) -> FolderRecord:
    return FolderRecord(folder, MADE_WITH, FORMAT, "prepared subjects", REMEDY)
