from __future__ import annotations

import pytest
import torch

from monai_tl.errors import TransferError
from monai_tl.transfer.source import read_source
from tests.conftest import mentions
from tests.transfer.formats import layouts
from tests.transfer.formats.test_swin_vit import same, saved


@pytest.fixture(scope="module")
def trained():
    return layouts.swin_unetr(classes=32)


def test_the_whole_swin_backbone_is_loaded(tmp_path, trained):
    source = read_source(saved(layouts.suprem_swin(trained), tmp_path))
    assert same(source.weights, trained, "") == 159
    assert (source.family, source.lacks) == ("SuPreM", ())
    assert source.licence.startswith("CC-BY-NC-ND")
    expected = source.contract
    assert (expected.modalities, expected.spacing, expected.orientation) == (("CT",), (1.5, 1.5, 1.5), "RAS")
    assert expected.normalisation == "window(-175,250)"
    assert expected.classes is None, "its classes are text prompts"
    mentions(" ".join(source.notes), "4 weights … prompts")


def test_a_backbone_without_an_output_layer_lacks_the_head(tmp_path, trained):
    content = layouts.suprem_swin(trained)
    content["net"] = {name: value for name, value in content["net"].items() if ".out." not in name}
    source = read_source(saved(content, tmp_path))
    assert len(source.weights) == 157
    assert source.lacks == ("head",)


def test_its_u_net_is_described_and_no_network_is_built(tmp_path):
    inside = layouts.renamed(layouts.genesis(head=False), ("^", "backbone."))
    state = layouts.renamed({**inside, "organ_embedding": torch.zeros(32, 512)}, ("^", "module."))
    source = read_source(saved({"net": state}, tmp_path))
    assert source.network is None
    assert source.weights.keys() == layouts.genesis(head=False).keys()
    mentions(" ".join(source.remarks), "statistics of each batch, also in inference")


@pytest.mark.parametrize(("how", "fact"), [("missing", "lacks"), ("renamed", "has besides"), ("shape", "instead of")])
def test_a_damaged_file_is_refused_by_name(tmp_path, trained, how, fact):
    content = layouts.suprem_swin(trained)
    name = "decoder3.conv_block.conv2.conv.weight"
    content["net"] = layouts.damaged(content["net"], how, f"module.backbone.{name}")
    with pytest.raises(TransferError) as raised:
        read_source(saved(content, tmp_path))
    mentions(str(raised.value), fact, name)
