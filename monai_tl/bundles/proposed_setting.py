"""A proposed setting, and what of it changes for another network than HighRes3DNet, with which all figures were measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from monai_tl.networks.input_sizes import InputSizes
from monai_tl.workflow.network_entry import OWN_NETWORK

BY_COST = ("batch_size", "iterations", "validate_every")  # by the memory and the time that a training takes


@dataclass(frozen=True)
class Proposal:
    """A proposed value of a setting.

    Attributes:
        name: of a setting in `monai_tl.settings.table`.
        value: as it is written in a config.
        reason: one sentence with the measured numbers.
        check: what to look at before the value is used; empty if nothing.
    """

    name: str
    value: Any
    reason: str
    check: str = ""


@dataclass(frozen=True)
class OtherNetwork:
    """Another network than HighRes3DNet, for which settings are proposed.

    Attributes:
        name: of the network.
        sizes: of images that it takes.
    """

    name: str
    sizes: InputSizes

    def window(self, proposal: Proposal) -> Proposal:
        """Return the proposed window as the network takes it."""
        reason = f"{proposal.reason}; {self.name} takes {self.sizes}"
        return replace(proposal, value=self.sizes.within(proposal.value), reason=reason)

    def noted(self, proposals: Iterable[Proposal]) -> tuple[Proposal, ...]:
        """Return proposals that say what was measured with HighRes3DNet."""
        return tuple(map(self._noted, proposals))

    def _noted(self, proposal: Proposal) -> Proposal:
        if proposal.name == "inference_window":
            return replace(proposal, reason="as in training")
        named = {"the network sees": f"{OWN_NETWORK} sees", f"The kernels of {OWN_NETWORK} are": "Most kernels are"}
        reason, check = proposal.reason, proposal.check
        for theirs, ours in named.items():
            reason, check = reason.replace(theirs, ours), check.replace(theirs, ours)
        if proposal.name in BY_COST:
            check = f"{check} Measured with {OWN_NETWORK}: {self.name} may take another memory and time.".strip()
        return replace(proposal, reason=reason, check=check)
