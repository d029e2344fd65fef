import pytest
import torch

from monai_tl.errors import ConfigError
from monai_tl.networks.highres3dnet import HighRes3DNet
from monai_tl.transfer.freeze import freeze
from monai_tl.transfer.rates import parameter_groups

NAMES = ("conv_0", "res_1", "res_2", "res_3", "conv_1", "conv_2")


def test_each_stage_has_its_rate():
    groups = parameter_groups(HighRes3DNet(1, 2), 1e-3, stage_rate=0.5, head_rate=10, weight_decay=0.01)
    assert [group["name"] for group in groups] == list(NAMES)
    assert [group["lr"] for group in groups] == pytest.approx([3.125e-5, 6.25e-5, 1.25e-4, 2.5e-4, 5e-4, 1e-2], rel=1e-12)
    assert {group["weight_decay"] for group in groups} == {0.01}


def test_every_rate_is_the_same_by_default():
    assert {group["lr"] for group in parameter_groups(HighRes3DNet(1, 2), 4e-3)} == {4e-3}


@pytest.mark.parametrize("frozen", range(6))
def test_frozen_stages_are_absent_and_all_else_is_there_once(frozen):
    network = HighRes3DNet(2, 2, head_norm=True)
    freeze(network, NAMES[:frozen])
    groups = parameter_groups(network, 1e-3, stage_rate=0.5)
    assert [group["name"] for group in groups] == list(NAMES[frozen:])
    given = [p for group in groups for p in group["params"]]
    assert len({id(p) for p in given}) == len(given)
    assert sum(p.numel() for p in given) == (809_380, 808_484, 766_820, 614_404, 5_444, 164)[frozen]
    assert groups[0]["lr"] == (1e-3 * 0.5 ** (5 - frozen))  # a stage's rate does not depend on what is frozen


def test_partly_held_weights_stand_apart_without_decay(tiny):
    network = tiny(channels=2)
    freeze(network, ["first"], trained_inputs={"first.conv.weight": [1]})
    groups = parameter_groups(network, 1e-3, stage_rate=0.5, weight_decay=0.01)
    assert [(group["name"], group["lr"], group["weight_decay"]) for group in groups] == [
        ("first, new channels", 0.25e-3, 0.0),
        ("body", 0.5e-3, 0.01),
        ("head", 1e-3, 0.01),
    ]
    assert groups[0]["params"] == [network.first.conv.weight]
    torch.optim.AdamW(groups)


@pytest.mark.parametrize("name", ["learning_rate", "stage_rate", "head_rate"])
@pytest.mark.parametrize("rate", ["1e-4", 0.0, -1e-3, float("nan"), float("inf"), None])
def test_a_rate_that_is_no_number_above_0_is_refused(tiny, name, rate):
    message = rf"^{name} takes a number above 0, .*; got {rate!r}"
    with pytest.raises(ConfigError, match=message):
        parameter_groups(tiny(), **{"learning_rate": 1e-3, name: rate})


@pytest.mark.parametrize("decay", ["1e-2", -0.01, float("nan"), None])
def test_a_decay_that_is_no_number_is_refused(tiny, decay):
    with pytest.raises(ConfigError, match=rf"^weight_decay.*0.*{decay!r}"):
        parameter_groups(tiny(), 1e-3, weight_decay=decay)


def test_nothing_to_train_is_refused(tiny):
    network = tiny().requires_grad_(False)
    with pytest.raises(ConfigError, match="nothing is trainable.*first, body, head"):
        parameter_groups(network, 1e-3)
