"""Sentences of the report of runs: findings, their limitations, and how each run was trained."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_tl.evaluation.compare import FEW, RunDifference, ways_apart
from monai_tl.report.runs.groups import Group
from monai_tl.report.runs.read_runs import Run
from monai_tl.text import listed, number, plural, printable, signed
from monai_tl.training.metrics_table import TRAIN_LONGER, best_is_last

RISING = 5  # runs that should train longer, named in a caveat


def title(groups: Sequence[Group], split: str) -> str:
    """Return the title of the page: the segmented classes and the split."""
    tasks = list(dict.fromkeys(group.title for group in groups))
    names = listed(tasks) if len(tasks) < 4 else plural(len(tasks), "task")
    runs = "comparison of runs" if any(len(group.scored) > 1 for group in groups) else "runs"
    return f"Segmentation of {names}: {runs} on the {split} split"


def lead(groups: Sequence[Group], split: str) -> str:
    """Return a sentence on the content of the page."""
    runs = sum(len(group.runs) for group in groups)
    scored = sum(len(group.scored) for group in groups)
    tasks = f" of {plural(len(groups), 'task')}, which are not compared with each other" if len(groups) > 1 else ""
    if scored == 0:
        return f"{plural(runs, 'training run')}{tasks}; no run has been evaluated on the {split} split yet."
    rest = "" if scored == runs else f", {scored} of them evaluated"
    cases = f" on the same {plural(len(groups[0].subjects), 'case')}" if len(groups) == 1 else ""
    return (
        f"{plural(runs, 'training run')}{tasks}{rest}, scored by Dice overlap with the reference{cases} of the {split} split."
    )


def finding(group: Group) -> str:
    """Return a sentence or two on what the scores of these cases show."""
    if group.comparison is None:
        return "No run of this task has been evaluated yet."
    first, *others = group.comparison.runs
    if not others:
        cases = plural(first.n - first.undefined, "case")
        return f"{first.name} reaches a mean Dice of {number(first.mean)} over {cases}; there is no other run to compare with."
    differences = group.comparison.differences
    if len(differences) == 1:
        return _single_difference(differences[0], group)
    highest = max(group.comparison.runs, key=lambda run: -1.0 if math.isnan(run.mean) else run.mean)
    count = {word: sum(difference.verdict == word for difference in differences) for word in ("higher", "lower")}
    rest = len(differences) - sum(count.values())
    return (
        f"Of {len(differences)} runs compared with {first.name} on the same {plural(first.n, 'case')}, {count['higher']} score"
        f"{'s' * (count['higher'] == 1)} higher, {count['lower']} lower, and {rest} without a clear difference. "
        f"The highest mean Dice is {number(highest.mean)}, of {highest.name}."
    )


def caveats(group: Group) -> list[str]:
    """Return the limitations of the finding, a sentence each."""
    sentences = [f"{run.name}: {run.seen}." for run in group.scored if run.seen]
    rising = [run.name for run in group.scored if best_is_last(run.curve)]
    if rising:
        more = f" and {len(rising) - RISING} more" if len(rising) > RISING else ""
        sentences.append(f"{', '.join(rising[:RISING])}{more}: {TRAIN_LONGER}.")
    results = group.comparison.runs if group.comparison else ()
    fewest = min((run.n - run.undefined for run in results), default=FEW)
    if fewest < 2:
        sentences.append(f"{plural(fewest, 'case')} with a defined Dice: too few for any interval.")
    elif fewest < FEW:
        sentences.append(f"{fewest} cases are few: with fewer than {FEW}, a single outlier may decide the result.")
    ways = ways_apart({run.name: run.record for run in group.scored if run.record})
    sentences += [f"{way[0].upper()}{way[1:]}." for way in ways]
    sentences += [f"{run.name} is not compared: its {printable(run.refused)}." for run in group.runs if run.refused]
    if len(results) > 1:
        sentences += _seeds(group.scored)
    if len(results) > 3:
        sentences.append(
            f"These are {len(results) - 1} comparisons: "
            "if nothing differs, about one interval in twenty still excludes 0 by chance."
        )
    return sentences


def origin(run: Run) -> str:
    """Return a sentence on where a run's initial weights came from."""
    summary = run.transfer
    frozen = ", ".join(summary.frozen)
    if summary.kind == "none":
        return "No transfer: random initial weights, trained with the training config alone."
    if summary.kind == "scratch":
        return "Trained from scratch: random initial weights, every stage trained."
    if summary.kind == "random prefix":
        return f"Random prefix: no source; {frozen} frozen at random weights."
    if summary.kind == "untrained":
        return f"Not fine-tuned: the weights of {printable(summary.source)} (sha256 {summary.sha256}…), unchanged."
    weights = ", ".join(f"{summary.count(fate)} {fate}" for fate in ("copied", "adapted", "fresh"))
    stages = f"{frozen} frozen" if frozen else "no stage frozen"
    dice = "" if summary.source_dice is None else f", validation Dice {summary.source_dice:.3f} in its own task"
    return f"Transfer from {printable(summary.source)} (sha256 {summary.sha256}…{dice}): weights {weights}; {stages}."


