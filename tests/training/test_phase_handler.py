"""Stages frozen and unfrozen during a training by MONAI's trainer: what moved in which iteration, the proof, and resuming."""

from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer
from monai.handlers import LrScheduleHandler
from monai.losses import DiceCELoss
from torch import nn
from torch.utils.data import DataLoader

from monai_tl.errors import ConfigError, DataError, TransferError
from monai_tl.networks.build import build_network
from monai_tl.networks.stages import parts_of_stages, stages
from monai_tl.training.checkpoint import KeepState
from monai_tl.training.phase_handler import FollowPhases
from monai_tl.training.phase_record import proven_phases, read_phases, write_phases
from monai_tl.transfer.freeze import freeze, frozen_sha256
from monai_tl.transfer.phase_rates import PhaseRates
from monai_tl.transfer.phases import Phase, Schedule
from monai_tl.transfer.rates import parameter_groups
from monai_tl.transfer.schedules import build_schedule
from tests.conftest import mentions

EPOCH, EPOCHS = 4, 5  # iterations between validations, validations
TOTAL = EPOCH * EPOCHS
SIZE = 8


def chain(seed=0):
    """Build a small network like HighRes3DNet: convolutions and BatchNorm at one resolution, no decoder."""

    def stage(channels, features):
        return nn.Sequential(nn.Conv3d(channels, features, 3, padding=1, bias=False), nn.BatchNorm3d(features), nn.ReLU())

    torch.manual_seed(seed)
    return nn.Sequential(OrderedDict(conv_0=stage(1, 3), res_1=stage(3, 4), conv_1=stage(4, 4), conv_2=nn.Conv3d(4, 2, 1)))


def unet(seed=0):
    torch.manual_seed(seed)
    return build_network("SegResNet", 1, 2, init_filters=8, blocks_down=[1, 1], blocks_up=[1])


NETWORKS = {"chain": chain, "unet": unet}
LAST = {"chain": "conv_0", "unet": "enc_0"}  # the stage that is unfrozen last


class Moves:
    """Handler that notes after each iteration which stages have changed, and whether the frozen stages' output has a graph."""

    def __init__(self, network):
        self.network, self.stages, self.moved, self.graph = network, stages(network), {}, {}
        first = network.get_submodule(stages(network).prefixes[next(iter(stages(network)))][0])
        first.register_forward_hook(lambda module, inputs, output: self.outputs.append(output.requires_grad))
        self.outputs, self.values = [], self.copies()

    def copies(self):
        named = list(self.network.state_dict().items())
        return {
            name: {key: value.clone() for key, value in parts_of_stages(named, self.stages, [name]).items()}
            for name in self.stages
        }

    def attach(self, trainer):
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, trainer):
        now = self.copies()
        self.moved[trainer.state.iteration] = {
            name
            for name, before in self.values.items()
            if any(not torch.equal(now[name][key], value) for key, value in before.items())
        }
        self.graph[trainer.state.iteration] = self.outputs[-1]
        self.values = now


def train(
    folder,
    network,
    schedule,
    *,
    norm="freeze",
    set_to_none=True,
    kind=torch.optim.AdamW,
    resume=False,
    patience=0,
    dice=None,
    disturb=None,
):
    """Train by MONAI's trainer with a validation, whose Dice is given, after every fourth iteration."""
    generator = torch.Generator().manual_seed(1)
    cases = [
        {
            "image": torch.randn(1, SIZE, SIZE, SIZE, generator=generator),
            "label": torch.randint(0, 2, (1, SIZE, SIZE, SIZE), generator=generator).float(),
        }
        for _ in range(EPOCH)
    ]
    more = {"momentum": 0.9} if kind is torch.optim.SGD else {}
    optimizer = kind(parameter_groups(network, 1e-2, weight_decay=0.1), **more)
    scheduler, evaluator, moves = PhaseRates(optimizer, schedule), Engine(lambda engine, batch: None), Moves(network)
    follow = FollowPhases(folder, network, schedule, norm)
    values = dice or [0.1 * (n + 1) for n in range(EPOCHS)]

    class Validate:
        def attach(self, trainer):
            @trainer.on(Events.EPOCH_COMPLETED)
            def validate(engine):
                network.eval()
                evaluator.state.metrics["val_dice"] = values[engine.state.epoch - 1]

            if disturb:
                trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: disturb(engine.state.iteration, network))

    keep = KeepState(
        str(folder), network, optimizer, scheduler, evaluator,
        patience=patience, resume=resume, patience_after=schedule.settled_after,
    )  # fmt: skip
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=EPOCHS,
        epoch_length=EPOCH,
        train_data_loader=DataLoader(cases, batch_size=1),
        network=network,
        optimizer=optimizer,
        loss_function=DiceCELoss(to_onehot_y=True, softmax=True),
        train_handlers=[LrScheduleHandler(scheduler, print_lr=False, epoch_level=False), Validate(), keep, moves, follow],
        decollate=False,
        optim_set_to_none=set_to_none,
    )
    trainer.run()
    return trainer, optimizer, moves


