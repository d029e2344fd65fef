"""Ids of a config that a command sets: refused where none has them or nothing reads them, and read by what they replace."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from monai_tl.errors import ConfigError, did_you_mean
from monai_tl.settings.refusals import raise_refusals, refusal
from monai_tl.settings.table import FOLLOWS, REFERRED, SETTINGS, problems
from monai_tl.settings.untyped import Untyped
from monai_tl.settings.values import Kind, Text, YesNo
from monai_tl.workflow.merged_config import (
    RELATIVE,
    has_id,
    is_expression,
    merge_configs,
    normal_id,
    references,
    set_id,
    texts,
    value_at,
)

RUN_BY = ("imports", "initialize", "run", "finalize")  # what MONAI evaluates of a bundle's config
NAMED_BY_VERBS = ("bundle_root", "run_dir")


def checked_config(
    files: Sequence[Path], overrides: Mapping[str, Any], also: Sequence[str] = (), *, read: Iterable[str] | None = RUN_BY
) -> dict[str, Any]:
    """Merge configs in order and set ids to other values; whatever can be refused without evaluating anything is.

    Args:
        files: configs.
        overrides: id -> value, or text as it was typed.
        also: what else may have been meant by a misspelt id: the flags of the verb.
        read: ids that are evaluated now or later; an override that none of them reads is refused. None: the overrides are those
            of a plan, which hold for other runs too.

    Raises:
        ConfigError: for an id that no config has or nothing reads, or settings that cannot be used.
    """
    return check_overrides(merge_configs(files), overrides, also, read=read)


def check_overrides(
    config: dict[str, Any],
    overrides: Mapping[str, Any],
    also: Sequence[str] = (),
    *,
    read: Iterable[str] | None = RUN_BY,
    never: Collection[str] = (),
) -> dict[str, Any]:
    """Set ids of a merged config in place and return it; see `checked_config`.

    Args:
        config: merged.
        overrides, also, read: as of `checked_config`.
        never: ids that the verb refuses, so that no hint names them.

    Raises:
        ConfigError: likewise.
    """
    refuse_unknown_overrides(config, overrides, also, never)
    overrides = read_overrides(config, overrides)
    if read is not None:
        refuse_idle_overrides(config, overrides, read)
    for key, value in overrides.items():
        set_id(config, key, value)
    plain = {name: config[name] for name in SETTINGS if name in config and not is_expression(config[name])}
    raise_refusals(settings_problems(config, plain))
    return config


def settings_problems(config: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """List what is wrong with a config's settings.

    Args:
        config: merged, as it stands in the files.
        given: what settings come to, as far as that is known.
    """
    wrong = problems({name: value for name, value in given.items() if not _is_copy(name, config)})
    return wrong + [
        f"{name} follows from {origin}: set these; got {config[name]!r}"
        for name, origin in FOLLOWS.items()
        if name in config and not is_expression(config[name])
    ]


def read_overrides(config: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Finish reading what was typed: an id that is no setting is read by what stands in the config.

    Where the config refers to a setting, it is read as that one; where it has true or false, nothing else is taken, and no
    word where it has a number. Where it has plain text at its top level, text stays as it was typed. All else is read as
    `monai_tl.settings.untyped.read_untyped` does.

    Args:
        config: merged, with each of the ids.
        overrides: by id; settings are read already.

    Raises:
        ConfigError: for what is not of the kind that it has to be.
    """
    macros = [key for key, value in overrides.items() if str(value).startswith("%")]
    if macros:
        raise ConfigError(
            f"{macros[0]} begins with %, by which MONAI names a part of another config; got '{overrides[macros[0]]}'. Is it a "
            "variable that the shell was to fill in?"
        )
    typed = {
        key: _kind(key, value_at(config, key))
        for key, value in overrides.items()
        if key not in SETTINGS and isinstance(value, str) and not is_expression(value)
    }
    raise_refusals(refusal(key, kind, overrides[key], typed=True) for key, kind in typed.items())
    return {key: typed[key].read(value) if key in typed else value for key, value in overrides.items()}


