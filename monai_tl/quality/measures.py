"""What a case looks like, in numbers: its grid, head, field of view, how its modalities fit, its volumes.

Measured here, judged in `monai_tl.quality.outliers`. Everything is measured on axes right, anterior, superior.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from monai_tl.datasets.case_checks import TOLERANCE, case_problems
from monai_tl.datasets.label_schemes import sides_of
from monai_tl.datasets.patterns import Case
from monai_tl.errors import in_words
from monai_tl.imaging.scan_files import open_scan
from monai_tl.preparation.register import better_place
from monai_tl.preparation.similarity import Mask, compare_images, head_mask

Image3D = NDArray[np.float32]  # (i, j, k) to the right, anterior, superior
VoxelBox = tuple[slice, ...]

FACES = ("left", "right", "back", "front", "bottom", "top")  # of a volume on axes right, anterior, superior
BODY_AXES = ("left to right", "back to front", "bottom to top")
FINE = 100  # voxels a side: measured on every n-th voxel of a finer grid, which is about 2 mm in a head at 1 mm
TURNED = 0.5  # of the mean way that a voxel of the head would move: below this share the head as a whole stays


@dataclass(frozen=True)
class Measures:
    """One case in numbers; what could not be measured is absent or None.

    Attributes:
        subject: id.
        problems: what keeps the case from being used, a line each.
        empty: a line if the label holds no foreground.
        notes: role -> what its header made to be passed over or converted: the words, and the numbers.
        shape: voxels along the file's own axes, ``(i, j, k)`` of the first modality, as are spacing and orientation.
        spacing: mm along the same axes.
        orientation: where those axes point, e.g. ``PSR``.
        extent: mm from left to right, back to front, bottom to top.
        ranges: role -> lowest and highest intensity.
        constant: role -> ``[axis, count]`` of slices that hold one value only, inside the field of view.
        cut: role -> face -> the head's area on that face of the field of view, as a share of its largest section.
        round_cap: role -> the share that a head reaches whose round top just touches that face.
        head_ml: volume of the head as thresholded, or of the brain where the skull is stripped.
        overlap: role -> Dice of its head mask with the first modality's, inside the role's field of view.
        covered: role -> share of the first modality's head that lies in the role's field of view.
        information: role -> mutual information with the first modality in bits.
        off: role -> ``[mm, way]``: how far the head's voxels would move on average for it to fit best, and the face it
            would mostly move towards, or ``"turned"``.
        foreground_ml: volume of all foreground values.
        left_ml: volume of the left hippocampus, where the foreground values have sides.
        right_ml: likewise.
        swapped: whether the left one lies to the right of the right one.
        on_border: foreground voxels on the volume's border.
        outside: role -> share of the foreground outside the role's field of view.
    """

    subject: str
    problems: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    notes: dict[str, list[list[str]]] = field(default_factory=dict)
    shape: list[int] = field(default_factory=list)
    spacing: list[float] = field(default_factory=list)
    orientation: str = ""
    extent: list[float] = field(default_factory=list)
    ranges: dict[str, list[float]] = field(default_factory=dict)
    constant: dict[str, list[Any]] = field(default_factory=dict)
    cut: dict[str, dict[str, float]] = field(default_factory=dict)
    round_cap: dict[str, float] = field(default_factory=dict)
    head_ml: float | None = None
    overlap: dict[str, float] = field(default_factory=dict)
    covered: dict[str, float] = field(default_factory=dict)
    information: dict[str, float] = field(default_factory=dict)
    off: dict[str, list[Any]] = field(default_factory=dict)
    foreground_ml: float | None = None
    left_ml: float | None = None
    right_ml: float | None = None
    swapped: bool = False
    on_border: int = 0
    outside: dict[str, float] = field(default_factory=dict)


def measure_case(
    case: Case, modalities: Sequence[str], foreground: Sequence[int], known_labels: Sequence[int] | None = None
) -> Measures:
    """Measure one case; files that cannot be used are told among its problems and measured no further.

    Args:
        case: with ``"subject"``, a path per modality and, where there is one, ``"label"``.
        modalities: the first is the one that the others are compared with.
        foreground: label values whose volume counts.
        known_labels: values that a label may hold besides 0; ``None`` allows any integer.
    """
    problems, empty, notes = case_problems(case, modalities, foreground, known_labels=known_labels)
    volumes, first, failed = read_volumes(case, [*modalities, "label"])
    named = [role for role in failed if any(line.startswith(f"{role} ") for line in problems)]
    problems += [f"{role} could not be measured ({why}): {case[role]}" for role, why in failed.items() if role not in named]
    told: dict[str, Any] = {"subject": case["subject"], "problems": problems, "empty": empty}
    told["notes"] = {role: [list(note) for note in said] for role, said in notes.items()}
    if first is None:
        return Measures(**told)
    label = volumes.pop("label", None)
    told |= _grid(first)
    told["ranges"] = {name: [float(volume.min()), float(volume.max())] for name, volume in volumes.items()}
    volumes = {name: volume for name, volume in volumes.items() if told["ranges"][name][0] < told["ranges"][name][1]}
    boxes: dict[str, VoxelBox] = {}
    told["constant"] = {}
    for name, volume in volumes.items():
        boxes[name], missing = field_of_view(volume)
        axis = int(np.argmax([len(slices) for slices in missing]))
        if len(missing[axis]):
            told["constant"][name] = [axis, len(missing[axis])]
        volumes[name] = bridged(volume, missing)
    spacing = nib.affines.voxel_sizes(nib.as_closest_canonical(first).affine)
    told |= _heads(volumes, boxes, spacing, modalities[0])
    if label is not None:
        told |= _foreground(np.rint(label), boxes, foreground, float(spacing.prod()) / 1000)
    return Measures(**told)


def read_volumes(case: Case, roles: Sequence[str]) -> tuple[dict[str, Image3D], SpatialImage | None, dict[str, str]]:
    """Read those roles that lie on the first readable one's grid, without raising.

    Returns:
        The volumes, the first one's image, and why another role is not among them.
    """
    volumes: dict[str, Image3D] = {}
    failed: dict[str, str] = {}
    first: Any = None
    for role in (role for role in roles if role in case):
        try:
            image: Any = open_scan(case[role])
            turned: Any = nib.as_closest_canonical(image)
            volume = np.asanyarray(turned.dataobj).astype(np.float32)
            volume = np.nan_to_num(volume.reshape(_three(volume.shape)), posinf=0, neginf=0)
        except Exception as error:  # whatever a file makes a library raise
            failed[role] = in_words(error)
            continue
        if first is not None and (
            turned.shape[:3] != nib.as_closest_canonical(first).shape[:3]
            or np.abs(image.affine - first.affine).max() > TOLERANCE
        ):
            failed[role] = "it lies on another grid"
            continue
        if role != "label" or first is not None:
            first = first if first is not None else image
            volumes[role] = volume
    return volumes, first, failed


def _three(shape: Sequence[int]) -> tuple[int, ...]:
    """(i, j, k), where further axes have length 1."""
    if len(shape) < 3 or any(length != 1 for length in shape[3:]):
        raise ValueError(f"not 3D: {tuple(shape)}")
    return tuple(shape[:3])


def _grid(image: Any) -> dict[str, Any]:
    turned = nib.as_closest_canonical(image)
    return {
        "shape": [int(length) for length in image.shape[:3]],
        "spacing": [round(float(length), 4) for length in nib.affines.voxel_sizes(image.affine)],
        "orientation": "".join(nib.aff2axcodes(image.affine)),
        "extent": [
            round(float(n * mm), 2) for n, mm in zip(turned.shape[:3], nib.affines.voxel_sizes(turned.affine), strict=True)
        ],
    }


def field_of_view(volume: Image3D) -> tuple[VoxelBox, list[NDArray[np.intp]]]:
    """Find what was scanned, and slices that are missing in it.

    A slice that holds one value only was not scanned: what was resampled from a smaller field of view is filled up so.

    Returns:
        The box from the first to the last slice along each axis that holds more than one value, and for each axis the
        slices inside it that do not.
    """
    box, missing = [], []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        seen = volume.max(axis=others) > volume.min(axis=others)
        where = np.flatnonzero(seen)
        box.append(slice(int(where[0]), int(where[-1]) + 1))
        missing.append(np.flatnonzero(~seen[box[-1]]) + where[0])
    return tuple(box), missing


def bridged(volume: Image3D, missing: Sequence[NDArray[np.intp]]) -> Image3D:
    """Put the slice before it in each missing slice's place, so that one head stays one part."""
    volume = volume.copy() if any(len(slices) for slices in missing) else volume
    for axis, slices in enumerate(missing):
        for index in slices:
            np.moveaxis(volume, axis, 0)[index] = np.moveaxis(volume, axis, 0)[index - 1]
    return volume


