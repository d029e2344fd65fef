"""Take over a source's spacing, orientation and normalisation into a target's config (``--like_source``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from monai_tl.datasets.modality_names import read_rename, renamed
from monai_tl.errors import ConfigError
from monai_tl.text import listed
from monai_tl.transfer.contract import HARMFUL, Contract
from monai_tl.transfer.source import read_source
from monai_tl.workflow.merged_config import is_expression


class TakenOver(NamedTuple):
    """Settings with the source's values, and a line for each of spacing, orientation and normalisation."""

    settings: dict[str, Any]
    lines: tuple[str, ...]


def like_source(source: str, target: Mapping[str, Any], given: Mapping[str, Any]) -> TakenOver:
    """Return the settings with which a target's images are like those that a source was trained on.

    Args:
        source: bundle, run folder or weights file.
        target: the target's merged config, of which modalities and current values are read.
        given: what the user set; these settings win. ``rename`` and ``accept_differences`` count too.

    Raises:
        ConfigError: if nothing is known of the source, or if a part is unknown and ``accept_differences`` is not set.
        TransferError: if the source cannot be read.

    Example:
        >>> from monai_tl.transfer.like_source import like_source
        >>> config = {"modalities": ["T1"], "spacing": [2, 2, 2], "orientation": "RAS", "normalisation": "minmax"}
        >>> print(*like_source("runs/hippocampus", config, {"orientation": "LPS"}).lines, sep="\\n")
        spacing [1.0, 1.0, 1.0]: as the source's (the target's was [2, 2, 2])
        orientation LPS: as given (the source's is RAS)
        normalisation zscore_volume: as the source's (the target's was minmax)
    """
    contract = read_source(source).contract
    if contract is None:
        raise ConfigError(f"--like_source: nothing states what source '{source}' expects of its images: omit --like_source")
    unknown = [name for name in HARMFUL if getattr(contract, name) is None]
    if unknown and not given.get("accept_differences", target.get("accept_differences", False)):
        kept = ", ".join(f"{name} {_plain(given.get(name, target.get(name)))}" for name in unknown)
        raise ConfigError(
            f"--like_source: {listed(unknown)} of source '{source}' {'is' if len(unknown) == 1 else 'are'} unknown; "
            f"--accept_differences continues with the target's ({kept})"
        )
    settings, lines = {}, []
    for name in HARMFUL:
        own, theirs = given.get(name, target.get(name)), _of_source(contract, name, target, given)
        if theirs is None:
            lines.append(f"{name} {_plain(own)}: the target's, as the source's is unknown")
        elif name in given:
            lines.append(f"{name} {_plain(own)}: as given (the source's is {_plain(theirs)})")
        else:
            settings[name] = theirs
            before = "" if own == theirs else f" (the target's was {_plain(own)})"
            lines.append(f"{name} {_plain(theirs)}: as the source's{before}")
    return TakenOver(settings, tuple(lines))


def _of_source(contract: Contract, name: str, target: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    """Return a value of the source as a config holds it; None if it is unknown."""
    value = getattr(contract, name)
    modalities = given.get("modalities", target.get("modalities"))
    if name == "normalisation" and contract.modalities is not None and not is_expression(modalities):
        called = Contract(renamed(contract.modalities, _rename(target, given)), None, None, value, None)
        value = called.normalisation_of(modalities, given.get(name, target[name]))
    return list(value) if isinstance(value, tuple) else value


def _rename(target: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, str]:
    rename = given.get("rename", target.get("rename"))
    return {} if is_expression(rename) else read_rename(rename)


def _plain(value: Any) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value)
