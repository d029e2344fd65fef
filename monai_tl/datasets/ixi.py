"""Cases in the layout of the IXI dataset, with FreeSurfer labels in the folder ``aseg``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from monai_tl.datasets.patterns import Cases, find_cases
from monai_tl.errors import DataError

PERSON = re.compile(r"(?P<subject>IXI\d+)(-(?P<rest>[A-Za-z]+-\d+))?")  # start of file names
SCAN_OF_PERSON = r"(?P<person>IXI\d+)(-[A-Za-z]+(-\d+.*)?)?"  # form of ids


def find_ixi_cases(
    root: Path, modalities: Sequence[str] = ("T1", "T2"), *, incomplete: str = "refuse", labelled: bool = True
) -> Cases:
    """Find the cases in an IXI folder; the subject id is the part of the name before the first hyphen, e.g. ``"IXI012"``.

    Args:
        root: folder with ``IXI-T1/IXI012-Guys-0001-T1.nii.gz``, ``IXI-T2/…-T2.nii.gz`` and so on, and the labels in
            ``aseg/IXI012-Guys-0001-aseg.nii.gz``.
        modalities: names, as in the folders.
        incomplete: ``"refuse"``, or ``"leave_out"`` to omit subjects that lack a file.
        labelled: whether cases need a label; only prediction does not.

    Raises:
        DataError: if the folder or a modality does not exist, or a subject lacks a file, has two for one modality, or files
            that name different people (``IXI012-HH-1211`` and ``IXI012-Guys-0777``).
    """
    root = Path(root).expanduser().absolute()
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; needed is one with IXI-{modalities[0]}{' and aseg' * labelled}")
    patterns = {name: f"{root}/IXI-{name}/{{subject}}-*{name}.nii.gz" for name in modalities}
    if labelled:
        patterns["label"] = f"{root}/aseg/{{subject}}-*aseg.nii.gz"
    cases = find_cases(patterns, incomplete=incomplete)
    paths = [path for case in cases for role, path in case.items() if role != "subject"]
    matches = {path: PERSON.match(Path(path).name) for path in paths}
    remove_mixed_people(cases, {path: (match["rest"] or "") if match else "" for path, match in matches.items()}, incomplete)
    return cases


def is_ixi_layout(root: Path, modalities: Sequence[str]) -> bool:
    """Return whether a folder contains a folder of one of the modalities."""
    return any((root / f"IXI-{name}").is_dir() for name in modalities)


def remove_mixed_people(cases: Cases, rests: dict[str, str], incomplete: str) -> None:
    """Remove cases whose files have the same IXI number but name different people.

    Args:
        cases: removed cases are added to its ``left_out``.
        rests: path -> rest of its name after the subject, e.g. ``"HH-1211"``; may be empty.
        incomplete: ``"refuse"``, or ``"leave_out"`` to omit them.

    Raises:
        DataError: if such a case is refused, or no case remains.
    """
    for case in list(cases):
        named = {role: rests[path] for role, path in case.items() if role != "subject" and rests[path]}
        if len(set(named.values())) > 1:
            names = ", ".join(f"{role} {case['subject']}-{rest}" for role, rest in named.items())
            cases.left_out[case["subject"]] = f"names different people ({names}); rename the files or remove the wrong one"
            cases.remove(case)
            if incomplete == "refuse" or not cases:
                raise DataError(f"{case['subject']} {cases.left_out[case['subject']]}")
