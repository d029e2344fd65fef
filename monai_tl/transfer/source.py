"""Read source weights from a bundle, a run folder, a checkpoint or a safetensors file, without running any code in them."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from monai_tl.errors import TransferError, first_line
from monai_tl.networks.highres3dnet import own_names
from monai_tl.storage.files import read_json, sha256_of
from monai_tl.transfer.tensors import Weights, fitted, name_first, refuse_odd_tensors
from monai_tl.transfer.weight_files import weights_at

logger = logging.getLogger(__name__)

WRAPPERS = (
    "model",
    "network",
    "net",
    "state_dict",
    "model_state_dict",
    "network_weights",
)  # MONAI, ignite, Lightning, nnU-Net
PREFIXES = ("module.", "_orig_mod.", "network.")  # DistributedDataParallel, torch.compile, Lightning


@dataclass(frozen=True)
class Source:
    """Trained weights by name, with their file and metadata.

    Attributes:
        path: the weights file.
        sha256: SHA-256 of the file, in hexadecimal.
        weights: name -> values, on the CPU.
        metadata: the metadata.json that belongs to the weights; None without one.
        notes: changes made to the weights when they were read, e.g. ``"126 weights converted from float16 to float32"``.

    Example:
        >>> from monai_tl import read_source
        >>> source = read_source("runs/hippocampus")
        >>> source.path.name, source.weights["conv_0.conv.weight"].shape
        ('model.pt', torch.Size([16, 2, 3, 3, 3]))
        >>> source.metadata["preprocessing"]["orientation"]
        'RAS'
    """

    path: Path
    sha256: str
    weights: dict[str, Tensor]
    metadata: dict[str, Any] | None
    notes: tuple[str, ...] = ()


def read_source(location: str | Path, network: Weights | None = None) -> Source:
    """Read weights and the ``metadata.json`` that belongs to them; no config is read and no pickled code is run.

    Args:
        location: a bundle or a run folder, a ``.pt``/``.pth`` file or a ``.safetensors`` file. A checkpoint may hold the
            weights under one of ``model``, ``network``, ``state_dict`` …; MONAI's ``HighResNet`` names are understood.
        network: state dict of the network that will load the weights. A prefix before its names is removed, weights are
            converted to its number formats, and BatchNorm counters that the file lacks start at 0. ``notes`` lists each change.

    Raises:
        TransferError: if there are no weights, if the file is damaged, if it holds anything but tensors, or if a weight is NaN,
            infinite, empty or of a type that cannot be converted.

    Example:
        >>> import torch
        >>> from monai_tl import HighRes3DNet, read_source
        >>> network = HighRes3DNet(in_channels=1, out_channels=2)
        >>> half = {f"module.{name}": value.half() for name, value in network.state_dict().items()}
        >>> torch.save({"state_dict": half}, "half.pt")
        >>> read_source("half.pt", network.state_dict()).notes[0]
        "the prefix 'module.' is removed from the names"
    """
    path = find_weights(location)
    weights, notes = _unwrapped(_read(path), path)
    refuse_odd_tensors(weights, path)
    if network is None:
        weights = own_names(_without_wrappers(weights))
    else:
        weights, conversions = fitted(weights, network, path)
        notes += conversions
    return Source(path=path, sha256=sha256_of(path), weights=weights, metadata=_metadata_of(path), notes=tuple(notes))


def load_weights(network: nn.Module, location: str | Path) -> nn.Module:
    """Load all weights of a network from a source with exactly this network, in place; return the network.

    Raises:
        TransferError: if there are no weights, or if they belong to another network.

    Example:
        >>> from monai_tl import HighRes3DNet, load_weights
        >>> network = load_weights(HighRes3DNet(in_channels=2, out_channels=2), "runs/hippocampus").eval()
    """
    source = read_source(location, network.state_dict())
    for note in source.notes:
        logger.warning("%s: %s", source.path, note)
    try:
        network.load_state_dict(source.weights, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise TransferError(f"'{source.path}' does not hold the weights of this network: {reason}") from error
    return network


def find_weights(location: str | Path) -> Path:
    """Return the weights file of a bundle (``models/``) or of a run folder, or the file itself.

    Raises:
        TransferError: if there is none, or if there are two that differ.
    """
    first, *others = weights_at(location)
    for other in others:
        _refuse_twin(first, other, *((path.stat().st_size, path.stat().st_mtime_ns) for path in (first, other)))
    return first


@cache  # warns once for each pair of files
def _refuse_twin(first: Path, other: Path, *_: tuple[int, int]) -> None:
    """Refuse two weights files in one folder unless their weights are equal."""
    ours, theirs = (own_names(_without_wrappers(_unwrapped(_read(path), path)[0])) for path in (first, other))
    differing = [
        name
        for name in sorted(ours.keys() | theirs.keys())
        if name not in ours or name not in theirs or not _equal(ours[name], theirs[name])
    ]
    if differing:
        raise TransferError(
            f"'{first}' and '{other}' hold different weights ({name_first(differing)}), and either may be meant: remove or "
            "rename one (an exported file becomes outdated when the training continues), or name the file itself"
        )
    logger.warning("%s and %s hold the same weights; %s is used", first, other, first)


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise TransferError(
            f"source '{path}' is not a plain weights file: it holds Python objects, which could run code when loaded, or it is "
            "damaged; nothing was run. Save only its state_dict (torch.save(network.state_dict(), …)), or a .safetensors file"
        ) from error
    except Exception as error:  # a damaged file can raise any error: struct.error, IndexError, AssertionError …
        reason = first_line(error).split(". ")[0]
        raise TransferError(
            f"source '{path}' cannot be read ({reason}); needed is a complete .pt or .safetensors weights file"
        ) from error


def _unwrapped(content: Any, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Return the state dict of a checkpoint, and notes on other weights in it."""
    notes: list[str] = []
    for _ in range(len(WRAPPERS)):
        if not isinstance(content, Mapping) or _is_state_dict(content):
            break
        inner = {key: content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)}
        inner = {key: value for key, value in inner.items() if _is_state_dict(value)} or inner
        if not inner:
            raise TransferError(f"source '{path}' holds no weights: {_what_instead(content)}")
        if len(inner) > 1 and _is_state_dict(next(iter(inner.values()))):
            listed = " and ".join(inner)
            raise TransferError(f"source '{path}' holds weights under {listed}, and either may be meant: save only one")
        key, taken = next(iter(inner.items()))
        states = [str(name) for name, value in content.items() if isinstance(value, Mapping) and _is_state_dict(value)]
        rest = [name for name in states if name != key]
        notes += [f"the weights under '{key}' are used; the file also holds weights under {', '.join(rest)}"] if rest else []
        content = taken
    if not isinstance(content, Mapping) or not _is_state_dict(content):
        raise TransferError(f"source '{path}' holds a {type(content).__name__}, needed is a state dict of named weights")
    return {str(name): value for name, value in content.items()}, notes


