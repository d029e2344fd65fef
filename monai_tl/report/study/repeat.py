"""What it takes to repeat a study: commands, settings, versions, seeds, hashes."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_tl.files import sha256_of
from monai_tl.report.runs import printable
from monai_tl.report.study.facts import CURVES, PLAN, RUNS, SCORES, Study

PROVENANCE = "provenance.json"


@dataclass(frozen=True)
class Repeat:
    """All of it as texts.

    Attributes:
        commands: for a shell, in order.
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


def make_repeat(study: Study) -> Repeat:
    """Gather it from the plan, the files' hashes and what each finished run noted."""
    noted = [_read(study.folder / run.folder / PROVENANCE) for run in study.runs if run.state == "finished"]
    versions = Counter(_listed(one.get("versions")) for one in noted)
    devices = Counter(_device(one.get("device")) for one in noted)
    silent = versions.pop("", 0)
    devices.pop("", None)
    return Repeat(
        commands=_commands(study),
        settings=list(_settings(study.plan)),
        hashes=_hashes(study),
        versions=versions.most_common(),
        devices=devices.most_common(),
        silent=silent,
    )


def _commands(study: Study) -> list[str]:
    command = study.plan.get("command")
    made = [] if not command else [command if isinstance(command, str) else " ".join(shlex.quote(str(word)) for word in command)]
    return [*map(printable, made), f"monai_tl report {shlex.quote(printable(str(study.folder)))}"]


def _settings(plan: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Give every plain value of a plan by its path, its list of runs aside."""
    told: list[tuple[str, str]] = []
    for key, value in plan.items():
        name = printable(f"{prefix}{key}")
        if (not prefix and key in ("runs", "command", "format", "volumes_ml")) or value is None or value in ({}, []):
            continue
        if isinstance(value, Mapping):
            told += _settings(value, f"{name} · ")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            told.append((name, printable(text)))
    return told


def _hashes(study: Study) -> list[tuple[str, str]]:
    files = [study.folder / name for name in (PLAN, SCORES, RUNS, CURVES)]
    return [(path.name, sha256_of(path)) for path in files if path.is_file()]


def _read(path: Path) -> dict[str, Any]:
    """Read a small file of a run; one that is missing or damaged counts as silent, since no number rests on it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


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
