"""One case of a check: measured, drawn, and both kept, so that a second call reads only what has changed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from PIL import Image

from monai_tl.datasets.patterns import Case
from monai_tl.errors import DataError, in_words, is_full_disk
from monai_tl.identity.anonymise import keyed_hash, without_names
from monai_tl.imaging.preview import PREDICTION, TRUTH, Drawn, draw_planes
from monai_tl.imaging.scan_files import sha256_of_scan
from monai_tl.quality.measures import Measures, measure_case, read_volumes
from monai_tl.storage.files import atomic_write, read_json, write_json

VERSION = 3  # of what is measured: cases measured by another one are measured anew
HEIGHT = 320  # pixels of a picture


class CheckJob(NamedTuple):
    """One case to measure: what a process is told."""

    case: Case
    name: str  # the subject's id, or its pseudonym
    modalities: tuple[str, ...]
    foreground: tuple[int, ...]
    labels: tuple[int, ...] | None
    folder: Path  # for NAME.json and NAME.png
    key: bytes | None  # hides ids, where they are to be hidden


def check_case(job: CheckJob) -> Measures:
    """Measure and draw a case, and keep both; whatever fails stands among its problems, save a full disk."""
    kept = job.folder / f"{job.name}.json"
    try:
        inputs = _hash_of_inputs(job)
        before = _read_kept(kept)
        if before and before["inputs"] == inputs and (job.folder / f"{job.name}.png").exists() == before["drawn"]:
            return Measures(**before["measures"])
        measures = measure_case(job.case, job.modalities, job.foreground, job.labels)
        told = asdict(measures) | {"subject": job.name}
        if job.key:
            told["problems"] = [without_names(problem, job.case) for problem in told["problems"]]
            told["notes"] = {
                role: [[what, without_names(numbers, job.case)] for what, numbers in said]
                for role, said in told["notes"].items()
            }
        drawn = _draw(job)
        write_json(kept, {"inputs": inputs, "drawn": drawn, "measures": told})
        return Measures(**told)
    except Exception as error:  # whatever a file makes a library raise
        if is_full_disk(error):
            raise
        said = f"could not be checked ({in_words(error)})"
        return Measures(job.name, problems=[without_names(said, job.case) if job.key else said])


def _draw(job: CheckJob) -> bool:
    """Draw the first modality with the edges of the others and the label's outline; False if there is nothing to draw."""
    path = job.folder / f"{job.name}.png"
    volumes, first, _ = read_volumes(job.case, [*job.modalities, "label"])
    label = volumes.pop("label", None)
    if first is None:
        path.unlink(missing_ok=True)  # of what was there before
        return False
    image, *others = volumes.values()
    drawn = [Drawn(other, TRUTH, edges=True) for other in others[:1]]
    if label is not None:
        drawn.append(Drawn(np.isin(np.rint(label), job.foreground), PREDICTION))
    spacing: Any = nib.affines.voxel_sizes(nib.as_closest_canonical(first).affine)
    with atomic_write(path) as temporary:
        Image.fromarray(draw_planes(image, drawn, spacing=spacing, height=HEIGHT)).save(temporary)
    return True


def _hash_of_inputs(job: CheckJob) -> str:
    """Hash what the measures depend on; with a key, so that public scans are not found by their hashes."""
    files = [[role, _hash_of_scan(path)] for role, path in job.case.items() if role != "subject"]
    text = json.dumps([VERSION, job.modalities, job.foreground, job.labels, files])
    return keyed_hash(job.key, text) if job.key else hashlib.sha256(text.encode()).hexdigest()


def _hash_of_scan(path: str) -> str | None:
    """Hash a file, a volume of one, or a series; ``None`` where that cannot be read, which its measures will say."""
    try:
        return sha256_of_scan(path)
    except (OSError, DataError):
        return None


def _read_kept(path: Path) -> dict[str, Any] | None:
    try:
        content = read_json(path, required=("inputs", "drawn", "measures"), remedy="")
        Measures(**content["measures"])
        return content
    except (OSError, DataError, TypeError):
        return None  # is measured again
