"""What a network expects of its images, and the differences between a source and a target."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from monai_tl.datasets.regions import is_softmax
from monai_tl.errors import ConfigError, TransferError
from monai_tl.settings.normalisation import Normalisation, normalisation_for, read_normalisations, shortest
from monai_tl.settings.refusals import raise_refusals, refusal
from monai_tl.settings.table import NAMES, SETTINGS
from monai_tl.text import listed
from monai_tl.transfer.output_channels import by_position
from monai_tl.workflow.merged_config import is_expression

FIELDS = ("spacing", "orientation", "normalisation", "modalities", "classes")
HARMFUL = ("spacing", "orientation", "normalisation")  # weights do not work with other values than those they saw
KINDS = {**{name: SETTINGS[name] for name in ("modalities", *HARMFUL)}, "classes": NAMES}  # a source has any number of classes


@dataclass(frozen=True)
class Contract:
    """What a network was, or will be, trained on; None stands for what is unknown of a source, and a target knows all.

    Attributes:
        modalities: image channels by name, in order, e.g. ``("T1", "T2")``.
        spacing: voxel edges in mm along right, anterior, superior.
        orientation: axis codes that the voxel axes (i, j, k) point to, e.g. ``"RAS"``.
        normalisation: of each modality by itself, as `monai_tl.settings.normalisation.Normalisation` prints it, e.g.
            ``zscore_volume`` or ``window(-175,250)``; several if modalities differ, one for each.
        classes: output channels by name, background first.

    Example:
        >>> from monai_tl import Contract
        >>> Contract(("T1", "T2"), (1, 1, 1), "RAS", "zscore_volume", ("background", "hippocampus")).spacing
        (1.0, 1.0, 1.0)
        >>> Contract(("T1",), (1, 1, 1), "LPI", "min_max", ("background", "hippocampus"))
        Traceback (most recent call last):
        monai_tl.errors.ConfigError: unknown normalisation 'min_max': did you mean 'minmax'? There are: zscore_volume, ...
        >>> Contract(None, (1, 1, 1), "RAS", None, ("background", "hippocampus")).unknown
        ('normalisation', 'modalities')
    """

    modalities: tuple[str, ...] | None
    spacing: tuple[float, ...] | None
    orientation: str | None
    normalisation: str | tuple[str, ...] | None
    classes: tuple[str, ...] | None

    def __post_init__(self) -> None:
        """Convert lists, as in configs and JSON, to tuples; refuse values that the transforms do not support."""
        known = {name: getattr(self, name) for name in KINDS if getattr(self, name) is not None}
        raise_refusals(refusal(name, KINDS[name], value) for name, value in known.items())
        for name in ("modalities", "classes"):
            object.__setattr__(self, name, tuple(known[name]) if name in known else None)
        if self.spacing is not None:
            object.__setattr__(self, "spacing", tuple(map(float, self.spacing)))
        if self.normalisation is not None:
            object.__setattr__(self, "normalisation", shortest(self._normalisations()))

    def _normalisations(self) -> tuple[Normalisation, ...]:
        """Return the normalisation of each modality, or of all."""
        found = read_normalisations(self.normalisation)
        if self.modalities is None:
            return found
        try:
            return normalisation_for(self.normalisation, len(self.modalities))
        except ValueError as error:
            raise ConfigError(str(error)) from None

    def normalisation_of(self, modalities: Sequence[str], otherwise: str | Sequence[str]) -> str | tuple[str, ...] | None:
        """Return the normalisation with which a target with other modalities agrees; None if it is unknown.

        Args:
            modalities: of the target. One that is new to the source takes the source's normalisation, unless that differs by
                modality or its numbers are intensities; then it takes the target's own.
            otherwise: the target's own, for all modalities or one each.

        Example:
            >>> from monai_tl import Contract
            >>> source = Contract(("CT",), (1, 1, 1), "RAS", "window(-175,250)", ("background", "liver"))
            >>> source.normalisation_of(("CT", "PET"), "minmax")
            ('window(-175,250)', 'minmax')
        """
        seen = _by_modality(self)
        if not seen.keys() & set(modalities):
            return self.normalisation
        same = set(seen.values())
        common = next(iter(same)) if len(same) == 1 and not any(one.in_units for one in same) else None
        own = normalisation_for(otherwise, len(modalities))
        return shortest([seen.get(name, common or how) for name, how in zip(modalities, own, strict=True)])

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of the fields that are unknown; those without which weights may be useless come first."""
        return tuple(name for name in FIELDS if getattr(self, name) is None)


@dataclass(frozen=True)
class CompleteContract(Contract):
    """A contract in which nothing is unknown, as `complete` returns it."""

    modalities: tuple[str, ...]
    spacing: tuple[float, ...]
    orientation: str
    normalisation: str | tuple[str, ...]
    classes: tuple[str, ...]


