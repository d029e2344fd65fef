"""``data.json``, beside a run's weights: which scans it was trained, chosen and tested on, and the runs of its lineage."""

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
PLAIN, KEYED, ELSEWHERE = "plain", "keyed", "keyed elsewhere"  # ids; by the key beside this folder; by another one


@dataclass(frozen=True)
class RunCases:
    """The cases of one run.

    Attributes:
        path: of its weights; empty for the run that the file itself belongs to.
        ids: ``plain``, ``keyed`` (pseudonyms by the key beside the run's folder) or ``keyed elsewhere``.
        splits: split -> subject -> role -> fingerprint; ``None`` where the run keeps no list.
        key: of pseudonyms, where it was found.
    """

    path: str
    splits: Mapping[str, Prints] | None
    ids: str = PLAIN
    key: bytes | None = field(default=None, repr=False)

    @property
    def ids_known(self) -> bool:
        """Say if subject ids can be compared with others."""
        return self.ids == PLAIN or (self.ids == KEYED and self.key is not None)

    def named(self, subjects: Sequence[str]) -> dict[str, str]:
        """Give what each subject is called in these lists, if it is in them."""
        return pseudonyms(subjects, self.key) if self.ids == KEYED and self.key else {one: one for one in subjects}


@dataclass(frozen=True)
class RunData:
    """What ``data.json`` holds.

    Attributes:
        own: cases of the run.
        earlier: cases of the runs that its weights come from, the first of the lineage first.
        weights_sha256: of ``model.pt`` as its training left it; empty before that.
        training_ml: lowest, median and highest foreground of its training cases, in ml, as ``min``, ``median``, ``max``.
    """

    own: RunCases
    earlier: tuple[RunCases, ...] = ()
    training_ml: Mapping[str, float] = field(default_factory=dict)
    weights_sha256: str = ""


def split_prints(found: Fingerprints, splits: Mapping[str, Sequence[str]]) -> dict[str, Prints]:
    """Sort fingerprints by split; cases in none are left away."""
    return {name: {subject: found.of[subject] for subject in subjects} for name, subjects in splits.items()}


def range_of(volumes: Sequence[float]) -> dict[str, float]:
    """Give lowest, median and highest; nothing of nothing."""
    if not volumes:
        return {}
    return {"min": min(volumes), "median": statistics.median(volumes), "max": max(volumes)}


def write_run_data(folder: Path, home: Path, data: RunData, *, anonymous: bool) -> None:
    """Write ``data.json``.

    Args:
        folder: to write to.
        home: the run's folder as it will be called: the key of pseudonyms lies beside it.
        data: what to write.
        anonymous: write pseudonyms in place of ids, those of earlier runs too.
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
    """Note which weights ``data.json`` speaks for, once training has ended; nothing where there is no such file."""
    path = folder / FILE
    if path.is_file():
        write_json(path, {**read_json(path, remedy=REMEDY, of_format=FORMAT), "weights_sha256": sha256_of(weights)})


def _content(run: RunCases, key: bytes | None) -> dict[str, Any]:
    """Ids and splits of a run as they stand in the file."""
    if run.splits is None:
        return {"ids": PLAIN, "splits": None}
    ids = ELSEWHERE if run.ids != PLAIN else KEYED if key else PLAIN
    subjects = [subject for prints in run.splits.values() for subject in prints]
    names = pseudonyms(subjects, key) if key and ids == KEYED else {one: one for one in subjects}
    splits = {
        split: dict(  # sorted by what they are called here: the order of ids would tell whose pseudonym is whose
            sorted((names[subject], {role: list(of) for role, of in roles.items()}) for subject, roles in prints.items())
        )
        for split, prints in run.splits.items()
    }
    return {"ids": ids, "splits": splits}


def read_run_data(folder: Path) -> RunData | None:
    """Read what a run keeps of its cases; ``None`` where there is no such file.

    Raises:
        DataError: if it is damaged, or of another format.
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
    """Say which scans are other ones than a run began with: ``"T1 of IXI012 (PATH)"``.

    Moved, renamed or repacked files with the same content count as the same. Where ids cannot be compared (pseudonyms, and
    no key) it is enough that a scan is among those of its role and split.

    Args:
        before: what the run keeps.
        now: split -> subject -> role -> fingerprint, of the splits that are compared.
        cases: with the paths of the scans.
    """
    paths = {case["subject"]: case for case in cases}
    told = []
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
                if not new and not any(of.same_content(one) for one in known):
                    told.append(f"{role} of {subject} ({paths[subject][role]})")
    return told


def of_weights(data: RunData, path: str) -> tuple[RunCases, ...]:
    """Give all runs of a lineage whose last one's weights lie at a path, the first of the lineage first."""
    return (*data.earlier, replace(data.own, path=path))
