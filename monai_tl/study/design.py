"""From what was asked for to a study's plan: everything that can be refused is refused here, before anything is written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from monai_tl.datasets.case_checks import header_problems
from monai_tl.datasets.datalist import Datalist, read_datalist, write_datalist
from monai_tl.datasets.label_volumes import foreground_volumes
from monai_tl.device import choose_device
from monai_tl.errors import ConfigError, DataError, in_words, list_problems, user_error
from monai_tl.networks.stages import stages
from monai_tl.settings.refusals import raise_refusals
from monai_tl.settings.table import problems
from monai_tl.storage.files import read_json, sha256_of
from monai_tl.study.study_plan import PlannedRun, Study, cross, read_budget
from monai_tl.study.study_scans import refuse_changed_scans
from monai_tl.study.subsets import STRATA, Size, drawing_order, read_sizes, training_set
from monai_tl.text import name_some
from monai_tl.training.run_cases import check_run_cases, take_prints
from monai_tl.training.run_folder import PATHS, check_label_grid
from monai_tl.transfer.arms import UNTRAINED, Arm, read_arms
from monai_tl.transfer.contract import read_contract, refuse_other_classes
from monai_tl.transfer.source import find_weights, read_source
from monai_tl.workflow.config_check import check_config, read_overrides
from monai_tl.workflow.launch import bundle_config, refuse_idle_overrides, refuse_unknown_overrides

OF_A_RUN = {
    "seed": "--seeds",
    "freeze": "--arms",
    "run_dir": "--output",
    "resume": "nothing: a study always goes on",
    "transfer": "--arms",
}


@dataclass(frozen=True)
class Request:
    """What was asked for, as the verbs take it.

    Attributes:
        kind: ``layers``, ``size`` or ``depth``.
        target: the bundle to be fine-tuned.
        source: what transfers start from.
        arms, sizes: as `read_arms` and `read_sizes` read them; no arm: all depths, from the head inwards.
        seeds: one run of each arm and size for each.
        overlay: one more of the target's configs.
        budget: iterations by arm, see `read_budget`.
        lists: a JSON file of named training sets; the bundle's ``splits/study.json`` where there is one.
        rule: of a study of kind ``depth``.
        parallel: runs at a time; they share the processor's cores.
        training_dice: score each run's training cases too.
        settings: config ids for all runs.
        also: flags of the verb, for the hint at a misspelt one.
    """

    kind: str
    target: str
    source: str
    arms: tuple[str, ...]
    sizes: tuple[str, ...]
    seeds: tuple[int, ...]
    overlay: str | None = None
    budget: str = ""
    lists: str | None = None
    rule: dict[str, float] = field(default_factory=dict)
    parallel: int = 1
    training_dice: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    also: Sequence[str] = ()


@dataclass(frozen=True)
class Design:
    """A plan, and what it was made from.

    Attributes:
        study: the plan.
        data: the datalist whose training split is divided.
        sizes: of the training sets, ascending.
    """

    study: Study
    data: Datalist
    sizes: tuple[Size, ...]


def design(request: Request, before: Study | None = None) -> Design:
    """Plan a study; nothing is written.

    Args:
        request: what was asked for.
        before: the plan that the study's folder holds already: its measurements and its number of threads are kept.

    Raises:
        ConfigError, DataError, TransferError: for whatever would stop every run of an arm, or of all.
    """
    files = [bundle_config(request.target, name) for name in ("train", "transfer", *filter(None, [request.overlay]))]
    evaluation = [bundle_config(request.target, "evaluate"), Path(request.target) / "configs" / f"{UNTRAINED}.yaml"]
    request = _read(files, request)
    parser = _parser(files, request)
    check_config(parser)
    data = _datalist(parser)
    _refuse_bad_cases(data, parser.get_parsed_content("modalities"))
    parser.get_parsed_content("imports")
    check_label_grid(data, parser.get_parsed_content("contract"), parser)
    prints = take_prints(data, refuse_unreadable=True)
    if before is not None:
        refuse_changed_scans(before.scans, prints, data)
    names = list(stages(parser.get_parsed_content("network_def")))
    arms = read_arms(request.arms or [str(k) for k in reversed(range(len(names)))], names)
    sizes = read_sizes(request.sizes, data.splits["train"], _lists(request))
    budgets = read_budget(request.budget, [arm.name for arm in arms], parser.get_parsed_content("iterations"))
    every = parser.get_parsed_content("validate_every")
    raise_refusals(wrong for told in budgets.values() for wrong in problems({"iterations": told, "validate_every": every}))
    raise_refusals(wrong for seed in request.seeds for wrong in problems({"seed": seed}))
    weights = find_weights(Path(request.source)).absolute() if any(arm.takes_source for arm in arms) else None
    source = os.path.abspath(request.source) if weights else None
    if any(arm.kind == UNTRAINED for arm in arms):
        contract = read_contract(read_source(str(weights)).metadata, request.source)
        refuse_other_classes(contract, parser.get_parsed_content("classes"), request.source)
        bundle_config(request.target, UNTRAINED)
    for arm in arms:
        _try(files, request, arm, source)
    accept = parser.get_parsed_content("accept_overlap") if "accept_overlap" in parser else False
    overlap = check_run_cases(data, {"source": _source(weights), "accept_overlap": accept}, prints=prints)
    study = Study(
        kind=request.kind,
        target=os.path.abspath(request.target),
        source={"path": source, "weights": str(weights), "sha256": sha256_of(weights)} if source and weights else None,
        configs={str(file.absolute()): sha256_of(file) for file in files},
        datalist={"path": str(data.path), "sha256": data.sha256()},
        settings=_plain(request.settings),
        arms=tuple(arm.name for arm in arms),
        sizes=tuple(size.n for size in sizes),
        seeds=request.seeds,
        rule=request.rule,
        threads=before.threads if before else max(1, torch.get_num_threads() // request.parallel),
        volumes_ml=_volumes(data, sizes, before.volumes_ml if before else {}),
        runs=tuple(cross(arms, sizes, request.seeds, source, budgets)),
        decision=before.decision if before and before.seeds == request.seeds else {},
        training_dice=request.training_dice,
        asked=_asked(request, sizes),
        evaluation={str(file.absolute()): sha256_of(file) for file in evaluation if file.is_file()},
        scans={
            subject: {role: list(of) for role, of in roles.items()}
            for cases in prints.values()
            for subject, roles in cases.items()
        },
        overlap=overlap or {},
    )
    return Design(study, data, sizes)


def write_training_sets(folder: Path, made: Design) -> None:
    """Write each training set's datalist, with the same validation and test cases; those that exist stay.

    Raises:
        ConfigError: if one exists and says something else.
    """
    sizes = {size.n: size for size in made.sizes}
    sets = {run.datalist: run for run in made.study.runs}
    others = {subject for split in ("validation", "test") for subject in made.data.splits[split]}
    orders: dict[int, tuple[str, ...]] = {}
    for name, run in sets.items():
        size = sizes[run.n]
        if size.subjects is None and (folder / name).is_file():  # drawn by what the plan holds, and that is the same
            continue
        if size.subjects is None and run.seed not in orders:
            orders[run.seed] = drawing_order(made.study.volumes_ml, run.seed)
        chosen = training_set(size, orders.get(run.seed, ()))
        used = others.union(chosen)
        rule = {"part_of": made.study.datalist["sha256"], "train": _how(run, size)}
        part = replace(
            made.data,
            cases=tuple(case for case in made.data.cases if case["subject"] in used),
            splits={**made.data.splits, "train": chosen},
            split_rule={**made.data.split_rule, **rule},
        )
        write_datalist(folder / name, part)


def run_settings(study: Study, run: PlannedRun, folder: Path) -> dict[str, Any]:
    """Give every config id that a run sets: its exact configuration, on top of the study's configs."""
    own = {"datalist": str(folder / run.datalist), "run_dir": str(folder / run.folder), "resume": True}
    return {"bundle_root": study.target, **study.settings, **run.settings, **own}


