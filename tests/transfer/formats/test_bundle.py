"""Bundles of the Model Zoo, built from random weights: metadata without preprocessing, configs that are only data here."""

from __future__ import annotations

import json

import pytest
import torch
from monai.networks.nets import SegResNet

from monai_tl.errors import TransferError
from monai_tl.networks.highres3dnet import HighRes3DNet
from monai_tl.transfer.contract import Contract
from monai_tl.transfer.formats.config_data import ConfigData
from monai_tl.transfer.formats.stated_preprocessing import stated_preprocessing
from monai_tl.transfer.source import load_weights, read_source
from monai_tl.transfer.source_facts import source_facts
from tests.conftest import mentions
from tests.transfer.formats.sidecar_layouts import (
    CT_TRANSFORMS,
    SEG_RES_NET,
    brats_bundle,
    told,
    write_zoo,
    zoo_config,
    zoo_metadata,
)

REGIONS = ["Tumor core", "Whole tumor", "Enhancing tumor"]


def ct_bundle(folder, transforms=CT_TRANSFORMS, network=None, **more):
    metadata = zoo_metadata(["image"], ["Background", "spleen"])
    defined = {"_target_": "SegResNet", **SEG_RES_NET, "in_channels": 1, "out_channels": 2, **(network or {})}
    trained = SegResNet(**SEG_RES_NET, in_channels=1, out_channels=2)
    return write_zoo(folder, trained, metadata, inference=zoo_config(defined, transforms, **more))


def test_a_bundle_for_overlapping_regions(tmp_path):
    """Sigmoids without a background; the images come on a common grid, so that no config states one."""
    source = read_source(brats_bundle(tmp_path / "brats"))
    assert (source.family, str(source.network)) == (
        "MONAI bundle",
        "SegResNet (init_filters=8, blocks_down=[1,1,2], blocks_up=[1,1], dropout_prob=0.2)",
    )
    assert source.contract == Contract(("T1c", "T1", "T2", "FLAIR"), None, None, "zscore_nonzero", tuple(REGIONS))
    mentions(told(source), "orientation: inference.json#preprocessing has no Orientationd", "spacing … no Spacingd")
    network = load_weights(source.network.build(4, 3), tmp_path / "brats")
    assert all(torch.equal(value, source.weights[name]) for name, value in network.state_dict().items())


def test_the_grid_and_the_window_of_a_ct_bundle(tmp_path):
    source = read_source(ct_bundle(tmp_path / "spleen"))
    assert source.contract.spacing == (1.5, 1.5, 2.0)
    assert source.contract.orientation == "RAS"
    assert source.contract.normalisation == "window(-57,164)"
    assert source.contract.classes == ("background", "spleen")


@pytest.mark.parametrize(
    ("transforms", "expected"),
    [
        ([{"_target_": "ScaleIntensityRanged", "a_min": -57, "a_max": 164, "b_min": 0, "b_max": 1, "clip": True}],
         "window(-57,164)"),
        ([{"_target_": "ScaleIntensityRanged", "a_min": -57, "a_max": 164, "b_min": -1, "b_max": 1, "clip": True}], None),
        ([{"_target_": "ScaleIntensityRanged", "a_min": -57, "a_max": 164, "b_min": 0, "b_max": 1}], None),
        ([{"_target_": "ScaleIntensityRangePercentilesd", "lower": 1, "upper": 99, "b_min": 0, "b_max": 1, "clip": True}],
         "percentile(1,99)"),
        ([{"_target_": "monai.transforms.NormalizeIntensityD", "nonzero": True}], "zscore_nonzero"),
        ([{"_target_": "NormalizeIntensityDict"}], "zscore_volume"),
        ([{"_target_": "NormalizeIntensityd", "subtrahend": 10, "divisor": 2.5}], "fixed(10,2.5)"),
        ([{"_target_": "ScaleIntensityd"}], "minmax"),
        ([{"_target_": "ScaleIntensityd", "minv": -1.0, "maxv": 1.0}], None),
        ([{"_target_": "ScaleIntensityd"}, {"_target_": "NormalizeIntensityd"}], "zscore_volume"),
        ([{"_target_": "NormalizeIntensityd", "nonzero": True}, {"_target_": "ScaleIntensityd", "minv": -1.0}], None),
        ([{"_target_": "ScaleIntensityd"}, {"_target_": "NormalizeIntensityd", "nonzero": True}], None),
        ([{"_target_": "scripts.Conform"}], None),
        ([{"_target_": "RandShiftIntensityd", "offsets": 0.1}, {"_target_": "ScaleIntensityd"}], "minmax"),
        ([{"_target_": "NormalizeIntensityd", "keys": "label"}, {"_target_": "ScaleIntensityd"}], "minmax"),
        ([{"_target_": "ScaleIntensityd", "minv": "$-1 if 0 else 0"}], None),
    ],
)  # fmt: skip
def test_intensities(transforms, expected):
    config = ConfigData(zoo_config({}, [{"keys": "image", **one} for one in transforms]), "inference.json")
    found, notes = stated_preprocessing([config], 1)
    assert found.normalisation == expected
    if expected is None:
        mentions(" ".join(notes), f"normalisation … {transforms[0]['_target_'].split('.')[-1]}")