def scheduled(name, network, warm_up=0.3):
    return build_schedule(name, stages(network), TOTAL, warm_up)


@pytest.mark.parametrize("name", ["warmup", "valley", "sawtooth", "gradual"])
@pytest.mark.parametrize("build", NETWORKS)
def test_exactly_the_trained_stages_move_in_each_iteration(tmp_path, build, name):
    network = NETWORKS[build]()
    schedule = scheduled(name, network)
    _, _, moves = train(tmp_path, network, schedule)
    assert sorted(moves.moved) == list(range(1, TOTAL + 1))
    for iteration, moved in moves.moved.items():
        assert moved == set(schedule.phase_at(iteration).trained), iteration
        assert moves.graph[iteration] == (LAST[build] in schedule.phase_at(iteration).trained), iteration
    rows = read_phases(tmp_path)
    assert [(row.first, row.last) for row in rows] == [(phase.first, phase.last) for phase in schedule.phases]
    assert all(row.is_proven for row in rows)
    assert [row.trained for row in rows] == ["+".join(phase.trained) for phase in schedule.phases]
    assert [set(filter(None, row.frozen.split("+"))) for row in rows] == [
        set(stages(network)) - set(phase.trained) for phase in schedule.phases
    ]
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert frozen_sha256(network) == frozen_sha256(chain())  # of nothing


@pytest.mark.parametrize("set_to_none", [True, False])
@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_a_stage_that_is_frozen_again_does_not_move_by_momentum_or_decay(tmp_path, kind, set_to_none):
    network = chain()
    every = stages(network).names
    phases = Phase(1, 6, every), Phase(7, 13, ("conv_2",)), Phase(14, 20, every)
    _, _, moves = train(tmp_path, network, Schedule("cyclic", phases), kind=kind, set_to_none=set_to_none)
    for iteration, moved in moves.moved.items():
        assert moved == ({"conv_2"} if 7 <= iteration <= 13 else set(every)), iteration


def test_tracked_statistics_of_frozen_stages_move_and_their_weights_do_not(tmp_path):
    network = chain()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    seen = {}

    def note(iteration, network):
        seen[iteration] = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}

    train(tmp_path, network, scheduled("valley", network), norm="track", disturb=note)
    statistics = {name for name, _ in network.named_buffers()}
    assert seen[6] == statistics | {"conv_2.weight", "conv_2.bias"}
    assert seen[7] == set(before)


