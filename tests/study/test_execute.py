"""What is finished is skipped, what fails is recorded, the others go on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from monai_tl.errors import PartlyDoneError
from monai_tl.storage.processes import Outcome
from monai_tl.study.execute import execute, fault_file, order_of, state_of
from tests.conftest import leave_scores, mentions, score_of
from tests.study.conftest import a_study, finish

CASE = [score_of("C", 0.5, 2.0, 10.0, 9.0, 0.1)]


def engine_that(folder, study, *, fails=(), asked=None):
    """Give an engine that leaves files instead of training."""

    def run(orders, parallel):
        for name in orders:
            if asked is not None:
                asked.append(name)
            planned = next(run for run in study.runs if run.name == name)
            if name not in fails:
                finish(folder, planned, [0.1, 0.4])
            yield name, Outcome(fault="out of\nmemory" if name in fails else "")

    return run


def test_finished_runs_are_skipped_and_failed_ones_tried_again(tmp_path, capsys):
    study, asked = a_study("scratch,0,1"), list[str]()
    scratch, zero, one = study.runs
    finish(tmp_path, scratch, [0.5])
    with pytest.raises(PartlyDoneError, match="1 of 3 runs failed: 0_n26_seed0.*faults"):
        execute(tmp_path, study, study.runs, engine=engine_that(tmp_path, study, fails=[zero.name], asked=asked))
    assert asked == [zero.name, one.name]
    assert [state_of(tmp_path, run) for run in study.runs] == [
        ("finished", ""),
        ("failed", "out of memory"),
        ("finished", ""),
    ]
    printed = capsys.readouterr().out
    mentions(printed, "1 of 3 runs … finished")
    mentions(printed, "[2/3] 0_n26_seed0: out of memory")
    mentions(printed, "[3/3] 1_n26_seed0: validation Dice 0.400 … 50 of 50 … 0 s")
    execute(tmp_path, study, study.runs, engine=engine_that(tmp_path, study, asked=asked))
    assert asked[2:] == [zero.name]
    assert state_of(tmp_path, zero) == ("finished", "")


def test_a_run_that_ends_without_scores_has_failed(tmp_path):
    study = a_study("scratch")
    with pytest.raises(PartlyDoneError, match="1 of 1 runs failed"):
        execute(tmp_path, study, study.runs, engine=lambda orders, _: (pair for pair in [(study.runs[0].name, Outcome())]))
    assert state_of(tmp_path, study.runs[0]) == ("failed", "it ended without scores")


def test_a_process_receives_all_settings_of_its_run(tmp_path):
    study, received = a_study("2", threads=3, evaluation={"/bundle/configs/evaluate.yaml": "d" * 64}), {}

    def engine(orders, parallel):
        received.update(orders)
        finish(tmp_path, study.runs[0], [0.5])
        yield study.runs[0].name, Outcome()

    execute(tmp_path, study, study.runs, engine=engine)
    (order,) = received.values()
    assert order.configs == ("/bundle/configs/train.yaml",)
    assert order.settings == {
        **{"bundle_root": "/bundle", "patience": 0, "source": "/source", "freeze": 2, "seed": 0, "iterations": 100},
        **{"datalist": str(tmp_path / "datalists" / "seed0_n26.json"), "resume": True},
        "run_dir": str(tmp_path / "runs" / "2_n26_seed0"),
    }
    assert order.scoring == {"metrics": ["dice", "hd95"], "tolerance": 1.0}
    assert (order.log, order.threads) == (str(tmp_path / "logs" / "2_n26_seed0.txt"), 3)
    assert order.files == {
        "/bundle/configs/train.yaml": "b" * 64,
        "/bundle/configs/evaluate.yaml": "d" * 64,
        "/source/model.pt": "a" * 64,
    }
    scratch = a_study("scratch")
    assert "/source/model.pt" not in order_of(tmp_path, scratch, scratch.runs[0]).files


def test_a_run_that_failed_and_was_then_interrupted_waits(tmp_path):
    study = a_study("scratch")
    fault_file(tmp_path, study.runs[0]).parent.mkdir()
    fault_file(tmp_path, study.runs[0]).write_text("of yesterday\n")

    def interrupted(orders, parallel):
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        execute(tmp_path, study, study.runs, engine=interrupted)
    assert state_of(tmp_path, study.runs[0]) == ("waiting", "")


def test_training_dice_asked_for_later_is_scored_of_finished_runs(tmp_path):
    study, asked = a_study("scratch,0"), list[str]()
    for run in study.runs:
        finish(tmp_path, run, [0.5])
    more = replace(study, training_dice=True)
    leave_scores(tmp_path / study.runs[0].folder, CASE, "train")

    def engine(orders, parallel):
        assert {order.splits for order in orders.values()} == {("test", "train")}
        asked.extend(orders)
        leave_scores(tmp_path / study.runs[1].folder, CASE, "train")
        yield study.runs[1].name, Outcome()

    execute(tmp_path, more, more.runs, engine=engine)
    assert asked == [study.runs[1].name]
    assert state_of(tmp_path, study.runs[1]) == ("finished", "")
