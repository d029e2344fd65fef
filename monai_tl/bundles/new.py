"""Make a bundle from a datalist: its ``task.yaml``, and all files rendered from that."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from monai_tl.bundles.rendering import PLAIN_PATH, render_bundle, render_task
from monai_tl.datasets.datalist import Datalist
from monai_tl.datasets.regions import BACKGROUND, is_softmax, overlaps, regions_of
from monai_tl.errors import ConfigError, DataError, TransferError, did_you_mean
from monai_tl.settings.refusals import raise_refusals, refusal
from monai_tl.storage.files import read_json, write_text
from monai_tl.transfer.network_of_source import AskedNetwork
from monai_tl.transfer.weight_files import weights_at
from monai_tl.workflow.network_entry import OWN_NETWORK
from monai_tl.workflow.recipe_settings import AUTO, RECIPE_SETTINGS, recipe_problems
from monai_tl.workflow.task_file import BUNDLE_NAME, TASK_FILE, parse_task_file, read_task_file

if TYPE_CHECKING:
    from monai_tl.bundles.proposed_setting import Proposal
    from monai_tl.transfer.contract import Contract

PROPOSED = ("spacing", "normalisation", "window", "batch_size", "inference_window", "iterations", "validate_every", "patience")
"""The settings that are proposed for a datalist unless they are given."""
UNKNOWN_OF_SOURCE = "It is unknown of the source: a transfer from that needs --accept_differences."
CHANNELS = ("modalities", "classes")
METADATA = ("metadata.json", "configs/metadata.json")  # of a run, of a bundle


class Choice(NamedTuple):
    """A setting of a new bundle, where its value comes from, and what to look at before it is used."""

    name: str
    value: Any
    reason: str
    check: str = ""


@dataclass(frozen=True)
class NewBundle:
    """What a bundle is to be made of.

    Attributes:
        folder: to be written; must not exist.
        data: of the task, with its path.
        name: of the bundle; empty: the folder's.
        like: another bundle whose settings are taken.
        source: what the task's transfers start from: a bundle, a run folder or a weights file.
        like_source: spacing, orientation and normalisation are the source's even where the cases or ``like`` suggest others.
        given: value by setting; ``auto``: the proposed one. ``modalities`` and ``classes`` select from the data.
        network: what to train; nothing asked for: as ``like``, or else HighRes3DNet.
    """

    folder: Path
    data: Datalist
    name: str = ""
    like: Path | None = None
    source: str | None = None
    like_source: bool = False
    given: Mapping[str, Any] = field(default_factory=dict)
    network: AskedNetwork = field(default_factory=AskedNetwork)


class MadeBundle(NamedTuple):
    """A bundle that was made: its regions, whether they exclude each other, where its settings come from, and its network."""

    regions: dict[str, tuple[int, ...]]
    exclusive: bool
    modalities: tuple[str, ...]
    choices: tuple[Choice, ...]
    network: Mapping[str, Any] = {}


def refuse_new_bundle(folder: Path, name: str, given: Iterable[str]) -> str:
    """Refuse a folder that exists, and settings that a bundle does not have; nothing is read.

    Returns:
        The bundle's name.

    Raises:
        ConfigError: also for a name that commands and configs cannot hold.
    """
    if folder.exists() or folder.is_symlink():
        raise ConfigError(
            f"'{folder}' exists, and nothing is overwritten: choose another folder (edit it: monai_tl bundle render)"
        )
    chosen = name or folder.absolute().name
    if problem := refusal("the bundle's name", BUNDLE_NAME, chosen):
        raise ConfigError(f"{problem}; {'choose another --name' if name else 'rename the folder, or set --name'}")
    known = (*RECIPE_SETTINGS, *CHANNELS)
    for setting in given:
        if setting not in known:
            raise ConfigError(f"'{setting}' is no setting of a new bundle: {did_you_mean(setting, known)}")
    return chosen


def new_bundle(asked: NewBundle) -> MadeBundle:
    """Write a bundle whose configs train on a datalist right away.

    Regions that share label values have a sigmoid each; others share a softmax with the background. A setting has the given
    value, else that of ``like``, else the proposed one (`monai_tl.bundles.proposals`), else the recipe's default.

    Raises:
        ConfigError: if the folder exists, or a name, class, modality or setting is invalid; nothing is written then.
        DataError: if the datalist does not have a modality.
    """
    name = refuse_new_bundle(asked.folder, asked.name, asked.given)
    modalities, classes, regions = _channels(asked)
    network, channels = _network(asked), (len(modalities), len(classes))
    proposals, choices = _choices(asked, replace(asked.data, modalities=modalities, regions=regions), network, channels)
    chosen = {choice.name: choice.value for choice in choices}
    raise_refusals(recipe_problems({**chosen, "modalities": list(modalities)}, len(regions)))
    network = _fitted(network, channels, {**RECIPE_SETTINGS, **chosen})
    data = Path(str(asked.data.path))
    text = render_task(
        name=name,
        modalities=modalities,
        classes=classes,
        exclusive=is_softmax(classes),
        label_classes=f"one channel of label values: {values_of(regions)}",
        dataset_dir=_place(data.parent, asked.folder),
        datalist=data.name,
        source=_place(Path(asked.source), asked.folder) if asked.source else "",
        noted=bool(proposals),
        network=network,
        settings=chosen,
    )
    files = {TASK_FILE: text, **render_bundle(parse_task_file(text, asked.folder / TASK_FILE))}
    if proposals:
        from monai_tl.bundles.proposals import proposals_page

        files["docs/settings.md"] = proposals_page(proposals)
    _write_folder(asked.folder, files)
    return MadeBundle(regions, is_softmax(classes), modalities, choices, network)


def values_of(regions: Mapping[str, Iterable[int]]) -> str:
    """Return the label values of regions in words: ``"anterior 1; posterior 2"``."""
    return "; ".join(f"{name} {', '.join(map(str, values))}" for name, values in regions.items())


def _channels(asked: NewBundle) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, tuple[int, ...]]]:
    """Return modalities, classes and the label values of each region."""
    data = asked.data
    modalities = tuple(asked.given.get("modalities", data.modalities))
    if strange := [name for name in modalities if name not in data.modalities]:
        raise DataError(f"no modality '{strange[0]}' in {data.path}: {did_you_mean(strange[0], data.modalities)}")
    first = () if overlaps(data.regions) else (BACKGROUND,)
    classes = tuple(asked.given.get("classes", (*first, *data.regions)))
    return modalities, classes, regions_of(data.regions, classes)


def _network(asked: NewBundle) -> dict[str, Any]:
    """Return the network as an entry of ``task.yaml``; empty: HighRes3DNet."""
    like = dict(read_task_file(asked.like).network) if asked.like else {}
    if not asked.network:
        return like
    entry = asked.network.entry(like or {"name": OWN_NETWORK}, asked.source)
    return {} if entry == {"name": OWN_NETWORK} else entry


def _fitted(network: dict[str, Any], channels: tuple[int, int], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the network with all that its class requires, after it was built on trial."""
    if not network:
        return network
    if settings["head_norm"]:
        raise ConfigError(f"head_norm is a setting of {OWN_NETWORK}, not of {network['name']}: omit it")
    from monai_tl.networks.chosen_network import checked_network

    return checked_network(network, channels, settings["window"], settings["batch_size"])


