"""Errors in a user's input. Each message states what came, what was needed, what exists and what to do."""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable, Iterator, Sequence


class DataError(ValueError):
    """A case, scan, datalist or split is invalid.

    Example:
        >>> from monai_tl import read_datalist
        >>> read_datalist("data/ixi/datalist.json").split("valid")
        Traceback (most recent call last):
        monai_tl.errors.DataError: no split 'valid' in ...: did you mean 'validation'? There are: train, validation, test
    """


class TransferError(ValueError):
    """Source weights cannot be transferred to the target as requested.

    Example:
        >>> from monai_tl import HighRes3DNet, freeze
        >>> freeze(HighRes3DNet(in_channels=1, out_channels=2), "res_4")
        Traceback (most recent call last):
        monai_tl.errors.TransferError: freeze takes 0–5 or the name of the last frozen stage, not 'res_4'; ...
    """


class ConfigError(ValueError):
    """A flag, config id, run folder or argument is invalid.

    Example:
        >>> from monai_tl import HighRes3DNet
        >>> HighRes3DNet(in_channels=0, out_channels=2)
        Traceback (most recent call last):
        monai_tl.errors.ConfigError: a network needs 1 channel or more in and out, not 0 in, 2 out
    """


class PartlyDoneError(Exception):
    """Some cases failed; all others are finished."""


USER_ERRORS = (DataError, TransferError, ConfigError)
FULL = (errno.ENOSPC, errno.EDQUOT)
NO_NAME = (errno.ENAMETOOLONG, errno.EROFS, errno.ELOOP)
PLACES = (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError)
NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")  # CUDA, PyTorch's CPU allocator


def did_you_mean(name: str, existing: Iterable[str]) -> str:
    """Return the nearest existing name and all of them: ``"did you mean 'freeze'? There are: freeze, norm"``."""
    names = [str(other) for other in existing]
    small = {other.casefold(): other for other in names}
    nearest = difflib.get_close_matches(str(name).casefold(), small, n=1, cutoff=0.5)
    hint = f"did you mean '{small[nearest[0]]}'? " if nearest else ""
    return f"{hint}There are: {', '.join(names) or 'none'}"


def list_problems(first_line: str, problems: Sequence[str], shown: int = 5) -> str:
    """Return a headline, the first few problems in one indented line each, and the number of the others."""
    more = [f"and {len(problems) - shown} more"] if len(problems) > shown else []
    return "\n  ".join([first_line, *problems[:shown], *more])


def user_error(error: BaseException) -> BaseException | None:
    """Return the error that a user can correct, out of the chain of causes in which MONAI wraps it.

    Returns:
        An error of this package, also for a full disk, an unusable path or too little memory; None for a bug.
    """
    for cause in _causes(error):
        if isinstance(cause, USER_ERRORS):
            return cause
        if is_full_disk(cause):
            name = getattr(cause, "filename", None)
            where = f" while writing {name}" if name else ""
            return ConfigError(
                f"the disk is full{where}: free some space and repeat the command "
                "(training continues with --resume true); finished work is kept"
            )
        if isinstance(cause, OSError) and (isinstance(cause, PLACES) or cause.errno in NO_NAME) and cause.filename:
            return ConfigError(f"'{cause.filename}': {cause.strerror}; choose another path, or correct this one")
        if is_out_of_memory(cause):
            return ConfigError(
                f"out of memory ({first_line(cause)}): lower --batch_size or --window to train, "
                "--inference_window to predict, or --cache_rate if the scans do not fit"
            )
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether a GPU or the machine ran out of memory."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error).lower() for text in NO_MEMORY)
    )


def in_words(error: BaseException) -> str:
    """Return an error in one line: the one that a user can correct, else the first of its chain of causes."""
    if cause := user_error(error):
        return " ".join(str(cause).split())
    *_, first = _causes(error)
    return f"{type(first).__name__}: {first_line(first)}"


def is_full_disk(error: BaseException) -> bool:
    """Return whether no disk space was left."""
    return isinstance(error, OSError) and error.errno in FULL


def first_line(error: BaseException, path: str = "") -> str:
    """Return the first line of an error, at most 200 characters; ``path``, which the caller names, is cut to its last part."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return (line.replace(path, os.path.basename(path)) if path else line)[:200]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
