"""Search how deep to fine-tune: one more stage per round, from the head inwards, while validation improves (Tajbakhsh 2016)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from monai_tl.study.execute import Engine, execute, run_here
from monai_tl.study.gather import best_of
from monai_tl.study.study_plan import Study, write_study
from monai_tl.training.metrics_table import read_metrics


def search_is_over(means: Sequence[float], gain: float) -> bool:
    """Return whether the last round failed to exceed the best earlier one by more than ``gain``; NaN never exceeds it.

    The search is never over before some round has a Dice above ``gain``.
    """
    before = max((mean for mean in means[:-1] if not math.isnan(mean)), default=-math.inf)
    return before > gain and not means[-1] > before + gain


def search_depth(folder: Path, study: Study, parallel: int = 1, engine: Engine = run_here) -> str:
    """Do the remaining rounds of a search, and record each in ``study.json``.

    Args:
        folder: of the study.
        study: its plan; the arms are ordered from the head inwards.
        parallel: number of runs at a time.
        engine: does the runs.

    Returns:
        The result, a few lines.

    Raises:
        PartlyDoneError: if a run failed, since its round cannot be judged without it.
    """
    rounds: list[tuple[str, float]] = []
    for arm in study.arms:
        runs = [run for run in study.runs if run.arm == arm]
        execute(folder, study, runs, parallel, engine)
        curves = [read_metrics(folder / run.folder / "metrics.csv") for run in runs]
        rounds.append((arm, statistics.fmean(best_of(curve).get("val_dice", math.nan) for curve in curves)))
        over = search_is_over([mean for _, mean in rounds], study.rule["gain"]) or arm == study.arms[-1]
        decision = {"rounds": [{"freeze": arm, "mean_best_dice": _number(mean)} for arm, mean in rounds]}
        if over:
            done = sum(run.arm in dict(rounds) for run in study.runs)
            decision |= {"chosen": _chosen(rounds, study.rule["gain"]), "runs": done, "saved": len(study.runs) - done}  # type: ignore[dict-item]
        write_study(folder, replace(study, decision=decision))
        if over:
            break
    return _format_result(study, rounds)


def _chosen(rounds: Sequence[tuple[str, float]], gain: float) -> str | None:
    """Return the arm of the last round that was an improvement; None if no round has a Dice above ``gain``."""
    means = [mean for _, mean in rounds]
    if not any(mean > gain for mean in means):
        return None
    last = len(rounds) - 1
    return rounds[last - 1 if search_is_over(means, gain) else last][0]


def _format_result(study: Study, rounds: Sequence[tuple[str, float]]) -> str:
    gain, seeds = study.rule["gain"], len(study.seeds)
    done = sum(run.arm in dict(rounds) for run in study.runs)
    lines = [
        f"  freeze {arm}: mean best validation Dice {mean:.3f} over {seeds} seed{'s' * (seeds > 1)}" for arm, mean in rounds
    ]
    chosen = _chosen(rounds, gain)
    if chosen is None:
        none = f"no depth chosen: no round has a mean best validation Dice above {gain:g}, so the depths cannot be ranked"
        return "\n".join([*lines, f"{none}; train for more iterations"])
    ended = "all depths were tried" if len(rounds) == len(study.arms) else f"one more stage gained no more than {gain:g}"
    saved = f"{done} of {len(study.runs)} runs of the full grid done, {len(study.runs) - done} saved"
    return "\n".join([*lines, f"depth chosen: freeze {chosen} ({ended}); {saved}"])


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value  # JSON has no NaN
