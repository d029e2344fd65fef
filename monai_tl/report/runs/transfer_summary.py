"""What a run took from its source, read from ``transfer_report.json``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_tl.storage.files import naming_damage

ELSEWHERE = "elsewhere"  # the kind of segmentations that were made elsewhere
FATES = ("copied", "adapted", "fresh")


@dataclass(frozen=True)
class Stage:
    """One stage: frozen or trained, its numbers of (trainable) parameters, and of weights copied, adapted and fresh."""

    name: str
    state: str
    trainable: int
    parameters: int
    copied: int
    adapted: int
    fresh: int


@dataclass(frozen=True)
class TransferSummary:
    """Where a run's initial weights came from.

    ``kind`` is ``"scratch"`` (random weights, all stages trained), ``"none"`` (the same, but with `train.yaml` alone),
    ``"random prefix"`` (random weights, the first stages frozen), ``"untrained"`` (the source without fine-tuning),
    ``"transfer"``, or ``"elsewhere"`` (no training of ours); ``"untrained"`` and ``"transfer"`` have a source.
    """

    kind: str
    source: str = ""
    source_dice: float | None = None  # on the source's own validation cases
    sha256: str = ""
    stages: tuple[Stage, ...] = ()
    differences: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()  # and what was renamed to match them
    outputs: tuple[str, ...] = ()
    overlap: tuple[str, ...] = ()  # test cases compared with the source's cases

    @property
    def frozen(self) -> tuple[str, ...]:
        """The frozen stages; their new input channels may be trained."""
        return tuple(stage.name for stage in self.stages if stage.state != "trained")

    @property
    def trained(self) -> tuple[str, ...]:
        """The stages whose parameters are all trained."""
        return tuple(stage.name for stage in self.stages if stage.state == "trained")

    def count(self, fate: str) -> int:
        """Return the number of weights that were ``copied``, ``adapted`` or ``fresh``."""
        return sum(getattr(stage, fate) for stage in self.stages)


RUN_REMEDY = "restore it, or move the run out of the folder"


def read_transfer_summary(path: Path, report: dict[str, Any] | None) -> TransferSummary:
    """Read a transfer report; None stands for a run without transfer.

    Raises:
        DataError: if it does not have the format that `transfer` writes.
    """
    if report is None:
        return TransferSummary("none")
    with naming_damage(path, RUN_REMEDY):
        return _summarise(report)


def _fates(report: dict[str, Any], stage: str) -> tuple[int, ...]:
    """Return the numbers of a stage's weights by fate; older reports of HighRes3DNet list only the fate of each weight."""
    older = Counter(fate.split(":")[0] for name, fate in report["weights"].items() if name.startswith(f"{stage}."))
    counts = report["stages"][stage].get("weights", older)
    return tuple(int(counts.get(fate, 0)) for fate in FATES)


def _summarise(report: dict[str, Any]) -> TransferSummary:
    stages = tuple(
        Stage(name, str(row["state"]), int(row["trainable"]), int(row["parameters"]), *_fates(report, name))
        for name, row in report["stages"].items()
    )
    source = report["source"]
    frozen = any(stage.state != "trained" for stage in stages)
    with_source = "untrained" if report.get("untrained") else "transfer"
    return TransferSummary(
        kind=with_source if source is not None else "random prefix" if frozen else "scratch",
        source="" if source is None else str(source["path"]),
        source_dice=None if source is None or source.get("validation_dice") is None else float(source["validation_dice"]),
        sha256="" if source is None else str(source["sha256"])[:12],
        stages=stages,
        differences=tuple(str(difference) for difference in report["contract"]["differences"]),
        adapted=tuple(f"{name}: {fate}" for name, fate in report["weights"].items() if str(fate).startswith("adapted")),
        channels=(
            *(f"the source's {old} is the target's {new}" for old, new in report.get("rename", {}).items()),
            *(f"{name}: {fate}" for name, fate in report["channels"].items()),
        ),
        outputs=(
            *(f"{name}: {fate}" for name, fate in report.get("regions", {}).items()),
            *([f"the head is newly initialised: {report['head']}"] if report.get("head") else []),
        ),
        overlap=tuple(str(line) for line in (report.get("overlap") or {}).get("said", ())),
    )
