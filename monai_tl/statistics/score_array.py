"""A study's scores as one array: arms × sizes × seeds × test cases. Missing values are NaN; inconsistent rows are refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monai_tl.errors import DataError
from monai_tl.statistics.measure import BY_DICE, Measure
from monai_tl.transfer.arms import arm_order, arm_words

AGAIN = "`monai_tl study gather --output STUDY` writes it again"
NAMED = 5  # subjects listed in an error

RunKey = tuple[str, int, int]  # arm, n, seed


@dataclass(frozen=True, slots=True)
class StudyScore:
    """One value of one test case with one run's weights of best validation: of one metric, and of one region or over all.

    Attributes:
        arm: ``"scratch"``, the number of frozen stages (``"0"`` … ``"5"``), ``"random2"``, or ``"untrained"``.
        n: number of training subjects.
        seed: of initial weights, patches and the choice of training subjects.
        subject: id of the test case.
        value: NaN if it is undefined.
        reference_ml: volume of the reference, in ml.
        prediction_ml: volume of the prediction, in ml.

    Example:
        >>> from monai_tl import StudyScore
        >>> StudyScore("scratch", n=10, seed=0, subject="a", value=0.6, reference_ml=3.0, prediction_ml=2.0).arm
        'scratch'
    """

    arm: str
    n: int
    seed: int
    subject: str
    value: float
    reference_ml: float
    prediction_ml: float


@dataclass(frozen=True)
class ScoreCube:
    """The scores of every run on every case, in an order that does not depend on the order of the rows.

    Attributes:
        arms: untrained, scratch, then numbers of frozen stages, then the rest by name.
        sizes: numbers of training subjects, ascending.
        seeds: ascending.
        subjects: test cases, by name.
        values: shape (arms, sizes, seeds, subjects); NaN if a value is undefined or the run does not exist.
        exists: whether a run exists, shape (arms, sizes, seeds).
        metric: what the values measure.
    """

    arms: tuple[str, ...]
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    subjects: tuple[str, ...]
    values: NDArray[np.float64]
    exists: NDArray[np.bool_]
    metric: Measure = BY_DICE

    def run_seeds(self, arm: str, n: int) -> NDArray[np.bool_]:
        """Return which seeds were run with an arm at a size, shape (seeds,)."""
        return np.asarray(self.exists[self.arms.index(arm), self.sizes.index(n)])

    def of(self, arm: str, n: int) -> NDArray[np.float64]:
        """Return the values of an arm at a size, shape (seeds, subjects)."""
        return np.asarray(self.values[self.arms.index(arm), self.sizes.index(n)])


def arrange(scores: Sequence[StudyScore], metric: Measure = BY_DICE) -> ScoreCube:
    """Put a study's scores by one metric, in any order, into one array.

    Raises:
        DataError: if there is no score, a case was scored twice in one run, the runs were not scored on the same cases, or a
            value is outside the metric's range.
    """
    if not scores:
        raise DataError("there is no score: at least one finished run is needed; `monai_tl study` does the runs")
    arms = tuple(sorted({score.arm for score in scores}, key=arm_order))
    sizes, seeds = (tuple(sorted({getattr(score, key) for score in scores})) for key in ("n", "seed"))
    subjects = tuple(sorted({score.subject for score in scores}))
    places = [{value: place for place, value in enumerate(values)} for values in (arms, sizes, seeds, subjects)]
    where = np.array([[places[0][s.arm], places[1][s.n], places[2][s.seed], places[3][s.subject]] for s in scores])
    shape = (len(arms), len(sizes), len(seeds), len(subjects))
    flat = np.ravel_multi_index(tuple(where.T), shape)
    count = np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape)
    _refuse_misfits(count, (arms, sizes, seeds), subjects)
    values = np.full(shape, np.nan)
    values.flat[flat] = [score.value for score in scores]
    odd = next((score for score in scores if metric.refusal(score.value)), None)
    if odd:
        run = f"{arm_words(odd.arm)}, n {odd.n}, seed {odd.seed}"
        why = f"{metric.label} {metric.refusal(odd.value)}"
        raise DataError(f"{odd.subject} has {metric.label} {odd.value:g} in the run {run}, but {why}; {AGAIN}")
    return ScoreCube(arms, sizes, seeds, subjects, values, np.asarray((count > 0).any(axis=3)), metric)


def _refuse_misfits(
    count: NDArray[np.int64], levels: tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]], subjects: tuple[str, ...]
) -> None:
    def names(place: Sequence[int]) -> str:
        arm, n, seed = (level[at] for level, at in zip(levels, place, strict=True))
        return f"{arm_words(str(arm))}, n {n}, seed {seed}"

    twice = np.argwhere(count > 1)
    if len(twice):
        raise DataError(f"{subjects[twice[0][3]]} was scored more than once in the run {names(twice[0][:3])}; {AGAIN}")
    exists = (count > 0).any(axis=3)
    lacking = np.argwhere(exists & ~count.all(axis=3))
    if len(lacking):
        run = lacking[0]
        missing = [subject for subject, there in zip(subjects, count[tuple(run)], strict=True) if not there]
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise DataError(
            f"the runs were scored on different subjects: {names(run)} lacks {', '.join(missing[:NAMED])}{more}; "
            f"{len(lacking)} of {int(exists.sum())} runs lack some. Score all runs on the same test split"
        )
