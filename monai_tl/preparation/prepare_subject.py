"""One IXI subject, from the files as they came to T1, T2 and labels on one grid."""

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

from monai_tl.datasets.case_checks import case_problems
from monai_tl.datasets.label_schemes import CODINGS
from monai_tl.errors import DataError
from monai_tl.imaging.grids import on_grid_of, regrid_labels
from monai_tl.imaging.scan_files import open_scan
from monai_tl.preparation.ixi_sources import Person
from monai_tl.preparation.register import Registration, register, write_transform
from monai_tl.storage.files import atomic_write
from monai_tl.text import name_some

LOST = 0.05  # of a hippocampus: more than nearest neighbour may change, so that labels and T1 do not belong together
SMALL = 200  # voxels; below them a few voxels are more than that share
UNFINISHED = ".unfinished-"


@dataclass(frozen=True)
class SubjectJob:
    """A subject to prepare.

    Attributes:
        person: who, and where the files lie.
        output: folder to write to.
        coding: of the labels, a name in ``CODINGS``.
    """

    person: Person
    output: str
    coding: str


def outputs(folder: Path, stem: str) -> dict[str, Path]:
    """Name the files of a prepared subject, in the layout that ``monai_tl.datasets.ixi`` reads."""
    return {
        "T1": folder / "IXI-T1" / f"{stem}-T1.nii.gz",
        "T2": folder / "IXI-T2" / f"{stem}-T2.nii.gz",
        "label": folder / "aseg" / f"{stem}-aseg.nii.gz",
        "transform": folder / "transforms" / f"{stem}-T2_to_T1.tfm",
    }


def prepare_subject(job: SubjectJob) -> dict[str, Any]:
    """Register T2 to T1, bring the labels onto T1's grid and write the four files; all of them or none.

    Returns:
        A record: name and sha256 of each input, ``alignment``, hippocampal volumes in ml before and after, ``notes`` (role
        -> what was passed over or converted in its header, and the numbers), seconds.

    Raises:
        DataError: if a file is damaged, is no 3D scan, or does not fit the others.
    """
    began, folder = time.perf_counter(), Path(job.output)
    with tempfile.TemporaryDirectory(dir=folder, prefix=f"{UNFINISHED}{job.person.subject}-") as scratch:
        work = Path(scratch)
        paths = {role: _fetch(job, role, work) for role in job.person.sources}
        try:
            notes = _refuse_damaged(job.person.subject, paths)
            t1, t2, label = (open_scan(paths[role]) for role in ("T1", "T2", "label"))
            found = register(t1, t2)
            labels = regrid_labels(label, t1)
            volumes = _volumes(label, labels, t1, job.coding)
        except DataError as error:
            raise DataError(_as_it_came(str(error), job, paths)) from error
        made = outputs(work, job.person.stem)
        _write(made, paths["T1"], t1, found, _as_stored(found.voxels, t2), labels)
        for role, target in outputs(folder, job.person.stem).items():
            with atomic_write(target) as temporary:
                made[role].rename(temporary)
    inputs = {role: {"file": str(source), "sha256": source.sha256()} for role, source in job.person.sources.items()}
    alignment = {name: round(value, 5) for name, value in vars(found.alignment).items()}
    seconds = round(time.perf_counter() - began, 1)
    return {
        "stem": job.person.stem, "inputs": inputs, "alignment": alignment, "hippocampus_ml": volumes, "notes": notes,
        "seconds": seconds,
    }  # fmt: skip


def _fetch(job: SubjectJob, role: str, work: Path) -> Path:
    """Give a path to a source: its own, or of a copy of the archive's member."""
    source = job.person.sources[role]
    if source.size < 0:
        return Path(source.path)
    path = work / "fetched" / role / Path(source.name).name
    source.copy(path)
    return path


def _as_it_came(message: str, job: SubjectJob, paths: dict[str, Path]) -> str:
    for role, path in paths.items():
        message = message.replace(str(path), str(job.person.sources[role]))
    return message


def _refuse_damaged(subject: str, paths: dict[str, Path]) -> dict[str, list[list[str]]]:
    """Check each file by itself, as they lie on grids of their own; gives what was passed over in their headers."""
    notes: dict[str, list[list[str]]] = {}
    for role, path in paths.items():
        found = case_problems({"subject": subject, role: str(path)}, () if role == "label" else (role,), ())
        if found.problems:
            raise DataError("; ".join(found.problems))
        notes |= {name: [list(note) for note in said] for name, said in found.notes.items()}
    return notes


def _write(
    made: dict[str, Path], source: Path, t1: Any, found: Registration, t2: NDArray[Any], labels: NDArray[np.int32]
) -> None:
    for path in made.values():
        path.parent.mkdir()
    shutil.copyfile(source, made["T1"])  # byte for byte
    nib.save(on_grid_of(t2, t1), made["T2"])
    small = labels.min() >= -(2**15) and labels.max() < 2**15
    nib.save(on_grid_of(labels.astype(np.int16 if small else np.int32), t1), made["label"])
    write_transform(made["transform"], found.transform)


def _as_stored(voxels: NDArray[np.float32], t2: Any) -> NDArray[Any]:
    """Round to whole numbers where T2 came as such: splines were cut off at its range, so that they fit."""
    stored = t2.get_data_dtype()
    whole = stored.kind in "iu" and stored.itemsize <= 2 and getattr(t2.dataobj, "slope", 1) == 1
    return np.rint(voxels).astype(stored.newbyteorder("=")) if whole else voxels


def _volumes(before: Any, after: NDArray[np.int32], t1: Any, coding: str) -> dict[str, dict[str, float]]:
    """Volume in ml of each hippocampus as it came and on T1's grid.

    Raises:
        DataError: if one is missing, or lost or gained more than a grid can do.
    """
    values = np.rint(np.asarray(before.dataobj)).astype(np.int64)
    told: dict[str, dict[str, float]] = {}
    for value in sorted(CODINGS[coding]):
        counts = int((values == value).sum()), int((after == value).sum())
        if not counts[0]:
            held = name_some([str(other) for other in np.unique(values)], 60)
            raise DataError(f"its label holds no {value} ({coding}), only {held}; is it complete, and coded so?")
        ml = [
            count * float(nib.affines.voxel_sizes(image.affine).prod()) / 1000
            for count, image in zip(counts, (before, t1), strict=True)
        ]
        if abs(ml[1] / ml[0] - 1) > LOST and min(counts[0], ml[0] / ml[1] * counts[1] if ml[1] else SMALL) >= SMALL:
            raise DataError(
                f"label {value} has {ml[0]:.3f} ml as it came and {ml[1]:.3f} ml on T1's grid: they do not lie on one head; "
                "is it this T1's label, in its mm?"
            )
        told[str(value)] = {"before": round(ml[0], 4), "after": round(ml[1], 4)}
    return told
