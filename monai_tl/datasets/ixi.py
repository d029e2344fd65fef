"""Cases in the layout of the IXI dataset, with FreeSurfer labels beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from monai_tl.datasets.patterns import Cases, find_cases
from monai_tl.errors import DataError

PERSON = re.compile(r"(?P<subject>IXI\d+)(-(?P<rest>[A-Za-z]+-\d+))?")  # as files' names begin
SCAN_OF_PERSON = r"(?P<person>IXI\d+)(-[A-Za-z]+(-\d+.*)?)?"  # what an id looks like


def find_ixi_cases(
    root: Path, modalities: Sequence[str] = ("T1", "T2"), *, incomplete: str = "refuse", labelled: bool = True
) -> Cases:
    """Find the cases below an IXI folder; the subject id is what stands before the first hyphen, e.g. ``"IXI012"``.

    Args:
        root: folder with ``IXI-T1/IXI012-Guys-0001-T1.nii.gz``, ``IXI-T2/…-T2.nii.gz`` and so on, and the labels in
            ``aseg/IXI012-Guys-0001-aseg.nii.gz``.
        modalities: names as in the folders.
        incomplete: ``"refuse"``, or ``"leave_out"`` to go on without subjects that lack a file.
        labelled: whether a case needs its label, as it does but for prediction.

    Raises:
        DataError: if the folder or a modality does not exist, or a subject lacks a file, has two for one modality, or files
            that name different people (``IXI012-HH-1211`` and ``IXI012-Guys-0777``).
    """
    root = Path(root).expanduser().absolute()
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; needed is one that holds IXI-{modalities[0]}{' and aseg' * labelled}")
    patterns = {name: f"{root}/IXI-{name}/{{subject}}-*{name}.nii.gz" for name in modalities}
    if labelled:
        patterns["label"] = f"{root}/aseg/{{subject}}-*aseg.nii.gz"
    cases = find_cases(patterns, incomplete=incomplete)
    paths = [path for case in cases for role, path in case.items() if role != "subject"]
    matches = {path: PERSON.match(Path(path).name) for path in paths}
    sort_out_strangers(cases, {path: (match["rest"] or "") if match else "" for path, match in matches.items()}, incomplete)
    return cases


def is_ixi_layout(root: Path, modalities: Sequence[str]) -> bool:
    """Say if a folder holds one of the modalities' folders."""
    return any((root / f"IXI-{name}").is_dir() for name in modalities)


def sort_out_strangers(cases: Cases, rests: dict[str, str], incomplete: str) -> None:
    """Take out cases whose files agree in the number and name different people all the same.

    Args:
        cases: those that are taken out stand in ``left_out``.
        rests: path -> what follows the subject in its name, e.g. ``"HH-1211"``; empty where nothing does.
        incomplete: ``"refuse"``, or ``"leave_out"`` to go on without them.

    Raises:
        DataError: if one is refused, or none is left.
    """
    for case in list(cases):
        named = {role: rests[path] for role, path in case.items() if role != "subject" and rests[path]}
        if len(set(named.values())) > 1:
            told = ", ".join(f"{role} {case['subject']}-{rest}" for role, rest in named.items())
            cases.left_out[case["subject"]] = f"names different people ({told}); rename the files or take the wrong one out"
            cases.remove(case)
            if incomplete == "refuse" or not cases:
                raise DataError(f"{case['subject']} {cases.left_out[case['subject']]}")
