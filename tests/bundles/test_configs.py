"""Every config in the tree is what MONAI's bundle tools expect, and the configs agree with each other."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.bundle.scripts import ckpt_export, verify_metadata, verify_net_in_out

from monai_tl.datasets.brats_tracks import TRACKS
from monai_tl.datasets.datalist import make_datalist, read_datalist, write_datalist
from monai_tl.datasets.regions import is_softmax
from monai_tl.training.losses import IgnoreVoxels
from monai_tl.workflow.task_file import read_task_file
from tests.conftest import BRATS, IXI, TINY

ROOT = Path(__file__).parents[2]
BUNDLES = sorted(path for path in (ROOT / "bundles").iterdir() if path.is_dir())
CONFIGS = sorted((ROOT / "bundles").rglob("configs/*.yaml"))
bundles = pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
ARMS = ("scratch", "1", "2", "3", "4", "5")
SHARED = ("network_def", "image_transforms", "modalities", "classes", "spacing", "orientation", "normalisation")


def read(bundle: Path, name: str) -> dict[str, Any]:
    return yaml.safe_load((bundle / "configs" / f"{name}.yaml").read_text(encoding="utf-8"))


def strings(config: Any) -> list[str]:
    if isinstance(config, str):
        return [config]
    children = config.values() if isinstance(config, dict) else config if isinstance(config, list) else []
    return [text for child in children for text in strings(child)]


def some_weights(bundle: Path, folder: Path) -> Path:
    """Write the initial weights of a bundle's network."""
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.yaml"))
    torch.save(parser.get_parsed_content("network_def").state_dict(), folder / "model.pt")
    return folder / "model.pt"


def fitting_data(bundle: Path, phantoms: Path, folder: Path) -> Path:
    """Write a datalist of phantoms with a bundle's modalities and regions: each region is a part of the hippocampi."""
    train = read(bundle, "train")
    regions = train["classes"][1:] if is_softmax(train["classes"]) else train["classes"]
    cases, folder = [], folder / "scans"
    folder.mkdir(parents=True)
    for case in read_datalist(phantoms / "ixi" / "datalist.json").cases:
        subject, scans = case["subject"], [nib.load(case[name]) for name in ("T1", "T2", "label")]
        t1, t2, label = (np.asanyarray(scan.dataobj) for scan in scans)
        parts, places = np.zeros(label.shape, np.uint8), np.flatnonzero(np.isin(label, (17, 53)))
        for value, part in enumerate(np.array_split(places, len(regions)), 1):
            parts.flat[part] = value
        images = {name: t1 + number * t2 for number, name in enumerate(train["modalities"])}
        for name, voxels in {**images, "label": parts}.items():
            nib.save(nib.Nifti1Image(voxels, scans[0].affine), folder / f"{subject}_{name}.nii.gz")
        cases.append({"subject": subject, **{name: str(folder / f"{subject}_{name}.nii.gz") for name in (*images, "label")}})
    subjects = [case["subject"] for case in cases]
    splits = {"train": subjects[:3], "validation": subjects[3:4], "test": subjects[4:]}
    values = {name: (value,) for value, name in enumerate(regions, 1)}
    data = make_datalist(cases, modalities=train["modalities"], regions=values, splits=splits)
    return write_datalist(folder / "datalist.json", data).parent


def test_all_configs_are_found():
    assert len(BUNDLES) >= 2
    assert len(CONFIGS) >= 13
    assert {BRATS, IXI} <= set(BUNDLES)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_a_dollar_references_or_indexes_but_does_not_decide(config):
    text = config.read_text(encoding="utf-8")
    for expression in strings(yaml.safe_load(text)):
        if expression.startswith("$"):
            assert not re.search(r"\b(if|for|lambda|open)\b", expression), expression
    first = text.splitlines()[:4]
    assert first[0].startswith("# ")
    assert any("monai" in line for line in first[1:]), "a config begins with the command that runs it"


@bundles
@pytest.mark.parametrize(("name", "kind"), [("train", "train"), ("inference", "infer")])
def test_monai_finds_the_properties_it_asks_of_a_bundle(bundle, name, kind, phantoms, tmp_path):
    own = {"run_dir": str(tmp_path / "run"), **TINY} if name == "train" else {"ckpt": str(some_weights(bundle, tmp_path))}
    data = fitting_data(bundle, phantoms, tmp_path / "data")
    workflow = ConfigWorkflow(
        str(bundle / "configs" / f"{name}.yaml"),
        workflow_type=kind,
        logging_file=False,
        bundle_root=str(bundle),
        dataset_dir=str(data),
        **own,
    )
    workflow.initialize()
    assert workflow.check_properties() == []


