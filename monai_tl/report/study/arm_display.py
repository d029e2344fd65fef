"""How arms are described and drawn: the same in every figure of every study."""

from __future__ import annotations

import re

from monai_tl.report.kit.figures import COLOURS, GLYPHS, LINES, MARKERS, Look, look
from monai_tl.transfer.arms import known_strategy
from monai_tl.transfer.strategy import CONTROL, PREFIX, STRATEGIES, UNTRAINED

RANDOM = Look("#6e6e6e", "-.", "<", "◀")  # controls are grey
BARE = Look("#6e6e6e", ":", "*", "★")
ORDER = ("scratch", "0", "1", "2", "3", "4", "5")
OTHERS = tuple(kind for kind in STRATEGIES if kind not in (UNTRAINED, "scratch", PREFIX, CONTROL))
HATCHES = ("", "////", "....", "xxxx", "----", "++++", "oooo")


def explain_arm(arm: str) -> str:
    """Return a description of an arm, with the paper of its strategy."""
    strategy = known_strategy(arm)
    if strategy is None:
        return "defined by the study's settings"
    named = strategy.kind in OTHERS and strategy.paper
    return f"{strategy.explanation} ({strategy.paper})" if named else strategy.explanation


def look_of(arm: str) -> Look:
    """Return an arm's look, which does not depend on the other arms."""
    if arm in ORDER:
        return look(ORDER.index(arm))
    strategy = known_strategy(arm)
    if strategy is None:
        return look(len(ORDER) + sum(map(ord, arm)) % len(COLOURS))
    if strategy.kind == UNTRAINED:
        return BARE
    if strategy.kind == CONTROL:
        return RANDOM
    if strategy.kind == PREFIX:  # deeper than the stages in ORDER
        return look(len(OTHERS) + 1 + int(arm))
    own = look(len(ORDER) + OTHERS.index(strategy.kind))
    if strategy.value is None:
        return own
    at = sum(map(ord, arm)) % len(MARKERS)  # strategies of one kind differ by their value
    return own._replace(marker=MARKERS[at], glyph=GLYPHS[at])


def hatch_of(arm: str) -> str:
    """Return the hatching of an arm's box, which distinguishes it from the others without colour."""
    own = look_of(arm)
    if own == BARE:
        return "**"
    return "\\\\\\\\" if own == RANDOM else HATCHES[MARKERS.index(own.marker) % len(HATCHES)] if own.line in LINES else ""


def plain(name: str) -> str:
    """Return a name as a safe file name of letters, digits and underscores."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name)
