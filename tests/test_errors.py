"""Errors in one line."""

from __future__ import annotations

from monai_tl.errors import DataError, in_words


def wrapped(cause):
    try:
        raise RuntimeError("Failed to instantiate component\nwith keywords …") from cause
    except RuntimeError as error:
        return error


def test_the_message_is_that_of_the_first_error():
    assert in_words(wrapped(ValueError("patience should be\npositive"))) == "ValueError: patience should be"
    assert in_words(wrapped(DataError("T2\nis missing"))) == "T2 is missing"
