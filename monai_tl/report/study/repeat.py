"""What it takes to repeat a study: commands, settings, versions, seeds, hashes."""

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
    """All of it as texts.

    Attributes:
        commands: for a shell, in order; the first is rebuilt from the plan.
        settings: name and value of what the plan fixed.
        hashes: file and its SHA-256.
        versions: a line for each set of versions, with the number of runs that had it.
        devices: likewise.
        silent: finished runs that noted neither.
    """

    commands: list[str]
    settings: list[tuple[str, str]]
    hashes: list[tuple[str, str]]
    versions: list[tuple[str, int]]
    devices: list[tuple[str, int]]
    silent: int


def make_repeat(study: StudyFacts) -> Repeat:
    """Gather it from the plan, the files' hashes and what each finished run noted."""
    noted = [_read(study.folder / run.folder / PROVENANCE) for run in study.runs if run.state == "finished"]
    versions = Counter(_listed(one.get("versions")) for one in noted)
    devices = Counter(_device(one.get("device")) for one in noted)
    silent = versions.pop("", 0)
    devices.pop("", None)
    return Repeat(
        commands=_commands(study),
        settings=_settings({one.name: getattr(study.plan, one.name) for one in fields(study.plan) if one.repr}),
        hashes=_hashes(study),
        versions=versions.most_common(),
        devices=devices.most_common(),
        silent=silent,
    )


def _commands(study: StudyFacts) -> list[str]:
    folder = shlex.quote(printable(str(study.folder)))
    flags = " ".join(f"--{name} {shlex.quote(printable(value))}" for name, value in _flags(study.plan).items())
    search = " --search" if study.plan.rule else ""
    return [f"monai_tl study {printable(study.plan.kind)}{search} {flags} --output {folder}", f"monai_tl report {folder}"]


def _flags(plan: Plan) -> dict[str, str]:
    """Give the flags that ask for a plan: what the verb takes, then the config ids set for all runs."""
    grid = plan.kind != "depth"
    counted = plan.seeds == tuple(range(len(plan.seeds)))
    flags = {"source": plan.source["path"]} if plan.source else {}
    flags |= {"target": plan.target, "datalist": plan.datalist.get("path", "")}
    flags |= {"arms": ",".join(plan.arms), "sizes": ",".join(map(str, plan.sizes)), **plan.asked} if grid else {}
    listed = ",".join(map(str, plan.seeds)) + "," * (len(plan.seeds) == 1)  # a number alone is how many
    flags |= {"seeds": str(len(plan.seeds)) if counted else listed}
    flags |= {name: f"{value:g}" for name, value in plan.rule.items()}
    overlays = [Path(path).stem for path in plan.configs if Path(path).stem not in ("train", "transfer")]
    flags |= {"overlay": overlays[0]} if overlays else {}
    if plan.training_dice:
        flags["training_dice"] = "true"
    return {**flags, **{name: _value(value) for name, value in plan.settings.items()}}


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _settings(plan: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Give every plain value of a plan by its path, runs aside."""
    told: list[tuple[str, str]] = []
    for key, value in plan.items():
        name = printable(f"{prefix}{Path(key).name}")  # configs are named by their paths
        if value is None or value in ({}, [], ()):
            continue
        if isinstance(value, Mapping):
            told += _settings(value, f"{name} · ")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            told.append((name, printable(f"{text} ({key})" if "/" in str(key) else text)))
    return told


def _hashes(study: StudyFacts) -> list[tuple[str, str]]:
    files = [study.folder / name for name in (STUDY_FILE, SCORES, RUNS, CURVES)]
    return [(path.name, sha256_of(path)) for path in files if path.is_file()]


def _read(path: Path) -> dict[str, Any]:
    """Read a small file of a run; one that is missing or damaged counts as silent, since no number rests on it."""
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
