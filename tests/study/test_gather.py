"""From run folders to tables: numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

from monai_tl.statistics.score_array import StudyScore
from monai_tl.study.execute import fault_file
from monai_tl.study.gather import area_under, gather
from monai_tl.study.study_plan import write_study
from monai_tl.study.study_tables import CurveRow, RunRow, read_study_table
from tests.conftest import leave_scores, score_of
from tests.study.conftest import a_study, finish


def curve(*dices):
    return [{"iteration": 25 * n, "val_dice": dice} for n, dice in enumerate(dices, 1)]


def test_the_area_goes_on_with_the_best_after_an_early_stop():
    assert area_under(curve(0.4, 0.4, 0.4, 0.4), 100) == pytest.approx((25 * 0.2 + 75 * 0.4) / 100)
    assert area_under(curve(0.2, 0.6, 0.4), 100) == pytest.approx((25 * 0.1 + 25 * 0.4 + 25 * 0.5 + 25 * 0.6) / 100)
    assert area_under(curve(math.nan, 0.5), 50) == pytest.approx(0.25), "an undefined validation is passed over"
    assert math.isnan(area_under([], 100))


@pytest.fixture
def gathered(tmp_path):
    study = a_study("scratch,0,1,2", (26,), (0,))
    write_study(tmp_path, study)
    scratch, zero, one, _two = study.runs
    finish(tmp_path, scratch, [0.2, 0.6, 0.6, 0.5], test=0.25)
    finish(tmp_path, zero, [0.3, 0.55], test=0.75)
    fault_file(tmp_path, one).parent.mkdir()
    fault_file(tmp_path, one).write_text("no room\n")
    found = gather(tmp_path)
    return tmp_path, found


def test_the_table_of_runs_lists_cost_and_speed_of_learning(gathered):
    folder, found = gathered
    assert (found.runs, found.finished, found.failed, found.scores) == (4, 2, 1, 4)
    scratch, zero, one, two = read_study_table(folder / "runs.csv", RunRow)
    assert (scratch.best_dice, scratch.best_iteration, scratch.best_seconds) == (0.6, 50, 5.0), "the first of equals"
    assert (scratch.target_iteration, zero.target_iteration, zero.target_seconds) == (50, 50, 5.0), "0.54 is 90 % of 0.6"
    assert (scratch.iterations, zero.iterations, zero.seconds) == (100, 50, 5.0)
    assert zero.area == pytest.approx((25 * 0.15 + 25 * 0.425 + 50 * 0.55) / 100)
    assert (zero.step_seconds, zero.memory_mib) == (0.25, 150.0)
    assert [run.state for run in (scratch, zero, one, two)] == ["finished", "finished", "failed", "waiting"]
    assert (one.fault, one.iterations, two.fault) == ("no room", 0, "")
    assert math.isnan(two.best_dice)


def test_scores_and_curves_are_of_finished_runs(gathered):
    folder, _ = gathered
    scores = read_study_table(folder / "scores.csv", StudyScore)
    assert [(row.arm, row.n, row.seed, row.subject, row.dice) for row in scores] == [
        ("scratch", 26, 0, "A", 0.25),
        ("scratch", 26, 0, "B", 0.25),
        ("0", 26, 0, "A", 0.75),
        ("0", 26, 0, "B", 0.75),
    ]
    assert read_study_table(folder / "curves.csv", CurveRow)[4] == CurveRow("0", 26, 0, 25, 2.5, 1.0, 0.3)


def test_training_dice_is_the_mean_over_the_training_cases(tmp_path):
    study = a_study("scratch,0")
    write_study(tmp_path, study)
    for run in study.runs:
        finish(tmp_path, run, [0.5])
    scores = [score_of("C", 0.5, 2.0, 10.0, 9.0, 0.1), score_of("D", 1.0, 2.0, 10.0, 9.0, 0.1)]
    leave_scores(tmp_path / study.runs[1].folder, scores, "train")
    gather(tmp_path)
    scratch, zero = read_study_table(tmp_path / "runs.csv", RunRow)
    assert math.isnan(scratch.training_dice)
    assert zero.training_dice == 0.75
    assert {row.subject for row in read_study_table(tmp_path / "scores.csv", StudyScore)} == {"A", "B"}


def test_scores_stay_while_training_cases_are_still_to_be_scored(tmp_path):
    study = a_study("scratch,0", training_dice=True)
    write_study(tmp_path, study)
    for run in study.runs:
        finish(tmp_path, run, [0.5])
    assert (gather(tmp_path).finished, len(read_study_table(tmp_path / "scores.csv", StudyScore))) == (2, 4)


def test_the_target_is_that_of_a_finished_scratch(tmp_path):
    study = a_study("scratch,0")
    write_study(tmp_path, study)
    for run in study.runs:
        finish(tmp_path, run, [0.1, 0.5])
    (tmp_path / study.runs[0].folder / "scores_test.csv").unlink()
    gather(tmp_path)
    assert all(math.isnan(row.target_iteration) for row in read_study_table(tmp_path / "runs.csv", RunRow))


def test_without_scratch_there_is_no_target(tmp_path):
    study = a_study("0")
    write_study(tmp_path, study)
    finish(tmp_path, study.runs[0], [0.5])
    gather(tmp_path)
    (row,) = read_study_table(tmp_path / "runs.csv", RunRow)
    assert math.isnan(row.target_iteration)


def test_where_scratch_found_nothing_there_is_no_target(tmp_path):
    """90 % of 0 is 0, and every run would have reached it at its first validation."""
    study = a_study("scratch,0")
    write_study(tmp_path, study)
    for run, dices in zip(study.runs, ([0.0, 0.0], [0.0, 0.5]), strict=True):
        finish(tmp_path, run, dices)
    gather(tmp_path)
    assert all(math.isnan(row.target_iteration) for row in read_study_table(tmp_path / "runs.csv", RunRow))


def test_what_a_search_did_not_ask_for_is_left_out(tmp_path):
    study = a_study("5,4,3", decision={"chosen": "5"}, rule={"gain": 0.01})
    write_study(tmp_path, study)
    for run in study.runs[:2]:
        finish(tmp_path, run, [0.5])
    assert gather(tmp_path).runs == 2
