from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_tl.errors import TransferError
from monai_tl.transfer.source import load_weights, read_source
from tests.conftest import mentions
from tests.transfer.formats import layouts
from tests.transfer.formats.test_swin_vit import saved


class ContBatchNorm(nn.BatchNorm3d):
    """As in Models Genesis: batch statistics in every mode."""

    def forward(self, x):
        return nn.functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, True, 0.1, self.eps)


def test_its_normalisation_moves_in_inference_and_is_described():
    """Why no network is built: neither ``eval()`` nor a lock by it holds these buffers."""
    layer = ContBatchNorm(2).eval()
    before = layer.running_mean.clone()
    layer(torch.randn(1, 2, 3, 3, 3) + 1)
    assert not torch.equal(layer.running_mean, before)


def test_every_weight_is_accounted_for_and_no_network_is_built(tmp_path):
    state = layouts.genesis()
    content = {"epoch": 3, "state_dict": layouts.renamed(state, ("^", "module."))}
    source = read_source(saved(content, tmp_path))
    assert source.weights.keys() == state.keys()
    assert len(state) == 14 * 7 + 3 * 2 + 2, "convolutions with normalisation, transposed convolutions, head"
    assert (source.family, source.network) == ("Models Genesis", None)
    assert source.licence.startswith("non-commercial")
    mentions(" ".join(source.remarks), "also in inference", "0…1", "sigmoid")


def test_a_target_of_another_network_gets_nothing_from_it(tmp_path, tiny):
    with pytest.raises(TransferError) as raised:
        load_weights(tiny(), saved({"state_dict": layouts.genesis()}, tmp_path))
    mentions(str(raised.value), "does not hold the weights of this network")


@pytest.mark.parametrize(("how", "fact"), [("missing", "lacks"), ("renamed", "has besides"), ("shape", "instead of")])
@pytest.mark.parametrize("name", ["up_tr128.up_conv.weight", "down_tr256.ops.1.bn1.running_var"])
def test_a_damaged_file_is_refused_by_name(tmp_path, how, fact, name):
    with pytest.raises(TransferError) as raised:
        read_source(saved({"state_dict": layouts.damaged(layouts.genesis(), how, name)}, tmp_path))
    mentions(str(raised.value), "Models Genesis", fact, name)