@pytest.mark.parametrize("stop", [6, 10, 15, 19])
@pytest.mark.parametrize(("build", "name"), [("chain", "gradual"), ("unet", "valley"), ("chain", "sawtooth")])
def test_a_resumed_training_is_the_same_bit_for_bit(tmp_path, build, name, stop):
    """It is killed after iteration ``stop``, and resumed from the checkpoint before it, often within a phase."""
    whole = NETWORKS[build]()
    schedule = scheduled(name, whole)
    _, optimizer, _ = train(tmp_path / "whole", whole, schedule)

    def kill(iteration, network):
        if iteration == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", NETWORKS[build](), schedule, disturb=kill)
    assert not all(row.is_proven for row in read_phases(tmp_path / "cut"))
    network = NETWORKS[build](seed=5)  # overwritten
    trainer, resumed, moves = train(tmp_path / "cut", network, schedule, resume=True)
    assert (min(moves.moved), trainer.state.iteration) == (stop // EPOCH * EPOCH + 1, TOTAL)
    assert all(torch.equal(value, whole.state_dict()[key]) for key, value in network.state_dict().items())
    same(resumed.state_dict(), optimizer.state_dict())
    assert read_phases(tmp_path / "cut") == read_phases(tmp_path / "whole")


def same(one, other):
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key, value in one.items():
            same(value, other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for own, its in zip(one, other, strict=True):
            same(own, its)
    else:
        assert one == other


def test_a_frozen_value_that_changes_is_an_error_with_both_hashes_in_the_file(tmp_path):
    def disturb(iteration, network):
        if iteration == 3:
            network.res_1[1].running_mean.add_(1e-3)

    network = chain()
    with pytest.raises(RuntimeError) as raised:
        train(tmp_path, network, scheduled("valley", network), disturb=disturb)
    mentions(str(raised.value), "1–6 … conv_0+res_1+conv_1 … changed … do not use")
    (row,) = read_phases(tmp_path)
    assert row.sha256_end not in ("", row.sha256_begin)
    mentions(str(row), "CHANGED")


def test_a_checkpoint_with_other_frozen_values_is_not_resumed(tmp_path):
    network = chain()

    def kill(iteration, network):
        if iteration == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, network, scheduled("valley", network), disturb=kill)
    last = torch.load(tmp_path / "last.pt", weights_only=True)
    last["network"]["conv_0.0.weight"][0, 0, 0, 0, 0] += 1
    torch.save(last, tmp_path / "last.pt")
    with pytest.raises(RuntimeError) as raised:
        train(tmp_path, chain(), scheduled("valley", network), resume=True)
    mentions(str(raised.value), "1–4 … changed")


def test_a_training_that_stops_early_proves_its_last_interval_and_releases(tmp_path):
    """Patience does not count before the last phase, which begins at iteration 7; best is the validation at 8."""
    network = chain()
    dice = [0.9, 0.5, 0.4, 0.3, 0.2]
    trainer, _, _ = train(tmp_path, network, scheduled("valley", network), patience=4, dice=dice)
    assert trainer.state.iteration == 12
    assert [(row.first, row.last, row.is_proven) for row in read_phases(tmp_path)] == [(1, 6, True), (7, 12, True)]
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert "train" not in network.conv_0[1].__dict__


def test_what_was_frozen_before_stays_frozen_in_all_phases(tmp_path):
    network = chain()
    freeze(network, 1)
    held = frozen_sha256(network)
    _, _, moves = train(tmp_path, network, scheduled("gradual", network))
    assert all("conv_0" not in moved for moved in moves.moved.values())
    assert frozen_sha256(network) == held
    assert not network.train().conv_0.training
    rows = read_phases(tmp_path)
    assert [row.frozen for row in rows] == ["conv_0+res_1+conv_1", "conv_0+res_1", "conv_0", "conv_0"]
    assert all(row.is_proven for row in rows)


def cut_at(folder, iteration):
    """Train by valley until an iteration, and return the schedule."""
    network = chain()

    def kill(now, network):
        if now == iteration:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(folder, network, scheduled("valley", network), disturb=kill)
    return scheduled("valley", network)


def test_a_training_whose_record_is_lost_is_not_resumed(tmp_path):
    schedule = cut_at(tmp_path, 9)
    rows = read_phases(tmp_path)
    for left, message in ((rows[:1], "lacks iteration 7 … 8: restore"), ([], "lacks iteration 1 … 8: restore")):
        write_phases(tmp_path, left)
        with pytest.raises(DataError) as refused:
            train(tmp_path, chain(), schedule, resume=True)
        mentions(str(refused.value), message)


def test_a_finished_training_has_to_prove_all_phases(tmp_path):
    schedule = cut_at(tmp_path, 9)
    with pytest.raises(RuntimeError) as unfinished:
        proven_phases(tmp_path, schedule.as_dict(), TOTAL)
    mentions(str(unfinished.value), "phases.csv … 2 phases of 20 … 1–6 … unchanged … 7–20: nothing frozen")
    train(tmp_path, chain(), schedule, resume=True)
    rows = proven_phases(tmp_path, schedule.as_dict(), TOTAL)
    assert [str(row) for row in rows] == [
        "iterations 1–6: conv_0, res_1, conv_1 frozen, unchanged bit for bit",
        "iterations 7–20: nothing frozen",
    ]
    for damaged in (rows[1:], [replace(rows[0], sha256_end="0"), rows[1]], [replace(rows[0], last=5), rows[1]]):
        write_phases(tmp_path, damaged)
        with pytest.raises(RuntimeError):
            proven_phases(tmp_path, schedule.as_dict(), TOTAL)


def test_what_cannot_be_followed_is_refused_before_any_work(tmp_path):
    network = chain()
    schedule = scheduled("valley", network)
    with pytest.raises(ConfigError) as refused:
        FollowPhases(tmp_path, network, schedule, norm="thaw")
    mentions(str(refused.value), "thaw … track")
    with pytest.raises(TransferError) as unknown:
        FollowPhases(tmp_path, unet(), schedule)
    mentions(str(unknown.value), "conv_2 … enc_0")
    short = build_schedule("valley", stages(network), 10)
    with pytest.raises(ConfigError) as other:
        train(tmp_path, network, short)
    mentions(str(other.value), "valley … 10 … 20")
    network.conv_2.requires_grad_(False)
    with pytest.raises(ConfigError) as nothing:
        FollowPhases(tmp_path, network, schedule)
    mentions(str(nothing.value), "nothing is trainable … valley … 1–6: conv_2")
    assert not list(tmp_path.iterdir())


def test_a_damaged_record_is_refused_with_its_line(tmp_path):
    (tmp_path / "phases.csv").write_text("first,last,trained,frozen,sha256_begin,sha256_end\n1,six,a,b,c,d\n")
    with pytest.raises(DataError) as damaged:
        read_phases(tmp_path)
    mentions(str(damaged.value), "line 2 … six")
