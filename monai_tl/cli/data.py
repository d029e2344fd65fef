"""Verbs about data: phantoms, datalists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monai_tl.arguments import names, numbers
from monai_tl.data import brats, files, ixi
from monai_tl.data.datalist import Splits, make_datalist, random_splits, splits_from_file, write_datalist
from monai_tl.data.phantom import write_phantoms
from monai_tl.errors import ConfigError

RATIOS = "0.7,0.15,0.15"  # of train, validation, test


def phantom(*, output: str, subjects: int, size: int = 64, seed: int = 0) -> None:
    """Write heads with known anatomy, in the IXI and the BraTS layout: --output DIR --subjects 12 --size 64 --seed 0."""
    write_phantoms(Path(output), subjects, size, seed)
    print(f"{subjects} heads each in {output}/ixi and {output}/brats")


def datalist_ixi(
    *,
    root: str,
    modalities: str = "T1,T2",
    foreground: str = "17,53",
    labels: str = "",
    incomplete: str = "refuse",
    split: str = RATIOS,
    train: str = "train",
    absent: str = "refuse",
    seed: int = 0,
    output: str | None = None,
) -> None:
    """Write the datalist of an IXI folder: --root DIR [--split 0.7,0.15,0.15 or lists.json] [--seed 0] [--output FILE]."""
    cases = ixi.find_cases(Path(root), names(modalities), incomplete=incomplete)
    splits, rule = _splits(cases, split, train, absent, seed)
    _write(cases, modalities, (foreground, labels), splits, rule, Path(output or Path(root) / "datalist.json"))


def datalist_brats(
    *,
    root: str,
    modalities: str = "T1,T2",
    foreground: str = "1,4",
    labels: str = "1,2,4",
    incomplete: str = "refuse",
    split: str = RATIOS,
    train: str = "train",
    absent: str = "refuse",
    seed: int = 0,
    output: str | None = None,
) -> None:
    """Write the datalist of a BraTS folder; --split bundles/brats_tumour_core/splits/study.json --train S4 for the study's."""
    cases = brats.find_cases(Path(root), names(modalities), incomplete=incomplete)
    splits, rule = _splits(cases, split, train, absent, seed)
    _write(cases, modalities, (foreground, labels), splits, rule, Path(output or Path(root) / "datalist.json"))


def datalist_files(
    *,
    output: str,
    label: str,
    foreground: str,
    labels: str = "",
    incomplete: str = "refuse",
    split: str = RATIOS,
    train: str = "train",
    absent: str = "refuse",
    seed: int = 0,
    **patterns: str,
) -> None:
    """Write the datalist of any layout, a pattern a modality: --T1 't1/{subject}_T1.nii.gz' --label 'seg/{subject}.nii.gz'.

    Further: --foreground 47,48 --output FILE [--split 0.7,0.15,0.15] [--incomplete leave_out].
    """
    if not patterns:
        raise ConfigError("no modality: give one pattern each, e.g. --T1 't1/{subject}_T1.nii.gz'")
    cases = files.find_cases({**patterns, "label": label}, incomplete=incomplete)
    splits, rule = _splits(cases, split, train, absent, seed)
    _write(cases, ",".join(patterns), (foreground, labels), splits, rule, Path(output))


def _splits(cases: files.Cases, split: str, train: str, absent: str, seed: int) -> tuple[Splits, dict[str, Any]]:
    """Give the splits, by ratios or from a file of lists, and the rule they follow."""
    subjects = [case["subject"] for case in cases]
    if split.endswith(".json"):
        return splits_from_file(Path(split), subjects, train=train, absent=absent), {"file": Path(split).name, "train": train}
    ratios = numbers(split, "--split")
    return random_splits(subjects, ratios, seed), {"ratios": list(ratios), "seed": seed}


def _write(
    cases: files.Cases, modalities: str, values: tuple[str, str], splits: Splits, rule: dict[str, Any], path: Path
) -> None:
    """Write a datalist; ``values`` are the labels that are foreground, and all that occur ("": any)."""
    foreground, labels = ([int(value) for value in numbers(text, "label values")] for text in values)
    datalist = make_datalist(
        cases,
        modalities=names(modalities),
        foreground=foreground,
        labels=labels or None,
        splits=splits,
        split_rule=rule,
        left_out=cases.left_out | splits.left_out,
    )
    told = ", ".join(f"{len(subjects)} {name}" for name, subjects in splits.items())
    print(f"{write_datalist(path, datalist)}: {len(cases)} cases ({told}), {len(datalist.left_out)} left out")
