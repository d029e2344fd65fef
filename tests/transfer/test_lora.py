"""Low-rank adapters, over every known network: what moves, what does not, and that an ordinary network comes out."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from torch import Tensor, nn
from torch.nn.utils import parametrize

from monai_tl.device import MixedPrecisionInferer, place
from monai_tl.errors import ConfigError, TransferError
from monai_tl.networks.build import build_network
from monai_tl.networks.highres3dnet import HighRes3DNet
from monai_tl.networks.known import unused_weights
from monai_tl.networks.stage_map import StageMap
from monai_tl.networks.stages import stages
from monai_tl.transfer.freeze import freeze, frozen_sha256, frozen_values
from monai_tl.transfer.lora import LowRankChange, add_lora, change_rank, load_merged, merged_state, remove_lora
from monai_tl.transfer.rates import parameter_groups
from tests.conftest import mentions
from tests.networks.conftest import ALL, patch_of, small

RANK = 2


def nnunet(kind: type[nn.Module], **more: Any) -> nn.Module:
    """One of nnU-Net's networks, which list each weight of the encoder under four names."""
    network = kind(
        1, 3, [4, 8, 8], nn.Conv3d, 3, [1, 2, 2], num_classes=2, n_conv_per_stage_decoder=[1, 1], conv_bias=True,
        norm_op=nn.InstanceNorm3d, norm_op_kwargs={"affine": True}, nonlin=nn.LeakyReLU, deep_supervision=True, **more,
    )  # fmt: skip
    decoder = ["decoder.transpconvs", "decoder.stages"]  # decoder.encoder is the encoder again
    network.stage_map = StageMap({"enc": ["encoder"], "dec": decoder, "head": ["decoder.seg_layers"]}, ("dec",))
    return network


def nnunet_or_known(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "plain":
        return nnunet(PlainConvUNet, n_conv_per_stage=[1, 1, 1])
    if name == "residual":
        return nnunet(ResidualEncoderUNet, n_blocks_per_stage=[1, 1, 1])
    network = small(name)
    for module in network.modules():
        if isinstance(module, nn.InstanceNorm3d) and module.affine:
            nn.init.ones_(module.weight)  # nnU-Net begins with residual blocks that are 0, of which adapters learn nothing
    return network


NETWORKS = [name for name in ALL if "efficientnet" not in name]  # with random weights, most of its features are 0
each_network = pytest.mark.parametrize("name", [*NETWORKS, "plain", "residual"])


def image_for(name: str) -> Tensor:
    return patch_of(name if name in ALL else "PlainConvUNet", 1)


def logits(network: nn.Module, image: Tensor) -> Tensor:
    out = network(image)
    while isinstance(out, list | tuple):
        out = out[0]
    return out


def loss_of(network: nn.Module, image: Tensor) -> Tensor:
    out = network(image)
    parts = out if isinstance(out, list | tuple) else [out]
    return sum(part.square().mean() for part in parts if part is not None)


def as_trained(network: nn.Module, image: Tensor) -> nn.Module:
    """Let the gradient reach each layer, as in a trained network: factors of 0 and statistics of nothing stop it."""
    for parameter in network.parameters():
        if not parameter.any():  # nnU-Net's residual blocks begin with such norms
            nn.init.normal_(parameter, std=0.1)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm3d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.cat([image, image.flip(2)]))  # two, as the lowest level may have one voxel
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return network


def train(network: nn.Module, image: Tensor, steps: int = 2, rate: float = 1e-2) -> dict[str, Tensor]:
    """Train a few steps; return each trained weight's largest gradient of any step."""
    optimizer = torch.optim.AdamW(parameter_groups(network, rate, weight_decay=0.1))
    largest: dict[str, Tensor] = {}
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(network.train(), image).backward()
        for name, parameter in network.named_parameters():
            if parameter.grad is not None:
                largest[name] = max(largest.get(name, torch.tensor(0.0)), parameter.grad.abs().max())
        optimizer.step()
    return largest


