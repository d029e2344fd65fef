"""Volumes of regions: in how many cases each occurs, and whether a case's are plausible, present and like the cohort's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from monai_tl.datasets.regions import FOREGROUND, Regions, is_softmax
from monai_tl.errors import ConfigError, did_you_mean
from monai_tl.quality.cohort import LEAST_COHORT, Compared, Suspicion
from monai_tl.quality.measures import Measures
from monai_tl.text import name_some
from monai_tl.workflow.merged_config import bundle_config, is_expression, merge_configs
from monai_tl.workflow.task_file import read_task_file

Ranges = Mapping[str, tuple[float, float]]  # region -> lowest and highest plausible volume, ml
RATIO = 4 / 3  # smallest relevant factor between a region's volume and the cohort's median: a quarter less, or a third more
ABSENT = 3.0  # weight of a region that one case alone lacks


class RegionSummary(NamedTuple):
    """A region in all cases: ``cases`` of ``labelled`` have it; volumes in ml are of these, None if there is none."""

    name: str
    values: tuple[int, ...]
    cases: int
    labelled: int
    median_ml: float | None
    range_ml: tuple[float, float] | None


def summarise_regions(cases: Sequence[Measures], regions: Regions) -> list[RegionSummary]:
    """Return for each region in how many labels it occurs, and its volumes there."""
    labelled = [case for case in cases if case.foreground_ml is not None]
    found = []
    for name, values in regions.items():
        ml = [case.regions_ml[name] for case in labelled if case.regions_ml.get(name)]
        median, extremes = (float(np.median(ml)), (min(ml), max(ml))) if ml else (None, None)
        found.append(RegionSummary(name, tuple(values), len(ml), len(labelled), median, extremes))
    return found


def nowhere_note(summaries: Sequence[RegionSummary]) -> str:
    """Return a sentence on the regions that occur in no label; empty if there is none."""
    lost = [f"{one.name} ({', '.join(map(str, one.values))})" for one in summaries if one.labelled and not one.cases]
    if not lost:
        return ""
    which = "Region" if len(lost) == 1 else "Regions"
    return (
        f"{which} in none of the {summaries[0].labelled} labels: {name_some(lost, 12)}. Correct the label values, or omit "
        f"{'it' if len(lost) == 1 else 'them'}: training refuses a class that no training label has."
    )


def plausible_volumes(target: Path, regions: Regions) -> tuple[dict[str, tuple[float, float]], list[str]]:
    """Return the plausible volumes that a bundle's ``task.yaml`` has for regions, and notes on regions without one.

    A single region ``foreground`` is the bundle's class, as in training.

    Raises:
        ConfigError: if there is no bundle, or it has none for any of them.
    """
    config, task = bundle_config(target, "train"), read_task_file(target)
    named = {name: name for name in regions}
    if list(regions) == [FOREGROUND]:
        named = {FOREGROUND: _only_class(config)}
    found = {name: task.plausible_ml[of] for name, of in named.items() if of in task.plausible_ml}
    lacking = [of for name, of in named.items() if name not in found]
    if not found:
        known = did_you_mean(lacking[0], task.plausible_ml) if task.plausible_ml else "it has no plausible_ml"
        raise ConfigError(
            f"--target {target}: {task.path} has no plausible volume of {name_some(lacking)}: {known}; omit --target, or add "
            f"one in ml to that file, e.g. plausible_ml: {{{lacking[0]}: [1.5, 5.5]}}"
        )
    note = f"{task.path} has no plausible volume of {name_some(lacking, 12)}: compared only within the cohort."
    return found, [note] if lacking else []


def _only_class(config: Path) -> str:
    """Return the name of a training config's only class; ``foreground`` if it has several."""
    classes = merge_configs([config]).get("classes")
    if not isinstance(classes, list) or is_expression(classes):
        return FOREGROUND
    names = classes[1:] if is_softmax(classes) else classes
    return str(names[0]) if len(names) == 1 else FOREGROUND


def against_plausible(case: Measures, plausible: Ranges) -> list[Suspicion]:
    """Return suspicions about volumes outside their plausible range; an absent region has none."""
    found = []
    for name, (low, high) in plausible.items():
        ml = case.regions_ml.get(name)
        if ml and not low <= ml <= high:
            reason = f"{shown_region(name)} of {ml:.3g} ml; plausible are {low:g} to {high:g} ml"
            found.append(Suspicion("volume", reason, min(low / ml, 10) if ml < low else ml / high))
    return found


def lone_absences(cases: Sequence[Measures]) -> list[tuple[str, Suspicion]]:
    """Return suspicions about cases without a region that all other cases have; it is legal if others lack it, too."""
    labelled = [case for case in cases if case.foreground_ml]
    if len(labelled) < LEAST_COHORT:
        return []
    found = []
    for name in labelled[0].regions_ml:
        without = [case.subject for case in labelled if not case.regions_ml.get(name)]
        if len(without) == 1:
            reason = f"{name} is absent; the {len(labelled) - 1} other cases have it"
            found.append((without[0], Suspicion("label", reason, ABSENT)))
    return found


def compared_volumes(cases: Sequence[Measures]) -> list[Compared]:
    """Return the volumes to compare within the cohort: of each region where it occurs, by their ratio.

    Volumes vary by factors: tumours of a tenth and of ten times the median are usual, which a difference would not allow for.
    Sides of the hippocampus are compared as such, see `monai_tl.quality.outliers`.
    """
    first = next((case for case in cases if case.regions_ml), None)
    if first is None or first.left_ml is not None:
        return []
    return [
        Compared(f"volume of {shown_region(name)}", "ml", _volume_of(name), False, lambda _: RATIO, ratio=True)
        for name in first.regions_ml
    ]


def shown_region(region: str) -> str:
    """Return the name of a region for messages; a single one without a name is the label."""
    return "the label" if region == FOREGROUND else region


def _volume_of(region: str) -> Callable[[Measures], float | None]:
    """Return a function that returns the volume of a region in a case, None if it is absent."""
    return lambda case: case.regions_ml.get(region) or None
