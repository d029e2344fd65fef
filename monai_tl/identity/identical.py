"""Identical images under different ids or modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monai_tl.errors import DataError, list_problems
from monai_tl.identity.fingerprints import Prints
from monai_tl.text import name_some


@dataclass(frozen=True)
class Identical:
    """Images with the same voxels, each as ``(subject, modality)``, of one or several subjects."""

    images: tuple[tuple[str, str], ...]

    @property
    def subjects(self) -> tuple[str, ...]:
        """Their subjects, in order of id."""
        return tuple(dict.fromkeys(subject for subject, _ in self.images))

    def line(self, where: Mapping[str, str]) -> str:
        """Return them as one line, with the split of each subject."""
        images = [f"{role} of {subject} ({where.get(subject, 'no split')})" for subject, role in self.images]
        return " = ".join([*images[:4], *([f"{len(images) - 4} more"] if len(images) > 4 else [])])


def find_identical(prints: Prints) -> list[Identical]:
    """Return groups of images with the same voxels, regardless of files and headers; one group per set of subjects.

    Labels and constant images are not compared.
    """
    alike: dict[str, list[tuple[str, str]]] = {}
    for subject in sorted(prints):
        for role, of in prints[subject].items():
            if role != "label" and not of.is_blank:
                alike.setdefault(of.voxels, []).append((subject, role))
    groups = [Identical(tuple(images)) for images in alike.values() if len(images) > 1]
    return list({group.subjects: group for group in reversed(groups)}.values())[::-1]


def images_as_labels(prints: Prints) -> list[tuple[str, str]]:
    """Return images, as ``(subject, modality)``, that equal their own case's label: a pattern matched the wrong file."""
    return [
        (subject, role)
        for subject, of in sorted(prints.items())
        for role, image in of.items()
        if role != "label" and "label" in of and not image.is_blank and image.voxels == of["label"].voxels
    ]


def refuse_identical(prints: Prints, splits: Mapping[str, Sequence[str]]) -> list[str]:
    """Refuse one image in two splits, as two modalities of one subject, or as a subject's label.

    Args:
        prints: fingerprints of the cases.
        splits: name -> its subjects.

    Returns:
        One line per image that several subjects share within one split, or of whom at most one is in a split.

    Raises:
        DataError: with one line per image, and the remedy.
    """
    where = {subject: name for name, subjects in splits.items() for subject in subjects}
    labels = [f"{role} of {subject} ({where.get(subject, 'no split')})" for subject, role in images_as_labels(prints)]
    if labels:
        first = "an image is identical to its own label, voxel for voxel; correct these subjects' paths or patterns:"
        raise DataError(list_problems(first, labels))
    groups = find_identical(prints)
    twice = [group.line(where) for group in groups if len(group.subjects) == 1]
    if twice:
        raise DataError(
            list_problems("one image is used for two modalities; correct these subjects' paths or patterns:", twice)
        )
    across = [group for group in groups if len({where[subject] for subject in group.subjects if subject in where}) > 1]
    if across:
        spare = name_some(list(dict.fromkeys(subject for group in across for subject in group.subjects[1:])), 20)
        raise DataError(
            list_problems(
                f"one image is in two splits under two ids, so training cases would be scored; keep one of each, "
                f"e.g. `monai_tl datalist … --leave_out {spare.replace(', ', ',')}`:",
                [group.line(where) for group in across],
            )
        )
    return [group.line(where) for group in groups]
