"""What each strategy moves and what it does not, through MONAI's trainer, on a network with and one without a decoder."""

from __future__ import annotations

import pytest
import torch
import yaml
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.handlers import LrScheduleHandler
from monai.losses import DiceCELoss
from torch import nn
from torch.utils.data import DataLoader

from monai_tl.errors import ConfigError
from monai_tl.networks.build import build_network
from monai_tl.networks.stages import stages
from monai_tl.training.phase_record import read_phases
from monai_tl.training.regime import Regime
from monai_tl.transfer.apply import apply_transfer
from monai_tl.transfer.apply_strategy import NORMS
from monai_tl.transfer.contract import Contract
from monai_tl.transfer.lora import merged_state
from monai_tl.transfer.rates import parameter_groups
from tests.conftest import ROOT, mentions

NETWORKS = {
    "chain": ("HighRes3DNet", {}),
    "unet": ("SegResNet", {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]}),
}
SOURCE = Contract(("T1",), (1.0, 1.0, 1.0), "RAS", "zscore_volume", ("background", "hippocampus"))
TARGET = Contract(("T1",), (1.0, 1.0, 1.0), "RAS", "zscore_volume", ("background", "tumour"))


def build(name, seed=0, in_channels=1):
    torch.manual_seed(seed)
    network, settings = NETWORKS[name]
    return build_network(network, in_channels, 2, **settings)


@pytest.fixture(params=NETWORKS)
def name(request):
    return request.param


@pytest.fixture
def transferred(name, tmp_path):
    """Give a function that transfers random weights to a target of another class by a strategy."""
    path = tmp_path / "source.pt"
    torch.save(build(name, seed=1).state_dict(), path)

    def transfer(strategy, contract=TARGET, **more):
        network = build(name, in_channels=len(contract.modalities))
        return apply_transfer(network, path, contract, source_contract=SOURCE, strategy=strategy, **more)

    return transfer


def train(transfer, folder, iterations=6, learning_rate=1e-2, weight_decay=0.0, steps=None):
    """Train a transfer as `transfer.yaml` does; return the regime, and the weights that changed in each iteration."""
    network, channels = transfer.network, len(transfer.report["contract"]["target"]["modalities"])
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(iterations, channels, 8, 8, 8, generator=generator)
    label = torch.randint(0, 2, (iterations, 1, 8, 8, 8), generator=generator).float()
    regime = Regime(transfer, iterations, folder)
    optimizer = torch.optim.AdamW(parameter_groups(network, learning_rate, weight_decay=weight_decay))
    plain = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
    loss = regime.objective(DiceCELoss(to_onehot_y=True, softmax=True))
    regime.validated(network)
    trainer = SupervisedTrainer(
        torch.device("cpu"), 1, DataLoader([{"image": one, "label": of} for one, of in zip(image, label, strict=True)]),
        network, optimizer, loss, epoch_length=iterations,
        train_handlers=[LrScheduleHandler(regime.schedule(plain), epoch_level=False, print_lr=False), regime],
    )  # fmt: skip
    moved, before = {}, {key: value.clone() for key, value in merged_state(network).items()}

    def note(engine):
        now = {key: value.clone() for key, value in merged_state(network).items()}
        moved[engine.state.iteration] = {key for key in now if not torch.equal(now[key], before[key])}
        before.update(now)

    trainer.add_event_handler(Events.ITERATION_COMPLETED, note)
    trainer.run()
    return regime, moved


def parts(network):
    """Return the names of all parameters, those of biases and norms, and those of the kernels of convolutions."""
    names = {key for key, _ in network.named_parameters()}
    norms = {f"{path}.{key}" for path, module in network.named_modules() if isinstance(module, NORMS)
             for key, _ in module.named_parameters(recurse=False)}  # fmt: skip
    kernels = {f"{path}.weight" for path, module in network.named_modules() if isinstance(module, nn.Conv3d)}
    return names, norms | {key for key in names if key.endswith(".bias")}, kernels


def of_stages(network, chosen):
    found = stages(network)
    return {key for key, _ in network.named_parameters() if found.stage_of(key) in chosen}


