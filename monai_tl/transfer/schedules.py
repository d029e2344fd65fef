"""Build the schedules of published strategies, scaled to the iterations of a training.

In all of them, what the strategy freezes at first is trained in the last phase. Optimiser states are kept from phase to phase.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from monai_tl.errors import ConfigError, did_you_mean
from monai_tl.networks.stage_map import StageMap
from monai_tl.settings.table import refuse_settings
from monai_tl.transfer.phases import Phase, Schedule

WARM_UP = 0.1  # OpenMind: 15 of 150 epochs; 50 of 1000 are 0.05


def warmup(stages: StageMap, iterations: int, warm_up: float = WARM_UP, always: Sequence[str] = ()) -> Schedule:
    """Return full fine-tuning: linear warm-up of all weights, then polynomial decay (OpenMind, arXiv 2412.17041).

    Args:
        stages: of the network.
        iterations: of the training.
        warm_up: fraction of the iterations in which the learning rate rises.
        always: has no effect here, as all stages are always trained.

    Raises:
        ConfigError: for an invalid number.

    Example:
        >>> from monai_tl.networks.stage_map import StageMap
        >>> from monai_tl.transfer.schedules import warmup
        >>> print(warmup(StageMap({"body": ["body"], "head": ["head"]}), 4000))
        warmup, 4000 iterations
          iterations 1–4000: body, head; learning rate rises until 400, then falls to 0 (poly)
    """
    refuse_settings(iterations=iterations, warm_up=warm_up)
    return Schedule("warmup", (Phase(1, iterations, stages.names, round(warm_up * iterations)),))


def valley(stages: StageMap, iterations: int, warm_up: float = WARM_UP, always: Sequence[str] = ()) -> Schedule:
    """Return the decoder alone with a learning rate that falls to 0, then warm-up and polynomial decay of all (OpenMind).

    Args:
        stages: of the network; in one without a decoder, the head alone is trained first.
        iterations: of the training.
        warm_up: fraction of the iterations in which the decoder is trained alone, and, again, in which the learning rate of
            all weights rises.
        always: stages that are trained from the beginning, as they hold new weights: fresh ones, new input channels.

    Raises:
        ConfigError: for an invalid number, or if the network has no other stages.
        TransferError: for an unknown stage.

    Example:
        >>> from monai_tl.networks.stage_map import StageMap
        >>> from monai_tl.transfer.schedules import valley
        >>> unet = StageMap({"down": ["down"], "up": ["up"], "head": ["head"]}, decoder=("up",))
        >>> print(valley(unet, 4000))
        valley, 4000 iterations
          iterations 1–400: up, head; learning rate falls to 0 (poly)
          iterations 401–4000: down, up, head; learning rate rises until 800, then falls to 0 (poly)
    """
    return _decoder_first("valley", stages, iterations, warm_up, always)


def sawtooth(stages: StageMap, iterations: int, warm_up: float = WARM_UP, always: Sequence[str] = ()) -> Schedule:
    """Return `valley` with a warm-up of the decoder too, in the first half of its own iterations (OpenMind's code)."""
    return _decoder_first("sawtooth", stages, iterations, warm_up, always)


def gradual(stages: StageMap, iterations: int, warm_up: float = WARM_UP, always: Sequence[str] = ()) -> Schedule:
    """Return gradual unfreezing: first the head, then one more stage in each phase, from the last to the first.

    Phases are equally long. In each, the learning rate rises and falls linearly (Howard and Ruder 2018, arXiv 1801.06146).

    Args:
        stages: of the network.
        iterations: of the training.
        warm_up: fraction of each phase in which the learning rate rises.
        always: stages that are trained from the beginning, with the head.

    Raises:
        ConfigError: for an invalid number, or fewer iterations than phases.
        TransferError: for an unknown stage.

    Example:
        >>> from monai_tl.networks.stage_map import StageMap
        >>> from monai_tl.transfer.schedules import gradual
        >>> print(gradual(StageMap({"a": ["a"], "b": ["b"], "head": ["head"]}), 300))
        gradual, 300 iterations
          iterations 1–100: head; learning rate rises until 10, then falls to 0 (linear)
          iterations 101–200: b, head; learning rate rises until 110, then falls to 0 (linear)
          iterations 201–300: a, b, head; learning rate rises until 210, then falls to 0 (linear)
    """
    refuse_settings(iterations=iterations, warm_up=warm_up)
    trained = [_first(stages, (stages.head, *always), "gradual")]
    for name in reversed(stages.names):
        if name not in trained[0]:
            trained.append(stages.expand([*trained[-1], name]))
    count = len(trained)
    if iterations < count:
        raise ConfigError(
            f"gradual needs {count} iterations or more, one for each phase, not {iterations}; set more iterations"
        )
    ends = [iterations * (k + 1) // count for k in range(count)]
    begins = [1, *(end + 1 for end in ends)]
    phases = (
        Phase(first, last, names, round(warm_up * (last - first + 1)), "linear")
        for first, last, names in zip(begins, ends, trained, strict=False)
    )
    return Schedule("gradual", tuple(phases))


Builder = Callable[[StageMap, int, float, Sequence[str]], Schedule]
SCHEDULES: dict[str, Builder] = {"warmup": warmup, "valley": valley, "sawtooth": sawtooth, "gradual": gradual}
"""By the name of the strategy."""


def build_schedule(
    name: str, stages: StageMap, iterations: int, warm_up: float = WARM_UP, always: Sequence[str] = ()
) -> Schedule:
    """Return the schedule of a strategy by its name, see `SCHEDULES`.

    Raises:
        ConfigError: for an unknown name, or as the strategy's function does.

    Example:
        >>> from monai_tl import HighRes3DNet, stages
        >>> from monai_tl.transfer.schedules import build_schedule
        >>> build_schedule("valley", stages(HighRes3DNet(1, 2)), 100).note
        'this network has no decoder: the head, conv_2, is trained alone first'
    """
    if name not in SCHEDULES:
        raise ConfigError(f"no schedule is called '{name}': {did_you_mean(name, SCHEDULES)}")
    return SCHEDULES[name](stages, iterations, warm_up, always)


def _decoder_first(name: str, stages: StageMap, iterations: int, warm_up: float, always: Sequence[str]) -> Schedule:
    """Return a phase of the decoder and head, in `sawtooth` with a warm-up, then one of all stages."""
    refuse_settings(iterations=iterations, warm_up=warm_up)
    if not 0 < warm_up < 0.5:
        raise ConfigError(
            f"{name} trains the decoder alone in the fraction warm_up of the iterations, and all weights with a rising rate in "
            f"as many: warm_up must be above 0 and below 0.5, not {warm_up}"
        )
    rising = name == "sawtooth"
    alone, rise = max(round(warm_up * iterations), 1 + rising), max(round(warm_up * iterations), 1)
    if iterations <= alone + rise:
        raise ConfigError(f"{name} needs {alone + rise + 1} iterations or more, not {iterations}; set more iterations")
    first = Phase(1, alone, _first(stages, (*stages.decoder, stages.head, *always), name), alone // 2 if rising else 0)
    note = "" if stages.decoder else f"this network has no decoder: the head, {stages.head}, is trained alone first"
    return Schedule(name, (first, Phase(alone + 1, iterations, stages.names, rise)), note)


def _first(stages: StageMap, names: Sequence[str], schedule: str) -> tuple[str, ...]:
    """Return the stages of the first phase, in order; refuse all stages."""
    trained = stages.expand(names)
    if len(trained) == len(stages):
        raise ConfigError(
            f"{schedule} would freeze nothing: all stages ({', '.join(trained)}) are trained from the beginning; "
            "choose warmup, which trains all stages"
        )
    return trained
