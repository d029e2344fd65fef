"""Read source weights from a bundle, a run folder, a checkpoint or a safetensors file, without running anything in them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from monai_tl.errors import TransferError
from monai_tl.files import sha256_of
from monai_tl.network.highres3dnet import own_names

WEIGHT_FILES = ("model.safetensors", "model.pt")
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
    """Trained weights by name, and what is known of where they come from."""

    path: Path
    sha256: str
    weights: dict[str, Tensor]
    metadata: dict[str, Any] | None  # the metadata.json that belongs to the weights, None where there is none


def read_source(location: str | Path) -> Source:
    """Read weights and the ``metadata.json`` that belongs to them; no config is opened, no pickled code is run.

    Args:
        location: a bundle or a run folder, a ``.pt``/``.pth`` file or a ``.safetensors`` file. A checkpoint may hold the
            weights under one of ``model``, ``network``, ``state_dict`` …; MONAI's ``HighResNet`` names are understood.

    Raises:
        TransferError: if there are no weights, if the file is damaged, or if it holds anything but tensors.
    """
    path = find_weights(Path(location))
    weights = own_names(_unwrapped(_read(path), path))
    return Source(path=path, sha256=sha256_of(path), weights=weights, metadata=_metadata_of(path))


def load_weights(network: nn.Module, location: str | Path) -> nn.Module:
    """Load the weights of exactly this network, every one of them, in place, and give the network back.

    Raises:
        TransferError: if there are none, or if they are another network's.
    """
    source = read_source(location)
    try:
        network.load_state_dict(source.weights, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise TransferError(f"'{source.path}' does not hold the weights of this network: {reason}") from error
    return network


def find_weights(location: Path) -> Path:
    """Give the weights file of a bundle (``models/``), of a run folder, or the file itself."""
    if location.is_file():
        return location
    if not location.exists():
        raise TransferError(f"source '{location}' does not exist; give a bundle, a run folder, a .pt or a .safetensors file")
    candidates = [folder / name for folder in (location / "models", location) for name in WEIGHT_FILES]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise TransferError(
        f"source '{location}' holds no weights: looked for {', '.join(str(c.relative_to(location)) for c in candidates)}; "
        f"train it first (monai_tl train --bundle {location}) or name another source"
    )


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
        reason = str(error).splitlines()[0].split(". ")[0] if str(error) else type(error).__name__
        raise TransferError(
            f"source '{path}' cannot be read ({reason}); is it complete, and a .pt or .safetensors file of weights?"
        ) from error


def _unwrapped(content: Any, path: Path) -> dict[str, Tensor]:
    """Take the state dict out of whatever was saved around it."""
    for _ in range(len(WRAPPERS)):
        if not isinstance(content, Mapping) or _is_state_dict(content):
            break
        inner = [content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)]
        if not inner:
            raise TransferError(
                f"source '{path}' holds no weights: expected a state dict, or one under {', '.join(WRAPPERS)}; "
                f"found {', '.join(map(str, list(content)[:8])) or 'nothing'}"
            )
        content = inner[0]
    if not isinstance(content, Mapping) or not _is_state_dict(content):
        raise TransferError(f"source '{path}' holds a {type(content).__name__}, not a state dict of named weights")
    weights = {str(name): value for name, value in content.items()}
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in weights)), ""):
        weights = {name[len(prefix) :]: value for name, value in weights.items()}
    return weights


def _is_state_dict(content: Mapping[Any, Any]) -> bool:
    return bool(content) and all(isinstance(value, Tensor) for value in content.values())


def _metadata_of(weights: Path) -> dict[str, Any] | None:
    """Find the metadata that speaks for a weights file: a run's own beside it, else its bundle's."""
    candidates = [weights.parent / "metadata.json"]
    if weights.parent.name == "models":
        candidates.append(weights.parent.parent / "configs" / "metadata.json")
    for path in candidates:
        if path.is_file():
            try:
                metadata = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise TransferError(f"'{path}' is not valid JSON ({error}); mend it or remove it") from error
            if not isinstance(metadata, dict):
                raise TransferError(
                    f"'{path}' holds a {type(metadata).__name__}, not the fields of a metadata.json; mend it or remove it"
                )
            return metadata
    return None