def test_a_z_score_of_all_channels_together_has_no_name():
    together = [{"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True}]
    config = ConfigData(zoo_config({}, together), "inference.json")
    assert stated_preprocessing([config], 4)[0].normalisation is None
    assert stated_preprocessing([config], 1)[0].normalisation == "zscore_nonzero"


@pytest.mark.parametrize(
    ("axcodes", "pixdim", "swapped", "spacing"),
    [
        ("LPS", [1, 2, 3], False, (1, 2, 3)),
        ("SPL", [1, 2, 3], False, (3, 2, 1)),
        ("RAS", [1, 2, 3], True, None),
        ("RAS", [2, 2, 2], True, (2, 2, 2)),
        ("$'RAS'", [2, 2, 2], False, (2, 2, 2)),
        ("$'RAS'", [1, 2, 3], False, None),
        ("RAS", "$[1.5] * 3 if @highres else [3.0] * 3", False, None),
        ("RAS", 1.5, False, None),
    ],
)
def test_spacing_is_along_right_anterior_superior(tmp_path, axcodes, pixdim, swapped, spacing):
    transforms = [
        {"_target_": "Orientationd", "keys": "image", "axcodes": axcodes},
        {"_target_": "Spacingd", "keys": "image", "pixdim": pixdim},
    ]
    source = read_source(ct_bundle(tmp_path / "b", [*reversed(transforms)] if swapped else transforms))
    assert source.contract.spacing == spacing
    assert source.contract.orientation == (None if axcodes.startswith("$") else axcodes)
    if spacing is None:
        mentions(told(source), f"spacing … pixdim {str(pixdim)[:8]}")


def test_references_are_followed_and_nothing_is_evaluated(tmp_path):
    trap = tmp_path / "created"
    train = {
        "filters": 8,
        "network_def": {
            "_target_": "monai.networks.nets.SegResNet", **SEG_RES_NET, "init_filters": "@filters", "in_channels": 1,
            "out_channels": 2,
        },
        "initialize": [f"$__import__('os').mkdir({str(trap)!r})"],
        "edges": [1.5, 1.5, 2.0],
        "train": {
            "deterministic_transforms": [
                {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
                {"_target_": "Spacingd", "keys": "image", "pixdim": "@edges"},
            ],
            "random_transforms": [
                {"_target_": "RandFlipd", "keys": "image"}, {"_target_": "NormalizeIntensityd", "keys": "image"}
            ],
            "preprocessing": {
                "_target_": "Compose", "transforms": "$@train#deterministic_transforms + @train#random_transforms"
            },
        },
        "preprocessing": "%train#preprocessing",
    }  # fmt: skip
    trained = SegResNet(**SEG_RES_NET, in_channels=1, out_channels=2)
    folder = write_zoo(tmp_path / "b", trained, zoo_metadata(["image"], ["background", "spleen"]), train=train)
    source = read_source(folder)
    assert source.network.settings == SEG_RES_NET
    assert (source.contract.spacing, source.contract.normalisation) == ((1.5, 1.5, 2.0), "zscore_volume")
    assert not trap.exists()


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"_target_": "scripts.networks.UNesT"}, "scripts.networks.UNesT is not one of … code in a bundle is not run"),
        ({"_target_": "my.SegResNet"}, "my.SegResNet is not one of"),
        ({"act": "$torch.nn.ReLU"}, "settings that are known only by running … act: $torch.nn.ReLU"),
        ({"spatial_dims": 2}, "spatial_dims 2"),
        ({"init_filters": "@filters"}, "init_filters: @filters"),
    ],
)
def test_a_network_that_only_code_defines_is_unknown(tmp_path, network, message):
    source = read_source(ct_bundle(tmp_path / "b", network=network))
    assert source.network is None
    mentions(told(source), f"network: … {message}")
    assert source.contract.spacing == (1.5, 1.5, 2.0)


def test_channels_that_the_metadata_do_not_all_name_are_unknown(tmp_path):
    """As in spleen_deepedit: an image and two channels of guidance, of which the metadata name one."""
    trained = SegResNet(**SEG_RES_NET, in_channels=3, out_channels=2)
    defined = {"_target_": "SegResNet", **SEG_RES_NET, "in_channels": 3, "out_channels": 2}
    metadata = zoo_metadata(["image"], ["background", "spleen"])
    source = read_source(write_zoo(tmp_path / "b", trained, metadata, inference=zoo_config(defined)))
    assert source.contract.modalities is None
    mentions(told(source), "modalities: … names 1 (image), the network has 3")


def test_names_that_the_toolkit_cannot_use_are_unknown(tmp_path):
    trained = SegResNet(**SEG_RES_NET, in_channels=2, out_channels=2)
    source = read_source(write_zoo(tmp_path / "b", trained, zoo_metadata(["MR", "MR"], ["background", "a"])))
    assert source.contract.modalities is None
    mentions(told(source), "modalities", "no config defines it", "no config lists transforms")


