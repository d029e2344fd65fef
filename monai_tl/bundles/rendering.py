"""Render a bundle's files from its ``task.yaml``: one recipe for all tasks, so that bundles do not drift apart."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from monai_tl.datasets.regions import is_softmax
from monai_tl.errors import ConfigError
from monai_tl.settings.normalisation import read_normalisations, shortest
from monai_tl.text import listed, plural
from monai_tl.workflow.network_entry import OWN_NETWORK, OWN_PAPER, network_def_of, network_name
from monai_tl.workflow.recipe_settings import RECIPE_SETTINGS
from monai_tl.workflow.task_file import TaskFile

RECIPE = Path(__file__).parent / "recipe"
NEW_TASK = "new_task.yaml"
RECORD = "rendered.json"  # SHA-256 of each file as it was rendered, by which files that were edited are recognised
PLAIN_PATH = re.compile(r"(?!.* \+ )[^'\\@%$]*")  # a relative path that can be joined to @bundle_root in an expression
TOLERANCE_MM = 1.0  # of a surface, for the normalised surface Dice
COMMENTS_AT = 48  # column of comments in configs
TEXT_DEFAULTS = {
    "authors": "The authors of this bundle",
    "copyright": "Copyright (c) the authors of this bundle",
    "data_source": "see docs/data_license.txt",
    "data_license": "State here where the data comes from and under which licence: data_license in task.yaml.",
    "label_classes": "one channel of label values; the datalist has the values of each region",
    "dicom_modality": "n/a",
    "dataset_dir": "../../data",
    "datalist": "datalist.json",
    "source": "../ixi_hippocampus",
    "notes": "",
}
CHANGELOG = {"0.1.0": "the task, as configs: no weights are shipped"}


def render_bundle(task: TaskFile) -> dict[str, str]:
    """Return the text of each file of a bundle by its path, without ``task.yaml`` itself; nothing is written.

    Raises:
        ConfigError: if the task lacks its name, modalities or classes, or has a path that a config cannot hold.
    """
    values, environment = recipe_values(task), _environment()
    names = [path.relative_to(RECIPE).as_posix() for path in sorted(RECIPE.rglob("*")) if path.is_file()]
    files = {name: environment.get_template(name).render(values) for name in names}
    files = {name: _aligned(text) if name.startswith("configs/") else text for name, text in files.items()}
    return {**files, RECORD: rendering_record(files)}


def render_task(**values: Any) -> str:
    """Return the text of a new bundle's ``task.yaml``."""
    return _aligned(_environment().get_template(NEW_TASK).render(values))


def rendering_record(files: dict[str, str]) -> str:
    """Return the text of the record: the SHA-256 of each file."""
    hashes = {name: text_sha256(text) for name, text in files.items()}
    return json.dumps({"format": 1, "files": hashes}, indent=2) + "\n"


