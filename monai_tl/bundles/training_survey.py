"""What the training cases of a datalist look like: grids, intensities and sizes of the regions.

Headers of all training cases are read, voxels of at most `SAMPLE`. Everything is measured on axes right, anterior, superior
(RAS). Validation and test cases are not opened: settings that were chosen by them would make their scores too good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray
from scipy import ndimage

from monai_tl.datasets.case_checks import header_problems
from monai_tl.datasets.datalist import Datalist
from monai_tl.datasets.patterns import Case
from monai_tl.errors import DataError, first_line, list_problems
from monai_tl.imaging.scan_files import open_scan
from monai_tl.imaging.voxels import read_stored, voxel_faults
from monai_tl.storage.progress import follow
from monai_tl.text import plural, printable

Numbers = NDArray[Any]

SAMPLE = 20  # cases whose voxels are read
INSIDE = 10_000  # voxels inside the regions of each case, as in nnU-Net, so that all cases count alike
GRID = 64  # voxels per side from which percentiles are computed
BACKGROUND_NOISE = 1e-3  # standard deviations, as inference.postprocess.not_background


class RegionSizes(NamedTuple):
    """Sizes of a region in the sampled cases that contain it; axes are right, anterior, superior.

    Attributes:
        volumes: (case,) ml.
        extents: (case, 3) mm, edges of the bounding box.
        widths: (case, 3) mm, mean length of the straight runs of voxels along each axis: 2/3 of the diameter of a ball.
    """

    volumes: Numbers
    extents: Numbers
    widths: Numbers


@dataclass(frozen=True, eq=False)
class Survey:
    """What the training cases look like; axes are right, anterior, superior.

    Attributes:
        cases: number of training cases.
        validation: number of validation cases.
        spacings: (case, 3) mm, of all training cases.
        shapes: (case, 3) voxels, of all training cases.
        sampled: number of cases whose voxels were read; the following are of these.
        zeros: modality -> (case,) share of voxels that are exactly 0.
        solid: modality -> (case,) share of the voxels next to these zeros, along each axis, that are 0 too; 0 without zeros.
        ranges: modality -> (case, 3) lowest, 99.5th percentile, highest intensity.
        content: (case, 3) mm, edges of the box to which training crops: of what differs from the value of the corner voxel.
        regions: name -> sizes; without a row if no sampled case contains the region.
        inside: modality -> intensities inside the regions, `INSIDE` of each sampled case that has any, evenly spaced.
    """

    cases: int
    validation: int
    spacings: Numbers
    shapes: Numbers
    sampled: int
    zeros: dict[str, Numbers]
    solid: dict[str, Numbers]
    ranges: dict[str, Numbers]
    content: Numbers
    regions: dict[str, RegionSizes]
    inside: dict[str, Numbers]


class _Image(NamedTuple):
    """Measures of one modality of one case; ``box`` is where its content begins and ends along i, j, k."""

    zeros: float
    solid: float
    range: tuple[float, float, float]
    box: list[tuple[int, int]]
    inside: Numbers


def survey_training(data: Datalist) -> Survey:
    """Measure the training cases: headers of all, voxels of `SAMPLE` cases spread evenly over the sorted subject ids.

    Raises:
        DataError: if there is no training case, a file cannot be read or the files of a case are not on one grid, an image
            cannot be z-scored, a label has values that are not integers, or no sampled label contains any foreground.

    Example:
        >>> from monai_tl import read_datalist
        >>> from monai_tl.bundles.training_survey import survey_training
        >>> survey = survey_training(read_datalist("data/brats/datalist.json"))
        >>> survey.cases, list(survey.regions)
        (3, ['foreground'])
    """
    cases = sorted(data.split("train"), key=lambda case: str(case["subject"]))
    faults = [
        f"{case['subject']}: {line}"
        for case in follow(cases, "reading headers", "case")
        for line in header_problems(case, data.modalities)
    ]
    if faults:
        raise DataError(list_problems("training cases cannot be used; correct these files or leave the cases out:", faults))
    headers = [open_scan(case[data.modalities[0]]) for case in cases]
    chosen = np.unique(np.linspace(0, len(cases) - 1, min(SAMPLE, len(cases))).round().astype(int))
    sample = [cases[at] for at in chosen]
    measured = [_measure_case(case, data) for case in follow(sample, "reading scans", "case")]
    labels = [sizes for _, sizes in measured]
    if not any(labels):
        values = ", ".join(map(str, data.foreground))
        raise DataError(
            f"no foreground (label values {values}) in the training labels read, {len(chosen)} of {len(cases)}, e.g. "
            f"{sample[0]['label']}; correct the regions of the datalist or the labels"
        )
    images = {name: [image[name] for image, _ in measured] for name in data.modalities}
    return Survey(
        cases=len(cases),
        validation=len(data.splits.get("validation", ())),
        spacings=np.array([_ras(header, nib.affines.voxel_sizes(header.affine)) for header in headers]),
        shapes=np.array([_ras(header, header.shape[:3]) for header in headers]).astype(int),
        sampled=len(chosen),
        zeros={name: np.array([image.zeros for image in of]) for name, of in images.items()},
        solid={name: np.array([image.solid for image in of]) for name, of in images.items()},
        ranges={name: np.array([image.range for image in of]) for name, of in images.items()},
        content=np.array([_content(headers[at], image) for at, (image, _) in zip(chosen, measured, strict=True)]),
        regions={name: _gathered([sizes[name] for sizes in labels if name in sizes]) for name in data.regions},
        inside={name: np.concatenate([image.inside for image in of]) for name, of in images.items()},
    )


def _ras(image: SpatialImage, lengths: Sequence[float]) -> Numbers:
    """Return lengths along the voxel axes (i, j, k) in the order right, anterior, superior."""
    axes = nib.orientations.io_orientation(image.affine)[:, 0].astype(int)
    ordered = np.empty(3)
    ordered[axes] = lengths
    return ordered


def _voxels(case: Case, role: str) -> Numbers:
    """Read the voxels (i, j, k) of one file; images also have to be such that they can be z-scored."""
    path = case[role]
    image = open_scan(path)
    try:
        stored = read_stored(image)
    except Exception as error:  # truncated and damaged streams raise EOFError, OSError, zlib.error, ValueError
        raise DataError(f"{case['subject']}: {role} is not readable ({first_line(error, path)}): {path}") from error
    if role != "label" and (faults := voxel_faults(stored)):
        raise DataError(f"{case['subject']}: {role} {faults[0]}: {path}")
    voxels = stored.voxels.reshape(image.shape[:3])
    return voxels if (stored.slope, stored.inter) == (1, 0) else voxels * np.float64(stored.slope) + stored.inter


def _measure_case(case: Case, data: Datalist) -> tuple[dict[str, _Image], dict[str, tuple[float, Numbers, Numbers]]]:
    label = _voxels(case, "label")
    sizes = _measure_label(case, data.regions, label)
    at = np.flatnonzero(np.isin(label, sorted({value for of in data.regions.values() for value in of})))
    at = at[np.linspace(0, len(at) - 1, INSIDE).round().astype(int)] if len(at) else at
    return {name: _measure_image(_voxels(case, name), at) for name in data.modalities}, sizes


def _measure_image(voxels: Numbers, foreground: Numbers) -> _Image:
    """Measure one modality; ``foreground`` are indices into its raveled voxels."""
    zero = voxels == 0
    neighbours, zeros = 0, 0
    for axis in range(3):
        before = zero[(slice(None),) * axis + (slice(None, -1),)]
        after = zero[(slice(None),) * axis + (slice(1, None),)]
        neighbours += int(np.count_nonzero(before))
        zeros += int(np.count_nonzero(before & after))
    solid = zeros / max(1, neighbours)
    sample = voxels[tuple(slice(None, None, max(1, length // GRID)) for length in voxels.shape)].astype(np.float64)
    corner, away = float(voxels[0, 0, 0]), BACKGROUND_NOISE * float(sample.std())
    differs = (voxels < corner - away) | (voxels > corner + away)
    box = []
    for others in ((1, 2), (0, 2), (0, 1)):
        found = np.flatnonzero(differs.any(axis=others))
        box.append((int(found[0]), int(found[-1]) + 1))
    intensities = float(voxels.min()), float(np.percentile(sample, 99.5)), float(voxels.max())
    return _Image(float(zero.mean()), solid, intensities, box, voxels.ravel()[foreground].astype(np.float64))


def _content(header: SpatialImage, images: Mapping[str, _Image]) -> Numbers:
    """Return the edges in mm of the box around the content of all modalities, which are on one grid."""
    boxes = np.array([image.box for image in images.values()])
    edges = boxes[:, :, 1].max(axis=0) - boxes[:, :, 0].min(axis=0)
    return _ras(header, edges * nib.affines.voxel_sizes(header.affine))


def _measure_label(
    case: Case, regions: Mapping[str, Sequence[int]], label: Numbers
) -> dict[str, tuple[float, Numbers, Numbers]]:
    """Return volume, extent and widths of each region that the label contains."""
    header = open_scan(case["label"])
    if label.dtype.kind == "f" and not np.array_equal(label, np.rint(label)):
        raise DataError(f"{case['subject']}: label contains values that are not integers: {case['label']}")
    values = sorted({value for of in regions.values() for value in of})
    boxes = ndimage.find_objects(label.astype(np.int32, copy=False), max(values))
    spacing = nib.affines.voxel_sizes(header.affine)
    sizes = {}
    for name, of in regions.items():
        parts = [boxes[value - 1] for value in of if boxes[value - 1] is not None]
        if not parts:
            continue
        box = tuple(
            slice(min(side.start for side in sides), max(side.stop for side in sides)) for sides in zip(*parts, strict=True)
        )
        mask = np.isin(label[box], of)
        count = int(mask.sum())
        runs = [count / int((np.diff(mask, axis=axis, prepend=False) & mask).sum()) for axis in range(3)]
        extent, width = _ras(header, mask.shape * spacing), _ras(header, runs * spacing)
        sizes[name] = count * float(spacing.prod()) / 1000, extent, width
    return sizes


def _gathered(sizes: Sequence[tuple[float, Numbers, Numbers]]) -> RegionSizes:
    """Return the sizes of one region in the cases that contain it."""
    volumes = np.array([volume for volume, _, _ in sizes])
    extents = np.array([extent for _, extent, _ in sizes]).reshape(-1, 3)
    return RegionSizes(volumes, extents, np.array([width for *_, width in sizes]).reshape(-1, 3))


def survey_lines(survey: Survey) -> list[str]:
    """Return the measurements as lines of Markdown: a list, then a table each of the modalities and of the regions."""
    lines = [
        f"- {plural(survey.cases, 'training case')}, {survey.validation} for validation; voxels were read of {survey.sampled}. "
        "Axes: right, anterior, superior. Numbers: lowest, **median**, highest.",
        f"- spacing, mm: {_spread(survey.spacings)}",
        f"- shape, voxels: {_spread(survey.shapes)}",
        f"- without background, mm: {_spread(survey.content)}",
    ]
    lines += [
        "",
        "| modality | lowest | 99.5th percentile | highest | exactly 0 | neighbours of these |",
        "|---|---|---|---|---|---|",
    ]
    for name, ranges in survey.ranges.items():
        shares = [_spread(100 * of[name][:, None]) + " %" for of in (survey.zeros, survey.solid)]
        lines.append(f"| {cell(name)} | {' | '.join([*(_spread(ranges[:, [at]]) for at in range(3)), *shares])} |")
    lines += ["", "| region | cases | volume, ml | extent, mm | mean width, mm |", "|---|---|---|---|---|"]
    for name, sizes in survey.regions.items():
        of = (sizes.volumes[:, None], sizes.extents, sizes.widths) if len(sizes.volumes) else ()
        lines.append(
            f"| {cell(name)} | {len(sizes.volumes)} | {' | '.join([_spread(numbers) for numbers in of] or ['–'] * 3)} |"
        )
    return lines


def cell(text: str) -> str:
    """Return a text that stays in one cell of a Markdown table."""
    return printable(text).replace("|", "\\|")


def _spread(numbers: Numbers) -> str:
    """Return lowest, median and highest of each column of (case, axis)."""
    columns = [np.min(numbers, axis=0), np.median(numbers, axis=0), np.max(numbers, axis=0)]
    low, middle, high = (" × ".join(f"{number:.4g}" for number in column) for column in columns)
    return f"{low}, **{middle}**, {high}"
