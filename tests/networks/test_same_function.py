from __future__ import annotations

import pytest
from monai.networks.nets import SegResNet
from torch import nn

from monai_tl.networks.highres3dnet import HighRes3DNet
from monai_tl.networks.network_spec import NetworkSpec
from monai_tl.networks.outline import outline
from monai_tl.networks.same_function import function_differences
from tests.conftest import mentions


def two(**settings) -> tuple[nn.Module, nn.Module]:
    return nn.Sequential(nn.Conv3d(2, 2, 3, padding=1)), nn.Sequential(nn.Conv3d(2, 2, 3, **{"padding": 1, **settings}))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"stride": 2}, "Conv3d: stride 1 becomes 2 in 0"),
        ({"stride": (1, 1, 2)}, "Conv3d: stride 1 becomes (1, 1, 2) in 0"),
        ({"dilation": 2, "padding": 2}, "Conv3d: dilation 1 becomes 2 in 0"),
        ({"padding_mode": "reflect"}, "Conv3d: padding_mode zeros becomes reflect in 0"),
    ],
)
def test_what_weights_do_not_show_is_told(settings, told):
    assert told in function_differences(*two(**settings))


def test_channels_and_dropout_are_no_other_function():
    assert function_differences(HighRes3DNet(1, 2), HighRes3DNet(3, 5)) == []
    one, other = (SegResNet(init_filters=8, in_channels=1, out_channels=2, dropout_prob=rate) for rate in (0.1, 0.5))
    assert function_differences(one, other) == []


def test_another_activation_is_told_once_for_all_its_modules():
    (told,) = function_differences(HighRes3DNet(1, 2, negative_slope=0), HighRes3DNet(1, 2))
    mentions(told, "ReLU becomes LeakyReLU in 20 modules: conv_0.adn.A")


def test_an_outline_has_names_and_shapes_and_draws_no_random_numbers():
    import torch

    for network in ("SegResNet", "SwinUNETR"):  # the second one cannot be built without values
        settings = {"init_filters": 8} if network == "SegResNet" else {"feature_size": 12}
        torch.manual_seed(0)
        before = torch.get_rng_state()
        built = outline(NetworkSpec(network, settings), 1, 2)
        assert torch.equal(torch.get_rng_state(), before)
        assert built.state_dict().keys() == NetworkSpec(network, settings).build(1, 2).state_dict().keys()
