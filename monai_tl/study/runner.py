"""Conduct a study: plan it, write the plan, do the runs, gather the tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from monai_tl.errors import ConfigError, PartlyDoneError
from monai_tl.settings.refusals import raise_refusals, refusal
from monai_tl.settings.table import ENGINE
from monai_tl.storage.locks import locked_folder
from monai_tl.study.depth import search_depth
from monai_tl.study.design import Design, design, write_training_sets
from monai_tl.study.estimate import estimate, format_plan
from monai_tl.study.execute import Engine, execute, run_here
from monai_tl.study.gather import gather
from monai_tl.study.ray_engine import run_on_ray
from monai_tl.study.request import Request, plan_in
from monai_tl.study.study_plan import STUDY_FILE, Study, refuse_changed, write_study


@dataclass(frozen=True)
class Conduct:
    """How a study is carried out; its results do not depend on this.

    Attributes:
        folder: of the study.
        parallel: number of runs at a time.
        engine: ``here`` or ``ray``.
        plan_only: print the plan and stop.
    """

    folder: Path
    parallel: int = 1
    engine: str = "here"
    plan_only: bool = False


def conduct(request: Request, how: Conduct) -> None:
    """Plan a study, write the plan, do the runs and gather the tables; an existing study is resumed.

    Raises:
        ConfigError, DataError, TransferError: before anything is written, if the request is invalid or the folder holds
            another study.
        PartlyDoneError: if some runs failed; the tables hold the others.
    """
    raise_refusals([refusal("engine", ENGINE, how.engine)])
    before = plan_in(how.folder)
    begun = before is not None and (how.folder / "runs").is_dir()
    planned = design(request, before if begun else None)
    if before is not None and begun:
        refuse_changed(how.folder, before, planned.study)
    for line in planned.study.overlap.get("said", ()):
        print(line, flush=True)
    if how.plan_only:
        print(format_plan(planned, how.folder, estimate(planned), how.parallel))
        return
    engine = {"here": run_here, "ray": run_on_ray}[how.engine]
    with locked_folder(how.folder, "study"):
        if plan_in(how.folder) != before:
            raise ConfigError(f"another process has just changed the study in '{how.folder}'; repeat the command")
        _begin(how.folder, planned, before, begun)
        try:
            _run(how.folder, planned.study, how.parallel, engine)
        except (PartlyDoneError, KeyboardInterrupt):
            _gather(how.folder)
            raise
        _gather(how.folder)


def _begin(folder: Path, planned: Design, before: Study | None, begun: bool) -> None:
    """Write the plan and the training sets before the first run; an earlier plan without any run is replaced."""
    if before is not None and not begun:
        for name in {run.datalist for run in before.runs}:
            (folder / name).unlink(missing_ok=True)
    if before != planned.study:
        write_study(folder, planned.study)
    write_training_sets(folder, planned)
    study = planned.study
    grid = f"{len(study.arms)} arms × {len(study.sizes)} sizes × {len(study.seeds)} seeds"
    print(f"{folder}: {len(study.runs)} runs ({grid}), planned in {STUDY_FILE}", flush=True)


def _run(folder: Path, study: Study, parallel: int, engine: Engine) -> None:
    if study.rule:
        print(search_depth(folder, study, parallel, engine))
    else:
        execute(folder, study, study.runs, parallel, engine)


def _gather(folder: Path) -> None:
    tables = gather(folder)
    scored = f", scored by {tables.scored}" if tables.finished else ""
    tables_at = f"{folder / 'scores.csv'}, runs.csv, curves.csv"
    print(f"{tables.finished} of {tables.runs} runs finished{scored}: {tables_at}", flush=True)
