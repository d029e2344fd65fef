"""Cases from any folder layout: one pattern per modality, paired by the subject id that stands in the paths."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from monai_tl.datasets.ids import alike, normal, quoted, refuse_odd_ids, refuse_odd_paths, visible
from monai_tl.errors import ConfigError, DataError, list_problems
from monai_tl.settings.refusals import raise_refusals, refusal
from monai_tl.settings.table import POLICY
from monai_tl.text import name_some

Case = dict[str, str]  # {"subject": "IXI012", "T1": path, "T2": path, "label": path}
_PLACES = re.compile(r"(\{subject\}|\*)")


class Cases(list[Case]):
    """Complete cases in order of subject id, and those left out on request.

    Attributes:
        left_out: subject -> what it lacks; empty unless ``incomplete="leave_out"`` was asked for.
        passed_over: what was found and is no case, since ``predict`` wrote it.
    """

    def __init__(self) -> None:
        """Start with no case."""
        super().__init__()
        self.left_out: dict[str, str] = {}
        self.passed_over: list[str] = []


def find_cases(patterns: Mapping[str, str], *, incomplete: str = "refuse") -> Cases:
    """Find the cases whose files match one pattern per modality.

    Args:
        patterns: modality (and ``"label"``) -> path with ``{subject}``, e.g. ``"t1/{subject}_T1.nii.gz"``.
            ``{subject}`` stands for as little text as fits within one folder or file name, and for the same text
            wherever it is repeated; ``*`` for any text within one name. Relative to the working directory or absolute.
            A pattern that no file matches may stand for folders, each with a DICOM series; ``#`` and what follows it name
            a volume or series, see `monai_tl.imaging.scan_files`.
        incomplete: ``"refuse"``, or ``"leave_out"`` to go on without subjects that lack a file.

    Returns:
        Cases with absolute paths.

    Raises:
        ConfigError: if a pattern has no ``{subject}``.
        DataError: if a pattern matches nothing, or if a subject lacks a file or has two for one modality.

    Example:
        >>> from monai_tl import find_cases
        >>> cases = find_cases(
        ...     {
        ...         "T1": "data/ixi/IXI-T1/{subject}-*-T1.nii.gz",
        ...         "label": "data/ixi/aseg/{subject}-*-aseg.nii.gz",
        ...     }
        ... )
        >>> len(cases), sorted(cases[0])
        (6, ['T1', 'label', 'subject'])
    """
    raise_refusals([refusal("incomplete", POLICY, incomplete)])
    if not patterns or "subject" in patterns:
        raise ConfigError(f"patterns take modality names (and 'label') as keys; got {list(patterns) or 'none'}")
    found = {role: _match(role, pattern) for role, pattern in patterns.items()}
    unmatched = [f"{role}: {_nothing_there(patterns[role])}" for role in found if not found[role]]
    if unmatched:
        raise DataError(list_problems("no file matches", unmatched))
    return pair_by_subject(found, incomplete)


def pair_by_subject(found: Mapping[str, Mapping[str, Sequence[str]]], incomplete: str) -> Cases:
    """Join the files of each subject into a case; the order of files plays no part.

    Args:
        found: modality or ``"label"`` -> subject -> absolute paths, of which there has to be exactly one.
        incomplete: ``"refuse"`` or ``"leave_out"``.

    Returns:
        Cases with ids whose accents are composed (NFC), and paths as they came. A warning on stderr names ids that differ in
        case only.

    Raises:
        DataError: naming the subjects that lack a file or have two, if they are refused or nothing else is left; and in any
            case where ids cannot be told apart by looking at them.
    """
    raise_refusals([refusal("incomplete", POLICY, incomplete)])
    found = {role: _composed(role, by_subject) for role, by_subject in found.items()}
    cases = Cases()
    subjects = sorted({subject for by_subject in found.values() for subject in by_subject})
    for subject in subjects:
        files = {role: by_subject.get(subject, ()) for role, by_subject in found.items()}
        fault = _fault(files)
        if fault:
            cases.left_out[subject] = fault
        else:
            cases.append({"subject": subject, **{role: paths[0] for role, paths in files.items()}})
    _refuse_twins(subjects, cases.left_out)
    refuse_odd_ids(subjects)
    if cases.left_out and (incomplete == "refuse" or not cases):
        first = f"{len(cases.left_out)} of {len(subjects)} subjects are incomplete"
        remedy = "; add the files, or go on without these subjects with --incomplete leave_out:"
        if not cases:
            remedy = "; no id is the same in all of them: is a part of the file names missing from a pattern?"
        raise DataError(list_problems(first + remedy, [f"{visible(name)} {fault}" for name, fault in cases.left_out.items()]))
    return cases


def _composed(role: str, by_subject: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Join the files of ids that differ only in how accents are encoded; names of one role that do so are refused."""
    composed: dict[str, list[str]] = {}
    for subject, paths in by_subject.items():
        composed.setdefault(normal(subject), []).extend(paths)
    for subject, paths in composed.items():
        if len({normal(path) for path in paths}) < len(set(paths)):
            codes = " and ".join(ascii(os.path.basename(path)) for path in paths)
            raise DataError(
                f"subject '{subject}' has {len(paths)} files for {role} whose names differ only in how accents are encoded "
                f"({codes}); remove or rename one"
            )
    return composed