def _heads(volumes: Mapping[str, Image3D], boxes: Mapping[str, VoxelBox], spacing: NDArray[Any], first: str) -> dict[str, Any]:
    """Measure heads and how they fit the first modality's, on a grid of about `FINE` voxels a side."""
    told: dict[str, Any] = {"cut": {}, "round_cap": {}, "overlap": {}, "covered": {}, "information": {}, "off": {}}
    if not volumes:
        return told
    steps = [max(1, length // FINE) for length in next(iter(volumes.values())).shape]
    coarse = {
        name: np.ascontiguousarray(volume[tuple(slice(None, None, n) for n in steps)]) for name, volume in volumes.items()
    }
    voxel = spacing * steps
    views = {name: _coarse_box(box, steps) for name, box in boxes.items()}
    heads = {name: head_mask(volume, voxel, smooth=voxel.mean() / 2) for name, volume in coarse.items()}
    for name, head in heads.items():
        told["cut"][name], told["round_cap"][name] = _cut(head, views[name])
    if first not in heads:
        return told
    told["head_ml"] = round(float(heads[first].sum() * voxel.prod()) / 1000, 2)
    for name in list(heads)[1:]:
        seen = np.zeros_like(heads[name])
        seen[views[name]] = True
        fit = compare_images(coarse[first], coarse[name], heads[first], heads[name], seen)
        told["covered"][name], told["overlap"][name] = round(fit.covered, 4), round(fit.overlap, 4)
        told["information"][name] = round(fit.mutual_information, 4)
        told["off"][name] = _off(coarse[first], coarse[name], heads[first] & seen, voxel)
    return told


def _off(one: Image3D, other: Image3D, head: Mask, voxel: NDArray[Any]) -> list[Any]:
    """Give how far ``other`` would have to move to fit best, and which way; empty where that cannot be found."""
    ways = better_place(one, other, head, voxel)
    if ways is None:
        return []
    far, middle = float(np.linalg.norm(ways, axis=1).mean()), ways.mean(0)
    axis = int(np.abs(middle).argmax())
    turned = np.linalg.norm(middle) < TURNED * far
    return [round(far, 2), "turned" if turned else FACES[2 * axis + int(middle[axis] > 0)]]


def _coarse_box(box: VoxelBox, steps: Sequence[int]) -> VoxelBox:
    return tuple(
        slice(min(-(-side.start // n), (side.stop - 1) // n), (side.stop - 1) // n + 1)
        for side, n in zip(box, steps, strict=True)
    )


def _cut(head: Mask, view: VoxelBox) -> tuple[dict[str, float], float]:
    """Give the head's area on each face of its field of view as a share of its largest section along that axis.

    A ball of radius r voxels has a share of at most 2/r in its outermost slice, so one of two voxels' depth has 4/r.
    """
    shares, radii = {}, []
    for axis in range(3):
        areas = head[view].sum(axis=tuple(other for other in range(3) if other != axis))
        largest = max(int(areas.max()), 1)
        radii.append((largest / np.pi) ** 0.5)
        for face, area in zip(FACES[2 * axis : 2 * axis + 2], areas[[0, -1]], strict=True):
            shares[face] = round(float(area / largest), 4)
    return shares, round(4 / min(radii), 4)


def _foreground(label: Image3D, boxes: Mapping[str, VoxelBox], foreground: Sequence[int], voxel_ml: float) -> dict[str, Any]:
    """Measure volumes of the label, sides where its values have them, and whether it lies inside what was scanned."""
    mask = np.isin(label, foreground)
    count = int(mask.sum())
    border = mask.copy()
    border[1:-1, 1:-1, 1:-1] = False
    told: dict[str, Any] = {"foreground_ml": round(count * voxel_ml, 4), "on_border": int(border.sum()), "outside": {}}
    for name, box in boxes.items():
        told["outside"][name] = round(1 - float(mask[box].sum()) / count, 4) if count else 0.0
    values = sides_of(foreground)
    if values:
        sides = [np.argwhere(label == value) for value in values]
        told["left_ml"], told["right_ml"] = (round(len(side) * voxel_ml, 4) for side in sides)
        told["swapped"] = all(len(side) for side in sides) and bool(sides[0][:, 0].mean() > sides[1][:, 0].mean())
    return told
