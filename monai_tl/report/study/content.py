"""The content of a study's page: plain values, sentences, tables and pictures, which the template only lays out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from monai_tl.report.kit.figures import Look
from monai_tl.report.kit.picture import Picture
from monai_tl.report.study import study_figures, study_numbers, study_words
from monai_tl.report.study.arm_display import explain_arm, look_of
from monai_tl.report.study.html_tables import ROWS, StudyTable
from monai_tl.report.study.outcomes_table import outcomes_table, undefined_table
from monai_tl.report.study.repeat import Repeat, make_repeat
from monai_tl.report.study.study_cases import Gallery, make_gallery
from monai_tl.report.study.study_facts import StudyFacts
from monai_tl.statistics import ArmComparison, ArmMean, arm_means, compare_arms
from monai_tl.statistics.multiplicity import is_reference
from monai_tl.transfer.arms import arm_words
from monai_tl.workflow.published import Published


@dataclass(frozen=True)
class Content:
    """Everything that is shown of a study; tables and pictures are None or empty if there are no data for them yet."""

    title: str
    lead: str
    unfinished: str | None
    without_dice: str | None
    seen: str | None
    search: str | None
    headline: str
    supported: list[str]
    not_supported: list[str]
    legend: list[tuple[Look, str, str]]
    sentences: list[str]
    notes: list[str]
    heading: str
    validation_dice: str
    arms: StudyTable | None
    differences: StudyTable | None
    growth: StudyTable | None
    outcomes: StudyTable | None
    undefined: StudyTable | None
    speed: StudyTable | None
    beside: list[StudyTable]
    published: Published | None
    runs: StudyTable
    forests: list[Picture]
    sizes: Picture | None
    boxes: list[Picture]
    curves: list[Picture]
    target: Picture | None
    capped: str
    gallery: Gallery | None
    repeat: Repeat

    @property
    def pictures(self) -> list[Picture]:
        """All pictures, in order."""
        single = [picture for picture in (self.sizes, self.target) if picture]
        shown = self.gallery.pictures if self.gallery else []
        return [*self.forests, *single, *self.boxes, *self.curves, *shown]

    @property
    def tables(self) -> list[StudyTable]:
        """All tables, in order."""
        first = (self.arms, self.differences, self.growth, self.outcomes, self.undefined, self.speed)
        return [table for table in (*first, *self.beside, self.runs) if table]


def make_content(study: StudyFacts) -> Content:
    """Return the numbers, sentences and figures of a study.

    Raises:
        DataError: if its runs were not scored on the same cases.
    """
    means, comparisons = _statistics(study)
    outcomes = outcomes_table(study)
    beside = [table for table in (study_numbers.layers_table(study), study_numbers.sizes_table(study, means)) if table]
    return Content(
        title=study_words.study_title(study),
        lead=study_words.study_lead(study),
        unfinished=study_words.unfinished(study),
        without_dice=study_words.without_dice(study),
        seen=study_words.seen(study),
        search=study_words.search(study),
        headline=study_words.headline(study, means, comparisons),
        supported=study_words.supported(comparisons),
        not_supported=study_words.not_supported(study, comparisons, bool(beside), outcomes is not None),
        legend=[(look_of(arm), arm_words(arm), explain_arm(arm)) for arm in study.arms],
        sentences=[result.verdict for result in comparisons[:ROWS]],
        notes=list(dict.fromkeys(f"{result.note[0].upper()}{result.note[1:]}." for result in comparisons if result.note)),
        heading=study.outcome.measure.heading,
        validation_dice=study.validation_dice,
        arms=study_numbers.arms_table(study, means) if means else None,
        differences=study_numbers.differences_table(study, comparisons),
        growth=study_numbers.growth_table(study),
        outcomes=outcomes,
        undefined=undefined_table(study),
        speed=study_numbers.speed_table(study),
        beside=beside,
        published=study.published,
        runs=study_numbers.runs_table(study),
        forests=study_figures.draw_differences(comparisons),
        sizes=study_figures.draw_means(study, means),
        boxes=study_figures.draw_boxes(study),
        curves=study_figures.draw_study_curves(study),
        target=study_figures.draw_targets(study),
        capped=_capped(study),
        gallery=make_gallery(study),
        repeat=make_repeat(study),
    )


def _statistics(study: StudyFacts) -> tuple[Sequence[ArmMean], Sequence[ArmComparison]]:
    """Return the arms' means and comparisons; empty if no run is scored."""
    if not study.scores:
        return [], []
    scored, reference = {arm for arm, _ in study.cases}, study.reference
    pairs = None
    if reference and not any(map(is_reference, scored)):  # as in a depth search
        pairs = [(arm, reference) for arm in study.arms if arm in scored and arm != reference]
    measure = study.outcome.measure
    return arm_means(study.scores, metric=measure), compare_arms(study.scores, pairs, metric=measure)


def _capped(study: StudyFacts) -> str:
    """Return a sentence on the sizes without figures; empty if all sizes have some."""
    if len(study.sizes) <= study_figures.SIZES_SHOWN:
        return ""
    shown = ", ".join(map(str, study_figures.pick_spread(study.sizes)))
    return (
        f"Figures are drawn for {study_figures.SIZES_SHOWN} of {len(study.sizes)} training sizes ({shown}); "
        "the tables contain all sizes."
    )
