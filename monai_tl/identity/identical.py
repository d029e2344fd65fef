"""Images that are the same although ids or modalities say that they are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monai_tl.errors import DataError, list_problems
from monai_tl.identity.fingerprints import Prints
from monai_tl.text import name_some


@dataclass(frozen=True)
class Identical:
    """Images with the same voxels, each ``(subject, modality)``: of several subjects, or of one."""

    images: tuple[tuple[str, str], ...]

    @property
    def subjects(self) -> tuple[str, ...]:
        """Whose they are, in order of id."""
        return tuple(dict.fromkeys(subject for subject, _ in self.images))

    def say(self, where: Mapping[str, str]) -> str:
        """Say it in a line, with the split of each subject."""
        told = [f"{role} of {subject} ({where.get(subject, 'no split')})" for subject, role in self.images]
        return " = ".join([*told[:4], *([f"{len(told) - 4} more"] if len(told) > 4 else [])])


def find_identical(prints: Prints) -> list[Identical]:
    """Find images with the same voxels, whatever their files and headers; once for the same subjects.

    Labels do not count, nor images of one value: two that are empty are equal.
    """
    alike: dict[str, list[tuple[str, str]]] = {}
    for subject in sorted(prints):
        for role, of in prints[subject].items():
            if role != "label" and not of.is_blank:
                alike.setdefault(of.voxels, []).append((subject, role))
    groups = [Identical(tuple(images)) for images in alike.values() if len(images) > 1]
    return list({group.subjects: group for group in reversed(groups)}.values())[::-1]


def images_as_labels(prints: Prints) -> list[tuple[str, str]]:
    """Find images with the voxels of their own case's label, ``(subject, modality)``: a pattern that matched the wrong file."""
    return [
        (subject, role)
        for subject, of in sorted(prints.items())
        for role, one in of.items()
        if role != "label" and "label" in of and not one.is_blank and one.voxels == of["label"].voxels
    ]


def refuse_identical(prints: Prints, splits: Mapping[str, Sequence[str]]) -> list[str]:
    """Refuse one image in two splits, as two modalities of one subject, or as a subject's label.

    Args:
        prints: of the cases.
        splits: name -> its subjects.

    Returns:
        A line for each image that several subjects share within one split, or of whom one at most is in any.

    Raises:
        DataError: with a line an image, and what to do.
    """
    where = {subject: name for name, subjects in splits.items() for subject in subjects}
    labels = [f"{role} of {subject} ({where.get(subject, 'no split')})" for subject, role in images_as_labels(prints)]
    if labels:
        first = "an image is its own label, voxel for voxel; correct these subjects' paths or patterns:"
        raise DataError(list_problems(first, labels))
    groups = find_identical(prints)
    twice = [group.say(where) for group in groups if len(group.subjects) == 1]
    if twice:
        raise DataError(list_problems("one image stands for two modalities; correct these subjects' paths or patterns:", twice))
    across = [group for group in groups if len({where[subject] for subject in group.subjects if subject in where}) > 1]
    if across:
        spare = name_some(list(dict.fromkeys(subject for group in across for subject in group.subjects[1:])), 20)
        raise DataError(
            list_problems(
                f"one image is in two splits under two ids, so that cases are scored which were trained on; keep one of each, "
                f"e.g. `monai_tl datalist … --leave_out {spare.replace(', ', ',')}`:",
                [group.say(where) for group in across],
            )
        )
    return [group.say(where) for group in groups]