def _what_instead(content: Mapping[Any, Any]) -> str:
    others = [f"{name} ({type(value).__name__})" for name, value in content.items() if not isinstance(value, Tensor)]
    if len(others) < len(content):
        return (
            f"{len(others)} of its {len(content)} entries are not tensors: {name_first(others)}; save only the network's "
            "state_dict"
        )
    names = ", ".join(map(str, list(content)[:8])) or "nothing"
    return f"needed is a state dict, by itself or under {', '.join(WRAPPERS)}; it holds {names}"


def _without_wrappers(weights: Weights) -> dict[str, Tensor]:
    """Return the weights without the prefixes that wrappers put before every name."""
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in weights)), ""):
        weights = {name[len(prefix) :]: value for name, value in weights.items()}
    return dict(weights)


def _is_state_dict(content: Mapping[Any, Any]) -> bool:
    return bool(content) and all(isinstance(value, Tensor) for value in content.values())


def _metadata_of(weights: Path) -> dict[str, Any] | None:
    """Return the metadata of a weights file: the run's, in the same folder, or else the bundle's."""
    candidates = [weights.parent / "metadata.json"]
    if weights.parent.name == "models":
        candidates.append(weights.parent.parent / "configs" / "metadata.json")
    for path in candidates:
        if path.is_file():
            return read_json(path, remedy="correct it or remove it")
    return None
