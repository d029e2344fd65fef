"""Label values of the left and right hippocampus (FreeSurfer, DLMUSE)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from monai_tl.errors import ConfigError, DataError, did_you_mean
from monai_tl.text import name_some

# left, right; SynthSeg and FastSurfer use FreeSurfer's values
CODINGS = {"freesurfer": (17, 53), "dlmuse": (48, 47)}


def sides_of(foreground: Sequence[int]) -> tuple[int, int] | None:
    """Return the values of the left and the right hippocampus if they are exactly the foreground values, else None."""
    return next((pair for pair in CODINGS.values() if set(pair) == set(foreground)), None)


def named_coding(coding: str) -> str:
    """Return a coding's name if it exists.

    Raises:
        ConfigError: if it does not; the existing ones are listed.
    """
    if coding not in CODINGS:
        raise ConfigError(f"unknown coding '{coding}': {did_you_mean(coding, CODINGS)}")
    return coding


def coding_of(values: Sequence[Any], where: str) -> str:
    """Return the coding by which a label's values include both hippocampi.

    A single value is not sufficient: 47, the right side by DLMUSE, is the right cerebellar cortex by FreeSurfer.

    Raises:
        DataError: if this is true of both codings or of neither.
    """
    fit = [name for name, pair in CODINGS.items() if set(pair) <= set(values)]
    if len(fit) != 1:
        pairs = " or ".join(f"{min(pair)} and {max(pair)} ({name})" for name, pair in CODINGS.items())
        present = name_some([f"{value:g}" for value in np.sort(np.asarray(values))], 60)
        raise DataError(
            f"the coding of {where} cannot be determined: hippocampi are {pairs}, and it has {'both' if fit else 'neither'}: "
            f"{present}. "
            f"Name it by --coding {'|'.join(CODINGS)}"
        )
    return fit[0]
