"""Folders that a repeated command resumes: they store the settings that their content depends on and refuse others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_tl.errors import ConfigError
from monai_tl.storage.files import naming_damage, read_json, write_json

SHOWN = 3  # differences in a message


@dataclass(frozen=True)
class FolderRecord:
    """The JSON file in which a folder keeps its settings, ``{"format": 1, "settings": {…}, …}``.

    Attributes:
        folder: the folder, which need not exist.
        name: name of the file.
        format: number of its format.
        holds: what the folder holds, for messages, e.g. ``"predictions"``.
        remedy: what to do if the file is damaged or the settings differ.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> record = FolderRecord(Path(tempfile.mkdtemp()), "check.json", 1, "a check", "choose another folder")
        >>> record.resume({"anonymous": True}) is None  # a new folder
        True
        >>> record.write({"anonymous": True})
        >>> record.resume({"anonymous": True})["settings"]
        {'anonymous': True}
    """

    folder: Path
    name: str
    format: int
    holds: str
    remedy: str

    @property
    def path(self) -> Path:
        """Return the path of the file."""
        return self.folder / self.name

    def read(self, *required: str) -> dict[str, Any] | None:
        """Return the content of the file, None if there is none.

        Args:
            required: names of objects that it must have beside ``settings``.

        Raises:
            DataError: if it is damaged or has another format.
        """
        if not self.path.is_file():
            return None
        content = read_json(self.path, required=("settings", *required), remedy=self.remedy, of_format=self.format)
        with naming_damage(self.path, self.remedy):
            if wrong := [name for name in ("settings", *required) if not isinstance(content[name], dict)]:
                raise ValueError(f"{', '.join(wrong)}: not an object")
        return content

    def resume(self, settings: Mapping[str, Any], *required: str) -> dict[str, Any] | None:
        """Return the content that the folder was begun with, None if it is still to begin.

        Raises:
            ConfigError: if it was begun with other settings.
            DataError: if the file is damaged or has another format.
        """
        content = self.read(*required)
        if content is not None:
            refuse_differences(self.folder, self.holds, setting_differences(content["settings"], settings), self.remedy)
        return content

    def refuse_foreign(self) -> None:
        """Refuse a path that is a file or a folder with something else in it.

        Raises:
            ConfigError: if so.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise ConfigError(f"'{self.folder}' is a file; name a folder")
        if self.folder.is_dir() and any(self.folder.iterdir()) and not self.path.is_file():
            raise ConfigError(f"'{self.folder}' contains something other than {self.holds}; choose another folder")

    def write(self, settings: Mapping[str, Any], **more: Any) -> None:
        """Write the file, atomically; the folder is created if it is missing."""
        write_json(self.path, {"format": self.format, "settings": settings, **more})


def setting_differences(before: Mapping[str, Any], now: Mapping[str, Any], name: str = "{}") -> list[str]:
    """Return one line per setting whose values differ, e.g. ``seed was 0, is 1``.

    Args:
        before: settings as read from JSON.
        now: settings as given; tuples equal lists.
        name: pattern for the name of a setting, e.g. ``"configs {}"``.
    """
    now = json.loads(json.dumps(now, default=str))
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    return [f"{name.format(key)} was {setting_text(before.get(key))}, is {setting_text(now.get(key))}" for key in keys]


def refuse_differences(folder: Path, holds: str, lines: Sequence[str], remedy: str) -> None:
    """Refuse to continue a folder that was begun with other settings.

    Raises:
        ConfigError: with the first differences, if there are any.
    """
    if lines:
        more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
        raise ConfigError(f"'{folder}' holds {holds} with other settings ({'; '.join(lines[:SHOWN])}{more}); {remedy}")


def setting_text(value: Any) -> str:
    """Return a setting's value for a message: a list without brackets, the beginning of a hash."""
    if value is None:
        return "not set"
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 and value == text else text
