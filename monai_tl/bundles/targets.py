"""Bundles as targets: the network and the contract that their configs set, read as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_tl.errors import USER_ERRORS, ConfigError, first_line
from monai_tl.networks.network_spec import NetworkSpec
from monai_tl.transfer.contract import CompleteContract, complete, contract_of
from monai_tl.transfer.fits import TargetFit, find_fit
from monai_tl.transfer.source import Source
from monai_tl.workflow.merged_config import bundle_config, is_expression, read_yaml

OWN = "monai_tl.networks."
CHANNEL_ARGUMENTS = ("in_channels", "out_channels")
BUILT = "build_network"


@dataclass(frozen=True)
class Target:
    """A bundle that a source may be transferred to.

    Attributes:
        bundle: its folder.
        network: that it trains.
        contract: what it expects of its images.
    """

    bundle: Path
    network: NetworkSpec
    contract: CompleteContract


def read_target(bundle: str | Path) -> Target:
    """Read a bundle's network and contract from its ``train.yaml``, without evaluating anything.

    Raises:
        ConfigError: if the folder is no bundle, or if its network or contract must be evaluated first.

    Example:
        >>> from monai_tl.bundles.targets import read_target
        >>> target = read_target("bundles/task04_hippocampus")
        >>> target.contract.classes, str(target.network)
        (('background', 'anterior', 'posterior'), 'HighRes3DNet (head_norm=false)')
    """
    path = bundle_config(bundle, "train")
    config = read_yaml(path)
    try:
        contract, network = contract_of(config), _network_of(config)
    except KeyError as error:
        raise ConfigError(f"{path} lacks the id {error}, which a bundle of monai_tl has") from error
    if contract is None or network is None:
        raise ConfigError(f"{path}: its {'network_def' if contract else 'contract'} must be evaluated to be known")
    return Target(Path(bundle), network, complete(contract))


def _network_of(config: Mapping[str, Any]) -> NetworkSpec | None:
    """Return the network that ``network_def`` sets; None if it is of another kind, or a setting must be evaluated."""
    entry = {name: _value(config, value) for name, value in config["network_def"].items()}
    path, settings = str(entry.pop("_target_")), {name: value for name, value in entry.items() if name not in CHANNEL_ARGUMENTS}
    name = settings.pop("network") if path.endswith(f".{BUILT}") else path.rpartition(".")[2] if path.startswith(OWN) else None
    if settings.get("stages", 1) is None:
        settings.pop("stages")
    return None if name is None or any(map(is_expression, settings.values())) else NetworkSpec(str(name), settings)


def _value(config: Mapping[str, Any], value: Any) -> Any:
    """Return the value that a reference such as ``@head_norm`` has."""
    return config.get(value[1:], value) if isinstance(value, str) and value.startswith("@") else value


def find_targets(folder: Path = Path("bundles")) -> tuple[Path, ...]:
    """Return the bundles in a folder, by name; none if it does not exist."""
    return tuple(sorted(path.parents[1] for path in folder.glob("*/configs/train.yaml")))


def fits_of(source: Source, bundles: Sequence[str | Path]) -> Iterator[tuple[str, TargetFit]]:
    """Yield each bundle with what it can take from a source; a bundle that cannot be read does not fit, and says why."""
    for bundle in bundles:
        try:
            target = read_target(bundle)
            yield str(bundle), find_fit(source, target.network, target.contract)
        except USER_ERRORS as error:
            yield str(bundle), TargetFit(False, "", (first_line(error),))
