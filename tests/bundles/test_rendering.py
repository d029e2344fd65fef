"""Every bundle in the tree is what the recipe makes of its task.yaml, byte for byte; what a task states reaches the files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from monai_tl.bundles.rendering import RECIPE, RECORD, render_bundle, text_sha256
from monai_tl.errors import ConfigError
from monai_tl.workflow.recipe_settings import RECIPE_SETTINGS
from monai_tl.workflow.task_file import parse_task_file, read_task_file
from tests.conftest import ROOT, mentions

BUNDLES = sorted(path.parent for path in (ROOT / "bundles").glob("*/task.yaml"))
SMALL = "name: knee\nmodalities: [T1]\nclasses: [background, femur, tibia]\n"


def rendered(text: str) -> dict[str, str]:
    return render_bundle(parse_task_file(text, Path("task.yaml")))


def config(files: dict[str, str], name: str) -> dict:
    return yaml.safe_load(files[f"configs/{name}.yaml"])


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_a_bundle_is_its_task_rendered(bundle):
    files = render_bundle(read_task_file(bundle))
    differing = [name for name, text in files.items() if (bundle / name).read_bytes() != text.encode("utf-8")]
    assert not differing, f"edit task.yaml or the recipe, then: monai_tl bundle render {bundle.relative_to(ROOT)}"
    assert read_task_file(bundle).texts["name"] == bundle.name


def test_every_bundle_has_a_task_and_every_file_of_the_recipe_is_rendered():
    assert len(BUNDLES) >= 2
    assert sorted(path for path in (ROOT / "bundles").iterdir() if path.is_dir()) == BUNDLES
    recipe = {path.relative_to(RECIPE).as_posix() for path in RECIPE.rglob("*") if path.is_file()}
    assert rendered(SMALL).keys() == recipe | {RECORD}
    configs = ("train", "transfer", "untrained", "evaluate", "inference")
    assert {f"configs/{name}.yaml" for name in configs} | {"LICENSE", "configs/metadata.json", "docs/README.md"} <= recipe


def test_three_entries_are_enough():
    """Everything else has a default, and the settings are the recipe's."""
    files = rendered(SMALL)
    train, inference, metadata = config(files, "train"), config(files, "inference"), json.loads(files["configs/metadata.json"])
    assert train["classes"] == inference["classes"] == ["background", "femur", "tibia"]
    assert {name: train[name] for name in RECIPE_SETTINGS if name in train} | {"inference_window": None} == {
        name: value for name, value in RECIPE_SETTINGS.items() if name in train
    }
    transfer = config(files, "transfer")
    assert {name: transfer[name] for name in RECIPE_SETTINGS if name in transfer} == {
        name: RECIPE_SETTINGS[name] for name in ("freeze", "norm", "fresh", "new_channels")
    }
    assert (train["inference_window"], inference["inference_window"]) == ("@window", RECIPE_SETTINGS["window"])
    assert metadata["name"] == "Knee"
    assert metadata["task"] == "Segmentation of femur and tibia on T1 images"
    assert files["docs/README.md"].startswith("# Knee\n\nSegmentation of femur and tibia on T1 images.\n")
    assert list(yaml.safe_load(files[RECORD])["files"]) == [name for name in files if name != RECORD]
    assert yaml.safe_load(files[RECORD])["files"]["LICENSE"] == text_sha256(files["LICENSE"])


def test_a_background_decides_between_a_softmax_and_sigmoids():
    overlapping = SMALL.replace("[background, femur, tibia]", "[bone, femur]")
    exclusive, loss = config(rendered(SMALL), "train")["loss"], config(rendered(overlapping), "train")["loss"]
    assert (exclusive["_target_"], exclusive["softmax"]) == ("DiceCELoss", True)
    assert loss == {"_target_": "monai_tl.training.losses.DiceBCELoss", "batch": True}
    assert "a sigmoid for each region" in rendered(overlapping)["docs/README.md"]


