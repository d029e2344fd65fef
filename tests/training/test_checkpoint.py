"""Best and last weights, and when training stops: on a trainer whose validation values are given."""

from __future__ import annotations

import math

import pytest
import torch
from ignite.engine import Engine, Events

from monai_tl.errors import ConfigError
from monai_tl.training.checkpoint import KeepState, non_finite
from tests.conftest import mentions

EPOCH = 10  # iterations between validations


def train(folder, values, *, patience=0, resume=False, epochs=None, spoil=None, patience_after=0):
    """Train one weight that counts its iterations; validation gives ``values`` in turn."""
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=10**6)
    evaluator = Engine(lambda engine, batch: None)

    def step(engine, batch):
        with torch.no_grad():
            network.weight += 1
            if spoil is not None and engine.state.iteration > spoil:
                network.weight.fill_(math.inf)

    trainer = Engine(step)
    trainer.state.epoch_length, trainer.state.max_epochs = EPOCH, epochs or len(values)

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate(engine):
        evaluator.state.metrics["val_dice"] = values[engine.state.epoch - 1]

    keep = KeepState(
        folder, network, optimizer, scheduler, evaluator, patience=patience, resume=resume, patience_after=patience_after
    )
    keep.attach(trainer)
    trainer.run(range(EPOCH), max_epochs=epochs or len(values), epoch_length=EPOCH)
    return trainer, keep


def kept(folder, name):
    content = torch.load(folder / name, weights_only=True)
    return float(content["weight"] if name == "model.pt" else content["network"]["weight"])


def test_an_infinity_that_a_scheduler_means_is_no_divergence(tmp_path, monkeypatch):
    """As ``ReduceLROnPlateau`` has it: the best so far, before there is one."""
    monkeypatch.setattr(torch.optim.lr_scheduler.StepLR, "state_dict", lambda self: {"best": math.inf, "last_epoch": 0})
    train(tmp_path, [0.2, 0.3])
    train(tmp_path, [0.2, 0.3, 0.4], resume=True, epochs=3)
    assert kept(tmp_path, "model.pt") == 30


def test_the_first_best_is_kept_and_the_last_next_to_it(tmp_path):
    _, keep = train(tmp_path, [0.2, 0.7, 0.5, 0.7])
    assert keep.best == {"value": 0.7, "iteration": 20}
    assert (kept(tmp_path, "model.pt"), kept(tmp_path, "last.pt")) == (20, 40)


def test_it_stops_after_so_many_iterations_without_a_better_validation(tmp_path):
    trainer, _ = train(tmp_path, [0.1, 0.5, 0.4, 0.45, 0.9], patience=20)
    assert trainer.state.iteration == 40
    assert torch.load(tmp_path / "last.pt", weights_only=True)["stopped"] is True
    assert train(tmp_path / "all", [0.1, 0.5, 0.4, 0.45, 0.9], patience=0)[0].state.iteration == 50


def test_it_does_not_stop_before_the_last_stages_are_unfrozen(tmp_path):
    """Patience counts from the first validation after ``patience_after``, although the best came before."""
    values = [0.9, 0.4, 0.4, 0.4, 0.5, 0.3, 0.3, 0.95]
    assert train(tmp_path / "plain", values, patience=20)[0].state.iteration == 30
    trainer, keep = train(tmp_path / "phases", values, patience=20, patience_after=30)
    assert trainer.state.iteration == 70
    assert keep.best == {"value": 0.9, "iteration": 10}


def test_a_stopped_run_stays_stopped_when_resumed(tmp_path):
    train(tmp_path, [0.5, 0.4, 0.3, 0.9], patience=20)
    trainer, keep = train(tmp_path, [0.5, 0.4, 0.3, 0.9], patience=20, resume=True)
    assert trainer.state.iteration == 30
    assert keep.best == {"value": 0.5, "iteration": 10}


def test_a_resumed_run_has_the_same_best_and_the_same_patience(tmp_path):
    values = [0.3, 0.6, 0.5, 0.55, 0.9]
    train(tmp_path, values, patience=20, epochs=3)
    trainer, keep = train(tmp_path, values, patience=20, resume=True)
    assert trainer.state.iteration == 40, "one validation without improvement before, one after"
    assert keep.best == {"value": 0.6, "iteration": 20}
    assert kept(tmp_path, "model.pt") == 20
    assert kept(tmp_path, "last.pt") == 40


