"""Judging cases: each is compared with plausible values and with the cohort. No case is excluded here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_tl.quality.cohort import LEAST_COHORT, ROBUST_Z, Compared, Suspicion, against_cohort
from monai_tl.quality.measures import BODY_AXES, FACES, Measures
from monai_tl.quality.region_volumes import RATIO, Ranges, against_plausible, compared_volumes, lone_absences, shown_region

LIFE_SIZE_ML = (800.0, 8000.0)  # from a small adult's skull-stripped brain to a large head with neck
CUT = 0.10  # of the largest section: a head of 9 cm radius then lacks about 5 mm, the thickness of the scalp
OVERLAP = 0.75  # Dice of two modalities' head masks; since their thresholds differ, 0.9 is good
COVERED = 0.60  # of the first modality's head; a T2 without the neck covers more
OFF_MM = 1.25  # displacement to the best alignment, which is accurate to some tenths of a mm: docs/registration.md
OFF_VOXELS = 0.75  # the same for heads that are not life-size
ASYMMETRY = 0.35  # difference of the sides relative to their mean; healthy sides differ by a few per cent
EXTENT = 0.90  # of the cohort's median field of view along an axis
SAME = 0.01  # relative difference in spacing due to rounding in headers


@dataclass(frozen=True)
class Judged:
    """A case with its suspicions.

    Attributes:
        measures: of the case.
        suspicions: most serious first.
        z: measure -> robust z in the cohort; empty if the cohort is too small.
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
        """All problems, then all suspicions."""
        return (*self.measures.problems, *(suspicion.reason for suspicion in self.suspicions))

    @property
    def rank(self) -> tuple[Any, ...]:
        """Sort key, worst first: by the number of problems, then the number and weight of suspicions."""
        weights = sum(min(suspicion.weight, 10) for suspicion in self.suspicions)
        return (-len(self.measures.problems), -len(self.suspicions), -weights, self.measures.subject)


def judge(
    cases: Sequence[Measures],
    known: Mapping[str, Sequence[Suspicion]] | None = None,
    plausible: Ranges | None = None,
) -> tuple[list[Judged], list[str]]:
    """Judge all cases.

    Args:
        cases: their measures.
        known: subject -> suspicions that do not follow from its measures.
        plausible: region -> lowest and highest plausible volume in ml.

    Returns:
        The cases, worst first, and notes about all of them, such as what could not be judged.
    """
    usable = [case for case in cases if case.shape]
    crops = _are_crops(usable)
    usual = _usual_cuts(usable)
    at_border = _most_of([bool(case.on_border) for case in usable if case.foreground_ml])
    suspicions: dict[str, list[Suspicion]] = {
        case.subject: [
            *(known or {}).get(case.subject, ()),
            *([] if crops else _cuts(case, usual)),
            *_alone(case, at_border),
            *against_plausible(case, plausible or {}),
        ]
        for case in cases
    }
    z: dict[str, dict[str, float]] = {case.subject: {} for case in cases}
    for subject, suspicion in (*_unlike_most(usable), *([] if crops else _against_extent(usable)), *lone_absences(usable)):
        suspicions[subject].append(suspicion)
    for compared in (*_measures_of(usable), *compared_volumes(usable)):
        for subject, score, outlier in against_cohort(usable, compared):
            z[subject][compared.name] = score
            suspicions[subject] += [outlier] if outlier else []
    judged = [
        Judged(case, tuple(sorted(suspicions[case.subject], key=lambda suspicion: -suspicion.weight)), z[case.subject])
        for case in cases
    ]
    notes = _cut_notes(usable, crops, usual, at_border)
    return sorted(judged, key=lambda case: case.rank), [*notes, *_notes(usable)]


def _are_crops(cases: Sequence[Measures]) -> bool:
    """Return whether most of at least three cases are cut at most faces: then they were cropped on purpose."""
    cut = [
        any(sum(share > max(CUT, case.round_cap[role]) for share in shares.values()) >= 4 for role, shares in case.cut.items())
        for case in cases
    ]
    return _most_of(cut)


def _most_of(flags: Sequence[bool]) -> bool:
    """Return whether more than half of at least three are true: then it is how the cases were made."""
    return len(flags) > 2 and sum(flags) > len(flags) / 2


def _usual_cuts(cases: Sequence[Measures]) -> dict[tuple[str, str], int]:
    """Return the faces, (role, face), at which most cases are cut, as scans of a part of the body are, and in how many."""
    found = {}
    for role in dict.fromkeys(role for case in cases for role in case.cut):
        for face in FACES:
            cut = [_is_cut(case, role, face) for case in cases if role in case.cut]
            if face != "bottom" and _most_of(cut):  # every field of view cuts the neck
                found[role, face] = sum(cut)
    return found


def _is_cut(case: Measures, role: str, face: str) -> bool:
    return case.cut[role][face] > max(CUT, case.round_cap[role])


