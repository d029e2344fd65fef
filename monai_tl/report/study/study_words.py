"""What a study's numbers say, in words that claim no more; and what they do not say."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from monai_tl.evaluation.compare import FEW
from monai_tl.report.study.arm_display import way
from monai_tl.report.study.study_facts import StudyFacts
from monai_tl.report.study.study_figures import subjects
from monai_tl.statistics import ArmComparison, ArmMean
from monai_tl.statistics.verdicts import shows_difference
from monai_tl.text import listed, number, plural, printable
from monai_tl.transfer.arms import arm_words

FEW_SEEDS = 5
NAMED = 3  # findings in the headline
SIZES_NAMED = 5
GAPS = 6  # places named where runs are missing
QUESTIONS = {
    "layers": "How many stages to hold still",
    "size": "How many training subjects a transfer saves",
    "depth": "How deep to fine-tune",
}


def study_title(study: StudyFacts) -> str:
    """Name the page by the study's question."""
    return QUESTIONS.get(study.plan.kind, "A study of transfer")


def study_lead(study: StudyFacts) -> str:
    """Say in a sentence what was done."""
    arms = plural(len(study.arms), "arm")
    told = f" ({', '.join(map(str, study.sizes))} training subjects)" if len(study.sizes) < 7 else ""
    sizes = plural(len(study.sizes), "size") + told
    seeds = plural(len(study.seeds), "seed")
    cases = plural(len(study.subjects), "test case")
    return f"{arms} × {sizes} × {seeds}: {plural(len(study.runs), 'run')}, scored by Dice on {cases}."


def unfinished(study: StudyFacts) -> str | None:
    """Say what is missing, None where nothing is."""
    finished, failed, waiting = (study.count(state) for state in ("finished", "failed", "waiting"))
    if study.outdated:
        return (
            f"{plural(len(study.outdated), 'run')} of these tables {'has' if len(study.outdated) == 1 else 'have'} other "
            f"weights now than were scored ({listed(study.outdated[:GAPS])}): repeat the study's command, which scores "
            "them again"
        )
    if study.newer:
        return (
            f"These tables are old: {plural(study.newer, 'run')} finished since they were gathered. Renew them: "
            f"monai_tl study gather --output {study.folder}"
        )
    if finished == len(study.runs) and finished:
        return None
    gaps = defaultdict(list)
    for run in study.runs:
        if run.state != "finished":
            gaps[run.arm, run.n].append(run.seed)
    places = [f"{arm_words(arm)} with {n} (seed {', '.join(map(str, sorted(seeds)[:5]))})" for (arm, n), seeds in gaps.items()]
    more = f" and {len(places) - GAPS} more" if len(places) > GAPS else ""
    missing = f" Missing: {'; '.join(places[:GAPS])}{more}." if places else ""
    return (
        f"Unfinished: of {plural(len(study.runs), 'planned run')} {finished} finished, {failed} failed, {waiting} "
        f"{'is' if waiting == 1 else 'are'} waiting.{missing} What follows is over the finished runs alone and will change."
    )


def blind(study: StudyFacts) -> str | None:
    """Say which runs found nothing in any validation, so that nothing chose their weights; None where all did."""
    runs = [run for run in study.runs if run.state == "finished" and run.iterations and not run.best_dice > 0]
    if not runs:
        return None
    places = Counter(f"{arm_words(run.arm)} with {run.n}" for run in runs)
    told = [f"{place} ({plural(count, 'run')})" for place, count in places.items()]
    more = f" and {len(told) - GAPS} more" if len(told) > GAPS else ""
    finished, where = sum(run.state == "finished" and run.iterations > 0 for run in study.runs), "; ".join(told[:GAPS]) + more
    return (
        f"Of {finished} finished runs {len(runs)} found nothing in any validation: {where}. "
        "Nothing chose their weights, and their scores say little: more iterations are needed, or validation cases with more "
        "to find."
    )


def seen(study: StudyFacts) -> str | None:
    """Say that test cases were the source's, None where none was or nobody accepted it."""
    overlap = study.plan.overlap
    if not overlap.get("accepted"):
        return None
    return printable(f"Transfers have seen test cases before: {'; '.join(overlap['said'])}. Scratch has not.")


def search(study: StudyFacts) -> str | None:
    """Say what a search for the depth decided on validation cases, None where there was none."""
    rounds = study.plan.decision.get("rounds")
    if not rounds:
        return None
    told = "; ".join(f"{arm_words(str(one['freeze']))} {number(one['mean_best_dice'])}" for one in rounds)
    chosen = study.plan.decision.get("chosen")
    none = "none is chosen, since nothing was found" if "chosen" in study.plan.decision else "the search goes on"
    end = f"chosen: {arm_words(str(chosen))}" if chosen is not None else none
    return f"The search went from the head inwards by mean best validation Dice: {told}; {end}."


