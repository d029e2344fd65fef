"""Checks of a bundle that build its network and its loss, and the ids that MONAI asks of a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.bundle.properties import InferProperties, MetaProperties, TrainProperties
from monai.utils import BundleProperty, BundlePropertyConfig
from torch import nn

from monai_tl.bundles.bundle_configs import BundleConfigs
from monai_tl.datasets.regions import is_softmax
from monai_tl.networks.input_sizes import input_sizes, refuse_unfit_window
from monai_tl.training.losses import IgnoreVoxels
from monai_tl.workflow.merged_config import has_id, normal_id, value_at

EDGE = 32  # voxels of the patch that the network is tried on, at most


def check_properties(bundle: BundleConfigs) -> Iterator[str]:
    """Yield the properties of MONAI's bundles that a config lacks, as ``ConfigWorkflow.check_properties`` does.

    Nothing is evaluated, so no data is needed.
    """
    for name, properties in (("train", TrainProperties), ("inference", InferProperties)):
        config = {**bundle.merged(name), "_meta_": bundle.metadata}
        for key, of in {**properties, **MetaProperties}.items():
            place = normal_id(str(of[BundlePropertyConfig.ID]))
            if of[BundleProperty.REQUIRED] and not has_id(config, place):
                yield f"{name}.yaml lacks '{place}', which MONAI asks of a bundle ({key})"
            if reference := _wrong_reference(config, of):
                yield f"{name}.yaml: {reference}, MONAI expects @{place} ({key})"


def check_network(bundle: BundleConfigs) -> Iterator[str]:
    """Yield an output of the network that does not fit the classes; it is built and applied to one patch of zeros.

    Raises:
        ConfigError: if the network cannot be built or does not take the training patch.
    """
    classes, window, channels = bundle.train["classes"], bundle.train["window"], len(bundle.train["modalities"])
    network = _part(bundle.train, "network_def")
    refuse_unfit_window(network, channels, window, bundle.train["batch_size"])
    sizes = input_sizes(network, channels, window)
    edges = [min(edge, most) for edge, most in zip(window, sizes.around([EDGE] * 3), strict=True)]
    with torch.no_grad():
        output = network.eval()(torch.zeros(1, channels, *edges))
    if output.shape[1] != len(classes):
        wanted = f"{len(classes)} classes ({', '.join(classes)})"
        yield f"train.yaml: the network has {output.shape[1]} output channels for {wanted}"


def check_loss(bundle: BundleConfigs) -> Iterator[str]:
    """Yield what does not fit between classes and loss, of each config that sets one of them; the loss is computed once."""
    for names in bundle.merges():
        config = bundle.merged(*names)
        if names == ("inference",) or names[-1] in ("evaluate", "untrained"):
            continue
        try:
            _try_loss(_part(config, "loss"), len(config["classes"]), is_softmax(config["classes"]))
        except Exception as error:  # a loss may raise anything
            yield f"{' + '.join(names)}: {' '.join(str(error).split())}"


def _try_loss(loss: nn.Module, classes: int, softmax: bool) -> None:
    if softmax and getattr(getattr(loss, "dice", loss), "sigmoid", False):
        raise ValueError(
            f"loss ({type(loss).__name__}) takes a sigmoid of each class, but with background first, they share a softmax"
        )
    label = torch.zeros(1, 1 if softmax else classes, 8, 8, 8)
    label[..., 4:] = 1
    value = IgnoreVoxels(loss, softmax)(torch.zeros(1, classes, 8, 8, 8), label)
    if not torch.isfinite(value):
        raise ValueError(f"the loss ({type(loss).__name__}) of a plain patch is {value}")


def _part(config: Mapping[str, Any], name: str) -> Any:
    """Build one part of a config, e.g. its network."""
    return ConfigParser(dict(config)).get_parsed_content(name)


def _wrong_reference(config: Mapping[str, Any], of: Mapping[Any, Any]) -> str:
    """Return the id that should refer to an optional property, and what it holds; empty if it does, or is an expression."""
    place = of.get(BundlePropertyConfig.REF_ID)
    if of[BundleProperty.REQUIRED] or place is None or not has_id(config, place):
        return ""
    value = value_at(config, place)
    wanted = f"@{normal_id(str(of[BundlePropertyConfig.ID]))}"
    wrong = isinstance(value, str) and not value.startswith("$") and normal_id(value) != wanted
    return f"{place} is {value}" if wrong else ""
