"""Choose the runs and cases that are shown as pictures: the best, the median and the worst case of a run."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from monai_tl.evaluation.metrics import METRICS, Metric
from monai_tl.evaluation.scores import Score
from monai_tl.report.kit.figures import FEW_RUNS, mark
from monai_tl.report.runs.groups import Group
from monai_tl.report.runs.read_runs import Run

WIDEST = 800  # largest width of an overlay in the page, in pixels
RUNS_SHOWN = 16  # runs with pictures in the whole page


def choose_cases(scores: Sequence[Score], metric: Metric = METRICS["dice"]) -> list[tuple[str, Score]]:
    """Return the best, the median (the worse of two) and the worst of the defined cases; fewer if fewer than 3 exist."""
    sign = -1 if metric.higher_is_better else 1
    ranked = sorted(
        (score for score in scores if not math.isnan(score.values[metric.name])),
        key=lambda score: (sign * score.values[metric.name], score.subject),
    )
    if len(ranked) < 3:
        return list(zip(("best", "worst") if len(ranked) == 2 else ("only",), ranked, strict=False))
    return [("best", ranked[0]), ("median", ranked[len(ranked) // 2]), ("worst", ranked[-1])]


def choose_runs(groups: Sequence[Group]) -> list[tuple[Run, ...]]:
    """Return for each group the runs whose cases are shown.

    All runs of a small group; of a large one the reference and the runs with the best, median and worst mean; at most
    `RUNS_SHOWN` in total.
    """
    chosen, left = [], RUNS_SHOWN
    for group in groups:
        runs = group.scored
        if len(runs) > FEW_RUNS:
            ranked = [result.name for result in group.ranked]
            picked = {runs[0].name, *(ranked[at] for at in (0, len(ranked) // 2, -1) if ranked)}
            runs = tuple(run for run in runs if run.name in picked)
        chosen.append(runs[:left])
        left -= len(chosen[-1])
    return chosen


def read_overlay(path: Path) -> bytes | None:
    """Return a picture as PNG, reduced to at most `WIDEST` pixels; None if it cannot be read."""
    try:
        with Image.open(path) as picture:
            shown = picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    shown.thumbnail((WIDEST, WIDEST))
    file = io.BytesIO()
    shown.save(file, "PNG", optimize=True, pnginfo=mark())
    return file.getvalue()
