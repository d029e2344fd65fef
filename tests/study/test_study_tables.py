"""The study's tables: what is written is read back, and damage is named."""

import math

import pytest

from monai_tl.errors import DataError
from monai_tl.evaluation.scores import Score
from monai_tl.storage.tables import write_table
from monai_tl.study.study_tables import (
    CurveRow,
    RunRow,
    StudyScoreRow,
    read_study_scores,
    read_study_table,
    write_study_scores,
)

SCORE = StudyScoreRow("random2", 26, 1, 'odd,"name', "core", "dice", 1 / 3, "", "")
NAN = math.nan
RUN = RunRow("0", 26, 1, "runs/0/26/seed_1", "failed", 50, 9.5, 0.5, 50.0, 9.5, NAN, NAN, 0.25, 0.1, 900.0, NAN, "disk full")
CURVE = CurveRow("scratch", 26, 1, 50, 9.5, 0.7, 0.5)


@pytest.mark.parametrize("row", [SCORE, RUN, CURVE], ids=lambda row: type(row).__name__)
def test_rows_come_back_as_they_were(tmp_path, row):
    write_table(tmp_path / "t.csv", type(row), [row, row])
    assert repr(read_study_table(tmp_path / "t.csv", type(row))) == repr([row, row])  # repr: NaN is unlike itself


def test_damage_is_named(tmp_path):
    path = tmp_path / "scores.csv"
    with pytest.raises(DataError, match="scores.csv"):
        read_study_table(path, StudyScoreRow)
    write_table(path, StudyScoreRow, [SCORE])
    text = path.read_text()
    path.write_text(text.replace(",26,", ",many,"))
    with pytest.raises(DataError, match="line 2 has n 'many'.* a whole number"):
        read_study_table(path, StudyScoreRow)
    path.write_text(text.rpartition(",")[0] + "\n")
    with pytest.raises(DataError, match="2.*8 cells.*9"):
        read_study_table(path, StudyScoreRow)
    with pytest.raises(DataError, match="lacks the column folder, state.*arm, n, seed, folder.*study gather"):
        read_study_table(path, RunRow)


RUNS = {
    ("scratch", 26, 0): (
        Score("a", {"dice": 0.5, "hd95": NAN}, 2.0, 0.0, NAN, "anterior"),
        Score("a", {"dice": 1 / 3, "hd95": 1.5}, 1.0, 3.0, NAN, "posterior"),
    ),
    ("1", 52, 1): (Score("b", {"dice": 0.25, "hd95": 2.5, "nsd": 0.75}, 2.0, 1.0, NAN, "anterior"),),
}


def test_scores_have_a_row_for_each_region_and_metric_and_come_back(tmp_path):
    path = tmp_path / "scores.csv"
    timed = {
        run: tuple(Score(s.subject, s.values, s.reference_ml, s.prediction_ml, 9.5, s.region) for s in of)
        for run, of in RUNS.items()
    }
    write_study_scores(path, timed)
    lines = path.read_text().splitlines()
    assert lines[:5] == [
        "arm,n,seed,subject,region,metric,value,unit,reason",
        "scratch,26,0,a,anterior,dice,0.5,,",
        "scratch,26,0,a,anterior,hd95,nan,mm,prediction empty",
        "scratch,26,0,a,anterior,reference_ml,2.0,ml,",
        "scratch,26,0,a,anterior,prediction_ml,0.0,ml,",
    ]
    assert len(lines) == 1 + 4 + 4 + 5
    assert not any("seconds" in line for line in lines), "they differ each time"
    assert repr(read_study_scores(path)) == repr(RUNS)
    path.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    found = read_study_scores(path)
    assert found.keys() == RUNS.keys()
    assert {score.region: score.values["dice"] for score in found["scratch", 26, 0]} == {"anterior": 0.5, "posterior": 1 / 3}


def test_a_row_that_is_twice_there_or_missing_is_named_with_its_run(tmp_path):
    path = tmp_path / "scores.csv"
    write_study_scores(path, RUNS)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[1]]) + "\n")
    with pytest.raises(DataError, match=r"run scratch, n 26, seed 0\) holds dice of a anterior more than once.*study gather"):
        read_study_scores(path)
    path.write_text("\n".join(line for line in lines if ",posterior,hd95," not in line) + "\n")
    with pytest.raises(DataError, match=r"run scratch, n 26, seed 0\) holds hd95 of some cases only \(a posterior"):
        read_study_scores(path)


def test_a_table_of_an_earlier_version_says_what_to_do(tmp_path):
    (tmp_path / "scores.csv").write_text("arm,n,seed,subject,dice,hd95_mm,reference_ml,prediction_ml\nscratch,26,0,a,1,1,1,1\n")
    with pytest.raises(DataError, match="lacks the column region, metric, value, unit.*study gather --output STUDY"):
        read_study_scores(tmp_path / "scores.csv")