def state_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


@each_network
def test_adapters_learn_and_an_ordinary_network_comes_out(name):
    image = image_for(name)
    network = as_trained(nnunet_or_known(name), image)
    ordinary, idle = copy.deepcopy(network), set(unused_weights(network))
    source, head = state_of(network), stages(network).head
    before = logits(network.eval(), image)
    adapters = add_lora(network, RANK)
    assert torch.equal(logits(network.eval(), image), before), "unchanged at the start"

    held, trained = frozen_sha256(network), {n for n, p in network.named_parameters() if p.requires_grad}
    gradients = train(network, image)
    factors = {n for n in trained if ".parametrizations." in n}
    learning = {n for n in factors if f"{n.split('.parametrizations')[0]}.weight" not in idle}
    assert {n for n in learning if n not in gradients or not gradients[n] > 0} == set()
    assert set(gradients) <= trained
    assert len(factors) == 2 * len(adapters.ranks)
    assert frozen_sha256(network) == held, "bases, biases, norms and statistics are unchanged bit for bit"
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == adapters.trainable

    merged = merged_state(network)
    assert list(merged) == list(source)
    found = stages(ordinary)
    for weight, value in merged.items():
        path, _, key = weight.rpartition(".")
        adapted = key == "weight" and parametrize.is_parametrized(network.get_submodule(path))
        still = weight in idle or (not adapted and found.stage_of(weight) != head)
        assert torch.equal(value, source[weight]) == still, weight
    for weight, rank in adapters.ranks.items():
        change = network.get_submodule(weight.removesuffix(".weight")).parametrizations.weight[0]
        assert change.up.shape[1] == change.down.shape[0] == rank
        product = (change.up.double() @ change.down.double()).view_as(source[weight])
        rest = (merged[weight].double() - source[weight].double() - product).abs().max()
        assert rest <= 1e-6 * (source[weight].abs().max() + product.abs().max()), weight
        assert change_rank(source[weight], merged[weight]) <= rank, weight

    after = logits(network.eval(), image)
    assert not torch.allclose(after, before, atol=1e-3)
    ordinary.load_state_dict(merged)
    assert torch.allclose(logits(ordinary.eval(), image), after, atol=1e-4)
    remove_lora(network)
    assert torch.allclose(logits(network.eval(), image), after, atol=1e-4)
    assert set(network.state_dict()) == set(source)
    assert not any(isinstance(module, LowRankChange) for module in network.modules())


def test_adapters_of_shared_layers_get_their_gradient():
    """nnU-Net's forward pass runs through ``all_modules``, where a wrapper around ``conv`` would not be."""
    network = nnunet_or_known("plain")
    adapters = add_lora(network, RANK)
    conv = network.get_submodule("encoder.stages.0.0.convs.0.conv")
    assert conv is network.get_submodule("decoder.encoder.stages.0.0.convs.0.all_modules.0")
    assert len(adapters.ranks) == 3 + 2 + 2  # encoder, transposed convolutions, decoder: each once
    train(network, image_for("plain"), steps=1)
    assert conv.parametrizations.weight[0].up.abs().min() > 0
    merged = merged_state(network)
    aliases = [
        name for name in merged if merged[name].data_ptr() == merged["encoder.stages.0.0.convs.0.conv.weight"].data_ptr()
    ]
    assert len(aliases) == 4