def command(run: Run) -> str:
    """Return the command that made a run, quoted for a shell; programs are given by name, not by path."""
    words = run.provenance.get("command")
    if not isinstance(words, list) or not words:
        return ""
    program, *arguments = (printable(str(word)) for word in words)
    if Path(program).name == "__main__.py":
        package = Path(program).parent
        program = f"python -m {'monai.bundle' if package.name == 'bundle' else package.name}"
    else:
        program = shlex.quote(Path(program).name)
    return " ".join([program, *map(shlex.quote, arguments)])


def evaluate_command(run: Run, split: str) -> str:
    """Return the command that scores a run and draws its cases."""
    return f"monai_tl evaluate --run {shlex.quote(printable(str(run.folder)))} --split {shlex.quote(split)}"


def setting(run: Run) -> str:
    """Return a run's seed, device and versions as text."""
    device = run.provenance.get("device")
    where = dict(device) if isinstance(device, dict) else {}
    versions: Any = run.provenance.get("versions")
    gpus = where.get("gpus") if str(where.get("asked", "")).startswith("cuda") else None
    hardware = ", ".join(map(str, gpus)) if isinstance(gpus, list) and gpus else where.get("processor", "")
    parts = [f"seed {run.seed}" if run.seed is not None else "seed not recorded"]
    parts.append(f"device {where['asked']} ({hardware})" if "asked" in where else "device not recorded")
    if isinstance(versions, dict) and versions:
        parts += [f"{name} {version}" for name, version in versions.items()]
    else:
        parts.append("versions not recorded")
    return printable(", ".join(parts))


def _single_difference(difference: RunDifference, group: Group) -> str:
    assert group.comparison
    first, second = group.comparison.runs
    means = f"{second.name} reaches a mean Dice of {number(second.mean)}, {first.name} {number(first.mean)}"
    if not difference.n:
        return f"{means}; no case is defined in both, so their difference is unknown."
    by = f"a mean difference of {signed(difference.mean)} over the same {plural(difference.n, 'case')}"
    if not difference.interval.known:
        return f"{means}: {by}, too few for any conclusion."
    ends = f"95 % interval {signed(difference.interval.low)} to {signed(difference.interval.high)}"
    if difference.verdict in ("higher", "lower"):
        return f"{means}: {by} ({ends}), so {second.name} scores {difference.verdict} on these cases."
    return f"{means}: {by} ({ends}), so these cases show no clear difference."


def _seeds(runs: Sequence[Run]) -> list[str]:
    seeds = list(dict.fromkeys(run.seed for run in runs if run.seed is not None))
    if len(seeds) == 1:
        return [f"All runs share one seed ({printable(str(seeds[0]))}); results may reverse with other seeds."]
    if seeds:
        return [f"Each run is one training with one seed ({len(seeds)} seeds in total); results are not averaged over seeds."]
    return ["No seeds are recorded; results may reverse with other seeds."]
