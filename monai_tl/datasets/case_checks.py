"""Checks that cases can be used: readable, 3D, on one grid, finite, and with valid labels."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage

from monai_tl.datasets.datalist import Datalist
from monai_tl.datasets.patterns import Case
from monai_tl.datasets.regions import Regions, foreground_of
from monai_tl.errors import DataError, first_line, list_problems
from monai_tl.imaging.geometry import Note, corners
from monai_tl.imaging.scan_files import geometry_of, open_scan
from monai_tl.imaging.voxels import read_stored, voxel_faults
from monai_tl.storage.progress import follow
from monai_tl.text import name_some

logger = logging.getLogger(__name__)

TOLERANCE = 1e-3  # mm; headers store float32, and quaternions lose some more precision
NEARLY = 1e-4  # distance to an integer: rounding errors, not interpolation
FEW_VALIDATION_CASES = 3
RESAMPLE = " (`monai_tl prepare files`)"


class Findings(NamedTuple):
    """Result of checking one case, without the subject's id.

    Attributes:
        problems: one line each.
        empty: a line if the label contains no foreground.
        notes: role -> what was ignored or converted in its header.
    """

    problems: list[str]
    empty: list[str]
    notes: dict[str, tuple[Note, ...]]


def check_cases(
    cases: Sequence[Case],
    modalities: Sequence[str],
    foreground: Sequence[int],
    *,
    need_foreground: bool,
    known_labels: Sequence[int] | None = None,
    regions: Regions | None = None,
) -> list[str]:
    """Check every file of every case and report all problems at once.

    Args:
        cases: each with ``"subject"``, a path per modality and, except for prediction, ``"label"``.
        modalities: to check, e.g. ``("T1", "T2")``; they and the label must be on one (i, j, k) grid.
        foreground: label values of the foreground.
        need_foreground: whether a label without foreground is a problem (training) or a warning (validation, test).
        known_labels: values that a label may contain in addition to 0; ``None`` allows any integer.
        regions: name -> label values, of which each must be in some label, if foreground is needed.

    Returns:
        Warnings: one per case whose label contains no foreground, one if a foreground value or a region is in no label at all,
        and one per kind of header field that was ignored or converted.

    Raises:
        DataError: with one line per problem: files that are missing, unreadable, not 3D, not on one grid or not finite, and
            label values that are not integers or not known; or a region that is in no label, if foreground is needed.

    Example:
        >>> from monai_tl import check_cases, read_datalist
        >>> data = read_datalist("data/brats/datalist.json")
        >>> check_cases(data.cases, ("T1", "T2"), data.foreground, need_foreground=True)
        []
    """
    problems: dict[str, list[str]] = {}
    warnings: list[str] = []
    notes: dict[str, dict[str, tuple[Note, ...]]] = {}
    seen: set[int] = set()
    for case in follow(cases, "checking cases", "case"):
        found = case_problems(case, modalities, foreground, known_labels=known_labels, seen=seen)
        problems[case["subject"]], notes[case["subject"]] = found.problems, found.notes
        if need_foreground:
            problems[case["subject"]] += found.empty
        else:
            warnings += [f"{case['subject']}: {line}" for line in found.empty]
    lines = [f"{subject}: {line}" for subject, faults in problems.items() for line in faults]
    if lines:
        faulty = sum(bool(faults) for faults in problems.values())
        first = f"{len(lines)} problem{'s' * (len(lines) > 1)} in {faulty} of {len(cases)} cases"
        raise DataError(list_problems(f"{first}; correct these files or leave the cases out:", lines))
    labelled = any("label" in case for case in cases)
    lost = {name: values for name, values in (regions or {}).items() if labelled and not seen & set(values)}
    if lost and need_foreground:
        names = ", ".join(f"'{name}' ({_join(values)})" for name, values in lost.items())
        raise DataError(
            f"none of the {len(cases)} labels contains the region {names}, only {_join(sorted(seen))}; omit it from classes, "
            "or add cases that have it"
        )
    absent = [value for value in foreground if labelled and value not in seen]
    if absent and len(absent) < len(foreground):
        warnings.append(
            f"foreground value {_join(absent)} is in none of the {len(cases)} labels, which contain {_join(sorted(seen))}"
        )
    return warnings + gather_notes(notes)


def gather_notes(notes: Mapping[str, Mapping[str, tuple[Note, ...]]]) -> list[str]:
    """Return one line per kind of header field that was ignored or converted, with the cases concerned.

    Args:
        notes: of all cases that were checked: subject -> role -> notes.
    """
    kinds: dict[str, dict[str, list[tuple[str, str]]]] = {}
    for subject, by_role in notes.items():
        for role, of_role in by_role.items():
            for note in of_role:
                kinds.setdefault(note.what, {}).setdefault(subject, []).append((role, note.numbers))
    lines = []
    for what, subjects in kinds.items():
        roles = dict.fromkeys(role for items in subjects.values() for role, _ in items)
        numbers = list(dict.fromkeys(numbers for items in subjects.values() for _, numbers in items))
        examples = numbers[0] if len(numbers) == 1 else f"e.g. {numbers[0]}"
        lines.append(
            f"{len(subjects)} of {len(notes)} cases ({name_some(list(subjects))}), {', '.join(roles)}: {what} ({examples})"
        )
    return lines


def case_problems(
    case: Case,
    modalities: Sequence[str],
    foreground: Sequence[int],
    *,
    known_labels: Sequence[int] | None = None,
    seen: set[int] | None = None,
) -> Findings:
    """Check every file of one case, as `check_cases` does for many, without raising.

    Each file is read to its end. The label's values are added to ``seen``.
    """
    images, problems = _check_headers(case, modalities)
    notes = {name: geometry_of(image).notes for name, image in images.items() if geometry_of(image).notes}
    for name in modalities:
        if name in images:
            problems += _check_voxels(name, images[name], case[name])
    if "label" not in images:
        return Findings(problems, [], notes)
    values, faults = _label_values(images["label"], case["label"], known_labels)
    if seen is not None and values is not None:
        seen.update(int(value) for value in values)
    if values is None or np.isin(values, foreground).any():
        return Findings(problems + faults, [], notes)
    empty = f"label contains no foreground ({_join(foreground)}), only {_join(values)}"
    return Findings(problems + faults, [empty], notes)


def header_problems(case: Case, modalities: Sequence[str]) -> list[str]:
    """Check the headers of one case, without reading voxels; return one line per problem, without the subject's id."""
    return _check_headers(case, modalities)[1]


