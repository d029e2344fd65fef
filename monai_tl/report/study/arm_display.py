"""How arms are described and drawn: the same in every figure of every study."""

from __future__ import annotations

import re

from monai_tl.report.kit.figures import COLOURS, LINES, MARKERS, Look, look
from monai_tl.transfer.arms import SCRATCH, UNTRAINED

RANDOM = Look("#6e6e6e", "-.", "<", "◀")  # controls are grey
BARE = Look("#6e6e6e", ":", "*", "★")
ORDER = ("scratch", "0", "1", "2", "3", "4", "5")
HATCHES = ("", "////", "....", "xxxx", "----", "++++", "oooo")


def explain_arm(arm: str) -> str:
    """Return a description of an arm."""
    if arm == SCRATCH:
        return "random weights, every stage trained"
    if arm == UNTRAINED:
        return "the source’s weights, not fine-tuned"
    if arm == "0":
        return "the source’s weights, every stage trained"
    if arm.isdecimal():
        return f"the source’s weights, the first {'stage' if arm == '1' else f'{int(arm)} stages'} frozen"
    if re.fullmatch(r"random\d+", arm):
        stages = int(arm.removeprefix("random"))
        return f"no source: the first {'stage' if stages == 1 else f'{stages} stages'} frozen at random weights"
    return "defined by the study's settings"


def look_of(arm: str) -> Look:
    """Return an arm's look, which does not depend on the other arms."""
    if arm in ORDER:
        return look(ORDER.index(arm))
    if arm == UNTRAINED:
        return BARE
    if re.fullmatch(r"random\d+", arm):
        return RANDOM
    return look(len(ORDER) + sum(map(ord, arm)) % len(COLOURS))


def hatch_of(arm: str) -> str:
    """Return the hatching of an arm's box, which distinguishes it from the others without colour."""
    own = look_of(arm)
    if own == BARE:
        return "**"
    return "\\\\\\\\" if own == RANDOM else HATCHES[MARKERS.index(own.marker) % len(HATCHES)] if own.line in LINES else ""


def plain(name: str) -> str:
    """Return a name as a safe file name of letters, digits and underscores."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name)
