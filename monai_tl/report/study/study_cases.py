"""Reference and prediction of selected test subjects for all arms, from the pictures that evaluation has drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from monai_tl.evaluation.scores import Score
from monai_tl.report.kit.figures import Look
from monai_tl.report.kit.picture import Picture
from monai_tl.report.runs.examples import choose_cases, read_overlay
from monai_tl.report.study.arm_display import look_of, plain
from monai_tl.report.study.study_facts import StudyFacts
from monai_tl.study.study_tables import RunRow
from monai_tl.text import number, printable
from monai_tl.transfer.arms import SCRATCH, arm_words

ARMS_PICTURED = 8  # largest number of arms with pictures in the page


@dataclass(frozen=True)
class Shown:
    """One arm's picture of a subject, None if evaluation has drawn none, and the Dice of that run."""

    arm: str
    look: Look
    dice: float
    folder: str
    picture: Picture | None


@dataclass(frozen=True)
class Subject:
    """A selected subject: its rank and mean Dice among the control's cases, and its pictures."""

    rank: str
    subject: str
    mean: float
    shown: tuple[Shown, ...]


@dataclass(frozen=True)
class Gallery:
    """The selected subjects; the arm, size and seed of the selection; and the arms without pictures."""

    arm: str
    n: int
    seed: int
    subjects: tuple[Subject, ...]
    left_out: tuple[str, ...]

    @property
    def rule(self) -> str:
        """The selection rule in words."""
        few = {1: "the only test case", 2: "the better and the worse of the two test cases"}
        rule = few.get(len(self.subjects), "the best, the median and the worst test case")
        tie = len(self.subjects) > 1 and self.subjects[0].mean == self.subjects[-1].mean
        return f"{rule} (of equal Dice, so sorted by name)" if tie else rule

    @property
    def pictures(self) -> list[Picture]:
        """All pictures that exist."""
        return [shown.picture for subject in self.subjects for shown in subject.shown if shown.picture]

    @property
    def missing(self) -> list[str]:
        """Folders of runs that lack a picture."""
        return list(dict.fromkeys(arm.folder for subject in self.subjects for arm in subject.shown if arm.picture is None))


def make_gallery(study: StudyFacts) -> Gallery | None:
    """Select subjects by the control's Dice at the largest size, and collect their pictures from one run of each arm.

    The control is scratch, or the first arm if there is no scratch. The subjects are its best, median and worst case by mean
    Dice over the seeds; the run of each arm is that of the control's lowest scored seed. None if nothing was scored.
    """
    scored = {(score.arm, score.n, score.seed) for score in study.scores}
    if not scored:
        return None
    control = (
        SCRATCH if any(arm == SCRATCH for arm, _, _ in scored) else next(a for a in study.arms if a in {s[0] for s in scored})
    )
    n = max(size for arm, size, _ in scored if arm == control)
    seed = min(at for arm, size, at in scored if (arm, size) == (control, n))
    cases = [Score(subject, {"dice": dice}, math.nan, math.nan, math.nan) for subject, dice in study.cases[control, n].items()]
    arms = [arm for arm in study.arms if (arm, n, seed) in scored]
    folders = {run.arm: run for run in study.runs if (run.n, run.seed) == (n, seed)}
    dice = {(s.arm, s.subject): s.dice for s in study.scores if (s.n, s.seed) == (n, seed)}
    subjects = tuple(
        Subject(rank, case.subject, case.values["dice"], tuple(
            _shown(study.folder, folders.get(arm), arm, rank, case.subject, dice.get((arm, case.subject), math.nan))
            for arm in arms[:ARMS_PICTURED]
        ))
        for rank, case in choose_cases(cases)
    )  # fmt: skip
    return Gallery(control, n, seed, subjects, tuple(arm for arm in study.arms if arm not in arms[:ARMS_PICTURED]))


def _shown(top: Path, run: RunRow | None, arm: str, rank: str, subject: str, dice: float) -> Shown:
    folder = run.folder if run else arm
    png = read_overlay(top / folder / "overlays_test" / f"{subject}.png")
    alt = f"{arm_words(arm)}, case {subject}: the outlines of reference and prediction, Dice {number(dice)}"
    picture = Picture(f"subject_{rank}_{plain(arm)}.png", png, printable(alt)) if png else None
    return Shown(arm_words(arm), look_of(arm), dice, printable(folder), picture)
