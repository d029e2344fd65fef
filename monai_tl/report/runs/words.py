"""Numbers and findings in words that claim no more than the cases bear out."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_tl.evaluation.compare import FEW, DiceDifference, ways_apart
from monai_tl.report.runs.groups import Group
from monai_tl.report.runs.read_runs import Run
from monai_tl.text import listed, number, plural, printable, signed
from monai_tl.training.metrics_table import TRAIN_LONGER, best_is_last

RISING = 5  # runs named that should train longer


def title(groups: Sequence[Group], split: str) -> str:
    """Name the page by what is segmented."""
    tasks = list(dict.fromkeys(group.title for group in groups))
    told = listed(tasks) if len(tasks) < 4 else plural(len(tasks), "task")
    return (
        f"Segmentation of {told}: {'runs compared' if any(len(g.scored) > 1 for g in groups) else 'runs'} on the {split} split"
    )


def lead(groups: Sequence[Group], split: str) -> str:
    """Say in a sentence what is shown."""
    runs = sum(len(group.runs) for group in groups)
    scored = sum(len(group.scored) for group in groups)
    tasks = f" of {plural(len(groups), 'task')}, which are never compared with each other" if len(groups) > 1 else ""
    if scored == 0:
        return f"{plural(runs, 'training run')}{tasks}; none has been evaluated on the {split} split yet."
    rest = "" if scored == runs else f", {scored} of them evaluated"
    cases = f" on the same {plural(len(groups[0].subjects), 'case')}" if len(groups) == 1 else ""
    return (
        f"{plural(runs, 'training run')}{tasks}{rest}, scored by Dice overlap with the reference{cases} of the {split} split."
    )


def finding(group: Group) -> str:
    """Say in a sentence or two what these cases show, and no more."""
    if group.comparison is None:
        return "No run of this task has been evaluated yet."
    first, *others = group.comparison.runs
    if not others:
        cases = plural(first.n - first.undefined, "case")
        return (
            f"{first.name} reaches a mean Dice of {number(first.mean)} over {cases}; there is no other run to compare it with."
        )
    found = group.comparison.differences
    if len(found) == 1:
        return _one(found[0], group)
    highest = max(group.comparison.runs, key=lambda run: -1.0 if math.isnan(run.mean) else run.mean)
    count = {word: sum(one.verdict == word for one in found) for word in ("higher", "lower")}
    rest = len(found) - sum(count.values())
    return (
        f"Of {len(found)} runs compared with {first.name} on the same {plural(first.n, 'case')}, {count['higher']} score"
        f"{'s' * (count['higher'] == 1)} higher, {count['lower']} lower, and {rest} cannot be told from it. "
        f"The highest mean Dice is {number(highest.mean)}, of {highest.name}."
    )


def caveats(group: Group) -> list[str]:
    """Say what makes the finding weak."""
    told = [f"{run.name}: {run.seen}." for run in group.scored if run.seen]
    rising = [run.name for run in group.scored if best_is_last(run.curve)]
    if rising:
        more = f" and {len(rising) - RISING} more" if len(rising) > RISING else ""
        told.append(f"{', '.join(rising[:RISING])}{more}: {TRAIN_LONGER}.")
    results = group.comparison.runs if group.comparison else ()
    fewest = min((run.n - run.undefined for run in results), default=FEW)
    if fewest < 2:
        told.append(f"{plural(fewest, 'case')} with a defined Dice: too few for any interval.")
    elif fewest < FEW:
        told.append(f"{fewest} cases are few: with fewer than {FEW}, one that is unlike the others may decide.")
    ways = ways_apart({run.name: run.record for run in group.scored if run.record})
    told += [f"{one[0].upper()}{one[1:]}." for one in ways]
    told += [f"{run.name} is not compared: its {printable(run.refused)}." for run in group.runs if run.refused]
    if len(results) > 1:
        told += _seeds(group.scored)
    if len(results) > 3:
        told.append(
            f"These are {len(results) - 1} comparisons: "
            "where nothing differs, about one interval in twenty excludes 0 by chance."
        )
    return told


def origin(run: Run) -> str:
    """Say where a run's first weights came from."""
    account = run.transfer
    held = ", ".join(account.frozen)
    if account.kind == "none":
        return "No transfer: trained from random weights by its training config alone."
    if account.kind == "scratch":
        return "Trained from scratch: random weights, every stage trained."
    if account.kind == "random prefix":
        return f"Random prefix: no source; {held} held still at random weights."
    if account.kind == "untrained":
        return f"Nothing was trained: the weights of {printable(account.source)} (sha256 {account.sha256}…) as they are."
    weights = ", ".join(f"{account.count(fate)} {fate}" for fate in ("copied", "adapted", "fresh"))
    still = f"{held} held still" if held else "no stage held still"
    dice = "" if account.source_dice is None else f", validation Dice {account.source_dice:.3f} in its own task"
    return f"Transfer from {printable(account.source)} (sha256 {account.sha256}…{dice}): weights {weights}; {still}."


def command(run: Run) -> str:
    """Give the command that made a run as a shell takes it, programs by their names instead of their paths."""
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
    """Give the command that scores a run and draws its cases."""
    return f"monai_tl evaluate --run {shlex.quote(printable(str(run.folder)))} --split {shlex.quote(split)}"


def setting(run: Run) -> str:
    """Name a run's seed, device and versions."""
    device = run.provenance.get("device")
    where = dict(device) if isinstance(device, dict) else {}
    versions: Any = run.provenance.get("versions")
    gpus = where.get("gpus") if str(where.get("asked", "")).startswith("cuda") else None
    hardware = ", ".join(map(str, gpus)) if isinstance(gpus, list) and gpus else where.get("processor", "")
    told = [f"seed {run.seed}" if run.seed is not None else "seed not recorded"]
    told.append(f"device {where['asked']} ({hardware})" if "asked" in where else "device not recorded")
    if isinstance(versions, dict) and versions:
        told += [f"{name} {version}" for name, version in versions.items()]
    else:
        told.append("versions not recorded")
    return printable(", ".join(told))


def _one(found: DiceDifference, group: Group) -> str:
    assert group.comparison
    first, second = group.comparison.runs
    means = f"{second.name} reaches a mean Dice of {number(second.mean)}, {first.name} {number(first.mean)}"
    if not found.n:
        return f"{means}; no case is defined in both, so nothing can be said about their difference."
    by = f"a mean difference of {signed(found.mean)} over the same {plural(found.n, 'case')}"
    if found.verdict == "too few cases":
        return f"{means}: {by}, which is too few to tell them apart."
    ends = f"95 % interval {signed(found.interval.low)} to {signed(found.interval.high)}"
    if found.verdict == "not told apart":
        return f"{means}: {by} ({ends}), so these cases do not tell them apart."
    return f"{means}: {by} ({ends}), so {second.name} scores {found.verdict} on these cases."


def _seeds(runs: Sequence[Run]) -> list[str]:
    seeds = list(dict.fromkeys(run.seed for run in runs if run.seed is not None))
    if len(seeds) == 1:
        return [f"All runs share one seed ({printable(str(seeds[0]))}); another seed may turn the result round."]
    if seeds:
        return [f"Each run is one training with one seed ({len(seeds)} seeds in all); seeds are not averaged here."]
    return ["No seeds are recorded; another training may turn the result round."]
