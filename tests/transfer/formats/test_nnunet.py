"""nnU-Net's folders and files, built from random weights as nnU-Net writes them."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from monai_tl.errors import TransferError
from monai_tl.networks.known import KNOWN_NETWORKS
from monai_tl.transfer.contract import Contract
from monai_tl.transfer.formats.nnunet_plans import normalisation_of
from monai_tl.transfer.source import find_weights, load_weights, read_source
from tests.conftest import mentions
from tests.transfer.formats.sidecar_layouts import (
    ARCHITECTURE,
    BLOCKS,
    CT,
    built,
    nnunet_checkpoint,
    nnunet_dataset,
    nnunet_network,
    nnunet_plans,
    through_nnunet,
    told,
    write_nnunet,
)

KIND = "PlainConvUNet"
TRAINING = "nnUNetTrainer__nnUNetPlans__3d_fullres"
UNKNOWN_ORIENTATION = "nnU-Net keeps the axes … orientation is unknown"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    plans, dataset = nnunet_plans(), nnunet_dataset()
    return write_nnunet(tmp_path / TRAINING, nnunet_checkpoint(nnunet_network(), plans, dataset), plans, dataset)


def rewritten(folder: Path, change) -> Path:
    path = folder / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=False)
    change(content)
    torch.save(content, path)
    return folder


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1), (1, 0, 2), (1, 2, 0)])
def test_the_network_computes_along_ijk_what_nnunet_computes_along_its_axes(tmp_path, kind, transpose):
    network, plans, dataset = nnunet_network(kind), nnunet_plans(kind, transpose), nnunet_dataset()
    source = read_source(write_nnunet(tmp_path, nnunet_checkpoint(network, plans, dataset), plans, dataset))
    assert source.network.network == kind
    ours = load_weights(source.network.build(1, 3).eval(), tmp_path)
    image = torch.rand(1, 1, 8, 12, 16)
    expected = through_nnunet(network, image, transpose)
    with torch.no_grad():
        assert torch.allclose(ours(image), expected, atol=1e-5)
        untransposed = built(kind, {**ARCHITECTURE, **BLOCKS[kind]}, 1, 3)
        untransposed.load_state_dict(network.state_dict())
        assert not torch.allclose(untransposed(image), expected, atol=1e-2), "the axes made no difference"
    mentions(told(source), f"transpose_forward {','.join(map(str, transpose))}")


def test_every_weight_is_there_under_one_name(folder):
    source, network = read_source(folder), nnunet_network()
    one_each = dict(network.named_parameters())
    assert source.weights.keys() == one_each.keys()
    assert len(network.state_dict()) > 2 * len(one_each)
    mentions(told(source), f"{len(network.state_dict()) - len(one_each)} further names")
    assert source.lacks == ()
    assert source.family == "nnU-Net v2"


def test_what_it_expects_of_its_images(folder):
    source = read_source(folder)
    assert source.contract == Contract(
        ("T1",), (0.5, 1.0, 3.0), None, "zscore_nonzero", ("background", "anterior", "posterior")
    )
    assert source.contract.unknown == ("orientation",)
    mentions(told(source), UNKNOWN_ORIENTATION)


def test_who_knows_the_orientation_states_it_next_to_the_folds(folder):
    (folder / "metadata.json").write_text('{"preprocessing": {"orientation": "LAS"}}', encoding="utf-8")
    contract = read_source(folder).contract
    assert (contract.orientation, contract.unknown, contract.spacing) == ("LAS", (), (0.5, 1.0, 3.0))


def test_spacing_is_turned_back_from_the_plans_axes(tmp_path):
    """Stored after transpose_forward: plans axis a is the image's axis (k, j, i)[transpose_forward[a]]."""
    plans = nnunet_plans(transpose=(1, 0, 2))  # j, k, i
    source = read_source(
        write_nnunet(tmp_path, nnunet_checkpoint(nnunet_network(), plans, nnunet_dataset()), plans, nnunet_dataset())
    )
    assert source.contract.spacing == (0.5, 3.0, 1.0)  # i, j, k
    assert source.network.settings["kernel_sizes"][0] == [3, 1, 3]
    assert source.network.settings["strides"][1] == [2, 1, 2]