def _cut_notes(cases: Sequence[Measures], crops: bool, usual: Mapping[tuple[str, str], int], at_border: bool) -> list[str]:
    """Return notes on cuts that most cases have, which are not judged case by case."""
    notes = []
    if crops:
        notes.append(
            f"Most of the {len(cases)} cases are cut at most faces: these are crops, so cuts and lengths are not judged."
        )
    elif usual:
        where = [f"the {face} of {role} in {count}" for (role, face), count in usual.items()]
        notes.append(
            f"Most of the {len(cases)} cases are cut at the same face ({', '.join(where)}): parts of the body, so this cut is "
            "not judged. For whole heads it means that all fields of view are too small."
        )
    if at_border:
        count = sum(bool(case.on_border) for case in cases)
        notes.append(f"Foreground is on the volume's border in {count} of {len(cases)} cases, so this is not judged.")
    return notes


def life_size(case: Measures) -> bool:
    """Return whether the head has the size of an adult's, so that volumes can be compared with adults'."""
    return case.head_ml is not None and LIFE_SIZE_ML[0] <= case.head_ml <= LIFE_SIZE_ML[1]


def asymmetry(case: Measures) -> float | None:
    """Return right minus left hippocampus divided by their mean; None if a side is unknown or both are empty."""
    if case.left_ml is None or case.right_ml is None or not case.left_ml + case.right_ml:
        return None
    return 2 * (case.right_ml - case.left_ml) / (case.left_ml + case.right_ml)


def _cuts(case: Measures, usual: Mapping[tuple[str, str], int]) -> list[Suspicion]:
    """Return suspicions about faces of the field of view that cut the head, other than the usual ones."""
    found = []
    for role, shares in case.cut.items():
        limit = max(CUT, case.round_cap[role])
        for face in FACES:
            if face != "bottom" and shares[face] > limit and (role, face) not in usual:
                cut = f"the head is cut at the {face} of {role}'s field of view: {shares[face]:.0%} of its largest section"
                found.append(
                    Suspicion("field of view", f"{cut} is on this face, at most {limit:.0%} is usual", shares[face] / limit)
                )
    return found


def _alone(case: Measures, at_border: bool) -> list[Suspicion]:
    """Return the other suspicions that do not depend on the cohort, except where most labels are at the border."""
    found = [Suspicion("label", line, 3) for line in case.empty]
    for role, (axis, count) in case.constant.items():
        reason = f"{count} slice{'s' * (count > 1)} missing in {role} from {BODY_AXES[axis]} (one value only)"
        found.append(Suspicion("missing slices", reason, 2 + count / 5))
    for role, value in case.overlap.items():
        if value < OVERLAP:
            heads = f"the heads in {role} and {next(iter(case.ranges))}"
            reason = f"{heads} overlap with a Dice of {value:.2f}, at least {OVERLAP} is usual"
            found.append(Suspicion("overlap", reason, 1 + (OVERLAP - value) * 10))
    for role, value in case.covered.items():
        if value < COVERED:
            reason = f"{role} covers {value:.0%} of the head, at least {COVERED:.0%} is usual"
            found.append(Suspicion("field of view", reason, 1 + (COVERED - value) * 10))
    limit = OFF_MM if life_size(case) else OFF_VOXELS * max(case.spacing, default=0)
    for role, (mm, direction) in ((role, off) for role, off in case.off.items() if off):
        if mm > limit:
            how = "turned" if direction == "turned" else f"further to the {direction}"
            reason = f"{role} would fit better {how}, by {mm:.1f} mm (mean over the head); at most {limit:g} is usual"
            found.append(Suspicion("registration", reason, mm / limit))
    return found + _label(case, at_border)


def _label(case: Measures, at_border: bool) -> list[Suspicion]:
    found = []
    if case.on_border and not at_border:
        found.append(
            Suspicion("label", f"{case.on_border} foreground voxels are on the volume's border: the label may be cut off", 2)
        )
    for role, share in case.outside.items():
        if share > 0:
            found.append(
                Suspicion("field of view", f"{share:.1%} of the label is outside {role}'s field of view", 2 + 10 * share)
            )
    if case.swapped:
        found.append(Suspicion("sides", "the left hippocampus is to the right of the right one: the sides may be swapped", 5))
    difference = asymmetry(case)
    if difference is not None and abs(difference) > ASYMMETRY:
        reason = (
            f"hippocampi of {case.left_ml:.3g} ml left and {case.right_ml:.3g} right differ by {abs(difference):.0%} of their "
            f"mean, at most {ASYMMETRY:.0%} is usual"
        )
        found.append(Suspicion("asymmetry", reason, abs(difference) / ASYMMETRY))
    return found


