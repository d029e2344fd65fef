"""Checking cases: measure and draw each one, judge them against the cohort, and write a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from monai_tl.datasets.case_checks import gather_notes
from monai_tl.errors import ConfigError
from monai_tl.identity.anonymise import pseudonyms, read_or_make_key, without_names
from monai_tl.identity.fingerprints import fingerprint_cases
from monai_tl.identity.identical import find_identical, images_as_labels
from monai_tl.imaging.geometry import Note
from monai_tl.quality.candidates import Candidates
from monai_tl.quality.check_case import CheckJob, check_case
from monai_tl.quality.measures import Measures
from monai_tl.quality.outliers import Judged, Suspicion, judge
from monai_tl.quality.qc_table import TABLE, write_qc_table
from monai_tl.storage.processes import run_each
from monai_tl.storage.progress import progress_bar
from monai_tl.storage.records import FolderRecord
from monai_tl.text import name_some

FILES, MADE_WITH, FORMAT = "check_files", "check.json", 1

CASES_A_PROCESS = 50  # then a new process, which frees memory that libraries leak


@dataclass(frozen=True)
class Checked:
    """Result of a check: the cases, worst first, notes about all of them, and the output folder."""

    judged: list[Judged]
    notes: list[str]
    folder: Path


def check_scans(candidates: Candidates, output: Path, *, anonymous: bool = False, processes: int = 1) -> Checked:
    """Check cases independently; a failing case does not stop the others, and unchanged cases are not read again.

    Args:
        candidates: what to check.
        output: folder for ``qc.csv`` and ``check_files/NAME.png``.
        anonymous: write pseudonyms instead of subject ids, and no paths; their key is written next to the folder.
        processes: number of parallel processes.

    Raises:
        ConfigError: if the folder contains something else, or a check with other settings.
    """
    if type(processes) is not int or processes < 1:
        raise ConfigError(f"processes takes an integer of 1 or more; got {processes}")
    settings = {"anonymous": anonymous, "modalities": list(candidates.modalities), "foreground": list(candidates.foreground)}
    record = FolderRecord(output, MADE_WITH, FORMAT, "a check", "choose another output")
    record.refuse_foreign()
    if not record.resume(settings):  # ids and pseudonyms must not be mixed in one folder
        record.write(settings)
    key = read_or_make_key(output) if anonymous else None
    subjects = [*(case["subject"] for case in candidates.cases), *candidates.incomplete]
    names = pseudonyms(subjects, key) if key else {subject: subject for subject in subjects}
    jobs = [
        CheckJob(
            case, names[case["subject"]], candidates.modalities, candidates.foreground, candidates.labels, output / FILES, key
        )
        for case in candidates.cases
    ]
    with progress_bar(len(jobs), "checking", "case") as bar:
        measured = []
        for measures in _all(jobs, processes):
            measured.append(measures)
            bar.update()
    for subject, lack in candidates.incomplete.items():
        problem = without_names(lack, {"subject": subject}) if anonymous else lack
        measured.append(Measures(names[subject], problems=[problem]))
    judged, notes = judge(sorted(measured, key=lambda measures: measures.subject), _identical(candidates, names))
    headers = {
        measures.subject: {role: tuple(Note(*note) for note in of_role) for role, of_role in measures.notes.items()}
        for measures in measured
    }
    notes = [*candidates.notes, *notes, *(f"{line}." for line in gather_notes(headers))]
    if anonymous:
        notes.append(
            "Subject ids are replaced by pseudonyms; people can still be recognised in pictures of heads that were not defaced."
        )
    write_qc_table(output / TABLE, judged, candidates.modalities)
    return Checked(judged, notes, output)


def _identical(candidates: Candidates, names: Mapping[str, str]) -> dict[str, list[Suspicion]]:
    """Return the suspicions about identical images of several cases or modalities, by displayed subject name."""
    found: dict[str, list[Suspicion]] = {}
    prints = fingerprint_cases(candidates.cases, (*candidates.modalities, "label")).of
    for subject, role in images_as_labels(prints):
        found.setdefault(subject, []).append(Suspicion("identity", f"{role} is identical, voxel for voxel, to the label", 10))
    for group in find_identical(prints):
        for subject, role in group.images:
            others = [f"{of_role} of {names[of]}" for of, of_role in group.images if (of, of_role) != (subject, role)]
            reason = f"{role} is identical, voxel for voxel, to {name_some(others)}"
            found.setdefault(subject, []).append(Suspicion("identity", reason, 5))
    return {names[subject]: suspicions for subject, suspicions in found.items()}


def _all(jobs: Sequence[CheckJob], processes: int) -> Iterator[Measures]:
    """Check all cases; a case whose process dies, as for lack of memory, is retried alone."""
    if processes == 1:
        yield from map(check_case, jobs)
        return
    left = {job.name: job for job in jobs}
    faults: dict[str, str] = {}
    for at_a_time in (processes, 1):
        faults = {}
        with closing(run_each(check_case, left, at_a_time, per_process=CASES_A_PROCESS)) as outcomes:
            for name, outcome in outcomes:
                outcome.raise_full_disk(left[name].folder)
                if outcome.fault:
                    faults[name] = outcome.fault
                else:
                    yield outcome.result
        left = {name: left[name] for name in faults}
    for name, fault in faults.items():
        yield Measures(name, problems=[f"could not be checked ({fault})"])
