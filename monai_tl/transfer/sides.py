"""A source and a target: what each is, in what they disagree, and what the target takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monai_tl.text import listed
from monai_tl.transfer.channels import describe_channels
from monai_tl.transfer.contract import CompleteContract, Contract, Disagreement, differences
from monai_tl.transfer.network_pair import NetworkPair, plan_obstacles, why_fresh_head
from monai_tl.transfer.obstacles import AskedStages, Obstacle
from monai_tl.transfer.output_channels import describe_outputs
from monai_tl.transfer.plan import TransferPlan, plan_pair
from monai_tl.transfer.transfer_report import Origins


@dataclass(frozen=True)
class Sides:
    """A source and a target.

    Attributes:
        source: the source as the user names it.
        pair: shapes of the weights of both.
        own: what the source expects of its images, with its own names; None if unknown.
        learned: the same, with the target's names of its modalities.
        contract: what the target expects of its images.
        rename: modality of the source -> its name in the target, where they differ.
    """

    source: str
    pair: NetworkPair
    own: Contract | None
    learned: Contract | None
    contract: CompleteContract
    rename: Mapping[str, str]

    def why_fresh(self) -> str:
        """Return why the head is fresh by default; empty if it is not."""
        if self.learned is None or self.learned.classes is None:
            return "the source's classes are unknown"
        return why_fresh_head(self.pair, self.learned.classes, self.contract.classes)

    def unlike(self) -> list[Obstacle]:
        """List the differences that harm a transfer."""
        if self.learned is None:
            remedy = "put metadata.json next to the weights, or continue with --accept_differences"
            return [Obstacle(self._unknown(), remedy, flags="--accept_differences")]
        return [_obstacle(one) for one in differences(self.learned, self.contract) if one.harmful]

    def of_stages(self, asked: AskedStages) -> list[Obstacle]:
        """List what prevents the transfer of single stages, also of those that are to be both frozen and fresh."""
        both = [name for name in asked.fresh if name in asked.frozen]
        nothing_left = set(self.pair.stages.names) <= set(asked.fresh)
        fresh = [name for name in asked.fresh if name not in both or nothing_left]
        found = list(plan_obstacles(self.pair, fresh, *self._names()))
        if not both:
            return found
        omit = "" if any(set(one.fresh) & set(both) for one in found) else f", or remove {listed(both)} from --fresh"
        return [
            *found,
            Obstacle(
                f"stages: {listed(both)} would be both fresh and frozen, and so stay random",
                f"freeze fewer stages ({asked.thaw()}){omit}; the control with frozen random stages is --random_prefix",
                flags=asked.thaw(),
                fresh=tuple(both),
            ),
        ]

    def plan(self, fresh: Sequence[str]) -> TransferPlan:
        """Plan what the target takes from the source."""
        return plan_pair(self.pair, fresh, *self._names())

    def origins(self, plan: TransferPlan, new_channels: str, why_fresh: str) -> Origins:
        """Describe where the target's channels come from."""
        learned, contract = self.learned, self.contract
        if learned is None:
            return Origins(differences=(self._unknown(),), head=why_fresh)
        own_names = {new: old for old, new in self.rename.items()}
        modalities = learned.modalities if self.pair.ports.inputs.keys() & plan.adapted.keys() else None
        headless = any(name in plan.fresh for name in self.pair.of_head)
        classes = None if headless or learned.classes == contract.classes else learned.classes
        return Origins(
            contract=self.own,
            differences=tuple(map(str, differences(learned, contract))),
            rename=self.rename,
            channels=describe_channels(modalities, contract.modalities, new_channels, own_names) if modalities else {},
            regions=describe_outputs(classes, contract.classes) if classes else {},
            head=why_fresh,
        )

    def _names(
        self,
    ) -> tuple[tuple[Sequence[str] | None, Sequence[str]], tuple[tuple[str, ...], tuple[str, ...]] | None]:
        """Return the modalities and the classes of source and target; None where unknown."""
        learned, contract = self.learned, self.contract
        if learned is None:
            return (None, contract.modalities), None
        return (learned.modalities, contract.modalities), (learned.classes, contract.classes) if learned.classes else None

    def _unknown(self) -> str:
        return (
            f"source '{self.source}' has no metadata.json: its spacing, orientation, normalisation and modalities are unknown"
        )


def _obstacle(one: Disagreement) -> Obstacle:
    if one.source is None:
        place = "network_data_format#inputs#image#channel_def" if one.field == "modalities" else f"preprocessing#{one.field}"
        known = f"state it in the source's metadata.json ({place}) if you know it"
        return Obstacle(str(one), f"{known}, or continue with --accept_differences", flags="--accept_differences")
    return Obstacle(str(one), f"set {one.flag} as the source has it, or continue with --accept_differences", flags=one.flag)