@bundles
def test_metadata_satisfies_its_schema_offline(bundle):
    verify_metadata(meta_file=str(bundle / "configs" / "metadata.json"), filepath=str(bundle / "eval" / "schema.json"))


@bundles
def test_metadata_that_says_too_little_does_not_satisfy_it(bundle, tmp_path):
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    del metadata["preprocessing"]["spacing"]
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match="'spacing' is a required property"):
        verify_metadata(meta_file=str(tmp_path / "metadata.json"), filepath=str(bundle / "eval" / "schema.json"))


@bundles
def test_the_network_takes_and_gives_what_the_metadata_says(bundle):
    files = {"meta_file": bundle / "configs" / "metadata.json", "config_file": bundle / "configs" / "inference.yaml"}
    verify_net_in_out("network_def", **{name: str(path) for name, path in files.items()}, n=1, any=16, device="cpu")


@bundles
def test_a_checkpoint_exports_to_torchscript_that_gives_the_same(bundle, tmp_path):
    checkpoint, target = some_weights(bundle, tmp_path), tmp_path / "model.ts"
    weights, train = torch.load(checkpoint, weights_only=True), read(bundle, "train")
    ckpt_export(
        "network_def",
        filepath=str(target),
        ckpt_file=str(checkpoint),
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / "inference.yaml"),
    )
    exported = torch.jit.load(str(target))
    assert all(torch.equal(value, weights[name]) for name, value in exported.state_dict().items())
    channels = len(train["modalities"]), len(train["classes"])
    assert exported(torch.rand(1, channels[0], 8, 8, 8)).shape == (1, channels[1], 8, 8, 8)


@bundles
def test_metadata_matches_train_yaml(bundle):
    metadata, train = json.loads((bundle / "configs" / "metadata.json").read_text()), read(bundle, "train")
    assert metadata["preprocessing"] == {key: train[key] for key in ("spacing", "orientation", "normalisation")}
    data_format = metadata["network_data_format"]
    assert list(data_format["inputs"]["image"]["channel_def"].values()) == train["modalities"]
    assert list(data_format["outputs"]["pred"]["channel_def"].values()) == train["classes"]


@bundles
def test_inference_sees_images_as_training_does(bundle):
    train, inference = read(bundle, "train"), read(bundle, "inference")
    shared = (*SHARED, "head_norm", "inference_overlap", "device", "precision", "datalist", "dataset_dir", "data", "softmax")
    assert {key: inference[key] for key in shared} == {key: train[key] for key in shared}
    window = train["window"] if train["inference_window"] == "@window" else train["inference_window"]
    assert inference["inference_window"] == window
    assert inference["inferer"] == train["validate"]["inferer"]
    assert inference["crop"] == train["validate"]["crop"] == {**train["crop"], "keys": "image"}
    to_own_grid = inference["postprocessing"]["transforms"][:2]  # then both choose alike: tests/inference/test_save.py
    expected = json.dumps(train["validate"]["postprocessing"]["transforms"][:2]).replace(
        "@validate#preprocessing", "@preprocessing"
    )
    assert to_own_grid == json.loads(expected)


@bundles
def test_evaluation_adds_nothing_between_a_scan_and_its_mask(bundle):
    """What chooses the weights is what scores them: the parts are validation's, by reference."""
    evaluate = read(bundle, "evaluate")["evaluate"]
    assert evaluate["dataset"]["transform"] == "@validate#preprocessing"
    assert (evaluate["evaluator"]["inferer"], evaluate["evaluator"]["postprocessing"]) == (
        "@validate#inferer",
        "@validate#postprocessing",
    )
    for overlay in ("transfer", "thesis", "regions"):
        assert "validate" not in read(bundle, overlay) if (bundle / "configs" / f"{overlay}.yaml").is_file() else True


@bundles
def test_the_task_file_knows_a_dicom_code_of_each_class(bundle):
    task = read_task_file(bundle)
    classes = read(bundle, "train")["classes"]
    assert list(task.dicom_codes) == (classes[1:] if is_softmax(classes) else classes)
    assert all(code.scheme == "SCT" and code.value.isdecimal() for codes in task.dicom_codes.values() for code in codes)


