"""The request for a study, and the checks on it that need no PyTorch, whose import takes seconds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from monai_tl.datasets.datalist import Datalist, read_datalist
from monai_tl.errors import ConfigError, DataError
from monai_tl.networks.stage_names import known_stages
from monai_tl.settings.refusals import raise_refusals
from monai_tl.settings.table import METRIC_NAMES, SPLITS, problems
from monai_tl.storage.files import read_json
from monai_tl.study.study_plan import STUDY_FILE, Study, read_budget, read_study
from monai_tl.study.subsets import read_sizes
from monai_tl.training.run_inputs import check_classes
from monai_tl.transfer.arms import Arm, read_arms
from monai_tl.transfer.weight_files import weights_at
from monai_tl.workflow.merged_config import bundle_config, is_expression, merge_configs, plain_text, value_at
from monai_tl.workflow.overrides import check_overrides

OF_A_RUN = {
    "seed": "--seeds",
    "freeze": "--arms",
    "run_dir": "--output",
    "resume": "nothing: a study always resumes",
    "transfer": "--arms",
}


@dataclass(frozen=True)
class Request:
    """A request for a study, as the verbs receive it.

    Attributes:
        kind: ``layers``, ``size`` or ``depth``.
        target: the bundle to be fine-tuned.
        source: the source of transfers: bundle, run folder or weights file.
        arms, sizes: in the form of `read_arms` and `read_sizes`; without arms: all depths, from the head inwards.
        seeds: each arm and size is run once with each seed.
        overlay: name of an additional config of the target.
        budget: iterations by arm, see `read_budget`.
        lists: a JSON file of named training sets; None: the bundle's ``splits/study.json``, if it exists.
        rule: of a study of kind ``depth``.
        parallel: number of runs at a time; they share the processor's cores.
        training_dice: whether each run's training cases are scored, too.
        metrics, tolerance: settings of ``evaluate.yaml`` for the scores of all runs; None: the target's own.
        settings: config ids for all runs.
        also: flags of the verb, which are suggested for misspelt ones.
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
    metrics: Sequence[str] | None = None
    tolerance: float | Sequence[float] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    also: Sequence[str] = ()


def check_request(request: Request, folder: Path) -> None:
    """Check a request as far as neither network nor scans are needed; `monai_tl.study.design.design` checks the rest.

    Args:
        request: for a study.
        folder: of the study.

    Raises:
        ConfigError, DataError, TransferError: the same as `design` raises.
    """
    plan_in(folder)
    asked_scoring(request)
    request, config = read_request(request)
    path, stages = plain_text(config, "datalist"), known_stages(config.get("network_def"))
    data = study_datalist(Path(path)) if path is not None else None
    modalities = config["modalities"]
    for split in SPLITS if data and not is_expression(modalities) else ():
        data.split(split, modalities)  # type: ignore[union-attr]
    arms = asked_arms(request, stages.names) if stages else ()
    if data:
        check_classes(config, data)
        read_sizes(request.sizes, data.splits["train"], named_lists(request))
    if arms and not is_expression(config["iterations"]) and not is_expression(config["validate_every"]):
        read_budgets(request, arms, config["iterations"], config["validate_every"])
    if any(arm.takes_source for arm in arms):
        weights_at(request.source)


def plan_in(folder: Path) -> Study | None:
    """Return the plan that a folder holds, or None if it holds none yet.

    Raises:
        ConfigError: if the folder holds something else.
    """
    if (folder / STUDY_FILE).is_file():
        return read_study(folder)
    if folder.is_dir() and any(path for path in folder.iterdir() if path.name != ".lock"):
        raise ConfigError(f"output '{folder}' exists and is not a study; choose another folder")
    return None


def study_configs(request: Request) -> list[Path]:
    """Return the target's configs that every run merges.

    Raises:
        ConfigError: if the bundle lacks one.
    """
    return [bundle_config(request.target, name) for name in ("train", "transfer", *filter(None, [request.overlay]))]


