"""Sentences of a study's report: what its numbers support, and what they do not support."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from monai_tl.evaluation.compare import FEW
from monai_tl.report.study.study_facts import StudyFacts
from monai_tl.report.study.study_figures import subjects
from monai_tl.statistics import ArmComparison, ArmMean
from monai_tl.statistics.verdicts import shows_difference, way
from monai_tl.text import listed, number, plural, printable
from monai_tl.transfer.arms import arm_words

FEW_SEEDS = 5
NAMED = 3  # findings in the headline
SIZES_NAMED = 5  # sizes listed in a sentence
GAPS = 6  # arms and sizes listed in a warning
QUESTIONS = {
    "layers": "How many stages to freeze",
    "size": "How many training subjects a transfer saves",
    "depth": "How deep to fine-tune",
}


def study_title(study: StudyFacts) -> str:
    """Return the title of the page, the study's question."""
    return QUESTIONS.get(study.plan.kind, "A study of transfer")


def study_lead(study: StudyFacts) -> str:
    """Return a sentence on the runs of the study."""
    arms = plural(len(study.arms), "arm")
    counts = f" ({', '.join(map(str, study.sizes))} training subjects)" if len(study.sizes) < 7 else ""
    sizes = plural(len(study.sizes), "size") + counts
    seeds = plural(len(study.seeds), "seed")
    cases = plural(len(study.subjects), "test case")
    return f"{arms} × {sizes} × {seeds}: {plural(len(study.runs), 'run')}, scored by {scored_by(study)} on {cases}."


def scored_by(study: StudyFacts) -> str:
    """Return the metric and the region of the primary analysis, with the tolerance if it has one."""
    measure, region = study.outcome.measure, study.outcome.region
    if measure.name != "nsd" or not study.regions:
        return measure.label
    return f"{measure.label} with a tolerance of {study.tolerance_of([region] if region else study.regions)}"


def unfinished(study: StudyFacts) -> str | None:
    """Return a warning about missing or outdated runs, None if all are finished and gathered."""
    finished, failed, waiting = (study.count(state) for state in ("finished", "failed", "waiting"))
    if study.outdated:
        return (
            f"The weights of {plural(len(study.outdated), 'run')} in these tables have changed since scoring "
            f"({listed(study.outdated[:GAPS])}): repeat the study's command, which scores them again"
        )
    if study.newer:
        return (
            f"These tables are outdated: {plural(study.newer, 'run')} finished since they were gathered. Update them: "
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
        f"{'is' if waiting == 1 else 'are'} waiting.{missing} All results below are of the finished runs only and will change."
    )


def without_dice(study: StudyFacts) -> str | None:
    """Return a warning about runs with a validation Dice of 0 throughout, None if there are none."""
    runs = [run for run in study.runs if run.state == "finished" and run.iterations and not run.best_dice > 0]
    if not runs:
        return None
    places = Counter(f"{arm_words(run.arm)} with {run.n}" for run in runs)
    counts = [f"{place} ({plural(count, 'run')})" for place, count in places.items()]
    more = f" and {len(counts) - GAPS} more" if len(counts) > GAPS else ""
    finished = sum(run.state == "finished" and run.iterations > 0 for run in study.runs)
    return (
        f"Of {plural(finished, 'finished run')}, {len(runs)} never reached a {study.validation_dice} above 0: "
        f"{'; '.join(counts[:GAPS])}{more}. Their weights could not be chosen by validation, so their scores mean little. "
        "Train for more iterations, or use validation cases with more foreground."
    )


def seen(study: StudyFacts) -> str | None:
    """Return a warning that the source has seen test cases, None if it has not or the user did not accept this."""
    overlap = study.plan.overlap
    if not overlap.get("accepted"):
        return None
    return printable(f"The source of the transfers has seen test cases: {'; '.join(overlap['said'])}. Scratch has not.")


def search(study: StudyFacts) -> str | None:
    """Return a sentence on the result of a depth search, None if there was no search."""
    rounds = study.plan.decision.get("rounds")
    if not rounds:
        return None
    means = "; ".join(f"{arm_words(str(one['freeze']))} {number(one['mean_best_dice'])}" for one in rounds)
    chosen = study.plan.decision.get("chosen")
    none = "no depth chosen, since no Dice is high enough" if "chosen" in study.plan.decision else "the search is not finished"
    end = f"chosen: {arm_words(str(chosen))}" if chosen is not None else none
    return f"Depth search from the head inwards, by mean best {study.validation_dice}: {means}; {end}."


def headline(study: StudyFacts, means: Sequence[ArmMean], comparisons: Sequence[ArmComparison]) -> str:
    """Return a few sentences on what the scores of these cases and seeds show."""
    if not study.scores:
        return "No run has been scored yet."
    against, measure = to_reference(study, comparisons), study.outcome.measure
    if not against:
        defined = [mean for mean in means if not math.isnan(mean.mean)]
        if not defined:
            return f"No arm has a case whose {measure.label} is defined."
        best = (max if measure.higher_is_better else min)(defined, key=lambda mean: mean.mean)
        reached = f"{arm_words(best.arm)} with {subjects(best.n)} has the best mean {measure.label}, {measure.text(best.mean)}"
        return f"{reached}; there is no other arm with the same number of subjects to compare with."
    if len(against) == 1:
        return against[0].verdict
    clear = list(filter(shows_difference, against))
    better = sum(way(result) == "better" for result in clear)
    counts = (
        f"Of {len(against)} comparisons with {arm_words(against[0].against)} on the same test cases by {measure.label}, "
        f"{better} {'is' if better == 1 else 'are'} better, {len(clear) - better} worse, and {len(against) - len(clear)} "
        "without a clear difference."
    )
    if not clear:
        largest = max(against, key=lambda result: 0.0 if math.isnan(result.mean) else abs(result.mean))
        return f"{counts} Even the largest difference is not conclusive: {largest.verdict}"
    return " ".join([counts, *(result.verdict for result in _clearest(clear))])


