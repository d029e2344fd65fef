"""Training sets of several sizes, each holding the smaller ones, drawn per seed from small and large lesions alike."""

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
        n: subjects.
        subjects: which, where a list names them or it is all of them; None: they are drawn, per seed.
        listed: whether a list names them.
    """

    n: int
    subjects: tuple[str, ...] | None = None
    listed: bool = False


def drawing_order(volumes: Mapping[str, float], seed: int, strata: int = STRATA) -> tuple[str, ...]:
    """Order subjects so that the first n of them, for any n, are a training set: random, and stratified by volume.

    The subjects are cut by volume into strata of nearly equal size; each is shuffled, and they are merged so that of any
    first n each stratum gives its share, within one subject. Sizes are nested by this, and one that is added later
    changes no other.

    Args:
        volumes: subject -> foreground in ml; the order they come in plays no part.
        seed: of the draw.
        strata: how many.
    """
    ranked = sorted(volumes, key=lambda subject: (volumes[subject], subject))
    places: list[tuple[float, int, str]] = []
    generator = np.random.default_rng(seed)
    groups = [list(group) for group in np.array_split(np.array(ranked, dtype=object), min(strata, len(ranked)))]
    ties = generator.permutation(len(groups))  # which stratum comes first where their shares are equal
    for tie, group in zip(ties, groups, strict=True):
        shuffled = generator.permutation(len(group))
        places += [((at + 0.5) / len(group), int(tie), group[chosen]) for at, chosen in enumerate(shuffled)]
    return tuple(subject for *_, subject in sorted(places))


def read_sizes(texts: Sequence[str], train: Sequence[str], lists: Mapping[str, Sequence[str]]) -> tuple[Size, ...]:
    """Read sizes as a study names them, and give them in order.

    Args:
        texts: counts (``26``), fractions of the training set (``0.25``; where one has a point, ``1`` is all of it),
            names of lists, or ``all``.
        train: subjects of the training split.
        lists: named training sets, e.g. ``S1`` to ``S4``.

    Raises:
        ConfigError: for a size that is none, or comes twice.
        DataError: for more subjects than there are, a list with others than the training split's, or lists that are not nested.
    """
    fractions = any("." in text for text in texts)
    sizes = [_size(text, train, lists, fractions) for text in texts]
    counts = [size.n for size in sizes]
    for text, n in zip(texts, counts, strict=True):
        if counts.count(n) > 1:
            raise ConfigError(f"two sizes come to {n} of {len(train)} training subjects ('{text}' is one of them); give one")
    if not sizes:
        raise ConfigError("a study needs sizes: counts (26,52), fractions (0.25,0.5,1) or names of lists (S1,S2)")
    named = sorted((size.subjects for size in sizes if size.subjects is not None), key=len)
    for smaller, larger in itertools.pairwise(named):
        lacking = sorted(set(smaller) - set(larger))
        if lacking:
            raise DataError(
                f"the lists are not nested: that of {len(larger)} lacks {name_some(lacking)} of that of {len(smaller)}; "
                "each has to hold the smaller ones"
            )
    if len(named) < len(sizes) and any(len(subjects) < len(train) for subjects in named):
        raise ConfigError("sizes are either named lists or drawn, or the sets would not be nested; give one kind")
    return tuple(sorted(sizes, key=lambda size: size.n))


def training_set(size: Size, order: Sequence[str]) -> tuple[str, ...]:
    """Give the subjects of a size: those that a list names, or the first of `drawing_order`."""
    return tuple(sorted(order[: size.n] if size.subjects is None else size.subjects))


def _size(text: str, train: Sequence[str], lists: Mapping[str, Sequence[str]], fractions: bool) -> Size:
    if text == "all":
        return Size(len(train), tuple(sorted(train)))
    if text in lists:
        absent = sorted(set(lists[text]) - set(train))
        if absent:
            raise DataError(
                f"{len(absent)} subjects of list '{text}' are not in the training split: {name_some(absent)}; make the "
                "datalist with the largest list as its training split (monai_tl datalist … --split FILE --train NAME)"
            )
        twice = sorted({subject for subject in lists[text] if list(lists[text]).count(subject) > 1})
        if twice:
            raise DataError(f"list '{text}' names {name_some(twice)} more than once; name each subject once")
        if not lists[text]:
            raise DataError(f"list '{text}' names no subject")
        return Size(len(lists[text]), tuple(sorted(lists[text])), listed=True)
    try:
        value = float(text)
    except ValueError:
        raise ConfigError(f"no list is called '{text}', and it is no number: {did_you_mean(text, ['all', *lists])}") from None
    if not math.isfinite(value):
        raise ConfigError(f"a size is a count, a fraction or a list's name; got '{text}'")
    n = round(value * len(train)) if fractions else int(value)
    if not fractions and value != n:
        raise ConfigError(f"a size is a count, a fraction or a list's name; got '{text}'")
    if fractions and not 0 < value <= 1:
        raise ConfigError(f"where one size has a point all are fractions, above 0 and up to 1; got '{text}'")
    if not 1 <= n <= len(train):
        raise DataError(f"size {text} comes to {n} training subjects, and there are {len(train)}; give 1 to {len(train)}")
    return Size(n) if n < len(train) else Size(n, tuple(sorted(train)))