def _measures_of(cases: Sequence[Measures]) -> list[Compared]:
    """Return the measures that are compared within the cohort."""
    roles = list(dict.fromkeys(role for case in cases for role in case.information))
    first = next((name for case in cases if case.information for name in case.ranges), "")
    measures = [
        Compared("head volume", "ml", lambda case: case.head_ml, False, lambda median: 0.3 * median),
        Compared("left hippocampus", "ml", lambda case: case.left_ml, False, lambda median: 0.25 * median),
        Compared("right hippocampus", "ml", lambda case: case.right_ml, False, lambda median: 0.25 * median),
        Compared("asymmetry of the hippocampi", "", asymmetry, False, lambda median: 0.2),
    ]
    for role in roles:
        measures.append(
            Compared(
                f"mutual information of {role} and {first}",
                "bits",
                _value("information", role),
                True,
                lambda median: 0.3 * median,
            )
        )
        measures.append(
            Compared(
                f"overlap (Dice) of the heads in {role} and {first}", "", _value("overlap", role), True, lambda median: 0.04
            )
        )
    return measures


def _value(measure: str, role: str) -> Callable[[Measures], float | None]:
    return lambda case: getattr(case, measure).get(role)


def _unlike_most(cases: Sequence[Measures]) -> list[tuple[str, Suspicion]]:
    """Return suspicions about orientations and spacings that differ from those of most cases."""
    found = []
    orientation = _most([case.orientation for case in cases])
    spacing = _most([tuple(case.spacing) for case in cases])
    for case in cases:
        if orientation and case.orientation != orientation:
            found.append(
                (case.subject, Suspicion("orientation", f"axes {case.orientation}, most cases have {orientation}", 1.5))
            )
        if spacing and not np.allclose(sorted(case.spacing), sorted(spacing), rtol=SAME):
            own, usual = (" × ".join(f"{mm:g}" for mm in lengths) for lengths in (case.spacing, spacing))
            found.append((case.subject, Suspicion("spacing", f"spacing {own} mm, most cases have {usual}", 1.5)))
    return found


def _against_extent(cases: Sequence[Measures]) -> list[tuple[str, Suspicion]]:
    """Return suspicions about fields of view that are shorter than the cohort's."""
    if len(cases) < LEAST_COHORT:
        return []
    median = np.median([case.extent for case in cases], axis=0)
    return [
        (
            case.subject,
            Suspicion(
                "field of view", f"{own:g} mm from {axis}, the cohort's median is {usual:g}: slices may be missing", usual / own
            ),
        )
        for case in cases
        for own, usual, axis in zip(case.extent, median, BODY_AXES, strict=True)
        if own < EXTENT * usual
    ]


def _most(values: Sequence[Any]) -> Any:
    """Return the value of more than half of at least three, else None."""
    (value, times), *_ = Counter(values).most_common(1) or [(None, 0)]
    return value if len(values) > 2 and times > len(values) / 2 else None


def _notes(cases: Sequence[Measures]) -> list[str]:
    notes = []
    if len(cases) < LEAST_COHORT:
        notes.append(
            f"{len(cases)} usable cases are too few to be compared with each other, which needs at least {LEAST_COHORT}."
        )
    small = [case for case in cases if case.head_ml is not None and not life_size(case)]
    if small:
        median = float(np.median([case.head_ml for case in small if case.head_ml is not None]))
        notes.append(
            f"{len(small)} of {len(cases)} heads are not life-size (median {median:.0f} ml, adults' {LIFE_SIZE_ML[0]:g} to "
            f"{LIFE_SIZE_ML[1]:g}). This is expected for phantoms and crops; for whole heads it means a wrong spacing."
        )
    return notes


def thresholds(plausible: Ranges | None = None) -> Mapping[str, str]:
    """Return the thresholds of suspicion by topic, as text with the current limits."""
    ranges = [f"{shown_region(name)} outside {low:g} to {high:g} ml" for name, (low, high) in (plausible or {}).items()]
    return {
        "Field of view": f"head on more than {CUT:.0%} of a face (of its largest section), the bottom excepted; less than "
        f"{EXTENT:.0%} of the cohort's median length; a modality that covers less than {COVERED:.0%} of the head",
        "Identity": "an image that is identical, voxel for voxel, to another subject's or another modality's",
        "Missing slices": "constant slices inside the field of view",
        "Registration": f"head masks overlap with a Dice below {OVERLAP}, or the best rigid alignment of a modality (by mutual "
        f"information) displaces the head by more than {OFF_MM:g} mm on average",
        "Label": "no foreground; foreground on the volume's border; a region absent that all other cases have",
        **({"Volume": "; ".join(ranges)} if ranges else {}),
        "Hippocampus": f"sides that differ by more than {ASYMMETRY:.0%}, sides swapped",
        "Cohort": f"robust z (median and MAD) beyond {ROBUST_Z:g}, from {LEAST_COHORT} cases on, if the difference is also "
        f"large enough to matter: of a region's volume, where it occurs, a factor of {RATIO:.2f}",
    }
