"""What a network expects of its images, and the differences between a source and a target."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from monai_tl.datasets.regions import is_softmax
from monai_tl.errors import ConfigError, TransferError
from monai_tl.settings.refusals import raise_refusals, refusal
from monai_tl.settings.table import NAMES, SETTINGS
from monai_tl.transfer.output_channels import by_position
from monai_tl.transfer.source import read_source
from monai_tl.workflow.merged_config import is_expression

HARMFUL = ("spacing", "orientation", "normalisation")  # weights do not work with other values than those they saw
KINDS = {**{name: SETTINGS[name] for name in ("modalities", *HARMFUL)}, "classes": NAMES}  # a source has any number of classes


@dataclass(frozen=True)
class Contract:
    """What a network was, or will be, trained on.

    Attributes:
        modalities: image channels by name, in order, e.g. ``("T1", "T2")``.
        spacing: voxel edges in mm along right, anterior, superior.
        orientation: axis codes that the voxel axes (i, j, k) point to, e.g. ``"RAS"``.
        normalisation: ``zscore_volume`` (mean and deviation of the whole volume) or ``zscore_nonzero`` (of non-zero voxels),
            each modality by itself.
        classes: output channels by name, background first.

    Example:
        >>> from monai_tl import Contract
        >>> Contract(("T1", "T2"), (1, 1, 1), "RAS", "zscore_volume", ("background", "hippocampus")).spacing
        (1.0, 1.0, 1.0)
        >>> Contract(("T1",), (1, 1, 1), "LPI", "min_max", ("background", "hippocampus"))
        Traceback (most recent call last):
        monai_tl.errors.ConfigError: unknown normalisation 'min_max': There are: zscore_volume, zscore_nonzero
    """

    modalities: tuple[str, ...]
    spacing: tuple[float, ...]
    orientation: str
    normalisation: str
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        """Convert lists, as in configs and JSON, to tuples; refuse values that the transforms do not support."""
        raise_refusals(refusal(name, kind, getattr(self, name)) for name, kind in KINDS.items())
        object.__setattr__(self, "modalities", tuple(self.modalities))
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "spacing", tuple(map(float, self.spacing)))


@dataclass(frozen=True)
class Disagreement:
    """A field in which source and target differ; a harmful difference stops a transfer."""

    field: str
    source: Any
    target: Any
    harmful: bool

    def __str__(self) -> str:
        """Return the difference in one line."""
        return f"{self.field}: source {_shown(self.source)}, target {_shown(self.target)}"

    @property
    def flag(self) -> str:
        """The flag that gives the target the source's value: ``--spacing 1.0,1.0,1.0``."""
        value = ",".join(map(str, self.source)) if isinstance(self.source, tuple) else str(self.source)
        return f"--{self.field} {shlex.quote(value)}"


def contract_of(config: Mapping[str, Any]) -> Contract | None:
    """Return the contract that a merged config sets; None if a part of it must be evaluated first."""
    values = {field.name: config[field.name] for field in fields(Contract)}
    return None if any(map(is_expression, values.values())) else Contract(**values)


def describe(
    metadata: Mapping[str, Any],
    contract: Contract,
    lineage: Sequence[Mapping[str, Any]] = (),
    regions: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, Any]:
    """Return a bundle's metadata with the channels, the preprocessing, the regions and the lineage of one run.

    The result is written next to the weights as ``metadata.json``; `read_contract` reads ``contract`` from it, and
    `trained_regions` reads ``regions``, name -> label values.
    """
    described = {
        **{key: value for key, value in metadata.items() if key != "validation_dice"},  # of the bundle's own training
        "preprocessing": {k: v for k, v in asdict(contract).items() if k in HARMFUL},
        "regions": {name: list(values) for name, values in (regions or {}).items()},
        "lineage": list(lineage),
    }
    data_format = described["network_data_format"]
    image = {**data_format["inputs"]["image"], **_channels(contract.modalities)}
    pred = {**data_format["outputs"]["pred"], **_channels(contract.classes)}
    described["network_data_format"] = {**data_format, "inputs": {"image": image}, "outputs": {"pred": pred}}
    return described


def read_contract(metadata: Mapping[str, Any] | None, name: str) -> Contract | None:
    """Read the contract from a bundle's or run's ``metadata.json``; None if there is no metadata.

    Raises:
        TransferError: if the metadata is incomplete.
    """
    if metadata is None:
        return None
    try:
        data_format = metadata["network_data_format"]
        return Contract(
            modalities=_ordered(data_format["inputs"]["image"]["channel_def"]),
            classes=_ordered(data_format["outputs"]["pred"]["channel_def"]),
            **metadata["preprocessing"],
        )
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise TransferError(
            f"the metadata.json of source '{name}' does not state what its weights expect ({reason}); it needs "
            "network_data_format (inputs#image#channel_def, outputs#pred#channel_def) and "
            f"preprocessing ({', '.join(HARMFUL)})"
        ) from error


def differences(source: Contract, target: Contract) -> list[Disagreement]:
    """Return every field in which two contracts differ, harmful ones first."""
    pairs = [(field, getattr(source, field), getattr(target, field)) for field in (*HARMFUL, "modalities", "classes")]
    return [Disagreement(field, ours, theirs, field in HARMFUL) for field, ours, theirs in pairs if ours != theirs]


def lineage_of(transfer_report: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the weights that a run's weights were transferred from, the oldest first; empty without a source."""
    source = (transfer_report or {}).get("source")
    return [] if source is None else [*source["lineage"], {"path": source["path"], "sha256": source["sha256"]}]


def refuse_other_classes(source: Contract | None, target: Contract, name: str) -> None:
    """Refuse a source that cannot be scored without training, since an output channel would stand for another region.

    Its regions have to be the target's, in any order, or, so that a source of another task is a baseline, all be others of the
    same number.

    Args:
        source: what the source's weights expect; None if unknown.
        target: what the target expects.
        name: of the source.

    Raises:
        TransferError: with the classes of both, and the other differences that would harm.
    """
    if source is None or source.classes == target.classes or by_position(source.classes, target.classes):
        return
    softmax, same_number = is_softmax(target.classes), len(source.classes) == len(target.classes)
    if set(target.classes) <= set(source.classes) and softmax == is_softmax(source.classes) and (same_number or not softmax):
        return
    others = [str(one) for one in differences(source, target) if one.harmful]
    also = f"; they differ also in {'; '.join(others)}" if others else ""
    raise TransferError(
        f"source '{name}' has {len(source.classes)} classes ({', '.join(source.classes)}), the target {len(target.classes)} "
        f"({', '.join(target.classes)}): it cannot be scored untrained; fine-tune it (monai_tl transfer --source {name}){also}"
    )


def _channels(names: Sequence[str]) -> dict[str, Any]:
    return {"num_channels": len(names), "channel_def": {str(index): name for index, name in enumerate(names)}}


def _ordered(channel_def: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(channel_def[index] for index in sorted(channel_def, key=int))


def _shown(value: Any) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)


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
    trained_on = read_contract(read_source(ckpt).metadata, str(ckpt))
    if trained_on and (differing := differences(trained_on, contract)):
        listed = "; ".join(map(str, differing)).replace("source ", "trained on ").replace("target ", "now set to ")
        flags = " ".join(one.flag for one in differing)
        raise ConfigError(f"'{ckpt}' was trained on other images ({listed}); set them to the values of the training: {flags}")