def test_a_finished_run_is_not_trained_again(tmp_path):
    train(tmp_path, [0.3, 0.6])
    train(tmp_path, [0.3, 0.6], resume=True)
    assert kept(tmp_path, "last.pt") == 20


def test_resuming_nothing_begins(tmp_path):
    assert train(tmp_path, [0.3], resume=True)[0].state.iteration == 10


def test_patience_is_counted_once_something_was_found(tmp_path):
    assert train(tmp_path / "late", [0.0, 0.0, 0.0, 0.2, 0.1, 0.1, 0.1], patience=20)[0].state.iteration == 60
    assert train(tmp_path / "never", [0.0, 0.0, 0.0, 0.0], patience=10)[0].state.iteration == 40


def test_patience_is_rounded_up_to_whole_epochs(tmp_path):
    assert train(tmp_path / "one", [0.5, 0.4, 0.4], patience=5)[0].state.iteration == 20
    assert train(tmp_path / "two", [0.5, 0.4, 0.4, 0.4], patience=15)[0].state.iteration == 30


NAN = math.nan


def test_an_undefined_dice_is_never_the_best(tmp_path):
    _, keep = train(tmp_path, [NAN, 0.2, NAN, 0.1])
    assert keep.best == {"value": 0.2, "iteration": 20}
    assert (kept(tmp_path, "model.pt"), kept(tmp_path, "last.pt")) == (20, 40)
    _, keep = train(tmp_path / "none", [NAN, NAN])
    assert keep.best == {"value": None, "iteration": 0}
    assert not (tmp_path / "none" / "model.pt").exists()
    assert train(tmp_path / "none", [NAN, NAN, 0.0], resume=True)[1].best == {"value": 0.0, "iteration": 30}


def test_an_undefined_dice_is_no_improvement_to_early_stopping(tmp_path):
    """To ignite's NaN is not worse than anything, and nothing is worse than NaN."""
    assert train(tmp_path, [0.5, NAN, NAN, 0.9], patience=20)[0].state.iteration == 30


def test_what_is_not_finite_is_never_written(tmp_path):
    with pytest.raises(ConfigError, match=r"30.*network\.weight.*NaN") as raised:
        train(tmp_path, [0.2, 0.1, 0.9], spoil=20)
    mentions(str(raised.value), "model.pt, last.pt … learning_rate … precision float32")
    assert (kept(tmp_path, "model.pt"), kept(tmp_path, "last.pt")) == (10, 20)
    with pytest.raises(ConfigError, match="at iteration 10 .*; no weights were written"):
        train(tmp_path / "first", [0.2], spoil=0)
    assert not list(tmp_path.glob("first/*"))


@pytest.mark.parametrize("part", ["network", "optimizer"])
def test_a_last_state_that_is_not_finite_is_not_gone_on_with(tmp_path, part):
    train(tmp_path, [0.2])
    last = torch.load(tmp_path / "last.pt", weights_only=True)
    last[part] = {"weight": torch.tensor([[NAN]])} if part == "network" else {"state": {0: {"exp_avg": torch.tensor(NAN)}}}
    torch.save(last, tmp_path / "last.pt")
    with pytest.raises(ConfigError, match=rf"NaN.*infinite.*\({part}\..*train"):
        train(tmp_path, [0.2, 0.3], resume=True)


def test_a_truncated_last_state_is_reported(tmp_path):
    train(tmp_path, [0.2])
    (tmp_path / "last.pt").write_bytes((tmp_path / "last.pt").read_bytes()[:200])
    with pytest.raises(ConfigError, match="cannot be read"):
        train(tmp_path, [0.2, 0.3], resume=True)


def test_whatever_is_nested_is_looked_at():
    content = {"a": [{"b": torch.tensor([1.0, NAN])}, 2.0, math.inf], "c": torch.tensor(3), "d": ("x", None, True)}
    assert non_finite(content) == ["a.0.b", "a.2"]
