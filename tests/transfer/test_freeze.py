import copy
import io

import pytest
import torch
from monai.engines import SupervisedTrainer
from monai.losses import DiceCELoss
from torch import Tensor, nn
from torch.utils.data import DataLoader

from monai_tl.errors import ConfigError, TransferError
from monai_tl.networks.highres3dnet import HighRes3DNet
from monai_tl.networks.stage_names import resolve_freeze
from monai_tl.transfer.freeze import freeze, frozen_sha256, frozen_values, partly_frozen
from monai_tl.transfer.rates import parameter_groups

NAMES = ("conv_0", "res_1", "res_2", "res_3", "conv_1", "conv_2")
KERNEL = "conv_0.conv.weight"


def copied_state(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def train(network: nn.Module, optimizer: torch.optim.Optimizer | None = None, channels: int = 1, size: int = 8) -> None:
    """Two iterations of MONAI's trainer, which calls .train() in each, by AdamW with weight decay."""
    generator = torch.Generator().manual_seed(1)
    windows = [
        {
            "image": torch.randn(channels, size, size, size, generator=generator),
            "label": torch.randint(0, 2, (1, size, size, size), generator=generator).float(),
        }
        for _ in range(4)
    ]
    SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        epoch_length=2,
        train_data_loader=DataLoader(windows, batch_size=2),
        network=network,
        optimizer=optimizer or torch.optim.AdamW(parameter_groups(network, 1e-2, weight_decay=0.1)),
        loss_function=DiceCELoss(to_onehot_y=True, softmax=True),
        decollate=False,
    ).run()


def highres(channels: int = 1) -> HighRes3DNet:
    torch.manual_seed(0)
    return HighRes3DNet(channels, 2)


@pytest.mark.parametrize("frozen", [2, "2", "body", ["first", "body"]])
def test_a_count_a_name_and_all_names_freeze_alike(tiny, frozen):
    network = tiny()
    freeze(network, frozen)
    assert {name.split(".")[0] for name in frozen_values(network)} == {"first", "body"}
    assert all(p.requires_grad for p in network.head.parameters())


@pytest.mark.parametrize("frozen", range(6))
def test_exactly_the_trainable_stages_move(frozen):
    """MONAI's trainer calls .train() every iteration: freezing has to survive it, statistics included."""
    network = highres()
    freeze(network, resolve_freeze(NAMES, frozen))
    before, held = copied_state(network), frozen_sha256(network)
    train(network)
    for name, value in network.state_dict().items():
        moved = not torch.equal(value, before[name])
        assert moved == (name.split(".")[0] in NAMES[frozen:]), name
    assert frozen_sha256(network) == held


@pytest.mark.parametrize("frozen", [1, 3])
def test_tracked_statistics_move_and_weights_do_not(frozen):
    network = highres()
    freeze(network, NAMES[:frozen], norm="track")
    before, held = copied_state(network), frozen_sha256(network)
    train(network)
    parameters = dict(network.named_parameters())
    for name, value in network.state_dict().items():
        still = name in parameters and name.split(".")[0] in NAMES[:frozen]
        assert torch.equal(value, before[name]) == still, name
    assert frozen_sha256(network) == held


def test_stages_frozen_while_the_optimiser_holds_their_weights_do_not_move(tiny):
    """A frozen weight never gets a gradient, so even an optimiser made beforehand, with momentum, leaves it alone."""
    network = tiny()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    freeze(network, ["first", "body"])
    before = copied_state(network)
    train(network, optimizer)
    assert {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])} == {
        "head.weight",
        "head.bias",
    }


def test_no_call_of_train_revives_a_frozen_norm(tiny):
    network = tiny()
    freeze(network, ["first"])
    for module in network.modules():
        assert module.train() is module
        assert module.train(True) is module
    assert not any(module.training for module in network.first.modules())
    assert all(module.training for module in network.body.modules())
    before = frozen_sha256(network)
    network(torch.randn(2, 1, 8, 8, 8))
    assert frozen_sha256(network) == before
    assert network.body.norm.num_batches_tracked == 1
    assert not network.eval().body.training