def _refuse_twins(subjects: Sequence[str], left_out: Mapping[str, str]) -> None:
    """Refuse ids that look alike where one lacks a file that the other may have; warn where all are complete."""
    for group in alike(subjects):
        told = " and ".join(map(quoted, group))
        faults = "; ".join(f"{quoted(subject)} {left_out[subject]}" for subject in group if subject in left_out)
        if faults:
            raise DataError(f"subjects {told} differ only in case, spaces or unseen characters ({faults}); give them one name")
        print(
            f"monai_tl: warning: subjects {told} differ only in case, spaces or width: they count as different cases, and file "
            "systems that ignore case would mix up their results",
            file=sys.stderr,
        )


def is_file(path: str | Path) -> bool:
    """Say if a path is a file, or a link that leads nowhere: none is missing then, and whoever opens it says what it is."""
    return os.path.isfile(path) or (os.path.islink(path) and not os.path.exists(path))


def refuse_odd_names(cases: Sequence[Case]) -> None:
    """Refuse ids and paths that cannot be written: predictions and pictures are named after ids, tables hold both."""
    refuse_odd_ids(case["subject"] for case in cases)
    refuse_odd_paths(path for case in cases for role, path in case.items() if role != "subject")


def _match(role: str, pattern: str) -> dict[str, list[str]]:
    """Subject -> files that match."""
    whole, sign, part = pattern.rpartition("#")
    if sign and "/" not in part and not glob.glob(_PLACES.sub("*", pattern)):  # one volume or series: imaging/scan_files.py
        return {subject: [f"{path}#{part}" for path in paths] for subject, paths in _match(role, whole).items()}
    pieces = _PLACES.split(normal(_absolute(pattern)))
    if "{subject}" not in pieces:
        raise ConfigError(f"the pattern for {role} needs {{subject}} where the subject id stands; got '{pattern}'")
    expression, wildcard, named = "", "", False  # of composed accents; the file system may hold them decomposed
    for piece in pieces:
        if piece == "{subject}":
            expression += "(?P=subject)" if named else "(?P<subject>[^/]+?)"
            named = True
        else:
            expression += "[^/]*" if piece == "*" else re.escape(piece)
        wildcard += "*" if piece in ("{subject}", "*") else re.sub(r"[^\x00-\x7f]+", "*", glob.escape(piece))
    _refuse_unreadable(wildcard)
    matches = [(path, match) for path in sorted(glob.glob(wildcard)) if (match := re.fullmatch(expression, normal(path)))]
    found: dict[str, list[str]] = {}
    for path, match in [one for one in matches if is_file(one[0])] or [one for one in matches if os.path.isdir(one[0])]:
        found.setdefault(match["subject"], []).append(path)
    return found


def _refuse_unreadable(wildcard: str) -> None:
    """Refuse a folder on the way that may not be read: glob passes over it, and its subjects would be missing unnoticed."""
    folder = os.path.dirname(wildcard)
    folders = [path for path in glob.glob(folder) if os.path.isdir(path)]
    if folder != os.path.dirname(folder):
        _refuse_unreadable(folder)
    closed = [path for path in folders if not os.access(path, os.R_OK | os.X_OK)]
    if closed:
        raise DataError(f"no permission to read the folder {closed[0]}; change its permissions, or the pattern")


def _absolute(pattern: str) -> str:
    return os.path.abspath(os.path.expanduser(pattern))


def _nothing_there(pattern: str) -> str:
    """Say what was looked for, and what the deepest folder on that way holds instead."""
    folder = Path(_PLACES.split(_absolute(pattern))[0] + "x").parent
    while not folder.is_dir():
        folder = folder.parent
    content = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    return f"{_absolute(pattern)}; {folder} holds {name_some(content) or 'nothing'}"


def _fault(files: Mapping[str, Sequence[str]]) -> str:
    """What keeps a subject from being a case; empty if nothing does."""
    lacking = [role for role, paths in files.items() if not paths]
    faults = [f"lacks {', '.join(lacking)}"] if lacking else []
    for role, paths in files.items():
        if len(paths) > 1:
            faults.append(f"has {len(paths)} files for {role} ({name_some([*map(visible, paths)], 2)})")
    return "; ".join(faults)
