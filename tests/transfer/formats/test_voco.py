from __future__ import annotations

import pytest

from monai_tl.errors import TransferError
from monai_tl.networks.outline import outline
from monai_tl.networks.stages import stages
from monai_tl.transfer.source import read_source
from tests.conftest import mentions
from tests.transfer.formats import layouts
from tests.transfer.formats.test_swin_vit import same, saved


@pytest.fixture(scope="module")
def trained():
    return layouts.swin_unetr(classes=21, use_v2=True)


def test_an_encoder_of_version_2_is_loaded_whole(tmp_path, trained):
    source = read_source(saved(layouts.voco(trained, decoder=False), tmp_path))
    assert same(source.weights, trained, "swinViT.", "encoder") == 145
    assert source.family == "VoCo"
    assert source.network.settings["use_v2"] is True
    fresh = stages(outline(source.network, 1, 2)).expand(source.lacks)
    assert fresh[-1] == "head"
    mentions(" ".join(source.notes), "student.mlp.0.weight")


def test_version_1_would_leave_its_convolutions_out(trained):
    """The eight convolutions of ``layersNc`` have no place in a SwinUNETR of version 1."""
    assert len(trained.state_dict()) - len(layouts.swin_unetr(classes=21).state_dict()) == 8


@pytest.mark.parametrize("key", ["state_dict", "net", "student"])
def test_a_whole_network_is_loaded_from_each_key(tmp_path, trained, key):
    content = {key: layouts.voco(trained, decoder=True)["state_dict"]}
    source = read_source(saved(content, tmp_path))
    assert same(source.weights, trained, "") == 167
    assert source.lacks == ()


def test_vocomni_alone_is_an_ordinary_network(tmp_path, trained):
    source = read_source(saved({"state_dict": layouts.renamed(trained.state_dict(), ("^", "module."))}, tmp_path))
    assert same(source.weights, trained, "") == 167
    assert (source.family, source.network.settings["use_v2"]) == ("MONAI network", True)


@pytest.mark.parametrize(("how", "fact"), [("missing", "lacks"), ("renamed", "has besides"), ("shape", "instead of")])
def test_a_damaged_file_is_refused_by_name(tmp_path, trained, how, fact):
    content = layouts.voco(trained, decoder=False)
    name = "swinViT.layers2c.0.layer.conv1.conv.weight"
    content["state_dict"] = layouts.damaged(content["state_dict"], how, f"module.backbone.{name}")
    with pytest.raises(TransferError) as raised:
        read_source(saved(content, tmp_path))
    mentions(str(raised.value), fact, name)
