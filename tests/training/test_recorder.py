"""What a run leaves in TensorBoard and ``metrics.csv``."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from monai_tl.errors import ConfigError, DataError
from monai_tl.training.cost import Cost, read_costs, write_costs
from monai_tl.training.metrics_table import read_metrics
from monai_tl.training.recorder import Clock, Record


def test_tensorboard_and_csv_say_the_same(source):
    events = EventAccumulator(str(source))
    events.Reload()
    rows = read_metrics(source / "metrics.csv")
    assert [row["iteration"] for row in rows] == [2, 4]
    curves = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    losses = [value for _, value in curves["loss/iteration"]]
    assert [step for step, _ in curves["loss/iteration"]] == [1, 2, 3, 4]
    assert np.allclose([row["loss"] for row in rows], [np.mean(losses[:2]), np.mean(losses[2:])], rtol=1e-5)
    assert np.allclose([value for _, value in curves["dice/validation"]], [row["val_dice"] for row in rows], rtol=1e-5)
    stages = {tag.split("/")[1] for tag in curves if tag.startswith("learning_rate/")}
    assert stages == {"conv_0", "res_1", "res_2", "res_3", "conv_1", "conv_2"}
    assert [image.step for image in events.Images("validation")] == [2, 4]
    waiting = [value for _, value in curves["data/share_of_time_waiting"]]
    assert len(waiting) == 2
    assert all(0 < share < 1 for share in waiting)


def test_tensorboard_shows_the_hyperparameters(source):
    events = EventAccumulator(str(source))
    events.Reload()
    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    values = HParamsPluginData.FromString(content).session_start_info.hparams
    assert values["iterations"].number_value == 4
    assert values["window"].string_value == "[16, 16, 16]"
    assert values["learning_rate"].number_value == pytest.approx(4e-3)
    best = max(row["val_dice"] for row in read_metrics(source / "metrics.csv"))
    assert [event.value for event in events.Scalars("best_val_dice")] == [pytest.approx(best, rel=1e-5)]


def test_the_clock_separates_waiting_from_working(monkeypatch):
    times = iter([0.0, 10.0, 13.0, 14.0, 20.0, 21.0, 24.0])
    monkeypatch.setattr("monai_tl.training.recorder.time.monotonic", lambda: next(times))
    clock = Clock()
    for _ in range(2):
        clock.waits()  # at 10, 20
        clock.works()  # at 13, 21
        clock.rests()  # at 14, 24
    assert clock.share_waiting() == (3 + 1) / (3 + 1 + 1 + 3), "what lies between steps, a validation say, is neither"
    assert clock.share_waiting() == 0


def test_a_loss_that_is_no_number_ends_the_run(tmp_path):
    trainer = Engine(lambda engine, batch: {"loss": torch.tensor(float("nan"))})
    trainer.state.max_epochs, trainer.state.epoch_length = 1, 2
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    Record(str(tmp_path), optimizer, Engine(lambda engine, batch: None)).attach(trainer)
    with pytest.raises(ConfigError, match="nan.*1.*learning_rate.*precision float32"):
        trainer.run([0, 1], max_epochs=1)


def test_costs_are_written_at_each_validation(source):
    costs = read_costs(source / "cost.csv")
    assert [cost.iteration for cost in costs] == [2, 4]
    seconds = read_metrics(source / "metrics.csv")[-1]["seconds"]
    assert all(0 < cost.step_seconds < seconds for cost in costs)
    assert 100 < costs[0].memory_mib <= costs[1].memory_mib < 100_000


def test_damaged_costs_are_reported(tmp_path):
    assert read_costs(tmp_path / "cost.csv") == []
    write_costs(tmp_path / "cost.csv", [Cost(2, 0.5, 900.0)])
    assert read_costs(tmp_path / "cost.csv") == [Cost(2, 0.5, 900.0)]
    with (tmp_path / "cost.csv").open("a") as file:
        file.write("4,0.5\n")
    with pytest.raises(DataError, match=r"cost.csv, line 3 has 2 cells.* 3 \(iteration, step_seconds, "):
        read_costs(tmp_path / "cost.csv")


def test_an_undefined_dice_does_not_hide_the_best(source, tmp_path):
    record = Record(str(tmp_path), torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0), Engine(lambda *_: None))
    assert np.isnan(record._best())
    record.rows = [{"val_dice": float("nan")}, {"val_dice": 0.25}, {"val_dice": float("nan")}]
    assert record._postfix(1.0) == {"loss": "1.000", "dice": "nan", "best": "0.250"}
