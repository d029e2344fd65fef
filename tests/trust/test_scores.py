"""Which scores: one definition of a case's score, and tables that say what they are of."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_tl.cli.data_verbs import datalist_brats
from monai_tl.evaluation.score_table import read_scores
from monai_tl.evaluation.scores import summarise
from monai_tl.training.metrics_table import read_metrics
from tests.conftest import BRATS, mentions
from tests.trust.conftest import head, write_brats, write_image

TOPIC = "Weights and scores"
SPLITS = {"train": ["s0", "s1"], "validation": ["s2", "s3"], "test": ["s4", "s5"]}
FLAGS = {"iterations": 4, "validate_every": 2, "window": "[12,12,12]", "inference_window": "[64,64,64]", "batch_size": 1}
TURNED = np.array([[-0.8, 0.6, 0, 9], [0.6, 0.8, 0, -7], [0, 0, -1.2, 30], [0, 0, 0, 1.0]])  # flipped and oblique


@pytest.fixture
def cohort(verb, tmp_path) -> Callable[..., Path]:
    """Six heads in the layout of BraTS and their datalist, changed before it is written."""

    def make(name="data", change=lambda root: None, affine=None, seed=0):
        root = write_brats(tmp_path / name, [f"s{n}" for n in range(6)], (20, 20, 20), affine, seed)
        change(root)
        (root / "lists.json").write_text(json.dumps(SPLITS))
        answer = verb("datalist", "brats", "--root", root, "--split", root / "lists.json")
        assert answer.code == 0, answer.err
        return root

    return make


@pytest.fixture
def train(verb, tmp_path) -> Callable[..., Path]:
    def call(root, name="run", **flags):
        options = {"bundle": BRATS, "dataset_dir": root, "output": tmp_path / name, "device": "cpu", **FLAGS, **flags}
        answer = verb("train", *(str(word) for flag, value in options.items() for word in (f"--{flag}", value)))
        assert answer.code == 0, answer.err
        return tmp_path / name

    return call


def no_tumour(*subjects):
    def change(root):
        for subject in subjects:
            path = root / subject / f"{subject}_seg.nii.gz"
            affine = nib.load(path).affine
            write_image(path, np.zeros((20, 20, 20), np.uint8), affine)

    return change


def stripped(root):
    """Nothing but a small brain in the middle: validation and evaluation crop, predict and put back."""
    for number in range(6):
        for role, ending in (("T1", "t1"), ("T2", "t2"), ("label", "seg")):
            volume = head(number, (20, 20, 20))[role]
            volume[:5] = volume[-4:] = volume[:, :3] = volume[..., -6:] = 0
            write_image(root / f"s{number}" / f"s{number}_{ending}.nii.gz", volume)


FIXTURES = {
    "the network's grid": {},
    "a network at 2 mm": {"spacing": "[2.0,2.0,2.0]"},
    "oblique scans with a flipped axis": {"affine": TURNED},
    "skull-stripped heads": {"change": stripped},
    "an empty validation case": {"change": no_tumour("s3")},
}


@pytest.mark.parametrize("kind", FIXTURES)
def test_validation_is_evaluation(cohort, train, verb, says, kind):
    """The Dice that chose the weights is the mean of scores_validation.csv of these weights, to the last bit."""
    made = FIXTURES[kind]
    root = cohort(**{key: value for key, value in made.items() if key != "spacing"})
    run = train(root, **{key: value for key, value in made.items() if key == "spacing"})
    answer = verb("evaluate", "--run", run, "--split", "validation")
    assert answer.code == 0, answer.err
    scores = read_scores(run / "scores_validation.csv")
    best = max(read_metrics(run / "metrics.csv"), key=lambda row: row["val_dice"])
    assert best["val_dice"] == summarise(scores).mean > 0
    for score in scores:  # on the case's own grid, as it was drawn
        label = nib.load(root / score.subject / f"{score.subject}_seg.nii.gz")
        voxel = float(np.prod(nib.affines.voxel_sizes(label.affine))) / 1000
        assert score.reference_ml == pytest.approx(np.count_nonzero(np.asanyarray(label.dataobj)) * voxel, rel=1e-5)
    if kind == "an empty validation case":
        assert [score.values["dice"] for score in scores][1] == 0, "a false alarm"
        assert best["val_dice"] == scores[0].values["dice"] / 2
        said = answer.out.strip().splitlines()[-2].split(": ")[1]
        says(TOPIC, "a validation case without foreground in which something is found", "train, evaluate, study",
             f"it counts as Dice 0 in {said}", "2 cases; 0 undefined")  # fmt: skip


def test_a_validation_without_any_foreground_is_refused(cohort, train, verb, says, tmp_path):
    root = cohort(change=no_tumour("s2", "s3"))
    words = [str(word) for flag, value in {"dataset_dir": root, **FLAGS}.items() for word in (f"--{flag}", value)]
    answer = verb("train", "--bundle", BRATS, "--output", tmp_path / "run", *words)
    assert answer.code == 2
    assert not (tmp_path / "run").exists()
    says(TOPIC, "no validation case with foreground", "train, transfer, study, evaluate", answer, "Dice would")


@pytest.fixture(scope="module")
def scored(tmp_path_factory, request) -> Path:
    """A run on separate heads, trained once, not scored yet; data and run are in the same folder."""
    from monai_tl.workflow.launch import run_configs
    from monai_tl.workflow.merged_config import bundle_config

    base = tmp_path_factory.mktemp("scored")
    root = write_brats(base / "data", [f"s{n}" for n in range(6)], (20, 20, 20))
    (root / "lists.json").write_text(json.dumps(SPLITS))
    datalist_brats(root=str(root), split=str(root / "lists.json"))
    settings = {"window": [12] * 3, "inference_window": [20] * 3, "iterations": 4, "validate_every": 2, "batch_size": 1}
    where = {"bundle_root": str(BRATS), "dataset_dir": str(root), "run_dir": str(base / "run"), "device": "cpu"}
    run_configs([bundle_config(BRATS, "train")], {**where, **settings})
    return base / "run"


@pytest.fixture
def run(scored, verb, tmp_path) -> Path:
    """A copy of that run, scored on its test split."""
    copy = shutil.copytree(scored, tmp_path / "run")
    if not (scored / "scores_test.csv").exists():
        assert verb("evaluate", "--run", scored).code == 0
        for name in ("scores_test.csv", "scores_test.json"):
            shutil.copy(scored / name, copy)
        shutil.copytree(scored / "overlays_test", copy / "overlays_test")
    return copy


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_scores_say_what_they_are_of(run, scored):
    record = json.loads((run / "scores_test.json").read_text())
    assert record["datalist"] == str(scored.parent / "data" / "datalist.json")
    assert (record["split"], record["window"], record["overlap"], record["precision"] in ("float32", "bfloat16")) == (
        "test",
        [20, 20, 20],
        0.25,
        True,
    )
    from monai_tl.storage.files import sha256_of

    assert record["weights_sha256"] == sha256_of(run / "model.pt")
    assert record["scores_sha256"] == sha256_of(run / "scores_test.csv")
    assert record["settings"]["spacing"] == [1.0, 1.0, 1.0]
    assert list(record["references"]) == ["s4", "s5"]


def test_other_data_are_scored_to_another_file(run, cohort, verb, says, tmp_path):
    """--dataset_dir was once ignored: the run's own cases were scored again, over the file that there was."""
    other = cohort("other", seed=50)
    before = contents(run)
    answer = verb("evaluate", "--run", run, "--dataset_dir", other)
    assert answer.code == 2
    assert contents(run) == before
    says(
        TOPIC,
        "evaluate on other data without a file for their scores",
        "evaluate",
        answer,
        str(other / "datalist.json"),
        "--scores",
    )
    file = tmp_path / "elsewhere" / "other.csv"
    answer = verb("evaluate", "--run", run, "--dataset_dir", other, "--scores", file)
    assert answer.code == 0, answer.err
    assert contents(run) == before
    label = np.asanyarray(nib.load(other / "s4" / "s4_seg.nii.gz").dataobj)
    assert read_scores(file)[0].reference_ml == pytest.approx(np.count_nonzero(label) / 1000)
    assert json.loads(file.with_suffix(".json").read_text())["datalist"] == str(other / "datalist.json")
    assert sorted(path.stem for path in (file.parent / "overlays_other").iterdir()) == ["s4", "s5"]
    answer = verb("evaluate", "--run", run, "--scores", file)
    assert answer.code == 2
    says(TOPIC, "evaluate over scores of other data", "evaluate", answer, f"{other / 'datalist.json'}: s4, s5")
    answer = verb("evaluate", "--run", run, "--scores", tmp_path / "c.csv", "--overlays", run / "overlays_test")
    assert answer.code == 2
    says(TOPIC, "evaluate over the pictures of other scores", "evaluate", answer, "holds the overlays of", "--overlays DIR")
    assert contents(run) == before
    for name in ("scores_test.csv", "scores_test.json"):  # put where the run's own are
        shutil.copy(file.with_suffix(Path(name).suffix), run / name)
    answer = verb("compare", run)
    assert answer.code == 2
    says(
        TOPIC,
        "scores of another datalist in a run's place",
        "compare, report, study",
        answer,
        "datalist … run's",
    )


