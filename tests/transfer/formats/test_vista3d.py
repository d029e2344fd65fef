from __future__ import annotations

import pytest
import torch
from monai.networks.nets import vista3d132

from monai_tl.errors import TransferError
from monai_tl.transfer.source import read_source
from tests.conftest import mentions
from tests.transfer.formats import layouts
from tests.transfer.formats.test_swin_vit import saved


@pytest.fixture(scope="module")
def state():
    return layouts.vista3d()


def test_its_encoder_and_automatic_decoder_are_a_segresnet_ds(tmp_path, state):
    source = read_source(saved(state, tmp_path))
    assert str(source.network) == "SegResNetDS (init_filters=16, blocks_down=[1,2,2,4,4], norm=instance)"
    branches = [name for name in state if "encoder.encoder." in name or "layers_auto." in name]
    assert len(source.weights) == len([name for name in branches if ".head." not in name])
    assert (source.family, source.lacks) == ("VISTA3D", ("head",))
    mentions(source.licence, "non-commercial")
    mentions(" ".join(source.notes), "point branch", "prompts")


def test_it_computes_what_vista3d_computes_before_its_prompts(tmp_path, state):
    """The embedding that VISTA3D compares with its prompts is a 1×1×1 convolution of our features."""
    vista = vista3d132(16, 1)
    vista.load_state_dict(state)
    source, x = read_source(saved(state, tmp_path)), torch.randn(1, 1, 32, 32, 32)
    network = source.network.build(1, 16)
    head = {f"up_layers.3.head.{part}": state[f"image_encoder.up_layers_auto.3.head.{part}"] for part in ("weight", "bias")}
    network.load_state_dict({**source.weights, **head})
    with torch.no_grad():
        _, expected = vista.image_encoder.eval()(x, with_point=False)
        assert torch.allclose(network.eval()(x), expected, atol=1e-4)


@pytest.mark.parametrize(("how", "fact"), [("missing", "lacks"), ("renamed", "has besides"), ("shape", "instead of")])
def test_a_damaged_file_is_refused_by_name(tmp_path, state, how, fact):
    name = "up_layers_auto.2.blocks.0.conv1.weight"
    with pytest.raises(TransferError) as raised:
        read_source(saved(layouts.damaged(state, how, f"image_encoder.{name}"), tmp_path))
    mentions(str(raised.value), fact, "up_layers.2.blocks.0.conv1.weight")
