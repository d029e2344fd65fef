"""What prevents a transfer, gathered into one message whose remedies agree with each other and with the user's flags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from monai_tl.errors import TransferError, list_problems
from monai_tl.networks.stage_map import StageMap
from monai_tl.networks.stage_names import freeze_text


@dataclass(frozen=True)
class Obstacle:
    """A reason why a transfer cannot be made as asked.

    Attributes:
        what: in words, with what the source has and what the target has.
        remedy: in words; empty if only ``fresh`` settles it.
        flags: flags that settle it, e.g. ``--spacing 1.0,1.0,1.0``; empty if only ``fresh`` does, or nothing.
        fresh: stages that settle it if they are newly initialised.
        to_fresh: that in words, e.g. ``"newly initialise its stage"``; empty if it is no remedy.
    """

    what: str
    remedy: str = ""
    flags: str = ""
    fresh: tuple[str, ...] = ()
    to_fresh: str = ""

    def line(self, asked: AskedStages) -> str:
        """Return it in one line, with the remedies that do not contradict what was asked."""
        alone = not self.remedy
        instead = " instead of --fresh none" if asked.none_fresh else ""
        to_fresh = f"{self.to_fresh} ({asked.flags(self.fresh)}{instead})" if self.to_fresh else ""
        remedies = [self.remedy, to_fresh if alone or not asked.none_fresh else ""]
        return "; ".join(filter(None, [self.what, ", or ".join(filter(None, remedies))]))


@dataclass(frozen=True)
class AskedStages:
    """What the user asked of the stages.

    Attributes:
        stages: of the target; None if nothing can be frozen.
        frozen: the frozen ones.
        fresh: the ones to be newly initialised.
        none_fresh: whether the user asked for none, as is also done to score a source untrained.
    """

    stages: StageMap | None = None
    frozen: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    none_fresh: bool = False

    def flags(self, more: Sequence[str]) -> str:
        """Return ``--fresh`` with more stages, and before it the ``--freeze`` that this needs: a frozen stage is not fresh."""
        fresh = tuple(dict.fromkeys([*self.fresh, *more]))
        if self.stages:
            fresh = self.stages.expand(fresh)
            decoder = self.stages.decoder
            if len(decoder) > 1 and set(decoder) <= set(fresh):  # the group's name is shorter
                fresh = (
                    *(name for name in fresh[: fresh.index(decoder[0])]),
                    "decoder",
                    *(fresh[fresh.index(decoder[-1]) + 1 :]),
                )
        return f"{self.thaw(more)} --fresh {','.join(fresh)}".strip()

    def thaw(self, more: Sequence[str] = ()) -> str:
        """Return the ``--freeze`` with which no fresh stage is frozen; empty if none is."""
        names = self.stages.names if self.stages else ()
        both = [name for name in names if name in self.frozen and name in (*self.fresh, *more)]
        if not both or self.stages is None:
            return ""
        if self.frozen == names[: len(self.frozen)]:
            return f"--freeze {names.index(both[0])}"
        return f"--freeze {freeze_text(self.stages, [name for name in self.frozen if name not in both])}"


def refuse_obstacles(obstacles: Iterable[Obstacle], asked: AskedStages) -> None:
    """Raise all obstacles in one error: one in one line, several with the flags that settle all of them together.

    Raises:
        TransferError: if there is any.
    """
    found = list(dict.fromkeys(obstacles))
    lines = [one.line(asked) for one in found]
    if len(lines) == 1:
        raise TransferError(lines[0])
    if lines:
        together = _together(found, asked)
        ending = [f"to settle all of these: {together}"] if together else []
        first = f"{len(lines)} things prevent this transfer:"
        raise TransferError(list_problems(first, [*lines, *ending], shown=40))


def _together(obstacles: Sequence[Obstacle], asked: AskedStages) -> str:
    """Return one set of flags that settles all obstacles; empty if there is none."""
    if any(not (one.flags or one.fresh) for one in obstacles):
        return ""
    needed = [name for one in obstacles if not one.flags for name in one.fresh]
    fresh = {*asked.fresh, *needed}
    flags = [one.flags for one in obstacles if one.flags and not (one.fresh and fresh.issuperset(one.fresh))]
    if asked.stages and fresh.issuperset(asked.stages.names):
        return ""
    stages = asked.flags(needed) if set(needed) - set(asked.fresh) else asked.thaw()
    return " ".join(dict.fromkeys(filter(None, [*flags, stages])))