def test_other_settings_and_weights_do_not_replace_scores(run, verb, says, tmp_path):
    before = contents(run)
    answer = verb("evaluate", "--run", run, "--inference_window", "[12,12,12]")
    assert answer.code == 2
    text = "20×20×20 voxels, overlap 0.25 … 12×12×12 voxels, overlap 0.25"
    says(TOPIC, "evaluate in other windows over scores", "evaluate", answer, text, "--scores FILE")
    answer = verb("evaluate", "--run", run, "--validate#postprocessing#transforms#2#threshold", "0.4")
    assert answer.code == 2
    mentions(answer.err, "validate#postprocessing")
    answer = verb("evaluate", "--run", run, "--ckpt", run / "last.pt")
    assert answer.code == 2
    says(TOPIC, "evaluate with other weights than the run's", "evaluate", answer, "last.pt", "--scores FILE")
    answer = verb("evaluate", "--run", run, "--split", "validation", "--scores", run / "scores_test.csv")
    assert answer.code == 2
    mentions(answer.err, "test split … validation")
    assert contents(run) == before
    answer = verb("evaluate", "--run", run)
    assert answer.code == 0, answer.err
    again = {name for name, content in contents(run).items() if content != before[name]}
    assert again <= {"scores_test.csv", "scores_test.json"}, "seconds alone"


