"""Labels of the hippocampus: which values they have and which side each is (FreeSurfer's or DLMUSE's), how large a side is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from monai_tl.errors import ConfigError, DataError, did_you_mean
from monai_tl.text import name_some

# left, right; SynthSeg and FastSurfer code as FreeSurfer
CODINGS = {"freesurfer": (17, 53), "dlmuse": (48, 47)}

# Adult hippocampus in ml a side. Healthy adults lie at about 3 to 5 ml (Nobis et al. 2019, NeuroImage: Clinical 23:101904,
# 19 793 people; by hand 3.4 ± 0.3 ml in 43 people over 50, PMC3773349). Disease and other software reach lower: the limits are
# wide on purpose (the largest of 26 healthy IXI subjects by DLMUSE at 2 mm has 5.03). What lies beyond them is an error of the
# segmentation or of the scale far more often than a person.
SIDE_ML = (1.5, 5.5)


def sides_of(foreground: Sequence[int]) -> tuple[int, int] | None:
    """Give the values of the left and of the right hippocampus where foreground values are just these, else None."""
    return next((pair for pair in CODINGS.values() if set(pair) == set(foreground)), None)


def named_coding(coding: str) -> str:
    """Refuse a coding that does not exist.

    Raises:
        ConfigError: which lists those that do.
    """
    if coding not in CODINGS:
        raise ConfigError(f"unknown coding '{coding}': {did_you_mean(coding, CODINGS)}")
    return coding


def coding_of(values: Sequence[Any], where: str) -> str:
    """Say by which coding both hippocampi are among a label's values.

    FreeSurfer's 47 is the right cerebellar cortex: one value of a pair says nothing.

    Raises:
        DataError: if they are by both or by neither.
    """
    fit = [name for name, pair in CODINGS.items() if set(pair) <= set(values)]
    if len(fit) != 1:
        told = " or ".join(f"{min(pair)} and {max(pair)} ({name})" for name, pair in CODINGS.items())
        held = name_some([f"{value:g}" for value in np.sort(np.asarray(values))], 60)
        raise DataError(
            f"cannot tell the coding of {where}: hippocampi are {told}, and it holds {'both' if fit else 'neither'}: {held}. "
            f"Name it by --coding {'|'.join(CODINGS)}"
        )
    return fit[0]
