"""The arms of a comparison: what a run takes from the source and what it holds still, as settings of the target's configs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_tl.errors import ConfigError

SCRATCH, CONTROL = "scratch", "random"  # the arm without transfer; how names of arms with a random frozen prefix begin
UNTRAINED = "untrained"  # the arm that is the source as it is


@dataclass(frozen=True)
class Arm:
    """One way to begin a training.

    Attributes:
        kind: ``"transfer"`` from a source; ``"scratch"`` without one; ``"random"``: frozen random stages, the control;
            ``"untrained"``: the source as it is.
        freeze: how many first stages are held still, or the last one's name.
    """

    kind: str
    freeze: int | str = 0

    @property
    def name(self) -> str:
        """Give its name in a study: ``scratch``, ``2``, ``random2``."""
        return {"transfer": str(self.freeze), "random": f"random{self.freeze}"}.get(self.kind, self.kind)

    @property
    def takes_source(self) -> bool:
        """Say if it begins with the source's weights."""
        return self.kind in ("transfer", UNTRAINED)

    def settings(self, source: str | Path | None) -> dict[str, Any]:
        """Give the values of the ids of transfer.yaml that make this arm; only some take the source."""
        origin = str(source) if source is not None and self.takes_source else None
        told: dict[str, Any] = {"source": origin, "freeze": self.freeze}
        if self.kind == UNTRAINED:
            told["fresh"] = []
        if self.kind == "random":
            told["norm"] = "track"  # random stages have no statistics worth holding still
        return told


def read_arms(texts: Sequence[str], stages: Sequence[str]) -> tuple[Arm, ...]:
    """Read arms as a study names them: ``untrained``, ``scratch``, ``0`` to ``5``, ``random2``.

    Args:
        texts: the names, in order.
        stages: of the network, the head last.

    Raises:
        ConfigError: for a name that is none, or that stands twice.
    """
    arms: list[Arm] = []
    there = f"there are untrained, scratch, 0 to {len(stages) - 1}, and random1 to random{len(stages) - 1}"
    for text in texts:
        found = re.fullmatch(rf"(scratch|{UNTRAINED})|(random)?(\d+)", text)
        if not found or text == "random0":
            raise ConfigError(f"no arm is called '{text}': {there}")
        arm = Arm(found[1]) if found[1] else Arm("random" if found[2] else "transfer", int(found[3]))
        if arm.freeze not in range(len(stages)):
            raise ConfigError(f"no arm is called '{text}', since {int(arm.freeze)} stages cannot be frozen: {there}")
        if arm in arms:
            raise ConfigError(f"the arm '{text}' is given twice; give it once")
        arms.append(arm)
    if not arms:
        raise ConfigError(f"a study needs arms: {there}")
    return tuple(arms)


def arm_order(arm: str) -> tuple[int, int, str]:
    """Sort key: untrained, scratch, 0 … 5, random controls and others by name."""
    if arm in (UNTRAINED, SCRATCH):
        return 0, int(arm == SCRATCH), arm
    return (1, int(arm), arm) if arm.isdecimal() else (2, 0, arm)


def arm_words(arm: str) -> str:
    """Name an arm in a sentence: ``"freeze 1"``, ``"random freeze 2"``, ``"scratch"``."""
    if arm.isdecimal():
        return f"freeze {arm}"
    frozen = arm.removeprefix(CONTROL)
    return f"{CONTROL} freeze {frozen}" if arm.startswith(CONTROL) and frozen.isdecimal() else arm