def _check_headers(case: Case, modalities: Sequence[str]) -> tuple[dict[str, SpatialImage], list[str]]:
    """Open the readable images, without reading voxels, and compare their grids; return images and problems."""
    faults: list[str] = []
    images: dict[str, SpatialImage] = {}
    for name in [*modalities, *(["label"] if "label" in case else [])]:
        if name not in case:
            faults.append(f"has no {name}, only {', '.join(key for key in case if key != 'subject')}")
            continue
        image, fault = _open(case[name])
        if image is None:
            faults.append(f"{name} {fault}: {case[name]}")
        else:
            images[name] = image
    return images, faults + _compare_grids(images)


def _open(path: str) -> tuple[SpatialImage | None, str]:
    """Return the image, or None and the reason why it cannot be used."""
    try:
        image: Any = open_scan(path)
        kind = image.get_data_dtype()
    except DataError as error:
        return None, str(error)
    except Exception as error:  # a damaged header can raise any exception
        return None, f"is not readable ({first_line(error, path)})"
    if kind.kind not in "iuf":
        return None, f"does not contain one number per voxel (type {kind})"
    return image, ""


def _compare_grids(images: Mapping[str, SpatialImage]) -> list[str]:
    """Return the differences between the grid of each image and that of the first."""
    names = list(images)
    faults = (_grid_fault(names[0], images[names[0]], name, images[name]) for name in names[1:])
    return [fault for fault in faults if fault]


