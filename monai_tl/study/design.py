"""Plan a study from a request: everything that can be refused is refused here, before anything is written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from monai_tl.datasets.case_checks import header_problems
from monai_tl.datasets.datalist import Datalist, write_datalist
from monai_tl.datasets.label_volumes import foreground_volumes
from monai_tl.datasets.regions import foreground_of
from monai_tl.device import choose_device
from monai_tl.errors import ConfigError, DataError, in_words, list_problems, user_error
from monai_tl.evaluation.scores import Scoring
from monai_tl.networks.stages import stages
from monai_tl.settings.table import SPLITS
from monai_tl.storage.cores import cores_at_hand
from monai_tl.storage.files import sha256_of
from monai_tl.study.request import (
    Request,
    asked_arms,
    asked_scoring,
    named_lists,
    read_budgets,
    read_request,
    study_configs,
    study_datalist,
)
from monai_tl.study.study_plan import PlannedRun, Study, cross
from monai_tl.study.study_scans import refuse_changed_scans
from monai_tl.study.subsets import STRATA, Size, drawing_order, read_sizes, training_set
from monai_tl.text import name_some
from monai_tl.training.run_cases import check_run_cases, take_prints
from monai_tl.training.run_folder import PATHS, check_label_grid, check_window, learned_regions
from monai_tl.transfer.contract import refuse_other_classes
from monai_tl.transfer.source import find_weights, read_source
from monai_tl.transfer.strategy import UNTRAINED, Strategy
from monai_tl.workflow.config_check import check_config
from monai_tl.workflow.merged_config import bundle_config


@dataclass(frozen=True)
class Design:
    """A plan, and the data it was made from.

    Attributes:
        study: the plan.
        data: the datalist from whose training split the training sets are taken.
        sizes: of the training sets, ascending.
    """

    study: Study
    data: Datalist
    sizes: tuple[Size, ...]


def design(request: Request, before: Study | None = None) -> Design:
    """Plan a study; nothing is written.

    Args:
        request: what the user asked for.
        before: the plan that the study's folder already holds; its label volumes and number of threads are kept.

    Raises:
        ConfigError, DataError, TransferError: for anything that would stop all runs, or all runs of an arm.
    """
    files = study_configs(request)
    evaluation = [bundle_config(request.target, "evaluate"), Path(request.target) / "configs" / f"{UNTRAINED}.yaml"]
    request, _ = read_request(request)
    parser = _parser(files, request)
    check_config(parser)
    data = study_datalist(Path(parser.get_parsed_content("datalist")))
    parser.get_parsed_content("imports")
    foreground = foreground_of(learned_regions(data, parser.get_parsed_content("classes"), parser))
    _refuse_bad_cases(data, parser.get_parsed_content("modalities"))
    check_label_grid(data, parser.get_parsed_content("contract"), parser)
    prints = take_prints(data, refuse_unreadable=True)
    if before is not None:
        refuse_changed_scans(before.scans, prints, data)
    metrics, tolerance = asked_scoring(request)
    Scoring(list(parser.get_parsed_content("regions")), metrics, tolerance)  # a tolerance for each region
    found = stages(parser.get_parsed_content("network_def"))
    check_window(parser, len(parser.get_parsed_content("modalities")))
    arms = asked_arms(request, found)
    sizes = read_sizes(request.sizes, data.splits["train"], named_lists(request))
    budgets = read_budgets(request, arms, parser.get_parsed_content("iterations"), parser.get_parsed_content("validate_every"))
    weights = find_weights(Path(request.source)).absolute() if any(arm.takes_source for arm in arms) else None
    source = os.path.abspath(request.source) if weights else None
    if any(arm.kind == UNTRAINED for arm in arms):
        refuse_other_classes(read_source(str(weights)).contract, parser.get_parsed_content("contract"), request.source)
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
        threads=before.threads if before else max(1, min(torch.get_num_threads(), cores_at_hand()) // request.parallel),
        volumes_ml=_volumes(data, foreground, sizes, before.volumes_ml if before else {}),
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
        metrics=metrics,
        tolerance=tolerance,
    )
    return Design(study, data, sizes)


def write_training_sets(folder: Path, planned: Design) -> None:
    """Write the datalist of each training set, with the same validation and test cases; existing ones are kept.

    Raises:
        ConfigError: if an existing datalist differs.
    """
    sizes = {size.n: size for size in planned.sizes}
    sets = {run.datalist: run for run in planned.study.runs}
    others = {subject for split in SPLITS[1:] for subject in planned.data.splits[split]}
    orders: dict[int, tuple[str, ...]] = {}
    for name, run in sets.items():
        size = sizes[run.n]
        if size.subjects is None and (folder / name).is_file():  # volumes and seed of the plan have not changed
            continue
        if size.subjects is None and run.seed not in orders:
            orders[run.seed] = drawing_order(planned.study.volumes_ml, run.seed)
        chosen = training_set(size, orders.get(run.seed, ()))
        used = others.union(chosen)
        rule = {"part_of": planned.study.datalist["sha256"], "train": _how(run, size)}
        part = replace(
            planned.data,
            cases=tuple(case for case in planned.data.cases if case["subject"] in used),
            splits={**planned.data.splits, "train": chosen},
            split_rule={**planned.data.split_rule, **rule},
        )
        write_datalist(folder / name, part)


def run_settings(study: Study, run: PlannedRun, folder: Path) -> dict[str, Any]:
    """Return all config ids that a run sets on top of the study's configs."""
    own = {"datalist": str(folder / run.datalist), "run_dir": str(folder / run.folder), "resume": True}
    return {"bundle_root": study.target, **study.settings, **run.settings, **own}


