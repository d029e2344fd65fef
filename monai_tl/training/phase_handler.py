"""Freeze and unfreeze stages during a training, as a schedule says, and prove that frozen values did not change."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ignite.engine import Engine, Events
from torch import nn

from monai_tl.errors import ConfigError
from monai_tl.networks.stages import parts_of_stages, stages
from monai_tl.settings.table import refuse_settings
from monai_tl.training.phase_record import PHASES, FrozenInterval, phases_before, write_phases
from monai_tl.transfer.freeze import frozen_sha256
from monai_tl.transfer.phase_freeze import stages_frozen
from monai_tl.transfer.phases import Phase, Schedule

logger = logging.getLogger(__name__)


class FollowPhases:
    """Handler for the trainer that freezes what a phase does not train, and writes ``phases.csv`` with the proof.

    What is frozen depends on the trainer's iteration alone, so a resumed training continues exactly. A stage that was frozen
    before stays so in all phases. When the training ends, also early, only that is frozen.

    The optimiser is given all weights that are ever trained, so it is built before the first iteration.

    Args:
        run_dir: run folder.
        network: the network that the trainer trains, with the stages that `monai_tl.networks.stages.stages` lists.
        schedule: phases that cover all iterations of the trainer.
        norm: statistics of frozen stages, ``freeze`` or ``track``, see `monai_tl.transfer.freeze.freeze`.

    Raises:
        ConfigError: for an unknown ``norm``, or if a phase trains a stage that the network lacks, or nothing that is trainable.
    """

    def __init__(self, run_dir: str | Path, network: nn.Module, schedule: Schedule, norm: str = "freeze") -> None:
        """Check the schedule; nothing is written or frozen yet."""
        refuse_settings(norm=norm)
        self.run_dir, self.network, self.schedule, self.norm = Path(run_dir), network, schedule, norm
        self.stages = stages(network)
        for phase in schedule.phases:
            if not self._trainable(self.stages.expand(phase.trained)):
                raise ConfigError(f"nothing is trainable in the {schedule.name} schedule's {phase}: these stages are frozen")
        self.rows: list[FrozenInterval] | None = None
        self.current: FrozenInterval | None = None
        self.frozen = ExitStack()

    def attach(self, trainer: Engine) -> None:
        """Register on the trainer.

        Raises:
            ConfigError: if the schedule has another number of iterations.
        """
        planned = (trainer.state.max_epochs or 0) * (trainer.state.epoch_length or 0)
        if planned and planned != self.schedule.iterations:
            raise ConfigError(
                f"schedule {self.schedule.name} covers {self.schedule.iterations} iterations, but the training has {planned}; "
                "build the schedule for as many"
            )
        trainer.add_event_handler(Events.ITERATION_STARTED, self.begin)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self.end)
        trainer.add_event_handler(Events.COMPLETED, self.end, early=True)

    def begin(self, trainer: Engine) -> None:
        """In the first iteration of a phase, or of a resumed training, freeze what the phase does not train.

        Raises:
            DataError: if a resumed training's ``phases.csv`` is missing or damaged.
            RuntimeError: if frozen values are not those with which a resumed phase began.
        """
        if self.current is not None:
            return
        iteration = trainer.state.iteration
        if self.rows is None:
            self.rows = phases_before(self.run_dir, iteration)
        phase = self.schedule.phase_at(iteration)
        trained = self.stages.expand(phase.trained)
        self.frozen.enter_context(
            stages_frozen(self.network, [name for name in self.stages if name not in trained], norm=self.norm)
        )
        self.current = self._interval(phase, iteration)
        logger.info("%s", phase)

    def end(self, trainer: Engine, *, early: bool = False) -> None:
        """After the last iteration of a phase, or of a training that stops early, check and release what was frozen.

        Raises:
            RuntimeError: if a frozen value changed, which invalidates the run.
        """
        iteration = trainer.state.iteration
        if self.current is None or not (early or iteration == self.current.last):
            return
        assert self.rows is not None
        self.rows[-1] = replace(self.current, last=iteration, sha256_end=frozen_sha256(self.network))
        self.current = None
        self.frozen.close()
        write_phases(self.run_dir, self.rows)
        self._refuse_change(self.rows[-1])
        logger.info("%s", self.rows[-1])

    def _interval(self, phase: Phase, iteration: int) -> FrozenInterval:
        """Return the row of the phase: the one with which it began before a resume, or a new one, which is written."""
        assert self.rows is not None
        sha256 = frozen_sha256(self.network)
        if self.rows and self.rows[-1].first >= phase.first:
            resumed = self.rows.pop()
            self._refuse_change(replace(resumed, last=iteration - 1, sha256_end=sha256))
            row = replace(resumed, last=phase.last, sha256_end="")
        else:
            trained = self._trainable(tuple(self.stages))
            frozen = [name for name in self.stages if name not in trained]
            row = FrozenInterval(iteration, phase.last, "+".join(trained), "+".join(frozen), sha256, "")
        self.rows.append(row)
        write_phases(self.run_dir, self.rows)
        return row

    def _refuse_change(self, row: FrozenInterval) -> None:
        if not row.is_proven:
            raise RuntimeError(
                f"weights that were frozen in iterations {row.first}–{row.last} ({row.frozen}) have changed, see {PHASES} in "
                f"'{self.run_dir}': do not use this run, and report it as a bug"
            )

    def _trainable(self, names: tuple[str, ...]) -> list[str]:
        """Return which stages have a weight that requires a gradient."""
        named = list(self.network.named_parameters(remove_duplicate=False))
        weights = ((name, parts_of_stages(named, self.stages, [name]).values()) for name in names)
        return [name for name, own in weights if any(weight.requires_grad for weight in own)]