def test_data_that_were_moved_are_still_the_runs_own(scored, cohort, verb, tmp_path):
    """The same files under another folder need no other table; nor does a datalist whose first place is gone."""
    run = shutil.copytree(scored, tmp_path / "moved")
    for name in ("scores_test.csv", "scores_test.json"):
        (run / name).unlink(missing_ok=True)
    shutil.copytree(scored.parent / "data", tmp_path / "elsewhere")
    assert verb("evaluate", "--run", run, "--dataset_dir", tmp_path / "elsewhere").code == 0
    assert verb("evaluate", "--run", run).code == 0
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(str(scored.parent / "data"), str(tmp_path / "gone")))
    assert verb("evaluate", "--run", run, "--dataset_dir", tmp_path / "elsewhere").code == 0


IDLE = ("iterations", "learning_rate", "rotation", "cache_rate", "validate#handlers")


@pytest.mark.parametrize("name", IDLE)
def test_an_override_that_changes_nothing_is_refused(run, verb, says, name):
    before = contents(run)
    answer = verb("evaluate", "--run", run, f"--{name}", "1")
    assert answer.code == 2
    assert contents(run) == before
    text = f"--{name} … nothing"
    mentions(answer.err, text)
    if name == "iterations":
        says(TOPIC, "evaluate with a setting of training", "evaluate, predict, train, transfer", answer, text)


def test_overrides_that_overlays_or_predictions_do_not_read_are_refused(run, verb, tmp_path):
    answer = verb("train", "--bundle", BRATS, "--output", tmp_path / "t", "--overlay", "thesis", "--class_ratios", "[1,3]")
    assert answer.code == 2
    words = ("predict", "--bundle", run, "--input", tmp_path, "--output", tmp_path / "p")
    mentions(verb(*words, "--datalist", tmp_path / "d.json").err, "--datalist … nothing")
    mentions(verb(*words, "--output_dir", tmp_path).err, "--output")
    assert "the run folder is named by --run" in verb("evaluate", "--run", run, "--run_dir", tmp_path).err


def trained_on(folder: Path) -> None:
    """Other weights, as a training that goes on leaves them."""
    weights = torch.load(folder / "model.pt", weights_only=True)
    weights["conv_2.conv.bias"] += torch.tensor([-3.0, 3.0])
    torch.save(weights, folder / "model.pt")


