"""Study folders with made-up scores, written by the package's own writers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from monai_tl.evaluation.scores import Score
from monai_tl.storage.files import write_json
from monai_tl.storage.tables import write_table
from monai_tl.study.study_plan import PlannedRun, Study, write_study
from monai_tl.study.study_tables import CurveRow, RunRow, read_study_scores, write_study_scores
from tests.conftest import BRATS
from tests.report.conftest import VERSIONS, draw_overlay

ARMS = ("scratch", "0", "1", "2", "3", "random2")
GAIN = {"scratch": 0.0, "0": 0.05, "1": 0.06, "2": 0.03, "3": -0.05, "random2": -0.09}  # in Dice
NAN = math.nan
ITERATIONS = tuple(range(50, 501, 50))


def made_scores(arms, sizes, seeds, subjects, regions=("",), nsd=False):
    """Scores of each run, in which cases differ most, then arms, sizes and seeds; each further region has a lower Dice.

    With several regions, distances decrease with Dice, and a region that is not found has none.
    """
    rng = np.random.default_rng(0)
    hard = {subject: rng.uniform(-0.25, 0.15) for subject in subjects}
    scores = {}
    for arm in arms:
        for n in sizes:
            for seed in seeds:
                level = 0.55 + 0.06 * math.log2(n / sizes[0]) + GAIN.get(arm, -0.2) + rng.normal(0, 0.01)
                scores[arm, n, seed] = tuple(
                    made_score(subject, region, float(np.clip(level - lower + hard[subject] + rng.normal(0, 0.03), 0, 1)), nsd)
                    for subject in subjects
                    for region, lower in zip(regions, (0.0, 0.3, 0.2), strict=False)
                )
    return scores


def made_score(subject, region, dice, nsd):
    hd95 = 5.0 if not region else 30 * (1 - dice) if dice else NAN
    return Score(subject, {"dice": dice, "hd95": hd95, **({"nsd": dice**0.5} if nsd else {})}, 2.0, 2.0 * dice, NAN, region)


def change_scores(folder, change):
    """Replace each score of a study by what a function of run and score returns."""
    scores = read_study_scores(folder / "scores.csv")
    write_study_scores(folder / "scores.csv", {run: [change(run, score) for score in of] for run, of in scores.items()})


def curve_rows(arms, sizes, seeds):
    rng = np.random.default_rng(1)
    rows = []
    for arm in arms:
        for n in sizes:
            for seed in seeds:
                top = 0.5 + GAIN.get(arm, -0.2) + rng.normal(0, 0.02)
                for at in ITERATIONS:
                    learned = 1 - math.exp(-at / (220 if arm == "scratch" else 130))
                    rows.append(CurveRow(arm, n, seed, at, 2.0 * at, 1 - 0.7 * learned + rng.normal(0, 0.02), top * learned))
    return rows


def run_rows(arms, sizes, seeds, curves, left_out=(), training_dice=NAN):
    """A run for each; those in ``left_out`` (arm, n, seed -> state) have not finished."""
    own = {}
    for row in curves:
        own.setdefault((row.arm, row.n, row.seed), []).append(row)
    rows = []
    for arm in arms:
        for n in sizes:
            for seed in seeds:
                state = dict(left_out).get((arm, n, seed), "finished")
                folder = f"runs/{arm}_n{n}_seed{seed}"
                curve = own.get((arm, n, seed), [])
                if state != "finished" or not curve:
                    fault = "out of memory: lower --batch_size" if state == "failed" else ""
                    rows.append(RunRow(arm, n, seed, folder, state, 0, *[NAN] * 10, fault))
                    continue
                best = max(curve, key=lambda row: row.val_dice)
                goal = 0.9 * max((row.val_dice for row in own.get(("scratch", n, seed), [])), default=NAN)
                hit = next((row for row in curve if row.val_dice >= goal), None)
                area = sum(row.val_dice for row in curve) / len(curve)
                reached = (hit.iteration, hit.seconds) if hit else (NAN, NAN)
                best_at = (best.val_dice, best.iteration, best.seconds)
                rest = (area, 1.9, 900.0, training_dice, "")
                rows.append(RunRow(arm, n, seed, folder, state, 500, 1000.0, *best_at, *reached, *rest))
    return rows


def write_made_study(
    folder, *, arms=ARMS, sizes=(26, 52), seeds=(0, 1, 2), cases=12, subjects=None, left_out=(), overlays=False,
    plan=None, training_dice=NAN, regions=("",), nsd=False,
):  # fmt: skip
    """Write a study folder; runs in ``left_out`` (arm, n, seed -> state) have not finished."""
    subjects = subjects or [f"Brats18_{n:03}" for n in range(cases)]
    gone = dict(left_out)
    scores = {run: of for run, of in made_scores(arms, sizes, seeds, subjects, regions, nsd).items() if run not in gone}
    curves = [row for row in curve_rows(arms, sizes, seeds) if (row.arm, row.n, row.seed) not in gone]
    runs = run_rows(arms, sizes, seeds, curves, left_out, training_dice)
    write_study_scores(folder / "scores.csv", scores)
    write_table(folder / "curves.csv", CurveRow, curves)
    write_table(folder / "runs.csv", RunRow, runs)
    planned = [
        PlannedRun(f"{r.arm}_n{r.n}_seed{r.seed}", r.arm, r.n, r.seed, r.folder, f"datalists/seed{r.seed}_n{r.n}.json", {})
        for r in runs
    ]
    source = {"path": "/w/source", "sha256": "ab" * 32}
    listed = {"path": "/data/datalist.json", "sha256": "cd" * 32}
    defaults = {"kind": "size", "target": str(BRATS), "source": source, "configs": {}, "datalist": listed}
    defaults |= {"settings": {"iterations": 500, "window": [48, 48, 48]}, "rule": {}, "threads": 1, "volumes_ml": {}}
    defaults |= {"metrics": ("dice", "hd95", "nsd") if nsd else ("dice", "hd95")}
    axes = {"arms": tuple(arms), "sizes": tuple(sizes), "seeds": tuple(seeds), "runs": tuple(planned)}
    write_study(folder, Study(**{**defaults, **axes, **(plan or {})}))
    for run in runs if overlays else ():
        if run.seed == seeds[0] and run.n == sizes[-1] and run.state == "finished":
            device = {"asked": "cpu", "processor": "x86_64", "threads": 2, "gpus": []}
            write_json(folder / run.folder / "provenance.json", {"versions": VERSIONS, "device": device})
            (folder / run.folder).mkdir(parents=True, exist_ok=True)
            for subject in subjects:
                draw_overlay(folder / run.folder / "overlays_test" / f"{subject}.png")
    return folder


@pytest.fixture
def make_study(tmp_path):
    """Make a study folder."""
    return lambda **settings: write_made_study(tmp_path / "study", **settings)
