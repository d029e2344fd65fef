"""Compare test cases with the training and validation cases of all runs of a lineage, to detect leakage.

Two cases are the same if they share an image (equal voxels, whatever the id, file or modality name), or if their ids name the
same person. An id that is only a number (``case_012``) names no person: if the images differ, it is reported but not refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_tl.errors import DataError, list_problems
from monai_tl.identity.fingerprints import Fingerprint, Prints
from monai_tl.identity.persons import is_counted, person_of
from monai_tl.identity.run_data import RunCases, of_weights, read_run_data
from monai_tl.text import name_some, plural

SEEN = ("train", "validation")  # splits that determine the weights
SHOWN = 5  # shared cases that are listed


@dataclass(frozen=True)
class Shared:
    """A case that an earlier training or validation has used.

    Attributes:
        subject: its id in the datalist.
        there: its id in the other run.
        split: its split in the other run.
        path: weights of the other run; empty for this run.
        image: modality of the shared image; empty if only the ids agree.
    """

    subject: str
    there: str
    split: str
    path: str
    image: str

    @property
    def doubtful(self) -> bool:
        """Whether only a numeric id agrees, and the images differ."""
        return not self.image and is_counted(self.subject)

    def __str__(self) -> str:
        """Return the two cases and what they share, in one line."""
        what = f"the same {self.image} image" if self.image else "the same id, but other images,"
        run = f"'{self.path}'" if self.path else "this run"
        return f"{self.subject} has {what} as the {self.split} case {self.there} of {run}"


@dataclass(frozen=True)
class Overlap:
    """Which cases an earlier training or validation has used.

    Attributes:
        scored: the number of compared cases and their split.
        runs: the runs they were compared with.
        shared: scored cases that a run has used.
        chosen: validation cases that an earlier run trained on.
    """

    scored: tuple[int, str]
    runs: tuple[RunCases, ...]
    shared: tuple[Shared, ...]
    chosen: tuple[Shared, ...] = ()

    @property
    def certain(self) -> tuple[Shared, ...]:
        """The shared cases that are refused unless accepted."""
        return tuple(one for one in self.shared if not one.doubtful)

    def lines(self, *, accepted: bool = False, named: bool = True) -> list[str]:
        """Return what was compared, what is shared and what is unknown; without ``named``, no subject's id."""
        lines = self._compared(accepted)
        if named:
            lines += [str(shared) for shared in self.certain[:SHOWN]]
            lines += [f"and {len(self.certain) - SHOWN} more"] if len(self.certain) > SHOWN else []
        doubtful = _names(shared for shared in self.shared if shared.doubtful)
        if doubtful:
            lines.append(
                f"{_some(doubtful, named)}: ids also used in training or validation, with other images; a number does not "
                "identify a person, so these may be other people"
            )
        if chosen := _names(self.chosen):
            lines.append(
                f"validation cases that the source was trained on, which biases the choice of weights: {_some(chosen, named)}"
            )
        return lines + self._unknown()

    def _compared(self, accepted: bool) -> list[str]:
        known = [run for run in self.runs if run.splits is not None]
        if not known:
            return []
        seen = [sum(len((run.splits or {}).get(name, {})) for run in known) for name in SEEN]
        count_shared = len(_names(self.certain))
        outcome = f"{count_shared} shared{', accepted' * accepted}" if count_shared else "none shared"
        count, split = self.scored
        what = f"{plural(count, f'{split} case')} compared with {seen[0]} training and {plural(seen[1], 'validation case')}"
        return [f"{what} of {_runs(known)}: {outcome}"]

    def _unknown(self) -> list[str]:
        lines = []
        hidden = [run for run in self.runs if run.splits is not None and not run.ids_known]
        if hidden:
            lines.append(f"the ids of {_runs(hidden)} are pseudonyms and their key is missing: only images were compared")
        return lines + [
            f"the source '{run.path}' has no list of its training cases (data.json): whether test cases are among them cannot "
            "be checked"
            for run in self.runs
            if run.splits is None
        ]


def _names(shared: Iterable[Shared]) -> list[str]:
    return list(dict.fromkeys(case.subject for case in shared))


