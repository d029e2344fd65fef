"""Which cases are suspect, and why: each against what is plausible, and against the others. Nothing is left out here."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from monai_tl.datasets.label_schemes import SIDE_ML
from monai_tl.quality.measures import BODY_AXES, FACES, Measures

LIFE_SIZE_ML = (800.0, 8000.0)  # from a small adult's brain, skull stripped, to a large head with neck
ROBUST_Z = 3.5  # by median and MAD: Iglewicz and Hoaglin 1993, How to Detect and Handle Outliers
LEAST_COHORT = 8  # cases; the MAD of fewer says too little
CUT = 0.10  # of the largest section: a head of 9 cm radius so cut has lost about 5 mm, the scalp's thickness
OVERLAP = 0.75  # Dice of two modalities' head masks; their thresholds differ, so that 0.9 is good
COVERED = 0.60  # of the first modality's head; a T2 that leaves the neck out covers more
OFF_MM = 1.25  # that a modality would move to fit best; the way is found to some tenths of a mm: docs/registration.md
OFF_VOXELS = 0.75  # the same in heads that are not life-size
ASYMMETRY = 0.35  # difference of the sides by their mean; healthy sides differ by a few per cent
EXTENT = 0.90  # of the cohort's median field of view along an axis
SAME = 0.01  # relative difference in spacing that rounding in headers explains


class Suspicion(NamedTuple):
    """Why a case is suspect: what about it, in words with the number behind it, and how far beyond the limit (1: at it)."""

    kind: str
    reason: str
    weight: float


@dataclass(frozen=True)
class Judged:
    """A case with what is suspect about it.

    Attributes:
        measures: its numbers.
        suspicions: gravest first.
        z: measure -> robust z against the cohort; empty where the cohort is too small.
    """

    measures: Measures
    suspicions: tuple[Suspicion, ...]
    z: dict[str, float]

    @property
    def state(self) -> str:
        """``"problem"``, ``"suspect"`` or ``"fine"``."""
        return "problem" if self.measures.problems else "suspect" if self.suspicions else "fine"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Problems first, then suspicions."""
        return (*self.measures.problems, *(suspicion.reason for suspicion in self.suspicions))

    @property
    def rank(self) -> tuple[Any, ...]:
        """Worst first: problems, then many and grave suspicions."""
        weights = sum(min(suspicion.weight, 10) for suspicion in self.suspicions)
        return (-len(self.measures.problems), -len(self.suspicions), -weights, self.measures.subject)


class Compared(NamedTuple):
    """A measure that is compared with the cohort's.

    Attributes:
        name: in words.
        unit: of its numbers.
        of: gives it for a case, None where it has none.
        low_only: whether only low values are suspect.
        matters: gives the difference from a median that matters: a cohort that is all alike would make trifles suspect.
    """

    name: str
    unit: str
    of: Callable[[Measures], float | None]
    low_only: bool
    matters: Callable[[float], float]


def judge(cases: Sequence[Measures], known: Mapping[str, Sequence[Suspicion]] | None = None) -> tuple[list[Judged], list[str]]:
    """Judge every case, and say what could not be judged.

    Args:
        cases: measured.
        known: subject -> what is suspect about it besides its measures.

    Returns:
        The cases, worst first, and notes about all of them.
    """
    crops = _are_crops([case for case in cases if case.shape])
    suspicions: dict[str, list[Suspicion]] = {
        case.subject: [*(known or {}).get(case.subject, ()), *([] if crops else _cuts(case)), *_alone(case)] for case in cases
    }
    z: dict[str, dict[str, float]] = {case.subject: {} for case in cases}
    usable = [case for case in cases if case.shape]
    for subject, found in (*_against_most(usable), *([] if crops else _against_extent(usable))):
        suspicions[subject].append(found)
    for compared in _measures_of(usable):
        for subject, score, suspicion in _against_cohort(usable, compared):
            z[subject][compared.name] = score
            suspicions[subject] += [suspicion] if suspicion else []
    judged = [
        Judged(case, tuple(sorted(suspicions[case.subject], key=lambda one: -one.weight)), z[case.subject]) for case in cases
    ]
    told = [f"Most of the {len(usable)} cases are cut at most faces: these are crops, so cuts and lengths are not judged."]
    return sorted(judged, key=lambda one: one.rank), [*(told if crops else []), *_notes(usable)]


def _are_crops(cases: Sequence[Measures]) -> bool:
    """Say if most of at least three cases are cut at most faces: then that is how they were made, and says nothing of one."""
    cut = [
        any(sum(share > max(CUT, case.round_cap[role]) for share in shares.values()) >= 4 for role, shares in case.cut.items())
        for case in cases
    ]
    return len(cut) > 2 and sum(cut) > len(cut) / 2


