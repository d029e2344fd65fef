"""A study from what was asked for to its tables, however it ends."""

from __future__ import annotations

import pytest

from monai_tl.errors import PartlyDoneError
from monai_tl.study import conduct as module
from monai_tl.study.conduct import Conduct, conduct
from monai_tl.study.table import RunRow, read_table
from tests.study.conftest import finish


@pytest.mark.parametrize("end", [KeyboardInterrupt, PartlyDoneError])
def test_tables_hold_what_was_finished_before_the_end(request_of, tmp_path, monkeypatch, end):
    def run(folder, study, parallel, engine):
        finish(folder, study.runs[0], [0.5])
        raise end

    monkeypatch.setattr(module, "_run", run)
    with pytest.raises(end):
        conduct(request_of(sizes=("all",), arms=("scratch",)), Conduct(tmp_path / "study"))
    assert [row.state for row in read_table(tmp_path / "study" / "runs.csv", RunRow)] == ["finished", "waiting"]
