"""A bundle's ``task.yaml``: the facts about its task, from which the bundle's other files are rendered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from monai_tl.errors import ConfigError, list_problems
from monai_tl.settings.table import CLASSES, EXPRESSION, NAMES, PATH
from monai_tl.settings.values import Kind, Listed, Number, Text
from monai_tl.storage.text_tables import read_text
from monai_tl.workflow.network_entry import OWN_NETWORK, refuse_bad_entry
from monai_tl.workflow.published import Published, read_published
from monai_tl.workflow.recipe_settings import RECIPE_SETTINGS, recipe_problems
from monai_tl.workflow.yaml_entries import entry_mapping, entry_value, refuse_other_entries

TASK_FILE = "task.yaml"
CODE = '[coding scheme, value, meaning] with at most 16, 16 and 64 characters, e.g. [SCT, "5366008", Hippocampus]'
CODE_LENGTHS = (16, 16, 64)  # of DICOM's value representations SH and LO

LINE = Text("one line of text", r"[^\r\n]*[^\s][^\r\n]*")
PARAGRAPHS = Text("text, or paragraphs of text")
BUNDLE_NAME = Text("a name of letters, digits, _ and -, which begins with a letter, e.g. my_task", r"[A-Za-z][A-Za-z0-9_-]*")
TEXTS: dict[str, Kind] = {
    "name": BUNDLE_NAME,
    **dict.fromkeys(("title", "task", "description", "authors", "copyright", "data_source"), LINE),
    **dict.fromkeys(("image_classes", "label_classes", "dicom_modality"), LINE),
    **dict.fromkeys(("summary", "commands", "notes", "data_license"), PARAGRAPHS),
    **dict.fromkeys(("dataset_dir", "datalist", "source"), PATH),
}
"""Texts and paths of a ``task.yaml``: what the metadata, the README and the configs of the bundle take from it."""
LISTED: dict[str, Kind] = {"modalities": NAMES, "classes": CLASSES, "references": Listed(LINE, "texts of one line each")}
KEYS = ("subject", "image", "label", "pred")  # of a case on its way through the transforms
ML, MM = Number(least=0, unit="ml"), Number(above=0, unit="mm")
ENTRIES = (*TEXTS, *LISTED, "network", "changelog", "settings", "dicom_codes", "plausible_ml", "tolerance_mm", "published")


class DicomCode(NamedTuple):
    """A coded concept: ``("SCT", "5366008", "Hippocampus")``; a private scheme's name begins with 99."""

    scheme: str
    value: str
    meaning: str


class SegmentCodes(NamedTuple):
    """Category (CID 7150) and type of a DICOM segment."""

    category: DicomCode
    type: DicomCode


@dataclass(frozen=True)
class TaskFile:
    """Content of a bundle's ``task.yaml``; empty if there is no such file.

    Attributes:
        path: path of the file.
        dicom_codes: class -> codes of its segment.
        published: results to compare with.
        modalities: image channels by name, in order.
        classes: output channels by name; background first if they exclude each other.
        texts: texts and paths by the names in `TEXTS`.
        references: publications.
        changelog: version of the bundle -> what changed, the last version last.
        settings: values of settings that differ from the recipe's defaults, `RECIPE_SETTINGS`.
        network: its ``name``, its arguments, and its ``stages`` if they are not known; empty: HighRes3DNet.
        plausible_ml: region -> lowest and highest volume in ml that is not remarkable.
        tolerance_mm: region -> distance in mm within which two surfaces count as equal.
    """

    path: Path
    dicom_codes: Mapping[str, SegmentCodes] = field(default_factory=dict)
    published: Published | None = None
    modalities: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    changelog: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)
    plausible_ml: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    tolerance_mm: Mapping[str, float] = field(default_factory=dict)


def read_task_file(bundle: Path) -> TaskFile:
    """Read a bundle's ``task.yaml``.

    Raises:
        ConfigError: if an entry is unknown, missing or of the wrong kind.
    """
    path = bundle / TASK_FILE
    return parse_task_file(read_text(path), path) if path.is_file() else TaskFile(path)


