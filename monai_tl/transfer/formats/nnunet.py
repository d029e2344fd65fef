"""nnU-Net v2: ``checkpoint_final.pth`` in a folder of folds, with plans.json and dataset.json in the file or next to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from monai_tl.errors import ConfigError, TransferError
from monai_tl.networks.network_spec import NetworkSpec
from monai_tl.networks.outline import outline
from monai_tl.networks.stages import stage_weights
from monai_tl.text import listed
from monai_tl.transfer.formats import nnunet_plans
from monai_tl.transfer.formats.accounted import all_shapes, refuse_mismatches
from monai_tl.transfer.formats.family import Expected, Family, Opened, Reading
from monai_tl.transfer.formats.nnunet_names import along_ijk, one_name_each
from monai_tl.transfer.formats.unwrapping import unwrapped, without_wrappers
from monai_tl.transfer.tensors import Weights
from monai_tl.transfer.weight_files import folds_of

WEIGHTS = "network_weights"
FIRST_KERNELS = ("encoder.stem.convs.0.conv.weight", "encoder.stages.0.0.convs.0.conv.weight")
SEGMENTATION_LAYERS = "decoder.seg_layers."


def _is_nnunet(opened: Opened) -> bool:
    has_plans = opened.holds("init_args") or opened.holds("trainer_name") or opened.sidecar("plans.json") is not None
    return opened.holds(WEIGHTS) and has_plans


def _read_nnunet(opened: Opened) -> Reading:
    wrapped, _ = unwrapped(opened.content[WEIGHTS], opened.path)
    weights, notes = one_name_each(without_wrappers(wrapped), opened.path)
    plans, dataset, name = _plans(opened)
    forward = plans["transpose_forward"]
    config = nnunet_plans.configuration(plans, name, opened.path)
    weights, transposed = along_ijk(weights, forward)
    network, of_network = nnunet_plans.network_of(config, forward)
    channels, of_channels = _channels(weights, dataset, opened)
    normalisation, of_normalisation = nnunet_plans.normalisation_of(plans, config, nnunet_plans.named_channels(dataset))
    expected = Expected(
        modalities=channels,
        spacing=nnunet_plans.spacing_of(config, forward),
        orientation=nnunet_plans.orientation_of(plans),
        normalisation=normalisation,
        classes=_classes(weights, dataset, opened),
    )
    unchecked = refuse_unaccounted(weights, network, opened.path)
    remarks = [*of_network, *of_channels, *of_normalisation, *unchecked]
    if expected.orientation is None:
        remarks.append("nnU-Net keeps the axes of each image, so the orientation is unknown; the spacing is along i, j, k")
    notes = [*_fold_note(opened), *notes, *transposed]
    return Reading(weights, network, expected, notes=tuple(notes), remarks=tuple(remarks))


def refuse_unaccounted(weights: Weights, spec: NetworkSpec | None, path: Path, part: str = "") -> list[str]:
    """Refuse weights that are missing, left over or of another shape than in the network that the plans describe, by name.

    Args:
        weights: with one name each, along i, j, k.
        spec: the network; None if it cannot be built here.
        path: the file, for messages.
        part: beginning of the names of what the file holds, e.g. ``"encoder."``; empty: all of the network.

    Returns:
        A line that says why they were not compared; empty if they were.

    Raises:
        TransferError: as described.
    """
    kernel = next((weights[name] for name in FIRST_KERNELS if name in weights), None)
    heads = [value for name, value in weights.items() if name.startswith(SEGMENTATION_LAYERS)]
    if spec is None:
        return []
    try:
        network = outline(spec, 1 if kernel is None else kernel.shape[1], heads[-1].shape[0] if heads else 2)
    except ConfigError as error:
        return [f"network: its weights were not compared with {spec.network}, as it cannot be built ({error})"]
    own = {name for names in stage_weights(network).values() for name in names if name.startswith(part)}
    expected = {name: shape for name, shape in all_shapes(network).items() if name in own}
    refuse_mismatches(weights, expected, path, f"a {spec.network} as its plans describe it")
    return []


def _plans(opened: Opened) -> tuple[dict[str, Any], dict[str, Any] | None, str]:
    """Return plans, dataset and the name of the configuration: those in the file, or else those next to it."""
    inside = opened.content.get("init_args")
    inside = inside if isinstance(inside, Mapping) else {}
    plans = inside.get("plans") or opened.sidecar("plans.json")
    dataset = inside.get("dataset_json") or opened.sidecar("dataset.json")
    if plans is None:
        raise TransferError(
            f"source '{opened.path}' is a file of nnU-Net without its plans, so the order of its axes is unknown: put "
            "plans.json (and dataset.json) next to it or into the folder above"
        )
    of_folder = next((part.split("__")[-1] for part in reversed(opened.path.absolute().parts) if part.count("__") >= 2), None)
    return plans, dataset, inside.get("configuration") or of_folder or "3d_fullres"


def _channels(
    weights: Mapping[str, Tensor], dataset: Mapping[str, Any] | None, opened: Opened
) -> tuple[tuple[str, ...] | None, list[str]]:
    """Return the names of the channels if there are as many as the first kernel takes."""
    names = nnunet_plans.named_channels(dataset)
    kernel = next((weights[name] for name in FIRST_KERNELS if name in weights), None)
    if names is None or kernel is None or kernel.shape[1] == len(names):
        return names, []
    if kernel.shape[1] > len(names) and opened.content.get("init_args", {}).get("configuration", "").startswith("3d_cascade"):
        return None, [
            f"channels: {len(names)} of the image ({', '.join(names)}), the others are a first network's segmentation"
        ]
    raise TransferError(
        f"source '{opened.path}' takes {kernel.shape[1]} channels, but its dataset.json names {len(names)} "
        f"({', '.join(names)}): dataset.json belongs to another network"
    )


def _classes(weights: Mapping[str, Tensor], dataset: Mapping[str, Any] | None, opened: Opened) -> tuple[str, ...] | None:
    names = nnunet_plans.classes_of(dataset)
    heads = [value for name, value in weights.items() if name.startswith(SEGMENTATION_LAYERS)]
    if names is None or not heads or heads[-1].shape[0] == len(names):
        return names
    raise TransferError(
        f"source '{opened.path}' has {heads[-1].shape[0]} outputs, but its dataset.json names {len(names)} classes "
        f"({', '.join(names)}): dataset.json belongs to another network"
    )


def _fold_note(opened: Opened) -> list[str]:
    folds: Sequence[str] = folds_of(opened.location) if opened.location.is_dir() else ()
    others = [fold for fold in folds if fold != opened.path.parent.name]
    if not others:
        return []
    used = f"{opened.path.parent.name}/{opened.path.name}"
    exist = f"there {'are' if len(others) > 1 else 'is'} also {listed(others)}"
    return [f"{used} is used; {exist}: {opened.location}/{others[0]} names it"]


NNUNET_2 = Family("nnU-Net v2", _is_nnunet, _read_nnunet)
