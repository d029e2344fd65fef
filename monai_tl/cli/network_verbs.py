"""The verb for networks: their stages and the weights at both ends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_tl.cli.arguments import Arguments, Count
from monai_tl.errors import ConfigError
from monai_tl.networks.network_flags import read_stages, refuse_reserved_settings
from monai_tl.workflow.merged_config import bundle_config, merge_configs, read_run_config

if TYPE_CHECKING:
    from torch import nn


def stages(
    *,
    network: str | None = None,
    set: Arguments | None = None,
    stages: str | None = None,
    bundle: str | None = None,
    in_channels: Count = 2,
    out_channels: Count = 2,
) -> None:
    """Print a network's stages: [--network SegResNet --set init_filters=16] or [--bundle BUNDLE_OR_RUN].

    For each stage: its parameters, its multiply-adds per voxel, and the parameters trained if all stages before it are frozen.
    Then the weights that depend on the number of image channels and of classes. Without a network: HighRes3DNet. A network of
    your own is named with its module, my_package.MyNet; --stages auto takes the order in which its layers run, and prints them
    as a config has them.
    """
    if bundle is not None and (network or set or stages):
        raise ConfigError("--bundle has its own network: omit --network, --set and --stages")
    given = read_stages(stages)
    refuse_reserved_settings(set or {})
    from monai_tl.networks.build import build_network
    from monai_tl.networks.network_summary import prefix_lines, summarise_network

    if bundle is not None:
        built = _network_of(bundle)
    else:
        built = build_network(network or "HighRes3DNet", in_channels, out_channels, stages=given, **(set or {}))
    print(summarise_network(built))
    if given is not None:
        print(f"stages:\n{prefix_lines(built)}")


def _network_of(folder: str) -> nn.Module:
    """Build the network of a run folder or a bundle, with new weights."""
    from monai.bundle import ConfigParser

    is_run = (Path(folder) / "config.yaml").is_file()
    config = read_run_config(folder) if is_run else merge_configs([bundle_config(folder, "train")])
    if "network_def" not in config:
        raise ConfigError(f"'{folder}' has no network: its config has no id network_def")
    values: dict[str, Any] = config if is_run else {**config, "bundle_root": folder}
    return ConfigParser(values).get_parsed_content("network_def")
