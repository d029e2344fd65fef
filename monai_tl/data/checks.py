"""Whether cases are fit to be used: readable, 3D, on one grid, finite, with labels that mean something."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from tqdm import tqdm

from monai_tl.data.files import Case, list_problems, name_some
from monai_tl.errors import DataError

TOLERANCE = 1e-3  # mm; headers keep float32, and quaternions lose a little more
BAR_FROM = 11  # cases; fewer are checked before a bar could be read


def check_cases(
    cases: Sequence[Case],
    modalities: Sequence[str],
    foreground: Sequence[int],
    *,
    need_foreground: bool,
    known_labels: Sequence[int] | None = None,
) -> list[str]:
    """Check every file of every case: headers first, then voxels; report all problems at once.

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
    opened = [_check_headers(case, modalities, problems) for case in cases]
    bar = tqdm(cases, desc="checking cases", unit="case", disable=len(cases) < BAR_FROM)
    for case, images in zip(bar, opened, strict=True):
        subject = case["subject"]
        for name in modalities:
            if name in images:
                problems[subject] += _check_finite(name, images[name])
        if "label" in images:
            values, faults = _label_values(images["label"], known_labels)
            problems[subject] += faults
            seen |= set() if values is None else {int(value) for value in values}
            if values is not None and not np.isin(values, foreground).any():
                line = f"label holds no foreground ({_join(foreground)}), only {_join(values)}"
                if need_foreground:
                    problems[subject].append(line)
                else:
                    warnings.append(f"{subject}: {line}")
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


def _check_headers(case: Case, modalities: Sequence[str], problems: dict[str, list[str]]) -> dict[str, SpatialImage]:
    """Open what can be opened, without reading voxels, and compare the grids."""
    faults = problems.setdefault(case["subject"], [])
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
    faults += _compare_grids(images)
    return images


def _open(path: str) -> tuple[SpatialImage | None, str]:
    """The image, or what is wrong with it."""
    if not Path(path).is_file():
        return None, "does not exist"
    try:
        image: Any = nib.load(path)
        affine, shape, kind = image.affine, image.shape, image.get_data_dtype()
    except Exception as error:  # a damaged header can raise anything
        return None, f"is not readable ({_short(error)})"
    if len(shape) < 3 or any(length != 1 for length in shape[3:]) or 0 in shape:
        return None, f"is not 3D (shape {_shape(shape)})"
    if kind.kind not in "iuf":
        return None, f"does not hold numbers of one channel (type {kind})"
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        return None, "has no usable affine (not finite, or an axis of length 0 mm)"
    return image, ""


def _compare_grids(images: Mapping[str, SpatialImage]) -> list[str]:
    """Each image against the first one."""
    faults = []
    for name in list(images)[1:]:
        first = next(iter(images))
        shapes = images[first].shape[:3], images[name].shape[:3]
        apart = float(np.abs(np.asarray(images[first].affine) - np.asarray(images[name].affine)).max())
        if shapes[0] != shapes[1]:
            faults.append(f"{name} has shape {_shape(shapes[1])}, {first} {_shape(shapes[0])}; resample one to the other")
        elif apart > TOLERANCE:
            faults.append(f"{name} and {first} lie apart (affines differ by {apart:.3g} mm); resample one to the other")
    return faults


def _check_finite(name: str, image: Any) -> list[str]:
    """Read the voxels as they are stored: scaling to float64 costs eight times the memory and tells nothing more."""
    try:
        stored = image.dataobj.get_unscaled() if hasattr(image.dataobj, "get_unscaled") else image.dataobj
        voxels = np.asanyarray(stored)
    except Exception as error:  # truncated and damaged streams raise EOFError, OSError, zlib.error, ValueError
        return [f"{name} is not readable ({_short(error)}): {image.get_filename()}"]
    if voxels.min() == voxels.max():
        return [f"{name} holds nothing but {voxels.flat[0]:g}: {image.get_filename()}"]
    count = 0 if voxels.dtype.kind in "iu" else int(voxels.size - np.count_nonzero(np.isfinite(voxels)))
    return [f"{name} holds {count} voxels that are NaN or infinite: {image.get_filename()}"] if count else []


def _label_values(image: Any, known: Sequence[int] | None) -> tuple[np.ndarray | None, list[str]]:
    """Values that occur, in ascending order (``None`` if they mean nothing), and what is wrong with them."""
    path = image.get_filename()
    try:
        values = np.unique(np.asanyarray(image.dataobj))
    except Exception as error:  # as for images
        return None, [f"label is not readable ({_short(error)}): {path}"]
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


def _short(error: Exception) -> str:
    """The error's first sentence, as these can run over many lines."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