@pytest.mark.parametrize(
    ("schemes", "masks", "channels", "expected"),
    [
        (["CTNormalization"], [False], ["CT"], "fixed(99.5,37.25,-41,176)"),
        (["ZScoreNormalization"], [False], ["T1"], "zscore_volume"),
        (["ZScoreNormalization"], [True], ["T1"], "zscore_nonzero"),
        (["RescaleTo01Normalization"], [False], ["T1"], "minmax"),
        (["NoNormalization"], [False], ["T1"], None),
        (
            ["ZScoreNormalization", "CTNormalization"],
            [True, False],
            ["T1", "CT"],
            ("zscore_nonzero", "fixed(99.5,37.25,-41,176)"),
        ),
        (["ZScoreNormalization"] * 2, [True, False], ["T1", "T2"], ("zscore_nonzero", "zscore_volume")),
        (["ZScoreNormalization", "NoNormalization"], [False, False], ["T1", "T2"], None),
        (None, None, ["CT"], "fixed(99.5,37.25,-41,176)"),
        (None, None, ["T1", "T2"], "zscore_volume"),
    ],
)
def test_the_plans_or_else_the_names_of_the_channels_decide_the_normalisation(schemes, masks, channels, expected):
    plans = {"foreground_intensity_properties_per_channel": {"0": CT, "1": CT}}
    config = {} if schemes is None else {"normalization_schemes": schemes, "use_mask_for_norm": masks}
    found, notes = normalisation_of(plans, config, channels)
    assert found == expected
    if expected is None:
        mentions(notes[0], "normalisation", *schemes)