def test_freezing_leaves_the_output_in_evaluation_as_it_was(tiny):
    network, image = tiny().eval(), torch.randn(1, 1, 8, 8, 8)
    before = network(image)
    freeze(network, ["first", "body"])
    assert torch.equal(network(image), before)


@pytest.mark.parametrize("norm", ["freeze", "track"])
def test_no_gradient_is_computed_through_the_frozen_prefix(norm):
    network = highres()
    freeze(network, NAMES[:4], norm=norm)
    seen = {}
    for name, stage in network.named_children():
        stage.register_forward_hook(lambda module, inputs, output, name=name: seen.update({name: output.requires_grad}))
    network.train()(torch.randn(2, 1, 8, 8, 8)).mean().backward()
    assert seen == {"conv_0": False, "res_1": False, "res_2": False, "res_3": False, "conv_1": True, "conv_2": True}
    assert all(p.grad is None for name, p in network.named_parameters() if name.split(".")[0] in NAMES[:4])


def through_pickle(network: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copier", [copy.deepcopy, through_pickle])
def test_a_copy_is_as_frozen_as_its_original(tiny, copier):
    network = tiny(channels=2)
    freeze(network, ["first"], trained_inputs={"first.conv.weight": [1]})
    network(torch.randn(1, 2, 8, 8, 8))  # a pass before the copy must not be needed, nor be in the way
    twin = copier(network)
    assert frozen_sha256(twin) == frozen_sha256(network)
    assert partly_frozen(twin) == {"first.conv.weight"}
    before = copied_state(twin)
    original = copied_state(network)
    train(twin, channels=2)
    assert frozen_sha256(twin) == frozen_sha256(network)
    assert torch.equal(twin.first.conv.weight[:, 0], before["first.conv.weight"][:, 0])
    assert not torch.equal(twin.first.conv.weight[:, 1], before["first.conv.weight"][:, 1])
    assert torch.equal(twin.first.norm.running_mean, before["first.norm.running_mean"])
    assert not torch.equal(twin.body.norm.running_mean, before["body.norm.running_mean"])
    assert all(torch.equal(value, original[name]) for name, value in network.state_dict().items())  # it stands alone
    network.train()
    assert not network.first.norm.training


@pytest.mark.parametrize(
    "optimiser",
    [
        lambda groups: torch.optim.AdamW(groups),
        lambda groups: torch.optim.SGD(groups, momentum=0.9, nesterov=True),
    ],
    ids=["AdamW", "SGD"],
)
@pytest.mark.parametrize("norm", ["freeze", "track"])
def test_only_the_kernels_of_new_channels_move_in_a_frozen_stage(optimiser, norm):
    network = highres(channels=3)
    freeze(network, NAMES[:2], norm=norm, trained_inputs={KERNEL: [1]})
    before, held = copied_state(network), frozen_sha256(network)
    train(network, optimiser(parameter_groups(network, 1e-2, weight_decay=0.1)), channels=3)
    after = network.state_dict()
    moved = [not torch.equal(after[KERNEL][:, n], before[KERNEL][:, n]) for n in range(3)]
    assert moved == [False, True, False]
    others = [name for name, _ in network.named_parameters() if name.split(".")[0] in NAMES[:2] and name != KERNEL]
    assert len(others) == 20
    assert all(torch.equal(after[name], before[name]) for name in others)
    assert frozen_sha256(network) == held


def test_a_gradient_that_is_not_finite_leaves_known_channels_alone(tiny):
    """0 times infinity is NaN: the mask has to replace, not to multiply."""
    network = tiny(channels=2)
    freeze(network, ["first"], trained_inputs={"first.conv.weight": [1]})
    (network(torch.randn(1, 2, 8, 8, 8)).sum() * torch.inf).backward()
    gradient = network.first.conv.weight.grad
    assert not gradient[:, 1].isfinite().all()
    assert torch.equal(gradient[:, 0], torch.zeros_like(gradient[:, 0]))


def test_held_values_are_copies_of_all_that_was_promised(tiny):
    network = tiny(channels=2)
    freeze(network, ["first"], trained_inputs={"first.conv.weight": [1]})
    held = frozen_values(network)
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    assert set(held) == {"first.conv.weight", *(f"first.norm.{name}" for name in norm)}
    assert torch.equal(held["first.conv.weight"], network.first.conv.weight[:, :1].detach().flatten())
    network.first.norm.running_mean += 1
    assert torch.equal(held["first.norm.running_mean"], torch.zeros(4))
    assert frozen_values(tiny()) == {}


@pytest.mark.parametrize("name", ["first.conv.weight", "first.norm.bias", "first.norm.running_var"])
def test_the_hash_sees_the_smallest_change_of_a_held_value(tiny, name):
    network = tiny()
    freeze(network, ["first"])
    before = frozen_sha256(network)
    value = network.state_dict()[name].view(-1)
    value[-1] = torch.nextafter(value[-1], torch.tensor(torch.inf))
    assert frozen_sha256(network) != before


def test_the_hash_sees_counters_and_single_numbers(tiny):
    network = tiny()
    network.first.register_parameter("scale", nn.Parameter(torch.tensor(1.0)))
    network.first.register_buffer("scratch", torch.tensor([1.0]), persistent=False)
    freeze(network, ["first"])
    hashes = [frozen_sha256(network)]
    network.first.norm.num_batches_tracked += 1
    hashes.append(frozen_sha256(network))
    network.first.scale.data += 1e-6
    hashes.append(frozen_sha256(network))
    network.first.scratch += 1
    hashes.append(frozen_sha256(network))
    assert len(set(hashes)) == 4


def test_the_hash_does_not_see_what_is_not_held(tiny):
    network = tiny(channels=2)
    freeze(network, ["first"], norm="track", trained_inputs={"first.conv.weight": [1]})
    before = frozen_sha256(network)
    network.first.conv.weight.data[:, 1] += 1
    network.first.norm.running_mean += 1
    network.body.conv.weight.data += 1
    network.head.bias.data += 1
    assert frozen_sha256(network) == before
    network.to(memory_format=torch.channels_last_3d)
    assert frozen_sha256(network) == before
    network.first.conv.weight.data[0, 0, 0, 0, 0] += 1
    assert frozen_sha256(network) != before


def test_the_mask_of_new_channels_survives_a_change_of_layout(tiny):
    network = tiny(channels=2)
    freeze(network, ["first"], trained_inputs={"first.conv.weight": [1]})
    network.to(memory_format=torch.channels_last_3d)
    held = frozen_sha256(network)
    train(network, channels=2)
    assert frozen_sha256(network) == held


def test_a_second_call_holds_more(tiny):
    network = tiny()
    freeze(network, ["first"])
    one = set(frozen_values(network))
    freeze(network, ["body"])
    assert set(frozen_values(network)) == one | {name.replace("first", "body") for name in one}
    assert [p.requires_grad for p in network.parameters()] == [False] * 6 + [True] * 2


@pytest.mark.parametrize(
    ("frozen", "norm", "message"),
    [
        (["first", "bodi"], "freeze", r"^no stage.*'bodi'.*'body'\?.*first, body, head, encoder$"),
        (["first"], "freez", r"^unknown norm 'freez'.*'freeze'\?.*freeze, track$"),
    ],
)
def test_unknown_words_are_refused_before_anything_is_frozen(tiny, frozen, norm, message):
    network = tiny()
    with pytest.raises((ConfigError, TransferError), match=message):
        freeze(network, frozen, norm=norm)
    assert all(p.requires_grad for p in network.parameters())
    assert network.train().first.norm.training
    assert frozen_values(network) == {}