def test_grouped_transposed_and_linear_layers_are_adapted():
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.depthwise = nn.Conv3d(6, 6, 3, padding=1, groups=6)
            self.grouped = nn.Conv3d(6, 4, 3, padding=1, groups=2)
            self.up = nn.ConvTranspose3d(4, 6, 2, stride=2, groups=2)
            self.linear = nn.Linear(6, 5)
            self.position = nn.Parameter(torch.zeros(1, 5))
            self.head = nn.Linear(5, 2)
            self.stage_map = StageMap({"body": ["depthwise", "grouped", "up", "linear", "position"], "head": ["head"]})

        def forward(self, image: Tensor) -> Tensor:
            features = self.up(self.grouped(self.depthwise(image))).movedim(1, -1)
            return self.head(self.linear(features) + self.position).movedim(-1, 1)

    network, image = Mixed(), torch.randn(1, 6, 4, 4, 4)
    before, source = network(image), state_of(network)
    adapters = add_lora(network, 5)
    assert torch.equal(network(image), before)
    # out × (in / groups · 27): 6 × 27, 4 × 81; in × (out / groups · 8): 4 × 24; 5 × 6
    assert adapters.ranks == {"depthwise.weight": 5, "grouped.weight": 4, "up.weight": 4, "linear.weight": 5}
    assert adapters.left_out == ("position",)
    assert adapters.adapter_parameters == 5 * 33 + 4 * 85 + 4 * 28 + 5 * 11
    mentions(str(adapters), "rank 5 … 4 weights: 672 … lower rank … grouped.weight, up.weight … position")
    train(network, image)
    after, merged = network(image), merged_state(network)
    ordinary = Mixed()
    ordinary.load_state_dict(merged)
    assert torch.allclose(ordinary(image), after, atol=1e-5)
    assert torch.equal(merged["position"], source["position"])


def test_a_fused_attention_that_reads_its_weights_sees_the_change():
    network = nn.Sequential()
    network.add_module("body", nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True))
    network.add_module("head", nn.Linear(8, 2))
    image = torch.randn(2, 5, 8)
    adapters = add_lora(network, 2)
    assert set(adapters.ranks) == {f"body.{layer}.weight" for layer in ("self_attn.out_proj", "linear1", "linear2")}
    assert adapters.left_out == ("body.self_attn.in_proj_weight",)
    for module in network.modules():
        if isinstance(module, LowRankChange):
            nn.init.normal_(module.up)
    with torch.no_grad():  # evaluation without gradients takes the fused path
        after = network.eval()(image)
        remove_lora(network)
        assert torch.allclose(network(image), after, atol=1e-5)


def test_the_scale_is_alpha_by_rank():
    network = build_network("HighRes3DNet", 1, 2)
    base = network.conv_0.conv.weight.detach().clone()
    add_lora(network, 4, alpha=12)
    change = network.conv_0.conv.parametrizations.weight[0]
    nn.init.normal_(change.up)
    expected = base.double() + 3 * (change.up.double() @ change.down.double()).view_as(base)
    assert torch.allclose(network.conv_0.conv.weight.double(), expected, atol=1e-5)


def test_only_the_named_stages_are_adapted_and_others_stay_as_they_are():
    network = build_network("SegResNet", 1, 2, init_filters=8)
    freeze(network, ["enc_0"])
    adapters = add_lora(network, 2, stages=["enc_1"])
    assert all(name.startswith("down_layers.1.") for name in adapters.ranks)
    trainable = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert not any(name.startswith(("convInit", "down_layers.0")) for name in trainable)
    assert {name for name in trainable if name.startswith("down_layers.1.")} == {
        f"{weight.removesuffix('.weight')}.parametrizations.weight.0.{factor}"
        for weight in adapters.ranks
        for factor in ("up", "down")
    }
    assert all(parameter.requires_grad for parameter in network.up_layers.parameters())


def test_adapters_train_at_the_rate_of_their_stage():
    network = build_network("HighRes3DNet", 1, 2)
    add_lora(network, 2)
    groups = parameter_groups(network, 1e-3, stage_rate=0.5, head_rate=10)
    assert (groups[0]["name"], groups[0]["lr"]) == ("conv_0", 1e-3 * 0.5**5)
    change = network.conv_0.conv.parametrizations.weight[0]
    assert {id(parameter) for parameter in groups[0]["params"]} == {id(change.up), id(change.down)}
    given = [id(parameter) for group in groups for parameter in group["params"]]
    assert set(given) == {id(p) for p in network.parameters() if p.requires_grad}
    assert len(given) == len(set(given))