def text_sha256(text: str) -> str:
    """Return the SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def recipe_values(task: TaskFile) -> dict[str, Any]:
    """Return what the recipe's templates refer to: the task's texts and settings, or their defaults.

    Raises:
        ConfigError: if the task lacks its name, modalities or classes.
    """
    needed = {"name": task.texts.get("name"), "modalities": task.modalities, "classes": task.classes}
    if lacking := [name for name, value in needed.items() if not value]:
        raise ConfigError(f"{task.path} lacks {', '.join(lacking)}; a bundle is rendered from name, modalities and classes")
    exclusive, network = is_softmax(task.classes), network_def_of(task.network)
    regions = task.classes[1:] if exclusive else task.classes
    name, of, on = str(task.texts["name"]), listed(regions), listed(task.modalities)
    defaults = {
        "title": name.replace("_", " ").capitalize(),
        "task": f"Segmentation of {of} on {on} images",
        "description": f"{network_name(network)} that segments {of} on {on} images",
        "image_classes": f"{on} image{'s on one grid' if len(task.modalities) > 1 else ''}",
        "commands": _commands(name),
        **TEXT_DEFAULTS,
    }
    settings = {**RECIPE_SETTINGS, **task.settings}
    texts = {**defaults, **{name: text.rstrip() for name, text in task.texts.items()}}
    return {
        **texts,
        "summary": texts.get("summary", f"{texts['task']}."),
        "modalities": task.modalities,
        "classes": task.classes,
        "regions": regions,
        "exclusive": exclusive,
        "network": network_name(network),
        "own_network": network_name(network) == OWN_NETWORK,
        "network_def": network,
        "settings": {**settings, "normalisation": shortest(read_normalisations(settings["normalisation"]))},
        "tolerance": [task.tolerance_mm.get(region, TOLERANCE_MM) for region in regions] if task.tolerance_mm else TOLERANCE_MM,
        "small": not {"window", "batch_size", "iterations"} & task.settings.keys(),
        "references": (*task.references, *([OWN_PAPER] if network_name(network) == OWN_NETWORK else [])),
        "changelog": task.changelog or CHANGELOG,
        "channels": {"modalities": plural(len(task.modalities), "channel"), "classes": plural(len(task.classes), "channel")},
    }


def config_path(path: str) -> str:
    """Return a path as a config holds it; a relative one is relative to the bundle.

    Raises:
        ConfigError: for a relative path with characters that have a meaning in expressions.

    Example:
        >>> from monai_tl.bundles.rendering import config_path
        >>> config_path("../../data/ixi"), config_path("/data/ixi")
        ("$@bundle_root + '/../../data/ixi'", '/data/ixi')
    """
    if os.path.isabs(path):
        return in_flow(path)
    return f"$@bundle_root + '/{_plain(path)}'"


def path_within(path: str, folder: str) -> str:
    """Return a path as a config holds it; a relative one is relative to the folder that the id ``folder`` names.

    Raises:
        ConfigError: as `config_path` does.
    """
    return in_flow(path) if os.path.isabs(path) else f"$@{folder} + '/{_plain(path)}'"


def in_flow(value: Any) -> str:
    """Return a value in YAML, in one line.

    Example:
        >>> from monai_tl.bundles.rendering import in_flow
        >>> in_flow(("background", "tumour core")), in_flow(0.004), in_flow(None), in_flow("no")
        ('[background, tumour core]', '0.004', 'null', "'no'")
    """
    value = list(value) if isinstance(value, tuple) else value
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=float("inf"), sort_keys=False)
    return text.removesuffix("...\n").strip()


def _plain(path: str) -> str:
    if not PLAIN_PATH.fullmatch(path):
        raise ConfigError(f"a config cannot join the relative path {path!r} to the bundle's: write the absolute path")
    return path


def _aligned(text: str) -> str:
    """Return a config with the comments that follow code in one column."""
    return re.sub(r"^( *[^#\s].*?) +# ", lambda match: f"{match[1]:<{COMMENTS_AT - 1}} # ", text, flags=re.MULTILINE)


def _commands(name: str) -> str:
    """Return the commands that a bundle's README shows: check, train, transfer, evaluate."""
    return "\n".join(
        (
            f"monai_tl bundle check bundles/{name}",
            f"monai_tl train --bundle bundles/{name} --output runs/{name}",
            f"monai_tl transfer --target bundles/{name} --freeze 2 --output runs/{name}_freeze_2",
            f"monai_tl evaluate --run runs/{name}_freeze_2 --split test",
        )
    )


def _normalised(value: Any) -> str:
    """Return in words what a normalisation, or one for each modality, does to a volume."""
    return ", ".join(dict.fromkeys(one.in_words for one in read_normalisations(value)))


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader((RECIPE, RECIPE.parent)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    as_json = json.JSONEncoder(ensure_ascii=False).encode
    environment.filters |= {
        "flow": in_flow,
        "place": config_path,
        "within": path_within,
        "json": as_json,
        "named": listed,
        "normalised": _normalised,
    }
    return environment
