"""A training in phases, as a value: which stages are trained in which iterations, and by which factor on the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from monai_tl.errors import ConfigError, did_you_mean

EXPONENT = 0.9  # of nnU-Net's polynomial decay
CURVES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "linear": lambda done: 1.0 - done,
    "poly": lambda done: (1.0 - done) ** EXPONENT,
    "cosine": lambda done: 0.5 * (1.0 + math.cos(math.pi * done)),
}
"""The factor on the learning rate after the warm-up, from the fraction of these iterations that is done: 1 at 0; all but
``constant`` fall to 0 at 1."""


@dataclass(frozen=True)
class Phase:
    """Consecutive iterations in which the same stages are trained.

    Attributes:
        first, last: first and last iteration, both included; the first iteration of a training is 1.
        trained: names of the trained stages; all others are frozen.
        warm_up: iterations in which the learning rate rises linearly: to 1/``warm_up`` in the first, to 1 in the last.
        curve: how the rate changes after the warm-up, see `CURVES`. It starts at 1, and would reach its end in the iteration
            after ``last``, so that no iteration has a rate of 0.

    Raises:
        ConfigError: for iterations that are none, an unknown curve, or no trained stage.

    Example:
        >>> from monai_tl.transfer.phases import Phase
        >>> phase = Phase(first=11, last=20, trained=("head",), warm_up=5, curve="linear")
        >>> [round(phase.factor(iteration), 2) for iteration in (11, 15, 16, 20)]
        [0.2, 1.0, 1.0, 0.2]
        >>> print(phase)
        iterations 11–20: head; learning rate rises until 15, then falls to 0 (linear)
    """

    first: int
    last: int
    trained: tuple[str, ...]
    warm_up: int = 0
    curve: str = "poly"

    def __post_init__(self) -> None:
        """Refuse a phase that cannot be."""
        object.__setattr__(self, "trained", tuple(self.trained))
        where = f"phase of iterations {self.first}–{self.last}"
        if not 1 <= self.first <= self.last:
            raise ConfigError(f"{where}: needed is a first iteration from 1, and a last one that does not precede it")
        if not 0 <= self.warm_up <= self.length:
            raise ConfigError(f"{where}: a warm-up of {self.warm_up} iterations does not fit; needed is 0 to {self.length}")
        if self.curve not in CURVES:
            raise ConfigError(f"{where}: no curve is called '{self.curve}': {did_you_mean(self.curve, CURVES)}")
        if not self.trained:
            raise ConfigError(f"{where}: no stage is trained; name one or more")

    @property
    def length(self) -> int:
        """Number of iterations."""
        return self.last - self.first + 1

    def factor(self, iteration: int) -> float:
        """Return the factor on the learning rate of the trained stages, above 0 to 1."""
        done = iteration - self.first
        if done < self.warm_up:
            return (done + 1) / self.warm_up
        return CURVES[self.curve]((done - self.warm_up) / max(self.length - self.warm_up, 1))

    def __str__(self) -> str:
        """Return the phase in one line: its iterations, trained stages and learning rate."""
        fall = "constant" if self.curve == "constant" else f"falls to 0 ({self.curve})"
        rise = f"rises until {self.first + self.warm_up - 1}" if self.warm_up else ""
        rate = ", then ".join(part for part in (rise, fall if self.warm_up < self.length else "") if part)
        return f"iterations {self.first}–{self.last}: {', '.join(self.trained)}; learning rate {rate}"


@dataclass(frozen=True)
class Schedule:
    """The phases of a training, which cover all its iterations, each once.

    Attributes:
        name: of the strategy, e.g. ``"valley"``.
        phases: in order; the first one begins at iteration 1, the last one ends with the training.
        note: what is special for this network, in words; else empty.

    Raises:
        ConfigError: if there is no phase, or if an iteration is in none or in two.

    Example:
        >>> from monai_tl.transfer.phases import Phase, Schedule
        >>> schedule = Schedule("valley", (Phase(1, 40, ("head",)), Phase(41, 400, ("body", "head"), warm_up=40)))
        >>> schedule.iterations, schedule.phase_at(41).trained
        (400, ('body', 'head'))
        >>> schedule.factor(40, "body"), schedule.factor(80, "body")
        (0.0, 1.0)
        >>> print(schedule)
        valley, 400 iterations
          iterations 1–40: head; learning rate falls to 0 (poly)
          iterations 41–400: body, head; learning rate rises until 80, then falls to 0 (poly)
    """

    name: str
    phases: tuple[Phase, ...]
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse phases with a gap or an overlap."""
        object.__setattr__(self, "phases", tuple(self.phases))
        if not self.phases or self.phases[0].first != 1:
            raise ConfigError(f"schedule {self.name}: no phase begins at iteration 1")
        for before, after in pairwise(self.phases):
            if after.first != before.last + 1:
                raise ConfigError(
                    f"schedule {self.name}: a phase ends with iteration {before.last} and the next begins at {after.first}; "
                    f"it must begin at {before.last + 1}"
                )

    @property
    def iterations(self) -> int:
        """Number of iterations of the training."""
        return self.phases[-1].last

    @property
    def stages(self) -> tuple[str, ...]:
        """Stages that are trained in some phase."""
        return tuple(dict.fromkeys(name for phase in self.phases for name in phase.trained))

    @property
    def settled_after(self) -> int:
        """Iterations before the last phase, in which early stopping would end the training before all stages were trained."""
        return self.phases[-1].first - 1

    def phase_at(self, iteration: int) -> Phase:
        """Return the phase of an iteration.

        Raises:
            ConfigError: for an iteration outside the training.
        """
        for phase in self.phases:
            if phase.first <= iteration <= phase.last:
                return phase
        raise ConfigError(f"schedule {self.name} has iterations 1–{self.iterations}, not {iteration}")

    def factor(self, iteration: int, stage: str) -> float:
        """Return the factor on a stage's learning rate: 0 while it is frozen.

        Args:
            iteration: 1 to ``iterations``, or the one after it, for which schedulers ask at the end.
            stage: name of the stage.
        """
        phase = self.phases[-1] if iteration == self.iterations + 1 else self.phase_at(iteration)
        return phase.factor(iteration) if stage in phase.trained else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, as in ``transfer_report.json``."""
        phases = [{**asdict(phase), "trained": list(phase.trained)} for phase in self.phases]
        return {"name": self.name, "iterations": self.iterations, "phases": phases, "note": self.note}

    def __str__(self) -> str:
        """Return a line for the schedule and one for each phase."""
        note = [self.note] if self.note else []
        return "\n  ".join([f"{self.name}, {self.iterations} iterations", *map(str, self.phases), *note])
