"""Ordinary weights of MONAI's networks are recognised by names and shapes, or not at all."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import UNETR, DynUNet, SegResNet, SegResNetDS, SwinUNETR, UNet

from monai_tl.networks.build import build_network
from monai_tl.networks.network_spec import NetworkSpec
from monai_tl.networks.same_function import function_differences
from monai_tl.transfer.formats.monai_networks import guess_network
from monai_tl.transfer.source import load_weights, read_source
from tests.conftest import mentions
from tests.transfer.formats import layouts
from tests.transfer.formats.test_swin_vit import saved

DEEP = {"deep_supervision": True, "deep_supr_num": 2}
NETWORKS = [
    ("HighRes3DNet", {"head_norm": True}),
    ("SegResNet", {"init_filters": 8, "blocks_down": [1, 2, 2], "blocks_up": [1, 1]}),
    ("SegResNet", {"init_filters": 8, "blocks_down": [1, 2], "blocks_up": [2], "upsample_mode": "deconv"}),
    ("SegResNet", {"init_filters": 8, "blocks_down": [1, 2], "blocks_up": [2], "upsample_mode": "pixelshuffle"}),
    ("SegResNet", {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1], "norm": "batch"}),
    ("SegResNetDS", {"init_filters": 8, "blocks_down": [1, 2, 2]}),
    ("SegResNetDS", {"init_filters": 8, "blocks_down": [1, 2, 2], "norm": "instance"}),
    ("SwinUNETR", {"feature_size": 12, "downsample": "merging"}),
    ("SwinUNETR", {"feature_size": 12, "depths": [1, 2, 1, 1], "use_v2": True, "downsample": "merging"}),
    (
        "DynUNet",
        {
            "kernel_size": [[3, 3, 1], 3, 3],
            "strides": [1, 2, [2, 2, 1]],
            "upsample_kernel_size": [2, [2, 2, 1]],
            "filters": [8, 16, 24],
            "res_block": True,
        },
    ),
    ("BasicUNet", {"features": [8, 8, 16, 16, 32, 8]}),
    ("BasicUNet", {"features": [8, 8, 16, 16, 32, 8], "norm": "batch", "upsample": "nontrainable"}),
    ("VNet", {}),
    ("UNETR", {"img_size": [32, 32, 32], "feature_size": 8, "hidden_size": 24, "mlp_dim": 16}),
]


@pytest.mark.parametrize(("network", "settings"), NETWORKS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_network_is_inferred_from_its_weights(tmp_path, network, settings):
    built = build_network(network, 2 if network != "VNet" else 1, 3, **settings)
    source = read_source(saved({"model": layouts.renamed(built.state_dict(), ("^", "module."))}, tmp_path))
    assert source.network == NetworkSpec(network, settings)
    assert source.weights.keys() == built.state_dict().keys()
    assert function_differences(source.network.build(2 if network != "VNet" else 1, 3), built) == []


def test_channels_are_inferred():
    assert guess_network(SegResNet(in_channels=4, out_channels=3).state_dict())[0].channels == (4, 3)


@pytest.mark.parametrize(
    ("network", "names"),
    [
        (lambda: DynUNet(3, 1, 2, [3] * 4, [1, 2, 2, 2], [2] * 3, **DEEP), "deep_supervision_heads"),
        (lambda: SegResNetDS(init_filters=8, blocks_down=(1, 1, 1), dsdepth=2), "up_layers.0.head."),
    ],
)
def test_heads_of_deep_supervision_are_left_out_and_named(tmp_path, network, names):
    source = read_source(saved(network().state_dict(), tmp_path))
    assert source.network is not None
    assert not any(name.startswith(names) for name in source.weights)
    mentions(" ".join(source.notes), "deep supervision", names)


def test_strides_of_a_unet_are_not_guessed(tmp_path):
    source = read_source(saved(UNet(3, 1, 2, (4, 8, 16), (2, 2), num_res_units=1).state_dict(), tmp_path))
    assert (source.family, source.network) == ("MONAI network", None)
    mentions(" ".join(source.remarks), "strides leave no trace", "--network UNet --set")


@pytest.mark.parametrize(("how", "fact"), [("missing", "lacks"), ("renamed", "has besides"), ("shape", "(3, 5) instead of")])
def test_weights_that_nearly_fit_are_those_of_no_network(tmp_path, how, fact):
    """They may be of a class of the user's own, and are refused when a SwinUNETR is to take them."""
    name = "swinViT.layers3.0.blocks.1.mlp.linear2.weight"
    network = layouts.swin_unetr()
    path = saved({"state_dict": layouts.damaged(network.state_dict(), how, name)}, tmp_path)
    source = read_source(path)
    assert source.network is None
    mentions(" ".join(source.remarks), "resembles SwinUNETR (feature_size=12", fact, name)
    with pytest.raises(ValueError, match="does not hold the weights of this network") as raised:
        load_weights(network, path)
    mentions(str(raised.value), name)


def test_merging_of_two_kinds_has_the_same_weights_and_another_function():
    """The naive way loads strictly and computes something else; the comparison names it."""
    ours, theirs = layouts.swin_unetr(), SwinUNETR(1, 14, feature_size=12, downsample="mergingv2").eval()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = torch.randn(1, 1, 64, 32, 32)
    with torch.no_grad():
        assert (ours(x) - theirs(x)).abs().max() > 1e-3
    differing = function_differences(ours, theirs)
    mentions(" ".join(differing), "PatchMerging becomes PatchMergingV2 in 4 modules: swinViT.layers1.0.downsample")
    assert function_differences(ours, layouts.swin_unetr()) == []


def old_unetr():
    """A UNETR from before MONAI 1.4, without the normalisation of a cross attention that it does not use."""
    network = UNETR(1, 2, (32, 32, 32), feature_size=8, hidden_size=24, mlp_dim=16)
    state = network.state_dict()
    return network.eval(), {name: value for name, value in state.items() if "norm_cross_attn" not in name}


def test_weights_that_older_monai_did_not_have_are_set_and_named(tmp_path):
    network, old = old_unetr()
    assert len(network.state_dict()) - len(old) == 24
    source = read_source(saved({"state_dict": old}, tmp_path))
    assert source.network.network == "UNETR"
    assert len(source.weights) == len(network.state_dict())
    mentions(" ".join(source.notes), "24 weights norm_cross_attn are not in the file")
    new = UNETR(1, 2, (32, 32, 32), feature_size=8, hidden_size=24, mlp_dim=16).eval()
    with torch.no_grad():
        for name, weight in new.named_parameters():
            if "norm_cross_attn" in name:
                weight.fill_(9.0)
    load_weights(new, tmp_path / "weights.pt")
    x = torch.randn(1, 1, 32, 32, 32)
    with torch.no_grad():
        assert torch.equal(new(x), network(x))
    values = [weight.unique().item() for name, weight in new.named_parameters() if "norm_cross_attn" in name]
    assert sorted(values) == [0.0] * 12 + [1.0] * 12, "what was there before is gone: declared, not left as it was"


def test_names_that_nobody_knows_are_an_ordinary_checkpoint(tmp_path):
    source = read_source(saved({"first.weight": torch.zeros(2, 1, 3, 3, 3)}, tmp_path))
    assert (source.family, source.network) == ("checkpoint", None)