def _volumes(data: Datalist, sizes: Sequence[Size], known: dict[str, float]) -> dict[str, float]:
    """Measure the training labels' foreground, in ml, if sets are to be drawn by it and it is not known.

    Raises:
        DataError: for a label without any: the runs whose seeds draw it would fail, and the others be chosen by that.
    """
    drawn = any(size.subjects is None for size in sizes)
    if not drawn or set(known) == set(data.splits["train"]):
        return known
    volumes = foreground_volumes(data.split("train"), data.foreground)
    empty = [subject for subject, volume in volumes.items() if not volume]
    if empty:
        raise DataError(
            f"training cases without foreground {data.foreground}: {name_some(empty)}; mend their labels, or "
            "leave them out of the datalist's training split"
        )
    return volumes


def _source(weights: Path | None) -> dict[str, Any] | None:
    """Name a source and its lineage as a transfer report does."""
    if weights is None:
        return None
    read = read_source(weights)
    return {"path": str(weights), "sha256": read.sha256, "lineage": (read.metadata or {}).get("lineage", [])}


def _asked(request: Request, sizes: Sequence[Size]) -> dict[str, str]:
    """Give the flags that name training sets as they were given: a plan holds counts."""
    lists = {"lists": os.path.abspath(request.lists)} if request.lists and any(size.listed for size in sizes) else {}
    return {"sizes": ",".join(request.sizes), **lists, **({"budget": request.budget} if request.budget else {})}


