"""Reference and prediction of selected test subjects for all arms, from the pictures that evaluation has drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from monai_tl.report.kit.figures import Look
from monai_tl.report.kit.picture import Picture
from monai_tl.report.runs.examples import read_overlay
from monai_tl.report.study.arm_display import look_of, plain
from monai_tl.report.study.study_facts import StudyFacts
from monai_tl.statistics.measure import Measure
from monai_tl.study.study_tables import RunRow
from monai_tl.text import NONE, printable
from monai_tl.transfer.arms import arm_words
from monai_tl.transfer.strategy import SCRATCH

ARMS_PICTURED = 8  # largest number of arms with pictures in the page


@dataclass(frozen=True)
class Shown:
    """One arm's picture of a subject, None if evaluation has drawn none, and the value of that run, as text."""

    arm: str
    look: Look
    value: str
    folder: str
    picture: Picture | None


@dataclass(frozen=True)
class Subject:
    """A selected subject: its rank and mean value, as text, among the control's cases, and its pictures."""

    rank: str
    subject: str
    mean: str
    shown: tuple[Shown, ...]


@dataclass(frozen=True)
class Gallery:
    """The selected subjects; the arm, size and seed of the selection, by which measure; and the arms without pictures."""

    label: str
    arm: str
    n: int
    seed: int
    subjects: tuple[Subject, ...]
    left_out: tuple[str, ...]
    equal: bool

    @property
    def rule(self) -> str:
        """The selection rule in words."""
        few = {1: "the only test case", 2: "the better and the worse of the two test cases"}
        rule = few.get(len(self.subjects), "the best, the median and the worst test case")
        return f"{rule} (of equal {self.label}, so sorted by name)" if self.equal else rule

    @property
    def pictures(self) -> list[Picture]:
        """All pictures that exist."""
        return [shown.picture for subject in self.subjects for shown in subject.shown if shown.picture]

    @property
    def missing(self) -> list[str]:
        """Folders of runs that lack a picture."""
        return list(dict.fromkeys(arm.folder for subject in self.subjects for arm in subject.shown if arm.picture is None))


def make_gallery(study: StudyFacts) -> Gallery | None:
    """Select subjects by the control's primary outcome at the largest size; collect their pictures from one run of each arm.

    The control is scratch, or the first arm if there is no scratch. The subjects are its best, median and worst case by mean
    value over the seeds; the run of each arm is that of the control's lowest scored seed. None if nothing was scored.
    """
    scored = {(score.arm, score.n, score.seed) for score in study.scores}
    if not scored:
        return None
    control = (
        SCRATCH if any(arm == SCRATCH for arm, _, _ in scored) else next(a for a in study.arms if a in {s[0] for s in scored})
    )
    n = max(size for arm, size, _ in scored if arm == control)
    seed = min(at for arm, size, at in scored if (arm, size) == (control, n))
    measure = study.outcome.measure
    chosen = choose_ranked(study.cases[control, n], measure)
    arms = [arm for arm in study.arms if (arm, n, seed) in scored]
    folders = {run.arm: run for run in study.runs if (run.n, run.seed) == (n, seed)}
    values = {(s.arm, s.subject): s.value for s in study.scores if (s.n, s.seed) == (n, seed)}
    subjects = tuple(
        Subject(rank, subject, measure.text(mean), tuple(
            _shown(study.folder, folders.get(arm), arm, (rank, subject), _named(values.get((arm, subject), math.nan), measure))
            for arm in arms[:ARMS_PICTURED]
        ))
        for rank, subject, mean in chosen
    )  # fmt: skip
    left_out = tuple(arm for arm in study.arms if arm not in arms[:ARMS_PICTURED])
    equal = len(chosen) > 1 and chosen[0][2] == chosen[-1][2]
    return Gallery(measure.label, control, n, seed, subjects, left_out, equal)


def choose_ranked(cases: Mapping[str, float], measure: Measure) -> list[tuple[str, str, float]]:
    """Return rank, subject and value of the best, the median (the worse of two) and the worst case; fewer if fewer are defined.

    Args:
        cases: subject -> value, NaN if undefined.
        measure: what the values are.
    """
    sign = -1 if measure.higher_is_better else 1
    ranked = sorted((sign * value, subject) for subject, value in cases.items() if not math.isnan(value))
    if len(ranked) < 3:
        places = dict(zip(("best", "worst") if len(ranked) == 2 else ("only",), range(len(ranked)), strict=False))
    else:
        places = {"best": 0, "median": len(ranked) // 2, "worst": len(ranked) - 1}
    return [(rank, ranked[at][1], cases[ranked[at][1]]) for rank, at in places.items()]


def _named(value: float, measure: Measure) -> str:
    return f"{measure.label} {NONE if math.isnan(value) else measure.text(value)}"


def _shown(top: Path, run: RunRow | None, arm: str, case: tuple[str, str], value: str) -> Shown:
    folder, (rank, subject) = run.folder if run else arm, case
    png = read_overlay(top / folder / "overlays_test" / f"{subject}.png")
    alt = f"{arm_words(arm)}, case {subject}: the outlines of reference and prediction, {value}"
    picture = Picture(f"subject_{rank}_{plain(arm)}.png", png, printable(alt)) if png else None
    return Shown(arm_words(arm), look_of(arm), value, printable(folder), picture)
