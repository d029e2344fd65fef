"""All regions and metrics of a study: means, differences corrected as one family, and the values that are undefined."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from monai_tl.evaluation.metrics import DEFAULT_METRICS, METRICS
from monai_tl.report.study.arm_display import look_of
from monai_tl.report.study.html_tables import Column, StudyTable
from monai_tl.report.study.outcome import StudyOutcome
from monai_tl.report.study.study_facts import StudyFacts
from monai_tl.statistics import ArmComparison, ArmMean, arm_means
from monai_tl.statistics.crossed_bootstrap import CrossedBootstrap
from monai_tl.statistics.multiplicity import Pair
from monai_tl.statistics.pairwise import compare_cubes, family_size
from monai_tl.statistics.score_array import arrange
from monai_tl.statistics.verdicts import way
from monai_tl.text import listed, plural
from monai_tl.transfer.arms import arm_words

NAN = math.nan
REGION, METRIC = Column("Region", "region", "text"), Column("Metric", "metric", "text")


def has_outcomes(study: StudyFacts) -> bool:
    """Return whether there is more to show than a single region by the default metrics."""
    return bool(study.scores) and (len(study.regions) > 1 or set(study.metrics) != set(DEFAULT_METRICS))


def outcomes_of(study: StudyFacts) -> list[StudyOutcome]:
    """Return each metric of each region."""
    regions = study.regions if len(study.regions) > 1 else ("",)
    return [StudyOutcome(METRICS[name], region, len(regions) > 1) for name in study.metrics for region in regions]


def outcomes_table(study: StudyFacts) -> StudyTable | None:
    """Return means of all arms and differences to the reference, by each metric and region; p is corrected for all rows."""
    if not has_outcomes(study):
        return None
    outcomes, reference = outcomes_of(study), arm_words(study.reference or "")
    scored = {arm for arm, _ in study.cases}
    pairs = [(arm, study.reference) for arm in study.arms if arm in scored and study.reference not in (None, arm)]
    found = _compared(study, outcomes, pairs)
    several = len(study.regions) > 1
    columns = (
        Column("Arm", "arm", "arm"), METRIC, *([REGION] if several else []), Column("Training subjects", "n", "count"),
        Column("Mean", "mean", "number"), Column("95 % interval", "mean", "interval"),
        Column(f"Mean difference to {reference}", "mean_difference", "signed"),
        Column("95 % interval", "difference", "signed interval"), Column("On these cases", "verdict", "text"),
        Column("p, cases", "p_holm", "chance"), Column("p, cases and seeds", "p_seeds_holm", "chance"),
        Column("Cases", "cases", "count"), Column("Omitted", "left_out", "count"),
    )  # fmt: skip
    shown = [(outcome, mean, found.get((outcome, mean.arm, mean.n))) for outcome in outcomes for mean in _means(study, outcome)]
    rows = [
        [
            mean.arm, outcome.metric.heading, *([outcome.region] if several else []), mean.n, mean.mean, (mean.low, mean.high),
            *_difference(result), result.cases if result else mean.cases, result.left_out if result else None,
        ]
        for outcome, mean, result in shown
    ]  # fmt: skip
    looks, digits = [look_of(mean.arm) for _, mean, _ in shown], [outcome.metric.digits for outcome, _, _ in shown]
    what = "metrics and regions" if several else "metrics"
    caption = f"All {what}: means, and differences to {reference}."
    return StudyTable("outcomes", caption, columns, rows, looks, _about(study, list(found.values()), reference), digits)


def _compared(
    study: StudyFacts, outcomes: Sequence[StudyOutcome], pairs: Sequence[Pair]
) -> dict[tuple[StudyOutcome, str, int], ArmComparison]:
    """Return the comparisons by outcome, arm and size; all are one family."""
    if not pairs:
        return {}
    by_measure = {outcome.measure: outcome for outcome in outcomes}
    cubes = [arrange(study.of(outcome), outcome.measure) for outcome in outcomes]
    results = compare_cubes(cubes, pairs, CrossedBootstrap())
    return {(by_measure[result.metric], result.arm, result.n): result for result in results}


def _means(study: StudyFacts, outcome: StudyOutcome) -> list[ArmMean]:
    return sorted(arm_means(study.of(outcome), metric=outcome.measure), key=lambda mean: mean.n)


def _difference(result: ArmComparison | None) -> list[object]:
    if result is None:
        return [NAN, (NAN, NAN), None, NAN, NAN]
    return [result.mean, (result.low, result.high), way(result), result.p_holm, result.p_seeds_holm]


def _about(study: StudyFacts, results: Sequence[ArmComparison], reference: str) -> str:
    size, outcomes = family_size(results), len(study.regions) * len(study.metrics)
    several = len(study.regions) > 1
    parts = f"{plural(len(study.metrics), 'metric')}{f' × {len(study.regions)} regions' if several else ''}"
    none = f"; {len(results) - size} more have no p" if len(results) > size else ""
    lower = [METRICS[name].label for name in study.metrics if not METRICS[name].higher_is_better]
    sentences = [
        f"Both p values are corrected (Holm) for the {plural(size, 'comparison')} with {reference} in this table ({parts}, "
        f"{len(results) // outcomes} pairs of arm and size each{none})."
        if results
        else "",
        f"The primary analysis is {study.outcome.measure.label}, chosen for this page; its p values above are corrected for "
        "its own comparisons only.",
        "Cases and omitted: of the difference, or of the mean of the reference. The other columns are as above.",
        f"A lower value is better for {listed(lower)}." if lower else "",
        f"Tolerance of the normalised surface Dice: {study.tolerance_of(study.regions)}." if "nsd" in study.metrics else "",
    ]
    return " ".join(filter(None, sentences))


def undefined_table(study: StudyFacts) -> StudyTable | None:
    """Return how many values of each metric and region are undefined, and why; None if none is."""
    several = len(study.regions) > 1
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    arms: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    total: Counter[str] = Counter()
    for arm, region, metric, reason in _undefined(study):
        counts[metric, region][reason] += 1
        arms[metric, region][arm] += 1
    if not counts:
        return None
    for scores in study.by_run.values():
        total.update(score.region for score in scores)
    reasons = sorted({reason for of in counts.values() for reason in of})
    columns = (
        METRIC, *([REGION] if several else []), Column("Values", "values", "count"), Column("Undefined", "undefined", "count"),
        *(Column(reason.capitalize(), reason.replace(" ", "_"), "count") for reason in reasons),
        Column("Undefined by arm", "by_arm", "text"),
    )  # fmt: skip
    rows = [
        [
            METRICS[metric].label, *([region] if several else []), total[region], of.total(),
            *(of[reason] for reason in reasons),
            ", ".join(f"{arm_words(arm)} {arms[metric, region][arm]}" for arm in study.arms if arms[metric, region][arm]),
        ]
        for (metric, region), of in sorted(counts.items(), key=lambda item: study.metrics.index(item[0][0]))
    ]  # fmt: skip
    note = (
        "A value is one case of one run. Undefined ones are in no mean and no difference, so a mean distance says nothing of "
    )
    note += "the cases in which an arm found nothing."
    if several:
        note += " A mean over regions is over those in which the value is defined: an arm that misses a region is compared by "
        note += "its other regions in this case."
    return StudyTable("undefined", "Undefined values, and why.", columns, rows, (), note)


def _undefined(study: StudyFacts) -> Iterator[tuple[str, str, str, str]]:
    """Yield arm, region, metric and reason of each undefined value."""
    for (arm, _, _), scores in study.by_run.items():
        for score in scores:
            for name in study.metrics:
                if math.isnan(score.values[name]):
                    reason = METRICS[name].why_undefined(score.prediction_ml, score.reference_ml)
                    yield arm, score.region, name, reason or "unknown reason"
