"""What a case looks like, in numbers: its grid, head, field of view, how its modalities fit, its volumes.

Measured here, judged in `monai_tl.data.cohort`. Everything is measured on axes right, anterior, superior.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray
from scipy import ndimage

from monai_tl.data.checks import TOLERANCE, case_problems
from monai_tl.data.files import Case
from monai_tl.data.read import open_scan

Volume = NDArray[np.float32]  # (i, j, k) to the right, anterior, superior
Mask = NDArray[np.bool_]
Box = tuple[slice, ...]

FACES = ("left", "right", "back", "front", "bottom", "top")  # of a volume on axes right, anterior, superior
AXES = ("left to right", "back to front", "bottom to top")
# label values -> those of the left and of the right hippocampus
SIDES = {frozenset((17, 53)): (17, 53), frozenset((47, 48)): (48, 47)}  # FreeSurfer and SynthSeg; DLMUSE
FINE = 100  # voxels a side: measured on every n-th voxel of a finer grid, which is about 2 mm in a head at 1 mm
BINS = 32  # of equal share in each image, so that at most log2(32) = 5 bits can be mutual
SHIFTS = (1, 2)  # voxels of that grid that a modality is moved by to see whether it fits better


@dataclass(frozen=True)
class Measures:
    """One case in numbers; what could not be measured is absent or None.

    Attributes:
        subject: id.
        problems: what keeps the case from being used, a line each.
        empty: a line if the label holds no foreground.
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
        better: role -> ``[face, mm, factor]``: moved by so much it would share that many times the information.
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
    better: dict[str, list[Any]] = field(default_factory=dict)
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
    problems, empty = case_problems(case, modalities, foreground, known_labels=known_labels)
    volumes, first = read_volumes(case, [*modalities, "label"])
    told: dict[str, Any] = {"subject": case["subject"], "problems": problems, "empty": empty}
    if first is None:
        return Measures(**told)
    label = volumes.pop("label", None)
    told |= _grid(first)
    told["ranges"] = {name: [float(volume.min()), float(volume.max())] for name, volume in volumes.items()}
    volumes = {name: volume for name, volume in volumes.items() if told["ranges"][name][0] < told["ranges"][name][1]}
    boxes: dict[str, Box] = {}
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


def read_volumes(case: Case, roles: Sequence[str]) -> tuple[dict[str, Volume], SpatialImage | None]:
    """Read those roles that lie on the first readable one's grid, without raising, and give that one's image too."""
    volumes: dict[str, Volume] = {}
    first: Any = None
    for role in roles:
        if role not in case:
            continue
        try:
            image: Any = open_scan(case[role])
            turned: Any = nib.as_closest_canonical(image)
            volume = np.asanyarray(turned.dataobj).astype(np.float32)
            volume = np.nan_to_num(volume.reshape(_three(volume.shape)), posinf=0, neginf=0)
        except Exception:  # whatever it is, it stands among the problems
            continue
        if first is not None and (
            turned.shape[:3] != nib.as_closest_canonical(first).shape[:3]
            or np.abs(image.affine - first.affine).max() > TOLERANCE
        ):
            continue
        if role != "label" or first is not None:
            first = first if first is not None else image
            volumes[role] = volume
    return volumes, first


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


def field_of_view(volume: Volume) -> tuple[Box, list[NDArray[np.intp]]]:
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


def bridged(volume: Volume, missing: Sequence[NDArray[np.intp]]) -> Volume:
    """Put the slice before it in each missing slice's place, so that one head stays one part."""
    volume = volume.copy() if any(len(slices) for slices in missing) else volume
    for axis, slices in enumerate(missing):
        for index in slices:
            np.moveaxis(volume, axis, 0)[index] = np.moveaxis(volume, axis, 0)[index - 1]
    return volume


def head_mask(volume: Volume) -> Mask:
    """Find the head: Otsu's threshold (IEEE Trans. SMC 9(1), 1979), its gaps closed, the largest connected part, holes filled.

    Closed before the largest part is taken: a skull would else separate brain and scalp in one head and not in another.
    """
    bright = np.pad(volume > otsu(volume), 3, mode="edge")
    parts, _ = ndimage.label(ndimage.binary_closing(bright, iterations=2)[3:-3, 3:-3, 3:-3])
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    head = parts == sizes.argmax()
    air, _ = ndimage.label(~head)  # faster than binary_fill_holes
    borders = [np.moveaxis(air, axis, 0)[[0, -1]].ravel() for axis in range(3)]
    return np.asarray(head | ~np.isin(air, np.unique(np.concatenate(borders))))


