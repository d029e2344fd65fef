"""Run a bundle's configs in this process, as ``python -m monai.bundle run`` does, refusing wrong input first."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from logging.config import fileConfig
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.bundle.reference_resolver import ReferenceResolver

from monai_tl.device import choose_device
from monai_tl.errors import ConfigError, did_you_mean, in_words, user_error
from monai_tl.settings.table import SETTINGS
from monai_tl.workflow.config_check import check_config, read_overrides

RUN_BY = ("imports", "initialize", "run", "finalize")  # what MONAI evaluates of a bundle's config
NAMED_BY_VERBS = ("bundle_root", "run_dir")


def bundle_config(bundle: str | Path, name: str) -> Path:
    """Give the path of a bundle's config, e.g. ``("bundles/brats_tumour_core", "transfer")``.

    Raises:
        ConfigError: if it does not exist; the bundle's configs are listed.
    """
    path = Path(bundle) / "configs" / f"{name}.yaml"
    if not path.is_file():
        existing = [config.stem for config in sorted(path.parent.glob("*.yaml"))]
        if not existing:
            raise ConfigError(f"'{bundle}' is no bundle: it has no configs folder with {name}.yaml in it")
        raise ConfigError(f"bundle '{bundle}' has no config '{name}': {did_you_mean(name, existing)}")
    return path


def default_of(files: Sequence[Path], key: str) -> Any:
    """Give the value of an id after merging configs in order, as it stands there."""
    parser = ConfigParser()
    parser.read_config([str(file) for file in files])
    return parser[key]


def run_configs(
    files: Sequence[Path], overrides: Mapping[str, Any], also: Sequence[str] = (), *, read: Iterable[str] | None = RUN_BY
) -> None:
    """Merge configs in order, set ids to other values, and run the result from ``initialize`` to ``finalize``.

    Args:
        files: configs.
        overrides: id -> value.
        also: what else may have been meant by a misspelt id: the flags of the verb.
        read: ids that are evaluated now or later; an override that none of them reads is refused. None: the overrides are those
            of a plan, which hold for other runs too.

    Raises:
        ConfigError: for an id that no config has or nothing reads, or settings that cannot be used; what the run itself raises
            of the toolkit's errors comes out as it is.
    """
    parser = ConfigParser()
    parser.read_config([str(file) for file in files])
    refuse_unknown_overrides(parser, overrides, also)
    overrides = read_overrides(parser, overrides)
    if read is not None:
        refuse_idle_overrides(parser, overrides, read)
    if isinstance(overrides.get("device"), str):
        overrides["device"] = str(choose_device(overrides["device"]))
    parser.update(overrides)
    logging_file = files[-1].parent / "logging.conf"  # the bundle's: a run folder has none
    if logging_file.is_file():
        fileConfig(logging_file, disable_existing_loggers=False)  # as the workflow does, before anything is said
    check_config(parser)
    logging.getLogger("monai.bundle.workflows").setLevel(logging.ERROR)  # two folders of configs are meant
    try:
        workflow = ConfigWorkflow([str(file) for file in files], logging_file=str(logging_file), **overrides)
        _initialize(workflow, [key for key in overrides if key not in SETTINGS])
        workflow.run()
        workflow.finalize()
    except Exception as error:  # MONAI wraps whatever a config's component raises
        beneath = user_error(error)
        if beneath is None:
            raise
        raise beneath from None


def _initialize(workflow: ConfigWorkflow, others: Sequence[str]) -> None:
    """Build what a config names.

    Raises:
        ConfigError: where that fails and ids that no table knows were set, with their names.
    """
    try:
        workflow.initialize()
    except Exception as error:
        if user_error(error) or not others:
            raise
        raise ConfigError(f"nothing can be set up with {', '.join(others)} as given: {in_words(error)}") from error


def refuse_unknown_overrides(
    parser: ConfigParser, overrides: Mapping[str, Any], also: Sequence[str] = (), never: Collection[str] = ()
) -> None:
    """Refuse an id that the merged config does not have: MONAI would add it without a word.

    Args:
        parser: of the merged config.
        overrides: by id.
        also: flags of the verb.
        never: ids that the verb refuses, so that no hint names them.

    Raises:
        ConfigError: with the nearest id that exists.
    """
    config = dict(parser.get() or {})
    settings = [name for name, value in config.items() if name not in never and _is_setting(name, value)]
    existing = list(dict.fromkeys([*also, *settings]))
    for key in overrides:
        parent, _, last = key.replace("#", "::").rpartition("::")
        if key.replace("#", "::") in parser:
            continue
        siblings = parser[parent] if parent and parent in parser else None
        if isinstance(siblings, Mapping):
            raise ConfigError(f"unknown config id '{key}': in '{parent}' {did_you_mean(last, siblings)}")
        raise ConfigError(f"unknown flag or config id '{key}': {did_you_mean(key, existing)}")


def refuse_idle_overrides(parser: ConfigParser, overrides: Mapping[str, Any], roots: Iterable[str] = RUN_BY) -> None:
    """Refuse an override that would change nothing, since no part of what runs reads it.

    Args:
        parser: of the merged config; it is given the overrides.
        overrides: by id.
        roots: ids that are evaluated.

    Raises:
        ConfigError: with the ids that are read.
    """
    parser.update(dict(overrides))
    parser.resolve_macro_and_relative_ids()
    read = ids_read(parser, roots)
    named = (*NAMED_BY_VERBS, *(("dataset_dir",) if "datalist" in overrides else ()))
    # a user's own plain ids may be notes, kept in the run's config
    notes = [key for key in overrides if key not in SETTINGS and "#" not in key and _is_setting(key, parser[key])]
    for key in overrides:
        name = key.replace("#", "::")
        if name in notes or name in named:
            continue
        if not any(f"{one}::".startswith(f"{name}::") or name.startswith(f"{one}::") for one in read):
            settings = [one for one in read if "::" not in one and _is_setting(one, parser[one])]
            raise ConfigError(
                f"--{key} changes nothing here: no part of what this verb runs reads it; leave it away. "
                f"There are: {', '.join(settings)}"
            )


def ids_read(parser: ConfigParser, roots: Iterable[str]) -> list[str]:
    """Name every config id that is read where some are evaluated, these among them: ``validate::inferer``, ``window``."""
    read: dict[str, None] = {}
    waiting = [root.replace("#", "::") for root in roots]
    while waiting:
        one = waiting.pop()
        if one not in read and one in parser:
            read[one] = None
            waiting += _references(parser[one])
    return sorted(read)


def _references(content: Any) -> set[str]:
    """Name the ids that the texts in a part of a config refer to."""
    if isinstance(content, str):
        return {reference.replace("#", "::") for reference in ReferenceResolver.match_refs_pattern(content)}
    parts = content.values() if isinstance(content, Mapping) else content if isinstance(content, list) else ()
    return set().union(*(_references(part) for part in parts))


def _is_setting(name: str, value: Any) -> bool:
    """Tell what users set from what a config is built of."""
    built = isinstance(value, str) and value.startswith("$") and not value.startswith(("$@bundle_root", "$@dataset_dir"))
    return not (built or isinstance(value, dict) or name.startswith("_") or (isinstance(value, list) and "$" in str(value)))


def read_run_config(run: str | Path) -> dict[str, Any]:
    """Read the config that a run was made with.

    Raises:
        ConfigError: if the folder holds no run.
    """
    path = Path(run) / "config.yaml"
    if not path.is_file():
        raise ConfigError(f"'{run}' is no run folder: it has no config.yaml; training writes one")
    config = dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    if "crop" not in config["validate"]:
        raise ConfigError(
            f"'{run}' was trained by an earlier version, whose validation scored cases on another grid than evaluation does: "
            "train it again, or use that version"
        )
    return config
