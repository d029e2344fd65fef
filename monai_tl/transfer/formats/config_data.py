"""A bundle's configs as plain data: references are followed where they are plain, and nothing is evaluated."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

SUFFIXES = (".json", ".yaml", ".yml")
REFERENCE = re.compile(r"[@%]((?:\w+)(?:(?:#|::)\w+)*)")
SUM = re.compile(rf"\$\s*{REFERENCE.pattern.replace('%', '')}(?:\s*\+\s*{REFERENCE.pattern.replace('%', '')})*\s*")
DEPTH = 20  # references that lead from one to the next


class Unread:
    """A value that is known only after running code: an expression, or a reference to what does not exist."""

    def __init__(self, text: str) -> None:
        """Keep the text, for messages."""
        self.text = text

    def __repr__(self) -> str:
        """Return the text."""
        return self.text


class ConfigData:
    """A config of MONAI's bundle format, read without MONAI's parser, as that would run the expressions in it.

    Example:
        >>> from monai_tl.transfer.formats.config_data import ConfigData
        >>> config = ConfigData({"size": [96, 96, 96], "train": {"roi": "@size"}, "device": "$torch.device('cuda')"})
        >>> config.value("train#roi"), config.value("device")
        ([96, 96, 96], $torch.device('cuda'))
    """

    def __init__(self, content: Mapping[str, Any], name: str = "") -> None:
        """Take the content of a config file, and the file's name for messages."""
        self.content, self.name = content, name

    def value(self, reference: str) -> Any:
        """Return the value under an id such as ``train#preprocessing``, with all references in it followed; None if absent."""
        return self._resolved(self._at(reference.split("#")), 0)

    def _at(self, path: Iterable[str]) -> Any:
        found: Any = self.content
        for part in path:
            if isinstance(found, str):
                found = self._followed(found, 0)
            if isinstance(found, Mapping):
                found = found.get(part)
            elif isinstance(found, list) and part.isdecimal() and int(part) < len(found):
                found = found[int(part)]
            else:
                return None
        return found

    def _resolved(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            value = self._followed(value, depth)
        if depth > DEPTH or isinstance(value, str | Unread):
            return value
        if isinstance(value, Mapping):
            return {name: self._resolved(inner, depth + 1) for name, inner in value.items()}
        return [self._resolved(inner, depth + 1) for inner in value] if isinstance(value, list) else value

    def _followed(self, text: str, depth: int) -> Any:
        """Return what a text refers to: ``@id``, ``%id``, ``$@id`` or a sum of lists ``$@id + @id``."""
        if not text.startswith(("$", "@", "%")):
            return text
        whole = REFERENCE.fullmatch(text)
        if depth > DEPTH or not (whole or SUM.fullmatch(text)):
            return Unread(text)
        found = [self._resolved(self._at(match.replace("::", "#").split("#")), depth + 1) for match in REFERENCE.findall(text)]
        if any(one is None or isinstance(one, Unread) for one in found):
            return Unread(text)
        if len(found) == 1:
            return found[0]
        return [entry for one in found for entry in one] if all(isinstance(one, list) for one in found) else Unread(text)


def read_configs(folder: Path, names: Iterable[str]) -> list[ConfigData]:
    """Return the configs of these names in a folder, as JSON or YAML; what cannot be read is left out."""
    found = [folder / f"{name}{suffix}" for name in names for suffix in SUFFIXES if (folder / f"{name}{suffix}").is_file()]
    configs = []
    for path in found:
        try:
            text = path.read_text(encoding="utf-8")
            content = (
                json.loads(text) if path.suffix == ".json" else yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            )
        except (ValueError, yaml.YAMLError, OSError):
            continue
        if isinstance(content, Mapping):
            configs.append(ConfigData(content, path.name))
    return configs
