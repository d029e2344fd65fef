"""Multiply-adds by stage: against formulas written down by hand, and in sum against PyTorch's own count."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from monai_tl.networks.build import build_network
from monai_tl.networks.highres3dnet import HighRes3DNet
from monai_tl.networks.stage_costs import multiply_adds
from monai_tl.networks.stages import format_stage_table, stage_table, stages
from tests.networks.conftest import ALL, small


def test_a_network_of_one_resolution_uses_each_weight_once_per_voxel():
    network = HighRes3DNet(2, 2, head_norm=True)
    costs, _ = multiply_adds(network, stages(network))
    assert costs == {"conv_0": 864, "res_1": 41472, "res_2": 152064, "res_3": 608256, "conv_1": 5120, "conv_2": 160}
    assert sum(costs.values()) == 807936


def test_strides_count_per_voxel_of_the_image():
    network = nn.Sequential(
        OrderedDict(
            first=nn.Conv3d(1, 8, 3, padding=1),  # 27 × 8
            down=nn.Conv3d(8, 16, 3, stride=2, padding=1),  # 27 × 8 × 16 at 1/8 of the voxels
            up=nn.ConvTranspose3d(16, 8, 2, stride=2),  # each of 1/8 of the voxels becomes 8 × 8 × 16
            head=nn.Conv3d(8, 2, 1),
        )
    )
    assert multiply_adds(network, stages(network)) == ({"first": 216, "down": 432, "up": 128, "head": 16}, 64)


@pytest.mark.parametrize("name", ["PlainConvUNet", "UNet", "AttentionUnet", "SegResNetDS", "UNETR", "DiNTS", "VISTA3D"])
def test_the_stages_add_up_to_what_pytorch_counts(name):
    network = small(name).eval()
    costs, edge = multiply_adds(network, stages(network))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.to("meta")(torch.zeros(1, 1, edge, edge, edge, device="meta"))
    assert sum(costs.values()) == pytest.approx(counter.get_total_flops() / 2 / edge**3, abs=len(costs))
    assert all(cost > 0 for stage, cost in costs.items() if stage != "points")


def test_attention_is_counted_at_a_size_that_the_network_takes():
    network = build_network("UNETR", 1, 2, img_size=[32, 32, 32], feature_size=4, hidden_size=12, mlp_dim=12, num_heads=2)
    costs, edge = multiply_adds(network, stages(network))
    assert edge == 32
    assert costs["enc_1"] > 0


@pytest.mark.parametrize("name", ALL)
def test_no_network_changes_by_being_counted(name):
    network = small(name)
    before = {key: (value.device, value.data_ptr()) for key, value in network.state_dict().items()}
    rows = stage_table(network.train())
    assert network.training
    assert {key: (value.device, value.data_ptr()) for key, value in network.state_dict().items()} == before
    assert all(row.multiply_adds is not None for row in rows)


def test_costs_stay_undefined_where_no_cube_is_taken():
    class Flat(nn.Sequential):
        def forward(self, x):
            return super().forward(x.reshape(1, 7, -1))

    rows = stage_table(Flat(OrderedDict(body=nn.Conv1d(7, 2, 1), head=nn.Conv1d(2, 2, 1))))
    assert {row.multiply_adds for row in rows} == {None}
    assert format_stage_table(rows).splitlines()[-1].split()[-1] == "–"
