"""The normalisation proposed for training cases: z-scores for MRI, for CT the intensities of the regions, as in nnU-Net."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from monai_tl.bundles.training_survey import Numbers, Survey
from monai_tl.settings.normalisation import Normalisation, shortest
from monai_tl.text import listed, plural
from monai_tl.transfer.contract import Contract

MASKED = 0.25  # share of exact zeros from which they may be a background that was set to 0
SOLID = 0.97  # least share of their neighbours that are 0 as well: masked brains have 0.98 to 1, air around heads 0.88 to 0.95
CT_AIR = -500.0  # Hounsfield units; no MRI has such values
PERCENTILES = 0.5, 99.5  # of the intensities inside the regions, to which nnU-Net clips CT


class ProposedNormalisation(NamedTuple):
    """A value of the setting ``normalisation``, why it is proposed, and what to check."""

    value: Any
    reason: str
    check: str


def propose_normalisation(survey: Survey, source: Contract | None) -> ProposedNormalisation:
    """Propose how the intensities of each modality are normalised.

    The source's normalisation wins, since weights work only with the intensities that they saw. Else CT, which is recognised by
    values of air, is clipped to percentiles of the intensities inside the regions and scaled by their mean and deviation, and
    other modalities are z-scored: by their non-zero voxels if the background of all was set to 0, or else by the whole volume.

    Example:
        >>> from monai_tl import read_datalist
        >>> from monai_tl.bundles.proposed_normalisation import propose_normalisation
        >>> from monai_tl.bundles.training_survey import survey_training
        >>> propose_normalisation(survey_training(read_datalist("data/brats/datalist.json")), None).value
        'zscore_nonzero'
    """
    ct = {name: found for name in survey.zeros if (found := _ct_scheme(survey, name))}
    others = [name for name in survey.zeros if name not in ct]
    masked = {name: (survey.zeros[name] >= MASKED) & (survey.solid[name] >= SOLID) for name in others}
    z_score = "zscore_nonzero" if all(float(np.mean(of)) > 0.5 for of in masked.values()) else "zscore_volume"
    own = shortest([ct.get(name, Normalisation(z_score)) for name in survey.zeros])
    why = "; ".join([*(_why_ct(survey, name) for name in ct), *([_why_z_score(survey, others, z_score)] if others else [])])
    checks = _check_masks(masked, z_score)
    theirs = source.normalisation_of(tuple(survey.zeros), own) if source else None
    if theirs in (None, own):
        return ProposedNormalisation(_written(own), why, " ".join(checks))
    checks.append(
        f"The cases suggest {_shown(own)}: the source's weights will see other intensities than in their own training."
    )
    reason = f"as the source, since weights work only with the intensities that they saw, although {why}"
    return ProposedNormalisation(_written(theirs), reason, " ".join(checks))


def _ct_scheme(survey: Survey, name: str) -> Normalisation | None:
    """Return the scheme of nnU-Net for CT; None for other modalities, or if the regions have only one intensity."""
    inside = survey.inside.get(name, np.array([]))
    if float(np.median(survey.ranges[name][:, 0])) >= CT_AIR or not len(inside):
        return None
    low, high = np.percentile(inside, PERCENTILES)
    mean, sd, low, high = (round(float(number), 1) for number in (inside.mean(), inside.std(), low, high))
    return Normalisation("fixed", (mean, sd, low, high)) if sd > 0 and low < high else None


def _why_ct(survey: Survey, name: str) -> str:
    lowest, (low, high) = float(np.median(survey.ranges[name][:, 0])), PERCENTILES
    return (
        f"{name} looks like CT (lowest value {lowest:.0f}): its voxels are clipped to the percentiles {low:g} and {high:g} of "
        f"the intensities inside the regions of {plural(survey.sampled, 'case')}, then scaled by the mean and standard "
        "deviation of these, as in nnU-Net"
    )


def _why_z_score(survey: Survey, names: list[str], z_score: str) -> str:
    shares = listed([f"{np.median(survey.zeros[name]):.0%} of {name}" for name in names])
    solid = listed([f"{np.median(survey.solid[name]):.1%}" for name in names])
    means = "no background that was set to 0 in all modalities, so that all voxels count"
    if z_score == "zscore_nonzero":
        means = "a background that was set to 0, which is left out"
    return f"{shares} is exactly 0, and {solid} of the neighbours of these zeros (needed: {MASKED:.0%}, {SOLID:.0%}): {means}"


def _check_masks(masked: dict[str, Numbers], z_score: str) -> list[str]:
    """Return which modalities were masked in some images only, one sentence each."""
    return [
        f"The background of {name} was set to 0 in {of.sum()} of {len(of)} cases, not in all images, so that the same tissue "
        "gets different intensities: mask all images or none."
        for name, of in masked.items()
        if 0 < of.sum() < len(of) or (of.all() and z_score == "zscore_volume")
    ]


def _written(value: str | tuple[str, ...] | None) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _shown(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else ", ".join(value)
