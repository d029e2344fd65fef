"""Nested training sets of several sizes, drawn for each seed and stratified by lesion volume."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from monai_tl.errors import ConfigError, DataError, did_you_mean
from monai_tl.text import name_some

STRATA = 4  # quarters of the training set by foreground volume


@dataclass(frozen=True)
class Size:
    """A size of the training set.

    Attributes:
        n: number of subjects.
        subjects: their ids, if a list names them or all subjects are used; None: they are drawn for each seed.
        listed: whether a list names them.
    """

    n: int
    subjects: tuple[str, ...] | None = None
    listed: bool = False


def drawing_order(volumes: Mapping[str, float], seed: int, strata: int = STRATA) -> tuple[str, ...]:
    """Return subjects in random order, such that the first n, for any n, are a training set stratified by volume.

    The subjects are divided by volume into strata of nearly equal size. Each stratum is shuffled, and the strata are merged
    such that each contributes its share to the first n, within one subject. Thus sizes are nested, and adding a size later
    does not change the others.

    Args:
        volumes: subject -> foreground in ml, in any order.
        seed: of the draw.
        strata: number of strata.
    """
    ranked = sorted(volumes, key=lambda subject: (volumes[subject], subject))
    places: list[tuple[float, int, str]] = []
    generator = np.random.default_rng(seed)
    groups = [list(group) for group in np.array_split(np.array(ranked, dtype=object), min(strata, len(ranked)))]
    ties = generator.permutation(len(groups))  # which stratum comes first if shares are equal
    for tie, group in zip(ties, groups, strict=True):
        shuffled = generator.permutation(len(group))
        places += [((at + 0.5) / len(group), int(tie), group[chosen]) for at, chosen in enumerate(shuffled)]
    return tuple(subject for *_, subject in sorted(places))


def read_sizes(texts: Sequence[str], train: Sequence[str], lists: Mapping[str, Sequence[str]]) -> tuple[Size, ...]:
    """Return the sizes of a study, ascending.

    Args:
        texts: counts (``26``), fractions of the training set (``0.25``; if one has a decimal point, ``1`` is the whole set),
            names of lists, or ``all``.
        train: subjects of the training split.
        lists: named training sets, e.g. ``S1`` to ``S4``.

    Raises:
        ConfigError: for an invalid size, or two sizes with the same number of subjects.
        DataError: for more subjects than exist, a list with subjects outside the training split, or lists that are not nested.
    """
    fractions = any("." in text for text in texts)
    sizes = [_size(text, train, lists, fractions) for text in texts]
    counts = [size.n for size in sizes]
    for text, n in zip(texts, counts, strict=True):
        if counts.count(n) > 1:
            raise ConfigError(f"two sizes are {n} of {len(train)} training subjects ('{text}' is one of them); give only one")
    if not sizes:
        raise ConfigError("a study needs sizes: counts (26,52), fractions (0.25,0.5,1) or names of lists (S1,S2)")
    named = sorted((size.subjects for size in sizes if size.subjects is not None), key=len)
    for smaller, larger in itertools.pairwise(named):
        lacking = sorted(set(smaller) - set(larger))
        if lacking:
            raise DataError(
                f"the lists are not nested: that of {len(larger)} subjects lacks {name_some(lacking)} of that of "
                f"{len(smaller)}; each list must contain the smaller ones"
            )
    if len(named) < len(sizes) and any(len(subjects) < len(train) for subjects in named):
        raise ConfigError("sizes mix named lists with counts or fractions, so the sets would not be nested; give only one kind")
    return tuple(sorted(sizes, key=lambda size: size.n))


def training_set(size: Size, order: Sequence[str]) -> tuple[str, ...]:
    """Return the subjects of a size: those of its list, or the first n of `drawing_order`."""
    return tuple(sorted(order[: size.n] if size.subjects is None else size.subjects))


def _size(text: str, train: Sequence[str], lists: Mapping[str, Sequence[str]], fractions: bool) -> Size:
    if text == "all":
        return Size(len(train), tuple(sorted(train)))
    if text in lists:
        absent = sorted(set(lists[text]) - set(train))
        if absent:
            raise DataError(
                f"{len(absent)} subjects of list '{text}' are not in the training split: {name_some(absent)}; write the "
                "datalist with the largest list as its training split (monai_tl datalist … --split FILE --train NAME)"
            )
        twice = sorted({subject for subject in lists[text] if list(lists[text]).count(subject) > 1})
        if twice:
            raise DataError(f"list '{text}' names {name_some(twice)} more than once; name each subject once")
        if not lists[text]:
            raise DataError(f"list '{text}' names no subject; name at least one")
        return Size(len(lists[text]), tuple(sorted(lists[text])), listed=True)
    try:
        value = float(text)
    except ValueError:
        raise ConfigError(
            f"'{text}' is neither a number nor the name of a list: {did_you_mean(text, ['all', *lists])}"
        ) from None
    if not math.isfinite(value):
        raise ConfigError(f"a size is a count, a fraction or a list's name; got '{text}'")
    n = round(value * len(train)) if fractions else int(value)
    if not fractions and value != n:
        raise ConfigError(f"a size is a count, a fraction or a list's name; got '{text}'")
    if fractions and not 0 < value <= 1:
        raise ConfigError(f"if one size has a decimal point, all are fractions above 0 and up to 1; got '{text}'")
    if not 1 <= n <= len(train):
        raise DataError(f"size {text} is {n} training subjects, but there are {len(train)}; give 1 to {len(train)}")
    return Size(n) if n < len(train) else Size(n, tuple(sorted(train)))
