"""Comparisons of runs as text for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from monai_tl.evaluation.compare import FEW, Comparison, Interval, RunDifference
from monai_tl.evaluation.metrics import Metric
from monai_tl.text import signed


def format_comparison(comparison: Comparison) -> str:
    """Return a comparison as text for the terminal: a table of the runs, then a sentence for each difference."""
    metric = comparison.metric
    unit = f", {metric.unit}" if metric.unit else ""
    name = f"{metric.label}{unit}"
    rows = [("run", "cases", "undefined", f"mean {name}", "95 % interval", "median", "volume bias")]
    for run in comparison.runs:
        values = (f"{run.mean:.3f}", interval_text(run.interval), f"{run.median:.3f}")
        rows.append((run.name, str(run.n), str(run.undefined), *values, str(run.bias)))
    over = f" of {comparison.region}" if comparison.region else ", mean over regions" if comparison.by_region else ""
    better = "" if metric.higher_is_better else " (lower is better)"
    what = f"{metric.label[:1].upper()}{metric.label[1:]}{over}{better}"
    lines = [f"{what} on the {comparison.split} split" + (f", {comparison.data}" if comparison.data else "")]
    lines += _aligned(rows)
    if comparison.by_region:
        means = [(region, *(f"{of[run.name]:.3f}" for run in comparison.runs)) for region, of in comparison.by_region.items()]
        lines += ["", *_aligned([(f"mean {name}", *(run.name for run in comparison.runs)), *means])]
    if comparison.differences:
        lines += ["", *(_sentence(difference, metric) for difference in comparison.differences)]
    lines += ["", *comparison.notes] if comparison.notes else []
    if min(run.n - run.undefined for run in comparison.runs) < FEW:
        lines += ["", f"Fewer than {FEW} cases: a single unusual case may decide, so interpret the intervals with care."]
    return "\n".join(lines)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows of a table as lines: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join([name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))])
        for name, *cells in rows
    ]


def _sentence(difference: RunDifference, metric: Metric) -> str:
    pair = f"{difference.name} − {difference.first}"
    left_out = f" ({difference.left_out} omitted as undefined)" if difference.left_out else ""
    if not difference.n:
        return f"{pair}: no case is defined in both{left_out}"
    cases = f"over {difference.n} case{'s' if difference.n > 1 else ''}{left_out}"
    low, high = difference.interval.low, difference.interval.high
    if difference.verdict == "too few cases":
        return f"{pair}: {signed(difference.mean)} {cases}: too few for an interval"
    if difference.verdict == "no clear difference":
        verdict = "the interval contains 0, so these cases do not separate the two runs"
    else:
        way = "" if metric.higher_is_better else ", which is " + ("better" if difference.verdict == "lower" else "worse")
        verdict = f"the interval excludes 0: {difference.name} scores {difference.verdict} on these cases{way}"
    return f"{pair}: {signed(difference.mean)} [{signed(low)}, {signed(high)}] {cases}: {verdict}"


def interval_text(ends: Interval) -> str:
    """Return an interval as text, as `monai_tl compare` prints it."""
    return "none" if not ends.known else f"[{ends.low:.3f}, {ends.high:.3f}]"


def signed_interval_text(ends: Interval) -> str:
    """Return the interval of a difference as text, as `monai_tl compare` prints it."""
    return "none" if not ends.known else f"[{signed(ends.low)}, {signed(ends.high)}]"
