"""Read source weights from a bundle, a run folder, a checkpoint or a safetensors file, without running any code in them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from monai_tl.errors import TransferError
from monai_tl.networks.highres3dnet import own_names
from monai_tl.networks.network_spec import NetworkSpec
from monai_tl.storage.files import read_json, sha256_of
from monai_tl.transfer.formats.family import Expected
from monai_tl.transfer.formats.plain import CHECKPOINT
from monai_tl.transfer.formats.registry import read_file
from monai_tl.transfer.formats.unwrapping import without_wrappers
from monai_tl.transfer.tensors import Weights, fitted, name_first, refuse_odd_tensors
from monai_tl.transfer.weight_files import weights_at

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Trained weights by name, with their file and metadata.

    Attributes:
        path: the weights file.
        sha256: SHA-256 of the file, in hexadecimal.
        weights: name -> values, on the CPU.
        metadata: the metadata.json that belongs to the weights; None without one.
        notes: changes made to the weights when they were read, e.g. ``"126 weights converted from float16 to float32"``.
        family: kind of the file, e.g. ``"checkpoint"`` or ``"nnU-Net v2"``.
        network: the network that they belong to, with its settings; None if the file does not say.
        expected: what they expect of their images; None if nothing is known.
        licence: of the weights, if it is stated.
        lacks: groups of stages that the source has no weights for, e.g. ``("decoder", "head")``.
        remarks: what is assumed of the network, and what is known of the images in words only.

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
    family: str = CHECKPOINT.name
    network: NetworkSpec | None = None
    expected: Expected | None = None
    licence: str | None = None
    lacks: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


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
    family, reading = read_file(path, Path(location))
    weights, notes = reading.weights, reading.notes
    refuse_odd_tensors(weights, path)
    if network is None:
        weights = own_names(without_wrappers(weights))
    else:
        weights, conversions = fitted(weights, network, path)
        notes += tuple(conversions)
    facts = {name: getattr(reading, name) for name in ("network", "expected", "licence", "lacks", "remarks")}
    return Source(path, sha256_of(path), weights, _metadata_of(path), notes, family.name, **facts)


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
    ours, theirs = (own_names(without_wrappers(read_file(path)[1].weights)) for path in (first, other))
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


def _metadata_of(weights: Path) -> dict[str, Any] | None:
    """Return the metadata of a weights file: the run's, in the same folder, or else the bundle's."""
    candidates = [weights.parent / "metadata.json"]
    if weights.parent.name == "models":
        candidates.append(weights.parent.parent / "configs" / "metadata.json")
    for path in candidates:
        if path.is_file():
            return read_json(path, remedy="correct it or remove it")
    return None
