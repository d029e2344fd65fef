"""The arms of a comparison: what is transferred from the source and what is frozen, as settings of the target's configs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_tl.errors import ConfigError

SCRATCH, CONTROL = "scratch", "random"  # the arm without transfer; prefix of the names of arms with frozen random stages
UNTRAINED = "untrained"  # the arm that scores the source without any training on the target


@dataclass(frozen=True)
class Arm:
    """One way to start a training.

    Attributes:
        kind: ``"transfer"`` from a source; ``"scratch"`` without one; ``"random"``: frozen random stages, the control;
            ``"untrained"``: the source without any training on the target.
        freeze: the number of frozen first stages, or the name of the last one.
    """

    kind: str
    freeze: int | str = 0

    @property
    def name(self) -> str:
        """Return its name in a study, e.g. ``scratch``, ``2``, ``random2``."""
        return {"transfer": str(self.freeze), "random": f"random{self.freeze}"}.get(self.kind, self.kind)

    @property
    def takes_source(self) -> bool:
        """Return whether the network is initialised with the source's weights."""
        return self.kind in ("transfer", UNTRAINED)

    def settings(self, source: str | Path | None) -> dict[str, Any]:
        """Return the settings of ``transfer.yaml`` that define this arm; ``source`` is None for arms that use none."""
        origin = str(source) if source is not None and self.takes_source else None
        settings: dict[str, Any] = {"source": origin, "freeze": self.freeze}
        if self.kind == UNTRAINED:
            settings["fresh"] = []
        if self.kind == "random":
            settings["norm"] = "track"  # random stages have no trained statistics to preserve
        return settings


def read_arms(texts: Sequence[str], stages: Sequence[str]) -> tuple[Arm, ...]:
    """Parse the names of arms: ``untrained``, ``scratch``, ``0`` to ``5``, ``random2``.

    Args:
        texts: the names, in order.
        stages: of the network, the head last.

    Raises:
        ConfigError: for an unknown name, or one that is given twice.
    """
    arms: list[Arm] = []
    existing = f"there are untrained, scratch, 0 to {len(stages) - 1}, and random1 to random{len(stages) - 1}"
    for text in texts:
        match = re.fullmatch(rf"(scratch|{UNTRAINED})|(random)?(\d+)", text)
        if not match or text == "random0":
            raise ConfigError(f"no arm is called '{text}': {existing}")
        arm = Arm(match[1]) if match[1] else Arm("random" if match[2] else "transfer", int(match[3]))
        if arm.freeze not in range(len(stages)):
            raise ConfigError(f"no arm is called '{text}', since {int(arm.freeze)} stages cannot be frozen: {existing}")
        if arm in arms:
            raise ConfigError(f"the arm '{text}' is given twice; name each arm once")
        arms.append(arm)
    if not arms:
        raise ConfigError(f"a study needs at least one arm: {existing}")
    return tuple(arms)


def arm_order(arm: str) -> tuple[int, int, str]:
    """Return the sort key of an arm: untrained, scratch, 0 … 5, then random controls and others by name."""
    if arm in (UNTRAINED, SCRATCH):
        return 0, int(arm == SCRATCH), arm
    return (1, int(arm), arm) if arm.isdecimal() else (2, 0, arm)


def arm_words(arm: str) -> str:
    """Return an arm's name for use in a sentence: ``"freeze 1"``, ``"random freeze 2"``, ``"scratch"``."""
    if arm.isdecimal():
        return f"freeze {arm}"
    frozen = arm.removeprefix(CONTROL)
    return f"{CONTROL} freeze {frozen}" if arm.startswith(CONTROL) and frozen.isdecimal() else arm
