"""The arms of a comparison: strategies by name, their order, and their names in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from monai_tl.errors import ConfigError, TransferError
from monai_tl.networks.stage_map import StageMap
from monai_tl.transfer.strategy import (
    CONTROL,
    PREFIX,
    SCRATCH,
    STAGE_SET,
    STRATEGIES,
    UNTRAINED,
    Strategy,
    names_of,
    read_strategy,
)


def read_arms(texts: Sequence[str], stages: StageMap) -> tuple[Strategy, ...]:
    """Parse the names of arms: ``untrained``, ``scratch``, ``0`` to ``5``, ``random2``, ``lora8``, …

    Args:
        texts: the names, in order.
        stages: of the network, the head last.

    Raises:
        ConfigError, TransferError: for an unknown name, or an arm that is given twice.
    """
    arms: dict[Strategy, str] = {}
    for text in texts:
        arm = read_strategy(text, stages)
        same = [name for other, name in arms.items() if _are_one(other, arm, stages)]
        if same:
            both = f"'{text}'" if same[0] == text else f"'{text}' ({same[0]})"
            raise ConfigError(f"the arm {both} is given twice; name each arm once")
        arms[arm] = text
    if not arms:
        raise ConfigError(f"a study needs at least one arm: there are {', '.join(names_of(stages))}")
    return tuple(arms)


def _are_one(arm: Strategy, other: Strategy, stages: StageMap) -> bool:
    """Return whether two arms are the same, also if their frozen stages are only named in another way."""
    only_freeze = {arm.kind, other.kind} <= {PREFIX, STAGE_SET, "head", "decoder"}
    return arm.folder == other.folder or (only_freeze and arm.frozen(stages) == other.frozen(stages))


def arm_order(arm: str) -> tuple[int, int, str]:
    """Return the sort key of an arm: untrained, scratch, 0 … 5, random controls, then other strategies and arms by name."""
    if arm in (UNTRAINED, SCRATCH):
        return 0, int(arm == SCRATCH), arm
    if arm.isdecimal():
        return 1, int(arm), arm
    strategy = known_strategy(arm)
    if strategy is None or strategy.kind == CONTROL:
        return 2, 0, arm
    return 3, list(STRATEGIES).index(strategy.kind), arm


def arm_words(arm: str) -> str:
    """Return an arm's name for use in a sentence: ``"freeze 1"``, ``"random freeze 2"``, ``"LoRA rank 8"``."""
    strategy = known_strategy(arm)
    return strategy.label if strategy else arm


def known_strategy(arm: str) -> Strategy | None:
    """Return the strategy that an arm's name stands for; None if it stands for none, as in tables made by hand."""
    try:
        return read_strategy(arm)
    except (ConfigError, TransferError):
        return None