def read_request(request: Request) -> tuple[Request, dict[str, Any]]:
    """Return a request whose settings have the values that the configs give them, and the merged config.

    Raises:
        ConfigError: for a setting that differs from run to run, that no config has, or that nothing reads.
    """
    files = study_configs(request)
    for key, flag in OF_A_RUN.items():
        if key in request.settings:
            raise ConfigError(f"--{key} differs from run to run of a study: omit it; it is set by {flag}")
    config = {**merge_configs(files), "bundle_root": os.path.abspath(request.target)}
    config = check_overrides(config, request.settings, request.also, never=OF_A_RUN)
    return replace(request, settings={key: value_at(config, key) for key in request.settings}), config


def asked_scoring(request: Request) -> tuple[tuple[str, ...], float | list[float]]:
    """Return the metrics and the tolerance by which all runs are scored; Dice is always among the metrics, and first.

    Raises:
        ConfigError: for an unknown metric or an invalid tolerance.
    """
    file = bundle_config(request.target, "evaluate")
    own = merge_configs([file])
    asked = {"metrics": request.metrics, "tolerance": request.tolerance}
    lacking = [name for name in asked if name not in own]
    if lacking:
        raise ConfigError(f"{file} has no id '{lacking[0]}', by which a study scores its runs; add it, as the usual bundles do")
    scoring: dict[str, Any] = {name: own[name] if value is None else value for name, value in asked.items()}
    unknown = [name for name, value in scoring.items() if is_expression(value)]
    if unknown:
        raise ConfigError(f"{unknown[0]} of the target's evaluate.yaml is an expression; a study needs --{unknown[0]}")
    raise_refusals(problems(scoring))
    metrics = tuple(name for name in METRIC_NAMES if name in {"dice", *scoring["metrics"]})
    tolerance = scoring["tolerance"]
    return metrics, list(tolerance) if isinstance(tolerance, list | tuple) else tolerance


def study_datalist(path: Path) -> Datalist:
    """Read the datalist from which a study takes its training sets.

    Raises:
        DataError: if it lacks a split.
    """
    data = read_datalist(path)
    missing = [name for name in SPLITS if name not in data.splits]
    if missing:
        raise DataError(f"{data.path} has no {' and no '.join(missing)} split; a study needs {', '.join(SPLITS)}")
    return data


def asked_arms(request: Request, stages: Sequence[str]) -> tuple[Arm, ...]:
    """Return the requested arms; by default all depths, from the head inwards.

    Raises:
        ConfigError: for an unknown name.
    """
    return read_arms(request.arms or [str(k) for k in reversed(range(len(stages)))], stages)


def read_budgets(request: Request, arms: Sequence[Arm], iterations: int, every: int) -> dict[str, int]:
    """Return the iterations of each arm; the seeds are checked, too.

    Raises:
        ConfigError: for invalid iterations or seeds.
    """
    budgets = read_budget(request.budget, [arm.name for arm in arms], iterations)
    raise_refusals(wrong for value in budgets.values() for wrong in problems({"iterations": value, "validate_every": every}))
    raise_refusals(wrong for seed in request.seeds for wrong in problems({"seed": seed}))
    return budgets


def named_lists(request: Request) -> dict[str, list[str]]:
    """Read the named training sets.

    Raises:
        DataError: if the file does not exist or holds something else.
    """
    path = Path(request.lists) if request.lists else Path(request.target) / "splits" / "study.json"
    if not path.is_file():
        if request.lists:
            raise DataError(f"no file {path}; --lists needs a JSON file with lists of training subjects by name")
        return {}
    content = read_json(path, remedy="it must hold lists of subject ids by name")
    lists = {name: value for name, value in content.items() if isinstance(value, list)}
    for name, subjects in lists.items():
        if not all(isinstance(subject, str) for subject in subjects):
            raise DataError(f"{path}: list '{name}' may hold only subject ids in quotes")
    return {name: subjects for name, subjects in lists.items() if name not in ("val", *SPLITS[1:])}
