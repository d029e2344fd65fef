"""Cases from any folder layout: one pattern per modality, paired by the subject id in the paths."""

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
    """Complete cases in order of subject id, and omitted ones.

    Attributes:
        left_out: subject -> why; empty unless ``incomplete="leave_out"`` was set.
        passed_over: files and folders that are not cases, since ``predict`` wrote them.
    """

    def __init__(self) -> None:
        """Create an empty list."""
        super().__init__()
        self.left_out: dict[str, str] = {}
        self.passed_over: list[str] = []


def find_cases(patterns: Mapping[str, str], *, incomplete: str = "refuse") -> Cases:
    """Find the cases whose files match one pattern per modality.

    Args:
        patterns: modality (and ``"label"``) -> path with ``{subject}``, e.g. ``"t1/{subject}_T1.nii.gz"``.
            ``{subject}`` matches the shortest possible text within one folder or file name, and the same text at each
            repetition; ``*`` matches any text within one name. Patterns are absolute or relative to the working directory.
            A pattern that matches no file may match folders, each with a DICOM series. ``#`` and the text after it select
            a volume or series, see `monai_tl.imaging.scan_files`.
        incomplete: ``"refuse"``, or ``"leave_out"`` to omit subjects that lack a file.

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
    """Combine the files of each subject into a case, independent of the order of files.

    Args:
        found: modality or ``"label"`` -> subject -> absolute paths, of which there must be exactly one.
        incomplete: ``"refuse"`` or ``"leave_out"``.

    Returns:
        Cases with ids in NFC (composed accents) and unchanged paths. A warning on stderr names ids that differ only in case.

    Raises:
        DataError: naming the subjects that lack a file or have two, if they are refused or no other case remains; and
            always if ids look the same.
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
        remedy = "; add the files, or omit these subjects with --incomplete leave_out:"
        if not cases:
            remedy = "; no id is the same for all modalities: check the patterns, which may lack a part of the file names"
        raise DataError(list_problems(first + remedy, [f"{visible(name)} {fault}" for name, fault in cases.left_out.items()]))
    return cases


def _composed(role: str, by_subject: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Merge ids that differ only in the encoding of accents; refuse files of one role whose names do."""
    composed: dict[str, list[str]] = {}
    for subject, paths in by_subject.items():
        composed.setdefault(normal(subject), []).extend(paths)
    for subject, paths in composed.items():
        if len({normal(path) for path in paths}) < len(set(paths)):
            codes = " and ".join(ascii(os.path.basename(path)) for path in paths)
            raise DataError(
                f"subject '{subject}' has {len(paths)} files for {role} whose names differ only in the encoding of accents "
                f"({codes}); remove or rename one"
            )
    return composed


def _refuse_twins(subjects: Sequence[str], left_out: Mapping[str, str]) -> None:
    """Refuse ids that look alike if one is incomplete, since the other may have its file; warn if all are complete."""
    for group in alike(subjects):
        names = " and ".join(map(quoted, group))
        faults = "; ".join(f"{quoted(subject)} {left_out[subject]}" for subject in group if subject in left_out)
        if faults:
            raise DataError(
                f"subjects {names} differ only in case, spaces or invisible characters ({faults}); give them one name"
            )
        print(
            f"monai_tl: warning: subjects {names} differ only in case, spaces or width: they are different cases, but file "
            "systems that ignore case would mix up their results",
            file=sys.stderr,
        )


def is_file(path: str | Path) -> bool:
    """Return whether a path is a file or a broken link, which is reported when it is opened."""
    return os.path.isfile(path) or (os.path.islink(path) and not os.path.exists(path))


def refuse_odd_names(cases: Sequence[Case]) -> None:
    """Refuse ids and paths that cannot be written: files are named after ids, and tables contain both."""
    refuse_odd_ids(case["subject"] for case in cases)
    refuse_odd_paths(path for case in cases for role, path in case.items() if role != "subject")


def _match(role: str, pattern: str) -> dict[str, list[str]]:
    """Return subject -> matching files."""
    whole, sign, part = pattern.rpartition("#")
    if sign and "/" not in part and not glob.glob(_PLACES.sub("*", pattern)):  # one volume or series: imaging/scan_files.py
        return {subject: [f"{path}#{part}" for path in paths] for subject, paths in _match(role, whole).items()}
    pieces = _PLACES.split(normal(_absolute(pattern)))
    if "{subject}" not in pieces:
        raise ConfigError(f"the pattern for {role} needs {{subject}} in place of the subject id; got '{pattern}'")
    expression, wildcard, named = "", "", False  # with composed accents; file names may have decomposed ones
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
    for path, match in [item for item in matches if is_file(item[0])] or [item for item in matches if os.path.isdir(item[0])]:
        found.setdefault(match["subject"], []).append(path)
    return found


def _refuse_unreadable(wildcard: str) -> None:
    """Raise if a folder of the pattern is not readable: glob skips it, so its subjects would be missing unnoticed."""
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
    """Return the missing path and the content of its deepest existing folder, as text."""
    folder = Path(_PLACES.split(_absolute(pattern))[0] + "x").parent
    while not folder.is_dir():
        folder = folder.parent
    content = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    return f"{_absolute(pattern)}; {folder} contains {name_some(content) or 'nothing'}"


def _fault(files: Mapping[str, Sequence[str]]) -> str:
    """Return why a subject is not a complete case; empty if it is."""
    lacking = [role for role, paths in files.items() if not paths]
    faults = [f"lacks {', '.join(lacking)}"] if lacking else []
    for role, paths in files.items():
        if len(paths) > 1:
            faults.append(f"has {len(paths)} files for {role} ({name_some([*map(visible, paths)], 2)})")
    return "; ".join(faults)
