"""A plan is data: written, read back, compared with what is asked for now."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from monai_tl.errors import ConfigError, DataError
from monai_tl.study.study_plan import changes, read_budget, read_seeds, read_study, refuse_changed, write_study
from tests.conftest import mentions
from tests.study.conftest import a_study


def test_each_run_has_its_settings_folder_and_training_set():
    study = a_study("scratch,2,random2", (26, 52), (0, 7))
    assert len(study.runs) == len({run.folder for run in study.runs}) == 3 * 2 * 2
    runs = {run.name: run for run in study.runs}
    assert runs["2_n52_seed7"].settings == {"source": "/source", "freeze": 2, "seed": 7, "iterations": 100}
    assert runs["random2_n26_seed0"].settings == {"source": None, "freeze": 2, "norm": "track", "seed": 0, "iterations": 100}
    assert runs["scratch_n52_seed7"].datalist == runs["2_n52_seed7"].datalist == "datalists/seed7_n52.json"
    assert [run.seed for run in study.runs] == [0] * 6 + [7] * 6, "cut short, it is complete for the first seeds"


def test_a_plan_comes_back_as_it_was(tmp_path):
    study = a_study("scratch,2", (26, 52), (0, 1))
    write_study(tmp_path, study)
    assert read_study(tmp_path) == study


def test_metrics_and_tolerance_are_part_of_the_plan(tmp_path):
    study = a_study("scratch", metrics=("dice", "hd95", "nsd"), tolerance=[1, 2.5])
    write_study(tmp_path, study)
    assert read_study(tmp_path) == study
    assert changes(read_study(tmp_path), study) == []
    path = tmp_path / "study.json"
    content = json.loads(path.read_text())
    del content["metrics"], content["tolerance"]
    path.write_text(json.dumps(content))
    older = read_study(tmp_path)
    assert (older.metrics, older.tolerance) == (("dice", "hd95"), 1.0), "as earlier versions scored"


def test_a_missing_or_damaged_plan_is_reported(tmp_path):
    with pytest.raises(DataError, match="study.json; `monai_tl study layers`"):
        read_study(tmp_path)
    write_study(tmp_path, a_study())
    path = tmp_path / "study.json"
    text = path.read_text()
    path.write_text(text.replace('"arm"', '"arms"'))
    with pytest.raises(DataError, match="study.json is damaged"):
        read_study(tmp_path)
    path.write_text(text.replace('"format": 1', '"format": 2'))
    with pytest.raises(DataError, match="format 2.*version.*1"):
        read_study(tmp_path)


def test_more_runs_may_be_asked_for():
    small = a_study("scratch,2", (26,), (0,))
    assert changes(small, a_study("scratch,0,2", (26, 52), (0, 1))) == []
    assert changes(small, replace(small, threads=8)) == [], "threads stay as they were"
    assert changes(a_study("scratch", source=None), a_study("scratch,2")) == [], "no arm took a source so far"


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (a_study("scratch", (26,), (0,)), 'arms … scratch,2'),
        (a_study("scratch,2", (52,), (0,)), 'sizes … 26 … 52'),
        (a_study("scratch,2", (26,), (1,)), 'seeds … 0 … 1'),
        (a_study("scratch,2", settings={"patience": 5}), 'patience … 0 … 5'),
        (a_study("scratch,2", settings={"patience": 0, "window": [8, 8, 8]}), 'window … 8,8,8'),
        (a_study("scratch,2", datalist={"path": "/data/datalist.json", "sha256": "d" * 64}), "sha256 … ccc"),
        (a_study("scratch,2", source={"path": "/other", "sha256": "a" * 64}), '/source … /other'),
        (a_study("scratch,2", source=None), "/source … not set"),
        (a_study("scratch,2", configs={"/bundle/configs/train.yaml": "e" * 64}), "was bbbbbbbbbbbb…, is eeeeeeeeeeee…"),
        (a_study("scratch,2", kind="layers"), "size … layers"),
        (a_study("scratch,2", metrics=("dice", "hd95", "nsd")), "metrics … dice,hd95 … dice,hd95,nsd"),
        (a_study("scratch,2", tolerance=2), "tolerance … 1.0 … 2"),
    ],
)  # fmt: skip
def test_whatever_else_changes_is_refused_with_the_difference(now, message, tmp_path):
    with pytest.raises(ConfigError, match="holds a study with other settings") as raised:
        refuse_changed(tmp_path, a_study("scratch,2", (26,), (0,)), now)
    mentions(str(raised.value), message)


def test_a_changed_budget_names_its_runs(tmp_path):
    before = a_study("scratch,2")
    longer = [replace(run, settings={**run.settings, "iterations": 200}) if run.arm == "2" else run for run in before.runs]
    with pytest.raises(ConfigError, match="iterations.*2_n26_seed0.*100.*200"):
        refuse_changed(tmp_path, before, replace(before, runs=tuple(longer)))


def test_budgets_by_arm():
    assert read_budget("", ["scratch", "0"], 600) == {"scratch": 600, "0": 600}
    assert read_budget("scratch=5000", ["scratch", "0"], 600) == {"scratch": 5000, "0": 600}
    assert read_budget("scratch=5000, default=1500", ["scratch", "0"], 600) == {"scratch": 5000, "0": 1500}
    with pytest.raises(ConfigError, match="an arm '1' that this study does not have: .*There are: scratch, 0, default"):
        read_budget("1=5000", ["scratch", "0"], 600)
    with pytest.raises(ConfigError, match="budget.*'scratch' twice"):
        read_budget("scratch=5000,scratch=4", ["scratch"], 600)
    with pytest.raises(ConfigError, match="budget.*iterations.*'scratch=many'"):
        read_budget("scratch=many", ["scratch"], 600)


def test_seeds():
    assert read_seeds("3") == (0, 1, 2)
    assert read_seeds("7,8") == (7, 8)
    assert [read_seeds(text) for text in ("7,", "[7]", (7,), "0,")] == [(7,), (7,), (7,), (0,)], "these are no numbers of seeds"
    for wrong in ("0", "", "1,1", "7,07", "-1", "two"):
        with pytest.raises(ConfigError, match="seeds takes"):
            read_seeds(wrong)