def robust_z(values: Sequence[float], least_spread: float = 0.0) -> list[float]:
    """Give ``(value - median) / (1.4826 MAD)``; the MAD so scaled is a normal distribution's standard deviation.

    Args:
        values: of a cohort.
        least_spread: takes the MAD's place where it is smaller; 0 of both gives 0 at the median and infinities beside it.
    """
    apart = np.asarray(values, dtype=float) - np.median(values)
    spread = max(1.4826 * float(np.median(np.abs(apart))), least_spread)
    return [float(a / spread) if spread else math.copysign(math.inf, a) if a else 0.0 for a in apart]


def life_size(case: Measures) -> bool:
    """Say if the head is as large as an adult's: millilitres then mean what they mean in people."""
    return case.head_ml is not None and LIFE_SIZE_ML[0] <= case.head_ml <= LIFE_SIZE_ML[1]


def asymmetry(case: Measures) -> float | None:
    """Give right minus left hippocampus by their mean, None where a side is not known or both are empty."""
    if case.left_ml is None or case.right_ml is None or not case.left_ml + case.right_ml:
        return None
    return 2 * (case.right_ml - case.left_ml) / (case.left_ml + case.right_ml)


def _cuts(case: Measures) -> list[Suspicion]:
    """Where the field of view cuts the head."""
    found = []
    for role, shares in case.cut.items():
        limit = max(CUT, case.round_cap[role])
        for face in FACES:
            if face != "bottom" and shares[face] > limit:  # a neck leaves every field of view
                told = f"the head is cut at the {face} of {role}'s field of view: {shares[face]:.0%} of its largest section"
                found.append(
                    Suspicion("field of view", f"{told} lies there, at most {limit:.0%} is usual", shares[face] / limit)
                )
    return found


def _alone(case: Measures) -> list[Suspicion]:
    """What else is suspect whatever the other cases are."""
    found = [Suspicion("label", line, 3) for line in case.empty]
    for role, (axis, count) in case.constant.items():
        told = f"{count} slice{'s' * (count > 1)} missing in {role} from {BODY_AXES[axis]} (one value only)"
        found.append(Suspicion("missing slices", told, 2 + count / 5))
    for role, value in case.overlap.items():
        if value < OVERLAP:
            told = f"the heads in {role} and {next(iter(case.ranges))} overlap by Dice {value:.2f}, at least {OVERLAP} is usual"
            found.append(Suspicion("overlap", told, 1 + (OVERLAP - value) * 10))
    for role, value in case.covered.items():
        if value < COVERED:
            told = f"{role} covers {value:.0%} of the head, at least {COVERED:.0%} is usual"
            found.append(Suspicion("field of view", told, 1 + (COVERED - value) * 10))
    limit = OFF_MM if life_size(case) else OFF_VOXELS * max(case.spacing, default=0)
    for role, (mm, way) in ((role, off) for role, off in case.off.items() if off):
        if mm > limit:
            how = "turned" if way == "turned" else f"further to the {way}"
            told = f"{role} would fit better {how}, by {mm:.1f} mm (mean over the head); at most {limit:g} is usual"
            found.append(Suspicion("registration", told, mm / limit))
    return found + _label(case)


def _label(case: Measures) -> list[Suspicion]:
    found = []
    if case.on_border:
        found.append(Suspicion("label", f"{case.on_border} foreground voxels lie on the volume's border: cut off?", 2))
    for role, share in case.outside.items():
        if share > 0:
            found.append(
                Suspicion("field of view", f"{share:.1%} of the label lies outside {role}'s field of view", 2 + 10 * share)
            )
    if case.swapped:
        found.append(Suspicion("sides", "the left hippocampus lies to the right of the right one: sides swapped?", 5))
    low, high = SIDE_ML
    for side, volume in (("left", case.left_ml), ("right", case.right_ml)):
        if volume is not None and life_size(case) and not low <= volume <= high:
            far = low / max(volume, 0.1) if volume < low else volume / high
            told = f"{side} hippocampus of {volume:.2f} ml; adults have {low:g} to {high:g}"
            found.append(Suspicion("volume", told, far))
    apart = asymmetry(case)
    if apart is not None and abs(apart) > ASYMMETRY:
        told = (
            f"hippocampi of {case.left_ml:.3g} ml left and {case.right_ml:.3g} right differ by {abs(apart):.0%} of their mean"
        )
        found.append(Suspicion("asymmetry", f"{told}, at most {ASYMMETRY:.0%} is usual", abs(apart) / ASYMMETRY))
    return found


def _measures_of(cases: Sequence[Measures]) -> list[Compared]:
    """What is compared with the cohort."""
    roles = list(dict.fromkeys(role for case in cases for role in case.information))
    first = next((name for case in cases if case.information for name in case.ranges), "")
    told = [
        Compared("head volume", "ml", lambda case: case.head_ml, False, lambda median: 0.3 * median),
        Compared("left hippocampus", "ml", lambda case: case.left_ml, False, lambda median: 0.25 * median),
        Compared("right hippocampus", "ml", lambda case: case.right_ml, False, lambda median: 0.25 * median),
        Compared("asymmetry of the hippocampi", "", asymmetry, False, lambda median: 0.2),
    ]
    for role in roles:
        told.append(
            Compared(
                f"mutual information of {role} and {first}",
                "bits",
                _value("information", role),
                True,
                lambda median: 0.3 * median,
            )
        )
        told.append(
            Compared(
                f"overlap (Dice) of the heads in {role} and {first}", "", _value("overlap", role), True, lambda median: 0.04
            )
        )
    return told