def supported(comparisons: Sequence[ArmComparison]) -> list[str]:
    """Return the conclusions that the data support."""
    sentences = []
    for against in dict.fromkeys(result.against for result in comparisons):
        own = [result for result in comparisons if result.against == against]
        ways = [f"{verdict}: {_places(own, verdict)}" for verdict in ("better", "worse") if _places(own, verdict)]
        name, label = arm_words(against), own[0].metric.label
        if ways:
            sentences.append(f"Compared with {name} by {label}, on average over these test cases, {'; '.join(ways)}.")
        else:
            sentences.append(f"No arm differs clearly from {name} in {label}: this shows neither a difference nor equality.")
    widths = sorted((result.high - result.low) / 2 for result in comparisons if not math.isnan(result.low))
    if widths:
        measure = comparisons[0].metric
        least, most = (measure.text(width) for width in (widths[0], widths[-1]))
        reach = least if least == most else f"{least} to {most}"
        sentences.append(
            f"The intervals extend about ±{reach} around the mean differences in {measure.label}: true differences much "
            "smaller than that could not have been detected."
        )
    return sentences


def not_supported(study: StudyFacts, comparisons: Sequence[ArmComparison], beside: bool, outcomes: bool = False) -> list[str]:
    """Return the conclusions that the data do not support.

    Args:
        study: its facts.
        comparisons: of the primary analysis.
        beside: whether published reference values are shown.
        outcomes: whether all metrics and regions are shown.
    """
    sentences = []
    if not all(map(shows_difference, comparisons)):
        sentences.append("That arms without a clear difference are equal: no evidence of a difference is not evidence of none.")
    seeds, cases = len(study.scored_seeds), len(study.subjects)
    if seeds == 1:
        sentences.append(
            f"Any conclusion about other trainings: there is one seed ({study.scored_seeds[0]}), and results may reverse with "
            "other seeds."
        )
    elif 1 < seeds < FEW_SEEDS:
        sentences.append(
            f"Firm conclusions about other trainings: {seeds} seeds show only roughly how much trainings differ, and results "
            "may reverse with other seeds."
        )
    if 0 < cases < FEW:
        sentences.append(f"Firm conclusions about other cases: there are only {cases}, fewer than {FEW}.")
    undefined, values = study.undefined
    if undefined:
        sentences.append(
            f"Any conclusion about undefined values: {undefined} of {plural(values, 'value')} of {study.outcome.measure.label} "
            "are in no mean and no difference, so they count neither for nor against an arm."
        )
    if study.scores:
        sentences.append("Any conclusion about other scanners, tasks, sources or budgets: all runs share one of each.")
    if len(comparisons) > 1:
        sentences.append(
            f"Conclusions from an interval alone: verdicts depend on p values corrected (Holm) for {len(comparisons)} "
            "comparisons, but the intervals are not corrected."
        )
        sentences.append(
            "How well the arm that looks best performs on new cases: it was selected on these cases, so expect a worse "
            f"{study.outcome.measure.label}."
        )
    if outcomes:
        sentences.append(
            f"A conclusion from {study.outcome.measure.label}, if it was chosen after looking at the results: then only the "
            "table of all metrics and regions counts, which is corrected for all of them."
        )
    rising = Counter(
        arm_words(run.arm) for run in study.runs if run.state == "finished" and run.best_iteration == run.iterations
    )
    if rising:
        places = "; ".join(f"{arm} {count}" for arm, count in rising.items())
        sentences.append(
            f"That these arms were trained to the end: in {rising.total()} of {study.count('finished')} finished runs the "
            f"best {study.validation_dice} is the last one ({places}), so it may still have been rising."
        )
    if beside:
        sentences.append("Any conclusion from differences to the published values: they come from another setting.")
    return sentences


def to_reference(study: StudyFacts, comparisons: Sequence[ArmComparison]) -> list[ArmComparison]:
    """Return the comparisons with the study's reference arm."""
    return [result for result in comparisons if result.against == study.reference]


def _places(comparisons: Sequence[ArmComparison], verdict: str) -> str:
    """Return the arms with this verdict and their sizes, as text."""
    sizes, compared = defaultdict(list), Counter(result.arm for result in comparisons)
    for result in comparisons:
        if way(result) == verdict:
            sizes[result.arm].append(result.n)
    places = [f"{arm_words(arm)} ({_where(ns, compared[arm])})" for arm, ns in sizes.items()]
    return listed(places) if places else ""


def _where(sizes: Sequence[int], compared: int) -> str:
    if len(sizes) == compared > 1:
        return f"with all {compared} sizes"
    if len(sizes) > SIZES_NAMED:
        return f"with {len(sizes)} of {compared} sizes"
    return f"with {listed([str(n) for n in sizes])}"


def _clearest(clear: Sequence[ArmComparison]) -> list[ArmComparison]:
    """Return the differences named in the headline: the largest in each direction, then the next largest."""
    ranked = sorted(clear, key=lambda result: -abs(result.mean))
    first = [next((result for result in ranked if way(result) == one), None) for one in ("better", "worse")]
    kept = [result for result in first if result is not None]
    return [*kept, *(result for result in ranked if result not in kept)][:NAMED]
