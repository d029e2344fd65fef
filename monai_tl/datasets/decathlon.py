"""Cases of a Medical Segmentation Decathlon task: ``dataset.json`` and images whose fourth axis is the modality."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_tl.datasets import patterns
from monai_tl.datasets.ids import normal, on_disk
from monai_tl.datasets.modality_names import scans_hint
from monai_tl.datasets.patterns import Cases
from monai_tl.errors import ConfigError, DataError, did_you_mean
from monai_tl.imaging.scan_files import PART
from monai_tl.storage.text_tables import read_text

DATASET = "dataset.json"


@dataclass(frozen=True)
class Task:
    """The content of ``dataset.json``.

    Attributes:
        root: its folder.
        modalities: their names, in the order of the images' volumes.
        labels: name -> value, without the background.
        training: image and label of each training case, as written in the file.
        test: image of each test case.
    """

    root: Path
    modalities: tuple[str, ...]
    labels: dict[str, int]
    training: tuple[tuple[str, str], ...]
    test: tuple[str, ...]

    def values(self, asked: Sequence[str]) -> list[int]:
        """Return the values of labels given by name or value; of all labels if none is given.

        Raises:
            ConfigError: if there is no such label; the existing ones are listed.
        """
        known = {str(value): value for value in self.labels.values()} | self.labels
        for name in asked:
            if name not in known:
                existing = [f"{name} ({value})" for name, value in self.labels.items()]
                raise ConfigError(f"no label '{name}' in {self.root / DATASET}: {did_you_mean(name, existing)}")
        return [known[name] for name in asked] or list(self.labels.values())


def is_decathlon_layout(root: Path) -> bool:
    """Return whether a folder contains a task."""
    return (root / DATASET).is_file()


def read_task(root: Path) -> Task:
    """Read ``dataset.json``; no image is opened.

    Raises:
        DataError: if it is missing, is not JSON or lacks an entry.
    """
    path = Path(root).expanduser().absolute() / DATASET
    if not path.is_file():
        raise DataError(f"there is no file {path}; needed is a Decathlon task's folder, e.g. Task01_BrainTumour")
    text = read_text(path)
    try:
        content = json.loads(text)
        modality: Mapping[str, str] = content["modality"]
        labels = {str(name): int(value) for value, name in content["labels"].items()}
        training = tuple((str(pair["image"]), str(pair["label"])) for pair in content["training"])
        test = tuple(str(entry["image"] if isinstance(entry, dict) else entry) for entry in content.get("test", ()))
        numbers = sorted(int(number) for number in modality)
        names = tuple(str(modality[str(number)]) for number in numbers)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise DataError(
            f"{path} is not a dataset.json of the Decathlon ({reason}); needed: modality, labels, training"
        ) from error
    if numbers != list(range(len(numbers))) or not names or len(set(names)) < len(names):
        raise DataError(f"{path}: modality takes different names, numbered from 0; got {dict(modality)}")
    return Task(path.parent, names, {name: value for name, value in labels.items() if value}, training, test)


def find_decathlon_cases(task: Task, modalities: Mapping[str, str], *, incomplete: str = "refuse") -> Cases:
    """Find the training cases; the subject id is the image's name, e.g. ``BRATS_001``.

    Args:
        task: of `read_task`.
        modalities: name in the datalist -> name in ``dataset.json``, e.g. ``{"T1": "T1w"}``.
        incomplete: ``"refuse"``, or ``"leave_out"`` to omit subjects whose image or label does not exist.

    Raises:
        DataError: if there is no such modality, a subject occurs twice, or a file is missing.
    """
    found = _found(task, [image for image, _ in task.training], modalities)
    found["label"] = {}
    for image, label in task.training:
        found["label"].setdefault(_subject(image), []).extend(_files(task.root / label))
    return patterns.pair_by_subject(found, incomplete)


def find_tests(root: Path, modalities: Mapping[str, str]) -> Cases:
    """Find the test cases, which have no labels.

    Args:
        root: folder of the task.
        modalities: name in the network -> name in ``dataset.json``.

    Raises:
        DataError: if there are no test cases, no such modality, or a file is missing.
    """
    task = read_task(root)
    if not task.test:
        raise DataError(f"{task.root / DATASET} lists no test case; make a datalist with `monai_tl datalist decathlon`")
    strange = [name for name in modalities.values() if name not in task.modalities]
    if strange:
        folder = Path(task.test[0]).parent.as_posix()
        asked = " ".join(f"--{name} '{folder}/{{subject}}.nii.gz{PART}NUMBER'" for name in modalities)
        volumes = ", ".join(f"{PART}{number} {name}" for number, name in enumerate(task.modalities))
        raise DataError(
            f"no modality '{strange[0]}' in {task.root / DATASET} ({volumes}): assign the volumes by {asked}"
            f"{scans_hint(task.modalities, modalities)}"
        )
    return patterns.pair_by_subject(_found(task, task.test, modalities), "refuse")


def _found(task: Task, images: Sequence[str], modalities: Mapping[str, str]) -> dict[str, dict[str, list[str]]]:
    """Return modality -> subject -> path, with the volume's number if there are several modalities."""
    found: dict[str, dict[str, list[str]]] = {name: {} for name in modalities}
    for name, theirs in modalities.items():
        if theirs not in task.modalities:
            raise DataError(f"no modality '{theirs}' in {task.root / DATASET}: {did_you_mean(theirs, task.modalities)}")
        part = f"{PART}{task.modalities.index(theirs)}" if len(task.modalities) > 1 else ""
        for image in images:
            found[name].setdefault(_subject(image), []).extend(f"{path}{part}" for path in _files(task.root / image))
    return found


def _files(path: Path) -> list[str]:
    return [str(file) for file in on_disk(path) if patterns.is_file(file)]


def _subject(image: str) -> str:
    return normal(Path(image).name.removesuffix(".gz").removesuffix(".nii"))


def pairs_of(text: Any, task: Task) -> dict[str, str]:
    """Parse ``--modalities``: ``T1=T1w,T2=T2w`` renames, ``T1w,FLAIR`` does not, an empty text selects all."""
    names = [name.strip() for name in str(text).split(",") if name.strip()] or list(task.modalities)
    pairs = [(ours.strip(), (theirs or ours).strip()) for ours, _, theirs in (name.partition("=") for name in names)]
    if len({ours for ours, _ in pairs}) < len(pairs):
        raise ConfigError(f"--modalities takes different names, e.g. T1=T1w,T2=T2w; got '{text}'")
    return dict(pairs)
