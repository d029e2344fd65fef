"""Verbs about what came out: comparison, report."""

from __future__ import annotations

from pathlib import Path

from monai_tl.cli.arguments import Seed, Split
from monai_tl.errors import ConfigError


def compare(*runs: str, split: Split = "test", seed: Seed = 0) -> None:
    """Compare scored runs on the same cases, each with the first: RUN RUN … [--split test]."""
    from monai_tl.evaluation.score_files import refuse_unscored

    refuse_unscored(runs, split)
    from monai_tl.evaluation.compare import compare_runs as compare_runs
    from monai_tl.evaluation.compare import format_comparison

    print(format_comparison(compare_runs([Path(run) for run in runs], split=split, seed=seed)))


def report(*study: str, runs: str | None = None, split: Split | None = None, output: str | None = None) -> None:
    """Show a study in one HTML page, STUDY [--output FILE], or all runs below a folder, --runs DIR [--split test].

    Without --output the page is report.html in that folder; figures and tables lie beside it in report_files.
    """
    if len(study) + (runs is not None) != 1:
        raise ConfigError("report takes one study folder (monai_tl report STUDY), or a folder of any runs (--runs DIR)")
    page = Path(output) if output else None
    if runs is not None:
        _report_runs(Path(runs), split or "test", page)
        return
    if split is not None:
        raise ConfigError("a study is scored on its test split: leave --split away, or name runs by --runs DIR")
    from monai_tl.report.study.study_place import refuse_no_study

    refuse_no_study(Path(study[0]))
    from monai_tl.report.study.study_page import write_study_report

    told = write_study_report(Path(study[0]), output=page)
    print(f"{told.page}: {told.runs} run{'s' * (told.runs != 1)}, {told.finished} finished; figures and tables in {told.files}")


def _report_runs(folder: Path, split: str, output: Path | None) -> None:
    from monai_tl.report.runs.find_runs import find_runs

    find_runs(folder, split)
    from monai_tl.report.runs.runs_page import write_report

    written = write_report(folder, split=split, output=output)
    told = f"{written.runs} run{'s' * (written.runs != 1)}, {written.evaluated} of them evaluated on {split}"
    print(f"{written.page}: {told}; figures in {written.figures}")
