"""Preparation of files of any layout: all of a case on one grid; it can be interrupted and resumed at any time."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from monai_tl.datasets.patterns import Case, find_cases
from monai_tl.errors import ConfigError, DataError, list_problems
from monai_tl.imaging.scan_files import open_scan
from monai_tl.preparation.common_grid import LABEL, CommonGrid, VoxelGrid, lies_on
from monai_tl.preparation.prepare_case import CaseFiles, CaseJob, ScanFile, case_outputs, prepare_case
from monai_tl.preparation.prepared_folder import FAILURES_SHOWN, Prepared, refuse_processes, waiting_subjects
from monai_tl.preparation.register import registration_settings
from monai_tl.storage.files import naming_damage
from monai_tl.storage.progress import follow
from monai_tl.storage.tables import write_table
from monai_tl.text import listed, name_some, plural

PREPARED_TABLE = "prepared.csv"
NAME = r"\w[\w.+-]*"  # of a modality, which becomes part of file names
NAN = float("nan")


@dataclass(frozen=True)
class PreparedRow:
    """A row of ``prepared.csv``: how a modality or a label of a case was brought to the grid; NaN where it does not apply.

    Attributes:
        subject: id.
        role: modality or ``"label"``.
        position: ``reference``, ``registered``, ``kept``, ``by header``, or for a label the modality that it follows.
        moved_mm: mean displacement of the head by the registration.
        off_mm: mean displacement that a registration would make, if it is placed by its header.
        information_by_header: mutual information with the reference before registration, in bits.
        information: the same after it.
        overlap: Dice of the two head masks.
        covered: share of the reference's head in its field of view.
        doubts: separated by semicolons; empty if there are none.
    """

    subject: str
    role: str
    position: str
    moved_mm: float
    off_mm: float
    information_by_header: float
    information: float
    overlap: float
    covered: float
    doubts: str


def prepare_files_folder(
    patterns: Mapping[str, str], output: str, wanted: CommonGrid, *, incomplete: str = "refuse", processes: int = 0
) -> None:
    """Bring the files of every case to one grid, for every case that is not finished.

    Args:
        patterns: modality, and ``"label"`` if there are labels, -> path with ``{subject}``, as `find_cases` takes them.
        output: folder for ``SUBJECT/SUBJECT_T1.nii.gz`` and so on, ``prepared.json`` and ``prepared.csv``.
        wanted: the grid; its reference may be left open.
        incomplete: ``"refuse"`` or ``"leave_out"``.
        processes: number of parallel processes; 0 for one per core.

    Raises:
        DataError: if no case could be prepared, incomplete ones are refused, or a file has changed since it was prepared.
        ConfigError: if a value is invalid or the output folder contains something else.
        PartlyDoneError: if some cases failed; the others are finished.
    """
    refuse_processes(processes)
    _refuse_names(patterns, output)
    wanted.refuse_unknown(list(patterns))
    cases = find_cases(patterns, incomplete=incomplete)
    wanted = _resolved(wanted, cases, list(patterns))
    roles = tuple(patterns)
    prepared = Prepared(Path(output), _settings(wanted, roles), partial(case_outputs, roles=roles, wanted=wanted))
    complete = [
        CaseFiles(case["subject"], {role: ScanFile(path) for role, path in case.items() if role != "subject"}) for case in cases
    ]
    waiting = _waiting(prepared, complete, cases.left_out)
    prepared.prepare_all(
        prepare_case, {case.subject: CaseJob(case, str(prepared.folder), wanted) for case in waiting}, processes
    )
    write_table(prepared.folder / PREPARED_TABLE, PreparedRow, _rows(prepared, wanted))
    prepared.print_notes([case.subject for case in waiting])
    prepared.summarise(len(complete), len(waiting))
    _print_doubts(prepared, [case.subject for case in complete])
    prepared.raise_failures(len(complete))
    print(f"next: {_next_command(prepared, roles, wanted.crop)}")


def _refuse_names(patterns: Mapping[str, str], output: str) -> None:
    """Refuse names that cannot be parts of file names, and an output folder that cannot be part of a pattern."""
    modalities = [role for role in patterns if role != LABEL]
    if not modalities:
        raise ConfigError("no modality: name one pattern per modality, e.g. --T1 'raw/{subject}/t1.nii.gz'")
    for role in patterns:
        if not re.fullmatch(NAME, role):
            raise ConfigError(f"modality '{role}' cannot be part of a file name: use letters, digits, _ . + and -")
        same = [other for other in patterns if other.casefold() == role.casefold()]
        if len(same) > 1:
            raise ConfigError(f"{listed(same)} differ only in case, and so would their files; rename one")
    if "*" in output or "{subject}" in output or "#" in output:
        raise ConfigError(
            f"output takes a folder without *, # and {{subject}}, which have a meaning in patterns; got '{output}'"
        )


def _resolved(wanted: CommonGrid, cases: Sequence[Case], roles: Sequence[str]) -> CommonGrid:
    """Return the settings with the reference and the modality that the label follows, and print what was chosen and why."""
    modalities = [role for role in roles if role != LABEL]
    reference, label_on = wanted.reference, wanted.label_on
    why = "as asked for" if reference else "the first modality"
    if LABEL in roles and not label_on and (wanted.how == "rigid" or not reference):
        label_on = _modality_under_label(cases, modalities, reference)
    if not reference and label_on:
        reference, why = label_on, f"the label {'follows' if wanted.label_on else 'lies on'} its grid"
    reference = reference or modalities[0]
    print(f"reference: {reference} ({why})")
    if LABEL in roles and not label_on:
        label_on = reference
        if wanted.how == "rigid" and len(modalities) > 1:
            print(f"the label lies on no modality's grid: it is taken to be in the space of {reference} (else set --label_on)")
    elif label_on not in ("", reference):
        print(f"the label follows {label_on} to the grid of {reference}")
    return replace(wanted, reference=reference, label_on=label_on)


def _modality_under_label(cases: Sequence[Case], modalities: Sequence[str], reference: str) -> str:
    """Return the modality on whose grid the label lies in all cases that can be read, if possible the reference; "" for none.

    Raises:
        DataError: if that differs between the cases.
    """
    under: dict[str, list[str]] = {}
    for case in follow(cases, "reading headers", "case"):
        try:
            grids = {role: VoxelGrid.of(open_scan(case[role])) for role in (*modalities, LABEL)}
        except Exception:  # a damaged file can raise any exception; it is reported when its case is prepared
            continue
        under[case["subject"]] = [name for name in modalities if lies_on(grids[LABEL], grids[name])]
    ordered = [reference, *modalities] if reference else modalities
    for name in ordered:
        if under and all(name in names for names in under.values()):
            return name
    if not any(under.values()):
        return ""
    lines = [f"{subject}: {listed(names) or 'none'}" for subject, names in under.items()]
    raise DataError(
        list_problems("the label lies on the grid of different modalities; set --label_on (and --reference):", lines)
    )


def _waiting(prepared: Prepared, complete: Sequence[CaseFiles], left_out: dict[str, str]) -> list[CaseFiles]:
    """Return the cases to prepare; begin the folder.

    Raises:
        DataError: if files of prepared cases have changed; nothing is written.
    """
    changed = {case.subject: prepared.changed(case) for case in follow(complete, "hashing", "subject")}
    lines = [f"{subject}: {listed(roles)}" for subject, roles in changed.items() if roles]
    if lines:
        raise DataError(
            list_problems(
                f"files of {plural(len(lines), 'case')} have changed since they were prepared in '{prepared.folder}'; restore "
                "them, or choose another output:",
                lines,
            )
        )
    prepared.begin(left_out)
    return waiting_subjects(prepared, complete, prepared.written)


def _settings(wanted: CommonGrid, roles: Sequence[str]) -> dict[str, Any]:
    registration = {"metric": "Mattes mutual information in the reference's head", **registration_settings()}
    return {
        "files": list(roles),
        "reference": wanted.reference,
        "label_on": wanted.label_on,
        "register": wanted.how,
        "spacing": wanted.spacing,
        "crop": wanted.crop,
        "margin": None if wanted.crop is None else wanted.margin,
        "registration": registration if wanted.how == "rigid" else None,
        "images": "linear, once; unchanged if they are on the grid",
        "labels": "nearest neighbour",
        "transform": "the reference's points to the modality's, LPS, mm",
    }


def _rows(prepared: Prepared, wanted: CommonGrid) -> list[PreparedRow]:
    """Return the rows of all prepared cases."""
    rows = []
    with naming_damage(prepared.record.path, "choose another output"):
        for subject, entry in sorted(prepared.subjects.items()):
            doubts = list(entry["doubts"])
            for role, fit in entry["modalities"].items():
                doubts = [doubt for doubt in doubts if doubt not in fit["doubts"]]
                after, before = fit.get("alignment", {}), fit.get("by_header", {})
                off = fit.get("off_mm")
                rows.append(
                    PreparedRow(
                        subject,
                        role,
                        fit["position"],
                        fit.get("moved_mm", NAN),
                        NAN if off is None else off,
                        before.get("mutual_information", NAN),
                        after.get("mutual_information", NAN),
                        after.get("overlap", NAN),
                        after.get("covered", NAN),
                        "; ".join(fit["doubts"]),
                    )
                )
            if entry["label"] is not None:
                rows.append(PreparedRow(subject, LABEL, wanted.label_on, NAN, NAN, NAN, NAN, NAN, NAN, "; ".join(doubts)))
    return rows


def _print_doubts(prepared: Prepared, subjects: Sequence[str]) -> None:
    """Print the doubts about the current cases, and which prepared ones are not among them."""
    doubtful = {name: prepared.subjects[name]["doubts"] for name in subjects if name in prepared.subjects}
    lines = [f"{name}: {doubt}" for name, doubts in doubtful.items() for doubt in doubts]
    if lines:
        count = sum(bool(doubts) for doubts in doubtful.values())
        print(
            list_problems(
                f"{count} of {len(doubtful)} cases are doubtful; look at them before you use them:", lines, FAILURES_SHOWN
            )
        )
    others = sorted(set(prepared.subjects) - set(subjects))
    if others:
        print(f"prepared before and not among these files: {name_some(others)}; they stay in {prepared.folder}")


def _next_command(prepared: Prepared, roles: Sequence[str], crop: Any) -> str:
    """Return the command for which the folder was prepared: a datalist, or, without labels, predictions."""
    patterns = [f"--{role} {shlex.quote(f'{prepared.folder}/{{subject}}/{{subject}}_{role}.nii.gz')}" for role in roles]
    if LABEL not in roles:
        return f"monai_tl predict --bundle RUN {' '.join(patterns)} --output predictions"
    found = {int(value) for entry in prepared.subjects.values() for value in entry["label"]["ml_before_after"]}
    values = crop if isinstance(crop, tuple) else sorted(found)
    foreground = ",".join(map(str, values)) or "1"
    output = shlex.quote(str(prepared.folder / "datalist.json"))
    return (
        f"monai_tl datalist files {' '.join(patterns)} --foreground {foreground} --output {output}\n"
        f"(label values that occur: {','.join(map(str, sorted(found))) or 'none'}; choose by --foreground or --regions)"
    )
