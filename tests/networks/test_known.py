"""Stages of the known networks: which there are, that they hold every weight once, and in the order in which data flows."""

from __future__ import annotations

import re

import pytest
import torch
from monai.networks.nets import VISTA3D, BasicUNetPlusPlus, DynUNet, MedNeXt, SegResNetDS
from monai.networks.nets.vista3d import vista3d132

from monai_tl.networks.build import build_network
from monai_tl.networks.known import KNOWN_NETWORKS, known_network, unused_weights
from monai_tl.networks.stages import shared_names, stage_weights, stages
from monai_tl.networks.trial_pass import trial_pass
from tests.networks.conftest import ALL, patch_of, small

UP4 = ("dec_3", "dec_2", "dec_1", "dec_0")
STAGES = {
    "HighRes3DNet": ("conv_0", "res_1", "res_2", "res_3", "conv_1", "conv_2"),
    "HighResNet": ("conv_0", "res_1", "res_2", "res_3", "conv_1", "conv_2"),
    "AHNet": ("enc_0", "enc_1", "enc_2", "enc_3", "bottleneck", "dec_4", *UP4, "head"),
    "AttentionUnet": ("enc_0", "enc_1", "bottleneck", "dec_1", "dec_0", "head"),
    "BasicUNetPlusPlus": ("enc_0", "enc_1", "enc_2", "enc_3", "bottleneck", "decoder_grid", "head"),
    "DiNTS": ("enc_0", "enc_1", "enc_2", "dec_0", "head"),
    "DynUNet": ("enc_0", "enc_1", "enc_2", "bottleneck", "dec_2", "dec_1", "dec_0", "head"),
    "FlexibleUNet": ("enc_0", "enc_1", "enc_2", "enc_3", "enc_4", "dec_4", *UP4, "head"),
    "FlexibleUNet efficientnet": (*(f"enc_{k}" for k in range(8)), "dec_4", *UP4, "head"),
    "MedNeXtB": ("enc_0", "enc_1", "enc_2", "enc_3", "bottleneck", *UP4, "head"),
    "PlainConvUNet": ("enc_0", "enc_1", "bottleneck", "dec_1", "dec_0", "head"),
    "RegUNet convolutions": ("enc_0", "enc_1", "bottleneck", "dec_1", "head"),
    "SegResNetDS2": ("enc_0", "enc_1", "enc_2", "points", "dec_1", "dec_0", "head"),
    "SegResNetVAE": ("enc_0", "enc_1", "enc_2", "dec_1", "dec_0", "vae", "head"),
    "SwinUNETR": ("enc_0", "enc_1", "enc_2", "enc_3", "enc_4", "skips", "dec_4", *UP4, "head"),
    "UNETR": ("enc_0", "enc_1", "enc_2", "enc_3", "enc_4", "skips", *UP4, "head"),
    "UNet": ("enc_0", "enc_1", "bottleneck", "dec_1", "head"),
    "UNet four levels": ("enc_0", "enc_1", "enc_2", "bottleneck", "dec_2", "dec_1", "head"),
    "UNet two levels": ("enc_0", "bottleneck", "head"),
    "VNet": ("enc_0", "enc_1", "enc_2", "enc_3", "bottleneck", *UP4, "head"),
}


@pytest.mark.parametrize("name", STAGES)
def test_the_stages_are_those_that_are_known(name):
    found = stages(small(name))
    assert found.names == STAGES[name]
    assert all(stage.startswith(("dec", "skips", "points", "vae")) for stage in found.decoder)
    assert all(stage.startswith(("enc", "conv", "res", "bottleneck")) for stage in found.encoder)


@pytest.mark.parametrize("name", ALL)
def test_every_weight_is_in_exactly_one_stage(name):
    network = small(name)
    members, stored = stage_weights(network), network.state_dict()
    listed = [key for own in members.values() for key in own]
    assert len(listed) == len(set(listed))
    assert set(listed) | set(shared_names(network)) == set(stored)
    assert len({stored[key].data_ptr() for key in listed}) == len({value.data_ptr() for value in stored.values()})
    assert all(members.values())


