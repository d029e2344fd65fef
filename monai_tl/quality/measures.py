"""Measures of a case: grid, head, field of view, alignment of its modalities and volumes of its label.

`monai_tl.quality.outliers` judges them. Everything is measured on axes right, anterior, superior (RAS).
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
from monai_tl.datasets.regions import Regions, foreground_of
from monai_tl.errors import in_words
from monai_tl.imaging.scan_files import open_scan
from monai_tl.preparation.register import better_place
from monai_tl.preparation.similarity import Mask, compare_images, head_mask

Image3D = NDArray[np.float32]  # (i, j, k), RAS
VoxelBox = tuple[slice, ...]

FACES = ("left", "right", "back", "front", "bottom", "top")  # of a volume in RAS
BODY_AXES = ("left to right", "back to front", "bottom to top")
FINE = 100  # voxels per side: finer grids are subsampled, to about 2 mm for a head at 1 mm
TURNED = 0.5  # net displacement as a share of the mean one: below it the motion is mainly a rotation


@dataclass(frozen=True)
class Measures:
    """Measures of one case; values that could not be measured are absent or None.

    Attributes:
        subject: id.
        problems: reasons why the case cannot be used, one line each.
        empty: a line if the label contains no foreground.
        notes: role -> what was ignored or converted in its header: text and numbers.
        shape: number of voxels along the file's axes (i, j, k) of the first modality, as for spacing and orientation.
        spacing: mm along the same axes.
        orientation: directions of these axes, e.g. ``PSR``.
        extent: mm from left to right, back to front, bottom to top.
        ranges: role -> lowest and highest intensity.
        constant: role -> ``[axis, count]`` of constant slices inside the field of view.
        cut: role -> face -> the head's area on that face of the field of view, as a share of its largest section.
        round_cap: role -> this share for a complete head that just touches the face.
        head_ml: volume of the head mask, or of the brain if the scan is skull-stripped.
        overlap: role -> Dice of its head mask and the first modality's, inside the role's field of view.
        covered: role -> share of the first modality's head inside the role's field of view.
        information: role -> mutual information with the first modality, in bits.
        off: role -> ``[mm, direction]``: mean displacement of the head's voxels to the best alignment, and the face that
            it is directed to, or ``"turned"``.
        foreground_ml: volume of all regions together.
        regions_ml: region -> its volume, 0 if it is absent; empty without a label.
        left_ml: volume of the left hippocampus, if the foreground values have sides.
        right_ml: the same for the right one.
        swapped: whether the left one is to the right of the right one.
        on_border: number of foreground voxels on the volume's border.
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
    regions_ml: dict[str, float] = field(default_factory=dict)
    left_ml: float | None = None
    right_ml: float | None = None
    swapped: bool = False
    on_border: int = 0
    outside: dict[str, float] = field(default_factory=dict)


def measure_case(
    case: Case, modalities: Sequence[str], regions: Regions, known_labels: Sequence[int] | None = None
) -> Measures:
    """Measure one case; files that cannot be used are reported among its problems and not measured.

    Args:
        case: with ``"subject"``, a path per modality and, if it has one, ``"label"``.
        modalities: to measure; the others are compared with the first.
        regions: name -> label values.
        known_labels: values that a label may contain in addition to 0; ``None`` allows any integer.
    """
    problems, empty, notes = case_problems(case, modalities, foreground_of(regions), known_labels=known_labels)
    volumes, first, failed = read_volumes(case, [*modalities, "label"])
    named = [role for role in failed if any(line.startswith(f"{role} ") for line in problems)]
    problems += [f"{role} could not be measured ({why}): {case[role]}" for role, why in failed.items() if role not in named]
    measures: dict[str, Any] = {"subject": case["subject"], "problems": problems, "empty": empty}
    measures["notes"] = {role: [list(note) for note in of_role] for role, of_role in notes.items()}
    if first is None:
        return Measures(**measures)
    label = volumes.pop("label", None)
    measures |= _grid(first)
    measures["ranges"] = {name: [float(volume.min()), float(volume.max())] for name, volume in volumes.items()}
    volumes = {name: volume for name, volume in volumes.items() if measures["ranges"][name][0] < measures["ranges"][name][1]}
    boxes: dict[str, VoxelBox] = {}
    measures["constant"] = {}
    for name, volume in volumes.items():
        boxes[name], missing = field_of_view(volume)
        axis = int(np.argmax([len(slices) for slices in missing]))
        if len(missing[axis]):
            measures["constant"][name] = [axis, len(missing[axis])]
        volumes[name] = fill_missing(volume, missing)
    spacing = nib.affines.voxel_sizes(nib.as_closest_canonical(first).affine)
    measures |= _heads(volumes, boxes, spacing, modalities[0])
    if label is not None:
        measures |= _label(np.rint(label), boxes, regions, float(spacing.prod()) / 1000)
    return Measures(**measures)


def read_volumes(case: Case, roles: Sequence[str]) -> tuple[dict[str, Image3D], SpatialImage | None, dict[str, str]]:
    """Read the roles that are on the grid of the first readable one; nothing is raised.

    Returns:
        Role -> volume, the first one's image, and role -> reason for roles that could not be read.
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
        except Exception as error:  # a library can raise anything for a damaged file
            failed[role] = in_words(error)
            continue
        if first is not None and (
            turned.shape[:3] != nib.as_closest_canonical(first).shape[:3]
            or np.abs(image.affine - first.affine).max() > TOLERANCE
        ):
            failed[role] = "it is on another grid"
            continue
        if role != "label" or first is not None:
            first = first if first is not None else image
            volumes[role] = volume
    return volumes, first, failed


def _three(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the first three lengths of a shape whose further axes have length 1."""
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
    """Return the field of view of a volume, and the slices missing inside it.

    A constant slice was not scanned: resampling pads a smaller field of view with one value.

    Returns:
        The box from the first to the last slice along each axis that is not constant, and for each axis the constant slices
        inside it.
    """
    box, missing = [], []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        varies = volume.max(axis=others) > volume.min(axis=others)
        indices = np.flatnonzero(varies)
        box.append(slice(int(indices[0]), int(indices[-1]) + 1))
        missing.append(np.flatnonzero(~varies[box[-1]]) + indices[0])
    return tuple(box), missing


