"""What a transfer did, as plain data for ``transfer_report.json`` and as lines of text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import nn

from monai_tl.errors import TransferError
from monai_tl.networks.ports import find_ports
from monai_tl.transfer.contract import Contract
from monai_tl.transfer.network_pair import shapes_of
from monai_tl.transfer.phases import Phase
from monai_tl.transfer.plan import TransferPlan
from monai_tl.transfer.source import Source
from monai_tl.transfer.strategy import is_plain

POOR_SOURCE = 0.1  # validation Dice below which a source is reported as having learned almost nothing


@dataclass(frozen=True)
class Origins:
    """Where a target's channels came from, in words.

    Attributes:
        contract: of the source, with its own names; None without a source, or if it is unknown.
        differences: between source and target, one line each.
        rename: modality of the source -> its name in the target.
        channels: image channel -> origin of its kernels; empty if they were copied as they are.
        regions: class -> origin of its output channel; empty if the head was copied as it is, or is fresh.
        head: why the head is fresh, unless the user asked for it; else empty.
    """

    contract: Contract | None = None
    differences: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    channels: Mapping[str, str] = field(default_factory=dict)
    regions: Mapping[str, str] = field(default_factory=dict)
    head: str = ""


def report_transfer(
    network: nn.Module,
    contract: Contract,
    origins: Origins,
    *,
    norm: str,
    plan: TransferPlan | None = None,
    source: Source | None = None,
) -> dict[str, Any]:
    """Return the fate of each weight, as plain data; `report_strategy` adds how it learns.

    Args:
        network: after the transfer, before its strategy is applied.
        contract: what the target expects of its images.
        origins: of the target's channels.
        norm: as in `monai_tl.transfer.freeze.freeze`.
        plan, source: None without a source.
    """
    fates = dict.fromkeys(shapes_of(network), "fresh")
    if plan is not None:
        fates |= dict.fromkeys(plan.copied, "copied") | {name: f"adapted: {how}" for name, how in plan.adapted.items()}
    before = asdict(origins.contract) if origins.contract else None
    return {
        "source": None if source is None else _source_row(source, plan),
        "contract": {"source": before, "target": asdict(contract), "differences": list(origins.differences)},
        "rename": dict(origins.rename),
        "channels": dict(origins.channels),
        "regions": dict(origins.regions),
        "head": origins.head,
        "norm": norm,
        "input_weights": _input_weights(network),
        "weights": fates,
    }


def _input_weights(network: nn.Module) -> list[str]:
    """Return the input kernels; none if they are unknown, in which case only a fresh stage takes other image channels."""
    try:
        return list(find_ports(network).inputs)
    except TransferError:
        return []


def transfer_summary(report: dict[str, Any]) -> str:
    """Return a transfer report as lines of text: source, differences, each stage, adapted weights and their channels."""
    lines = [
        *_source_lines(report["source"]),
        *(f"renamed: the source's {old} is the target's {new}" for old, new in report["rename"].items()),
        *report["contract"]["differences"],
        *(report.get("overlap") or {}).get("said", []),
        *_strategy_lines(report),
        *_stage_lines(report),
        *(f"{name}: {fate}" for name, fate in report["weights"].items() if fate.startswith("adapted")),
        *(f"channel {name}: {origin}" for name, origin in report["channels"].items()),
        *(f"output {name}: {origin}" for name, origin in report["regions"].items()),
        *([f"the head is newly initialised: {report['head']}"] if report["head"] else []),
    ]
    return "\n  ".join(lines)


def _source_lines(source: dict[str, Any] | None) -> list[str]:
    if source is None:
        return ["no source: every weight is newly initialised (random)"]
    lines = [f"transfer from {source['path']} (sha256 {source['sha256'][:12]})"]
    dice = source.get("validation_dice")
    if dice is not None:
        poor = "; the source has learned almost nothing, so this transfer can show little" if dice < POOR_SOURCE else ""
        lines.append(f"the source's validation Dice on its own task: {dice:.3f}{poor}")
    return lines + list(source.get("notes", ()))


def _strategy_lines(report: dict[str, Any]) -> list[str]:
    """Return what a strategy is, if stages alone do not say it: its name, its paper, its phases."""
    strategy = report.get("strategy", {})
    if not strategy or is_plain(strategy["name"]):
        return []
    rows = report["stages"].values()
    counts = f"{sum(row['trainable'] for row in rows):,} of {sum(row['parameters'] for row in rows):,} parameters"
    lines = [f"strategy {strategy['label']} ({strategy['paper']}): {counts} trainable"]
    schedule = strategy.get("schedule", {})
    lines += [schedule["note"]] if schedule.get("note") else []
    return lines + [str(Phase(**phase)) for phase in schedule.get("phases", ())]


def _stage_lines(report: dict[str, Any]) -> list[str]:
    """Return a line for each stage, with aligned columns: its state, its trainable parameters, the fates of its weights."""
    rows = report["stages"]
    stage_width, state_width = max(map(len, rows), default=0), max((len(row["state"]) for row in rows.values()), default=0)
    digits = max((len(f"{row['parameters']:,}") for row in rows.values()), default=0)
    return [
        f"{stage:{stage_width}}   {row['state']:{state_width}}   {row['trainable']:>{digits},} of "
        f"{row['parameters']:>{digits},} parameters trainable; {_fates_text(row['weights'])}"
        for stage, row in rows.items()
    ]


def _fates_text(counts: Mapping[str, int]) -> str:
    if not counts:
        return "no weights"
    meaning = {"fresh": "fresh (newly initialised)"}
    return "weights: " + ", ".join(f"{count} {meaning.get(fate, fate)}" for fate, count in counts.items())


def _source_row(source: Source, plan: TransferPlan | None) -> dict[str, Any]:
    metadata = source.metadata or {}
    return {
        "path": str(source.path),
        "sha256": source.sha256,
        "lineage": metadata.get("lineage", []),
        "validation_dice": metadata.get("validation_dice"),
        "unused": list(plan.unused if plan else ()),
        "notes": list(source.notes),
    }