def headline(study: StudyFacts, means: Sequence[ArmMean], comparisons: Sequence[ArmComparison]) -> str:
    """Say in a few sentences what these cases and seeds show, and no more."""
    if not study.scores:
        return "No run has been scored yet."
    against = to_reference(study, comparisons)
    if not against:
        best = max(means, key=lambda one: -1.0 if math.isnan(one.mean) else one.mean)
        told = f"{arm_words(best.arm)} with {subjects(best.n)} reaches the highest mean Dice, {number(best.mean)}"
        return f"{told}; there is no other arm with the same subjects to hold it against."
    if len(against) == 1:
        return against[0].verdict
    sure = list(filter(shows_difference, against))
    higher = sum(one.mean > 0 for one in sure)
    rest = len(against) - len(sure)
    name, comes, are = arm_words(against[0].against), "comes" if higher == 1 else "come", "is" if rest == 1 else "are"
    whole = (
        f"Of {len(against)} comparisons with {name} on the same test cases, {higher} {comes} out higher, "
        f"{len(sure) - higher} lower, and {rest} {are} not told apart."
    )
    if not sure:
        largest = max(against, key=lambda one: 0.0 if math.isnan(one.mean) else abs(one.mean))
        return f"{whole} Not even the largest difference is a finding: {largest.verdict}"
    return " ".join([whole, *(one.verdict for one in _clearest(sure))])


def may(comparisons: Sequence[ArmComparison]) -> list[str]:
    """Say what may be concluded."""
    told = []
    for against in dict.fromkeys(one.against for one in comparisons):
        own = [one for one in comparisons if one.against == against]
        ways = [f"{verdict}: {_places(own, verdict)}" for verdict in ("higher", "lower") if _places(own, verdict)]
        name = arm_words(against)
        if ways:
            told.append(f"Against {name}, on average over these test cases, {'; '.join(ways)}.")
        else:
            told.append(f"No arm is told from {name} here: that shows neither a difference nor that there is none.")
    widths = [f"{(one.high - one.low) / 2:.3f}" for one in comparisons if not math.isnan(one.low)]
    if widths:
        reach = min(widths) if min(widths) == max(widths) else f"{min(widths)} to {max(widths)}"
        told.append(
            f"The intervals reach about {reach} to either side: "
            "true differences much smaller than that could not have been seen."
        )
    return told


def may_not(study: StudyFacts, comparisons: Sequence[ArmComparison], beside: bool) -> list[str]:
    """Say what may not be concluded; ``beside``: published figures stand beside ours."""
    told = []
    if not all(map(shows_difference, comparisons)):
        told.append("That arms which are not told apart are equal: no finding is not the finding that there is nothing.")
    seeds, cases = len(study.scored_seeds), len(study.subjects)
    if seeds == 1:
        told.append(
            f"Anything about other trainings: there is one seed ({study.scored_seeds[0]}), and another may turn it round."
        )
    elif 1 < seeds < FEW_SEEDS:
        told.append(f"Much about other trainings: {seeds} seeds show only roughly how far trainings differ.")
    if 0 < cases < FEW:
        told.append(f"Much about other cases: there are {cases}, and fewer than {FEW} say little about others.")
    if study.scores:
        told.append("Anything about other scanners, tasks, sources or budgets: all runs share one of each.")
    if len(comparisons) > 1:
        told.append(
            f"From an interval alone: verdicts rest on p values corrected (Holm) for {len(comparisons)} comparisons, "
            "while each interval stands for itself."
        )
        told.append("How well the arm that looks best will do on new cases: it was picked on these, so expect less.")
    rising = Counter(
        arm_words(run.arm) for run in study.runs if run.state == "finished" and run.best_iteration == run.iterations
    )
    if rising:
        places = "; ".join(f"{arm} {count}" for arm, count in rising.items())
        told.append(
            f"That these arms had learned all they can: in {rising.total()} of {study.count('finished')} finished runs the "
            f"best validation is the last one ({places}), so Dice may still have been rising."
        )
    if beside:
        told.append("Anything from the distance to the published figures: theirs is another setting.")
    return told


def to_reference(study: StudyFacts, comparisons: Sequence[ArmComparison]) -> list[ArmComparison]:
    """Keep the comparisons with the arm that others are held against."""
    return [one for one in comparisons if one.against == study.reference]


def _places(comparisons: Sequence[ArmComparison], verdict: str) -> str:
    """Name the arms with this verdict, and at which sizes."""
    sizes, asked = defaultdict(list), Counter(one.arm for one in comparisons)
    for one in comparisons:
        if way(one) == verdict:
            sizes[one.arm].append(one.n)
    places = [f"{arm_words(arm)} ({_where(ns, asked[arm])})" for arm, ns in sizes.items()]
    return listed(places) if places else ""


def _where(sizes: Sequence[int], asked: int) -> str:
    if len(sizes) == asked > 1:
        return f"with all {asked} sizes"
    if len(sizes) > SIZES_NAMED:
        return f"with {len(sizes)} of {asked} sizes"
    return f"with {listed([str(n) for n in sizes])}"


def _clearest(sure: Sequence[ArmComparison]) -> list[ArmComparison]:
    """Choose what the headline names: the largest difference each way, then the next largest."""
    ranked = sorted(sure, key=lambda one: -abs(one.mean))
    first = [next((one for one in ranked if (one.mean > 0) == up), None) for up in (True, False)]
    kept = [one for one in first if one is not None]
    return [*kept, *(one for one in ranked if one not in kept)][:NAMED]
