"""Entries of a user's YAML file, checked one by one, so that each mistake is named by its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai_tl.errors import ConfigError, did_you_mean
from monai_tl.settings.values import Kind


def entry_value(value: Any, kind: Kind, where: str) -> Any:
    """Return a value of a kind.

    Raises:
        ConfigError: if it is of another kind or out of range.
    """
    if not kind.allows(value):
        raise ConfigError(f"{where} takes {kind.takes}; got {value!r}")
    return value


def entry_mapping(content: Any, where: str) -> Mapping[Any, Any]:
    """Return values by name.

    Raises:
        ConfigError: if it is something else.
    """
    if not isinstance(content, Mapping):
        raise ConfigError(f"{where} takes values by name; got {content!r}")
    return content


def refuse_other_entries(content: Any, known: tuple[str, ...], where: str, *, all_needed: bool = False) -> None:
    """Refuse entries that are not known; with ``all_needed``, also missing ones.

    Raises:
        ConfigError: with the nearest known entry, or the missing ones.
    """
    keys = entry_mapping(content, where)
    unknown = next((key for key in keys if key not in known), None)
    if unknown is not None:
        raise ConfigError(f"{where} has an unknown entry '{unknown}': {did_you_mean(str(unknown), known)}")
    missing = [name for name in known if name not in keys]
    if missing and all_needed:
        raise ConfigError(f"{where} lacks {', '.join(missing)}; required are {', '.join(known)}")
