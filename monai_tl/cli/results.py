"""Verbs about what came out: comparison, report."""

from __future__ import annotations

from pathlib import Path

from monai_tl.report.page import write_report
from monai_tl.study.compare import compare as compare_runs
from monai_tl.study.compare import format_comparison


def compare(*runs: str, split: str = "test", seed: int = 0) -> None:
    """Compare scored runs on the same cases, each with the first: RUN RUN … [--split test]."""
    print(format_comparison(compare_runs([Path(run) for run in runs], split=split, seed=seed)))


def report(*, runs: str, split: str = "test", output: str | None = None) -> None:
    """Show all runs below a folder in one HTML page: --runs DIR [--split test] [--output DIR/report.html]."""
    written = write_report(Path(runs), split=split, output=Path(output) if output else None)
    told = f"{written.runs} run{'s' * (written.runs != 1)}, {written.evaluated} of them evaluated on {split}"
    print(f"{written.page}: {told}; figures in {written.figures}")
