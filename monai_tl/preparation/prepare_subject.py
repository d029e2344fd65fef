"""Preparation of one IXI subject: from raw files to T1, T2 and labels on one grid."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from monai_tl.datasets.label_schemes import CODINGS
from monai_tl.errors import DataError
from monai_tl.imaging.grids import on_grid_of, regrid_labels
from monai_tl.imaging.scan_files import open_scan
from monai_tl.preparation.ixi_sources import Person
from monai_tl.preparation.prepared_folder import UNFINISHED, publish
from monai_tl.preparation.register import Registration, register, write_transform
from monai_tl.preparation.scan_storage import as_stored, compact_labels, refuse_damaged
from monai_tl.text import name_some

LOST = 0.05  # share of a hippocampus: a larger change than nearest neighbour can cause, so labels and T1 do not match
SMALL = 200  # voxels; in smaller labels a few voxels exceed that share


@dataclass(frozen=True)
class SubjectJob:
    """A subject to prepare.

    Attributes:
        person: the subject with its raw files.
        output: folder to write to.
        coding: of the labels, a name in ``CODINGS``.
    """

    person: Person
    output: str
    coding: str


def outputs(folder: Path, stem: str) -> dict[str, Path]:
    """Return the file paths of a prepared subject, in the layout that ``monai_tl.datasets.ixi`` reads."""
    return {
        "T1": folder / "IXI-T1" / f"{stem}-T1.nii.gz",
        "T2": folder / "IXI-T2" / f"{stem}-T2.nii.gz",
        "label": folder / "aseg" / f"{stem}-aseg.nii.gz",
        "transform": folder / "transforms" / f"{stem}-T2_to_T1.tfm",
    }


def prepare_subject(job: SubjectJob) -> dict[str, Any]:
    """Register T2 to T1, resample the labels to T1's grid and write the four files; all of them or none.

    Returns:
        A record: name and sha256 of each input, ``alignment``, hippocampal volumes in ml before and after, ``notes`` (role
        -> what was ignored or converted in its header, and the numbers), seconds.

    Raises:
        DataError: if a file is damaged, is not a 3D scan, or does not match the others.
    """
    began, folder = time.perf_counter(), Path(job.output)
    with tempfile.TemporaryDirectory(dir=folder, prefix=f"{UNFINISHED}{job.person.subject}-") as scratch:
        work = Path(scratch)
        paths = {role: _fetch(job, role, work) for role in job.person.sources}
        try:
            notes = refuse_damaged(job.person.subject, paths)
            t1, t2, label = (open_scan(paths[role]) for role in ("T1", "T2", "label"))
            registration = register(t1, t2)
            labels = regrid_labels(label, t1)
            volumes = _volumes(label, labels, t1, job.coding)
        except DataError as error:
            raise DataError(_with_source_names(str(error), job, paths)) from error
        made = outputs(work, job.person.stem)
        _write(made, paths["T1"], t1, registration, as_stored(registration.voxels, t2), labels)
        publish(made, outputs(folder, job.person.stem))
    inputs = {role: {"file": str(source), "sha256": source.sha256()} for role, source in job.person.sources.items()}
    alignment = {name: round(value, 5) for name, value in vars(registration.alignment).items()}
    seconds = round(time.perf_counter() - began, 1)
    return {
        "stem": job.person.stem, "inputs": inputs, "alignment": alignment, "hippocampus_ml": volumes, "notes": notes,
        "seconds": seconds,
    }  # fmt: skip


def _fetch(job: SubjectJob, role: str, work: Path) -> Path:
    """Return the path of a source file, or of a copy extracted from the archive."""
    source = job.person.sources[role]
    if source.size < 0:
        return Path(source.path)
    path = work / "fetched" / role / Path(source.name).name
    source.copy(path)
    return path


def _with_source_names(message: str, job: SubjectJob, paths: dict[str, Path]) -> str:
    for role, path in paths.items():
        message = message.replace(str(path), str(job.person.sources[role]))
    return message


def _write(
    made: dict[str, Path], source: Path, t1: Any, registration: Registration, t2: NDArray[Any], labels: NDArray[np.int32]
) -> None:
    for path in made.values():
        path.parent.mkdir()
    shutil.copyfile(source, made["T1"])  # unchanged
    nib.save(on_grid_of(t2, t1), made["T2"])
    nib.save(on_grid_of(compact_labels(labels), t1), made["label"])
    write_transform(made["transform"], registration.transform)


def _volumes(before: Any, after: NDArray[np.int32], t1: Any, coding: str) -> dict[str, dict[str, float]]:
    """Return the volume in ml of each hippocampus, before and after resampling to T1's grid.

    Raises:
        DataError: if one is missing, or its volume changed more than resampling can explain.
    """
    values = np.rint(np.asarray(before.dataobj)).astype(np.int64)
    volumes: dict[str, dict[str, float]] = {}
    for value in sorted(CODINGS[coding]):
        counts = int((values == value).sum()), int((after == value).sum())
        if not counts[0]:
            present = name_some([str(other) for other in np.unique(values)], 60)
            raise DataError(f"its label has no {value} ({coding}), only {present}; check that it is complete and its --coding")
        ml = [
            count * float(nib.affines.voxel_sizes(image.affine).prod()) / 1000
            for count, image in zip(counts, (before, t1), strict=True)
        ]
        if abs(ml[1] / ml[0] - 1) > LOST and min(counts[0], ml[0] / ml[1] * counts[1] if ml[1] else SMALL) >= SMALL:
            raise DataError(
                f"label {value} has {ml[0]:.3f} ml as stored and {ml[1]:.3f} ml on T1's grid: label and T1 do not overlap; "
                "check that the label belongs to this T1 and has the same coordinates (mm)"
            )
        volumes[str(value)] = {"before": round(ml[0], 4), "after": round(ml[1], 4)}
    return volumes