def test_the_licence_is_quoted(tmp_path):
    folder = brats_bundle(tmp_path / "b")
    assert read_source(folder).licence is None
    (folder / "LICENSE").write_text("\n   Apache License\n  Version 2.0\n", encoding="utf-8")
    assert read_source(folder).licence == "Apache License"
    (folder / "docs").mkdir()
    (folder / "docs" / "data_license.txt").touch()
    mentions(read_source(folder).licence, "Apache License … docs/data_license.txt")


def test_another_file_of_a_bundle_is_named_itself(tmp_path):
    folder = brats_bundle(tmp_path / "b")
    (folder / "models" / "model.pt").rename(folder / "models" / "model_lowres.pt")
    with pytest.raises(TransferError) as raised:
        read_source(folder)
    mentions(str(raised.value), f"holds no weights … there is {folder}/models/model_lowres.pt")
    assert read_source(folder / "models" / "model_lowres.pt").family == "MONAI bundle"


@pytest.mark.parametrize("damage", ["missing", "renamed", "shape"])
def test_a_damaged_bundle_is_refused_by_name(tmp_path, damage):
    folder = brats_bundle(tmp_path / "b")
    content = torch.load(folder / "models" / "model.pt", weights_only=True)
    name = "up_layers.0.0.conv1.conv.weight"
    value = content["model"].pop(name)
    if damage == "renamed":
        content["model"]["up_layers.0.0.first.conv.weight"] = value
    elif damage == "shape":
        content["model"][name] = value[:1]
    torch.save(content, folder / "models" / "model.pt")
    with pytest.raises(TransferError) as raised:
        load_weights(read_source(folder).network.build(4, 3), folder)
    mentions(str(raised.value), name)


def test_metadata_of_our_own_go_before_what_a_file_states(tmp_path):
    """Whoever knows more of a file writes a metadata.json next to it."""
    folder = ct_bundle(tmp_path / "b")
    own = {"preprocessing": {"spacing": [2, 2, 2], "orientation": "LPS", "normalisation": "zscore_volume"}}
    (folder / "models" / "metadata.json").write_text(
        json.dumps(zoo_metadata(["CT"], ["background", "spleen"]) | own), encoding="utf-8"
    )
    contract = read_source(folder).contract
    assert (contract.spacing, contract.orientation, contract.modalities) == ((2.0, 2.0, 2.0), "LPS", ("CT",))


@pytest.mark.parametrize(
    ("defined", "expected"),
    [
        ("_target_: monai_tl.networks.build.build_network\n  network: SegResNet\n  stages: null\n  init_filters: 8\n",
         "SegResNet (init_filters=8)"),
        ("_target_: monai_tl.networks.highres3dnet.HighRes3DNet\n  head_norm: '@head_norm'\n", "HighRes3DNet (head_norm=true)"),
        ("_target_: torch.nn.Identity\n", "None"),
    ],
)  # fmt: skip
def test_a_run_folder_knows_its_network(tmp_path, tiny, contract, run_folder, defined, expected):
    folder = run_folder(tiny(), contract())
    text = f"head_norm: true\nnetwork_def:\n  {defined}  in_channels: $len(@modalities)\n  out_channels: $len(@classes)\n"
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    source = read_source(folder)
    assert (source.family, str(source.network), source.contract) == ("monai_tl run or bundle", expected, contract())
    (folder / "config.yaml").write_text("a: [", encoding="utf-8")
    assert read_source(folder).network is None


def test_a_class_that_a_run_names_is_neither_imported_nor_built(tmp_path, tiny, contract, run_folder, monkeypatch):
    """A stranger's folder could name any function, and a working directory in it any module."""
    folder = run_folder(tiny(), contract())
    (folder / "their_network.py").write_text("raise SystemExit('their code ran')\n", encoding="utf-8")
    network = "  _target_: monai_tl.networks.build.build_network\n  network: their_network.Net\n  stages: null\n"
    (folder / "config.yaml").write_text(f"network_def:\n{network}", encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    source = read_source(folder)
    assert source_facts(source)["network"] == "unknown"
    mentions(told(source), "their_network.Net is a class of its own … not run: --network their_network.Net")


@pytest.mark.parametrize(("slope", "message"), [(0.02, ""), (0, "negative_slope=0 … ReLU becomes LeakyReLU in 20 modules")])
def test_a_run_s_weights_are_loaded_only_where_they_compute_the_same(tmp_path, contract, run_folder, slope, message):
    """As by a bundle's inference.yaml, whose network a flag of the training had changed."""
    folder = run_folder(HighRes3DNet(1, 2, negative_slope=slope), contract())
    network = f"  _target_: monai_tl.networks.highres3dnet.HighRes3DNet\n  negative_slope: {slope}\n"
    (folder / "config.yaml").write_text(f"network_def:\n{network}", encoding="utf-8")
    load_weights(HighRes3DNet(1, 2, negative_slope=slope), folder)
    if message:
        with pytest.raises(TransferError) as raised:
            load_weights(HighRes3DNet(1, 2), folder)
        mentions(str(raised.value), message)