def _how(run: PlannedRun, size: Size) -> dict[str, Any]:
    if size.subjects is not None:
        return {"n": size.n}
    return {"n": size.n, "seed": run.seed, "strata": STRATA}


def _parser(files: Sequence[Path], request: Request) -> ConfigParser:
    """Merge configs and settings."""
    parser = ConfigParser()
    parser.read_config([str(file) for file in files])
    parser.update({"bundle_root": os.path.abspath(request.target), **_plain(request.settings)})
    if "datalist" in request.settings:
        parser.update({"datalist": request.settings["datalist"]})
    if isinstance(request.settings.get("device"), str):
        parser.update({"device": str(choose_device(request.settings["device"]))})
    return parser


def _read(files: Sequence[Path], request: Request) -> Request:
    """Finish reading the settings that were typed, by the configs that they belong to.

    Raises:
        ConfigError: for a setting that is a run's own, that no config has, or that nothing reads.
    """
    for key, flag in OF_A_RUN.items():
        if key in request.settings:
            raise ConfigError(f"--{key} differs from run to run of a study: leave it away; it is told by {flag}")
    parser = ConfigParser()
    parser.read_config([str(file) for file in files])
    refuse_unknown_overrides(parser, request.settings, request.also, OF_A_RUN)
    settings = read_overrides(parser, request.settings)
    refuse_idle_overrides(parser, settings)
    return replace(request, settings=settings)


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Give settings as JSON holds them, with absolute paths; the datalist is named apart, since each run has its own."""
    told = {
        key: os.path.abspath(value) if key in PATHS and isinstance(value, str) else value for key, value in settings.items()
    }
    return dict(json.loads(json.dumps({key: value for key, value in told.items() if key != "datalist"})))


def _datalist(parser: ConfigParser) -> Datalist:
    data = read_datalist(Path(parser.get_parsed_content("datalist")))
    missing = [name for name in ("train", "validation", "test") if name not in data.splits]
    if missing:
        raise DataError(f"{data.path} has no {' and no '.join(missing)} split, and a study needs all three")
    return data


def _lists(request: Request) -> dict[str, list[str]]:
    """Read the named training sets."""
    path = Path(request.lists) if request.lists else Path(request.target) / "splits" / "study.json"
    if not path.is_file():
        if request.lists:
            raise DataError(f"there is no file {path} with lists of training subjects")
        return {}
    content = read_json(path, remedy="needed are lists of subject ids by name")
    lists = {name: value for name, value in content.items() if isinstance(value, list)}
    for name, subjects in lists.items():
        if not all(isinstance(subject, str) for subject in subjects):
            raise DataError(f"{path}: list '{name}' holds more than subject ids in quotes")
    return {name: subjects for name, subjects in lists.items() if name not in ("val", "validation", "test")}


def _refuse_bad_cases(data: Datalist, modalities: Sequence[str]) -> None:
    """Refuse cases of any split whose files cannot be opened or do not lie on one grid, before the last run finds them.

    Raises:
        DataError: with a line a problem.
    """
    cases = [case for split in ("train", "validation", "test") for case in data.split(split, modalities)]
    lines = [f"{case['subject']}: {line}" for case in cases for line in header_problems(case, modalities)]
    if lines:
        told = f"{len(lines)} problem{'s' * (len(lines) > 1)} in the study's {len(cases)} cases; mend these files:"
        raise DataError(list_problems(told, lines))


def _try(files: Sequence[Path], request: Request, arm: Arm, source: str | None) -> None:
    """Build an arm's training as far as no scan is read, its transfer included: the first run is not the place to learn it.

    Raises:
        ConfigError, TransferError, …: for what would stop each run of the arm.
    """
    parser = _parser(files, request)
    parser.update({**arm.settings(source), "cache_rate": 0.0})
    try:
        parser.get_parsed_content("imports")
        parser.get_parsed_content("train#trainer")
    except Exception as error:  # MONAI wraps whatever a config's component raises
        raise user_error(error) or ConfigError(f"no training can be set up with these settings: {in_words(error)}") from None
