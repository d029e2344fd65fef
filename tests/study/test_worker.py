"""A run's process: what it prints goes to its log, what a killed one left is swept away."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import pytest

from monai_tl.errors import ConfigError, DataError
from monai_tl.storage.files import sha256_of
from monai_tl.study import worker
from monai_tl.study.run_state import is_finished
from monai_tl.study.worker import Order, perform
from tests.conftest import leave_scores, mentions, score_of

CASE = [score_of("A", 0.5, 2.0, 10.0, 9.0, 0.1)]


def order(folder, **settings):
    return Order((), {"run_dir": str(folder / "runs" / "one"), **settings}, str(folder / "logs" / "one.txt"), 1, {})


def test_a_finished_run_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "runs" / "one").mkdir(parents=True)
    leave_scores(tmp_path / "runs" / "one", CASE)
    (tmp_path / "runs" / "one" / "metadata.json").write_text('{"validation_dice": 0.5}')
    monkeypatch.setattr(worker, "run_configs", None)
    perform(order(tmp_path))
    assert not (tmp_path / "logs").exists()


def test_a_run_that_was_scored_before_its_training_ended_is_not_finished(tmp_path):
    """By `monai_tl evaluate` while it was interrupted, for instance."""
    leave_scores(tmp_path, CASE)
    assert not is_finished(tmp_path)
    (tmp_path / "metadata.json").write_text("{}")
    assert not is_finished(tmp_path)
    (tmp_path / "metadata.json").write_text('{"validation_dice": 0.5}')
    assert is_finished(tmp_path)


@pytest.mark.parametrize("content", ["other", None])
def test_what_was_changed_after_the_plan_stops_a_run(tmp_path, content):
    config = tmp_path / "train.yaml"
    config.write_text("planned")
    planned = {str(config): sha256_of(config)}
    config.unlink() if content is None else config.write_text(content)
    now = "missing" if content is None else "[0-9a-f]{12}"
    with pytest.raises(DataError, match=rf"train.yaml.*\(sha256.*{now}\)"):
        perform(replace(order(tmp_path), files=planned))
    assert not (tmp_path / "runs").exists()


def test_what_it_prints_and_why_it_failed_stands_in_its_log(tmp_path, monkeypatch, capfd):
    def fails(*_, **_named):
        print("so far so good", flush=True)
        os.write(2, b"a library in C\n")
        raise ConfigError("no room")

    for name, number in (("stdout", 1), ("stderr", 2)):  # as in a separate process; pytest's go elsewhere
        monkeypatch.setattr(sys, name, open(number, "w", closefd=False))  # noqa: SIM115
    monkeypatch.setattr(worker, "run_configs", fails)
    with pytest.raises(ConfigError, match="no room"):
        perform(order(tmp_path))
    log = (tmp_path / "logs" / "one.txt").read_text()
    assert "so far so good\na library in C\n" in log
    mentions(log, "no room")
    assert "Traceback" in log
    print("and back", flush=True)
    assert capfd.readouterr().out.splitlines()[-1] == "and back"


def test_what_a_killed_process_was_writing_is_swept_away(tmp_path, monkeypatch):
    """Its staging folder and temporary files; those of a run with a longer name are not its own."""
    runs = tmp_path / "runs"
    for name in ("one/.123.model.pt", "one/model.pt", ".one.17/config.yaml", ".one2.17/config.yaml"):
        (runs / name).parent.mkdir(parents=True, exist_ok=True)
        (runs / name).touch()
    monkeypatch.setattr(worker, "run_configs", lambda *_, **_named: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        perform(order(tmp_path))
    assert sorted(path.relative_to(runs).as_posix() for path in runs.rglob("*") if path.is_file()) == [
        ".one2.17/config.yaml",
        "one/model.pt",
    ]


def test_a_run_that_is_trained_is_only_scored(tmp_path, monkeypatch):
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text('{"validation_dice": 0.5}')
    done = []
    monkeypatch.setattr(worker, "run_configs", lambda configs, settings, **_: done.append(settings))
    monkeypatch.setattr(worker, "refuse_changed_datalist", lambda *_: None)
    monkeypatch.setattr(worker, "bundle_config", lambda bundle, name: f"{bundle}/{name}")
    perform(order(tmp_path, datalist="d", bundle_root="b"))
    assert [settings["split"] for settings in done] == ["test"]
    (folder / "metadata.json").write_text("{}")
    perform(order(tmp_path, datalist="d", bundle_root="b"))
    assert [settings.get("split") for settings in done] == ["test", None, "test"]


def test_scores_from_before_the_training_ended_are_computed_again(tmp_path, monkeypatch):
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    (folder / "scores_test.csv").write_text("of half a training")
    done = []
    monkeypatch.setattr(worker, "run_configs", lambda configs, settings, **_: done.append(settings.get("split")))
    monkeypatch.setattr(worker, "refuse_changed_datalist", lambda *_: None)
    monkeypatch.setattr(worker, "bundle_config", lambda bundle, name: f"{bundle}/{name}")
    perform(order(tmp_path, datalist="d", bundle_root="b"))
    assert done == [None, "test"]


def test_each_split_is_scored_once(tmp_path, monkeypatch):
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text('{"validation_dice": 0.5}')
    leave_scores(folder, CASE)
    done = []
    monkeypatch.setattr(worker, "run_configs", lambda configs, settings, **_: done.append(settings["split"]))
    monkeypatch.setattr(worker, "refuse_changed_datalist", lambda *_: None)
    monkeypatch.setattr(worker, "bundle_config", lambda bundle, name: f"{bundle}/{name}")
    perform(replace(order(tmp_path, datalist="d", bundle_root="b"), splits=("test", "train")))
    assert done == ["train"]


def test_all_splits_are_scored_as_the_study_says(tmp_path, monkeypatch):
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text('{"validation_dice": 0.5}')
    done = []
    monkeypatch.setattr(worker, "run_configs", lambda configs, settings, **_: done.append(settings))
    monkeypatch.setattr(worker, "refuse_changed_datalist", lambda *_: None)
    monkeypatch.setattr(worker, "bundle_config", lambda bundle, name: f"{bundle}/{name}")
    scoring = {"metrics": ["dice", "nsd"], "tolerance": 2}
    perform(replace(order(tmp_path, datalist="d", bundle_root="b"), splits=("test", "train"), scoring=scoring))
    assert [(of["split"], of["metrics"], of["tolerance"]) for of in done] == [
        (s, ["dice", "nsd"], 2) for s in ("test", "train")
    ]


@pytest.mark.parametrize("change", ["weights", "table", "record"])
def test_scores_of_other_weights_are_computed_again(tmp_path, monkeypatch, change):
    """As `monai_tl compare` refuses them: of other weights, changed by hand, or of what nothing says."""
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text('{"validation_dice": 0.5}')
    (folder / "model.pt").write_bytes(b"weights")
    table = leave_scores(folder, CASE)
    assert is_finished(folder)
    if change == "weights":
        (folder / "model.pt").write_bytes(b"others")
    elif change == "table":
        table.write_text(table.read_text().replace("0.5", "0.9"))
    else:
        table.with_suffix(".json").unlink()
    assert not is_finished(folder)
    done = []
    monkeypatch.setattr(worker, "run_configs", lambda configs, settings, **_: done.append((settings["split"], table.exists())))
    monkeypatch.setattr(worker, "refuse_changed_datalist", lambda *_: None)
    monkeypatch.setattr(worker, "bundle_config", lambda bundle, name: f"{bundle}/{name}")
    perform(order(tmp_path, datalist="d", bundle_root="b"))
    assert done == [("test", False)]
