"""The flags ``--network``, ``--set`` and ``--stages``, which set the one id ``network_def`` of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from monai_tl.errors import ConfigError
from monai_tl.settings.stage_lists import StageLists
from monai_tl.settings.table import SETTINGS
from monai_tl.settings.values import Kind
from monai_tl.transfer.network_of_source import AskedNetwork
from monai_tl.workflow.merged_config import merge_configs
from monai_tl.workflow.network_entry import NETWORK, entry_of, network_def_of

NetworkName = Annotated[str, NETWORK]
Stages = Annotated[Any, StageLists()]


def with_network(
    overrides: Mapping[str, Any], asked: AskedNetwork, configs: Sequence[Path], source: str | None = None
) -> dict[str, Any]:
    """Return a run's overrides with the id ``network_def`` of the network that is asked for, which is built once on trial.

    Args:
        overrides: id -> value of the run.
        asked: by the flags of a verb.
        configs: that the run merges.
        source: of ``--network like_source``.

    Raises:
        ConfigError: for an unknown network or argument, or a window that does not fit.
        TransferError: for invalid stages, or a source that cannot be read.
    """
    if not asked:
        return dict(overrides)
    if set_too := next((key for key in overrides if key.split("#")[0].split("::")[0] == "network_def"), None):
        raise ConfigError(f"--{set_too}: the network is set by --network, --set and --stages; set it by these alone")
    config = merge_configs(configs)
    entry = asked.entry(entry_of(config.get("network_def")), source)
    values = {**config, **overrides}
    modalities, classes, window = (_listed(values.get(name), SETTINGS[name]) for name in ("modalities", "classes", "window"))
    if modalities and classes:
        from monai_tl.networks.chosen_network import checked_network

        batch_size = values["batch_size"] if isinstance(values.get("batch_size"), int) else 1
        entry = checked_network(entry, (len(modalities), len(classes)), window, batch_size)
    return {**overrides, "network_def": network_def_of(entry, has_head_norm="head_norm" in config)}


def _listed(value: Any, kind: Kind) -> list[Any] | None:
    """Return the value of a setting that is a list; None if it is an expression, or invalid, which is reported elsewhere."""
    return list(value) if kind.allows(value) else None
