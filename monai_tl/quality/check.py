"""Checking cases: measure and draw each one, judge them against the cohort, and write a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from monai_tl.datasets.case_checks import gather_notes
from monai_tl.errors import ConfigError
from monai_tl.identity.anonymise import pseudonyms, read_or_make_key, without_names
from monai_tl.identity.fingerprints import fingerprint_cases
from monai_tl.identity.identical import find_identical, images_as_labels
from monai_tl.imaging.geometry import Note
from monai_tl.quality.candidates import Candidates
from monai_tl.quality.check_case import CheckJob, check_case
from monai_tl.quality.cohort import Suspicion
from monai_tl.quality.measures import Measures
from monai_tl.quality.outliers import Judged, judge
from monai_tl.quality.qc_table import TABLE, write_qc_table
from monai_tl.quality.region_volumes import Ranges, RegionSummary, nowhere_note, summarise_regions
from monai_tl.storage.processes import run_each
from monai_tl.storage.progress import progress_bar
from monai_tl.storage.records import FolderRecord
from monai_tl.text import name_some

FILES, MADE_WITH, FORMAT = "check_files", "check.json", 2

CASES_A_PROCESS = 50  # then a new process, which frees memory that libraries leak


@dataclass(frozen=True)
class Checked:
    """Result of a check.

    Attributes:
        judged: the cases, worst first.
        notes: about all of them.
        folder: the output folder.
        regions: in how many labels each occurs, with its volumes.
        plausible: region -> lowest and highest plausible volume in ml, as far as they are known.
    """

    judged: list[Judged]
    notes: list[str]
    folder: Path
    regions: list[RegionSummary] = field(default_factory=list)
    plausible: Ranges = field(default_factory=dict)


def check_scans(
    candidates: Candidates, output: Path, *, plausible: Ranges | None = None, anonymous: bool = False, processes: int = 1
) -> Checked:
    """Check cases independently; a failing case does not stop the others, and unchanged cases are not read again.

    Args:
        candidates: what to check.
        output: folder for ``qc.csv`` and ``check_files/NAME.png``.
        plausible: region -> lowest and highest plausible volume in ml.
        anonymous: write pseudonyms instead of subject ids, and no paths; their key is written next to the folder.
        processes: number of parallel processes.

    Raises:
        ConfigError: if the folder contains something else, or a check with other settings.
    """
    if type(processes) is not int or processes < 1:
        raise ConfigError(f"processes takes an integer of 1 or more; got {processes}")
    regions = {name: list(values) for name, values in candidates.regions.items()}
    settings = {"anonymous": anonymous, "modalities": list(candidates.modalities), "regions": regions}
    record = FolderRecord(output, MADE_WITH, FORMAT, "a check", "choose another output")
    record.refuse_foreign()
    if not record.resume(settings):  # ids and pseudonyms must not be mixed in one folder
        record.write(settings)
    key = read_or_make_key(output) if anonymous else None
    subjects = [*(case["subject"] for case in candidates.cases), *candidates.incomplete]
    names = pseudonyms(subjects, key) if key else {subject: subject for subject in subjects}
    measured = _measure(candidates, names, output / FILES, key, processes)
    judged, notes = judge(measured, _identical(candidates, names), plausible)
    summaries = summarise_regions(measured, candidates.regions)
    headers = {
        measures.subject: {role: tuple(Note(*note) for note in of_role) for role, of_role in measures.notes.items()}
        for measures in measured
    }
    nowhere = nowhere_note(summaries)
    notes = [*([nowhere] if nowhere else []), *candidates.notes, *notes, *(f"{line}." for line in gather_notes(headers))]
    if anonymous:
        notes.append(
            "Subject ids are replaced by pseudonyms; people can still be recognised in pictures of heads that were not defaced."
        )
    write_qc_table(output / TABLE, judged, candidates.modalities)
    return Checked(judged, notes, output, summaries, plausible or {})


def _measure(
    candidates: Candidates, names: Mapping[str, str], folder: Path, key: bytes | None, processes: int
) -> list[Measures]:
    """Return the measures of all cases, the incomplete ones included, by displayed subject name."""
    of_all = (candidates.modalities, candidates.regions, candidates.labels, folder, key)
    jobs = [CheckJob(case, names[case["subject"]], *of_all) for case in candidates.cases]
    measured = []
    with progress_bar(len(jobs), "checking", "case") as bar:
        for measures in _all(jobs, processes):
            measured.append(measures)
            bar.update()
    for subject, lack in candidates.incomplete.items():
        problem = without_names(lack, {"subject": subject}) if key else lack
        measured.append(Measures(names[subject], problems=[problem]))
    return sorted(measured, key=lambda measures: measures.subject)


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