def complete(contract: Contract) -> CompleteContract:
    """Return a target's contract, in which nothing may be unknown.

    Raises:
        ConfigError: with the names of what is unknown.

    Example:
        >>> from monai_tl import Contract
        >>> from monai_tl.transfer.contract import complete
        >>> complete(Contract(("T1",), None, "RAS", "zscore_volume", ("background", "hippocampus")))
        Traceback (most recent call last):
        monai_tl.errors.ConfigError: the target does not state spacing: only of a source it may be unknown
    """
    if contract.unknown:
        raise ConfigError(f"the target does not state {listed(contract.unknown)}: only of a source it may be unknown")
    return CompleteContract(**{name: getattr(contract, name) for name in FIELDS})


@dataclass(frozen=True)
class Disagreement:
    """A field in which source and target differ, or that is unknown of the source (None); if harmful, it stops a transfer."""

    field: str
    source: Any
    target: Any
    harmful: bool

    def __str__(self) -> str:
        """Return the difference in one line."""
        return f"{self.field}: source {_shown(self.source)}, target {_shown(self.target)}"

    @property
    def flag(self) -> str:
        """The flag that gives the target the source's value: ``--spacing 1.0,1.0,1.0``; empty if that is unknown."""
        if self.source is None:
            return ""
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
    contract = complete(contract)
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

    What the metadata do not state is unknown: those of the Model Zoo have no ``preprocessing``, and some name fewer channels
    than there are.

    Raises:
        TransferError: if the metadata state something that is not valid.
    """
    if metadata is None:
        return None
    try:
        data_format = metadata.get("network_data_format") or {}
        return Contract(
            modalities=_channel_names(data_format, "inputs", "image"),
            classes=_channel_names(data_format, "outputs", "pred"),
            **{**dict.fromkeys(HARMFUL), **metadata.get("preprocessing", {})},
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise TransferError(
            f"the metadata.json of source '{name}' does not state what its weights expect ({error}); it takes "
            "network_data_format (inputs#image#channel_def, outputs#pred#channel_def) and "
            f"preprocessing ({', '.join(HARMFUL)}); what it omits is unknown"
        ) from error


def differences(source: Contract, target: Contract) -> list[Disagreement]:
    """Return every field in which two contracts differ, or which is unknown of the source, harmful ones first."""
    blind = () if source.modalities else ("modalities",)  # channels of unknown names would be taken by position
    found = [
        Disagreement(field, getattr(source, field), getattr(target, field), field in (*HARMFUL, *blind)) for field in FIELDS
    ]
    differing = [one for one in found if one.source is None or one.source != one.target]
    if source.normalisation is None or target.normalisation is None or target.modalities is None:
        return differing
    seen, own = _by_modality(source), _by_modality(target)
    shared = seen.keys() & own.keys()
    if shared and all(seen[name] == own[name] for name in shared):
        return [one for one in differing if one.field != "normalisation"]
    theirs = source.normalisation_of(target.modalities, target.normalisation)
    return [replace(one, source=theirs) if one.field == "normalisation" else one for one in differing]


def _by_modality(contract: Contract) -> dict[str, Normalisation]:
    """Return the normalisation of each modality; empty if either is unknown."""
    if contract.modalities is None or contract.normalisation is None:
        return {}
    each = normalisation_for(contract.normalisation, len(contract.modalities))
    return dict(zip(contract.modalities, each, strict=True))


def merged(stored: Contract | None, given: Contract | None) -> Contract | None:
    """Return what is known of a source from its ``metadata.json`` and from its user; they may not contradict each other.

    Raises:
        TransferError: with each contradiction.
    """
    if stored is None or given is None:
        return stored or given
    if differing := [one for one in differences(stored, given) if None not in (one.source, one.target)]:
        lines = "; ".join(map(str, differing)).replace("source ", "metadata.json ").replace("target ", "source_contract ")
        raise TransferError(
            f"source_contract contradicts the source's metadata.json ({lines}); omit source_contract, which is only for what "
            "metadata.json does not state"
        )
    return Contract(**{name: getattr(given if getattr(stored, name) is None else stored, name) for name in FIELDS})


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
    target = complete(target)
    if (
        source is None
        or source.classes is None
        or source.classes == target.classes
        or by_position(source.classes, target.classes)
    ):
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


def _channel_names(data_format: Mapping[str, Any], side: str, name: str) -> tuple[str, ...] | None:
    """Return the names of a network's channels; None if the metadata do not name all of them."""
    described = data_format.get(side, {}).get(name, {})
    if "channel_def" not in described:
        return None
    channel_def = described["channel_def"]
    names = tuple(channel_def[index] for index in sorted(channel_def, key=int))
    raise_refusals([refusal("channel_def", NAMES, names)])
    return names if described.get("num_channels", len(names)) == len(names) else None


def _shown(value: Any) -> str:
    if value is None:
        return "unknown"
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)
