"""Scores of cases that were trained on say so, until others take their place."""

from __future__ import annotations

import pytest

from monai_tl.errors import DataError
from monai_tl.inference.seen import read_seen, seen_file, write_seen


def test_it_is_read_as_it_was_written_and_goes_with_the_next_scores(tmp_path):
    scores = tmp_path / "scores_test.csv"
    assert read_seen(scores) == ""
    write_seen(scores, {"accepted": True, "shared": 2, "said": []})
    assert seen_file(scores).name == "scores_test.overlap.json"
    assert read_seen(scores) == "2 of the cases were trained on or chosen by before (accepted), so these scores are too good"
    write_seen(scores, None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["no JSON", "[]", "{}"])
def test_a_damaged_one_is_refused(tmp_path, content):
    (tmp_path / "scores_test.overlap.json").write_text(content)
    with pytest.raises(DataError, match="is damaged .*; evaluate the run again"):
        read_seen(tmp_path / "scores_test.csv")