def _choices(
    asked: NewBundle, data: Datalist, network: Mapping[str, Any], channels: tuple[int, int]
) -> tuple[tuple[Proposal, ...], tuple[Choice, ...]]:
    """Return the proposals that are followed, and all settings that are not left to the recipe's defaults.

    ``data`` has only the regions and modalities that are learned.
    """
    like = _settings_of(asked.like) if asked.like else {}
    given = {name: value for name, value in asked.given.items() if name in RECIPE_SETTINGS}
    left = set(PROPOSED) if not asked.like else {"spacing", "normalisation"} if asked.like_source else set()
    wanted = [name for name in PROPOSED if given.get(name) == AUTO or (name not in given and name in left)]
    if given.get("window", AUTO) != AUTO and "inference_window" not in given:
        wanted = [name for name in wanted if name != "inference_window"]  # it follows the given window
    contract = _contract_of(asked.source) if asked.source else None
    knows = {"like_source": asked.like_source, **_of_network(network, channels)} if wanted else {}
    proposals = _proposals(data, contract, wanted, knows) if wanted else ()
    found = {name: Choice(name, value, f"as in {asked.like}") for name, value in like.items()}
    if contract and contract.orientation and (asked.like_source or "orientation" not in like):
        found["orientation"] = Choice("orientation", contract.orientation, "as the source's weights expect")
    found |= {proposal.name: Choice(proposal.name, proposal.value, proposal.reason, proposal.check) for proposal in proposals}
    for name in [name for name in contract.unknown if name in found] if contract else []:
        found[name] = found[name]._replace(check=f"{found[name].check} {UNKNOWN_OF_SOURCE}".strip())
    found |= {name: Choice(name, value, "as given") for name, value in given.items() if value != AUTO or name not in PROPOSED}
    return proposals, tuple(found[name] for name in RECIPE_SETTINGS if name in found)


