"""Are cases scored that the weights have seen? Test cases against all that the runs of a lineage trained on or chose by.

Two cases are one if they share an image (the same voxels, under whatever id, file or modality name), or if their ids name one
person. An id that is but a number (``case_012``) names nobody: where the images differ it is said, and refused no more.
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
from monai_tl.text import name_some

SEEN = ("train", "validation")  # splits by which weights come to be
SHOWN = 5  # cases


@dataclass(frozen=True)
class Shared:
    """A case that weights have seen.

    Attributes:
        subject: its id here.
        there: what it is called there.
        split: it is in there.
        path: of the weights there; empty for the run's own.
        image: which image they share; empty where it is the id alone.
    """

    subject: str
    there: str
    split: str
    path: str
    image: str

    @property
    def doubtful(self) -> bool:
        """It is but the same number, and the images differ."""
        return not self.image and is_counted(self.subject)

    def __str__(self) -> str:
        """Say it in a line."""
        whose = f"of '{self.path}'" if self.path else "of this run"
        what = f"has the {self.image} image of" if self.image else "has other images than, but the id of,"
        return f"{self.subject} {what} the {self.split} case {self.there} {whose}"


@dataclass(frozen=True)
class Overlap:
    """What a comparison found.

    Attributes:
        scored: how many cases were compared, and of which split.
        runs: with which.
        shared: the cases that are scored and were seen before.
        chosen: validation cases that an earlier run trained on.
    """

    scored: tuple[int, str]
    runs: tuple[RunCases, ...]
    shared: tuple[Shared, ...]
    chosen: tuple[Shared, ...] = ()

    @property
    def certain(self) -> tuple[Shared, ...]:
        """Those that are refused, unless it is accepted."""
        return tuple(one for one in self.shared if not one.doubtful)

    def lines(self, *, accepted: bool = False, named: bool = True) -> list[str]:
        """Say what was compared, what was found, and what could not be known; without ``named`` no subject's id."""
        told = self._compared(accepted)
        if named:
            told += [str(one) for one in self.certain[:SHOWN]]
            told += [f"and {len(self.certain) - SHOWN} more"] if len(self.certain) > SHOWN else []
        doubtful = _names(one for one in self.shared if one.doubtful)
        if doubtful:
            told.append(
                f"{_some(doubtful, named)}: ids that were trained on or chosen by, too, with other images. Numbers do not say "
                "whether these are other people"
            )
        if chosen := _names(self.chosen):
            told.append(f"validation cases that the source was trained on, so that they choose badly: {_some(chosen, named)}")
        return told + self._unknown()

    def _compared(self, accepted: bool) -> list[str]:
        known = [run for run in self.runs if run.splits is not None]
        if not known:
            return []
        seen = [sum(len((run.splits or {}).get(name, {})) for run in known) for name in SEEN]
        found = len(_names(self.certain))
        outcome = f"{found} shared{', accepted' * accepted}" if found else "none shared"
        count, split = self.scored
        what = f"{count} {split} cases compared with {seen[0]} training and {seen[1]} validation cases"
        return [f"{what} of {_runs(known)}: {outcome}"]

    def _unknown(self) -> list[str]:
        told = []
        hidden = [run for run in self.runs if run.splits is not None and not run.ids_known]
        if hidden:
            told.append(f"the ids of {_runs(hidden)} are pseudonyms whose key is not here: only images were compared")
        return told + [
            f"the source '{run.path}' keeps no list of its training cases (data.json): that no test case is among them cannot "
            "be checked"
            for run in self.runs
            if run.splits is None
        ]


def _names(shared: Iterable[Shared]) -> list[str]:
    return list(dict.fromkeys(one.subject for one in shared))


def _some(subjects: Sequence[str], named: bool) -> str:
    return name_some(subjects) if named else f"{len(subjects)} case{'s' * (len(subjects) > 1)}"