def test_a_ct_network_clips_and_scales_by_its_training_data(tmp_path):
    plans = nnunet_plans(normalization_schemes=["CTNormalization"], use_mask_for_norm=[False])
    dataset = nnunet_dataset(["CT"])
    source = read_source(write_nnunet(tmp_path, nnunet_checkpoint(nnunet_network(), plans, dataset), plans, dataset))
    assert source.contract.normalisation == "fixed(99.5,37.25,-41,176)"


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ({"background": 0, "b": 2, "a": 1}, ("background", "a", "b")),
        ({"background": 0, "a": 1, "ignore": 2}, ("background", "a")),
        ({"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}, ("whole", "core", "enhancing")),
        ({"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}, ("whole", "core")),
        ({"background": 0, "a": [1], "b": [2]}, ("background", "a", "b")),
    ],
    ids=["by value", "ignore", "regions", "regions, ignore", "lists of one"],
)
def test_classes_are_the_outputs(tmp_path, labels, classes):
    plans, dataset = nnunet_plans(), {**nnunet_dataset(labels=labels), "regions_class_order": [1, 2, 3]}
    content = nnunet_checkpoint(nnunet_network(classes=len(classes)), plans, dataset)
    assert read_source(write_nnunet(tmp_path, content, plans, dataset)).contract.classes == classes


def test_without_nnunet_s_networks_a_file_is_still_read(folder, monkeypatch):
    monkeypatch.setitem(KNOWN_NETWORKS, KIND, replace(KNOWN_NETWORKS[KIND], path=f"not_installed.{KIND}", factory=""))
    source = read_source(folder)
    assert source.network.network == KIND
    mentions(told(source), "not compared … pip install 'monai_tl[nnunet]'")


def test_only_one_reader_of_nnunet_turns_images(tmp_path):
    plans, dataset = {**nnunet_plans(), "image_reader_writer": "NibabelIOWithReorient"}, nnunet_dataset()
    source = read_source(write_nnunet(tmp_path, nnunet_checkpoint(nnunet_network(), plans, dataset), plans, dataset))
    assert source.contract.orientation == "RAS"


def test_older_plans_are_rebuilt(tmp_path):
    plans, dataset = nnunet_plans(), nnunet_dataset()
    config = plans["configurations"]["3d_fullres"]
    del config["architecture"]
    config |= {
        "UNet_class_name": KIND,
        "UNet_base_num_features": 4,
        "unet_max_num_features": 8,
        "n_conv_per_stage_encoder": [2, 1, 1],
        "n_conv_per_stage_decoder": [1, 1],
        "conv_kernel_sizes": ARCHITECTURE["kernel_sizes"],
        "pool_op_kernel_sizes": ARCHITECTURE["strides"],
    }
    source = read_source(write_nnunet(tmp_path, nnunet_checkpoint(nnunet_network(), plans, dataset), plans, dataset))
    load_weights(source.network.build(1, 3), tmp_path)
    mentions(told(source), "older nnU-Net … rebuilt")


@pytest.mark.parametrize(
    "change", [{"nonlin": "torch.nn.ReLU"}, {"norm_op": "torch.nn.modules.batchnorm.BatchNorm3d"}, {"norm_op": None}]
)
def test_parts_that_would_be_another_function_make_the_network_unknown(tmp_path, change):
    plans, dataset = nnunet_plans(), nnunet_dataset()
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"] |= change
    source = read_source(write_nnunet(tmp_path, nnunet_checkpoint(nnunet_network(), plans, dataset), plans, dataset))
    assert source.network is None
    mentions(told(source), f"network … {next(iter(change))} {next(iter(change.values()))}")


def test_the_file_alone_knows_its_plans(folder, tmp_path):
    path = tmp_path / "weights.bin"  # whatever it is called
    path.write_bytes((folder / "fold_0" / "checkpoint_final.pth").read_bytes())
    assert read_source(path).contract == read_source(folder).contract


def test_plans_next_to_the_file_serve_where_it_has_none(folder):
    whole = read_source(folder)
    rewritten(folder, lambda content: content.pop("init_args"))
    source = read_source(folder)
    assert (source.contract, source.network) == (whole.contract, whole.network)
    (folder / "plans.json").unlink()
    with pytest.raises(TransferError) as raised:
        read_source(folder)
    mentions(str(raised.value), "without its plans … axes … plans.json")


def test_configurations_inherit_and_2d_is_refused(tmp_path):
    plans, dataset = nnunet_plans(), nnunet_dataset()
    for name in ("3d_bs4", "3d_coarse", "2d", "3d_lowres"):
        write_nnunet(tmp_path / name, nnunet_checkpoint(nnunet_network(), plans, dataset, name), plans, dataset)
    assert read_source(tmp_path / "3d_bs4").contract.spacing == (0.5, 1.0, 3.0)
    assert read_source(tmp_path / "3d_coarse").contract.spacing == (4.0, 2.0, 2.0)
    with pytest.raises(TransferError, match="2d, which is 2D"):
        read_source(tmp_path / "2d")
    with pytest.raises(TransferError, match="no configuration '3d_lowres'.*There are: 2d, 3d_fullres"):
        read_source(tmp_path / "3d_lowres")


def test_the_first_fold_is_used_and_the_others_are_named(tmp_path):
    plans, dataset = nnunet_plans(), nnunet_dataset()
    content = nnunet_checkpoint(nnunet_network(), plans, dataset)
    folder = write_nnunet(tmp_path / TRAINING, content, plans, dataset, folds=(0, 1, 2))
    assert find_weights(folder) == folder / "fold_0" / "checkpoint_final.pth"
    mentions(read_source(folder).notes[0], f"fold_0/checkpoint_final.pth … fold_1 and fold_2 … {folder}/fold_1")
    assert find_weights(folder / "fold_2") == folder / "fold_2" / "checkpoint_final.pth"
    assert read_source(folder / "fold_2").contract == read_source(folder).contract
    (folder / "fold_0" / "checkpoint_final.pth").rename(folder / "fold_0" / "checkpoint_best.pth")
    assert find_weights(folder) == folder / "fold_0" / "checkpoint_best.pth"
    with pytest.raises(TransferError) as raised:
        find_weights(tmp_path)
    mentions(str(raised.value), f"there is {folder}")


def test_numbers_of_numpy_pass_and_objects_do_not(folder):
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(find_weights(folder), weights_only=True)  # the naive way
    assert read_source(folder).weights

    rewritten(folder, lambda content: content.update(trap=logging.getLogger("any")))
    with pytest.raises(TransferError, match=r"Python objects \(logging\.\w+\)"):
        read_source(folder)


def test_one_of_four_names_edited_is_refused_where_load_state_dict_takes_the_last(folder):
    """Each tensor stands under four names: load_state_dict sets the first, and then the old value of the last."""
    name = "encoder.stages.0.0.convs.0.conv.weight"
    network = nnunet_network()
    edited = {**network.state_dict(), name: torch.zeros_like(network.state_dict()[name])}
    fresh = nnunet_network()
    fresh.load_state_dict(edited)
    assert fresh.state_dict()[name].any(), "the naive way ignores the edit"
    rewritten(folder, lambda content: content["network_weights"].update({name: edited[name]}))
    with pytest.raises(TransferError) as raised:
        read_source(folder)
    mentions(str(raised.value), f"different values … {name} and encoder.stages.0.0.convs.0.all_modules.0.weight")


def names_of(weights, part):
    return [name for name in weights if part in name]


@pytest.mark.parametrize("part", ["seg_layers.1.weight", "encoder.stages.1.0.convs.0", "transpconvs.0.bias"])
@pytest.mark.parametrize("damage", ["missing", "renamed", "shape"])
def test_a_damaged_file_is_refused_by_name(folder, part, damage):
    def change(content):
        weights = content["network_weights"]
        for name in names_of(weights, part):
            value = weights.pop(name)
            if damage == "renamed":
                weights[name.replace("weight", "wieght").replace("bias", "bais")] = value
            elif damage == "shape":
                weights[name] = torch.cat([value, value])

    rewritten(folder, change)
    if damage == "shape" and "seg_layers" in part:
        with pytest.raises(TransferError, match="has 6 outputs.*names 3 classes"):
            read_source(folder)
        return
    with pytest.raises(TransferError) as raised:
        read_source(folder)
    mentions(str(raised.value), part)


def test_a_dataset_of_another_network_is_refused(tmp_path):
    plans = nnunet_plans()
    other = nnunet_dataset(["T1", "T2"])
    content = nnunet_checkpoint(nnunet_network(), plans, other)
    with pytest.raises(TransferError) as raised:
        read_source(write_nnunet(tmp_path, content, plans, other))
    mentions(str(raised.value), "takes 1 channels … names 2 (T1, T2)")


def test_a_cascade_s_further_channels_have_no_names(tmp_path):
    plans, dataset = nnunet_plans(), nnunet_dataset()
    plans["configurations"]["3d_cascade_fullres"] = {"inherits_from": "3d_fullres"}
    content = nnunet_checkpoint(nnunet_network(channels=3), plans, dataset, "3d_cascade_fullres")
    source = read_source(write_nnunet(tmp_path, content, plans, dataset))
    assert source.contract.modalities is None
    mentions(told(source), "first network's segmentation")


def test_heads_are_those_of_version_2(folder):
    """Version 1 calls them seg_outputs: sparing that name from freezing freezes everything in a network of version 2."""
    assert not [name for name, _ in nnunet_network().named_parameters() if "seg_outputs" in name], "the naive way"
    weights = read_source(folder).weights
    assert not names_of(weights, "seg_outputs")
    assert {name.split(".")[2] for name in names_of(weights, "decoder.seg_layers.")} == {"0", "1"}, "with deep supervision's"


def test_prefixes_of_compiled_and_distributed_training_are_removed(folder):
    names = read_source(folder).weights.keys()

    def wrap(content):
        content["network_weights"] = {f"_orig_mod.{name}": value for name, value in content["network_weights"].items()}

    assert read_source(rewritten(folder, wrap)).weights.keys() == names


def test_a_damaged_sidecar_is_named(folder):
    rewritten(folder, lambda content: content.pop("init_args"))
    plans = json.loads((folder / "plans.json").read_text(encoding="utf-8"))
    del plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    (folder / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    with pytest.raises(TransferError) as raised:
        read_source(folder)
    mentions(str(raised.value), "nnU-Net v2 … 'arch_kwargs' is missing")


def test_a_state_dict_alone_says_that_its_axes_are_unknown(tmp_path):
    torch.save(nnunet_network().state_dict(), tmp_path / "a.pt")
    source = read_source(tmp_path / "a.pt")
    assert (source.family, source.network, source.contract) == ("checkpoint", None, None)
    mentions(told(source), "nnU-Net … k, j, i … not transposed")
