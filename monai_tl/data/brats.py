"""Cases in the layout of BraTS 2018 (and 2017 to 2021, which keep its file names)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monai_tl.data import files
from monai_tl.errors import ConfigError, DataError, did_you_mean

SUFFIXES = {"T1": "t1", "T1ce": "t1ce", "T2": "t2", "FLAIR": "flair"}
GRADES = ("HGG", "LGG")


def find_cases(
    root: Path, modalities: Sequence[str] = ("T1", "T2"), *, incomplete: str = "refuse", labelled: bool = True
) -> files.Cases:
    """Find the cases below a BraTS folder; every folder in it is a subject.

    Args:
        root: folder with ``HGG/<subject>/<subject>_t1.nii.gz`` (and ``LGG``), or the subjects' folders themselves; the
            files end in ``_t1, _t1ce, _t2, _flair, _seg`` and ``.nii.gz`` or ``.nii``.
        modalities: of ``T1, T1ce, T2, FLAIR``; only these and the label have to be there.
        incomplete: ``"refuse"``, or ``"leave_out"`` to go on without subjects that lack a file.
        labelled: whether a case needs its label, as it does but for prediction.

    Raises:
        ConfigError: if a modality is unknown.
        DataError: if the folder holds no case, or a subject lacks a file or has two for one modality.
    """
    unknown = [name for name in modalities if name not in SUFFIXES]
    if unknown:
        raise ConfigError(f"unknown BraTS modality '{unknown[0]}': {did_you_mean(unknown[0], SUFFIXES)}")
    root = Path(root).expanduser().absolute()
    endings = {name: SUFFIXES[name] for name in modalities} | ({"label": "seg"} if labelled else {})
    needed = f"[HGG/ or LGG/]<subject>/<subject>_{{{','.join(endings.values())}}}.nii.gz"
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; needed is one that holds {needed}")
    levels = [root / grade for grade in GRADES if (root / grade).is_dir()] or [root]
    found: dict[str, dict[str, list[str]]] = {role: {} for role in endings}
    for folder in sorted(path for level in levels for path in level.iterdir() if path.is_dir()):
        if folder.name.startswith("."):
            continue
        for role, ending in endings.items():
            paths = [folder / f"{folder.name}_{ending}{suffix}" for suffix in (".nii.gz", ".nii")]
            found[role].setdefault(folder.name, []).extend(str(path) for path in paths if path.is_file())
    if not any(paths for by_subject in found.values() for paths in by_subject.values()):
        content = sorted(path.name for path in root.iterdir())
        raise DataError(f"no case under {root}: looked for {needed}; it holds {files.name_some(content) or 'nothing'}")
    return files.pair_by_subject(found, incomplete)
