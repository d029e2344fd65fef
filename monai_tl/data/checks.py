"""Whether cases are fit to be used: readable, 3D, on one grid, finite, with labels that mean something."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from tqdm import tqdm

from monai_tl.data.files import Case, list_problems, name_some
from monai_tl.data.read import open_scan
from monai_tl.errors import DataError

TOLERANCE = 1e-3  # mm; headers keep float32, and quaternions lose a little more
SHEAR = 0.01  # cosine between axes: 0.6° off a right angle
FORMS_APART = 0.1  # voxels
BAR_FROM = 11  # cases; fewer are checked before a bar could be read


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
        Warnings, one a case whose label holds no foreground, and one if a foreground value is in no label at all.

    Raises:
        DataError: with one line a problem, for files that are missing or unreadable, not 3D, not on one grid, not
            finite, and for label values that are no integers or not known.
    """
    problems: dict[str, list[str]] = {}
    warnings: list[str] = []
    seen: set[int] = set()
    for case in tqdm(cases, desc="checking cases", unit="case", disable=len(cases) < BAR_FROM):
        problems[case["subject"]], empty = case_problems(case, modalities, foreground, known_labels=known_labels, seen=seen)
        if need_foreground:
            problems[case["subject"]] += empty
        else:
            warnings += [f"{case['subject']}: {line}" for line in empty]
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
    return warnings


def case_problems(
    case: Case,
    modalities: Sequence[str],
    foreground: Sequence[int],
    *,
    known_labels: Sequence[int] | None = None,
    seen: set[int] | None = None,
) -> tuple[list[str], list[str]]:
    """Check every file of one case, as `check_cases` does with many; nothing is raised.

    The label's values are added to ``seen``.

    Returns:
        A line a problem, and a line if the label holds no foreground; without the subject's id.
    """
    images, problems = _check_headers(case, modalities)
    for name in modalities:
        if name in images:
            problems += _check_finite(name, images[name], case[name])
    if "label" not in images:
        return problems, []
    values, faults = _label_values(images["label"], case["label"], known_labels)
    if seen is not None and values is not None:
        seen.update(int(value) for value in values)
    if values is None or np.isin(values, foreground).any():
        return problems + faults, []
    return problems + faults, [f"label holds no foreground ({_join(foreground)}), only {_join(values)}"]


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
        affine, kind = image.affine, image.get_data_dtype()
    except DataError as error:
        return None, str(error)
    except Exception as error:  # a damaged header can raise anything
        return None, f"is not readable ({_short(error, path)})"
    if kind.kind not in "iuf":
        return None, f"does not hold numbers of one channel (type {kind})"
    return (None, fault) if (fault := _affine_fault(affine) or _forms_fault(image)) else (image, "")


def _affine_fault(affine: np.ndarray) -> str:
    """Whether voxels have a place and a volume, on axes at right angles."""
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        return "has no usable affine (not finite, or an axis of length 0 mm)"
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    cosines = np.abs(axes.T @ axes)[np.triu_indices(3, 1)]
    if cosines.max() <= SHEAR:
        return ""
    pair, angle = ("i and j", "i and k", "j and k")[int(cosines.argmax())], np.degrees(np.arccos(cosines.max()))
    return f"has axes that are not at right angles ({pair} at {angle:.1f}°); resample it to a grid that is straight"


def _forms_fault(image: Any) -> str:
    """Whether a NIfTI header's two affines say the same, if it holds two: programs differ in which one they take."""
    if not isinstance(image, nib.Nifti1Image):
        return ""
    sform, qform = image.get_sform(coded=True)[0], image.get_qform(coded=True)[0]
    if sform is None or qform is None:
        return ""
    apart = float(np.linalg.norm(_corners(sform - qform, image.shape[:3]), axis=1).max())
    if apart <= FORMS_APART * nib.affines.voxel_sizes(sform).min():
        return ""
    return f"has a sform and a qform that disagree by up to {apart:.3g} mm; set the code of the wrong one to 0"


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
    apart = float(np.linalg.norm(_corners(grids[0], shapes[0]) - _corners(grids[1], shapes[0]), axis=1).max())
    if apart > TOLERANCE:
        return f"{name} and {first} lie apart by up to {apart:.3g} mm; resample one to the other"
    axes = ["".join(nib.aff2axcodes(image.affine)) for image in (other, one)]
    return (
        f"{name} holds the same points as {first}, but its axes run {axes[0]}, not {axes[1]}; reorder them without resampling "
        "(fslswapdim, or nibabel's as_reoriented)"
    )


def _corners(affine: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Where a grid's eight outermost voxels lie, in mm."""
    corners: np.ndarray = nib.affines.apply_affine(affine, np.array(list(np.ndindex(2, 2, 2))) * (np.array(shape) - 1))
    return corners


def _check_finite(name: str, image: Any, path: str) -> list[str]:
    """Read the voxels as they are stored: scaling to float64 costs eight times the memory and tells nothing more."""
    try:
        stored = image.dataobj.get_unscaled() if hasattr(image.dataobj, "get_unscaled") else image.dataobj
        voxels = np.asanyarray(stored)
    except Exception as error:  # truncated and damaged streams raise EOFError, OSError, zlib.error, ValueError
        return [f"{name} is not readable ({_short(error, path)}): {path}"]
    if voxels.min() == voxels.max():
        return [f"{name} holds nothing but {voxels.flat[0]:g}: {path}"]
    count = 0 if voxels.dtype.kind in "iu" else int(voxels.size - np.count_nonzero(np.isfinite(voxels)))
    return [f"{name} holds {count} voxels that are NaN or infinite: {path}"] if count else []


def _label_values(image: Any, path: str, known: Sequence[int] | None) -> tuple[np.ndarray | None, list[str]]:
    """Values that occur, in ascending order (``None`` if they mean nothing), and what is wrong with them."""
    try:
        values = np.unique(np.asanyarray(image.dataobj))
    except Exception as error:  # as for images
        return None, [f"label is not readable ({_short(error, path)}): {path}"]
    odd = values[~np.isfinite(values) | (values != np.rint(values))]
    if odd.size:
        return None, [f"label holds values that are no integers ({_join(odd)}): {path}"]
    unknown = [] if known is None else [value for value in values if value != 0 and value not in known]
    if unknown:
        return values, [f"label holds unknown values ({_join(unknown)}), known are {_join(known or ())}: {path}"]
    return values, []


def _join(values: Iterable[Any]) -> str:
    return name_some([f"{value:g}" for value in values], 12) or "nothing"


def _shape(shape: Sequence[int]) -> str:
    return "×".join(str(length) for length in shape)


def _short(error: Exception, path: str) -> str:
    """The error's first sentence, as these can run over many lines; the path, which is told beside it, by its name."""
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return first.replace(path, os.path.basename(path))[:200]
