"""Scans to predict, without labels or splits: from a datalist, a folder in a known layout, patterns, or a file."""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from monai_tl.datasets import brats, decathlon, ixi, patterns
from monai_tl.datasets.datalist import read_datalist
from monai_tl.datasets.ids import normal
from monai_tl.datasets.modality_names import SCANS_AND_NETWORK, rename_problems, scans_hint
from monai_tl.datasets.own_outputs import MADE_WITH, is_named_as_prediction, own_predictions, refuse_doubtful
from monai_tl.datasets.patterns import Case, Cases, find_cases, refuse_odd_names
from monai_tl.errors import ConfigError, DataError, did_you_mean
from monai_tl.imaging.dicom import holds_series
from monai_tl.imaging.scan_files import scan_exists, split_path
from monai_tl.settings.refusals import raise_refusals
from monai_tl.text import listed, name_some

ENDINGS = (".nii.gz", ".nii")
NAMELESS = "--rename has no effect, as '{}' holds images without names of modalities: omit it"


def find_scans(
    location: str | None,
    modalities: Sequence[str],
    patterns: Mapping[str, str] | None = None,
    split: str | None = None,
    subjects: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
) -> Cases:
    """Find the cases to predict.

    Args:
        location: a datalist (``.json``), a folder in the layout of IXI, BraTS or the Decathlon (its test cases), the folder
            of one BraTS case, or, for a single modality, an image, a DICOM series or a folder of images; with ``patterns``
            the folder that they are relative to.
        modalities: inputs of the network.
        patterns: modality -> path with ``{subject}``, for any other layout.
        split: of a datalist; ``None`` for all its cases.
        subjects: to predict; empty for all.
        rename: modality of the scans -> its name in the network, where they differ, e.g. ``{"MRI": "T1"}``.

    Returns:
        Cases with ``"subject"`` and an absolute path per modality, in order of subject id; those that lack a modality are in
        ``left_out``, predictions among the scans in ``passed_over``.

    Raises:
        DataError: if there are no such cases, or every case lacks a modality (the existing files are listed); or if images
            are named as predictions are, and it is unclear whether they are scans.
    """
    scans_names = {new: old for old, new in (rename or {}).items()}
    wanted = {name: scans_names.get(name, name) for name in modalities}
    for new, old in scans_names.items():
        if [*wanted.values()].count(old) > 1:
            taken = f"the network takes {new} and {old}, and the scans' {old} would be both"
            raise ConfigError(f"--rename {old}={new}: {taken}; rename another modality, or omit it")
    found = _find(location, wanted, patterns, split)
    cases = found if _is_datalist(location) else _without_predictions(found, location, patterns or {})
    refuse_odd_names(cases)
    names = [case["subject"] for case in cases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{name_some(twice)} is the id of several scans, and predictions are named after it; rename one")
    left_out = cases.left_out if isinstance(cases, Cases) else {}
    subjects = [normal(name) for name in subjects]
    absent = [name for name in subjects if name not in (*names, *left_out)]
    if absent:
        raise DataError(f"there is no subject '{absent[0]}': {did_you_mean(absent[0], names)}")
    chosen = Cases()
    chosen.extend(case for case in cases if not subjects or case["subject"] in subjects)
    chosen.left_out = {name: why for name, why in left_out.items() if not subjects or name in subjects}
    chosen.passed_over = cases.passed_over if isinstance(cases, Cases) else []
    if not _is_datalist(location):
        refuse_doubtful(_images(chosen, patterns or {}))
    return chosen


def _without_predictions(found: Sequence[Case], location: str | None, patterns: Mapping[str, str]) -> Cases:
    """Remove the images that ``predict`` wrote, including its output folder if it is among the subjects' folders.

    Raises:
        DataError: if nothing else remains.
    """
    images, folder = _images(found, patterns), Path(location or ".").expanduser().absolute()
    left_out = found.left_out if isinstance(found, Cases) else {}
    for name in left_out:
        plain = [pattern.replace("{subject}", name) for pattern in patterns.values() if not is_named_as_prediction(pattern)]
        images[name] = [path for pattern in plain for path in glob.glob(str(folder / Path(pattern).expanduser()))]
    ours = [*own_predictions(images), *(name for name in left_out if (folder / name / MADE_WITH).is_file())]
    kept = Cases()
    kept.extend(case for case in found if case["subject"] not in ours)
    kept.left_out = {name: why for name, why in left_out.items() if name not in ours}
    kept.passed_over = sorted(set(ours))
    if ours and not kept and not kept.left_out:
        raise DataError(f"'{location}' contains only predictions ({name_some(kept.passed_over)}); name the scans' folder")
    return kept


def _images(cases: Sequence[Case], patterns: Mapping[str, str]) -> dict[str, list[str]]:
    """Return subject -> its images, without those whose pattern explicitly selects predictions."""
    asked = {"subject", *(role for role, pattern in patterns.items() if is_named_as_prediction(pattern))}
    return {case["subject"]: [path for role, path in case.items() if role not in asked] for case in cases}


def _is_datalist(location: str | None) -> bool:
    return location is not None and location.endswith(".json")


def refuse_no_input(location: str | None) -> None:
    """Raise if the input does not exist.

    Raises:
        DataError: if the location does not exist.
    """
    if location and not scan_exists(Path(location).expanduser().absolute()):
        raise DataError(f"input '{location}' does not exist; name a datalist, a folder of scans or a scan")


def refuse_rename(
    rename: Mapping[str, str], modalities: Sequence[str], location: str | None, patterns: Mapping[str, str]
) -> None:
    """Refuse a rename of the scans' modalities that nothing can follow.

    Raises:
        ConfigError: for a name that the network does not have, a rename that changes nothing, or scans without names.
    """
    raise_refusals(rename_problems(rename, None, modalities, SCANS_AND_NETWORK), "renames")
    if rename and patterns:
        raise ConfigError("patterns assign each modality already (--T1 PATTERN is the network's T1): omit --rename")
    if rename and location and not _is_datalist(location) and not Path(location).expanduser().is_dir():
        raise ConfigError(NAMELESS.format(location))


def _find(
    location: str | None, modalities: Mapping[str, str], patterns: Mapping[str, str] | None, split: str | None
) -> list[Case]:
    """Find cases by their modalities in the network -> in the scans."""
    path = Path(location).expanduser().absolute() if location else None
    refuse_no_input(location)
    if path is not None and path.suffix == ".json":
        return _of_datalist(path, modalities, split)
    if split is not None:
        raise DataError(f"--split needs a datalist, and '{location}' is not one; omit --split or name the .json")
    if patterns:
        return _of_patterns(path, list(modalities), patterns)
    if path is None:
        raise DataError("no input: name a datalist, a folder of scans or a scan by --input, or a pattern for each modality")
    return _of_folder(path, modalities) if path.is_dir() else _of_file(path, list(modalities))


def _of_datalist(path: Path, modalities: Mapping[str, str], split: str | None) -> list[Case]:
    data, names = read_datalist(path), list(modalities.values())
    missing = [name for name in names if name not in data.modalities]
    if missing:
        quoted = listed([f"'{name}'" for name in missing])
        there = did_you_mean(missing[0], data.modalities)
        raise DataError(f"no modality {quoted} in {path}: {there}{scans_hint(data.modalities, modalities)}")
    for new, old in modalities.items():
        if old != new and new in data.modalities and new not in names:
            raise DataError(f"--rename {old}={new}: {path} has a {new} too, and only one can be the network's {new}; omit it")
    cases = data.cases if split is None else data.split(split, names)
    return [{"subject": case["subject"], **{new: case[old] for new, old in modalities.items()}} for case in cases]


def _of_patterns(folder: Path | None, modalities: Sequence[str], patterns: Mapping[str, str]) -> list[Case]:
    missing = [name for name in modalities if name not in patterns]
    if missing:
        raise DataError(f"no pattern for {', '.join(missing)}: the network takes {', '.join(modalities)}")
    paths = {name: str((folder or Path()) / Path(patterns[name]).expanduser()) for name in modalities}
    return find_cases(paths, incomplete="leave_out")


def _of_file(path: Path, modalities: Sequence[str]) -> list[Case]:
    if len(modalities) > 1:
        raise DataError(
            f"'{path}' is one image, but the network takes {', '.join(modalities)}: name their folder, or a pattern for each, "
            f"e.g. --{modalities[0]} 'DIR/{{subject}}_{modalities[0]}.nii.gz'"
        )
    return [{"subject": _stem(path), modalities[0]: str(path)}]


def _of_folder(path: Path, modalities: Mapping[str, str]) -> list[Case]:
    names = list(modalities.values())
    if ixi.is_ixi_layout(path, names):
        return _by_network(ixi.find_ixi_cases(path, names, labelled=False, incomplete="leave_out"), modalities)
    if decathlon.is_decathlon_layout(path):
        return decathlon.find_tests(path, modalities)
    if set(names) <= set(brats.MODALITIES) and (found := _of_brats(path, names)) is not None:
        return _by_network(found, modalities)
    (first, scans_name), *others = modalities.items()
    images = sorted(child for child in path.iterdir() if child.name.endswith(ENDINGS) and not child.name.startswith("."))
    series = not others and not _other_images(path) and holds_series(path)
    if (series or images) and not others and first != scans_name:
        raise ConfigError(NAMELESS.format(path))
    if series:
        return [{"subject": normal(path.name), first: str(path)}]
    if images and not others:
        return [{"subject": _stem(image), first: str(image)} for image in images]
    content = name_some(sorted(child.name for child in path.iterdir() if not child.name.startswith("."))) or "nothing"
    asked = " ".join(f"--{name} '{{subject}}_{name}.nii.gz'" for name in modalities)
    known = brats.MODALITIES if brats.is_brats_layout(path) else ()
    raise DataError(
        f"'{path}' has no known layout (it contains {content}): name a pattern for each modality, e.g. {asked}, "
        f"or '{{subject}}/{first}.nii.gz' if each subject has a folder{scans_hint(known, modalities)}"
    )


def _of_brats(path: Path, modalities: Sequence[str]) -> Cases | None:
    """Find the cases of a folder in the layout of BraTS, or the case whose folder it is; None for any other folder."""
    naming = brats.naming_of([path])
    if naming and any(naming.files(path, name) for name in modalities):  # the name of its label may be that of a prediction
        return patterns.pair_by_subject(
            {name: {path.name: [str(file) for file in naming.files(path, name)]} for name in modalities}, "refuse"
        )
    if brats.is_brats_layout(path):
        return brats.find_brats_cases(path, modalities, labelled=False, incomplete="leave_out")
    return None


def _by_network(cases: Cases, modalities: Mapping[str, str]) -> Cases:
    """Give the scans of each case the network's names of modalities."""
    cases[:] = [{"subject": case["subject"], **{new: case[old] for new, old in modalities.items()}} for case in cases]
    return cases


def _other_images(folder: Path) -> list[Path]:
    """Return the images in the folder of a series, without its predictions."""
    images = {child.name: [str(child)] for child in folder.iterdir() if child.name.endswith(ENDINGS)}
    ours = own_predictions({folder.name: [], **images})
    return [folder / name for name in images if name not in ours and not name.startswith(".")]


def _stem(path: Path) -> str:
    return normal(re.sub(r"\.nii(\.gz)?$", "", Path(split_path(path)[0]).name))
