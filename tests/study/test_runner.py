"""A study from what was asked for to its tables, however it ends."""

from __future__ import annotations

import pytest

from monai_tl.errors import ConfigError, PartlyDoneError
from monai_tl.study import runner as module
from monai_tl.study.runner import Conduct, conduct
from monai_tl.study.study_plan import read_study, write_study
from monai_tl.study.study_tables import RunRow, read_study_table
from tests.study.conftest import a_study, finish


@pytest.mark.parametrize("end", [KeyboardInterrupt, PartlyDoneError])
def test_tables_hold_what_was_finished_before_the_end(request_of, tmp_path, monkeypatch, end):
    def run(folder, study, parallel, engine):
        finish(folder, study.runs[0], [0.5])
        raise end

    monkeypatch.setattr(module, "_run", run)
    with pytest.raises(end):
        conduct(request_of(sizes=("all",), arms=("scratch",)), Conduct(tmp_path / "study"))
    assert [row.state for row in read_study_table(tmp_path / "study" / "runs.csv", RunRow)] == ["finished", "waiting"]


def test_a_plan_that_another_call_wrote_meanwhile_is_not_overwritten(request_of, tmp_path, monkeypatch):
    """The first look at the folder is before its lock is taken, since planning takes a while."""
    design = module.design

    def slowly(request, before):
        (tmp_path / "study").mkdir()
        write_study(tmp_path / "study", a_study("scratch"))
        return design(request, before)

    monkeypatch.setattr(module, "design", slowly)
    with pytest.raises(ConfigError, match="changed the study"):
        conduct(request_of(sizes=("all",)), Conduct(tmp_path / "study"))
    assert read_study(tmp_path / "study") == a_study("scratch")


def test_a_plan_that_nothing_came_of_is_replaced(request_of, tmp_path, monkeypatch):
    folder = tmp_path / "study"
    monkeypatch.setattr(module, "_run", lambda *_: None)
    monkeypatch.setattr("torch.get_num_threads", lambda: 4)
    monkeypatch.setattr("monai_tl.study.design.cores_at_hand", lambda: 4)
    conduct(request_of(sizes=("1", "2"), seeds=(0,), parallel=4), Conduct(folder))
    assert read_study(folder).threads == 1
    asked = request_of(sizes=("1", "all"), seeds=(0, 1), settings={"patience": 2})
    conduct(asked, Conduct(folder))
    assert sorted(path.name for path in (folder / "datalists").iterdir()) == ["all_n3.json", "seed0_n1.json", "seed1_n1.json"]
    assert (read_study(folder).settings["patience"], read_study(folder).threads) == (2, 4)
    finish(folder, read_study(folder).runs[0], [0.5])
    with pytest.raises(ConfigError, match="patience.*2.*0"):
        conduct(request_of(sizes=("1", "all"), seeds=(0, 1)), Conduct(folder))


def test_killed_while_it_was_written_down_it_is_gone_on_with(request_of, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    folder = tmp_path / "study"
    monkeypatch.setattr(module, "_run", lambda *_: None)
    with monkeypatch.context() as patched:
        patched.setattr(module, "write_training_sets", killed)
        with pytest.raises(KeyboardInterrupt):
            conduct(request_of(), Conduct(folder))
    conduct(request_of(), Conduct(folder))
    assert all((folder / run.datalist).is_file() for run in read_study(folder).runs)
