"""From the head inwards until it no longer helps."""

from __future__ import annotations

import math

import pytest

from monai_tl.errors import PartlyDoneError
from monai_tl.storage.processes import Outcome
from monai_tl.study.depth import search_depth, search_is_over
from monai_tl.study.study_plan import read_study
from tests.conftest import mentions
from tests.study.conftest import a_study, finish

LAYER_STUDY = {"5": 0.045, "4": 0.211, "3": 0.407, "2": 0.438, "1": 0.479, "0": 0.460}  # of 2019; 0 is its scratch


def search(folder, study, dices, asked):
    def engine(orders, parallel):
        for run in study.runs:
            if run.name in orders:
                asked.append(run.name)
                if dices[run.arm] is not None:
                    finish(folder, run, [dices[run.arm] - 0.01 * (-1) ** run.seed])
                yield run.name, Outcome(fault="" if dices[run.arm] is not None else "no room")

    return search_depth(folder, study, engine=engine)


def test_it_is_settled_when_a_round_gains_no_more_than_the_margin():
    assert not search_is_over([0.2], 0.01)
    assert not search_is_over([0.0, 0.0], 0.01), "there is nothing to improve on yet"
    assert not search_is_over([0.01, 0.005], 0.01)
    assert not search_is_over([0.2, 0.22], 0.01)
    assert search_is_over([0.2, 0.21], 0.015)
    assert search_is_over([0.2, 0.4, 0.3], 0.01)
    assert search_is_over([0.2, math.nan], 0.01)
    assert not search_is_over([math.nan, 0.2], 0.01)


def test_the_search_stops_and_reports_what_it_saved(tmp_path):
    study, asked = a_study("5,4,3,2,1,0", (26,), (0, 1), rule={"gain": 0.035}), list[str]()
    summary = search(tmp_path, study, LAYER_STUDY, asked)
    assert {name.split("_")[0] for name in asked} == {"5", "4", "3", "2"}
    mentions(summary, "freeze 3 … stage … 0.035); 8 of 12 runs … full grid … 4")
    decision = read_study(tmp_path).decision
    assert (decision["chosen"], decision["runs"], decision["saved"]) == ("3", 8, 4)
    assert [row["freeze"] for row in decision["rounds"]] == ["5", "4", "3", "2"]
    assert decision["rounds"][3]["mean_best_dice"] == pytest.approx(0.438)
    again = list[str]()
    assert search(tmp_path, study, LAYER_STUDY, again) == summary
    assert again == []


def test_where_each_stage_helps_all_are_trained(tmp_path):
    study = a_study("5,4,3", rule={"gain": 0.01})
    summary = search(tmp_path, study, LAYER_STUDY, [])
    mentions(summary, "freeze 3 … 3 of 3 runs")


def test_where_nothing_is_found_no_depth_is_chosen(tmp_path):
    study, asked = a_study("5,4,3", rule={"gain": 0.02}), list[str]()
    summary = search(tmp_path, study, dict.fromkeys("543", 0.015), asked)
    assert len(asked) == 3, "the search went on"
    mentions(summary, "no depth chosen … validation Dice … 0.02")
    decision = read_study(tmp_path).decision
    assert (decision["chosen"], decision["saved"]) == (None, 0)


def test_a_failed_round_decides_nothing(tmp_path):
    study = a_study("5,4,3", rule={"gain": 0.01})
    with pytest.raises(PartlyDoneError, match="1 of 1 runs failed: 4_n26_seed0"):
        search(tmp_path, study, {**LAYER_STUDY, "4": None}, [])
    decision = read_study(tmp_path).decision
    assert "chosen" not in decision
    assert len(decision["rounds"]) == 1
