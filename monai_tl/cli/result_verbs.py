"""Verbs for results: comparison and report."""

from __future__ import annotations

from pathlib import Path

from monai_tl.cli.arguments import MetricName, Seed, Split
from monai_tl.errors import ConfigError
from monai_tl.text import name_some, plural


def compare(*runs: str, split: Split = "test", metric: MetricName = "dice", region: str = "", seed: Seed = 0) -> None:
    """Compare scored runs with the first one, on the same cases: RUN RUN … [--split test] [--metric hd95] [--region NAME].

    The metric must have been scored (`monai_tl evaluate --metrics dice,hd95,nsd`). Without --region, runs are compared by the
    mean over all regions.
    """
    from monai_tl.evaluation.score_files import refuse_unscored

    refuse_unscored(runs, split)
    from monai_tl.evaluation.compare import compare_runs as compare_runs
    from monai_tl.evaluation.comparison_text import format_comparison

    found = compare_runs([Path(run) for run in runs], split, seed=seed, metric=metric, region=region)
    print(format_comparison(found))


def report(
    *study: str,
    runs: str | None = None,
    split: Split | None = None,
    metric: MetricName = "dice",
    region: str = "",
    output: str | None = None,
) -> None:
    """Write one HTML page about a study or about all runs in a folder: STUDY or --runs DIR [--split test] [--output FILE].

    Runs are compared, and a study is evaluated, by --metric and --region; by default by Dice, mean over all regions. Figures
    and tables are written next to the page, in a folder of the same name that ends in _files.
    """
    if len(study) + (runs is not None) != 1:
        raise ConfigError("report takes one study folder (monai_tl report STUDY), or a folder of any runs (--runs DIR)")
    page = Path(output) if output else None
    if runs is not None:
        _report_runs(Path(runs), split or "test", metric, region, page)
        return
    if split is not None:
        raise ConfigError("a study is scored on its test split: omit --split, or name a folder of runs by --runs DIR")
    from monai_tl.report.study.study_place import refuse_no_study

    refuse_no_study(Path(study[0]))
    from monai_tl.report.study.study_page import write_study_report

    written = write_study_report(Path(study[0]), output=page, metric=metric, region=region)
    runs_shown = f"{plural(written.runs, 'run')}, {written.finished} finished, by {written.label}"
    print(f"{written.page}: {runs_shown}; figures and tables in {written.files}")


def _report_runs(folder: Path, split: str, metric: str, region: str, output: Path | None) -> None:
    from monai_tl.report.runs.find_runs import find_runs

    find_runs(folder, split)
    from monai_tl.report.runs.runs_page import write_report

    written = write_report(folder, split=split, metric=metric, region=region, output=output)
    by = f" by {metric}{f' in {region}' if region else ''}" if metric != "dice" or region else ""
    left = f"; not compared, as the page explains: {name_some(written.refused)}" if written.refused else ""
    scored = f"{plural(written.runs, 'run')}, {written.scored} of them scored{by} on {split}"
    print(f"{written.page}: {scored}{left}; figures in {written.figures}")
