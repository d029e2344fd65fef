"""Preparation of downloaded IXI scans for a datalist; it can be interrupted and resumed at any time."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from monai_tl.datasets.label_schemes import CODINGS, coding_of, named_coding
from monai_tl.errors import DataError
from monai_tl.imaging.scan_files import open_scan
from monai_tl.preparation import register
from monai_tl.preparation.ixi_sources import People, Person, find_people
from monai_tl.preparation.prepare_subject import SubjectJob, outputs, prepare_subject
from monai_tl.preparation.prepared_folder import Prepared, refuse_processes, waiting_subjects
from monai_tl.text import name_some


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
    refuse_processes(processes)
    chosen = named_coding(coding) if coding else ""
    people = find_people(t1, t2, labels, incomplete=incomplete)
    if people.strange:
        print(f"{len(people.strange)} files have no IXI id in their names and are not used: {name_some(people.strange)}")
    chosen = chosen or _detect(people)
    prepared = Prepared(Path(output), _settings(chosen), outputs)
    prepared.begin(people.left_out)
    waiting = waiting_subjects(
        prepared, people.complete, lambda person: prepared.written(person) and not prepared.changed(person)
    )
    jobs = {person.subject: SubjectJob(person, str(prepared.folder), chosen) for person in waiting}
    prepared.prepare_all(prepare_subject, jobs, processes)
    prepared.print_notes(list(jobs))
    prepared.summarise(len(people.complete), len(jobs))
    prepared.raise_failures(len(people.complete))
    print(f"next: monai_tl datalist ixi --root {prepared.folder} --foreground {','.join(map(str, sorted(CODINGS[chosen])))}")


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
        "registration": {"metric": "Mattes mutual information in T1's head", **register.registration_settings()},
        "T2": "cubic B-spline, once, cut off at its own range, 0 outside its field of view",
        "labels": "nearest neighbour",
        "transform": "T1's points to T2's, LPS, mm",
    }
