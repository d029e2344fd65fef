"""Verbs for data: phantoms, preparation, checks, datalists."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from monai_tl.cli.arguments import Count, Policy, Seed, label_values, names, numbers
from monai_tl.datasets import ixi
from monai_tl.datasets.brats_tracks import BRATS_REGIONS, Track, regions_of_track
from monai_tl.datasets.datalist import make_datalist, write_datalist
from monai_tl.datasets.exclusions import leave_out as leave_subjects_out
from monai_tl.datasets.exclusions import refuse_selected_test, without
from monai_tl.datasets.label_names import read_label_names
from monai_tl.datasets.patterns import Cases, find_cases
from monai_tl.datasets.regions import FOREGROUND, REGIONS_EXAMPLE, check_regions, foreground_of, read_regions
from monai_tl.datasets.splits import Splits, random_splits, splits_from_file
from monai_tl.errors import ConfigError, DataError, PartlyDoneError, list_problems
from monai_tl.identity.persons import persons_of, refuse_divided
from monai_tl.settings.values import Whole

IXI_FOREGROUND = "17,53"  # left and right hippocampus of FreeSurfer
RATIOS = "0.7,0.15,0.15"  # of train, validation, test


def phantom(*, output: str, subjects: Count, size: Annotated[int, Whole(32, unit="voxels")] = 64, seed: Seed = 0) -> None:
    """Write phantom heads in the layouts of IXI and BraTS: --output DIR --subjects 12 [--size 64] [--seed 0].

    They show that a pipeline works without any scans, as the anatomy of each head is known.
    """
    from monai_tl.phantoms.phantom_files import write_phantoms
    from monai_tl.storage.cores import cores_at_hand

    write_phantoms(Path(output), subjects, size, seed, processes=cores_at_hand())
    print(f"{subjects} heads each in {output}/ixi and {output}/brats")


def datalist_ixi(
    *,
    root: str,
    modalities: str = "T1,T2",
    foreground: str = IXI_FOREGROUND,
    regions: str = "",
    label_names: str = "",
    labels: str = "",
    ignore: str = "",
    incomplete: Policy = "refuse",
    split: str = RATIOS,
    train: str = "train",
    absent: Policy = "refuse",
    leave_out: str = "",
    person: str = "",
    seed: Seed = 0,
    output: str | None = None,
) -> None:
    """Write the datalist of an IXI folder: --root DIR [--split 0.7,0.15,0.15 or lists.json] [--seed 0] [--output FILE].

    --leave_out omits subjects: those that `monai_tl check` suspects (qc, or the path of a qc.csv), or ids (IXI012,IXI013).
    All cases of one person are in the same split. The ids of known data sets contain the person; for others, set a pattern
    such as --person 'sub-{person}_ses-{}', or --person none if each case is another person. --regions left=17,right=53
    replaces --foreground by several regions.
    """
    values = _values(foreground, regions, labels, ignore, _names_in(label_names))
    complete = ixi.find_ixi_cases(Path(root), names(modalities), incomplete=incomplete)
    cases, chosen = leave_subjects_out(complete, leave_out, Path(root))
    splits, rule = _splits(cases, split, train, absent, seed, chosen, person)
    _write(cases, modalities, values, splits, rule, Path(output or Path(root) / "datalist.json"))


def datalist_brats(
    *,
    root: str,
    modalities: str = "T1,T2",
    track: str = "",
    foreground: str = "",
    regions: str = "",
    labels: str = "",
    ignore: str = "",
    grade: str | None = None,
    incomplete: Policy = "refuse",
    split: str = RATIOS,
    train: str = "train",
    absent: Policy = "refuse",
    leave_out: str = "",
    person: str = "",
    seed: Seed = 0,
    target: str = "bundles/brats_tumour_core",
    output: str | None = None,
) -> None:
    """Write the datalist of a BraTS folder of any year: --root DIR [--grade HGG] [--split 0.7,0.15,0.15] [--output FILE].

    The label values of the tumour core depend on the BraTS track, which is detected from ids and labels. If that fails, set
    --track to gli2017, gli2023, gli2024, peds2023, peds2024, met2023, met2025, men2023, menrt2024, ssa2023 or goat2024, or set
    the values by --foreground and --labels. --regions brats makes the three regions that BraTS is scored on. --split study
    --train S4 uses the splits of the 2019 study, from splits/study.json of the bundle --target. --leave_out and --person are
    as in datalist ixi.
    """
    from monai_tl.datasets import brats

    asked = _values(foreground, "" if regions == BRATS_REGIONS else regions, labels, ignore, needed=False)
    complete = brats.find_brats_cases(Path(root), names(modalities), incomplete=incomplete, grade=grade)
    cases, chosen = leave_subjects_out(complete, leave_out, Path(root))
    splits, rule = _splits(cases, study_lists(target) if split == "study" else split, train, absent, seed, chosen, person)
    coding = brats.find_brats_coding(cases, foreground_of(asked.regions), asked.labels, track)
    values = replace(asked, regions=asked.regions or {FOREGROUND: coding.foreground}, labels=coding.labels)
    if regions == BRATS_REGIONS:
        values = replace(values, regions=regions_of_track(coding.track))
    _write(cases, modalities, values, splits, rule, Path(output or Path(root) / "datalist.json"), coding.track)
    if list(values.regions) == [FOREGROUND]:
        print(f"tumour core: label values {_join(coding.foreground)}, of {_join(coding.labels) or 'any'}")
    print(*coding.notes, sep="\n")


def datalist_decathlon(
    *,
    root: str,
    foreground: str = "",
    regions: str = "",
    modalities: str = "",
    ignore: str = "",
    incomplete: Policy = "refuse",
    split: str = RATIOS,
    train: str = "train",
    absent: Policy = "refuse",
    leave_out: str = "",
    person: str = "",
    seed: Seed = 0,
    output: str | None = None,
) -> None:
    """Write the datalist of a Medical Segmentation Decathlon task: --root Task01_BrainTumour --regions all [--output FILE].

    --regions takes names in dataset.json, or names with label values (core=2,3); --foreground 2,3 makes one region of them.
    --modalities T1=T1w,T2=T2w selects and renames modalities; by default all are used, with their names in dataset.json.
    --leave_out and --person are as in datalist ixi.
    """
    from monai_tl.datasets import decathlon

    task = decathlon.read_task(Path(root))
    pairs = decathlon.pairs_of(modalities, task)
    chosen_values = ",".join(map(str, task.values(names(foreground)))) if foreground or not regions else ""
    values = replace(_values(chosen_values, regions, "", ignore, task.labels), labels=tuple(task.values(())))
    complete = decathlon.find_decathlon_cases(task, pairs, incomplete=incomplete)
    cases, chosen = leave_subjects_out(complete, leave_out, Path(root))
    splits, rule = _splits(cases, split, train, absent, seed, chosen, person)
    _write(cases, ",".join(pairs), values, splits, rule, Path(output or Path(root) / "datalist.json"))


def datalist_files(
    *,
    output: str,
    label: str,
    foreground: str = "",
    regions: str = "",
    label_names: str = "",
    labels: str = "",
    ignore: str = "",
    incomplete: Policy = "refuse",
    split: str = RATIOS,
    train: str = "train",
    absent: Policy = "refuse",
    leave_out: str = "",
    person: str = "",
    seed: Seed = 0,
    **patterns: str,
) -> None:
    """Write the datalist of any folder layout: --T1 PATTERN [--T2 PATTERN …] --label PATTERN --regions a=1,b=2 --output FILE.

    Each modality is a flag whose value is a path with {subject} in place of the id, e.g. --T1 't1/{subject}_T1.nii.gz'.
    --foreground 47,48 makes one region of several label values. --leave_out and --person are as in datalist ixi.
    """
    if not patterns:
        raise ConfigError("no modality: name one pattern per modality, e.g. --T1 't1/{subject}_T1.nii.gz'")
    values = _values(foreground, regions, labels, ignore, _names_in(label_names))
    complete = find_cases({**patterns, "label": label}, incomplete=incomplete)
    cases, chosen = leave_subjects_out(complete, leave_out, Path(output).parent)
    splits, rule = _splits(cases, split, train, absent, seed, chosen, person)
    _write(cases, ",".join(patterns), values, splits, rule, Path(output))


def study_lists(target: str) -> str:
    """Return the file of the 2019 study's splits in a bundle.

    Raises:
        ConfigError: if the bundle has no such file.
    """
    path = Path(target) / "splits" / "study.json"
    if not path.is_file():
        raise ConfigError(f"--split study: there is no file {path}; set --target to the bundle that has it")
    return str(path)


def check(
    *scans: str,
    output: str,
    modalities: str = "",
    foreground: str = "",
    regions: str = "",
    labels: str = "",
    track: str = "",
    target: str = "",
    anonymous: bool = False,
    processes: Count = 1,
) -> None:
    """Check scans before training: DATALIST_OR_FOLDER --output DIR [--processes 4] [--anonymous] [--target BUNDLE].

    Prints a table and writes DIR/qc.csv, DIR/check.html (worst cases first) and one picture per case. No case is omitted
    automatically: to omit suspect cases, use `monai_tl datalist … --leave_out DIR/qc.csv`. --track, --regions, --foreground and
    --labels are as in datalist brats. --target compares volumes with the plausible ones in the bundle's task.yaml.
    """
    from monai_tl.quality.candidates import find_candidates
    from monai_tl.quality.region_volumes import plausible_volumes

    if len(scans) != 1:
        raise ConfigError(f"check takes one datalist or folder; got {len(scans)}")
    values = label_values(foreground, "foreground"), label_values(labels, "labels")
    candidates = find_candidates(Path(scans[0]), names(modalities), *values, track, regions)
    plausible, lacking = plausible_volumes(Path(target), candidates.regions) if target else ({}, [])
    from monai_tl.quality.check import check_scans
    from monai_tl.quality.qc_table import format_regions, format_table, summary
    from monai_tl.report.quality.wall import write_page

    found = check_scans(candidates, Path(output), plausible=plausible, anonymous=anonymous, processes=processes)
    found = replace(found, notes=[*lacking, *found.notes])
    page = write_page(found, candidates)
    print(format_table(found.judged, candidates.modalities), *format_regions(found.regions, plausible), *found.notes, sep="\n")
    print(f"{summary(found.judged)}; see {page}, numbers in {Path(output) / 'qc.csv'}")
    faulty = [case for case in found.judged if case.measures.problems]
    lines = [f"{case.measures.subject}: {problem}" for case in faulty for problem in case.measures.problems]
    if not any(case.measures.shape for case in found.judged):
        raise DataError(list_problems(f"none of {len(found.judged)} cases could be measured:", lines))
    if faulty:
        others = ", the others are checked; correct these files, or omit these cases by --leave_out:"
        remedy = others if len(faulty) < len(found.judged) else "; correct these files:"
        raise PartlyDoneError(list_problems(f"{len(faulty)} of {len(found.judged)} cases have problems{remedy}", lines))


def _splits(
    cases: Cases, split: str, train: str, absent: str, seed: int, chosen: dict[str, str], person: str
) -> tuple[Splits, dict[str, Any]]:
    """Return the splits, drawn by ratios or read from a file of lists (without the ``chosen`` subjects), and their rule."""
    subjects = [case["subject"] for case in cases]
    persons = persons_of(subjects, person)
    rule: dict[str, Any]
    if split.endswith(".json"):
        listed = splits_from_file(Path(split), [*subjects, *chosen], train=train, absent=absent)
        refuse_selected_test(chosen, listed.get("test", ()), drawn=False)
        splits, rule = without(listed, chosen), {"file": Path(split).name, "train": train}
        refuse_divided(splits, persons, Path(split))
    else:
        ratios = numbers(split, "--split")
        splits = random_splits(subjects, ratios, seed, person_of=persons.of.__getitem__)
        rule = {"ratios": list(ratios), "seed": seed}
        refuse_selected_test(chosen, splits.get("test", ()), drawn=True)
    if persons.warning:
        print(f"monai_tl: warning: {persons.warning}", file=sys.stderr)
    print(persons.summary())
    return splits, {**rule, "persons": persons.record()}


@dataclass(frozen=True)
class _LabelValues:
    """What the flags say about label values: regions, all that may occur (none: any), and those that are ignored."""

    regions: Mapping[str, Sequence[int]]
    labels: Sequence[int]
    ignore: Sequence[int]


def _values(
    foreground: str, regions: str, labels: str, ignore: str, known: Mapping[str, int] | None = None, *, needed: bool = True
) -> _LabelValues:
    """Parse the flags about label values; --regions, if given, replaces --foreground."""
    found: Mapping[str, Sequence[int]] = read_regions(regions, known)
    if found and foreground and foreground != IXI_FOREGROUND:
        raise ConfigError(f"--regions and --foreground {foreground} are two ways to name what is segmented: omit one")
    if not found and not foreground and needed:
        raise ConfigError(
            f"name the regions, --regions {REGIONS_EXAMPLE}, or one region by its label values, --foreground 47,48"
        )
    if not found and (foreground or needed):
        found = {FOREGROUND: label_values(foreground, "foreground")}
    if found:
        check_regions(found)
    return _LabelValues(found, label_values(labels, "labels"), label_values(ignore, "ignore"))


def _names_in(path: str) -> dict[str, int] | None:
    """Return the label value of each name in a table; None without one."""
    return read_label_names(path) if path else None


def _join(values: Sequence[int]) -> str:
    return ",".join(map(str, values))


def _write(
    cases: Cases,
    modalities: str,
    values: _LabelValues,
    splits: Splits,
    rule: dict[str, Any],
    path: Path,
    track: Track | None = None,
) -> None:
    """Write a datalist."""
    datalist = make_datalist(
        cases,
        modalities=names(modalities),
        regions=values.regions,
        labels=sorted({*values.labels, *values.ignore}) if values.labels else None,
        ignore=values.ignore,
        splits=splits,
        split_rule=rule,
        left_out=cases.left_out | splits.left_out,
        track={"name": track.name, "coding": track.coding} if track else None,
    )
    from monai_tl.datasets.label_volumes import refuse_absent_regions
    from monai_tl.identity.datalist_doubts import doubts

    train = "train" in datalist.splits
    refuse_absent_regions(datalist.split("train") if train else datalist.cases, datalist.regions, "training " if train else "")
    for warning in doubts(datalist):
        print(f"monai_tl: warning: {warning}", file=sys.stderr)
    counts = ", ".join(f"{len(subjects)} {name}" for name, subjects in splits.items())
    print(f"{write_datalist(path, datalist)}: {len(cases)} cases ({counts}), {len(datalist.left_out)} left out")
