"""Published results that ``task.yaml`` holds, for a study's report to show next to its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from monai_tl.errors import ConfigError
from monai_tl.settings.values import Kind, Number, Text, Whole
from monai_tl.workflow.yaml_entries import entry_mapping, entry_value, refuse_other_entries

TEXT, COUNT, DICE = Text("a text in quotes"), Whole(1), Number(least=0, most=1)


class PublishedSize(NamedTuple):
    """A published table for one training set: test Dice and iterations by arm."""

    n: int
    set: str
    table: str
    test: dict[str, float]
    iterations: dict[str, int]


class PublishedLayers(NamedTuple):
    """A published table of Dice by arm, for training and for validation cases."""

    table: str
    training: dict[str, float]
    validation: dict[str, float]


class Published(NamedTuple):
    """Results of a publication to compare with; ``setting`` describes how they were obtained."""

    year: int
    setting: str
    layers: PublishedLayers
    sizes: tuple[PublishedSize, ...]

    def test_dice(self, arm: str, n: int) -> float | None:
        """Return the test Dice of an arm for exactly this number of training subjects; None if there is none."""
        return next((size.test.get(arm) for size in self.sizes if size.n == n), None)


def read_published(content: Any, where: str) -> Published:
    """Read the entry ``published``; ``where`` names it in messages.

    Raises:
        ConfigError: if an entry is unknown, missing or of the wrong kind.
    """
    refuse_other_entries(content, Published._fields, where, all_needed=True)
    layers, sizes = content["layers"], content["sizes"]
    refuse_other_entries(layers, PublishedLayers._fields, f"{where}: layers", all_needed=True)
    if not isinstance(sizes, list):
        raise ConfigError(f"{where}: sizes takes a list with one entry per training set; got {sizes}")
    return Published(
        entry_value(content["year"], COUNT, f"{where}: year"),
        entry_value(content["setting"], TEXT, f"{where}: setting"),
        PublishedLayers(
            entry_value(layers["table"], TEXT, f"{where}: layers: table"),
            *_by_arm(layers, {"training": DICE, "validation": DICE}, f"{where}: layers"),
        ),
        tuple(_published_size(size, f"{where}: sizes, entry {number}") for number, size in enumerate(sizes, 1)),
    )


def _published_size(content: Any, where: str) -> PublishedSize:
    refuse_other_entries(content, PublishedSize._fields, where, all_needed=True)
    kinds: dict[str, Kind] = {"n": COUNT, "set": TEXT, "table": TEXT}
    values = {name: entry_value(content[name], kind, f"{where}: {name}") for name, kind in kinds.items()}
    test, iterations = _by_arm(content, {"test": DICE, "iterations": COUNT}, where)
    return PublishedSize(**values, test=test, iterations=iterations)


def _by_arm(content: Mapping[str, Any], kinds: Mapping[str, Kind], where: str) -> list[dict[str, Any]]:
    """Read the columns of one table, which must have the same arms."""
    columns: dict[str, dict[str, Any]] = {}
    for name, kind in kinds.items():
        given = entry_mapping(content[name], f"{where}: {name}")
        columns[name] = {str(arm): entry_value(value, kind, f"{where}: {name} of {arm}") for arm, value in given.items()}
    if len({tuple(column) for column in columns.values()}) > 1:
        arms = " and ".join(f"{name} has {', '.join(column)}" for name, column in columns.items())
        raise ConfigError(f"{where} takes the same arms in the same order in each column; {arms}")
    return list(columns.values())
