"""``data.json`` of a run folder: the scans of its training, validation and test, and the runs that its weights come from."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from monai_tl.datasets.patterns import Case
from monai_tl.identity.anonymise import key_path, pseudonyms, read_or_make_key
from monai_tl.identity.fingerprints import Fingerprint, Fingerprints, Prints
from monai_tl.storage.files import naming_damage, read_json, sha256_of, write_json

FILE = "data.json"
FORMAT = 1
REMEDY = "restore it, or train again"
PLAIN, KEYED, ELSEWHERE = "plain", "keyed", "keyed elsewhere"  # ids; pseudonyms by the key next to this folder; by another key


@dataclass(frozen=True)
class RunCases:
    """The cases of one run.

    Attributes:
        path: of its weights; empty for the run that the file belongs to.
        ids: ``plain``, ``keyed`` (pseudonyms by the key next to the run's folder) or ``keyed elsewhere``.
        splits: split -> subject -> role -> fingerprint; ``None`` if the run recorded none.
        key: of the pseudonyms, if it was found.
    """

    path: str
    splits: Mapping[str, Prints] | None
    ids: str = PLAIN
    key: bytes | None = field(default=None, repr=False)

    @property
    def ids_known(self) -> bool:
        """Return whether its subject ids can be compared with those of other runs."""
        return self.ids == PLAIN or (self.ids == KEYED and self.key is not None)

    def named(self, subjects: Sequence[str]) -> dict[str, str]:
        """Return subject -> its name in these splits, the pseudonym if ids are keyed."""
        return pseudonyms(subjects, self.key) if self.ids == KEYED and self.key else {subject: subject for subject in subjects}


@dataclass(frozen=True)
class RunData:
    """The content of ``data.json``.

    Attributes:
        own: cases of the run.
        earlier: cases of the runs that its weights come from, oldest first.
        weights_sha256: of ``model.pt`` at the end of training; empty before.
        training_ml: foreground volume of its training cases in ml: ``min``, ``median``, ``max``.
    """

    own: RunCases
    earlier: tuple[RunCases, ...] = ()
    training_ml: Mapping[str, float] = field(default_factory=dict)
    weights_sha256: str = ""


def split_prints(found: Fingerprints, splits: Mapping[str, Sequence[str]]) -> dict[str, Prints]:
    """Return split -> fingerprints of its subjects; cases in no split are omitted."""
    return {name: {subject: found.of[subject] for subject in subjects} for name, subjects in splits.items()}


def range_of(volumes: Sequence[float]) -> dict[str, float]:
    """Return minimum, median and maximum; an empty dict for no volumes."""
    if not volumes:
        return {}
    return {"min": min(volumes), "median": statistics.median(volumes), "max": max(volumes)}


def write_run_data(folder: Path, home: Path, data: RunData, *, anonymous: bool) -> None:
    """Write ``data.json``.

    Args:
        folder: to write to.
        home: final path of the run folder; the key of pseudonyms is next to it.
        data: its content.
        anonymous: write pseudonyms instead of ids, including those of earlier runs.
    """
    key = read_or_make_key(home) if anonymous else None
    content = {
        "format": FORMAT,
        "fingerprint": list(Fingerprint._fields),
        "training_ml": dict(data.training_ml),
        "weights_sha256": data.weights_sha256,
        **_content(data.own, key),
        "earlier": [{"path": run.path, **_content(run, key)} for run in data.earlier],
    }
    write_json(folder / FILE, content)


def note_weights(folder: Path, weights: Path) -> None:
    """Record in ``data.json`` the hash of the weights when training has ended; do nothing if there is no such file."""
    path = folder / FILE
    if path.is_file():
        write_json(path, {**read_json(path, remedy=REMEDY, of_format=FORMAT), "weights_sha256": sha256_of(weights)})


def _content(run: RunCases, key: bytes | None) -> dict[str, Any]:
    """Return the ids and splits of a run as written to the file."""
    if run.splits is None:
        return {"ids": PLAIN, "splits": None}
    ids = ELSEWHERE if run.ids != PLAIN else KEYED if key else PLAIN
    subjects = [subject for prints in run.splits.values() for subject in prints]
    names = pseudonyms(subjects, key) if key and ids == KEYED else {subject: subject for subject in subjects}
    splits = {
        split: dict(  # sorted by written name: the order of ids would reveal the pseudonyms
            sorted((names[subject], {role: list(of) for role, of in roles.items()}) for subject, roles in prints.items())
        )
        for split, prints in run.splits.items()
    }
    return {"ids": ids, "splits": splits}


def read_run_data(folder: Path) -> RunData | None:
    """Read ``data.json`` of a run; ``None`` if it does not exist.

    Raises:
        DataError: if it is damaged or has another format.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    key = read_or_make_key(folder) if key_path(folder).is_file() else None
    content = read_json(path, remedy=REMEDY, of_format=FORMAT)
    with naming_damage(path, REMEDY):
        own = _run("", content, key)
        earlier = tuple(_run(str(run["path"]), run, key) for run in content["earlier"])
        volumes = {str(name): float(ml) for name, ml in content["training_ml"].items()}
        return RunData(own, earlier, volumes, str(content["weights_sha256"]))


def _run(path: str, content: Mapping[str, Any], key: bytes | None) -> RunCases:
    if content["ids"] not in (PLAIN, KEYED, ELSEWHERE):
        raise ValueError(f"ids are '{content['ids']}'")
    splits = content["splits"]
    if splits is not None:
        splits = {
            str(split): {
                str(subject): {str(role): Fingerprint(*map(str, of)) for role, of in roles.items()}
                for subject, roles in cases.items()
            }
            for split, cases in splits.items()
        }
    return RunCases(path, splits, content["ids"], key if content["ids"] == KEYED else None)


def changed_scans(before: RunCases, now: Mapping[str, Prints], cases: Sequence[Case]) -> list[str]:
    """Return the scans that differ from those a run started with: ``"T1 of IXI012 (PATH)"``.

    Moved, renamed or recompressed files with the same content are the same scan. If ids cannot be compared (pseudonyms
    without their key), a scan only has to be among those of its role and split.

    Args:
        before: the cases that the run recorded.
        now: split -> subject -> role -> fingerprint, for the splits to compare.
        cases: with the paths of the scans.
    """
    paths = {case["subject"]: case for case in cases}
    changed = []
    for split, prints in now.items():
        kept = (before.splits or {}).get(split, {})
        names = before.named(list(prints))
        for subject, roles in prints.items():
            for role, of in roles.items():
                if before.ids_known:
                    known = [kept[names[subject]][role]] if role in kept.get(names[subject], {}) else []
                    new = names[subject] not in kept or not known
                else:
                    known, new = [other[role] for other in kept.values() if role in other], False
                if not new and not any(of.same_content(scan) for scan in known):
                    changed.append(f"{role} of {subject} ({paths[subject][role]})")
    return changed


def of_weights(data: RunData, path: str) -> tuple[RunCases, ...]:
    """Return a run, whose weights are at ``path``, and all runs that these come from, oldest first."""
    return (*data.earlier, replace(data.own, path=path))
