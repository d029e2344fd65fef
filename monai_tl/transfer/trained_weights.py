"""What weights were trained on, for the configs that use them: called by bundles' ``inference.yaml`` and ``evaluate.yaml``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from monai_tl.datasets.regions import is_softmax
from monai_tl.errors import ConfigError
from monai_tl.text import listed
from monai_tl.transfer.contract import Contract, differences
from monai_tl.transfer.source import read_source

logger = logging.getLogger(__name__)


def trained_regions(ckpt: str | Path, classes: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the label values of the regions that weights were trained on, in the order of a network's classes.

    Regions whose label values are not stored next to the weights are counted from 1.
    """
    stored = (read_source(ckpt).metadata or {}).get("regions") or {}
    names = classes[1:] if is_softmax(classes) else classes
    return {name: tuple(stored.get(name, (at,))) for at, name in enumerate(names, 1)}


def check_weights(ckpt: str | Path, contract: Contract) -> None:
    """Refuse weights that were trained on images of another kind than the config sets; called in a config's ``initialize``.

    Raises:
        ConfigError: with each difference, and the flags that remove them all.
    """
    trained_on = read_source(ckpt).contract
    differing = differences(trained_on, contract) if trained_on else []
    if unknown := [one.field for one in differing if one.source is None]:
        logger.warning("%s: its metadata.json does not state %s: they are taken as set here", ckpt, listed(unknown))
    if differing := [one for one in differing if one.source is not None]:
        lines = "; ".join(map(str, differing)).replace("source ", "trained on ").replace("target ", "now set to ")
        flags = " ".join(one.flag for one in differing)
        raise ConfigError(f"'{ckpt}' was trained on other images ({lines}); set them to the values of the training: {flags}")