def _runs(runs: Sequence[RunCases]) -> str:
    own, earlier = sum(not run.path for run in runs), sum(bool(run.path) for run in runs)
    told = ["this run"] * bool(own) + [f"{earlier} earlier run{'s' * (earlier > 1)}"] * bool(earlier)
    return " and ".join(told)


def earlier_runs(source: Mapping[str, Any] | None) -> tuple[RunCases, ...]:
    """Give the runs that weights come from, as a transfer report names their source; those that keep no list are unknown.

    Raises:
        DataError: if a list is damaged.
    """
    if source is None:
        return ()
    kept = _list_of(source)
    if kept:
        return kept
    before: list[RunCases] = []
    for run in source["lineage"]:  # each with all before it, where its folder is still there
        before = list(_list_of(run)) or [*before, RunCases(str(run["path"]), None)]
    return (*before, RunCases(str(source["path"]), None))


def _list_of(run: Mapping[str, Any]) -> tuple[RunCases, ...]:
    """Give the runs that are listed beside some weights, if that list speaks for them."""
    path = Path(run["path"])
    kept = read_run_data(path.parent)
    if kept is None or (kept.weights_sha256 and path.name == "model.pt" and kept.weights_sha256 != run["sha256"]):
        return ()
    return of_weights(kept, str(path))


def find_overlap(scored: Prints, split: str, runs: Sequence[RunCases], validation: Prints | None = None) -> Overlap:
    """Compare cases with all that some runs have seen.

    Args:
        scored: the cases that are, or will be, scored.
        split: their name.
        runs: a lineage; a run's own too, where its weights are scored.
        validation: cases that weights will be chosen by.
    """
    shared = tuple(one for run in runs for name in SEEN for one in _shared(scored, run, name))
    chosen = tuple(one for run in runs for one in _shared(validation or {}, run, "train"))
    return Overlap((len(scored), split), tuple(runs), shared, tuple(one for one in chosen if not one.doubtful))


def refuse_overlap(overlap: Overlap) -> None:
    """Refuse test cases that weights have seen.

    Raises:
        DataError: with a line a case, and what to do.
    """
    if overlap.certain:
        names = _names(overlap.certain)
        raise DataError(
            list_problems(
                f"{len(names)} of {overlap.scored[0]} {overlap.scored[1]} cases were trained on or chosen by before, so scores "
                f"on them would be too good. Take them out of the datalist (`monai_tl datalist … --leave_out "
                f"{name_some(names, 20).replace(', ', ',')}`), or go on all the same with --accept_overlap true, which every "
                "report will say:",
                [str(one) for one in overlap.certain],
            )
        )


def _shared(cases: Prints, run: RunCases, split: str) -> list[Shared]:
    """Each case that a run has seen in a split, once: by an image, else by its id."""
    there = (run.splits or {}).get(split, {})
    by_voxels = {of.voxels: subject for subject, roles in there.items() for of in _images(roles).values()}
    by_person = _by_person(there, run, list(cases))
    found = []
    for subject, roles in cases.items():
        image = next((role for role, of in _images(roles).items() if of.voxels in by_voxels), "")
        other = by_voxels[roles[image].voxels] if image else by_person.get(subject, "")
        if other:
            found.append(Shared(subject, other, split, run.path, image))
    return found


def _images(roles: Mapping[str, Fingerprint]) -> dict[str, Fingerprint]:
    return {role: of for role, of in roles.items() if role != "label" and not of.is_blank}


def _by_person(there: Prints, run: RunCases, subjects: Sequence[str]) -> dict[str, str]:
    """Subject -> the one there whose id names the same person. Pseudonyms are of whole ids."""
    if not run.ids_known:
        return {}
    if run.key is not None:
        return {subject: name for subject, name in run.named(subjects).items() if name in there}
    persons = {person_of(subject): subject for subject in there}
    return {subject: persons[person_of(subject)] for subject in subjects if person_of(subject) in persons}
