"""The settings that a bundle's ``task.yaml`` may change, with the defaults of the recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai_tl.settings.refusals import refusal
from monai_tl.settings.table import SETTINGS, problems

AUTO = "auto"  # stands for the proposed value of a setting
RECIPE_SETTINGS: dict[str, Any] = {
    "spacing": [1.0, 1.0, 1.0],
    "orientation": "RAS",
    "normalisation": "zscore_volume",
    "iterations": 600,
    "validate_every": 50,
    "patience": 300,
    "batch_size": 2,
    "window": [32, 32, 32],
    "class_ratios": [1, 1],
    "rotation": 10.0,
    "scaling": 0.1,
    "learning_rate": 4.0e-3,
    "weight_decay": 1.0e-2,
    "warm_up": 0.1,
    "stage_rate": 1.0,
    "head_rate": 1.0,
    "head_norm": False,
    "inference_window": None,  # as window
    "inference_overlap": 0.25,
    "cache_rate": 1.0,
    "workers": 0,
    "freeze": 2,
    "norm": "freeze",
    "fresh": None,
    "new_channels": "zero",
}
"""Default by setting. They suit the phantoms on two cores."""


def recipe_problems(given: Mapping[str, Any], regions: int) -> list[str]:
    """List the problems of settings: invalid values, and values that contradict each other, a default or the regions.

    Args:
        given: value by id; ids without a value have the recipe's default.
        regions: how many regions the network learns.
    """
    known = {name: value for name, value in given.items() if value is not None or name != "inference_window"}
    invalid = [refusal(name, SETTINGS[name], value) for name, value in known.items()]
    if any(invalid):
        return [*filter(None, invalid)]
    settings = {name: value for name, value in {**RECIPE_SETTINGS, **given}.items() if value is not None}
    ratios = settings["class_ratios"]
    odd = len(ratios) not in (2, 1 + regions)
    takes = f"two numbers, or {1 + regions}: one for background and each region"
    return [*problems(settings), *([f"class_ratios takes {takes}; got {ratios}"] if odd else [])]