def _of_network(network: Mapping[str, Any], channels: tuple[int, int]) -> dict[str, Any]:
    """Return what proposals need to know of a network; nothing for HighRes3DNet, with which they were measured."""
    if network.get("name", OWN_NETWORK) == OWN_NETWORK:
        return {}
    from monai_tl.bundles.proposed_setting import OtherNetwork
    from monai_tl.networks.chosen_network import sizes_of_network

    return {"network": OtherNetwork(str(network["name"]), sizes_of_network(network, channels))}


def _proposals(
    data: Datalist, source: Contract | None, wanted: Iterable[str], knows: Mapping[str, Any]
) -> tuple[Proposal, ...]:
    from monai_tl.bundles.proposals import propose

    proposals = propose(data, source=source, **knows)
    return tuple(proposal for proposal in proposals if proposal.name in wanted and proposal.value is not None)


def _settings_of(bundle: Path) -> Mapping[str, Any]:
    """Return the settings of another bundle that differ from the recipe's defaults."""
    if not (bundle / TASK_FILE).is_file():
        raise ConfigError(f"--like takes a bundle with a {TASK_FILE}; '{bundle}' has none")
    return read_task_file(bundle).settings


def _contract_of(source: str) -> Contract | None:
    """Return what a source's weights expect of images, or will once it is trained; None for a weights file without metadata.

    Raises:
        ConfigError: if the source does not exist, or is a folder of something else.
        TransferError: if it has weights that cannot be read.
    """
    from monai_tl.transfer.contract import read_contract
    from monai_tl.transfer.source import read_source

    path = Path(source)
    if not path.exists():
        raise ConfigError(f"source '{source}' does not exist; name a bundle, run folder, .pt or .safetensors file")
    try:
        weights_at(path)
    except TransferError:  # a bundle whose training is still to come
        found = next((path / name for name in METADATA if (path / name).is_file()), None)
        if found is None:
            raise ConfigError(
                f"source '{source}' is neither a bundle nor a run folder: it has no weights and no metadata.json"
            ) from None
        return read_contract(read_json(found, remedy="correct it or remove it"), source)
    return read_source(source).contract


def _place(path: Path, folder: Path) -> str:
    """Return a path for a bundle's ``task.yaml``: relative to the bundle if both are below the working directory."""
    here = Path.cwd()
    target = path.resolve() if ".." in path.parts else path.absolute()
    bundle = folder.absolute().parent.resolve() / folder.name
    relative = Path(os.path.relpath(target, bundle)).as_posix()
    below = target.is_relative_to(here) and bundle.is_relative_to(here)
    return relative if below and PLAIN_PATH.fullmatch(relative) else str(target)


def _write_folder(folder: Path, files: Mapping[str, str]) -> None:
    """Write a folder atomically: it exists with all its files, or not at all."""
    staging = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}")
    try:
        for name, text in files.items():
            write_text(staging / name, text)
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
