"""What can be wrong with what a user handed in. Each message says what came, what was needed, what exists, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DataError(ValueError):
    """A case, scan, datalist or split is not as it has to be."""


class TransferError(ValueError):
    """Source weights cannot be carried over to the target as asked."""


class ConfigError(ValueError):
    """A flag, a config id, a run folder or a value in them is not as it has to be."""


USER_ERRORS = (DataError, TransferError, ConfigError)


def did_you_mean(name: str, existing: Iterable[str]) -> str:
    """Name the nearest of what exists, and all of it: ``"did you mean 'freeze'? There are: freeze, norm"``."""
    names = [str(other) for other in existing]
    nearest = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"did you mean '{nearest[0]}'? " if nearest else ""
    return f"{hint}There are: {', '.join(names) or 'none'}"