WHOLE = ["0", "1", "head", "decoder", "freeze=FIRST+THIRD", "llrd0.5", "l2sp0.01", "ema", "warmup"]


@pytest.mark.parametrize("strategy", WHOLE)
def test_whole_stages_are_trained_or_not(strategy, name, transferred, tmp_path):
    plain = build(name)
    found = stages(plain)
    strategy = strategy.replace("FIRST", found.names[0]).replace("THIRD", found.names[2])
    if strategy == "decoder" and name == "chain":
        pytest.skip("it has no decoder")
    trained = {
        "1": found.names[1:], "head": found.names[-1:], "decoder": (*found.decoder, found.head),
        f"freeze={found.names[0]}+{found.names[2]}": (found.names[1], *found.names[3:]),
    }.get(strategy, found.names)  # fmt: skip
    transfer = transferred(strategy)
    _, moved = train(transfer, tmp_path)
    parameters = set(dict(plain.named_parameters()))
    everything = set().union(*moved.values())
    assert everything & parameters == of_stages(plain, trained)
    assert {found.stage_of(key) for key in everything} == set(trained), "buffers too"
    rows = transfer.report["stages"]
    assert {key for key, row in rows.items() if row["state"] == "trained"} == set(trained)
    assert transfer.report["strategy"]["label"]


def test_bitfit_trains_biases_norms_and_the_head(name, transferred, tmp_path):
    plain = build(name)
    head = of_stages(plain, [stages(plain).head])
    names, small, _ = parts(plain)
    transfer = transferred("bitfit")
    _, moved = train(transfer, tmp_path)
    assert set().union(*moved.values()) & names == small | head
    rows = transfer.report["stages"]
    assert {row["state"] for row in rows.values()} == {"biases and norms", "trained"}
    assert rows[stages(plain).head]["state"] == "trained"
    assert sum(row["trainable"] for row in rows.values()) == sum(plain.get_parameter(key).numel() for key in small | head)


def test_lora_changes_kernels_and_the_head(name, transferred, tmp_path):
    plain = build(name)
    head = of_stages(plain, [stages(plain).head])
    names, _, kernels = parts(plain)
    transfer = transferred("lora2")
    _, moved = train(transfer, tmp_path)
    assert set().union(*moved.values()) & names == kernels | head
    assert not [key for key in set().union(*moved.values()) if "running" in key], "statistics stay the source's"
    rows = transfer.report["stages"]
    assert rows[stages(plain).names[1]]["state"] == "adapter"
    assert {row["parameters"] for row in rows.values()} == {
        sum(plain.get_parameter(key).numel() for key in of_stages(plain, [stage])) for stage in stages(plain)
    }


def test_with_freeze_the_frozen_stages_have_no_adapter_and_no_trained_bias(name, transferred, tmp_path):
    for strategy in ("lora2", "bitfit", "llrd0.5", "l2sp0.01", "ema", "warmup"):
        transfer = transferred(strategy, freeze=1)
        first = stages(transfer.network).names[0]
        _, moved = train(transfer, tmp_path / strategy)
        assert transfer.report["stages"][first]["state"] == "frozen"
        assert first not in {stages(transfer.network).stage_of(key) for key in set().union(*moved.values())}


@pytest.mark.parametrize("strategy", ["gradual", "valley", "sawtooth"])
def test_phases_unfreeze_from_the_head(strategy, name, transferred, tmp_path):
    transfer = transferred(strategy)
    found = stages(transfer.network)
    regime, moved = train(transfer, tmp_path, iterations=12)
    by_iteration = {at: {found.stage_of(key) for key in keys} for at, keys in moved.items()}
    first = (found.head,) if strategy == "gradual" or not found.decoder else (*found.decoder, found.head)
    assert by_iteration[1] == set(first)
    assert by_iteration[12] == set(found)
    assert all(row.is_proven for row in read_phases(tmp_path))
    states = {key: row["state"] for key, row in regime.report["stages"].items()}
    for stage in found:
        begins = next(at for at, moving in by_iteration.items() if stage in moving)
        assert states[stage] == (f"frozen until iteration {begins - 1}" if begins > 1 else "trained")
    assert regime.patience_after == max(int(state.split()[-1]) for state in states.values() if state != "trained")


