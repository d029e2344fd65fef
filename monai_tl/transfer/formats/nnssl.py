"""Encoders pre-trained by nnssl (OpenMind): nnU-Net's file with an adaptation plan; only stem and encoder are transferred."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from monai_tl.errors import TransferError
from monai_tl.networks.network_spec import NetworkSpec
from monai_tl.transfer.formats import nnunet_plans
from monai_tl.transfer.formats.family import Expected, Family, Opened, Reading
from monai_tl.transfer.formats.nnunet import WEIGHTS, refuse_unaccounted
from monai_tl.transfer.formats.nnunet_names import UNTRANSPOSED, along_ijk, one_name_each
from monai_tl.transfer.formats.unwrapping import unwrapped, without_wrappers
from monai_tl.transfer.tensors import Weights

PLAN = "nnssl_adaptation_plan"
ENCODER, STEM = "encoder.stages", "encoder.stem"  # of ResidualEncoderUNet
LARGE = {  # "ResEncL", which plans name without its arguments
    "n_stages": 6,
    "features_per_stage": [32, 64, 128, 256, 320, 320],
    "kernel_sizes": [[3, 3, 3]] * 6,
    "strides": [[1, 1, 1], *[[2, 2, 2]] * 5],
    "n_blocks_per_stage": [1, 3, 4, 6, 6, 6],
    "n_conv_per_stage_decoder": [1] * 5,
    **nnunet_plans.REQUIRED,
    **nnunet_plans.USUAL,
}


def _is_nnssl(opened: Opened) -> bool:
    return opened.holds(WEIGHTS) and (opened.holds(PLAN) or opened.sidecar("adaptation_plan.json") is not None)


def _read_nnssl(opened: Opened) -> Reading:
    plan = opened.content.get(PLAN) or opened.sidecar("adaptation_plan.json") or {}
    kind = plan["architecture_plans"]["arch_class_name"]
    network, of_network = _network(plan["architecture_plans"])
    wrapped, _ = unwrapped(opened.content[WEIGHTS], opened.path)
    weights, of_names = one_name_each(without_wrappers(wrapped), opened.path)
    encoder = _encoder(weights, plan)
    if not encoder:
        raise TransferError(
            f"source '{opened.path}' has no weights under {plan.get('key_to_encoder')} and {plan.get('key_to_stem')}, where "
            f"its adaptation plan has the encoder of {kind}"
        )
    notes = [*of_names, f"{len(weights) - len(encoder)} weights of the pre-training's decoder are omitted"]
    if network is not None:
        encoder, transposed = along_ijk(encoder, UNTRANSPOSED)
        notes += transposed
    unchecked = refuse_unaccounted(encoder, network, opened.path, "encoder.")
    expected, of_images = _expected(plan)
    remarks = (*of_network, *unchecked, *of_images)
    return Reading(encoder, network, expected, lacks=("decoder", "head"), notes=tuple(notes), remarks=remarks)


def _network(plans: Mapping[str, Any]) -> tuple[NetworkSpec | None, list[str]]:
    kind, settings = plans["arch_class_name"], plans.get("arch_kwargs")
    if kind == "ResEncL":
        kind, settings = "ResidualEncoderUNet", settings or LARGE
    if settings is None:
        return None, [f"network: {kind} cannot be built here"]
    architecture = {"network_class_name": kind, "arch_kwargs": settings}
    return nnunet_plans.network_of({"architecture": architecture}, UNTRANSPOSED)


def _encoder(weights: Weights, plan: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights of encoder and stem with the names that `ResidualEncoderUNet` has for them."""
    parts = ((plan.get("key_to_encoder"), ENCODER), (plan.get("key_to_stem"), STEM))
    renamed = {}
    for key, own in parts:
        for name, value in weights.items():
            if key and name.startswith(f"{key}."):
                renamed[f"{own if key.endswith(own) else key}.{name[len(key) + 1 :]}"] = value
    return renamed


def _expected(plan: Mapping[str, Any]) -> tuple[Expected, list[str]]:
    pretrain = plan.get("pretrain_plan") or {}
    config: dict[str, Any] = next(iter((pretrain.get("configurations") or {}).values()), {})
    channels = plan.get("pretrain_num_input_channels")
    normalisation, notes = nnunet_plans.normalisation_of(pretrain, config, None)
    spacing = nnunet_plans.spacing_of(config, UNTRANSPOSED)
    named = [f"{channels} input channel{'s' if channels != 1 else ''}, whose names are not stated"] if channels else []
    return Expected(spacing=spacing, normalisation=normalisation), [*notes, *named]


NNSSL = Family("nnssl", _is_nnssl, _read_nnssl)