def test_what_a_task_states_reaches_every_file_that_needs_it():
    text = SMALL + (
        "title: 'Bones: \"knee\"'\n"
        "references: ['A. Author, 2020']\nchangelog: {0.1.0: first, 0.2.0: second}\n"
        "dataset_dir: ../../data/knee\nsource: /runs/hip\ndatalist: /lists/one.json\n"
        "settings: {spacing: [2, 1.5, 1], orientation: LPS, normalisation: zscore_nonzero, window: [24, 24, 24],\n"
        "  inference_window: [48, 48, 48], rotation: 5, freeze: res_1, learning_rate: 1.0e-5}\n"
    )
    files = rendered(text)
    train, inference, transfer = (config(files, name) for name in ("train", "inference", "transfer"))
    metadata = json.loads(files["configs/metadata.json"])
    for of in (train, inference):
        assert (of["spacing"], of["orientation"], of["normalisation"]) == ([2, 1.5, 1], "LPS", "zscore_nonzero")
        assert (of["dataset_dir"], of["datalist"]) == ("$@bundle_root + '/../../data/knee'", "/lists/one.json")
        assert of["inference_window"] == [48, 48, 48]
    assert metadata["preprocessing"] == {key: train[key] for key in ("spacing", "orientation", "normalisation")}
    assert (train["window"], train["learning_rate"], transfer["source"]) == ([24, 24, 24], 1e-5, "/runs/hip")
    assert transfer["freeze"] == "res_1"
    assert (metadata["version"], metadata["name"]) == ("0.2.0", 'Bones: "knee"')
    assert metadata["references"][0] == "A. Author, 2020"
    mentions(files["docs/README.md"], "±5° … ±10 %", "turned to LPS", "non-zero voxels")


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ("name: knee\n", ["lacks modalities, classes"]),
        ("{}", ["lacks name, modalities, classes"]),
        (SMALL.replace("knee", "my knee"), ["name takes", "'my knee'"]),
        (SMALL.replace("tibia", "femur"), ["classes takes different names", "femur"]),
        (SMALL.replace("[background, femur, tibia]", "[femur, background]"), ["background first"]),
        (SMALL.replace("femur", "'@window'"), ["MONAI evaluates", "'@window'"]),
        (SMALL + "titel: Knee", ["unknown entry 'titel'", "did you mean 'title'"]),
        (SMALL + "title: |\n  two\n  lines", ["title takes one line"]),
        (SMALL + "settings: {windw: 3}", ["settings has an unknown entry 'windw'", "did you mean 'window'"]),
        (SMALL + "settings: {window: 32}", ["settings: window takes three whole numbers", "32"]),
        (SMALL + "settings: {iterations: 75}", ["iterations (75)", "validate_every (50)"]),
        (SMALL + "settings: {class_ratios: [1, 1, 1, 1]}", ["class_ratios takes two numbers, or 3"]),
        (SMALL + "settings: {window: 0, iterations: 0}", ["settings:", "window takes", "iterations takes"]),
        (SMALL + "plausible_ml: {femur: [5, 5]}", ["plausible_ml of 'femur' takes", "[5, 5]"]),
        (SMALL + "plausible_ml: {femur: 5}", ["plausible_ml of 'femur' takes", "got 5"]),
        (SMALL + "tolerance_mm: {femur: 0}", ["tolerance_mm of 'femur' takes a number above 0 (mm)"]),
        (SMALL + "dataset_dir: ../it's", ["absolute path", "it's"]),
        (SMALL + "source: ../a + b", ["absolute path", "../a + b"]),
        (SMALL + "dataset_dir: ../a#b", ["dataset_dir takes a path without #"]),
    ],
)  # fmt: skip
def test_what_cannot_be_rendered_is_refused_in_words(change, facts):
    with pytest.raises(ConfigError) as caught:
        rendered(change)
    mentions(str(caught.value), *facts)


def test_volumes_and_tolerances_are_read():
    task = parse_task_file(SMALL + "plausible_ml: {femur: [50, 200.5]}\ntolerance_mm: {femur: 1}", Path("task.yaml"))
    assert (task.plausible_ml, task.tolerance_mm) == ({"femur": (50.0, 200.5)}, {"femur": 1.0})