@pytest.mark.parametrize("name", [name for name in ALL if name != "SegResNetVAE"])
def test_stages_run_one_after_the_other(name):
    """A stage begins when all before it have ended, so a frozen prefix needs no gradient; the head runs last.

    The nodes of UNet++'s grid run between levels of its encoder, and so are one stage after it.
    """
    network = small(name)
    found, order = stages(network), list[str]()
    idle = {key.rpartition(".")[0] for key in unused_weights(network)}

    def ended(names, module, output):
        stage = next(filter(None, map(found.stage_of, names)), None)
        if stage and not list(module.children()) and not idle & set(names):
            order.append(stage)

    trial_pass(network, lambda *_: None, ended)
    runs = [stage for stage, before in zip(order, ["", *order], strict=False) if stage != before]
    if name == "BasicUNetPlusPlus":
        assert {stage for stage in runs if runs.count(stage) > 1} == {"decoder_grid"}
    else:
        assert runs == [stage for stage in found if stage in runs], runs
    assert {stage for stage in found if stage not in runs} <= {"points", "vae"}
    assert runs[-1] == found.head


@pytest.mark.parametrize("name", ALL)
def test_a_network_returns_one_tensor_of_logits_in_training_too(name):
    network, image = small(name, out_channels=3), patch_of(name, 1, batch=2)
    for mode in (True, False):
        with torch.no_grad():
            output = network.train(mode)(image)
        assert output.shape == (2, 3, *image.shape[2:])


def test_the_branch_for_labels_is_the_output_of_a_network_with_two():
    network, image = small("SegResNetDS2").eval(), patch_of("SegResNetDS2", 1)
    with torch.no_grad():
        network.up_layers[-1].head.bias += 1  # MONAI makes one branch a copy of the other
        points, labels = type(network).forward(network, image)
        assert torch.equal(network(image), labels)
    assert not torch.equal(points, labels)


def test_vista_for_a_list_of_classes_is_vista_asked_for_each_of_them():
    network, image = small("VISTA3D", out_channels=3).eval(), patch_of("VISTA3D", 1)
    with torch.no_grad():
        asked = VISTA3D.forward(network, image, class_vector=torch.tensor([[0], [1], [2]]))
        torch.testing.assert_close(network(image), asked.transpose(0, 1))
    published = vista3d132(encoder_embed_dim=8).state_dict()
    assert list(build_network("VISTA3D", 1, 2, init_filters=8).state_dict()) == list(published)


def test_heads_of_deep_supervision_are_part_of_the_head():
    dyn = DynUNet(3, 1, 2, [3] * 4, [1, 2, 2, 2], [2] * 3, filters=[4, 8, 8, 8], deep_supervision=True, deep_supr_num=2)
    ds = SegResNetDS(init_filters=4, dsdepth=3)
    for network, heads in ((dyn, 3), (ds, 3), (MedNeXt(init_filters=4, deep_supervision=True), 5), (BasicUNetPlusPlus(), 4)):
        weights = [key for key in stage_weights(network)[stages(network).head] if key.endswith("weight")]
        assert len(weights) - any("out_0.dummy" in key for key in weights) == heads
    assert all(re.search("head|out", key) for key in stage_weights(dyn)["head"])
    assert not any("head" in key for stage in stages(ds).decoder for key in stage_weights(ds)[stage])


def test_tensors_with_several_names_are_one():
    plain, dyn = small("PlainConvUNet"), small("DynUNet")
    kernel = "encoder.stages.0.0.convs.0.conv.weight"
    aliases = {name for name, own in shared_names(plain).items() if own == kernel}
    assert aliases == {
        "encoder.stages.0.0.convs.0.all_modules.0.weight",
        "decoder.encoder.stages.0.0.convs.0.conv.weight",
        "decoder.encoder.stages.0.0.convs.0.all_modules.0.weight",
    }
    assert stage_weights(plain)["enc_0"][0] == kernel
    assert all(name.startswith("skip_layers.") for name in shared_names(dyn))
    assert {name.split(".")[0] for name in shared_names(dyn)} == {"skip_layers"}


def test_a_class_is_known_wherever_its_library_defines_it_and_by_no_other_library():
    assert known_network(DynUNet) is KNOWN_NETWORKS["DynUNet"]
    assert known_network(MedNeXt).path.endswith("MedNeXt")

    class UNet(torch.nn.Module):
        """A stranger with a known name."""

    assert known_network(UNet) is None
    assert unused_weights(UNet()) == {}
