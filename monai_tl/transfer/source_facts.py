"""What a source is, in words: family, network, stages, what it expects of its images, what it lacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import nn

from monai_tl.networks.outline import outline
from monai_tl.networks.ports import find_ports
from monai_tl.networks.stages import stages
from monai_tl.text import plural
from monai_tl.transfer.source import Source

NOT_KNOWN = "unknown"


def source_facts(source: Source) -> dict[str, str]:
    """Return the facts on a source, in order: name -> text; what is not known says so.

    Example:
        >>> from monai_tl import read_source
        >>> from monai_tl.transfer.source_facts import source_facts
        >>> facts = source_facts(read_source("runs/hippocampus"))
        >>> facts["modalities"], facts["normalisation"]
        ('2: T1, T2', 'zscore_volume')
    """
    numbers = sum(value.numel() for value in source.weights.values())
    network = _outline(source)
    inputs, outputs = _channels(source, network)
    contract = source.contract
    known = {name: getattr(contract, name) for name in ("spacing", "orientation", "normalisation")} if contract else {}
    return {
        "file": str(source.path),
        "sha256": source.sha256,
        "family": source.family,
        "network": NOT_KNOWN if source.network is None else str(source.network),
        **({} if source.network is None else {"flags": source.network.flags}),
        "weights": f"{plural(len(source.weights), 'tensor')}, {numbers:,} numbers",
        "stages": _stages_text(source, network),
        "lacks": _lacks_text(source),
        "modalities": _counted(inputs, contract.modalities if contract else None),
        "classes": _counted(outputs, contract.classes if contract else None),
        "spacing": f"{' × '.join(f'{edge:g}' for edge in known['spacing'])} mm" if known.get("spacing") else NOT_KNOWN,
        "orientation": known.get("orientation") or NOT_KNOWN,
        "normalisation": _text(known.get("normalisation")),
        "licence": source.licence or "not stated",
    }


def _outline(source: Source) -> nn.Module | None:
    """Build the source's network without weights; None if it is code of a user's own, which a file may not have run."""
    return outline(source.network, 1, 2) if source.network and source.network.is_known else None


def _channels(source: Source, network: nn.Module | None) -> tuple[int | None, int | None]:
    """Return the numbers of image channels and of classes that the weights have; None where it is not known."""
    if network is None:
        return None, None
    ports = find_ports(network)
    return _length(source, ports.inputs), _length(source, ports.outputs)


def _length(source: Source, port: Mapping[str, Sequence[int]]) -> int | None:
    return next((source.weights[name].shape[axes[0]] for name, axes in port.items() if name in source.weights), None)


def _counted(count: int | None, names: Sequence[str] | None) -> str:
    if names is None:
        return NOT_KNOWN if count is None else f"{count}, their names are unknown"
    return f"{len(names)}: {', '.join(names)}"


def _stages_text(source: Source, network: nn.Module | None) -> str:
    if network is None:
        return f"{NOT_KNOWN}: the code of {source.network.network} is not run here" if source.network else NOT_KNOWN
    found = stages(network)
    groups = {"encoder": found.encoder, "decoder": found.decoder, "head": (found.head,)}
    return "; ".join(f"{group} {', '.join(names)}" for group, names in groups.items() if names)


def _lacks_text(source: Source) -> str:
    if source.lacks:
        return f"{', '.join(source.lacks)}: --fresh {','.join(source.lacks)}"
    return NOT_KNOWN if source.network is None else "nothing"


def _text(value: object) -> str:
    return NOT_KNOWN if value is None else ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def said_of(source: Source) -> Iterator[str]:
    """Yield what was changed on reading, and what is known in words only."""
    yield from source.notes
    yield from (remark for remark in source.remarks if remark)
