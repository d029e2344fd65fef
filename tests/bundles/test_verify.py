"""A check of a bundle passes for what works, and names what does not: the file, the id, both values."""

from __future__ import annotations

import shutil

import pytest
import yaml

from monai_tl.bundles.rewriting import rewrite_bundle
from monai_tl.bundles.verify import CHECKS, verify_bundle
from tests.bundles.test_configs import BUNDLES, fitting_data
from tests.conftest import BRATS, mentions

TRAIN, INFERENCE, TRANSFER = "configs/train.yaml", "configs/inference.yaml", "configs/transfer.yaml"
METADATA, README, TASK = "configs/metadata.json", "docs/README.md", "task.yaml"


@pytest.fixture
def bundle(tmp_path):
    """A copy with small patches, as its network is applied to one."""
    folder = shutil.copytree(BRATS, tmp_path / "bundle", ignore=shutil.ignore_patterns("models", "predictions"))
    (folder / TASK).write_text((folder / TASK).read_text() + "settings: {window: [8, 8, 8]}\n")
    rewrite_bundle(folder)
    return folder


def change(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text, old
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize("folder", BUNDLES, ids=lambda path: path.name)
def test_every_bundle_of_the_tree_passes(folder):
    report = verify_bundle(folder)
    assert report.problems == ()
    assert report.passed == len(CHECKS) >= 12
    assert not [note for note in report.notes if "datalist" not in note]


def test_the_verb_prints_the_number_of_checks_and_what_is_worth_knowing(verb, bundle):
    change(bundle / TRAIN, "rotation: 10.0", "rotation: 20.0")
    change(bundle / TASK, "data_source: BraTS 2018", "data_source: BraTS 2023")
    answer = verb("bundle", "check", bundle)
    assert answer.code == 0, answer.err
    mentions(answer.out, f"{bundle}: {len(CHECKS)} checks passed", "datalist … does not exist here")
    mentions(answer.out, "train.yaml was edited by hand", "metadata.json is older than task.yaml … monai_tl bundle render")


@pytest.mark.parametrize(
    ("file", "old", "new", "facts"),
    [
        (TRAIN, 'iterations: 600', 'iterations: 601', ["iterations (601)", "validate_every (50)"]),
        (TRAIN, 'class_ratios: [1, 1]', 'class_ratios: [1, 1, 1]', ["class_ratios takes two numbers"]),
        (TRAIN, 'weight_decay: 0.01', 'weight_decy: 0.01', ["nothing has the id 'weight_decay'"]),
        (TRAIN, 'seed: 0', 'seeds: 0', ["train.yaml lacks the id 'seed'"]),
        (TRAIN, 'val_interval: 1', 'interval: 1', ["nothing has the id 'val_interval'"]),
        (TRAIN, '    max_epochs: "@epochs"\n', '', ["train.yaml lacks 'train::trainer::max_epochs', which MONAI"]),
        (TRAIN, '    validator: "@validate#evaluator"', '    validator: "@trainer_of"', ["nothing has the id 'trainer_of'"]),
        (TRAIN, '    train_handlers: "@train#handlers"', '    train_handlers: "@initialize"',
         ["train_handlers is @initialize, MONAI expects @train::handlers"]),
        (TRAIN, 'workers: 0', 'workers: 4', []),
        (TRAIN, 'out_channels: $len(@classes)', 'out_channels: 3', ["3 output channels for 2 classes (background, "]),
        (TRAIN, '  softmax: true\n  batch: true', '  sigmoid: true\n  batch: true', ["loss (DiceCELoss) takes a sigmoid"]),
        (TRAIN, '  to_onehot_y: true', '  to_onehot_y: false', ["loss (DiceCELoss) takes masks"]),
        (TRAIN, 'classes: [background, tumour core]', 'classes: [tumour core]',
         ["loss (DiceCELoss) takes a softmax", "task.yaml has classes", "differs from train.yaml: classes",
          "metadata.json states channel_def"]),
        (TRAIN, 'monai_tl.networks.highres3dnet.HighRes3DNet', 'nowhere.Net', ["check_network: ", "nowhere"]),
        (TRAIN, 'iterations: 600', 'iterations: [600', ["train.yaml is not YAML"]),
        (INFERENCE, 'axcodes: RAS', 'axcodes: LPS', ["differs from train.yaml: image_transforms"]),
        (INFERENCE, 'inference_window: [8, 8, 8]', 'inference_window: [64, 64, 64]',
         ["inference_window is [64, 64, 64], in training [8, 8, 8]"]),
        (INFERENCE, 'margin: 4', 'margin: 8', ["differs from train.yaml: crop"]),
        (INFERENCE, 'dataset:\n', 'data_set:\n', ["lacks 'dataset', which MONAI", "nothing has the id 'dataset'"]),
        (TRANSFER, 'freeze: 2 ', 'freze: 2 ', ["transfer.yaml lacks the id 'freeze'", "nothing has the id 'freeze'"]),
        (TRANSFER, 'norm: freeze', 'norm: frozen', ["unknown norm 'frozen'"]),
        (METADATA, '"spacing": [1.0, 1.0, 1.0]', '"spacing": [1.0, 2.0]', ["states spacing [1.0, 2.0], train.yaml [1.0, 1.0"]),
        (METADATA, '"1": "T2"', '"1": "FLAIR"', ["states channel_def ['T1', 'FLAIR'], train.yaml ['T1', 'T2']"]),
        (METADATA, '"num_channels": 2', '"num_channels": 1', ["states num_channels 1, train.yaml 2"]),
        (METADATA, '"authors": "The monai_tl authors"', '"authors": ""', ["does not state authors"]),
        (METADATA, '"version": "0.1.0"', '"versn": "0.1.0"', ["does not state version", "MONAI asks of a bundle (version)"]),
        (METADATA, '"name"', 'name', ["metadata.json is damaged"]),
        (README, '# Tumour core on BraTS', '# Knee', ["is about 'Knee', metadata.json about 'Tumour core on BraTS'"]),
        (TASK, 'modalities: [T1, T2]', 'modalities: [T1]', ["task.yaml has modalities ['T1'], train.yaml ['T1', 'T2']"]),
        (TASK, 'authors:', 'authrs:', ["unknown entry 'authrs'"]),
        ("configs/regions.yaml", 'batch: true', 'batches: true', ["train + transfer + regions:", "batches"]),
        ("configs/thesis.yaml", 'patience: 0', 'patience: -1', ["train + transfer + thesis:", "patience takes"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(verb, bundle, file, old, new, facts):
    change(bundle / file, old, new)
    answer = verb("bundle", "check", bundle)
    assert answer.code == (2 if facts else 0), answer.err
    if facts:
        mentions(answer.err, *facts)
        assert "checks passed" not in answer.out


def test_a_bundle_without_transfer_names_the_remedy_and_gets_it(verb, bundle):
    (bundle / TRANSFER).unlink()
    (bundle / README).write_text("")
    answer = verb("bundle", "check", bundle)
    mentions(answer.err, f"{TRANSFER} is missing or empty: `monai_tl bundle render {bundle}`", f"{README} is missing or empty")
    mentions(verb("transfer", "--target", bundle).err, "no config 'transfer'", f"`monai_tl bundle render {bundle}`")
    assert verb("bundle", "render", bundle, "--force").code == 0
    assert verb("bundle", "check", bundle).code == 0


def test_the_datalist_is_checked_if_it_exists(verb, bundle, phantoms, tmp_path):
    data = fitting_data(bundle, phantoms, tmp_path / "data")
    change(bundle / TRAIN, "dataset_dir: $@bundle_root + '/../../data/phantom/brats'", f"dataset_dir: {data}")
    change(bundle / INFERENCE, "dataset_dir: $@bundle_root + '/../../data/phantom/brats'", f"dataset_dir: {data}")
    answer = verb("bundle", "check", bundle)
    assert answer.code == 0, answer.err
    assert "does not exist here" not in answer.out
    for file in (TRAIN, INFERENCE):
        change(bundle / file, "modalities: [T1, T2]", "modalities: [T1, FLAIR]")
    mentions(verb("bundle", "check", bundle).err, f"no modality 'FLAIR' in {data}/datalist.json")
    for file in (TRAIN, INFERENCE):
        change(bundle / file, "modalities: [T1, FLAIR]", "modalities: [T1, T2]")
        change(bundle / file, "classes: [background, tumour core]", "classes: [background, tumour core, oedema]")
    mentions(verb("bundle", "check", bundle).err, "the datalist has no region 'oedema'")


def test_a_bundle_without_a_task_file_is_checked_by_itself(verb, bundle):
    (bundle / TASK).unlink()
    answer = verb("bundle", "check", bundle)
    assert answer.code == 0, answer.err
    mentions(answer.out, "no task.yaml: the files were not compared with the recipe")


def test_codes_of_a_class_that_no_config_has_are_noted(verb, bundle):
    """They are legal, for --classes, and so are volumes of other regions; but a name may be misspelt."""
    change(bundle / TASK, "  tumour core:     ", "  tumor core:     ")
    change(bundle / TASK, "dicom_codes:", "plausible_ml: {oedema: [1, 200]}\ndicom_codes:")
    answer = verb("bundle", "check", bundle)
    assert answer.code == 0, answer.err
    mentions(answer.out, "note: task.yaml: dicom_codes: no config has a class 'tumor core': did you mean 'tumour core'")
    assert "oedema" not in answer.out


def test_codes_of_a_class_of_an_overlay_are_known(verb, bundle):
    content = yaml.safe_load((bundle / TASK).read_text())
    content["dicom_codes"]["whole tumour"] = content["dicom_codes"]["tumour core"]
    (bundle / TASK).write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    answer = verb("bundle", "check", bundle)
    assert answer.code == 0, answer.err
    assert "dicom_codes" not in answer.out


def test_a_folder_that_is_no_bundle(verb, tmp_path):
    mentions(verb("bundle", "check", tmp_path).err, f"'{tmp_path}' is not a bundle", "monai_tl bundle new")
    mentions(verb("bundle", "check", tmp_path, tmp_path).err, "takes one folder")
