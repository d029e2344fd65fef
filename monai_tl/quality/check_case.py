"""Checking one case: its measures and picture are stored, so that a second check reads only changed cases."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from PIL import Image

from monai_tl.datasets.patterns import Case
from monai_tl.datasets.regions import Regions, foreground_of
from monai_tl.errors import DataError, in_words, is_full_disk
from monai_tl.identity.anonymise import keyed_hash, without_names
from monai_tl.imaging.preview import PREDICTION, TRUTH, WHITE, Caption, Drawn, draw_planes, region_colours, with_caption
from monai_tl.imaging.scan_files import sha256_of_scan
from monai_tl.quality.measures import Measures, measure_case, read_volumes
from monai_tl.storage.files import atomic_write, read_json, write_json
from monai_tl.text import millilitres, name_some

VERSION = 4  # of the measures: cases that another version measured are measured again
HEIGHT = 320  # of the planes of a picture, in pixels


class CheckJob(NamedTuple):
    """One case to measure: the arguments of `check_case`."""

    case: Case
    name: str  # the subject's id, or its pseudonym
    modalities: tuple[str, ...]
    regions: Regions
    labels: tuple[int, ...] | None
    folder: Path  # for NAME.json and NAME.png
    key: bytes | None  # of the pseudonyms, if ids are to be hidden


def check_case(job: CheckJob) -> Measures:
    """Measure and draw a case, and store both; errors become problems of the case, except a full disk, which is raised."""
    stored = job.folder / f"{job.name}.json"
    try:
        inputs = _hash_of_inputs(job)
        previous = _read_stored(stored)
        if previous and previous["inputs"] == inputs and (job.folder / f"{job.name}.png").exists() == previous["drawn"]:
            return Measures(**previous["measures"])
        measures = measure_case(job.case, job.modalities, job.regions, job.labels)
        content = asdict(measures) | {"subject": job.name}
        if job.key:
            content["problems"] = [without_names(problem, job.case) for problem in content["problems"]]
            content["notes"] = {
                role: [[what, without_names(numbers, job.case)] for what, numbers in of_role]
                for role, of_role in content["notes"].items()
            }
        drawn = _draw(job, measures.regions_ml)
        write_json(stored, {"inputs": inputs, "drawn": drawn, "measures": content})
        return Measures(**content)
    except Exception as error:  # a library can raise anything for a damaged file
        if is_full_disk(error):
            raise
        problem = f"could not be checked ({in_words(error)})"
        return Measures(job.name, problems=[without_names(problem, job.case) if job.key else problem])


def _draw(job: CheckJob, regions_ml: Mapping[str, float]) -> bool:
    """Draw the first modality, the second one's edges and the regions' outlines; return False if nothing can be drawn."""
    path = job.folder / f"{job.name}.png"
    volumes, first, _ = read_volumes(job.case, [*job.modalities, "label"])
    label = volumes.pop("label", None)
    if first is None:
        path.unlink(missing_ok=True)  # of an earlier check
        return False
    image, *others = volumes.values()
    several = len(job.regions) > 1
    drawn = [Drawn(other, WHITE if several else TRUTH, edges=True) for other in others[:1]]
    through: list[np.ndarray] = []
    if label is not None:
        through = [np.isin(np.rint(label), foreground_of(job.regions))]
        drawn += _outlines(np.rint(label), job.regions, regions_ml) if several else [Drawn(through[0], PREDICTION)]
    spacing: Any = nib.affines.voxel_sizes(nib.as_closest_canonical(first).affine)
    picture = Image.fromarray(draw_planes(image, drawn, spacing=spacing, height=HEIGHT, through=through))
    legend = [(f"edges of {list(volumes)[1]}", WHITE)] if others else []
    legend += _legend(job.regions, regions_ml) if label is not None else []
    if several and legend:
        picture = with_caption(picture, legend)
    with atomic_write(path) as temporary:
        picture.save(temporary)
    return True


def _outlines(label: np.ndarray, regions: Regions, regions_ml: Mapping[str, float]) -> list[Drawn]:
    """Return the outlines of regions, small ones last, as they may be inside others."""
    colours = dict(zip(regions, region_colours(len(regions)), strict=True))
    order = sorted((name for name in regions if regions_ml.get(name)), key=lambda name: -regions_ml[name])
    return [Drawn(label, colours[name], values=tuple(regions[name])) for name in order]


def _legend(regions: Regions, regions_ml: Mapping[str, float]) -> list[Caption]:
    """Return the regions with their volumes in their colours, and those that are absent."""
    colours = zip(regions, region_colours(len(regions)), strict=True)
    shown = [(f"{name} {millilitres(regions_ml[name])} ml", colour) for name, colour in colours if regions_ml.get(name)]
    absent = [name for name in regions if not regions_ml.get(name)]
    return [*shown, *([(f"absent: {name_some(absent)}", WHITE)] if absent else [])]


def _hash_of_inputs(job: CheckJob) -> str:
    """Return the hash of all inputs of the measures; keyed if anonymous, since hashes of public scans are known."""
    files = [[role, _hash_of_scan(path)] for role, path in job.case.items() if role != "subject"]
    text = json.dumps([VERSION, job.modalities, list(job.regions.items()), job.labels, files])
    return keyed_hash(job.key, text) if job.key else hashlib.sha256(text.encode()).hexdigest()


def _hash_of_scan(path: str) -> str | None:
    """Return the hash of a scan; ``None`` if it cannot be read, which the measures report."""
    try:
        return sha256_of_scan(path)
    except (OSError, DataError):
        return None


def _read_stored(path: Path) -> dict[str, Any] | None:
    try:
        content = read_json(path, required=("inputs", "drawn", "measures"), remedy="")
        Measures(**content["measures"])
        return content
    except (OSError, DataError, TypeError):
        return None  # the case is measured again
