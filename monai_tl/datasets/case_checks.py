"""Whether cases are fit to be used: readable, 3D, on one grid, finite, with labels that mean something."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage

from monai_tl.datasets.datalist import Datalist
from monai_tl.datasets.patterns import Case
from monai_tl.errors import DataError, first_line, list_problems
from monai_tl.imaging.geometry import Note, corners
from monai_tl.imaging.scan_files import geometry_of, open_scan
from monai_tl.imaging.voxels import read_stored, voxel_faults
from monai_tl.storage.progress import follow
from monai_tl.text import name_some

logger = logging.getLogger(__name__)

TOLERANCE = 1e-3  # mm; headers keep float32, and quaternions lose a little more
NEARLY = 1e-4  # of an integer: a label that was computed with, not resampled
FEW_VALIDATION_CASES = 3


class Findings(NamedTuple):
    """What checking one case found, without the subject's id.

    Attributes:
        problems: a line each.
        empty: a line if the label holds no foreground.
        notes: role -> what its header made to be passed over or converted.
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
) -> list[str]:
    """Check every file of every case and report all problems at once.

    Args:
        cases: each with ``"subject"``, a path per modality and, unless it is only to be predicted, ``"label"``.
        modalities: those to check, e.g. ``("T1", "T2")``; with the label they lie on one (i, j, k) grid.
        foreground: label values that are looked for.
        need_foreground: whether a label without any of them is a problem (training) or a warning (validation, test).
        known_labels: the values a label may hold besides 0; ``None`` allows any integer.

    Returns:
        Warnings: one a case whose label holds no foreground, one if a foreground value is in no label at all, one for each
        kind of thing that was passed over or converted in headers.

    Raises:
        DataError: with one line a problem, for files that are missing or unreadable, not 3D, not on one grid, not
            finite, and for label values that are no integers or not known.

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
        raise DataError(list_problems(f"{first}; mend these files or take the cases out:", lines))
    labelled = any("label" in case for case in cases)
    absent = [value for value in foreground if labelled and value not in seen]
    if absent and len(absent) < len(foreground):
        warnings.append(
            f"foreground value {_join(absent)} is in none of the {len(cases)} labels, which hold {_join(sorted(seen))}"
        )
    return warnings + gather_notes(notes)


def gather_notes(notes: Mapping[str, Mapping[str, tuple[Note, ...]]]) -> list[str]:
    """Give one line for each kind of thing that was passed over or converted in headers, however many cases it happened to.

    Args:
        notes: of every case that was looked at: subject -> role -> what was passed over.
    """
    kinds: dict[str, dict[str, list[tuple[str, str]]]] = {}
    for subject, by_role in notes.items():
        for role, said in by_role.items():
            for note in said:
                kinds.setdefault(note.what, {}).setdefault(subject, []).append((role, note.numbers))
    lines = []
    for what, subjects in kinds.items():
        roles = dict.fromkeys(role for found in subjects.values() for role, _ in found)
        numbers = list(dict.fromkeys(numbers for found in subjects.values() for _, numbers in found))
        told = numbers[0] if len(numbers) == 1 else f"e.g. {numbers[0]}"
        lines.append(
            f"{len(subjects)} of {len(notes)} cases ({name_some(list(subjects))}), {', '.join(roles)}: {what} ({told})"
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
    """Check every file of one case, as `check_cases` does with many; nothing is raised.

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
    empty = f"label holds no foreground ({_join(foreground)}), only {_join(values)}"
    return Findings(problems + faults, [empty], notes)


def header_problems(case: Case, modalities: Sequence[str]) -> list[str]:
    """Check one case as far as headers tell, without reading voxels; a line a problem, without the subject's id."""
    return _check_headers(case, modalities)[1]


def _check_headers(case: Case, modalities: Sequence[str]) -> tuple[dict[str, SpatialImage], list[str]]:
    """Open what can be opened, without reading voxels, and compare the grids."""
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
    """The image, or what is wrong with it."""
    try:
        image: Any = open_scan(path)
        kind = image.get_data_dtype()
    except DataError as error:
        return None, str(error)
    except Exception as error:  # a damaged header can raise anything
        return None, f"is not readable ({first_line(error, path)})"
    if kind.kind not in "iuf":
        return None, f"does not hold numbers of one channel (type {kind})"
    return image, ""


