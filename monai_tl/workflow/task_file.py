"""A bundle's ``task.yaml``: facts about its task outside its configs (DICOM codes, plausible volumes, published results)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from monai_tl.errors import ConfigError, did_you_mean
from monai_tl.settings.values import Kind, Number, Text, Whole
from monai_tl.storage.text_tables import read_text

TASK_FILE = "task.yaml"
CODE = '[coding scheme, value, meaning] with at most 16, 16 and 64 characters, e.g. [SCT, "5366008", Hippocampus]'
CODE_LENGTHS = (16, 16, 64)  # of DICOM's value representations SH and LO
TEXT, COUNT, DICE, VOLUME = Text("a text in quotes"), Whole(1), Number(least=0, most=1), Number(least=0)


class DicomCode(NamedTuple):
    """A coded concept: ``("SCT", "5366008", "Hippocampus")``; a private scheme's name begins with 99."""

    scheme: str
    value: str
    meaning: str


class SegmentCodes(NamedTuple):
    """Category (CID 7150) and type of a DICOM segment."""

    category: DicomCode
    type: DicomCode


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


@dataclass(frozen=True)
class TaskFile:
    """Content of a bundle's ``task.yaml``; empty if there is no such file.

    Attributes:
        path: path of the file.
        dicom_codes: class -> codes of its segment.
        published: results to compare with.
        plausible_ml: region -> lowest and highest plausible volume in ml.
    """

    path: Path
    dicom_codes: Mapping[str, SegmentCodes] = field(default_factory=dict)
    published: Published | None = None
    plausible_ml: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def read_task_file(bundle: Path) -> TaskFile:
    """Read a bundle's ``task.yaml``.

    Raises:
        ConfigError: if an entry is unknown, missing or of the wrong kind.
    """
    path = bundle / TASK_FILE
    if not path.is_file():
        return TaskFile(path)
    try:
        content = yaml.safe_load(read_text(path)) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML ({' '.join(str(error).split())}): correct it") from None
    _refuse_other_keys(content, ("dicom_codes", "published", "plausible_ml"), str(path))
    codes = _mapping(content.get("dicom_codes", {}), f"{path}: dicom_codes")
    plausible = _mapping(content.get("plausible_ml", {}), f"{path}: plausible_ml")
    return TaskFile(
        path,
        {str(name): _segment_codes(of, f"{path}: dicom_codes of '{name}'") for name, of in codes.items()},
        _published(content["published"], f"{path}: published") if "published" in content else None,
        {str(name): _range(of, f"{path}: plausible_ml of '{name}'") for name, of in plausible.items()},
    )


def _range(content: Any, where: str) -> tuple[float, float]:
    numbers = isinstance(content, list) and len(content) == 2 and all(VOLUME.allows(value) for value in content)
    if not numbers or not content[0] < content[1]:
        raise ConfigError(f"{where} takes the lowest and the highest volume in ml, e.g. [1.5, 5.5]; got {content}")
    return float(content[0]), float(content[1])


def _segment_codes(content: Any, where: str) -> SegmentCodes:
    _refuse_other_keys(content, SegmentCodes._fields, where, all_needed=True)
    return SegmentCodes(**{name: _code(code, f"{where}: {name}") for name, code in content.items()})


def _code(content: Any, where: str) -> DicomCode:
    texts = isinstance(content, list) and len(content) == len(CODE_LENGTHS) and all(isinstance(part, str) for part in content)
    if not texts or not all(0 < len(part) <= most for part, most in zip(content, CODE_LENGTHS, strict=True)):
        raise ConfigError(f"{where} takes {CODE}; got {content}")
    return DicomCode(*content)


def _published(content: Any, where: str) -> Published:
    _refuse_other_keys(content, Published._fields, where, all_needed=True)
    layers, sizes = content["layers"], content["sizes"]
    _refuse_other_keys(layers, PublishedLayers._fields, f"{where}: layers", all_needed=True)
    if not isinstance(sizes, list):
        raise ConfigError(f"{where}: sizes takes a list with one entry per training set; got {sizes}")
    return Published(
        _value(content["year"], COUNT, f"{where}: year"),
        _value(content["setting"], TEXT, f"{where}: setting"),
        PublishedLayers(
            _value(layers["table"], TEXT, f"{where}: layers: table"),
            *_by_arm(layers, {"training": DICE, "validation": DICE}, f"{where}: layers"),
        ),
        tuple(_published_size(size, f"{where}: sizes, entry {number}") for number, size in enumerate(sizes, 1)),
    )


def _published_size(content: Any, where: str) -> PublishedSize:
    _refuse_other_keys(content, PublishedSize._fields, where, all_needed=True)
    kinds: dict[str, Kind] = {"n": COUNT, "set": TEXT, "table": TEXT}
    values = {name: _value(content[name], kind, f"{where}: {name}") for name, kind in kinds.items()}
    test, iterations = _by_arm(content, {"test": DICE, "iterations": COUNT}, where)
    return PublishedSize(**values, test=test, iterations=iterations)


def _by_arm(content: Mapping[str, Any], kinds: Mapping[str, Kind], where: str) -> list[dict[str, Any]]:
    """Read the columns of one table, which must have the same arms."""
    columns: dict[str, dict[str, Any]] = {}
    for name, kind in kinds.items():
        given = _mapping(content[name], f"{where}: {name}")
        columns[name] = {str(arm): _value(value, kind, f"{where}: {name} of {arm}") for arm, value in given.items()}
    if len({tuple(column) for column in columns.values()}) > 1:
        arms = " and ".join(f"{name} has {', '.join(column)}" for name, column in columns.items())
        raise ConfigError(f"{where} takes the same arms in the same order in each column; {arms}")
    return list(columns.values())


def _value(value: Any, kind: Kind, where: str) -> Any:
    if not kind.allows(value):
        raise ConfigError(f"{where} takes {kind.takes}; got {value!r}")
    return value


def _mapping(content: Any, where: str) -> Mapping[Any, Any]:
    if not isinstance(content, Mapping):
        raise ConfigError(f"{where} takes values by name; got {content!r}")
    return content


def _refuse_other_keys(content: Any, known: tuple[str, ...], where: str, *, all_needed: bool = False) -> None:
    keys = _mapping(content, where)
    unknown = next((key for key in keys if key not in known), None)
    if unknown is not None:
        raise ConfigError(f"{where} has an unknown entry '{unknown}': {did_you_mean(str(unknown), known)}")
    missing = [name for name in known if name not in keys]
    if missing and all_needed:
        raise ConfigError(f"{where} lacks {', '.join(missing)}; required are {', '.join(known)}")