def test_a_stage_may_be_named_by_its_weights(tiny):
    network = tiny()
    network.stage_map = StageMap({"first": ["first.conv.weight", "first.norm"], "body": ["body"], "head": ["head"]})
    add_lora(network, 2)
    assert stages(network).stage_of("first.conv.parametrizations.weight.0.up") == "first"
    assert [group["name"] for group in parameter_groups(network, 1e-3)] == ["first", "body", "head"]


def test_statistics_of_adapted_stages_stay_and_freezing_before_or_after_hashes_alike(tiny):
    network = tiny()
    freeze(network, ["first", "body"])
    held = frozen_sha256(network)
    add_lora(network, 2)
    assert frozen_sha256(network) == held
    assert set(frozen_values(network)) == {name for name in tiny().state_dict() if not name.startswith("head")}
    train(network, torch.randn(2, 1, 8, 8, 8))
    assert frozen_sha256(network) == held
    network.first.conv.parametrizations.weight.original.data[0, 0, 0, 0, 0] += 1e-3
    assert frozen_sha256(network) != held


def test_weights_with_new_channels_are_trained_there_and_get_no_adapter(tiny):
    network = tiny(channels=2)
    source = state_of(network)
    freeze(network, ["first", "body"], trained_inputs={"first.conv.weight": [1]})
    adapters = add_lora(network, 2)
    assert set(adapters.ranks) == {"body.conv.weight"}
    assert adapters.left_out == ("first.conv.weight",)
    train(network, torch.randn(2, 2, 8, 8, 8))
    kernel = merged_state(network)["first.conv.weight"]
    assert torch.equal(kernel[:, 0], source["first.conv.weight"][:, 0])
    assert not torch.equal(kernel[:, 1], source["first.conv.weight"][:, 1])


def test_a_copy_stands_alone():
    network, image = build_network("HighRes3DNet", 1, 2), image_for("HighRes3DNet")
    add_lora(network, RANK)
    twin = copy.deepcopy(network)
    before, held = state_of(network), frozen_sha256(network)
    train(twin, image)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert frozen_sha256(twin) == held
    assert not torch.equal(twin.conv_0.conv.weight, network.conv_0.conv.weight)
    change = twin.conv_0.conv.parametrizations.weight[0]
    base = twin.conv_0.conv.parametrizations.weight.original
    assert torch.equal(twin.conv_0.conv.weight, base + (change.up @ change.down).view_as(base)), "its own factors"


def test_a_training_goes_on_from_its_state_bit_for_bit():
    image = image_for("HighRes3DNet")

    def start() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        network = build_network("HighRes3DNet", 1, 2)
        add_lora(network, RANK)
        return network, torch.optim.AdamW(parameter_groups(network, 1e-2))

    def steps(network: nn.Module, optimizer: torch.optim.Optimizer, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            loss_of(network.train(), image).backward()
            optimizer.step()

    network, optimizer = start()
    steps(network, optimizer, 2)
    saved = copy.deepcopy((network.state_dict(), optimizer.state_dict()))
    steps(network, optimizer, 1)
    resumed, other = start()
    resumed.load_state_dict(saved[0])
    other.load_state_dict(saved[1])
    steps(resumed, other, 1)
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in resumed.state_dict().items())


def test_autocast_and_memory_layout_change_neither_the_start_nor_the_merged_network():
    image = image_for("HighRes3DNet")

    def half(network: nn.Module) -> Tensor:
        with torch.no_grad():
            return MixedPrecisionInferer(lambda inputs, forward: forward(inputs), torch.device("cpu"), "bfloat16")(
                image, network
            )

    network = place(build_network("HighRes3DNet", 1, 2), torch.device("cpu")).eval()
    before = half(network)
    add_lora(network, RANK)
    assert torch.equal(half(network), before)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        weight = network.conv_0.conv.weight
        loss_of(network, image).backward()
    assert weight.dtype == torch.float32
    assert weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert network.conv_0.conv.parametrizations.weight[0].up.grad.dtype == torch.float32
    for module in network.modules():
        if isinstance(module, LowRankChange):
            nn.init.normal_(module.up, std=0.1)
    after = half(network)
    remove_lora(network)
    assert torch.equal(half(network), after), "a change rounded to bfloat16 before it is added would differ"