def _volumes(data: Datalist, foreground: tuple[int, ...], sizes: Sequence[Size], known: dict[str, float]) -> dict[str, float]:
    """Return the foreground of the training labels in ml; measured only if training sets are drawn and it is not yet known.

    Args:
        data: datalist with the training split.
        foreground: label values of the regions that are learned.
        sizes: of the training sets.
        known: volumes of an earlier plan.

    Raises:
        DataError: for a label without foreground: the runs that draw it would fail, which would bias the remaining ones.
    """
    drawn = any(size.subjects is None for size in sizes)
    if not drawn or set(known) == set(data.splits["train"]):
        return known
    volumes = foreground_volumes(data.split("train"), foreground)
    empty = [subject for subject, volume in volumes.items() if not volume]
    if empty:
        raise DataError(
            f"training cases without foreground {foreground}: {name_some(empty)}; correct their labels, or "
            "remove them from the datalist's training split"
        )
    return volumes


def _source(weights: Path | None) -> dict[str, Any] | None:
    """Return a source and its lineage, as a transfer report records them."""
    if weights is None:
        return None
    read = read_source(weights)
    return {"path": str(weights), "sha256": read.sha256, "lineage": (read.metadata or {}).get("lineage", [])}


def _asked(request: Request, sizes: Sequence[Size]) -> dict[str, str]:
    """Return the flags that define the training sets as the user gave them; the plan holds only counts."""
    lists = {"lists": os.path.abspath(request.lists)} if request.lists and any(size.listed for size in sizes) else {}
    return {"sizes": ",".join(request.sizes), **lists, **({"budget": request.budget} if request.budget else {})}


def _how(run: PlannedRun, size: Size) -> dict[str, Any]:
    if size.subjects is not None:
        return {"n": size.n}
    return {"n": size.n, "seed": run.seed, "strata": STRATA}


def _parser(files: Sequence[Path], request: Request) -> ConfigParser:
    """Return a parser of the merged configs and settings."""
    parser = ConfigParser()
    parser.read_config([str(file) for file in files])
    parser.update({"bundle_root": os.path.abspath(request.target), **_plain(request.settings)})
    if "datalist" in request.settings:
        parser.update({"datalist": request.settings["datalist"]})
    if isinstance(request.settings.get("device"), str):
        parser.update({"device": str(choose_device(request.settings["device"]))})
    return parser


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as JSON values with absolute paths; the datalist is omitted, since each run has its own."""
    plain = {
        key: os.path.abspath(value) if key in PATHS and isinstance(value, str) else value for key, value in settings.items()
    }
    return dict(json.loads(json.dumps({key: value for key, value in plain.items() if key != "datalist"})))


def _refuse_bad_cases(data: Datalist, modalities: Sequence[str]) -> None:
    """Refuse cases of any split whose files cannot be opened or do not share one grid, instead of failing in a later run.

    Raises:
        DataError: with one line per problem.
    """
    cases = [case for split in SPLITS for case in data.split(split, modalities)]
    lines = [f"{case['subject']}: {line}" for case in cases for line in header_problems(case, modalities)]
    if lines:
        count = f"{len(lines)} problem{'s' * (len(lines) > 1)} in the study's {len(cases)} cases; correct these files:"
        raise DataError(list_problems(count, lines))


def _try(files: Sequence[Path], request: Request, arm: Strategy, source: str | None) -> None:
    """Build an arm's training, its transfer included, without reading a scan, so that errors show before the first run.

    Raises:
        ConfigError, TransferError, …: for anything that would stop each run of the arm.
    """
    parser = _parser(files, request)
    parser.update({**arm.settings(source), "cache_rate": 0.0})
    try:
        parser.get_parsed_content("imports")
        parser.get_parsed_content("train#trainer")
    except Exception as error:  # MONAI wraps whatever a config's component raises
        raise user_error(error) or ConfigError(f"the training cannot be built from these settings: {in_words(error)}") from None