def _some(subjects: Sequence[str], named: bool) -> str:
    return name_some(subjects) if named else f"{len(subjects)} case{'s' * (len(subjects) > 1)}"


def _runs(runs: Sequence[RunCases]) -> str:
    own, earlier = sum(not run.path for run in runs), sum(bool(run.path) for run in runs)
    parts = ["this run"] * bool(own) + [f"{earlier} earlier run{'s' * (earlier > 1)}"] * bool(earlier)
    return " and ".join(parts)


def earlier_runs(source: Mapping[str, Any] | None) -> tuple[RunCases, ...]:
    """Return the runs of a source's lineage, from a transfer report; runs without a list of cases have no splits.

    Raises:
        DataError: if a list of cases is damaged.
    """
    if source is None:
        return ()
    listed = _list_of(source)
    if listed:
        return listed
    before: list[RunCases] = []
    for run in source["lineage"]:  # a list includes all earlier runs; the folder may no longer exist
        before = list(_list_of(run)) or [*before, RunCases(str(run["path"]), None)]
    return (*before, RunCases(str(source["path"]), None))


def _list_of(run: Mapping[str, Any]) -> tuple[RunCases, ...]:
    """Return the runs in the ``data.json`` next to some weights; empty if it belongs to other weights."""
    path = Path(run["path"])
    data = read_run_data(path.parent)
    if data is None or (data.weights_sha256 and path.name == "model.pt" and data.weights_sha256 != run["sha256"]):
        return ()
    return of_weights(data, str(path))


def find_overlap(scored: Prints, split: str, runs: Sequence[RunCases], validation: Prints | None = None) -> Overlap:
    """Compare cases with the training and validation cases of runs.

    Args:
        scored: the cases that are, or will be, scored.
        split: the split of these cases.
        runs: a lineage; with the run itself if its weights are scored.
        validation: cases of this run's validation, by which its weights are chosen.
    """
    shared = tuple(case for run in runs for name in SEEN for case in _shared(scored, run, name))
    chosen = tuple(case for run in runs for case in _shared(validation or {}, run, "train") if not case.doubtful)
    return Overlap((len(scored), split), tuple(runs), shared, chosen)


def refuse_overlap(overlap: Overlap) -> None:
    """Refuse test cases that were used for training or validation.

    Raises:
        DataError: with one line for each such case, and the remedy.
    """
    if overlap.certain:
        names = _names(overlap.certain)
        raise DataError(
            list_problems(
                f"{len(names)} of {overlap.scored[0]} {overlap.scored[1]} cases were used for training or validation "
                f"before, so their scores would be too high. Remove them from the datalist (`monai_tl datalist … --leave_out "
                f"{name_some(names, 20).replace(', ', ',')}`), or continue with --accept_overlap true, which every report "
                "will state:",
                [str(shared) for shared in overlap.certain],
            )
        )


def _shared(cases: Prints, run: RunCases, split: str) -> list[Shared]:
    """Return each case that is in a split of a run, once: by a shared image, or else by its id."""
    there = (run.splits or {}).get(split, {})
    by_voxels = {of.voxels: subject for subject, roles in there.items() for of in _images(roles).values()}
    by_person = _by_person(there, run, list(cases))
    shared = []
    for subject, roles in cases.items():
        image = next((role for role, of in _images(roles).items() if of.voxels in by_voxels), "")
        other = by_voxels[roles[image].voxels] if image else by_person.get(subject, "")
        if other:
            shared.append(Shared(subject, other, split, run.path, image))
    return shared


def _images(roles: Mapping[str, Fingerprint]) -> dict[str, Fingerprint]:
    return {role: of for role, of in roles.items() if role != "label" and not of.is_blank}


def _by_person(there: Prints, run: RunCases, subjects: Sequence[str]) -> dict[str, str]:
    """Return subject -> the case of the run whose id names the same person; pseudonyms stand for whole ids."""
    if not run.ids_known:
        return {}
    if run.key is not None:
        return {subject: name for subject, name in run.named(subjects).items() if name in there}
    persons = {person_of(subject): subject for subject in there}
    return {subject: persons[person_of(subject)] for subject in subjects if person_of(subject) in persons}
