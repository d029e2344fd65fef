"""Writing phantoms in the layouts of IXI and BraTS 2018."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import axcodes2ornt, ornt_transform
from numpy.typing import NDArray
from tqdm import tqdm

from monai_tl.errors import ConfigError
from monai_tl.phantoms.heads import (
    CENTRE,
    DRAWN_MODALITIES,
    FIELD_OF_VIEW,
    Anatomy,
    Tumour,
    label_map,
    render_head,
    render_tumour,
    scan,
)
from monai_tl.storage.processes import run_each

_Head = tuple[Callable[[Path, int, int, int], None], Path, int, int, int]  # function, folder, number, size, seed


def _save(volume: NDArray[np.generic], affine: NDArray[np.float64], axes: str, path: Path) -> None:
    """Write a RAS volume reoriented to ``axes``, e.g. ``PSR``, with qform, sform and unit mm."""
    image = nib.Nifti1Image(np.rint(volume).astype(np.int16), affine)
    turned = image.as_reoriented(ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(axes)))
    turned.set_sform(turned.affine, code=1)
    turned.set_qform(turned.affine, code=1)
    turned.header.set_xyzt_units("mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(turned, path)


def _write_ixi(folder: Path, index: int, size: int, seed: int) -> None:
    """Write one IXI phantom: T1, T2 and aseg, with voxel axes posterior, superior, right, as in IXI's T1."""
    rng = np.random.default_rng([seed, 0, index])
    # Ids with gaps, as in IXI, so that pairing files by position instead of by id fails.
    number = 12 + 3 * index + rng.integers(3)
    subject = f"IXI{number:03d}-{rng.choice(['Guys', 'HH', 'IOP'], p=[0.55, 0.3, 0.15])}-{rng.integers(700, 2900):04d}"
    layers, left = render_head(Anatomy.draw(rng), size)
    affine = np.eye(4)
    shrink = size / FIELD_OF_VIEW
    affine[:3, 3] = -(size - 1) / 2 + (np.array(CENTRE) + rng.uniform(-5, 5, 3)) * shrink
    for modality in ("T1", "T2"):
        path = folder / f"IXI-{modality}" / f"{subject}-{modality}.nii.gz"
        _save(scan(layers, modality, rng), affine, "PSR", path)
    _save(label_map(layers, left), affine, "PSR", folder / "aseg" / f"{subject}-aseg.nii.gz")


def _write_brats(folder: Path, index: int, size: int, seed: int) -> None:
    """Write one BraTS phantom: four skull-stripped modalities and the tumour, with BraTS' voxel axes."""
    rng = np.random.default_rng([seed, 1, index])
    subject = f"Brats18_PHA{12 + 3 * index + rng.integers(3):03d}_1"
    layers, left = render_head(Anatomy.draw(rng), size)
    anatomy = label_map(layers, left)
    tumour = render_tumour(Tumour.draw(rng), np.isin(anatomy, (2, 41)))
    brain = anatomy > 0
    affine = np.eye(4)
    affine[0, 3] = -(size - 1)  # BraTS: x runs from 0 to the right of the image, y from size - 1 down
    for modality in DRAWN_MODALITIES:
        path = folder / "HGG" / subject / f"{subject}_{modality.lower()}.nii.gz"
        _save(scan(layers + tumour, modality, rng) * brain, affine, "LPS", path)
    seg = label_map(tumour, left) * brain
    _save(seg, affine, "LPS", folder / "HGG" / subject / f"{subject}_seg.nii.gz")


def _refuse(output: Path, **least: tuple[int, int]) -> None:
    """Raise a ConfigError if a number is below its minimum or ``output`` is not empty."""
    for name, (value, smallest) in least.items():
        if type(value) is not int or value < smallest:
            raise ConfigError(f"{name} takes a whole number, {smallest} or more; got {value!r}")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigError(f"{output} already exists and is not an empty folder; remove it or choose another output")


def write_phantoms(
    output: Path | str, subjects: int, size: int = 64, seed: int = 0, *, brats_subjects: int | None = None, processes: int = 1
) -> None:
    """Write phantom heads in the layouts of IXI (``output/ixi``) and BraTS 2018 (``output/brats``).

    With the same ``seed`` and ``size``, the n-th subject is the same whatever the number of subjects. ``output`` appears only
    after all files are written.

    Args:
        output: folder to create; it must not exist or must be empty.
        subjects: number of heads in the IXI layout, and of other heads, with tumours, in the BraTS layout.
        size: number of voxels along each axis, of 1 mm each; 192 gives life-size heads, 64 heads of a third of that size.
        seed: whole number, 0 or more.
        brats_subjects: number of heads in the BraTS layout, if it differs.
        processes: number of processes that draw heads.

    Raises:
        ConfigError: if ``output`` is not empty or a number is too small.
        OSError: if a head could not be written.

    Example:
        >>> from pathlib import Path
        >>> from monai_tl import write_phantoms
        >>> write_phantoms("phantoms", subjects=1, size=32)
        >>> sorted(path.name for path in Path("phantoms/ixi").iterdir())
        ['IXI-T1', 'IXI-T2', 'aseg']
    """
    output = Path(output)
    patients = subjects if brats_subjects is None else brats_subjects
    _refuse(output, subjects=(subjects, 1), brats_subjects=(patients, 1), size=(size, 32), seed=(seed, 0))
    output = output.resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as scratch:
        unfinished = Path(scratch) / output.name
        heads = {f"IXI {n}": (_write_ixi, unfinished / "ixi", n, size, seed) for n in range(subjects)}
        heads |= {f"BraTS {n}": (_write_brats, unfinished / "brats", n, size, seed) for n in range(patients)}
        with tqdm(total=len(heads), desc="phantoms", unit="head") as bar, closing(_written(heads, processes)) as written:
            for _ in written:
                bar.update()
        unfinished.replace(output)


def _written(heads: Mapping[str, _Head], processes: int) -> Generator[str]:
    """Write heads and yield the name of each that is finished."""
    if processes == 1:
        for name, head in heads.items():
            _write(head)
            yield name
        return
    with closing(run_each(_write, heads, processes, per_process=len(heads))) as outcomes:
        for name, outcome in outcomes:
            outcome.raise_full_disk(heads[name][1])
            if outcome.fault:
                raise OSError(f"head {name} could not be written: {outcome.fault}")
            yield name


def _write(head: _Head) -> None:
    write, folder, index, size, seed = head
    write(folder, index, size, seed)
