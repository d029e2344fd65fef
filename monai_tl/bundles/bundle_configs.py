"""A bundle's configs and metadata, read and merged as verbs do, for the checks of a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from monai_tl.storage.files import read_json
from monai_tl.workflow.merged_config import RECIPE_CONFIGS, bundle_config, merge_configs, plain_text
from monai_tl.workflow.task_file import TaskFile, read_task_file

MERGES = (
    ("train",),
    ("train", "transfer"),
    ("train", "transfer", "untrained"),
    ("train", "evaluate"),
    ("inference",),
)
"""The configs that verbs merge."""


@dataclass(frozen=True)
class BundleConfigs:
    """The configs of a bundle; each is read when it is first needed.

    Attributes:
        folder: the bundle.
    """

    folder: Path

    @cached_property
    def task(self) -> TaskFile:
        """The bundle's ``task.yaml``; empty if it has none."""
        return read_task_file(self.folder)

    @cached_property
    def metadata(self) -> Mapping[str, Any]:
        """The bundle's ``metadata.json``."""
        return read_json(self.folder / "configs" / "metadata.json", remedy="`monai_tl bundle render` writes it")

    @cached_property
    def train(self) -> Mapping[str, Any]:
        """The bundle's ``train.yaml``."""
        return self.merged("train")

    @cached_property
    def inference(self) -> Mapping[str, Any]:
        """The bundle's ``inference.yaml``."""
        return self.merged("inference")

    def merged(self, *names: str) -> dict[str, Any]:
        """Return configs merged in order, with the bundle's folder as ``bundle_root``; nothing is evaluated."""
        return {**merge_configs([bundle_config(self.folder, name) for name in names]), "bundle_root": str(self.folder)}

    def merges(self) -> list[tuple[str, ...]]:
        """Return which configs are merged: those of the verbs, and each further config after train and transfer."""
        others = [path.stem for path in sorted((self.folder / "configs").glob("*.yaml")) if path.stem not in RECIPE_CONFIGS]
        return [*MERGES, *(("train", "transfer", other) for other in others)]

    def datalist(self) -> Path | None:
        """Return the datalist of ``train.yaml`` if its path can be known and it exists."""
        path = plain_text(self.train, "datalist")
        return Path(path) if path and Path(path).is_file() else None
