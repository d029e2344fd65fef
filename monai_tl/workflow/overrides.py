"""Config ids that a command line overrides: unknown and unused ones are refused, and the others are read by type."""

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

RUN_BY = ("imports", "initialize", "run", "finalize")  # the ids of a bundle's config that MONAI evaluates
Z_SCORES, OLD_Z_SCORE = ("zscore_volume", "zscore_nonzero"), "@normalisation == 'zscore_nonzero'"
NAMED_BY_VERBS = ("bundle_root", "run_dir")


def checked_config(
    files: Sequence[Path], overrides: Mapping[str, Any], also: Sequence[str] = (), *, read: Iterable[str] | None = RUN_BY
) -> dict[str, Any]:
    """Merge configs in order, override ids, and refuse what can be refused without evaluating expressions.

    Args:
        files: configs to merge.
        overrides: id -> value, or text from the command line.
        also: the verb's flags, which the hint for a misspelt id considers too.
        read: ids that are evaluated now or later; an override that none of them uses is refused. None: do not check this, as
            the overrides of a plan are also for other runs.

    Raises:
        ConfigError: for an id that no config has or that is not used, or for invalid settings.
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
    """Override ids of a merged config in place and return it; see `checked_config`.

    Args:
        config: the merged config.
        overrides, also, read: as in `checked_config`.
        never: ids that the verb refuses, so that hints omit them.

    Raises:
        ConfigError: as `checked_config` does.
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
    """List the problems of a config's settings.

    Args:
        config: the merged config, not evaluated.
        given: evaluated values of settings, as far as they are known.
    """
    invalid = problems({name: value for name, value in given.items() if not _is_copy(name, config)})
    if given.get("normalisation", "zscore_volume") not in Z_SCORES and any(OLD_Z_SCORE in text for text in texts(config)):
        invalid.append(
            f"normalisation ({given['normalisation']}) would be ignored: an earlier version rendered image_transforms, which "
            "z-score all images; `monai_tl bundle render` renews them, or use monai_tl.imaging.normalise.NormaliseImaged there"
        )
    return invalid + [
        f"{name} is computed from {origin}: set these instead; got {config[name]!r}"
        for name, origin in FOLLOWS.items()
        if name in config and not is_expression(config[name])
    ]


def read_overrides(config: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Read the text of overrides that are not settings, by the type of the value that the config has.

    If the config refers to a setting, the text is read as that setting. If it has true or false, only these are accepted; if it
    has a number, words are refused; if it has plain text at its top level, the text is kept. Anything else is read by
    `monai_tl.settings.untyped.read_untyped`.

    Args:
        config: the merged config, which has all the ids.
        overrides: value by id; settings have been read before.

    Raises:
        ConfigError: if a text is not of the required kind.
    """
    macros = [key for key, value in overrides.items() if str(value).startswith("%")]
    if macros:
        raise ConfigError(
            f"{macros[0]} takes no value that begins with %, which MONAI reads as a part of another config; got "
            f"'{overrides[macros[0]]}'. Is it a variable that the shell did not replace?"
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
    """Refuse an id that the merged config does not have; MONAI would silently add it.

    Args:
        config: the merged config.
        overrides: value by id.
        also: the verb's flags.
        never: ids that the verb refuses, so that hints omit them.

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
    """Refuse an override that would have no effect, as nothing that is evaluated uses it.

    Args:
        config: the merged config, which is not changed.
        overrides: value by id.
        roots: ids that are evaluated.

    Raises:
        ConfigError: with the settings that are used.
    """
    if not overrides:
        return
    changed = deepcopy(dict(config))
    for key, value in overrides.items():
        set_id(changed, key, value)
    changed = _absolute(changed)
    read = ids_read(changed, roots)
    named = (*NAMED_BY_VERBS, *(("dataset_dir",) if "datalist" in overrides else ()))
    # plain ids that are not settings may be a user's notes, which the run's config keeps
    notes = [key for key in overrides if key not in SETTINGS and "#" not in key and _is_setting(key, value_at(changed, key))]
    for key in overrides:
        name = normal_id(key)
        if name in notes or name in named:
            continue
        if not any(f"{used}::".startswith(f"{name}::") or name.startswith(f"{used}::") for used in read):
            settings = [used for used in read if "::" not in used and _is_setting(used, changed[used])]
            raise ConfigError(
                f"--{key} has no effect: nothing that this verb runs uses it; omit it. There are: {', '.join(settings)}"
            )


def ids_read(config: Mapping[str, Any], roots: Iterable[str]) -> list[str]:
    """Return the ids that are used when ``roots`` are evaluated, including these, e.g. ``validate::inferer``, ``window``."""
    used: set[str] = set()
    waiting = [normal_id(root) for root in roots]
    while waiting:
        name = waiting.pop()
        if name not in used and has_id(config, name):
            used.add(name)
            waiting += references(value_at(config, name))
    return sorted(used)


def _absolute(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config with macros and relative ids resolved, which needs MONAI; without any, the config itself."""
    if not any(RELATIVE.search(text) for text in texts(config)):
        return config
    from monai.bundle import ConfigParser

    parser = ConfigParser(config)
    parser.resolve_macro_and_relative_ids()
    return dict(parser.get())


def _kind(key: str, before: Any) -> Kind:
    """Return what an id that is not a setting takes, derived from the config's value ``before``."""
    nested = "#" in key or "::" in key
    if isinstance(before, str) and before[1:] in REFERRED and before[0] == "@":
        return REFERRED[before[1:]]
    if isinstance(before, bool):
        return YesNo()
    if isinstance(before, str) and not nested and not is_expression(before):
        return Text("any text", "(?s).*")
    if isinstance(before, Mapping) and "_target_" in before:
        return Untyped(
            no_text=True, takes=f"no text, as the config has a component there: override its parts, e.g. {key}#_target_"
        )
    return Untyped(no_text=isinstance(before, int | float))


def _is_copy(name: str, config: Mapping[str, Any]) -> bool:
    """Return whether a setting only refers to another one of the same kind: ``inference_window: "@window"``."""
    value = config[name]
    return isinstance(value, str) and value[:1] == "@" and SETTINGS.get(value[1:]) == SETTINGS[name] and value[1:] in config


def _is_setting(name: str, value: Any) -> bool:
    """Return whether users set an id; the other ids hold components of the config."""
    built = isinstance(value, str) and value.startswith("$") and not value.startswith(("$@bundle_root", "$@dataset_dir"))
    return not (built or isinstance(value, dict) or name.startswith("_") or (isinstance(value, list) and "$" in str(value)))