def parse_task_file(text: str, path: Path) -> TaskFile:
    """Read the text of a ``task.yaml``; ``path`` names it in messages.

    Raises:
        ConfigError: if an entry is unknown, missing or of the wrong kind.
    """
    try:
        content = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML ({' '.join(str(error).split())}): correct it") from None
    refuse_other_entries(content, ENTRIES, str(path))
    lists = {name: tuple(entry_value(content[name], LISTED[name], f"{path}: {name}")) for name in LISTED if name in content}
    task = TaskFile(
        path,
        _by_name(content, "dicom_codes", path, _segment_codes),
        read_published(content["published"], f"{path}: published") if "published" in content else None,
        texts={name: entry_value(content[name], TEXTS[name], f"{path}: {name}") for name in TEXTS if name in content},
        changelog=_by_name(content, "changelog", path, lambda text, where: str(entry_value(text, LINE, where))),
        settings=_settings(content.get("settings", {}), path, lists),
        network=_network(content.get("network"), content.get("settings"), path),
        plausible_ml=_by_name(content, "plausible_ml", path, _volumes),
        tolerance_mm=_by_name(content, "tolerance_mm", path, lambda number, where: float(entry_value(number, MM, where))),
        **lists,
    )
    _refuse_odd_names(task)
    return task


def _by_name(content: Mapping[str, Any], entry: str, path: Path, read: Any) -> dict[str, Any]:
    """Read an entry that holds a value for each of some names; without the entry, there is none."""
    given = entry_mapping(content.get(entry, {}), f"{path}: {entry}")
    return {str(name): read(of, f"{path}: {entry} of '{name}'") for name, of in given.items()}


def _settings(content: Any, path: Path, lists: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    refuse_other_entries(content, tuple(RECIPE_SETTINGS), f"{path}: settings")
    regions = len([name for name in lists.get("classes", ()) if name != "background"]) or 1
    of = {"modalities": lists["modalities"]} if lists.get("modalities") else {}
    invalid = recipe_problems({**content, **of}, regions)
    if invalid:
        raise ConfigError(list_problems(f"{path}: settings: {invalid[0]}", invalid[1:]))
    return dict(content)


def _network(content: Any, settings: Any, path: Path) -> dict[str, Any]:
    if content is None:
        return {}
    refuse_bad_entry(content, f"{path}: network")
    if content["name"] != OWN_NETWORK and "head_norm" in (settings or {}):
        raise ConfigError(f"{path}: settings: head_norm is a setting of {OWN_NETWORK}, not of {content['name']}: omit it")
    return dict(content)


def _refuse_odd_names(task: TaskFile) -> None:
    """Refuse names that MONAI would evaluate, and a background that is not first."""
    for name in (*task.modalities, *task.classes):
        if name.startswith(EXPRESSION):
            raise ConfigError(f"{task.path}: MONAI evaluates texts that begin with {' '.join(EXPRESSION)}: rename '{name}'")
    if taken := [name for name in task.modalities if name in KEYS]:
        raise ConfigError(
            f"{task.path}: configs use the name '{taken[0]}' for something else: rename this modality in the datalist"
        )
    if "background" in task.classes[1:]:
        raise ConfigError(f"{task.path}: classes must name the background first; got {list(task.classes)}")


def _volumes(content: Any, where: str) -> tuple[float, float]:
    valid = isinstance(content, list) and len(content) == 2 and all(map(ML.allows, content)) and content[0] < content[1]
    if not valid:
        raise ConfigError(f"{where} takes the lowest and the highest volume in ml, e.g. [1.5, 5.5]; got {content!r}")
    return float(content[0]), float(content[1])


def _segment_codes(content: Any, where: str) -> SegmentCodes:
    refuse_other_entries(content, SegmentCodes._fields, where, all_needed=True)
    return SegmentCodes(**{name: _code(code, f"{where}: {name}") for name, code in content.items()})


def _code(content: Any, where: str) -> DicomCode:
    texts = isinstance(content, list) and len(content) == len(CODE_LENGTHS) and all(isinstance(part, str) for part in content)
    if not texts or not all(0 < len(part) <= most for part, most in zip(content, CODE_LENGTHS, strict=True)):
        raise ConfigError(f"{where} takes {CODE}; got {content}")
    return DicomCode(*content)
