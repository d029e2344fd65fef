"""Read source weights from a bundle, a run folder, a checkpoint or a safetensors file, without running anything in them."""

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
    """Trained weights by name, and what is known of where they come from.

    Attributes:
        path: the file of weights.
        sha256: of the file.
        weights: name -> values, on the CPU.
        metadata: the metadata.json that belongs to the weights, None where there is none.
        notes: what was done to the weights of the file, e.g. ``"126 weights converted from float16 to float32"``.

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
    """Read weights and the ``metadata.json`` that belongs to them; no config is opened, no pickled code is run.

    Args:
        location: a bundle or a run folder, a ``.pt``/``.pth`` file or a ``.safetensors`` file. A checkpoint may hold the
            weights under one of ``model``, ``network``, ``state_dict`` …; MONAI's ``HighResNet`` names are understood.
        network: the state dict that is to take the weights: by its names a prefix is found and stripped, by its number formats
            weights are converted, and counters of BatchNorm that the file lacks begin at 0. Each is told in ``notes``.

    Raises:
        TransferError: if there are no weights, if the file is damaged, if it holds anything but tensors, or if a weight is NaN,
            infinite, empty or of a kind that no weight of the network is.

    Example:
        >>> import torch
        >>> from monai_tl import HighRes3DNet, read_source
        >>> network = HighRes3DNet(in_channels=1, out_channels=2)
        >>> half = {f"module.{name}": value.half() for name, value in network.state_dict().items()}
        >>> torch.save({"state_dict": half}, "half.pt")
        >>> read_source("half.pt", network.state_dict()).notes[0]
        "names are taken without their prefix 'module.'"
    """
    path = find_weights(location)
    weights, notes = _unwrapped(_read(path), path)
    refuse_odd_tensors(weights, path)
    if network is None:
        weights = own_names(_without_wrappers(weights))
    else:
        weights, told = fitted(weights, network, path)
        notes += told
    return Source(path=path, sha256=sha256_of(path), weights=weights, metadata=_metadata_of(path), notes=tuple(notes))


def load_weights(network: nn.Module, location: str | Path) -> nn.Module:
    """Load the weights of exactly this network, every one of them, in place, and return the network.

    Raises:
        TransferError: if there are none, or if they are another network's.

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
    """Give the weights file of a bundle (``models/``), of a run folder, or the file itself: the one rule for every verb.

    Raises:
        TransferError: if there is none, or more than one and they differ.
    """
    found = weights_at(location)
    for other in found[1:]:
        _refuse_twin(found[0], other, *((path.stat().st_size, path.stat().st_mtime_ns) for path in (found[0], other)))
    return found[0]


@cache  # said once
def _refuse_twin(first: Path, other: Path, *_: tuple[int, int]) -> None:
    """Refuse two files of weights in one place unless they hold the same."""
    one, two = (own_names(_without_wrappers(_unwrapped(_read(path), path)[0])) for path in (first, other))
    apart = [
        name
        for name in sorted(one.keys() | two.keys())
        if name not in one or name not in two or not _equal(one[name], two[name])
    ]
    if apart:
        raise TransferError(
            f"'{first}' and '{other}' hold different weights ({name_first(apart)}), and either may be meant: remove or "
            "rename one (an exported file is older than a training that went on), or name the file itself"
        )
    logger.warning("%s and %s hold the same weights; %s is taken", first, other, first)


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise TransferError(
            f"source '{path}' is no plain file of weights: it holds Python objects, whose loading could run code, or it is "
            "damaged; nothing was run. Save its state_dict alone (torch.save(network.state_dict(), …)) or as .safetensors"
        ) from error
    except Exception as error:  # a damaged file fails in any way: struct.error, IndexError, AssertionError …
        reason = first_line(error).split(". ")[0]
        raise TransferError(
            f"source '{path}' cannot be read ({reason}); is it complete, and a .pt or .safetensors file of weights?"
        ) from error


def _unwrapped(content: Any, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Take the state dict out of whatever was saved around it; what else there is of weights is told."""
    notes: list[str] = []
    for _ in range(len(WRAPPERS)):
        if not isinstance(content, Mapping) or _is_state_dict(content):
            break
        inner = {key: content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)}
        inner = {key: value for key, value in inner.items() if _is_state_dict(value)} or inner
        if not inner:
            raise TransferError(f"source '{path}' holds no weights: {_what_instead(content)}")
        if len(inner) > 1 and _is_state_dict(next(iter(inner.values()))):
            told = " and ".join(inner)
            raise TransferError(f"source '{path}' holds weights under {told}, and either may be meant: save one alone")
        key, taken = next(iter(inner.items()))
        states = [str(name) for name, value in content.items() if isinstance(value, Mapping) and _is_state_dict(value)]
        rest = [name for name in states if name != key]
        notes += [f"the weights under '{key}' are taken; others are there under {', '.join(rest)}"] if rest else []
        content = taken
    if not isinstance(content, Mapping) or not _is_state_dict(content):
        raise TransferError(f"source '{path}' holds a {type(content).__name__}, not a state dict of named weights")
    return {str(name): value for name, value in content.items()}, notes


def _what_instead(content: Mapping[Any, Any]) -> str:
    others = [f"{name} ({type(value).__name__})" for name, value in content.items() if not isinstance(value, Tensor)]
    if len(others) < len(content):
        told = f"{len(others)} of its {len(content)} entries are no tensors: {name_first(others)}"
        return f"{told}; save the network's state_dict alone"
    found = ", ".join(map(str, list(content)[:8])) or "nothing"
    return f"expected a state dict, or one under {', '.join(WRAPPERS)}; found {found}"


def _without_wrappers(weights: Weights) -> dict[str, Tensor]:
    """Strip what wrappers put before every name."""
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in weights)), ""):
        weights = {name[len(prefix) :]: value for name, value in weights.items()}
    return dict(weights)


def _is_state_dict(content: Mapping[Any, Any]) -> bool:
    return bool(content) and all(isinstance(value, Tensor) for value in content.values())


def _metadata_of(weights: Path) -> dict[str, Any] | None:
    """Find the metadata that speaks for a weights file: a run's own beside it, else its bundle's."""
    candidates = [weights.parent / "metadata.json"]
    if weights.parent.name == "models":
        candidates.append(weights.parent.parent / "configs" / "metadata.json")
    for path in candidates:
        if path.is_file():
            return read_json(path, remedy="mend it or remove it")
    return None