def test_the_published_figures_are_those_of_the_studys_tables():
    lists = json.loads((ROOT / "bundles/brats_tumour_core/splits/study.json").read_text())
    published = read_task_file(ROOT / "bundles/brats_tumour_core").published
    assert published is not None
    assert {size.set: size.n for size in published.sizes} == {name: len(lists[name]) for name in ("S1", "S2", "S3", "S4")}
    assert [size.table for size in published.sizes] == ["6.3", "6.4", "6.5", "6.6"]
    assert published.layers.training == dict(zip(ARMS, (0.533, 0.639, 0.675, 0.641, 0.237, 0.056), strict=True))
    assert published.layers.validation == dict(zip(ARMS, (0.460, 0.479, 0.438, 0.407, 0.211, 0.045), strict=True))
    assert [published.test_dice("2", size.n) for size in published.sizes] == [0.361, 0.471, 0.492, 0.455]
    assert sum(sum(size.iterations.values()) for size in published.sizes) == 2000 + 2500 + 4000 + 9500
    assert read_task_file(IXI).published is None


def test_the_overlay_of_regions_names_those_that_brats_is_scored_on():
    """And a loss for classes that overlap; all else is train.yaml's."""
    overlay = read(BRATS, "regions")
    assert set(overlay) == {"classes", "loss"}
    (track,) = (track for track in TRACKS if track.name == "gli2017")
    assert overlay["classes"] == list(track.regions)
    assert not is_softmax(overlay["classes"])
    wrapped = ConfigParser({"loss": overlay["loss"]}).get_parsed_content("loss")
    IgnoreVoxels(wrapped, softmax=False)


@bundles
def test_training_validation_and_prediction_take_the_same_regions(bundle):
    """Labels in training are an index or masks as the classes exclude each other or not; scores are always of masks."""
    train, evaluate, inference = (read(bundle, name) for name in ("train", "evaluate", "inference"))
    encoded = train["label_transforms"][-1]
    validated = train["validate"]["label_transforms"][-1]
    assert (encoded["masks"], validated["masks"]) == ("$not @softmax", True)
    assert (
        (encoded["regions"], encoded["ignore"]) == (validated["regions"], validated["ignore"]) == ("@regions", "$@data.ignore")
    )
    scored = [evaluate["scoring"], evaluate["evaluate"]["handlers"][1], train["validate"]["key_metric"]["val_dice"]]
    assert [part["regions"] for part in scored] == ["$list(@regions)"] * 3
    save = inference["postprocessing"]["transforms"][-1]
    assert (save["regions"], save["softmax"]) == ("@regions", "@softmax")
    assert train["validate"]["postprocessing"]["transforms"][-1]["softmax"] == "@softmax"
    crop, indices = train["augmentation"][0], train["window_transforms"][-1]
    assert crop["num_classes"] == indices["classes"] == "$1 + len(@regions)"


def test_a_bundle_holds_no_python_and_ships_its_papers():
    for bundle in BUNDLES:
        assert not list(bundle.rglob("*.py"))
        for paper in ("LICENSE", "docs/README.md", "docs/data_license.txt", "configs/logging.conf"):
            assert (bundle / paper).stat().st_size > 0, paper


@bundles
def test_transfer_holds_only_what_a_transfer_changes(bundle):
    """thesis.yaml may repeat: it has to stay the study's settings whatever the defaults become."""
    base, overlay = (read(bundle, name) for name in ("train", "transfer"))
    assert [key for key, value in overlay.items() if key in base and base[key] == value] == []


def test_the_studys_splits_are_nested_and_disjoint():
    lists = json.loads((ROOT / "bundles/brats_tumour_core/splits/study.json").read_text())
    sets = {name: set(value) for name, value in lists.items() if isinstance(value, list)}
    assert [len(sets[name]) for name in ("S1", "S2", "S3", "S4", "val", "test")] == [26, 52, 78, 105, 63, 42]
    assert sets["S1"] < sets["S2"] < sets["S3"] < sets["S4"]
    assert len(sets["S4"] | sets["val"] | sets["test"]) == 210


def test_a_bundle_moved_elsewhere_is_whole(tmp_path, phantoms):
    """Nothing in a bundle refers to its place in this repository but the default data and source."""
    moved = shutil.copytree(BRATS, tmp_path / "elsewhere")
    workflow = ConfigWorkflow(
        str(moved / "configs" / "train.yaml"),
        workflow_type="train",
        logging_file=False,
        bundle_root=str(moved),
        dataset_dir=str(phantoms / "brats"),
    )
    workflow.parser.parse(reset=True)
    assert workflow.parser.get_parsed_content("data").splits["train"]