def _grid_fault(first: str, one: SpatialImage, name: str, other: SpatialImage) -> str:
    """Return how another image's grid differs from the first one's; reordered axes need no resampling."""
    if one.shape[:3] == other.shape[:3] and np.abs(np.asarray(one.affine) - np.asarray(other.affine)).max() <= TOLERANCE:
        return ""
    orientations = [nib.orientations.io_orientation(image.affine) for image in (one, other)]
    shapes = [
        tuple(int(n) for n in np.array(i.shape[:3])[np.argsort(t[:, 0])])
        for i, t in zip((one, other), orientations, strict=True)
    ]
    grids = [i.affine @ nib.orientations.inv_ornt_aff(t, i.shape[:3]) for i, t in zip((one, other), orientations, strict=True)]
    if shapes[0] != shapes[1]:
        return (
            f"{name} has shape {_shape(other.shape[:3])}, {first} {_shape(one.shape[:3])}; resample one to the other{RESAMPLE}"
        )
    distance = float(np.linalg.norm(corners(grids[0], shapes[0]) - corners(grids[1], shapes[0]), axis=1).max())
    if distance > TOLERANCE:
        return f"{name} and {first} are up to {distance:.3g} mm apart; resample one to the other{RESAMPLE}"
    axes = ["".join(nib.aff2axcodes(image.affine)) for image in (other, one)]
    return (
        f"{name} has the same points as {first}, but its axes are {axes[0]}, not {axes[1]}; reorder them without resampling "
        "(fslswapdim, or nibabel's as_reoriented)"
    )


def _check_voxels(name: str, image: Any, path: str) -> list[str]:
    """Check the stored voxels; scaling all of them to float64 would take eight times the memory for the same result."""
    try:
        stored = read_stored(image)
    except Exception as error:  # truncated and damaged streams raise EOFError, OSError, zlib.error, ValueError
        return [f"{name} is not readable ({first_line(error, path)}): {path}"]
    return [f"{name} {fault}: {path}" for fault in voxel_faults(stored)]


def _label_values(image: Any, path: str, known: Sequence[int] | None) -> tuple[np.ndarray | None, list[str]]:
    """Return the values that occur, in ascending order (``None`` if they are invalid), and the problems with them."""
    try:
        values = read_stored(image).values()
    except Exception as error:  # as for images
        return None, [f"label is not readable ({first_line(error, path)}): {path}"]
    odd = values[~np.isfinite(values) | (values != np.rint(values))]
    if odd.size:
        problem = f"label contains values that are not integers ({name_some([str(value) for value in odd], 12)})"
        if np.isfinite(odd).all() and np.abs(odd - np.rint(odd)).max() <= NEARLY:
            problem += ", but nearly so: round them and save the label as integers (numpy: np.rint, then astype)"
        return None, [f"{problem}: {path}"]
    unknown = [] if known is None else [value for value in values if value != 0 and value not in known]
    if unknown:
        return values, [f"label contains unknown values ({_join(unknown)}), known are {_join(known or ())}: {path}"]
    return values, []


def _join(values: Iterable[Any]) -> str:
    return name_some([f"{value:g}" for value in values], 12) or "nothing"


def _shape(shape: Sequence[int]) -> str:
    return "×".join(str(length) for length in shape)


def check_split(
    data: Datalist,
    split: str,
    modalities: Sequence[str],
    *,
    need_foreground: bool = False,
    regions: Regions | None = None,
) -> None:
    """Check the cases of a split before any other step; called by ``initialize`` of evaluation and inference configs.

    Args:
        data: the datalist.
        split: name of the split.
        modalities: to check.
        need_foreground: whether each label needs foreground, and each region a label that has it.
        regions: those that a network learns; ``None``: all of the datalist.

    Raises:
        DataError: for cases that cannot be used, or, if needed, contain no foreground.
    """
    cases, regions = data.split(split, modalities), data.regions if regions is None else regions
    foreground = foreground_of(regions)
    warnings = check_cases(
        cases, modalities, foreground, need_foreground=need_foreground, known_labels=data.labels, regions=regions
    )
    for warning in warnings:
        logger.warning(warning)
    if split == "validation" and len(cases) < FEW_VALIDATION_CASES:
        logger.warning("only %d validation case(s) to choose the weights by: the choice is mostly chance", len(cases))
    if sum("contains no foreground" in warning for warning in warnings) == len(cases):
        raise DataError(f"no {split} case contains any foreground {foreground}, so Dice would be meaningless; check the labels")