def test_scores_older_than_the_weights(run, scored, verb, says, tmp_path):
    """Scored, then trained on: the old number was once shown next to new ones."""
    assert verb("compare", scored, run).code == 0
    trained_on(run)
    answer = verb("compare", scored, run)
    assert answer.code == 2
    says(TOPIC, "scores older than a run's weights", "compare, study", answer, "earlier weights", f"evaluate --run {run}")
    shutil.copytree(scored, tmp_path / "runs" / "first")
    shutil.copytree(run, tmp_path / "runs" / "second")
    before = summarise(read_scores(run / "scores_test.csv")).mean
    answer = verb("report", "--runs", tmp_path / "runs")
    assert answer.code == 0, answer.err
    page = (tmp_path / "runs" / "report.html").read_text()
    row = next(part for part in page.split("<tr>") if "<bdi>second</bdi>" in part)
    assert "scores belong to earlier weights" in row
    mentions(answer.out, "2 runs, 1 of")
    says(
        TOPIC,
        "a report of scores older than the weights",
        "report",
        "its scores belong to earlier weights, and none is shown",
        "earlier weights",
    )
    answer = verb("evaluate", "--run", run)
    assert answer.code == 0, answer.err
    says(TOPIC, "evaluate over scores of weights that are no more", "evaluate", answer, "earlier weights", "overwritten")
    assert summarise(read_scores(run / "scores_test.csv")).mean != before
    assert verb("compare", scored, run).code == 0


def test_scores_that_were_changed_or_say_nothing_are_not_compared(run, scored, verb, says):
    table = run / "scores_test.csv"
    rows = list(csv.reader(table.open()))
    rows[1][3] = "0.99"
    table.write_text("\n".join(",".join(row) for row in rows) + "\n")
    answer = verb("compare", scored, run)
    assert answer.code == 2
    says(TOPIC, "scores that were changed by hand", "compare, report, study", answer, "changed after")
    (run / "scores_test.json").unlink()
    answer = verb("compare", scored, run)
    assert answer.code == 2
    says(
        TOPIC,
        "scores that say nothing of what they are of",
        "compare, report, study",
        answer,
        "scores_test.json",
        "remove",
    )
    answer = verb("evaluate", "--run", run)
    assert answer.code == 2
    says(TOPIC, "evaluate over a table of unknown origin", "evaluate", answer, "without a record … --scores FILE")
    table.unlink()
    assert verb("evaluate", "--run", run).code == 0
    assert verb("compare", scored, run).code == 0


def test_references_of_equal_volume_but_other_voxels_are_not_compared(run, scored, verb, says):
    """Labels mirrored in place: the same ids, the same volumes, another truth."""
    data = scored.parent / "data"
    path = data / "s4" / "s4_seg.nii.gz"
    kept = path.read_bytes()
    try:
        write_image(path, np.asanyarray(nib.load(path).dataobj)[::-1])
        answer = verb("evaluate", "--run", run)
        assert answer.code == 2
        says(TOPIC, "evaluate against labels that have changed", "evaluate", answer, "1 scan has changed", "label of s4")
        (run / "scores_test.csv").unlink()
        (run / "data.json").unlink()  # as of a run that keeps no list of its cases
        assert verb("evaluate", "--run", run).code == 0
    finally:
        path.write_bytes(kept)
    answer = verb("compare", scored, run)
    assert answer.code == 2
    says(
        TOPIC,
        "runs scored against labels mirrored meanwhile",
        "compare, report",
        answer,
        "volumes … s4",
    )


def test_different_sliding_windows_are_reported(run, scored, verb, says):
    (run / "scores_test.csv").unlink()
    assert verb("evaluate", "--run", run, "--inference_window", "[16,16,16]").code == 0
    answer = verb("compare", scored, run)
    assert answer.code == 0
    says(TOPIC, "runs predicted in different windows", "compare, report", answer, "different sliding windows")
    assert "16×16×16 voxels, overlap 0.25" in answer.out


def test_a_dice_that_is_undefined_stays_out_of_the_tables_numbers(run):
    assert not any(math.isnan(score.values["dice"]) for score in read_scores(run / "scores_test.csv"))
