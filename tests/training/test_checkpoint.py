"""Best and last weights, and when training stops: on a trainer whose validation values are given."""

from __future__ import annotations

import torch
from ignite.engine import Engine, Events

from monai_tl.training.checkpoint import KeepState

EPOCH = 10  # iterations between validations


def train(folder, values, *, patience=0, resume=False, epochs=None):
    """Train one weight that counts its iterations; validation gives ``values`` in turn."""
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=10**6)
    evaluator = Engine(lambda engine, batch: None)

    def step(engine, batch):
        with torch.no_grad():
            network.weight += 1

    trainer = Engine(step)
    trainer.state.epoch_length, trainer.state.max_epochs = EPOCH, epochs or len(values)

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate(engine):
        evaluator.state.metrics["val_dice"] = values[engine.state.epoch - 1]

    keep = KeepState(folder, network, optimizer, scheduler, evaluator, patience=patience, resume=resume)
    keep.attach(trainer)
    trainer.run(range(EPOCH), max_epochs=epochs or len(values), epoch_length=EPOCH)
    return trainer, keep


def kept(folder, name):
    content = torch.load(folder / name, weights_only=True)
    return float(content["weight"] if name == "model.pt" else content["network"]["weight"])


def test_the_first_best_is_kept_and_the_last_beside_it(tmp_path):
    _, keep = train(tmp_path, [0.2, 0.7, 0.5, 0.7])
    assert keep.best == {"value": 0.7, "iteration": 20}
    assert (kept(tmp_path, "model.pt"), kept(tmp_path, "last.pt")) == (20, 40)


def test_it_stops_after_so_many_iterations_without_a_better_validation(tmp_path):
    trainer, _ = train(tmp_path, [0.1, 0.5, 0.4, 0.45, 0.9], patience=20)
    assert trainer.state.iteration == 40
    assert torch.load(tmp_path / "last.pt", weights_only=True)["stopped"] is True
    assert train(tmp_path / "all", [0.1, 0.5, 0.4, 0.45, 0.9], patience=0)[0].state.iteration == 50


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
