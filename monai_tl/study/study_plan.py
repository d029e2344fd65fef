"""A study as data, ``study.json``: every run's exact settings and folder, decided before the first one starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from monai_tl.errors import ConfigError, DataError, did_you_mean
from monai_tl.storage.files import naming_damage, read_json, write_json
from monai_tl.study.subsets import Size
from monai_tl.transfer.arms import UNTRAINED, Arm

STUDY_FILE = "study.json"
FORMAT = 1
AXES = ("arms", "sizes", "seeds")  # along which a study may grow
# compared apart, or no part of what is asked
FREE = ("runs", "threads", "volumes_ml", "decision", "training_dice", "asked", "scans", "overlap")
SHOWN = 3  # differences


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run.

    Attributes:
        name: unique in the study, e.g. ``scratch_n26_seed0``.
        arm: name of its arm, see `monai_tl.transfer.arms`.
        n: training subjects.
        seed: of weights, windows and the draw of the training set.
        folder: its run folder, below the study's.
        datalist: its datalist, below the study's folder.
        settings: config ids that are this run's own; the study's hold for all.
    """

    name: str
    arm: str
    n: int
    seed: int
    folder: str
    datalist: str
    settings: dict[str, Any]


@dataclass(frozen=True)
class Study:
    """All that decides what a study's runs will be, and the runs.

    Attributes:
        kind: ``layers``, ``size`` or ``depth``.
        target: the bundle, an absolute path.
        source: ``{"path": …, "sha256": …}`` of the weights carried over; None where no arm takes them.
        configs: merged in order, absolute path -> sha256.
        evaluation: likewise, by which runs are scored, and the source as it is becomes one.
        datalist: ``{"path": …, "sha256": …}``, of which each run's own is a part.
        settings: config ids set alike for all runs.
        arms: names, in order.
        sizes: training subjects, ascending.
        seeds: one run of each arm and size for each.
        rule: how a study of kind ``depth`` decides; empty for others.
        threads: of each run on the CPU; sums over another number of threads round differently.
        volumes_ml: foreground by training subject, by which subsets were stratified; empty where none was drawn.
        runs: seed by seed, so that a study cut short is complete for some.
        decision: what a study of kind ``depth`` has found so far.
        training_dice: each run scores its training cases too.
        scans: subject -> role -> fingerprint of every case's scans: a run with others is refused.
        overlap: what the comparison of test cases with the source's cases said; empty without a source.
        asked: flags as they were given last, where the plan holds only what came of them: ``sizes``, ``lists``, ``budget``.
    """

    kind: str
    target: str
    source: dict[str, str] | None
    configs: dict[str, str]
    datalist: dict[str, str]
    settings: dict[str, Any]
    arms: tuple[str, ...]
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    rule: dict[str, float]
    threads: int
    volumes_ml: dict[str, float] = field(repr=False)
    runs: tuple[PlannedRun, ...] = field(repr=False)
    decision: dict[str, Any] = field(default_factory=dict)
    training_dice: bool = False
    asked: dict[str, str] = field(default_factory=dict)
    evaluation: dict[str, str] = field(default_factory=dict)
    scans: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict, repr=False)
    overlap: dict[str, Any] = field(default_factory=dict)

    @property
    def splits(self) -> tuple[str, ...]:
        """What each run is scored on."""
        return ("test", "train") if self.training_dice else ("test",)


def cross(
    arms: Sequence[Arm], sizes: Sequence[Size], seeds: Sequence[int], source: str | None, iterations: Mapping[str, int]
) -> Iterator[PlannedRun]:
    """Give every run of a grid.

    Args:
        arms, sizes, seeds: the axes.
        source: weights that transfers start from.
        iterations: at most, by arm.
    """
    for seed in seeds:
        for size in sizes:
            origin = "list" if size.listed else "all" if size.subjects is not None else f"seed{seed}"
            datalist = f"datalists/{origin}_n{size.n}.json"
            for arm in arms:
                name = f"{arm.name}_n{size.n}_seed{seed}"
                own = {**arm.settings(source), "seed": seed}
                own |= {} if arm.kind == UNTRAINED else {"iterations": iterations[arm.name]}
                yield PlannedRun(name, arm.name, size.n, seed, f"runs/{name}", datalist, own)