def refuse_unknown_overrides(
    config: Mapping[str, Any], overrides: Mapping[str, Any], also: Sequence[str] = (), never: Collection[str] = ()
) -> None:
    """Refuse an id that the merged config does not have: MONAI would add it without a word.

    Args:
        config: merged.
        overrides: by id.
        also: flags of the verb.
        never: ids that the verb refuses, so that no hint names them.

    Raises:
        ConfigError: with the nearest id that exists.
    """
    settings = [name for name, value in config.items() if name not in never and _is_setting(name, value)]
    existing = list(dict.fromkeys([*also, *settings]))
    for key in overrides:
        parent, _, last = normal_id(key).rpartition("::")
        if has_id(config, key):
            continue
        siblings = value_at(config, parent) if parent and has_id(config, parent) else None
        if isinstance(siblings, Mapping):
            raise ConfigError(f"unknown config id '{key}': in '{parent}' {did_you_mean(last, siblings)}")
        raise ConfigError(f"unknown flag or config id '{key}': {did_you_mean(key, existing)}")


def refuse_idle_overrides(config: Mapping[str, Any], overrides: Mapping[str, Any], roots: Iterable[str] = RUN_BY) -> None:
    """Refuse an override that would change nothing, since no part of what runs reads it.

    Args:
        config: merged; it stays as it is.
        overrides: by id.
        roots: ids that are evaluated.

    Raises:
        ConfigError: with the ids that are read.
    """
    if not overrides:
        return
    changed = deepcopy(dict(config))
    for key, value in overrides.items():
        set_id(changed, key, value)
    changed = _absolute(changed)
    read = ids_read(changed, roots)
    named = (*NAMED_BY_VERBS, *(("dataset_dir",) if "datalist" in overrides else ()))
    # a user's own plain ids may be notes, kept in the run's config
    notes = [key for key in overrides if key not in SETTINGS and "#" not in key and _is_setting(key, value_at(changed, key))]
    for key in overrides:
        name = normal_id(key)
        if name in notes or name in named:
            continue
        if not any(f"{one}::".startswith(f"{name}::") or name.startswith(f"{one}::") for one in read):
            settings = [one for one in read if "::" not in one and _is_setting(one, changed[one])]
            raise ConfigError(
                f"--{key} changes nothing here: no part of what this verb runs reads it; leave it away. "
                f"There are: {', '.join(settings)}"
            )


def ids_read(config: Mapping[str, Any], roots: Iterable[str]) -> list[str]:
    """Name every config id that is read where some are evaluated, these among them: ``validate::inferer``, ``window``."""
    read: dict[str, None] = {}
    waiting = [normal_id(root) for root in roots]
    while waiting:
        one = waiting.pop()
        if one not in read and has_id(config, one):
            read[one] = None
            waiting += references(value_at(config, one))
    return sorted(read)


def _absolute(config: dict[str, Any]) -> dict[str, Any]:
    """Replace macros and relative ids, where there are any: only MONAI knows how."""
    if not any(RELATIVE.search(text) for text in texts(config)):
        return config
    from monai.bundle import ConfigParser

    parser = ConfigParser(config)
    parser.resolve_macro_and_relative_ids()
    return dict(parser.get())


def _kind(key: str, before: Any) -> Kind:
    """Return what an id that is no setting takes, by what the config has in its place."""
    nested = "#" in key or "::" in key
    if isinstance(before, str) and before[1:] in REFERRED and before[0] == "@":
        return REFERRED[before[1:]]
    if isinstance(before, bool):
        return YesNo()
    if isinstance(before, str) and not nested and not is_expression(before):
        return Text("any text", "(?s).*")
    return Untyped(no_text=isinstance(before, int | float))


def _is_copy(name: str, config: Mapping[str, Any]) -> bool:
    """Return whether a setting is another one, which takes the same: ``inference_window: "@window"``."""
    value = config[name]
    return isinstance(value, str) and value[:1] == "@" and SETTINGS.get(value[1:]) == SETTINGS[name] and value[1:] in config


def _is_setting(name: str, value: Any) -> bool:
    """Tell what users set from what a config is built of."""
    built = isinstance(value, str) and value.startswith("$") and not value.startswith(("$@bundle_root", "$@dataset_dir"))
    return not (built or isinstance(value, dict) or name.startswith("_") or (isinstance(value, list) and "$" in str(value)))
