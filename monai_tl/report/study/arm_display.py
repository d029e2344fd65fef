"""Arms as they are named and drawn: the same in every figure of every study."""

from __future__ import annotations

import re

from monai_tl.report.kit.figures import COLOURS, LINES, MARKERS, Look, look
from monai_tl.statistics import ArmComparison
from monai_tl.statistics.verdicts import shows_difference
from monai_tl.transfer.arms import SCRATCH, UNTRAINED

RANDOM = Look("#6e6e6e", "-.", "<", "◀")  # controls are without colour
BARE = Look("#6e6e6e", ":", "*", "★")
ORDER = ("scratch", "0", "1", "2", "3", "4", "5")
HATCHES = ("", "////", "....", "xxxx", "----", "++++", "oooo")


def explain_arm(arm: str) -> str:
    """Say what an arm is."""
    if arm == SCRATCH:
        return "random weights, every stage trained"
    if arm == UNTRAINED:
        return "the source’s weights as they are, nothing trained"
    if arm == "0":
        return "the source’s weights, every stage trained"
    if arm.isdecimal():
        return f"the source’s weights, the first {'stage' if arm == '1' else f'{int(arm)} stages'} held still"
    if re.fullmatch(r"random\d+", arm):
        stages = int(arm.removeprefix("random"))
        return f"no source: the first {'stage' if stages == 1 else f'{stages} stages'} held still at random weights"
    return "named by the study's settings"


def look_of(arm: str) -> Look:
    """Give an arm's look, which does not depend on the other arms."""
    if arm in ORDER:
        return look(ORDER.index(arm))
    if arm == UNTRAINED:
        return BARE
    if re.fullmatch(r"random\d+", arm):
        return RANDOM
    return look(len(ORDER) + sum(map(ord, arm)) % len(COLOURS))


def hatch_of(arm: str) -> str:
    """Give what fills an arm's box, so that it is told from the others without colour."""
    own = look_of(arm)
    if own == BARE:
        return "**"
    return "\\\\\\\\" if own == RANDOM else HATCHES[MARKERS.index(own.marker) % len(HATCHES)] if own.line in LINES else ""


def way(found: ArmComparison) -> str:
    """Say in two words what a comparison found: ``"higher"``, ``"lower"`` or ``"not told apart"``."""
    if not shows_difference(found):
        return "not told apart"
    return "higher" if found.mean > 0 else "lower"


def plain(name: str) -> str:
    """Give a name of letters, digits and low lines, for a file: what a table holds never leads elsewhere."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name)
