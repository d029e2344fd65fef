"""From run folders to tables: numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

from monai_tl.errors import DataError
from monai_tl.evaluation.scores import Score
from monai_tl.study.execute import fault_file
from monai_tl.study.gather import area_under, gather, refuse_unreadable_scores
from monai_tl.study.study_plan import write_study
from monai_tl.study.study_tables import CurveRow, RunRow, StudyScoreRow, read_study_scores, read_study_table
from tests.conftest import leave_scores, mentions, score_of
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
    scores = read_study_scores(folder / "scores.csv")
    assert {run: [(score.subject, score.values["dice"]) for score in of] for run, of in scores.items()} == {
        ("scratch", 26, 0): [("A", 0.25), ("B", 0.25)],
        ("0", 26, 0): [("A", 0.75), ("B", 0.75)],
    }
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
    assert {row.subject for row in read_study_table(tmp_path / "scores.csv", StudyScoreRow)} == {"A", "B"}


def test_scores_stay_while_training_cases_are_still_to_be_scored(tmp_path):
    study = a_study("scratch,0", training_dice=True)
    write_study(tmp_path, study)
    for run in study.runs:
        finish(tmp_path, run, [0.5])
    assert (gather(tmp_path).finished, len(read_study_scores(tmp_path / "scores.csv"))) == (2, 2)


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


def region_scores(dice, **metrics):
    """Two cases with two regions each; the second region's Dice is 0.1 lower, and further metrics are as given."""
    return [
        Score(subject, {"dice": dice - lower, **metrics}, 2.0, 1.5, 9.5, region)
        for subject in "AB"
        for region, lower in (("anterior", 0.0), ("posterior", 0.1))
    ]


def test_all_regions_and_metrics_are_gathered_and_those_of_all_runs_named(tmp_path):
    study = a_study("scratch,0", metrics=("dice", "hd95", "nsd"), tolerance=[1, 2])
    write_study(tmp_path, study)
    tolerance_mm = {"anterior": 1.0, "posterior": 2.0}
    for run, more in zip(study.runs, ({"asd": 0.5}, {}), strict=True):
        finish(tmp_path, run, [0.5])
        scores = region_scores(0.8, hd95=4.0, nsd=0.9, **more)
        leave_scores(tmp_path / run.folder, scores, tolerance_mm=tolerance_mm)
    found = gather(tmp_path)
    assert (found.metrics, found.regions, found.scores) == (("dice", "hd95", "nsd"), ("anterior", "posterior"), 4)
    assert found.scored == "dice, hd95, nsd of anterior, posterior"
    rows = [row for row in read_study_table(tmp_path / "scores.csv", StudyScoreRow) if row.arm == "scratch"]
    assert len(rows) == 2 * 2 * (4 + 2)
    by_place = {(row.subject, row.region, row.metric): (row.value, row.unit) for row in rows}
    assert by_place["B", "posterior", "dice"] == (pytest.approx(0.7), "")
    assert by_place["A", "anterior", "hd95"] == (4.0, "mm")
    assert by_place["A", "anterior", "asd"] == (0.5, "mm"), "also what other runs lack"


def test_a_run_with_another_tolerance_is_refused(tmp_path):
    study = a_study("scratch", metrics=("dice", "nsd"), tolerance=1.5)
    write_study(tmp_path, study)
    finish(tmp_path, study.runs[0], [0.5])
    leave_scores(tmp_path / study.runs[0].folder, region_scores(0.8), tolerance_mm={"anterior": 1.0, "posterior": 1.0})
    assert gather(tmp_path).finished == 1, "no metric of it has a tolerance"
    nsd = region_scores(0.8, nsd=0.5)
    leave_scores(tmp_path / study.runs[0].folder, nsd, tolerance_mm={"anterior": 1.0, "posterior": 1.0})
    with pytest.raises(DataError) as error:
        gather(tmp_path)
    mentions(str(error.value), "scratch_n26_seed0: nsd … 1 mm … 1.5 mm … evaluate --run")
    leave_scores(tmp_path / study.runs[0].folder, nsd, tolerance_mm={"anterior": 1.5, "posterior": 1.5})
    assert gather(tmp_path).metrics == ("dice", "nsd")


def test_runs_scored_by_an_earlier_version_are_not_taken_for_runs_without_scores(tmp_path, verb):
    study = a_study("scratch,0")
    write_study(tmp_path, study)
    for run in study.runs:
        finish(tmp_path, run, [0.5])
        (tmp_path / run.folder / "scores_test.csv").write_text("subject,dice\nA,0.5\n")
        record = tmp_path / run.folder / "scores_test.json"
        record.write_text(record.read_text().replace('"format": 2', '"format": 1'))
    with pytest.raises(DataError, match="scores_test.json has format 1, this version reads 2: .*evaluate again.*1 more"):
        refuse_unreadable_scores(tmp_path)
    answer = verb("study", "gather", "--output", tmp_path)
    assert (answer.code, (tmp_path / "scores.csv").exists()) == (2, False)
