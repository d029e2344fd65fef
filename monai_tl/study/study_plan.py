"""The plan of a study, ``study.json``: the exact settings and folder of every run, fixed before the first one starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from monai_tl.errors import ConfigError, DataError, did_you_mean
from monai_tl.storage.files import naming_damage, read_json, write_json
from monai_tl.storage.records import refuse_differences, setting_differences, setting_text
from monai_tl.study.subsets import Size
from monai_tl.transfer.strategy import UNTRAINED, Strategy

STUDY_FILE = "study.json"
FORMAT = 1
AXES = ("arms", "sizes", "seeds")  # a study may be extended along these
# fields that `changes` does not compare: they are compared elsewhere, or no request sets them
FREE = ("runs", "threads", "volumes_ml", "decision", "training_dice", "asked", "scans", "overlap")
SHOWN = 3  # differences listed in an error


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One planned run.

    Attributes:
        name: unique in the study, e.g. ``scratch_n26_seed0``.
        arm: name of its arm, see `monai_tl.transfer.strategy`.
        n: number of training subjects.
        seed: of initial weights, patches and the choice of training subjects.
        folder: its run folder, relative to the study's folder.
        datalist: its datalist, relative to the study's folder.
        settings: config ids of this run alone; those of the study apply to all runs.
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
    """Everything that determines a study's runs, and the runs.

    Attributes:
        kind: ``layers``, ``size`` or ``depth``.
        target: the bundle, an absolute path.
        source: ``{"path": …, "weights": …, "sha256": …}`` of the transferred weights; None if no arm takes them.
        configs: merged in order, absolute path -> sha256.
        evaluation: configs that score runs or evaluate the source without fine-tuning, absolute path -> sha256.
        datalist: ``{"path": …, "sha256": …}``; the datalist of each run is a part of it.
        settings: config ids that apply to all runs.
        arms: names, in order.
        sizes: numbers of training subjects, ascending.
        seeds: each arm and size is run once with each seed.
        rule: the stopping rule of a study of kind ``depth``; empty for others.
        threads: CPU threads of each run; another number of threads may round sums differently.
        volumes_ml: foreground in ml by training subject, used to stratify the training sets; empty if none was drawn.
        runs: ordered by seed, so that an interrupted study is complete for its first seeds.
        decision: results of a study of kind ``depth`` so far.
        training_dice: whether each run scores its training cases, too.
        scans: subject -> role -> fingerprint of every case's scans; a run with other scans is refused.
        overlap: result of the comparison of test cases with the source's cases; empty without a source.
        metrics: names of the metrics that each run is scored by.
        tolerance: of the normalised surface Dice, in mm: one for all regions, or one per region.
        asked: flags as given last, whose results alone the plan would hold: ``sizes``, ``lists``, ``budget``.
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
    metrics: tuple[str, ...] = ("dice", "hd95")  # as in studies of earlier versions, whose plans hold none
    tolerance: float | Sequence[float] = 1.0

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that each run is scored on."""
        return ("test", "train") if self.training_dice else ("test",)


def cross(
    arms: Sequence[Strategy], sizes: Sequence[Size], seeds: Sequence[int], source: str | None, iterations: Mapping[str, int]
) -> Iterator[PlannedRun]:
    """Yield every run of a grid.

    Args:
        arms, sizes, seeds: the axes.
        source: weights to transfer.
        iterations: largest number of iterations, by arm.
    """
    for seed in seeds:
        for size in sizes:
            origin = "list" if size.listed else "all" if size.subjects is not None else f"seed{seed}"
            datalist = f"datalists/{origin}_n{size.n}.json"
            for arm in arms:
                name = f"{arm.folder}_n{size.n}_seed{seed}"
                own = {**arm.settings(source), "seed": seed}
                own |= {} if arm.kind == UNTRAINED else {"iterations": iterations[arm.name]}
                yield PlannedRun(name, arm.name, size.n, seed, f"runs/{name}", datalist, own)


def read_budget(text: str, arms: Sequence[str], iterations: int) -> dict[str, int]:
    """Return each arm's iterations as given, e.g. ``scratch=5000,default=1500``; by default ``iterations`` for all arms.

    Raises:
        ConfigError: for an arm that the study does not have, or an invalid number of iterations.
    """
    budget, named = {"default": iterations}, set[str]()
    for part in filter(None, (part.strip() for part in text.split(","))):
        arm, equals, value = part.rpartition("=")
        if not equals or not value.isdecimal() or int(value) < 1:
            raise ConfigError(f"budget takes iterations by arm, e.g. scratch=5000,default=1500; got '{part}'")
        if arm not in (*arms, "default"):
            hint = did_you_mean(arm, [*arms, "default"])
            raise ConfigError(f"budget names an arm '{arm}' that this study does not have: {hint}")
        if arm in named:
            raise ConfigError(f"budget names '{arm}' twice; give it once")
        named.add(arm)
        budget[arm] = int(value)
    return {arm: budget.get(arm, budget["default"]) for arm in arms}


def read_seeds(text: str) -> tuple[int, ...]:
    """Return seeds: a single number is a count (``3``: 0, 1, 2); with a comma, they are the seeds themselves (``7,8``, ``7,``).

    Raises:
        ConfigError: if they are not distinct whole numbers from 0.
    """
    parts = [part.strip() for part in str(text).strip("[]()").split(",") if part.strip()]
    listed = any(sign in str(text) for sign in ",[(")
    right = parts and all(part.isdecimal() for part in parts) and len(set(map(int, parts))) == len(parts)
    if not right or (parts == ["0"] and not listed):
        raise ConfigError(f"seeds takes a count (3) or distinct seeds (7,8,9); got '{text}'")
    return tuple(int(part) for part in parts) if listed else tuple(range(int(parts[0])))


def write_study(folder: Path, study: Study) -> None:
    """Write ``study.json``, atomically."""
    write_json(folder / STUDY_FILE, {"format": FORMAT, **asdict(study)})


def read_study(folder: Path) -> Study:
    """Read a study's plan.

    Raises:
        DataError: if the folder holds no plan, or a damaged one.
    """
    path = folder / STUDY_FILE
    if not path.is_file():
        raise DataError(
            f"'{folder}' is not a study: it has no {STUDY_FILE}; `monai_tl study layers` and `study size` write one"
        )
    remedy = "restore it, or start a study in another folder"
    content = read_json(path, required=("format",), remedy=remedy, of_format=FORMAT)
    with naming_damage(path, remedy):
        values = {item.name: content[item.name] for item in fields(Study) if item.name in content}
        values |= {name: tuple(content[name]) for name in (*AXES, "metrics") if name in content}
        return Study(**{**values, "runs": tuple(PlannedRun(**run) for run in content["runs"])})


def changes(before: Study, now: Study) -> list[str]:
    """Return the differences between a plan and the one that its folder holds; runs may be added, nothing else may change.

    Returns:
        One line per difference; empty if the new plan equals or extends the old one.
    """
    lines = []
    for name in (item.name for item in fields(Study)):
        was, is_ = getattr(before, name), getattr(now, name)
        if name in (*AXES, *FREE) or (name == "source" and was is None):  # no arm took a source so far
            continue
        if isinstance(was, dict) or isinstance(is_, dict):
            lines += setting_differences(was or {}, is_ or {}, "{}" if name == "settings" else f"{name} {{}}")
        elif was != is_:
            lines.append(f"{name} was {setting_text(was)}, is {setting_text(is_)}")
    lines += [
        f"{axis} were {setting_text(getattr(before, axis))}, are {setting_text(getattr(now, axis))}: they may only be extended"
        for axis in AXES
        if not set(getattr(before, axis)) <= set(getattr(now, axis))
    ]
    runs = {run.name: run for run in now.runs}
    for run in before.runs if not lines else ():
        if run != runs[run.name]:
            was, is_ = ({**planned.settings, "datalist": planned.datalist} for planned in (run, runs[run.name]))
            lines += setting_differences(was, is_, f"{{}} of {run.name}")
    return lines


def refuse_changed(folder: Path, before: Study, now: Study) -> None:
    """Refuse to resume a study with another plan.

    Raises:
        ConfigError: with the differences.
    """
    remedy = "repeat its own command to resume it, or choose another --output"
    refuse_differences(folder, "a study", changes(before, now), remedy)
