"""Settings proposed for a datalist, each with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from monai_tl.datasets.datalist import Datalist
from monai_tl.transfer.contract import Contract


@dataclass(frozen=True)
class Proposal:
    """A setting's proposed value, why, and what to look at before it is used."""

    name: str
    value: Any
    reason: str
    check: str = ""


def propose(data: Datalist, *, source: Contract | None = None) -> tuple[Proposal, ...]:
    """Propose the settings of a bundle: what a source's weights expect of images; the recipe's defaults otherwise."""
    if source is None:
        return ()
    return tuple(
        Proposal(name, list(value) if isinstance(value, tuple) else value, "as the source's weights expect")
        for name, value in (("spacing", source.spacing), ("normalisation", source.normalisation))
    )


def proposals_page(proposals: Sequence[Proposal]) -> str:
    """Return the proposals as a page of Markdown."""
    rows = [f"| `{proposal.name}` | {proposal.value} | {proposal.reason} |" for proposal in proposals]
    return "\n".join(["# How the settings were chosen", "", "| setting | value | reason |", "|---|---|---|", *rows, ""])
