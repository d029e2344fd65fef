"""Settings proposed for a bundle by measuring its training cases: nnU-Net's idea, for transfer with HighRes3DNet."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from monai_tl.bundles.proposed_normalisation import propose_normalisation
from monai_tl.bundles.proposed_setting import OtherNetwork, Proposal
from monai_tl.bundles.training_costs import Resources, resources_of
from monai_tl.bundles.training_survey import Numbers, Survey, cell, survey_lines, survey_training
from monai_tl.datasets.case_checks import FEW_VALIDATION_CASES
from monai_tl.datasets.datalist import Datalist
from monai_tl.device import choose_device
from monai_tl.text import in_time, plural
from monai_tl.transfer.contract import Contract

ISOTROPIC, ANISOTROPIC = 1.05, 3.0  # largest edge of a voxel divided by the smallest
COARSER = 2.0  # volume of the source's voxels divided by the data's own, from which detail may be lost
ACROSS = 3.0  # voxels: labels of real scans, resampled to 3 voxels across and back, keep a Dice of 0.87; to 2 across, of 0.80
CONTEXT, REACH = 19, 43  # voxels on each side that conv_0, res_1 and res_2 of HighRes3DNet see, and that all stages see
MULTIPLE = 8  # voxels: edges of a patch
FEWEST, MOST = 2, 8  # patches per step
PATCHES_PER_CASE = 200
CPU_TIME, CPU_LEAST = 900.0, 400  # seconds, iterations; on a real task, Dice was 0.51 after 200 iterations and 0.76 after 400
GPU_RANGE = 2000, 10_000  # iterations
FEWEST_VALIDATIONS, MOST_VALIDATIONS = 4, (10, 20)  # the latter on a CPU, on a GPU
VALIDATION_SHARE = 0.25  # of the time of the steps that validations may add, unless there would be too few
LARGE_CACHE = 8.0  # GiB
UNEVEN = 1.5  # largest edge of the cases' voxels divided by the smallest, along one axis


def propose(
    data: Datalist,
    *,
    source: Contract | None = None,
    like_source: bool = False,
    survey: Survey | None = None,
    resources: Resources | None = None,
    network: OtherNetwork | None = None,
) -> tuple[Proposal, ...]:
    """Propose settings for training on the training cases of a datalist.

    Spacing and normalisation of a source win, since weights work only with those that they saw, unless its voxels are so coarse
    that a region would be less than `ACROSS` voxels across; then the spacing of the cases is proposed, and the source has to be
    trained again.

    Args:
        data: datalist with a training split.
        source: what the weights to be transferred were trained on; None to train from scratch.
        like_source: the source's spacing is proposed however coarse it is.
        survey: of these cases, if there is one already.
        resources: of the device; by default of the first GPU, or of two CPU cores.
        network: to be trained; None: HighRes3DNet, with which context, memory and time were measured.

    Returns:
        spacing, normalisation, window, batch_size, inference_window, iterations, validate_every and patience, in this order.

    Raises:
        DataError: as `survey_training`.

    Example:
        >>> from monai_tl import read_datalist
        >>> from monai_tl.bundles.proposals import propose
        >>> {proposal.name: proposal.value for proposal in propose(read_datalist("data/brats/datalist.json"))}["normalisation"]
        'zscore_nonzero'
    """
    survey = survey or survey_training(data)
    resources = resources or resources_of(choose_device("auto"), 1 + len(survey.regions))
    spacing = _spacing(survey, source, like_source)
    window = _window(survey, np.array(spacing.value), resources, fixed=_spacing_of(source) == tuple(spacing.value))
    window = network.window(window) if network else window
    voxels = math.prod(window.value)
    batch_size = max(1, min(MOST, resources.step_voxels // voxels))
    gib = batch_size * voxels * resources.voxel_bytes / 2**30
    proposals = (
        spacing,
        Proposal("normalisation", *propose_normalisation(survey, source)),
        window,
        Proposal(
            "batch_size",
            batch_size,
            f"{batch_size} patch{'es' * (batch_size > 1)} of {voxels:,} voxels, of at most {MOST} patches and "
            f"{resources.step_voxels:,} voxels per step on {resources.name}, take about {gib:.1f} GiB",
        ),
        Proposal(
            "inference_window",
            list(window.value),
            f"as in training, since the network sees {REACH} voxels on each side, so that most of its features depend on the "
            "zero border of the window",
            "Compare it with windows half as large again on validation cases: better on real heads, worse on phantoms.",
        ),
        *_schedule(survey, spacing.value, voxels, batch_size, resources),
    )
    return network.noted(proposals) if network else proposals


def _spacing(survey: Survey, source: Contract | None, like_source: bool) -> Proposal:
    own, why = _own_spacing(survey.spacings)
    if source is None or source.spacing is None:
        return Proposal("spacing", own, why, _check_anisotropy(own))
    coarser = math.prod(source.spacing) / math.prod(own)
    name, across = narrowest(survey, source.spacing)
    theirs, at = f"{_times(source.spacing)} mm of the source", f"'{name}' is {across:.1f} voxels across at the source's spacing"
    if coarser > COARSER and across < ACROSS and not like_source:
        reason = f"{why}; not the {theirs}, whose voxels are {coarser:.2g} times as large, so that '{name}' would be only "
        reason += f"{across:.1f} voxels across (needed: {ACROSS:g})"
        again = f"Train the source again with --spacing {_flag(own)}: its weights work only at the spacing that they saw, and "
        again += "a transfer to another spacing is refused."
        return Proposal("spacing", own, reason, again)
    check = f"Detail is lost: {at}, with voxels {coarser:.2g} times as large as the scans have." if coarser > COARSER else ""
    if coarser < 1 / COARSER:
        check = (
            f"At the source's spacing, scans have {1 / coarser:.2g} times as many voxels: that takes time and adds no detail."
        )
    reason = f"the {theirs}, since weights work only at the spacing that they saw; the cases suggest {_times(own)} mm"
    if source.orientation not in (None, "RAS"):
        check = f"{check} Set orientation to {source.orientation}, as the source.".strip()
    return Proposal("spacing", list(source.spacing), reason, check)


def _spacing_of(source: Contract | None) -> tuple[float, ...] | None:
    return source.spacing if source else None


def _own_spacing(spacings: Numbers) -> tuple[list[float], str]:
    """Return the spacing that the cases themselves suggest, and why."""
    median = np.median(spacings, axis=0)
    ratio, thick = float(median.max() / median.min()), int(median.argmax())
    found = f"the median of {plural(len(spacings), 'training case')} is {_times(median)} mm"
    if ratio <= ISOTROPIC:
        equal = "" if np.ptp(median) < 1e-3 else f", made isotropic as its edges differ by at most {ISOTROPIC - 1:.0%}"
        return [_rounded(float(np.median(median)))] * 3, found + equal
    own = [_rounded(float(edge)) for edge in median]
    if ratio <= ANISOTROPIC:
        return own, f"{found}; each axis keeps its own, as the largest edge is only {ratio:.2g} times the smallest"
    tenth = float(np.percentile(spacings[:, thick], 10, method="nearest"))
    own[thick] = max(_rounded(tenth), *(edge for axis, edge in enumerate(own) if axis != thick))
    return own, (
        f"{found}, the largest edge {ratio:.2g} times the smallest, so that the slice distance is its 10th percentile, "
        f"{own[thick]:g} mm, as in nnU-Net: finer only interpolates slices, and coarser in the plane loses detail"
    )


def _check_anisotropy(spacing: Sequence[float]) -> str:
    ratio, cube = max(spacing) / min(spacing), math.prod(spacing) ** (1 / 3)
    return (
        f"The kernels of HighRes3DNet are cubes of voxels, and these are {ratio:.2g} times as long along one axis: compare "
        f"with an isotropic spacing of {cube:.2g} mm, which gives as many voxels."
        if ratio > ANISOTROPIC
        else ""
    )


def narrowest(survey: Survey, spacing: Sequence[float]) -> tuple[str, float]:
    """Return the region that is the fewest voxels across at a spacing, along any axis in the median case, and their number."""
    found = {name: sizes for name, sizes in survey.regions.items() if len(sizes.widths)}
    across = {name: float((np.median(sizes.widths, axis=0) / np.array(spacing)).min()) for name, sizes in found.items()}
    name = min(across, key=lambda region: across[region])
    return name, across[name]


def _window(survey: Survey, spacing: Numbers, resources: Resources, fixed: bool) -> Proposal:
    found = [sizes.extents for sizes in survey.regions.values() if len(sizes.extents)]
    extent = np.max([np.percentile(extents, 95, axis=0) for extents in found], axis=0)
    region, whole = extent / spacing, np.median(survey.content, axis=0) / spacing
    wanted = [_multiple(min(edge + 2 * CONTEXT, most)) for edge, most in zip(region, whole, strict=True)]
    window, most = list(wanted), resources.step_voxels // FEWEST
    while math.prod(window) > most and max(window) > MULTIPLE:
        context = [edge - size for edge, size in zip(window, region, strict=True)]
        longest = context if max(context) >= MULTIPLE else window  # first less context, then nearer to a cube
        window[int(np.argmax(longest))] -= MULTIPLE
    reason = (
        f"the regions extend over up to {_times(extent, 0)} mm (95th percentile), {_times(region, 0)} voxels, and {CONTEXT} "
    )
    reason += (
        f"more on each side are what the network sees up to res_2; the median scan without background has {_times(whole, 0)}"
    )
    if window != wanted:
        reason += f", and {_times(wanted)} was cut to {most:,} voxels, half a step on {resources.name}"
    covered = float((np.array(window) / region).min())
    return Proposal("window", window, reason, "" if covered >= 1 else _check_window(covered, survey, spacing, resources, fixed))


def _check_window(covered: float, survey: Survey, spacing: Numbers, resources: Resources, fixed: bool) -> str:
    name, across = narrowest(survey, [*(2 * spacing)])
    coarser = "" if fixed or across < ACROSS else f"twice the spacing, at which '{name}' is still {across:.1f} voxels across"
    remedies = " or ".join(filter(None, ["" if resources.gpu else "a GPU", coarser]))
    return f"A patch covers {covered:.0%} of the largest region along one axis, so that the network sees it in parts" + (
        f"; {remedies} makes room for more of it." if remedies else "."
    )


def _schedule(
    survey: Survey, spacing: Sequence[float], voxels: int, batch_size: int, resources: Resources
) -> tuple[Proposal, ...]:
    """Propose iterations, validate_every and patience for patches of so many voxels."""
    step = voxels * batch_size * resources.voxel_seconds
    least, most = GPU_RANGE if resources.gpu else (CPU_LEAST, max(CPU_LEAST, int(CPU_TIME / step)))
    wanted = min(most, max(least, math.ceil(PATCHES_PER_CASE * survey.cases / batch_size)))
    case = float(np.median(np.prod(survey.content, axis=1))) / math.prod(spacing)
    validation = survey.validation * case * resources.validation_seconds
    affordable = VALIDATION_SHARE * wanted * step / validation if validation else math.inf
    count = int(min(MOST_VALIDATIONS[resources.gpu], max(FEWEST_VALIDATIONS, affordable)))
    every = _round_down(wanted // count)
    iterations, waits = every * count, math.ceil(count / 2)
    on = "an H200; other GPUs take longer" if resources.gpu else resources.name
    limits = (
        f"{least} to {most} iterations" if resources.gpu else f"{in_time(CPU_TIME)}, but at least about {CPU_LEAST} iterations"
    )
    shown = f"{iterations * batch_size:,} patches show each of {plural(survey.cases, 'training case')} "
    shown += f"{iterations * batch_size / survey.cases:.0f} times (aim: {PATCHES_PER_CASE} times, within {limits}), in about "
    shown += f"{in_time(iterations * step)} of steps ({resources.voxel_seconds * 1e6:.2g} µs a voxel, measured on {on})"
    takes = f"{count} validations on {plural(survey.validation, 'case')} take about {in_time(count * validation)}"
    takes = takes if survey.validation else f"{count} validations, on cases that the datalist does not have yet"
    check = "This takes longer than the steps: validate on fewer cases." if count * validation > iterations * step else ""
    late = f"{waits} of {count} validations, since the learning rate falls to the end and the best weights often come late"
    return (
        Proposal("iterations", iterations, shown),
        Proposal("validate_every", every, takes, check),
        Proposal("patience", waits * every, late),
    )


def proposals_page(proposals: Sequence[Proposal], survey: Survey | None = None) -> str:
    """Return one page of Markdown: settings with their reasons, the measurements of a survey if given, and what to check."""
    lines = ["# Proposed settings", "", "| setting | value | reason |", "|---|---|---|"]
    lines += [f"| {one.name} | `{one.value}` | {cell(one.reason)} |" for one in proposals]
    checks = [f"`{one.name}`: {cell(one.check)}" for one in proposals if one.check]
    if survey:
        spacing = {one.name: one.value for one in proposals}.get("spacing", _own_spacing(survey.spacings)[0])
        lines += ["", "## The training cases", "", *survey_lines(survey)]
        checks += _check_cases(survey, spacing)
    checks.append("Times are estimates: look at `cost.csv` after the first validation.")
    return "\n".join([*lines, "", "## What to check", "", *(f"- {check}" for check in checks), ""])


def _check_cases(survey: Survey, spacing: Sequence[float]) -> list[str]:
    """Return what to check of the cases themselves, one sentence or two each."""
    checks = []
    low, high = np.percentile(survey.spacings, [5, 95], axis=0)
    if (high / low).max() > UNEVEN:
        checks.append(
            f"Spacings differ: {_times(low)} mm (5th percentile) to {_times(high)} mm (95th); some cases are interpolated."
        )
    for name, sizes in survey.regions.items():
        if (absent := survey.sampled - len(sizes.volumes)) > 0:
            checks.append(f"Region '{cell(name)}' is absent in {absent} of the {survey.sampled} labels that were read.")
    if survey.validation < FEW_VALIDATION_CASES:
        checks.append(f"{plural(survey.validation, 'validation case')}: too few to choose weights by.")
    voxels = float(np.median(np.prod(survey.content, axis=1))) / math.prod(spacing)
    gib = survey.cases * voxels * (4 * len(survey.zeros) + 1) / 2**30
    if gib > LARGE_CACHE:
        checks.append(f"All training cases in memory take about {gib:.0f} GiB: lower `cache_rate` if the machine has less.")
    return checks


def _times(lengths: Sequence[float] | Numbers, digits: int | None = None) -> str:
    return " × ".join(f"{length:.4g}" if digits is None else f"{length:.{digits}f}" for length in lengths)


def _rounded(length: float) -> float:
    """Return a length without the noise of the float32 in headers; 0.9375 stays as it is."""
    return round(length, 4)


def _flag(lengths: Sequence[float]) -> str:
    return f'"[{",".join(map(str, lengths))}]"'


def _multiple(edge: float) -> int:
    """Round up to the next edge of a patch."""
    return MULTIPLE * max(1, math.ceil(round(edge, 3) / MULTIPLE))


def _round_down(count: int) -> int:
    """Round down to 45, 250 or 500, not to 47 or 263."""
    unit = max(1, 10 ** (len(str(count)) - 1) // 2)
    return count // unit * unit
