"""Sentences of the report of runs: findings, their limitations, and how each run was trained."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from monai_tl.evaluation.compare import FEW, RunDifference, ways_apart
from monai_tl.report.runs.all_means import unequal_regions
from monai_tl.report.runs.groups import Group
from monai_tl.report.runs.read_runs import Run
from monai_tl.report.runs.scored_by import ScoredBy
from monai_tl.text import listed, name_some, plural, printable
from monai_tl.training.metrics_table import TRAIN_LONGER, best_is_last

RISING = 5  # runs that should train longer, named in a caveat


def title(groups: Sequence[Group], split: str) -> str:
    """Return the title of the page: the segmented regions, the score and the split."""
    tasks = list(dict.fromkeys(group.title for group in groups))
    names = listed(tasks) if len(tasks) < 4 else plural(len(tasks), "task")
    runs = "comparison of runs" if any(len(group.scored) > 1 for group in groups) else "runs"
    return f"Segmentation of {names}: {runs} by {_on_page(groups).what}, {split} split"


def lead(groups: Sequence[Group], split: str) -> str:
    """Return a sentence on the content of the page."""
    runs = [run for group in groups for run in group.runs]
    made = [plural(sum(not run.elsewhere for run in runs), "training run")] if not all(run.elsewhere for run in runs) else []
    elsewhere = sum(run.elsewhere for run in runs)
    made += [f"{plural(elsewhere, 'set')} of segmentations made elsewhere"] if elsewhere else []
    scored = sum(len(group.scored) for group in groups)
    tasks = f" in {len(groups)} groups, which are not compared with each other" if len(groups) > 1 else ""
    if scored == 0:
        return f"{listed(made)}{tasks}; no run has been evaluated on the {split} split yet."
    how = "scored" if scored == len(runs) else f"{scored} of them scored"
    cases = f" on the same {plural(len(groups[0].subjects), 'case')}" if len(groups) == 1 else " on cases"
    by = _on_page(groups)
    unit = f"in {by.metric.unit}, " if by.metric.unit else ""
    return f"{listed(made)}{tasks}, {how} by {by.what} ({unit}{by.better}){cases} of the {split} split."


def _on_page(groups: Sequence[Group]) -> ScoredBy:
    """Return the score of the page, with the tolerance if all groups share it."""
    tolerances = {group.by.tolerance for group in groups if group.scored}
    shared = tolerances.pop() if len(tolerances) == 1 else ""
    return replace(groups[0].by, several=any(group.by.several for group in groups), tolerance=shared)


def finding(group: Group) -> str:
    """Return a sentence or two on what the scores of these cases show."""
    by = group.by
    if group.comparison is None:
        how = f"scored by {by.what}" if group.evaluated else "evaluated"
        return f"No run of this task has been {how} yet."
    first, *others = group.comparison.runs
    if not others:
        cases = plural(first.n - first.undefined, "case")
        alone = f"{first.name} reaches a mean {by.metric.label} of {by.text(first.mean)}{by.where} over {cases}"
        return f"{alone}; there is no other run to compare with."
    differences = group.comparison.differences
    if len(differences) == 1:
        return _single_difference(differences[0], group)
    count = {word: sum(difference.verdict == word for difference in differences) for word in ("higher", "lower")}
    rest = len(differences) - sum(count.values())
    compared = f"Of {len(differences)} runs compared with {first.name} by {by.metric.label}{by.where}"
    higher = f"{count['higher']} score{'s' * (count['higher'] == 1)} {by.verdict('higher')}"
    counts = f"{higher}, {count['lower']} {by.verdict('lower')}, and {rest} without a clear difference"
    sentence = f"{compared} on the same {plural(first.n, 'case')}, {counts}."
    if not group.ranked:
        return sentence
    best = "highest" if by.metric.higher_is_better else "lowest, so best,"
    return f"{sentence} The {best} mean {by.metric.label} is {by.text(group.ranked[0].mean)}, of {group.ranked[0].name}."


def caveats(group: Group) -> list[str]:
    """Return the limitations of the finding, a sentence each."""
    sentences = [f"Not compared with another group: {group.apart}."] if group.apart else []
    sentences += [f"{run.name}: {run.seen}." for run in group.scored if run.seen]
    if elsewhere := [run.name for run in group.scored if run.elsewhere]:
        unknown = "whether these cases were used to make them is unknown"
        sentences.append(f"{name_some(elsewhere)}: segmentations made elsewhere; {unknown}.")
    rising = [run.name for run in group.scored if best_is_last(run.curve)]
    if rising:
        more = f" and {len(rising) - RISING} more" if len(rising) > RISING else ""
        sentences.append(f"{', '.join(rising[:RISING])}{more}: {TRAIN_LONGER}.")
    results = group.comparison.runs if group.comparison else ()
    fewest = min((run.n - run.undefined for run in results), default=FEW)
    if fewest < 2:
        sentences.append(f"{plural(fewest, 'case')} with a defined {group.by.metric.label}: too few for any interval.")
    elif fewest < FEW:
        sentences.append(f"{fewest} cases are few: with fewer than {FEW}, a single outlier may decide the result.")
    unequal = unequal_regions(group)
    if unequal:
        other = f"{group.by.metric.label} is undefined in other regions than in {results[0].name}"
        sentences.append(f"{name_some(unequal)}: {other}, so means are over unequal regions there; compare by --region.")
    ways = ways_apart({run.name: run.record for run in group.scored if run.record and not run.elsewhere})
    sentences += [f"{way[0].upper()}{way[1:]}." for way in ways]
    sentences += [f"{run.name} is not compared: its {printable(run.refused)}." for run in group.runs if run.refused]
    if len(results) > 1:
        sentences += _seeds([run for run in group.scored if not run.elsewhere])
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
    if run.elsewhere:
        files = plural(len(run.record.predictions), "file") if run.record else "files"
        return f"Segmentations made elsewhere: {files}, scored as they are. How they were made is not recorded."
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
    strategy = f" Strategy: {printable(summary.strategy)} ({printable(summary.paper)})." if summary.strategy else ""
    return f"Transfer from {printable(summary.source)} (sha256 {summary.sha256}…{dice}): weights {weights}; {stages}.{strategy}"


def cost(run: Run) -> str:
    """Return what a run trained and what that cost; empty if nothing is recorded."""
    trained = [f"{run.transfer.trainable} trained"] if run.transfer.stages else []
    if run.costs:
        step = statistics.median(row.step_seconds for row in run.costs)
        memory = max(row.memory_mib for row in run.costs)
        trained += [f"{step:.3f} s per step (median)", f"peak memory {memory:,.0f} MiB"]
    return f"{', '.join(trained)}." if trained else ""


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


def setting(run: Run) -> str:
    """Return a run's seed, device and versions as text; of segmentations made elsewhere, what they were scored against."""
    if run.elsewhere:
        if run.record is None:
            return "Not scored on this split."
        against = f"{run.record.datalist} (sha256 {run.record.datalist_sha256[:12]}…)"
        return printable(f"Scored against {against} by monai_tl {run.record.monai_tl}.")
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
    by, (first, second) = group.by, group.comparison.runs
    mean = f"{second.name} reaches a mean {by.metric.label} of {by.text(second.mean)}{by.where}"
    means = f"{mean}, {first.name} {by.text(first.mean)}"
    if not difference.n:
        return f"{means}; no case is defined in both, so their difference is unknown."
    change = by.signed(difference.mean)
    on = f"a mean difference of {change} over the same {plural(difference.n, 'case')}"
    if not difference.interval.known:
        return f"{means}: {on}, too few for any conclusion."
    ends = f"95 % interval {by.signed(difference.interval.low)} to {by.signed(difference.interval.high)}"
    if difference.verdict in ("higher", "lower"):
        return f"{means}: {on} ({ends}), so {second.name} scores {by.verdict(difference.verdict)} on these cases."
    return f"{means}: {on} ({ends}), so these cases show no clear difference."


def _seeds(runs: Sequence[Run]) -> list[str]:
    if not runs:
        return []
    seeds = list(dict.fromkeys(run.seed for run in runs if run.seed is not None))
    if len(seeds) == 1:
        return [f"All trainings share one seed ({printable(str(seeds[0]))}); results may reverse with other seeds."]
    if seeds:
        return [f"Each run is one training with one seed ({len(seeds)} seeds in total); results are not averaged over seeds."]
    return ["No seeds are recorded; results may reverse with other seeds."]
