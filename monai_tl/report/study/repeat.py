"""Everything needed to repeat a study: commands, settings, versions, seeds, hashes."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from monai_tl.errors import DataError
from monai_tl.report.study.study_facts import CURVES, RUNS, SCORES, StudyFacts
from monai_tl.storage.files import read_json, sha256_of
from monai_tl.study.study_plan import STUDY_FILE
from monai_tl.study.study_plan import Study as Plan
from monai_tl.text import printable

PROVENANCE = "provenance.json"


@dataclass(frozen=True)
class Repeat:
    """Everything needed to repeat a study, as texts.

    Attributes:
        commands: for a shell, in order; the first is reconstructed from the plan.
        settings: name and value of each setting of the plan.
        hashes: file names and SHA-256 hashes.
        versions: each set of versions, with the number of runs that used it.
        devices: each device, with the number of runs that used it.
        silent: number of finished runs without a record of their versions.
    """

    commands: list[str]
    settings: list[tuple[str, str]]
    hashes: list[tuple[str, str]]
    versions: list[tuple[str, int]]
    devices: list[tuple[str, int]]
    silent: int


def make_repeat(study: StudyFacts) -> Repeat:
    """Collect everything from the plan, the files' hashes and the records of finished runs."""
    records = [_read(study.folder / run.folder / PROVENANCE) for run in study.runs if run.state == "finished"]
    versions = Counter(_listed(record.get("versions")) for record in records)
    devices = Counter(_device(record.get("device")) for record in records)
    silent = versions.pop("", 0)
    devices.pop("", None)
    return Repeat(
        commands=_commands(study),
        settings=_settings({item.name: getattr(study.plan, item.name) for item in fields(study.plan) if item.repr}),
        hashes=_hashes(study),
        versions=versions.most_common(),
        devices=devices.most_common(),
        silent=silent,
    )


def _commands(study: StudyFacts) -> list[str]:
    folder = shlex.quote(printable(str(study.folder)))
    flags = " ".join(f"--{name} {shlex.quote(printable(value))}" for name, value in _flags(study.plan).items())
    search = " --search" if study.plan.rule else ""
    chosen = "".join(f" --{name} {shlex.quote(printable(value))}" for name, value in study.outcome.flags.items())
    study_command = f"monai_tl study {printable(study.plan.kind)}{search} {flags} --output {folder}"
    return [study_command, f"monai_tl report {folder}{chosen}"]


def _flags(plan: Plan) -> dict[str, str]:
    """Return the flags that define a plan: those of the verb, then the config ids set for all runs."""
    grid = plan.kind != "depth"
    counted = plan.seeds == tuple(range(len(plan.seeds)))
    flags = {"source": plan.source["path"]} if plan.source else {}
    flags |= {"target": plan.target, "datalist": plan.datalist.get("path", "")}
    flags |= {"arms": ",".join(plan.arms), "sizes": ",".join(map(str, plan.sizes)), **plan.asked} if grid else {}
    listed = ",".join(map(str, plan.seeds)) + "," * (len(plan.seeds) == 1)  # a single number would be a count
    flags |= {"seeds": str(len(plan.seeds)) if counted else listed}
    flags |= {name: f"{value:g}" for name, value in plan.rule.items()}
    overlays = [Path(path).stem for path in plan.configs if Path(path).stem not in ("train", "transfer")]
    flags |= {"overlay": overlays[0]} if overlays else {}
    if plan.training_dice:
        flags["training_dice"] = "true"
    flags["metrics"] = ",".join(plan.metrics)
    if "nsd" in plan.metrics:
        flags["tolerance"] = _value(plan.tolerance)
    return {**flags, **{name: _value(value) for name, value in plan.settings.items()}}


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _settings(plan: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return name and text of every plain value in (part of) a plan."""
    settings: list[tuple[str, str]] = []
    for key, value in plan.items():
        name = printable(f"{prefix}{Path(key).name}")  # configs are named by their paths
        if value is None or value in ({}, [], ()):
            continue
        if isinstance(value, Mapping):
            settings += _settings(value, f"{name} · ")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            settings.append((name, printable(f"{text} ({key})" if "/" in str(key) else text)))
    return settings


def _hashes(study: StudyFacts) -> list[tuple[str, str]]:
    files = [study.folder / name for name in (STUDY_FILE, SCORES, RUNS, CURVES)]
    return [(path.name, sha256_of(path)) for path in files if path.is_file()]


def _read(path: Path) -> dict[str, Any]:
    """Return a record of a run; empty if it is missing or damaged, since no number depends on it."""
    try:
        return read_json(path, remedy="")
    except (OSError, DataError):
        return {}


def _listed(versions: Any) -> str:
    if not isinstance(versions, dict):
        return ""
    return printable(", ".join(f"{name} {version}" for name, version in versions.items()))


def _device(device: Any) -> str:
    if not isinstance(device, dict):
        return ""
    gpus = device.get("gpus") if str(device.get("asked", "")).startswith("cuda") else None
    hardware = ", ".join(map(str, gpus)) if isinstance(gpus, list) and gpus else device.get("processor", "")
    return printable(f"{device.get('asked', '')} ({hardware})")