def test_too_few_iterations_for_its_phases_are_refused(transferred, tmp_path):
    with pytest.raises(ConfigError, match="gradual needs"):
        Regime(transferred("gradual"), 2, tmp_path)


def test_the_warm_up_of_the_config_is_the_schedules(transferred, tmp_path):
    """In transfer.yaml too: a setting that is ignored would be a wrong result that looks right."""
    transfer = transferred("warmup")
    assert Regime(transfer, 100, tmp_path, 0.3).phases.factor(15, stages(transfer.network).head) == 15 / 30
    config = yaml.safe_load((ROOT / "bundles" / "brats_tumour_core" / "configs" / "transfer.yaml").read_text(encoding="utf-8"))
    assert config["regime"]["warm_up"] == "@warm_up"
    with pytest.raises(ConfigError, match="warm_up must be above 0 and below 0.5"):
        Regime(transferred("valley"), 100, tmp_path, 0.5)


def test_rates_fall_from_the_head(name, transferred):
    network = transferred("llrd0.5").network
    groups = parameter_groups(network, 1.0)
    assert [group["lr"] for group in groups] == [0.5**k for k in reversed(range(len(stages(network))))]
    with pytest.raises(ConfigError) as refused:
        parameter_groups(network, 1.0, stage_rate=0.9)
    mentions(str(refused.value), "0.5", "stage_rate to 1.0", "0.9")


def test_l2sp_stays_nearer_to_the_source_and_has_no_weight_decay(transferred, tmp_path):
    def distance(strategy):
        transfer = transferred(strategy)
        source = {key: value.clone() for key, value in transfer.network.state_dict().items()}
        train(transfer, tmp_path / strategy, iterations=10)
        kept = [key for key, fate in transfer.report["weights"].items() if fate == "copied" and "running" not in key]
        return sum(float((transfer.network.state_dict()[key] - source[key]).float().square().sum()) for key in kept)

    assert distance("l2sp10") < 0.8 * distance("0")
    groups = parameter_groups(transferred("l2sp10").network, 1.0, weight_decay=0.1)
    assert {group["weight_decay"] for group in groups} == {0.0}


def test_averaged_weights_are_validated_and_no_others(transferred, tmp_path):
    transfer = transferred("ema")
    regime, _ = train(transfer, tmp_path)
    averaged = regime.validated(transfer.network)
    assert averaged is not transfer.network
    assert any(not torch.equal(value, averaged.state_dict()[key]) for key, value in transfer.network.state_dict().items())
    other = transferred("0")
    assert Regime(other, 6, tmp_path).validated(other.network) is other.network


@pytest.mark.parametrize("strategy", ["lora2", "bitfit", "gradual", "valley", "head"])
def test_a_new_channel_is_learned_by_every_strategy(strategy, transferred, tmp_path):
    """Its kernels start at 0: were they frozen, the network would never see it. The known one's are frozen as asked."""
    both = Contract(("T1", "T2"), (1.0, 1.0, 1.0), "RAS", "zscore_volume", ("background", "tumour"))
    transfer = transferred(strategy, both)
    (kernel,) = transfer.report["input_weights"]
    before = merged_state(transfer.network)[kernel].clone()
    _, moved = train(transfer, tmp_path, iterations=12)
    assert kernel in moved[1], "from the first step"
    after = merged_state(transfer.network)[kernel]
    assert not torch.equal(after[:, 1], before[:, 1])
    assert torch.equal(after[:, 0], before[:, 0]) == (strategy in ("lora2", "bitfit", "head"))
    state = next(iter(transfer.report["stages"].values()))["state"]
    assert state == {
        "lora2": "adapter, new channels trained", "bitfit": "biases and norms, new channels trained",
        "head": "frozen, new channels trained",
    }.get(strategy, "trained")  # fmt: skip
