"""Merging a bundle's configs as MONAI does, and finding references in them, without importing MONAI, which takes seconds.

With this, verbs refuse invalid paths, ids and settings before anything slow starts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from monai_tl.errors import ConfigError, did_you_mean
from monai_tl.settings.table import EXPRESSION

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
RECIPE_CONFIGS = ("train", "transfer", "untrained", "evaluate", "inference")  # what every rendered bundle has
SEPARATOR = "::"  # MONAI also accepts #
REFERENCE = re.compile(r"@\w*(?:::\w*)*")
RELATIVE = re.compile(r"^%|[@%](?:#|::)")  # macros and relative ids
JOINED = re.compile(r"@(\w+)|'([^'\\]*)'|\"([^\"\\]*)\"")  # an operand of a text concatenation


def bundle_config(bundle: str | Path, name: str) -> Path:
    """Return the path of a bundle's config, e.g. ``("bundles/brats_tumour_core", "transfer")``.

    Raises:
        ConfigError: if it does not exist; the bundle's configs are listed.
    """
    path = Path(bundle) / "configs" / f"{name}.yaml"
    if not path.is_file():
        existing = [config.stem for config in sorted(path.parent.glob("*.yaml"))]
        if not existing:
            raise ConfigError(f"'{bundle}' is not a bundle: it has no configs/{name}.yaml")
        remedy = f"; `monai_tl bundle render {bundle}` adds it" if name in RECIPE_CONFIGS else ""
        raise ConfigError(f"bundle '{bundle}' has no config '{name}': {did_you_mean(name, existing)}{remedy}")
    return path


def read_run_config(run: str | Path) -> dict[str, Any]:
    """Read the config that a run was trained with.

    Raises:
        ConfigError: if the folder is not a run folder.
    """
    path = Path(run) / "config.yaml"
    if not path.is_file():
        raise ConfigError(f"'{run}' is not a run folder: it has no config.yaml; training writes one")
    config = read_yaml(path)
    if "crop" not in config["validate"]:
        raise ConfigError(
            f"'{run}' was trained by an earlier version, whose validation scored cases on another grid than evaluation: "
            "train it again, or use that version"
        )
    return config


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one config without merging or evaluating anything.

    Raises:
        ConfigError: if it is not YAML (the line is named) or holds no ids.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), LOADER)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML ({' '.join(str(error).split())}): correct it") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds a {type(content).__name__} instead of config ids: correct it")
    return content


def merge_configs(files: Iterable[str | Path]) -> dict[str, Any]:
    """Merge configs in order: a later value replaces an earlier one, and ``+id`` extends a list or dict."""
    merged: dict[str, Any] = {}
    for file in files:
        for key, value in read_yaml(Path(file)).items():
            name = str(key).removeprefix("+")
            before = value_at(merged, name) if name != key and has_id(merged, name) else None
            if isinstance(before, dict) and isinstance(value, dict):
                before.update(value)
            elif isinstance(before, list) and isinstance(value, list):
                before.extend(value)
            else:
                set_id(merged, name, value)
    return merged


def source_of_target(bundle: str) -> str | None:
    """Return the source that a bundle's ``transfer.yaml`` names; None if it names none, or by an expression.

    Raises:
        ConfigError: if the bundle has no ``transfer.yaml``.
    """
    config = {**read_yaml(bundle_config(bundle, "transfer")), "bundle_root": bundle}
    path = plain_text(config, "source") if "source" in config else None
    if path is None or ".." not in Path(path).parts:
        return path
    real = Path(path).resolve()
    return str(real.relative_to(Path.cwd()) if real.is_relative_to(Path.cwd()) else real)


def default_of(files: Sequence[Path], key: str) -> Any:
    """Return the value of an id, not evaluated, after merging configs in order."""
    return value_at(merge_configs(files), key)


def value_at(config: Any, key: str) -> Any:
    """Return the value of an id, e.g. ``train#trainer#max_epochs``.

    Raises:
        KeyError, IndexError: if the config does not have the id.
    """
    for part in _parts(key):
        if not isinstance(config, dict | list) or (isinstance(config, list) and not part.isdecimal()):
            raise KeyError(key)
        config = config[int(part)] if isinstance(config, list) else config[part]
    return config


def has_id(config: Any, key: str) -> bool:
    """Return whether a config has an id."""
    try:
        value_at(config, key)
    except (KeyError, IndexError):
        return False
    return True


def set_id(config: dict[str, Any], key: str, value: Any) -> None:
    """Set an id in place.

    Raises:
        ConfigError: if the parent of the id does not exist.
    """
    *above, last = _parts(key)
    parent = value_at(config, SEPARATOR.join(above)) if has_id(config, SEPARATOR.join(above)) else None
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list) and last.isdecimal() and int(last) < len(parent):
        parent[int(last)] = value
    else:
        raise ConfigError(f"config id '{key}' cannot be set: its parent '{SEPARATOR.join(above)}' does not exist")


def normal_id(key: str) -> str:
    """Return an id as MONAI writes it: ``train::dataset`` for ``train#dataset``."""
    return key.replace("#", SEPARATOR)


def references(content: Any) -> set[str]:
    """Return the ids that the texts in a part of a config refer to."""
    ids: set[str] = set()
    for text in texts(content):
        text = normal_id(text)
        named = REFERENCE.findall(text)
        ids.update(name[1:] for name in named if text.startswith("$") or name == text)
    return ids


def texts(content: Any) -> Iterator[str]:
    """Yield every text in a part of a config."""
    if isinstance(content, str):
        yield content
    for part in content.values() if isinstance(content, Mapping) else content if isinstance(content, list) else ():
        yield from texts(part)


def is_expression(value: Any) -> bool:
    """Return whether a config's value, or a part of it, must still be evaluated."""
    if isinstance(value, list):
        return any(is_expression(item) for item in value)
    return isinstance(value, str) and value.startswith(EXPRESSION)


def plain_text(config: Mapping[str, Any], name: str) -> str | None:
    """Return the value of an id that concatenates references and texts, e.g. ``$@dataset_dir + '/datalist.json'``.

    Returns:
        The text; None for any other expression, which only MONAI can evaluate.
    """
    value = config.get(name)
    if not isinstance(value, str) or not is_expression(value):
        return value if isinstance(value, str) else None
    parts = [JOINED.fullmatch(part.strip()) for part in value.removeprefix("$").split(" + ")]
    values = [(plain_text(config, part[1]) if part[1] else part[2] or part[3] or "") if part else None for part in parts]
    return None if None in values else "".join(map(str, values))


def _parts(key: str) -> list[str]:
    return normal_id(key).split(SEPARATOR) if key else []
