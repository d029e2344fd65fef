"""Read source weights from a bundle, a run folder, a checkpoint or a safetensors file, without running any code in them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from monai_tl.errors import ConfigError, TransferError
from monai_tl.networks.highres3dnet import own_names
from monai_tl.networks.network_spec import NetworkSpec
from monai_tl.networks.outline import outline
from monai_tl.networks.same_function import function_differences
from monai_tl.networks.trial_pass import channels_of
from monai_tl.settings.refusals import refusal
from monai_tl.storage.files import sha256_of
from monai_tl.transfer.contract import KINDS, Contract, read_contract
from monai_tl.transfer.formats.bundle import BUNDLE
from monai_tl.transfer.formats.family import Expected, metadata_of
from monai_tl.transfer.formats.plain import CHECKPOINT
from monai_tl.transfer.formats.registry import read_file
from monai_tl.transfer.formats.unwrapping import without_wrappers
from monai_tl.transfer.tensors import Weights, fitted, name_first, refuse_odd_tensors, under_all_names
from monai_tl.transfer.weight_files import weights_at

logger = logging.getLogger(__name__)

OWN = "preprocessing"  # the part of metadata.json that the Model Zoo's have not


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
        contract: what they expect of their images; what is unknown in it is None, and so is all of it if nothing is known.
        licence: of the weights, if it is stated.
        lacks: groups of stages that the source has no weights for, e.g. ``("decoder", "head")``.
        remarks: what is assumed of the network, and what is known of the images in words only.
        assumed: whether settings of the network that leave no trace in its weights are only assumed.

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
    contract: Contract | None = None
    licence: str | None = None
    lacks: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    assumed: bool = False


def read_source(location: str | Path, network: Weights | None = None) -> Source:
    """Read weights and what belongs to them; configs next to them are data, and no code in them or in a pickle is run.

    Args:
        location: a bundle, a run folder, a folder of nnU-Net or a file: a PyTorch checkpoint or safetensors, whatever it is
            called. A checkpoint may hold the weights under one of ``model``, ``network``, ``state_dict`` …; the families of
            files that are understood are listed in docs/transfer.md.
        network: state dict of the network that will load the weights. A prefix before its names is removed, weights are
            converted to its number formats, and BatchNorm counters that the file lacks start at 0. ``notes`` lists each change.

    Raises:
        TransferError: if there are no weights, if the file is damaged, if it holds anything but tensors, or if a weight is NaN,
            infinite, empty or of a type that cannot be converted, or if its family cannot account for what the file holds.

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
    metadata = metadata_of(path)
    read_by_family = family is BUNDLE and metadata is not None and OWN not in metadata
    contract, doubts = _contract(reading.expected, None if read_by_family else metadata, str(location))
    return Source(
        path=path,
        sha256=sha256_of(path),
        weights=weights,
        metadata=metadata,
        notes=notes,
        family=family.name,
        network=reading.network,
        contract=contract,
        licence=reading.licence,
        lacks=reading.lacks,
        remarks=(*reading.remarks, *doubts),
        assumed=reading.assumed,
    )


def load_weights(network: nn.Module, location: str | Path) -> nn.Module:
    """Load all weights of a network from a source with exactly this network, in place; return the network.

    Raises:
        TransferError: if there are no weights, or if they belong to another network, also one of the same names and shapes that
            computes something else from them.

    Example:
        >>> from monai_tl import HighRes3DNet, load_weights
        >>> network = load_weights(HighRes3DNet(in_channels=2, out_channels=2), "runs/hippocampus").eval()
    """
    source = read_source(location, network.state_dict())
    for note in source.notes:
        logger.warning("%s: %s", source.path, note)
    _refuse_other_function(source, network)
    weights = under_all_names(source.weights, network, source.path)
    try:
        network.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise TransferError(f"'{source.path}' does not hold the weights of this network: {reason}") from error
    return network


def _refuse_other_function(source: Source, network: nn.Module) -> None:
    """Refuse a network that differs from the source's in what names and shapes do not show: strides, slopes, dilations."""
    if source.network is None or source.assumed:
        return
    try:
        stated = outline(source.network, *(channels_of(network) or (1, 2)))
    except ConfigError:  # of another version of its library
        return
    if others := function_differences(stated, network):
        raise TransferError(
            f"'{source.path}' holds the weights of {source.network}, from which this network computes something else: "
            f"{'; '.join(others)}; use the network of the training"
        )


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


def _contract(
    expected: Expected | None, metadata: Mapping[str, Any] | None, location: str
) -> tuple[Contract | None, list[str]]:
    """Return what is stated: by metadata of ours, or that a user wrote for a file of others; else by the file's family.

    What the family reads, but the toolkit does not support, is unknown, and noted.
    """
    stated = read_contract(metadata, location)
    if stated is None and expected is None:
        return None, []
    read = {name: getattr(expected, name, None) for name in KINDS}
    unread = {name: refusal(name, KINDS[name], value) for name, value in read.items() if value is not None}
    notes = [f"{name}: {reason}; it is taken as unknown" for name, reason in unread.items() if reason]
    known = {name: None if unread.get(name) else value for name, value in read.items()}
    values = {name: value if (value := getattr(stated, name, None)) is not None else known[name] for name in KINDS}
    return Contract(**values), notes
