import copy
from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from monai_tl.errors import TransferError
from monai_tl.networks.build import build_network
from monai_tl.networks.highres3dnet import HighRes3DNet
from monai_tl.networks.stage_map import StageMap
from monai_tl.networks.stage_names import resolve_freeze
from monai_tl.networks.stages import format_stage_table, shared_names, stage_table, stage_weights, stages
from tests.conftest import mentions

NAMES = ("conv_0", "res_1", "res_2", "res_3", "conv_1", "conv_2")
MAP = StageMap({name: [name] for name in NAMES})


class Backwards(nn.Module):
    """Declares its children in another order than data flows."""

    stage_map = StageMap({"body": ["body"], "head": ["head"]})

    def __init__(self):
        super().__init__()
        self.head = nn.Conv3d(4, 2, 1)
        self.body = nn.Conv3d(1, 4, 3)
        self.loss = nn.Identity()


@pytest.fixture(scope="module")
def network():
    return HighRes3DNet(2, 2, head_norm=True)


def test_each_weight_belongs_to_one_stage_in_order(network):
    assert stages(network).names == NAMES
    members = stage_weights(network)
    assert [name for own in members.values() for name in own] == list(network.state_dict())
    assert all(name.startswith(f"{stage}.") for stage, own in members.items() for name in own)


def test_declared_stages_go_before_the_order_of_declaration():
    assert stage_weights(Backwards()) == {"body": ("body.weight", "body.bias"), "head": ("head.weight", "head.bias")}


def test_weights_with_several_names_have_one_here():
    network = build_network("DynUNet", 1, 2)
    names = [name for own in stage_weights(network).values() for name in own]
    others = shared_names(network)
    assert len(names) == len(set(names)) == len({id(value) for value in network.parameters()})
    assert sorted([*names, *others]) == sorted(network.state_dict())
    assert others["skip_layers.downsample.conv1.conv.weight"] == "input_block.conv1.conv.weight"


@pytest.mark.parametrize("network", [nn.Conv3d(1, 2, 3), nn.Sequential(nn.Conv3d(1, 2, 3)), nn.Sequential()])
def test_a_network_without_named_stages_is_refused(network):
    with pytest.raises(TransferError, match="^(Conv3d|Sequential) .*stages"):
        stages(network)


def test_a_declared_stage_without_weights_is_refused():
    network = Backwards()
    network.stage_map = StageMap({"body": ["body"], "loss": ["loss"], "head": ["head"]})
    with pytest.raises(TransferError, match="no weights in loss"):
        stages(network)


def test_a_weight_outside_all_stages_is_refused():
    network = Backwards()
    network.stage_map = StageMap({"body": ["body"]})
    with pytest.raises(TransferError, match=r"outside its stages body: head\.weight"):
        stages(network)
    network = nn.Sequential(OrderedDict(body=nn.Conv3d(1, 2, 1)))
    network.register_buffer("token", torch.zeros(1))
    with pytest.raises(TransferError, match=r"outside its stages body: token"):
        stages(network)


@pytest.mark.parametrize("count", range(6))
def test_freeze_by_count_by_text_and_by_name_mean_the_same(count):
    assert resolve_freeze(MAP, count) == NAMES[:count]
    assert resolve_freeze(MAP, str(count)) == NAMES[:count]
    if count:
        assert resolve_freeze(MAP, NAMES[count - 1]) == NAMES[:count]


def test_freeze_2_is_conv_0_and_res_1():
    assert resolve_freeze(MAP, 2) == ("conv_0", "res_1")
    assert resolve_freeze(MAP, "res_1") == ("conv_0", "res_1")


@pytest.mark.parametrize("freeze", [6, 7, -1, "6", "-1", "", "res_9", "conv_2", True, False, 2.5, 2.0, None])
def test_any_other_freeze_is_refused_with_what_is_allowed(freeze):
    with pytest.raises(TransferError) as caught:
        resolve_freeze(MAP, freeze)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"freeze takes 0–5 or the name of the last frozen stage, not {freeze!r}; ")
    mentions(message, "head, conv_2")
    assert message.endswith("There are: conv_0, res_1, res_2, res_3, conv_1")


def test_a_misspelt_stage_is_answered_with_the_nearest():
    with pytest.raises(TransferError, match="'rs_2'.*'res_2'"):
        resolve_freeze(MAP, "rs_2")


def test_the_table_holds_the_numbers_of_the_study(network):
    table = [(row.freeze, row.stage, row.parameters, row.trainable) for row in stage_table(network)]
    assert table == [
        (0, "conv_0", 896, 809380),
        (1, "res_1", 41664, 808484),
        (2, "res_2", 152416, 766820),
        (3, "res_3", 608960, 614404),
        (4, "conv_1", 5280, 5444),
        (5, "conv_2", 164, 164),
    ]


def test_trainable_is_what_freezing_those_stages_leaves(network):
    for row in stage_table(network):
        left = copy.deepcopy(network)
        for name in resolve_freeze(MAP, row.freeze):
            left.get_submodule(name).requires_grad_(False)
        assert sum(weight.numel() for weight in left.parameters() if weight.requires_grad) == row.trainable
        # the count does not depend on what happens to be frozen already
        assert stage_table(left) == stage_table(network)


def test_multiply_adds_are_what_torch_counts(network):
    rows = stage_table(network)
    assert sum(row.multiply_adds for row in rows) == 807936
    flow = torch.randn(1, 2, 3, 4, 5)
    for row, stage in zip(rows, network.eval().children(), strict=True):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            flow = stage(flow)
        # a multiply-add is two operations
        assert counter.get_total_flops() == 2 * row.multiply_adds * 3 * 4 * 5, row.stage


def test_the_printed_table(network):
    assert format_stage_table(stage_table(network)).splitlines() == [
        "stage   parameters  multiply-adds/voxel  freeze        frozen  trainable",
        "conv_0         896                  864       0       nothing    809,380",
        "res_1       41,664               41,472       1  up to conv_0    808,484",
        "res_2      152,416              152,064       2   up to res_1    766,820",
        "res_3      608,960              608,256       3   up to res_2    614,404",
        "conv_1       5,280                5,120       4   up to res_3      5,444",
        "conv_2         164                  160       5  up to conv_1        164",
        "total      809,380              807,936",
    ]