def fill_missing(volume: Image3D, missing: Sequence[NDArray[np.intp]]) -> Image3D:
    """Replace each missing slice by the one before, so that the head remains connected."""
    volume = volume.copy() if any(len(slices) for slices in missing) else volume
    for axis, slices in enumerate(missing):
        for index in slices:
            np.moveaxis(volume, axis, 0)[index] = np.moveaxis(volume, axis, 0)[index - 1]
    return volume


def _heads(volumes: Mapping[str, Image3D], boxes: Mapping[str, VoxelBox], spacing: NDArray[Any], first: str) -> dict[str, Any]:
    """Measure the heads and their alignment with the first modality's, on a grid of about `FINE` voxels per side."""
    measures: dict[str, Any] = {"cut": {}, "round_cap": {}, "overlap": {}, "covered": {}, "information": {}, "off": {}}
    if not volumes:
        return measures
    steps = [max(1, length // FINE) for length in next(iter(volumes.values())).shape]
    coarse = {
        name: np.ascontiguousarray(volume[tuple(slice(None, None, n) for n in steps)]) for name, volume in volumes.items()
    }
    voxel = spacing * steps
    views = {name: _coarse_box(box, steps) for name, box in boxes.items()}
    heads = {name: head_mask(volume, voxel, smooth=voxel.mean() / 2) for name, volume in coarse.items()}
    for name, head in heads.items():
        measures["cut"][name], measures["round_cap"][name] = _cut(head, views[name])
    if first not in heads:
        return measures
    measures["head_ml"] = round(float(heads[first].sum() * voxel.prod()) / 1000, 2)
    for name in list(heads)[1:]:
        seen = np.zeros_like(heads[name])
        seen[views[name]] = True
        fit = compare_images(coarse[first], coarse[name], heads[first], heads[name], seen)
        measures["covered"][name], measures["overlap"][name] = round(fit.covered, 4), round(fit.overlap, 4)
        measures["information"][name] = round(fit.mutual_information, 4)
        measures["off"][name] = _displacement(coarse[first], coarse[name], heads[first] & seen, voxel)
    return measures


def _displacement(one: Image3D, other: Image3D, head: Mask, voxel: NDArray[Any]) -> list[Any]:
    """Return the mean displacement of ``other`` to the best alignment, and its direction; empty if it cannot be found."""
    displacements = better_place(one, other, head, voxel)
    if displacements is None:
        return []
    distance, mean = float(np.linalg.norm(displacements, axis=1).mean()), displacements.mean(0)
    axis = int(np.abs(mean).argmax())
    turned = np.linalg.norm(mean) < TURNED * distance
    return [round(distance, 2), "turned" if turned else FACES[2 * axis + int(mean[axis] > 0)]]


def _coarse_box(box: VoxelBox, steps: Sequence[int]) -> VoxelBox:
    return tuple(
        slice(min(-(-side.start // n), (side.stop - 1) // n), (side.stop - 1) // n + 1)
        for side, n in zip(box, steps, strict=True)
    )


def _cut(head: Mask, view: VoxelBox) -> tuple[dict[str, float], float]:
    """Return face -> the head's area on it as a share of its largest section, and this share for a complete round head.

    A ball of radius r voxels has a share of at most 2/r in its outermost slice, and of 4/r two voxels deep.
    """
    shares, radii = {}, []
    for axis in range(3):
        areas = head[view].sum(axis=tuple(other for other in range(3) if other != axis))
        largest = max(int(areas.max()), 1)
        radii.append((largest / np.pi) ** 0.5)
        for face, area in zip(FACES[2 * axis : 2 * axis + 2], areas[[0, -1]], strict=True):
            shares[face] = round(float(area / largest), 4)
    return shares, round(4 / min(radii), 4)


def _label(label: Image3D, boxes: Mapping[str, VoxelBox], regions: Regions, voxel_ml: float) -> dict[str, Any]:
    """Measure the label: its volumes, its sides if its values have them, and its position in the fields of view."""
    foreground = foreground_of(regions)
    mask = np.isin(label, foreground)
    count = int(mask.sum())
    border = mask.copy()
    border[1:-1, 1:-1, 1:-1] = False
    measures: dict[str, Any] = {"foreground_ml": round(count * voxel_ml, 4), "on_border": int(border.sum()), "outside": {}}
    voxels = dict(zip(*np.unique(label[mask], return_counts=True), strict=True))
    measures["regions_ml"] = {
        name: round(float(sum(voxels.get(value, 0) for value in values)) * voxel_ml, 6) for name, values in regions.items()
    }
    for name, box in boxes.items():
        measures["outside"][name] = round(1 - float(mask[box].sum()) / count, 4) if count else 0.0
    values = sides_of(foreground)
    if values:
        sides = [np.argwhere(label == value) for value in values]
        measures["left_ml"], measures["right_ml"] = (round(len(side) * voxel_ml, 4) for side in sides)
        measures["swapped"] = all(len(side) for side in sides) and bool(sides[0][:, 0].mean() > sides[1][:, 0].mean())
    return measures
