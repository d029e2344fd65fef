"""What a family of weights files is: how one is recognised and read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from monai_tl.networks.network_spec import NetworkSpec
from monai_tl.storage.files import read_json


@dataclass(frozen=True)
class Opened:
    """A weights file that was opened, and where it is.

    Attributes:
        location: as the user named it: a folder, or the file itself.
        path: the weights file.
        content: what it holds, see `read_content`.
    """

    location: Path
    path: Path
    content: Any

    def holds(self, *keys: str) -> bool:
        """Return whether the content is a mapping with all these keys."""
        return isinstance(self.content, Mapping) and all(key in self.content for key in keys)

    def sidecar(self, name: str, *folders: Path) -> dict[str, Any] | None:
        """Return a JSON file as plain data, from the first folder that has it; None if none has.

        Args:
            name: of the file, e.g. ``"plans.json"``.
            folders: where to look; by default in the folder of the weights and in the folder above it.

        Raises:
            DataError: if the file is damaged.
        """
        for folder in folders or (self.path.parent, self.path.parent.parent):
            if (folder / name).is_file():
                return read_json(folder / name, remedy="correct it or remove it")
        return None


def metadata_of(weights: Path) -> dict[str, Any] | None:
    """Return the metadata.json of a weights file: in the same folder, or of the bundle; None without one.

    Raises:
        DataError: if it is damaged.
    """
    candidates = [weights.parent / "metadata.json"]
    if weights.parent.name.startswith("fold_"):  # of nnU-Net
        candidates.append(weights.parent.parent / "metadata.json")
    if weights.parent.name == "models":
        candidates.append(weights.parent.parent / "configs" / "metadata.json")
    found = next((path for path in candidates if path.is_file()), None)
    return read_json(found, remedy="correct it or remove it") if found else None


@dataclass(frozen=True)
class Expected:
    """What a source's images are like; None: unknown. Fields and values as in `Contract`.

    Attributes:
        modalities: image channels by name, in order.
        spacing: voxel edges in mm along right, anterior, superior.
        orientation: axis codes, e.g. ``"RAS"``.
        normalisation: as `monai_tl.settings.normalisation.Normalisation` prints it; several if channels differ, one for each.
        classes: output channels by name, background first if they exclude each other.
    """

    modalities: tuple[str, ...] | None = None
    spacing: tuple[float, ...] | None = None
    orientation: str | None = None
    normalisation: str | tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Reading:
    """What a family reads from a weights file; the fields have the meaning that they have in `Source`."""

    weights: dict[str, Tensor]
    network: NetworkSpec | None = None
    expected: Expected | None = None
    licence: str | None = None
    lacks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    assumed: bool = False


@dataclass(frozen=True)
class Family:
    """A kind of weights file.

    Attributes:
        name: as a user knows it, e.g. ``"nnU-Net v2"``.
        recognise: whether a file is of this family, by its content and its sidecars, never by its name.
        read: unwraps the weights, removes prefixes, renames, transposes; refuses by name what it cannot account for.
    """

    name: str
    recognise: Callable[[Opened], bool]
    read: Callable[[Opened], Reading]
