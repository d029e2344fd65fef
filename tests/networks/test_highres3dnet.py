import copy

import pytest
import torch
from monai.networks.nets import HighResNet
from scipy.stats import truncnorm
from torch import nn
from torch.nn import functional

from monai_tl.errors import ConfigError
from monai_tl.networks.highres3dnet import HighRes3DNet, own_names

SLOPE = 0.02


def seeded(*args, seed=0, **kwargs):
    torch.manual_seed(seed)
    return HighRes3DNet(*args, **kwargs)


def shake_norms(network):
    """Move every BatchNorm away from the identity, so that a swapped or missed one shows."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
    return network


def convolutions(network):
    return {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv3d)}


@pytest.fixture(scope="module")
def built():
    """Networks of 2 channels and 2 classes with a plain and a normalised head; drawing their weights takes a while."""
    return {head_norm: shake_norms(seeded(2, 2, head_norm=head_norm)).eval() for head_norm in (False, True)}


@pytest.fixture
def network(built):
    return copy.deepcopy(built[False])


@pytest.fixture
def image():
    torch.manual_seed(1)
    return torch.randn(1, 2, 5, 5, 5)


@pytest.fixture
def monai_network():
    torch.manual_seed(2)
    network = HighResNet(3, in_channels=2, out_channels=3, acti_type=("leakyrelu", {"negative_slope": SLOPE}))
    return shake_norms(network).double().eval()


def test_the_stages_have_the_parameters_of_the_study(built):
    counts = {name: sum(weight.numel() for weight in stage.parameters()) for name, stage in built[True].named_children()}
    assert counts == {
        "conv_0": 896,
        "res_1": 41664,
        "res_2": 152416,
        "res_3": 608960,
        "conv_1": 5280,
        "conv_2": 164,
    }
    assert sum(counts.values()) == 809380


def test_the_plain_head_is_80_weights_and_a_bias_per_class(network):
    head = dict(network.conv_2.named_parameters())
    assert {name: tuple(weight.shape) for name, weight in head.items()} == {
        "conv.weight": (2, 80, 1, 1, 1),
        "conv.bias": (2,),
    }


def test_norms_and_activations_have_the_settings_of_the_study(built):
    modules = list(built[True].modules())
    assert {(m.momentum, m.eps) for m in modules if isinstance(m, nn.BatchNorm3d)} == {(0.1, 1e-5)}
    assert {m.negative_slope for m in modules if isinstance(m, nn.LeakyReLU)} == {SLOPE}


def receptive_field(network):
    """Count the voxels along one axis that a logit sees, through convolutions of stride 1 one after another."""
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv3d)]
    return 1 + sum(convolution.dilation[0] * (convolution.kernel_size[0] - 1) for convolution in convolutions)


@pytest.mark.parametrize("axis", [2, 3, 4])
def test_a_logit_depends_on_exactly_87_voxels_along_each_axis(network, axis):
    shape = [1, 2, 1, 1, 1]
    shape[axis] = 101
    image = torch.randn(shape, dtype=torch.double, requires_grad=True)
    network.double()(image)[0, 1].flatten()[50].backward()
    for channel in image.grad[0]:
        seen = channel.flatten().nonzero().flatten().tolist()
        assert seen == list(range(50 - 43, 50 + 43 + 1))
    assert receptive_field(network) == 87


def test_initial_weights_follow_a_normal_distribution_cut_at_two_standard_deviations():
    for name, convolution in convolutions(seeded(16, 32)).items():
        fan_in = convolution.in_channels * convolution.kernel_size[0] ** 3
        std = (2 / fan_in) ** 0.5
        assert convolution.weight.std().item() == pytest.approx(std, rel=0.05), name
        assert convolution.weight.mean().item() == pytest.approx(0, abs=0.06 * std), name
        # the bound, in units of what is left after cutting, from scipy's own truncated normal
        bound = 2 * std / truncnorm.std(-2, 2)
        assert 0.98 * bound < convolution.weight.abs().max().item() <= bound * (1 + 1e-6), name


def test_initial_biases_are_zero(network):
    assert network.conv_2.conv.bias.tolist() == [0, 0]


def test_the_seed_decides_the_initial_weights():
    first, again, other = (seeded(2, 2, seed=seed).state_dict() for seed in (5, 5, 6))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first if name.endswith("conv.weight"))


@pytest.mark.parametrize("read", [own_names, dict], ids=["own_names", "load_state_dict"])
def test_weights_of_monais_highresnet_give_its_features_and_logits(monai_network, image, read):
    network = seeded(2, 3, head_norm=True).double().eval()
    network.load_state_dict(read(monai_network.state_dict()))
    features, expected = image.double(), image.double()
    stage_ends = {"conv_0": 0, "res_1": 3, "res_2": 6, "res_3": 9, "conv_1": 10}
    blocks = list(monai_network.blocks)
    with torch.no_grad():
        for (name, end), start in zip(stage_ends.items(), [0, 1, 4, 7, 10], strict=True):
            features = network.get_submodule(name)(features)
            for block in blocks[start : end + 1]:
                expected = block(expected)
            assert torch.equal(features, expected), name
        logits = network.conv_2(features)
        # MONAI's head ends in the activation, ours in what goes into it
        assert torch.equal(functional.leaky_relu(logits, SLOPE), blocks[11](expected))
    assert logits.min() < 0 < logits.max()


def test_own_names_give_every_weight_of_highresnet_a_place_of_ours(built, monai_network):
    theirs = monai_network.state_dict()
    ours = own_names(theirs)
    assert list(ours) == list(built[True].state_dict())
    assert ours["res_2.1.layers.3.conv.weight"] is theirs["blocks.5.layers.3.conv.weight"]


@pytest.mark.parametrize(
    "names",
    [
        ["conv_0.conv.weight", "res_3.2.layers.0.N.weight"],
        ["blocks.0.attn.qkv.weight", "blocks.11.mlp.linear1.weight"],
        ["blocks.0.conv.weight", "blocks.12.conv.weight"],
        ["blocks.0.conv.weight", "norm.weight"],
        [],
    ],
    ids=["own", "transformer", "deeper", "mixed", "empty"],
)
def test_own_names_leave_everything_else_alone(names):
    assert own_names(dict.fromkeys(names, 0)) == dict.fromkeys(names, 0)


def test_own_state_dict_comes_back_bit_for_bit(network, image):
    other = seeded(2, 2, seed=9).eval()
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(image), network(image))


def test_a_state_dict_with_a_weight_missing_is_refused(network):
    state = network.state_dict()
    del state["res_2.0.layers.1.conv.weight"]
    with pytest.raises(RuntimeError, match=r"Missing key.*res_2\.0\.layers\.1\.conv\.weight"):
        network.load_state_dict(state)


def test_the_plain_heads_bias_reaches_the_logits_unbounded(network, image):
    before = network(image)
    network.conv_2.conv.bias.data = torch.tensor([-1000.0, 1000.0])
    torch.testing.assert_close(network(image) - before, torch.tensor([-1e3, 1e3]).view(1, 2, 1, 1, 1).expand_as(before))


def test_a_single_voxel_meets_only_the_centres_of_the_kernels(network):
    voxel = torch.randn(1, 2, 1, 1, 1)
    expected = network(voxel)
    for convolution in convolutions(network).values():
        centre = torch.zeros_like(convolution.weight)
        middle = convolution.kernel_size[0] // 2
        centre[:, :, middle, middle, middle] = 1
        convolution.weight.data *= centre
    torch.testing.assert_close(network(voxel), expected)
    # and now no voxel looks at its neighbours, whatever the size
    torch.testing.assert_close(network(voxel.expand(1, 2, 3, 7, 5)), expected.expand(1, 2, 3, 7, 5))


@pytest.mark.parametrize("frozen", [0, 2])
def test_in_place_activations_leave_every_gradient_as_it_is(network, image, frozen):
    in_place = network.train()
    for stage in list(in_place.children())[:frozen]:
        stage.requires_grad_(False)
    plain = copy.deepcopy(in_place)
    for module in plain.modules():
        if isinstance(module, nn.LeakyReLU):
            module.inplace = False
    for trained in (in_place, plain):
        trained(image).square().sum().backward()
    for (name, ours), theirs in zip(in_place.named_parameters(), plain.parameters(), strict=True):
        assert (ours.grad is None) == (not ours.requires_grad), name
        assert ours.grad is None or torch.equal(ours.grad, theirs.grad), name


@pytest.mark.parametrize("head_norm", [False, True])
def test_scripted_and_traced_networks_compute_the_same_at_another_size(built, image, head_norm):
    network = built[head_norm]
    larger = torch.randn(2, 2, 7, 4, 6)
    with torch.no_grad():
        for compiled in (torch.jit.script(network), torch.jit.trace(network, image, check_trace=False)):
            torch.testing.assert_close(compiled(larger), network(larger), rtol=1e-5, atol=1e-5)


def test_the_exported_network_computes_the_same_at_another_size(network, image):
    any_size = {axis: torch.export.Dim(f"axis_{axis}", max=512) for axis in (2, 3, 4)}
    exported = torch.export.export(network, (image,), dynamic_shapes=[any_size]).module()
    larger = torch.randn(1, 2, 7, 4, 6)
    torch.testing.assert_close(exported(larger), network(larger), rtol=1e-5, atol=1e-5)


def test_channels_last_computes_the_same(network):
    image = torch.randn(2, 2, 9, 8, 7)
    expected = network(image)
    layout = torch.channels_last_3d
    logits = network.to(memory_format=layout)(image.to(memory_format=layout))
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_bf16_autocast_stays_within_its_precision(network, image):
    expected = network(image)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(image)
    assert logits.dtype == torch.bfloat16
    # bf16 keeps 8 bits: 0.4 % an operation, some 20 operations deep
    assert (logits.float() - expected).norm() < 0.03 * expected.norm()


@pytest.mark.parametrize(("in_channels", "out_channels"), [(0, 2), (2, 0)])
def test_a_network_without_channels_is_refused(in_channels, out_channels):
    with pytest.raises(ConfigError, match=f"1 channel.*{in_channels}.*{out_channels}"):
        HighRes3DNet(in_channels, out_channels)


def test_a_slope_of_0_is_relu_that_can_be_trained_and_is_kept_by_rebuilding():
    network = HighRes3DNet(in_channels=1, out_channels=2, negative_slope=0)
    kinds = {type(module).__name__ for module in network.modules() if "ReLU" in type(module).__name__}
    assert kinds == {"ReLU"}
    network(torch.randn(1, 1, 8, 8, 8)).sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())
    again = network.rebuild(True, False)
    assert {type(module).__name__ for module in again.modules() if "ReLU" in type(module).__name__} == {"ReLU"}
    assert again.conv_0.conv.weight.shape[1] == 2
