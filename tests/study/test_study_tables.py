"""The study's tables: what is written is read back, and damage is named."""

import math

import pytest

from monai_tl.errors import DataError
from monai_tl.statistics.score_array import StudyScore
from monai_tl.storage.tables import write_table
from monai_tl.study.study_tables import CurveRow, RunRow, read_study_table

SCORE = StudyScore("random2", 26, 1, 'odd,"name', 1 / 3, math.nan, 1.5, 2.0)
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
        read_study_table(path, StudyScore)
    write_table(path, StudyScore, [SCORE])
    text = path.read_text()
    path.write_text(text.replace(",26,", ",many,"))
    with pytest.raises(DataError, match="line 2 has n 'many'.* a whole number"):
        read_study_table(path, StudyScore)
    path.write_text(text.rpartition(",")[0] + "\n")
    with pytest.raises(DataError, match="2.*7 cells.*8"):
        read_study_table(path, StudyScore)
    with pytest.raises(DataError, match="lacks the column folder, state.*arm, n, seed, folder.*study gather"):
        read_study_table(path, RunRow)