def _compare_grids(images: Mapping[str, SpatialImage]) -> list[str]:
    """Each image against the first one."""
    names = list(images)
    faults = (_grid_fault(names[0], images[names[0]], name, images[name]) for name in names[1:])
    return [fault for fault in faults if fault]


def _grid_fault(first: str, one: SpatialImage, name: str, other: SpatialImage) -> str:
    """In what another image's grid is not the first one's; a turned one needs no resampling."""
    if one.shape[:3] == other.shape[:3] and np.abs(np.asarray(one.affine) - np.asarray(other.affine)).max() <= TOLERANCE:
        return ""
    turned = [nib.orientations.io_orientation(image.affine) for image in (one, other)]
    shapes = [
        tuple(int(n) for n in np.array(i.shape[:3])[np.argsort(t[:, 0])]) for i, t in zip((one, other), turned, strict=True)
    ]
    grids = [i.affine @ nib.orientations.inv_ornt_aff(t, i.shape[:3]) for i, t in zip((one, other), turned, strict=True)]
    if shapes[0] != shapes[1]:
        return f"{name} has shape {_shape(other.shape[:3])}, {first} {_shape(one.shape[:3])}; resample one to the other"
    apart = float(np.linalg.norm(corners(grids[0], shapes[0]) - corners(grids[1], shapes[0]), axis=1).max())
    if apart > TOLERANCE:
        return f"{name} and {first} lie apart by up to {apart:.3g} mm; resample one to the other"
    axes = ["".join(nib.aff2axcodes(image.affine)) for image in (other, one)]
    return (
        f"{name} holds the same points as {first}, but its axes run {axes[0]}, not {axes[1]}; reorder them without resampling "
        "(fslswapdim, or nibabel's as_reoriented)"
    )


def _check_voxels(name: str, image: Any, path: str) -> list[str]:
    """Read the voxels as they are stored: scaling all to float64 costs eight times the memory and tells nothing more."""
    try:
        stored = read_stored(image)
    except Exception as error:  # truncated and damaged streams raise EOFError, OSError, zlib.error, ValueError
        return [f"{name} is not readable ({first_line(error, path)}): {path}"]
    return [f"{name} {fault}: {path}" for fault in voxel_faults(stored)]


def _label_values(image: Any, path: str, known: Sequence[int] | None) -> tuple[np.ndarray | None, list[str]]:
    """Values that occur, in ascending order (``None`` if they mean nothing), and what is wrong with them."""
    try:
        values = read_stored(image).values()
    except Exception as error:  # as for images
        return None, [f"label is not readable ({first_line(error, path)}): {path}"]
    odd = values[~np.isfinite(values) | (values != np.rint(values))]
    if odd.size:
        told = f"label holds values that are no integers ({name_some([str(value) for value in odd], 12)})"
        if np.isfinite(odd).all() and np.abs(odd - np.rint(odd)).max() <= NEARLY:
            told += ", but nearly: round them and save the label as integers (numpy: np.rint, then astype)"
        return None, [f"{told}: {path}"]
    unknown = [] if known is None else [value for value in values if value != 0 and value not in known]
    if unknown:
        return values, [f"label holds unknown values ({_join(unknown)}), known are {_join(known or ())}: {path}"]
    return values, []


def _join(values: Iterable[Any]) -> str:
    return name_some([f"{value:g}" for value in values], 12) or "nothing"


def _shape(shape: Sequence[int]) -> str:
    return "×".join(str(length) for length in shape)


def check_split(data: Datalist, split: str, modalities: Sequence[str], *, need_foreground: bool = False) -> None:
    """Check the cases of a split before anything is done with them; named in ``initialize`` of evaluation and inference.

    Raises:
        DataError: for cases that cannot be read as they should, or, where it is needed, hold no foreground.
    """
    cases = data.split(split, modalities)
    warnings = check_cases(cases, modalities, data.foreground, need_foreground=need_foreground, known_labels=data.labels)
    for warning in warnings:
        logger.warning(warning)
    if split == "validation" and len(cases) < FEW_VALIDATION_CASES:
        logger.warning("%d validation case(s) to choose the weights by: the choice is mostly chance", len(cases))
    if sum("holds no foreground" in warning for warning in warnings) == len(cases):
        raise DataError(f"no {split} case holds any foreground {data.foreground}, so Dice would say nothing; check the labels")