def _value(measure: str, role: str) -> Callable[[Measures], float | None]:
    return lambda case: getattr(case, measure).get(role)


def _against_cohort(cases: Sequence[Measures], compared: Compared) -> list[tuple[str, float, Suspicion | None]]:
    """Give for each case its robust z, and a suspicion where it is far out and by as much as matters."""
    values = {case.subject: compared.of(case) for case in cases}
    known = {subject: float(value) for subject, value in values.items() if value is not None and math.isfinite(value)}
    if len(known) < LEAST_COHORT:
        return []
    median = float(np.median(list(known.values())))
    matters = compared.matters(median)
    scores = robust_z(list(known.values()), least_spread=matters / (2 * ROBUST_Z))
    told = []
    for (subject, value), z in zip(known.items(), scores, strict=True):
        far = abs(z) > ROBUST_Z and abs(value - median) > matters and (z < 0 or not compared.low_only)
        unit = f" {compared.unit}" if compared.unit else ""
        reason = f"{compared.name} is {value:.3g}{unit}, the cohort's median {median:.3g} (robust z {z:+.1f})"
        told.append((subject, round(z, 2), Suspicion("cohort", reason, abs(z) / ROBUST_Z) if far else None))
    return told


def _against_most(cases: Sequence[Measures]) -> list[tuple[str, Suspicion]]:
    """Find orientations and spacings other than those that most cases have."""
    told = []
    orientation = _most([case.orientation for case in cases])
    spacing = _most([tuple(case.spacing) for case in cases])
    for case in cases:
        if orientation and case.orientation != orientation:
            told.append(
                (case.subject, Suspicion("orientation", f"axes {case.orientation}, most cases have {orientation}", 1.5))
            )
        if spacing and not np.allclose(sorted(case.spacing), sorted(spacing), rtol=SAME):
            own, usual = (" × ".join(f"{mm:g}" for mm in lengths) for lengths in (case.spacing, spacing))
            told.append((case.subject, Suspicion("spacing", f"spacing {own} mm, most cases have {usual}", 1.5)))
    return told


def _against_extent(cases: Sequence[Measures]) -> list[tuple[str, Suspicion]]:
    """Find fields of view that are shorter than the cohort's."""
    if len(cases) < LEAST_COHORT:
        return []
    median = np.median([case.extent for case in cases], axis=0)
    return [
        (
            case.subject,
            Suspicion(
                "field of view", f"{own:g} mm from {axis}, the cohort's median is {usual:g}: slices missing?", usual / own
            ),
        )
        for case in cases
        for own, usual, axis in zip(case.extent, median, BODY_AXES, strict=True)
        if own < EXTENT * usual
    ]


def _most(values: Sequence[Any]) -> Any:
    """Give what more than half of at least three have, else None."""
    (value, times), *_ = Counter(values).most_common(1) or [(None, 0)]
    return value if len(values) > 2 and times > len(values) / 2 else None


def _notes(cases: Sequence[Measures]) -> list[str]:
    notes = []
    if len(cases) < LEAST_COHORT:
        notes.append(
            f"{len(cases)} usable cases are too few to be compared with each other; from {LEAST_COHORT} on that is done too."
        )
    small = [case for case in cases if case.head_ml is not None and not life_size(case)]
    if small:
        median = float(np.median([case.head_ml for case in small if case.head_ml is not None]))
        notes.append(
            f"{len(small)} of {len(cases)} heads are not life-size (median {median:.3g} ml, adults' {LIFE_SIZE_ML[0]:g} to "
            f"{LIFE_SIZE_ML[1]:g}): their volumes are compared with the cohort's only, not with the range of adults. "
            "Phantoms and crops are so; in whole heads the spacing is wrong."
        )
    return notes


def thresholds() -> Mapping[str, str]:
    """Say what makes a case suspect, in words with the numbers in force."""
    return {
        "Field of view": f"head on more than {CUT:.0%} of a face (of its largest section), the bottom excepted; less than "
        f"{EXTENT:.0%} of the cohort's median length; a modality that covers less than {COVERED:.0%} of the head",
        "Identity": "an image that is another subject's, or another modality's, voxel for voxel",
        "Missing slices": "slices of one value only inside the field of view",
        "Registration": f"head masks overlap by Dice below {OVERLAP}, or a modality would fit best (by mutual "
        f"information, moved as a rigid body) more than {OFF_MM:g} mm away on average over the head",
        "Hippocampus": f"a side outside {SIDE_ML[0]:g} to {SIDE_ML[1]:g} ml (in life-size heads), sides that "
        f"differ by more than {ASYMMETRY:.0%}, sides swapped",
        "Cohort": f"robust z beyond {ROBUST_Z:g} by median and MAD, from {LEAST_COHORT} cases on, where the difference "
        "is large enough to matter",
    }