def test_what_is_loaded_in_the_end_may_differ_by_the_adapters_rank_only(tiny):
    def trained() -> nn.Module:
        network = tiny()
        add_lora(network, 2)
        train(network, torch.randn(2, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0)))
        return network

    best = merged_state(trained())
    network = trained()
    assert load_merged(network, best) == []
    assert all(torch.equal(value, best[name]) for name, value in network.state_dict().items())
    for name in ("first.norm.bias", "body.norm.running_mean", "body.norm.num_batches_tracked"):
        assert load_merged(trained(), {**best, name: best[name] + 1}) == [name]
    other = best["body.conv.weight"] + 0.01 * torch.randn(4, 4, 3, 3, 3)
    assert load_merged(trained(), {**best, "body.conv.weight": other}) == ["body.conv.weight"]
    assert load_merged(trained(), {**best, "head.bias": best["head.bias"] + 1}) == []


def test_a_network_without_adapters_is_left_as_it_is(tiny):
    network = tiny()
    freeze(network, ["first"])
    held = frozen_sha256(network)
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in merged_state(network).items())
    remove_lora(network)
    assert frozen_sha256(network) == held
    assert load_merged(network, tiny(seed=1).state_dict())[0] == "first.conv.weight"


def test_weights_that_two_layers_share_stay_shared(tiny):
    network = tiny()
    network.body.conv.weight = nn.Parameter(torch.randn(4, 4, 3, 3, 3))
    network.body.append(nn.Conv3d(4, 4, 3, padding=1))
    network.body[-1].weight = network.body.conv.weight
    assert "body.conv.weight" in add_lora(network, 2).left_out
    assert network.body[-1].weight is network.body.conv.weight


@pytest.mark.parametrize("rank", [0, -1, 2.0, True, "8", None])
def test_a_rank_that_is_no_whole_number_from_1_is_refused(tiny, rank):
    with pytest.raises(ConfigError, match=rf"^rank takes.*{rank!r}$"):
        add_lora(tiny(), rank)


@pytest.mark.parametrize("alpha", [0, -1.0, math.nan, math.inf, "8"])
def test_an_alpha_that_is_not_above_0_is_refused(tiny, alpha):
    with pytest.raises(ConfigError, match=rf"^alpha takes.*{alpha!r}$"):
        add_lora(tiny(), 2, alpha=alpha)


def test_what_cannot_be_adapted_is_refused_and_nothing_is_changed(tiny):
    network = tiny()
    with pytest.raises(TransferError, match="rank 5: the stages first, body have at most 4"):
        add_lora(network, 5)
    with pytest.raises(TransferError, match="'bodi'.*body"):
        add_lora(network, 2, stages=["bodi"])
    assert all(parameter.requires_grad for parameter in network.parameters())
    add_lora(network, 2)
    with pytest.raises(TransferError, match="adapters already"):
        add_lora(network, 2)


def test_one_network_of_each_number_of_image_channels_has_adapters_alike():
    assert len(add_lora(HighRes3DNet(3, 2), 2).ranks) == len(add_lora(HighRes3DNet(1, 2), 2).ranks)


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_the_rank_of_a_change_is_told_from_rounding(rank):
    generator = torch.Generator().manual_seed(0)
    before = torch.randn(32, 16, 3, 3, 3, generator=generator)
    up, down = torch.randn(32, rank, generator=generator), torch.randn(rank, 432, generator=generator)
    for size in (1e-3, 1.0, 10.0):
        assert change_rank(before, before + size * (up @ down).view_as(before)) == rank
    assert change_rank(before.transpose(0, 1), before.transpose(0, 1) + 1e-2 * torch.randn(16, 32, 3, 3, 3)) == 16