def read_budget(text: str, arms: Sequence[str], iterations: int) -> dict[str, int]:
    """Give each arm's iterations: as told, ``scratch=5000,default=1500``, else the same for all.

    Raises:
        ConfigError: for an arm that the study does not have, or what is no number of iterations.
    """
    told, named = {"default": iterations}, set[str]()
    for part in filter(None, (part.strip() for part in text.split(","))):
        arm, equals, value = part.partition("=")
        if not equals or not value.isdecimal() or int(value) < 1:
            raise ConfigError(f"budget takes iterations by arm, e.g. scratch=5000,default=1500; got '{part}'")
        if arm not in (*arms, "default"):
            hint = did_you_mean(arm, [*arms, "default"])
            raise ConfigError(f"budget names an arm '{arm}' that this study does not have: {hint}")
        if arm in named:
            raise ConfigError(f"budget names '{arm}' twice; give it once")
        named.add(arm)
        told[arm] = int(value)
    return {arm: told.get(arm, told["default"]) for arm in arms}


def read_seeds(text: str) -> tuple[int, ...]:
    """Read seeds: a number alone is how many (``3``: 0, 1, 2); with a comma they are the seeds themselves (``7,8``, ``7,``).

    Raises:
        ConfigError: if they are no different whole numbers from 0.
    """
    parts = [part.strip() for part in str(text).strip("[]()").split(",") if part.strip()]
    listed = any(sign in str(text) for sign in ",[(")
    right = parts and all(part.isdecimal() for part in parts) and len(set(map(int, parts))) == len(parts)
    if not right or (parts == ["0"] and not listed):
        raise ConfigError(f"seeds takes how many (3), or different ones (7,8,9); got '{text}'")
    return tuple(int(part) for part in parts) if listed else tuple(range(int(parts[0])))


def write_study(folder: Path, study: Study) -> None:
    """Write ``study.json``, atomically."""
    write_json(folder / STUDY_FILE, {"format": FORMAT, **asdict(study)})


def read_study(folder: Path) -> Study:
    """Read a study's plan.

    Raises:
        DataError: if the folder holds none, or it is damaged.
    """
    path = folder / STUDY_FILE
    if not path.is_file():
        raise DataError(f"'{folder}' is no study: it has no {STUDY_FILE}; `monai_tl study layers` and `study size` write one")
    remedy = "restore it, or begin a study in another folder"
    content = read_json(path, required=("format",), remedy=remedy, of_format=FORMAT)
    with naming_damage(path, remedy):
        told = {one.name: content[one.name] for one in fields(Study) if one.name in content}
        told |= {axis: tuple(content[axis]) for axis in AXES}
        return Study(**{**told, "runs": tuple(PlannedRun(**run) for run in content["runs"])})


def changes(before: Study, now: Study) -> list[str]:
    """Say in what a plan differs from the one that its folder holds; runs may be added, nothing else may change.

    Returns:
        A line a difference, none where the new plan is the old one or continues it.
    """
    told = []
    for one in fields(Study):
        was, is_ = getattr(before, one.name), getattr(now, one.name)
        if one.name in (*AXES, *FREE) or (one.name == "source" and was is None):  # no arm took a source so far
            continue
        if isinstance(was, dict) or isinstance(is_, dict):
            was, is_ = was or {}, is_ or {}
            keys = [key for key in {**was, **is_} if was.get(key) != is_.get(key)]
            told += [f"{_name(one.name, key)} was {_said(was.get(key))}, is {_said(is_.get(key))}" for key in keys]
        elif was != is_:
            told.append(f"{one.name} was {_said(was)}, is {_said(is_)}")
    told += [
        f"{axis} were {_said(getattr(before, axis))}, are {_said(getattr(now, axis))}: only more may be asked for"
        for axis in AXES
        if not set(getattr(before, axis)) <= set(getattr(now, axis))
    ]
    runs = {run.name: run for run in now.runs}
    for run in before.runs if not told else ():
        if run != runs[run.name]:
            was, is_ = ({**one.settings, "datalist": one.datalist} for one in (run, runs[run.name]))
            keys = [key for key in {**was, **is_} if was.get(key) != is_.get(key)]
            told += [f"{key} of {run.name} was {_said(was.get(key))}, is {_said(is_.get(key))}" for key in keys]
    return told


def refuse_changed(folder: Path, before: Study, now: Study) -> None:
    """Refuse to go on with a study under another plan.

    Raises:
        ConfigError: with the difference.
    """
    told = changes(before, now)
    if told:
        more = f"; and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
        raise ConfigError(
            f"'{folder}' holds another study ({'; '.join(told[:SHOWN])}{more}); repeat its command to go on with it, "
            "or choose another --output"
        )


def _name(part: str, key: str) -> str:
    return key if part == "settings" else f"{part} {key}"


def _said(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 and value == text else text