def otsu(volume: Volume) -> float:
    """Give the threshold that best separates dark from bright; the brightest hundredth counts as its darkest voxel does."""
    top = np.percentile(volume, 99)
    capped = np.minimum(volume, top) if top > volume.min() else volume
    counts, edges = np.histogram(capped, 256)
    middles = (edges[:-1] + edges[1:]) / 2
    below, sums = np.cumsum(counts, dtype=float), np.cumsum(counts * middles)
    between = (sums[-1] * below - below[-1] * sums) ** 2 / np.maximum(below * (below[-1] - below), 1)
    return float(middles[between == between.max()].mean())  # the middle of a gap between dark and bright


def mutual_information(one: Volume, other: Volume, inside: Mask) -> float:
    """Give the bits that two images share inside a mask, intensities taken as ranks in `BINS` bins of equal share.

    Ranks rather than intensities: gain and contrast of a scanner then play no part, and cases can be compared.
    """
    if inside.sum() < BINS:
        return float("nan")
    ranks = []
    for image in (one, other):
        values = image[inside]
        ranks.append(np.searchsorted(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]), values))
    joint = np.bincount(ranks[0] * BINS + ranks[1], minlength=BINS * BINS).reshape(BINS, BINS) / int(inside.sum())
    alone = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    return float((joint[joint > 0] * np.log2(joint[joint > 0] / alone[joint > 0])).sum())


def _heads(volumes: Mapping[str, Volume], boxes: Mapping[str, Box], spacing: NDArray[Any], first: str) -> dict[str, Any]:
    """Measure heads and how they fit the first modality's, on a grid of about `FINE` voxels a side."""
    told: dict[str, Any] = {"cut": {}, "round_cap": {}, "overlap": {}, "covered": {}, "information": {}, "better": {}}
    if not volumes:
        return told
    steps = [max(1, length // FINE) for length in next(iter(volumes.values())).shape]
    coarse = {
        name: np.ascontiguousarray(volume[tuple(slice(None, None, n) for n in steps)]) for name, volume in volumes.items()
    }
    voxel = spacing * steps
    views = {name: _coarse_box(box, steps) for name, box in boxes.items()}
    heads = {name: head_mask(volume) for name, volume in coarse.items()}
    for name, head in heads.items():
        told["cut"][name], told["round_cap"][name] = _cut(head, views[name])
    if first not in heads:
        return told
    told["head_ml"] = round(float(heads[first].sum() * voxel.prod()) / 1000, 2)
    for name in list(heads)[1:]:
        view = views[name]
        one, other = heads[first][view], heads[name][view]
        told["covered"][name] = round(float(one.sum() / max(heads[first].sum(), 1)), 4)
        told["overlap"][name] = round(float(2 * (one & other).sum() / max(one.sum() + other.sum(), 1)), 4)
        shared = mutual_information(coarse[first][view], coarse[name][view], one)
        if np.isfinite(shared):  # else there is too little of a head to say
            told["information"][name] = shared = round(shared, 4)
            told["better"][name] = _better(coarse[first][view], coarse[name][view], one, voxel, shared)
    return told


def _coarse_box(box: Box, steps: Sequence[int]) -> Box:
    return tuple(
        slice(min(-(-side.start // n), (side.stop - 1) // n), (side.stop - 1) // n + 1)
        for side, n in zip(box, steps, strict=True)
    )


def _cut(head: Mask, view: Box) -> tuple[dict[str, float], float]:
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


def _better(one: Volume, other: Volume, inside: Mask, voxel: NDArray[Any], shared: float) -> list[Any]:
    """Give the move of ``other`` by which it would share most, ``[towards, mm, factor]``; empty if it fits best as it is."""
    best: list[Any] = []
    for axis in range(3):
        for towards, sign in ((0, -1), (1, 1)):
            for step in SHIFTS:
                moved = np.roll(other, sign * step, axis)
                found = mutual_information(one, moved, inside)
                if found > shared and (not best or found / max(shared, 1e-6) > best[2]):
                    best = [FACES[2 * axis + towards], round(float(step * voxel[axis]), 2), round(found / max(shared, 1e-6), 3)]
    return best


def _foreground(label: Volume, boxes: Mapping[str, Box], foreground: Sequence[int], voxel_ml: float) -> dict[str, Any]:
    """Measure volumes of the label, sides where its values have them, and whether it lies inside what was scanned."""
    mask = np.isin(label, foreground)
    count = int(mask.sum())
    border = mask.copy()
    border[1:-1, 1:-1, 1:-1] = False
    told: dict[str, Any] = {"foreground_ml": round(count * voxel_ml, 4), "on_border": int(border.sum()), "outside": {}}
    for name, box in boxes.items():
        told["outside"][name] = round(1 - float(mask[box].sum()) / count, 4) if count else 0.0
    if frozenset(foreground) in SIDES:
        sides = [np.argwhere(label == value) for value in SIDES[frozenset(foreground)]]
        told["left_ml"], told["right_ml"] = (round(len(side) * voxel_ml, 4) for side in sides)
        told["swapped"] = all(len(side) for side in sides) and bool(sides[0][:, 0].mean() > sides[1][:, 0].mean())
    return told
