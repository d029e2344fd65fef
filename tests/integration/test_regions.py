"""Several regions from the datalist to the comparison: overlapping ones with a sigmoid each, others with a softmax."""

from __future__ import annotations

import csv
import json

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from monai_tl import cli
from monai_tl.datasets.datalist import read_datalist
from monai_tl.evaluation.score_table import read_scores
from monai_tl.imaging.preview import region_colours
from monai_tl.training.metrics_table import read_metrics, read_region_dice
from tests.conftest import BRATS, IXI, TINY, mentions

CORE, WHOLE, ENHANCING = "tumour core", "whole tumour", "enhancing tumour"
VALUES = {CORE: [1, 4], WHOLE: [1, 2, 4], ENHANCING: [4]}
SPLIT = "0.5,0.17,0.33"


def voxels(path) -> np.ndarray:
    return np.asanyarray(nib.load(path).dataobj)


def flags(**settings) -> list[str]:
    return [text for name, value in settings.items() for text in (f"--{name}", str(value).replace(" ", ""))]


@pytest.fixture(scope="module")
def brats(tmp_path_factory, phantoms):
    """The phantoms' datalist with the three regions of BraTS."""
    path = tmp_path_factory.mktemp("brats") / "datalist.json"
    cli.datalist_brats(root=str(phantoms / "brats"), split=SPLIT, regions="brats", output=str(path))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory, brats):
    """A run from scratch with the overlay ``regions``, scored on the test cases."""
    folder = tmp_path_factory.mktemp("runs") / "scratch"
    settings = {"target": str(BRATS), "overlay": "regions", "datalist": str(brats), **TINY}
    cli.transfer(scratch=True, output=str(folder), **settings)
    cli.evaluate(run=str(folder), split="test")
    return folder


@pytest.fixture(scope="module")
def other_run(tmp_path_factory, brats):
    folder = tmp_path_factory.mktemp("runs") / "other"
    settings = {"target": str(BRATS), "overlay": "regions", "datalist": str(brats), **TINY, "seed": 1}
    cli.transfer(scratch=True, output=str(folder), class_ratios=[1, 1, 2, 1], **settings)
    cli.evaluate(run=str(folder), split="test")
    return folder


def test_the_datalist_holds_the_regions_of_its_track(brats):
    content = json.loads(brats.read_text())
    assert content["regions"] == VALUES
    assert content["labels"] == [1, 2, 4]
    assert content["track"]["name"] == "gli2017"
    assert "foreground" not in content


def test_each_region_of_each_case_is_scored_against_the_label(run, brats):
    rows = read_scores(run / "scores_test.csv")
    data = read_datalist(brats)
    assert [(row.subject, row.region) for row in rows] == [(name, region) for name in data.splits["test"] for region in VALUES]
    for case in data.split("test"):
        label = voxels(case["label"])
        of = {row.region: row.reference_ml for row in rows if row.subject == case["subject"]}
        assert of == {region: pytest.approx(np.isin(label, values).sum() / 1000) for region, values in VALUES.items()}
        assert of[WHOLE] > of[CORE] >= of[ENHANCING] > 0


def test_what_was_learned_is_stored_with_the_weights(run):
    metadata = json.loads((run / "metadata.json").read_text())
    assert metadata["regions"] == VALUES
    assert list(metadata["regions"]) == [CORE, WHOLE, ENHANCING]
    assert list(metadata["network_data_format"]["outputs"]["pred"]["channel_def"].values()) == [CORE, WHOLE, ENHANCING]
    weights = torch.load(run / "model.pt", weights_only=True)
    assert len(weights["conv_2.conv.weight"]) == 3


def test_validations_are_recorded_by_region_and_their_mean_is_that_of_metrics(run):
    rows = read_region_dice(run)
    assert [(row.iteration, row.region) for row in rows] == [(at, region) for at in (2, 4) for region in VALUES]
    for validation in read_metrics(run / "metrics.csv"):
        of = [row.val_dice for row in rows if row.iteration == validation["iteration"]]
        assert validation["val_dice"] == pytest.approx(np.mean(of)), "one validation case, in which each region is defined"
    with (run / "validation_regions.csv").open() as file:
        assert next(csv.reader(file)) == ["iteration", "region", "val_dice"]


def test_pictures_are_of_the_prediction_and_of_the_reference_in_the_colours_of_the_regions(run, brats):
    for subject in read_datalist(brats).splits["test"]:
        picture = np.asarray(Image.open(run / "overlays_test" / f"{subject}.png"))
        below = picture[244:484]
        found = [bool((below == colour).all(axis=-1).any()) for colour in region_colours(3)]
        assert found[1:] == [True, True], "the core's outline, of a voxel, lies below the enhancing tumour's"


def test_a_segmentation_paints_the_regions_inside_the_others(run, phantoms, verb, tmp_path):
    """Its values are those of BraTS; the masks behind it are the probabilities of at least 0.5."""
    out = tmp_path / "out"
    answer = verb("predict", "--bundle", run, "--input", phantoms / "brats", "--output", out, "--probabilities", "true")
    assert answer.code == 0, answer.err
    found = sorted(out.glob("*_seg.nii.gz"))
    assert len(found) == 6
    values = set[int]()
    with (out / "predictions.csv").open() as file:
        listed = {row["case"]: row for row in csv.DictReader(file)}
    for path in found:
        subject = path.name.removesuffix("_seg.nii.gz")
        seg, probability = voxels(path), voxels(out / f"{subject}_probability.nii.gz")
        assert probability.shape == (*seg.shape, 3)
        scan = nib.load(next((phantoms / "brats").rglob(f"{subject}_t1.nii.gz")))
        assert (seg.shape, nib.load(path).affine.tolist()) == (scan.shape, scan.affine.tolist())
        core, whole, enhancing = (probability[..., channel] >= 0.5 for channel in range(3))
        expected = np.select([enhancing, core, whole], [4, 1, 2], 0)
        assert np.array_equal(seg, expected)
        values |= set(np.unique(seg).tolist())
        ml = {CORE: core.sum() / 1000, WHOLE: whole.sum() / 1000, ENHANCING: enhancing.sum() / 1000}
        assert listed[subject]["regions_ml"] == "; ".join(f"{name} {of:.4f}" for name, of in ml.items())
        assert float(listed[subject]["volume_ml"]) == pytest.approx((seg > 0).sum() / 1000)
        assert (out / f"{subject}.png").stat().st_size > 0
    assert values <= {0, 1, 2, 4}
    assert len(values) > 1, "a network that finds nothing would show nothing"


def test_two_runs_are_compared_over_all_regions_and_by_one(run, other_run, verb):
    answer = verb("compare", run, other_run)
    assert answer.code == 0, answer.err
    mentions(answer.out, "Dice, mean over regions … 2 cases", "mean Dice … scratch … other", CORE, WHOLE, ENHANCING)
    one = verb("compare", run, other_run, "--region", CORE)
    assert one.code == 0, one.err
    rows = [read_scores(folder / "scores_test.csv") for folder in (run, other_run)]
    means = [np.mean([row.values["dice"] for row in table if row.region == CORE]) for table in rows]
    mentions(one.out, f"Dice of {CORE}", f"{means[0]:.3f}", f"{means[1]:.3f}")
    unknown = verb("compare", run, other_run, "--region", "core")
    assert unknown.code == 2
    mentions(unknown.err, f"'core' … {CORE}")


def test_runs_of_several_regions_and_of_one_are_not_compared(run, phantoms, verb, tmp_path):
    alone = tmp_path / "alone"
    words = flags(target=BRATS, dataset_dir=phantoms / "brats", output=alone, **TINY)
    assert verb("transfer", "--scratch", *words).code == 0
    assert verb("evaluate", "--run", alone, "--split", "test").code == 0
    assert "region" in (alone / "scores_test.csv").read_text().splitlines()[0]
    assert not (alone / "validation_regions.csv").exists()
    answer = verb("compare", run, alone)
    assert answer.code == 2
    mentions(answer.err, f"scratch and alone … {CORE}, {WHOLE}, {ENHANCING}")


def test_weights_of_one_region_start_those_of_several(source, brats, verb, tmp_path):
    """The head is new, and the frozen stages are the source's."""
    folder = tmp_path / "run"
    words = flags(source=source, target=BRATS, overlay="regions", datalist=brats, output=folder, freeze=2, **TINY)
    answer = verb("transfer", *words)
    assert answer.code == 0, answer.err
    ours, theirs = (torch.load(place / "model.pt", weights_only=True) for place in (folder, source))
    assert torch.equal(ours["conv_0.conv.weight"], theirs["conv_0.conv.weight"])
    assert (len(ours["conv_2.conv.weight"]), len(theirs["conv_2.conv.weight"])) == (3, 2)


def test_killed_after_a_validation_a_run_continues_its_table_of_regions(run, brats, verb, tmp_path, kill_at, monkeypatch):
    folder = tmp_path / "run"
    words = ["--scratch", *flags(target=BRATS, overlay="regions", datalist=brats, output=folder, **TINY)]
    kill_at(4)
    assert verb("transfer", *words).code == 130
    monkeypatch.undo()
    assert [row.iteration for row in read_region_dice(folder)] == [2] * 3
    assert verb("transfer", *words, "--resume", "true").code == 0
    assert read_region_dice(folder) == read_region_dice(run)


def test_volumes_to_compare_predictions_with_are_of_the_region_that_is_learned(run, brats, verb, tmp_path):
    """A network of the core alone, on a datalist of three regions: a core as large as a whole tumour must be remarked on."""
    words = flags(target=BRATS, datalist=brats, output=tmp_path / "core", **TINY)
    assert verb("transfer", "--scratch", *words).code == 0
    core, whole = (json.loads((folder / "data.json").read_text())["training_ml"] for folder in (tmp_path / "core", run))
    assert all(0 < core[name] < whole[name] for name in ("min", "median", "max"))


def test_sides_that_exclude_each_other_have_a_softmax(phantoms, verb, tmp_path):
    datalist, folder, out = tmp_path / "datalist.json", tmp_path / "run", tmp_path / "out"
    words = flags(root=phantoms / "ixi", split=SPLIT, regions="left=17,right=53", output=datalist)
    assert verb("datalist", "ixi", *words).code == 0
    words = flags(bundle=IXI, datalist=datalist, output=folder, classes="[background,left,right]", **TINY)
    answer = verb("train", *words)
    assert answer.code == 0, answer.err
    assert json.loads((folder / "metadata.json").read_text())["regions"] == {"left": [17], "right": [53]}
    assert verb("evaluate", "--run", folder, "--split", "test").code == 0
    data = read_datalist(datalist)
    rows = read_scores(folder / "scores_test.csv")
    assert [(row.subject, row.region) for row in rows] == [
        (name, side) for name in data.splits["test"] for side in ("left", "right")
    ]
    for row in rows:
        label = voxels(next(case["label"] for case in data.cases if case["subject"] == row.subject))
        assert row.reference_ml == pytest.approx((label == {"left": 17, "right": 53}[row.region]).sum() / 1000)
    answer = verb("predict", "--bundle", folder, "--input", phantoms / "ixi", "--output", out, "--probabilities", "true")
    assert answer.code == 0, answer.err
    for path in out.glob("*_seg.nii.gz"):
        probability = voxels(out / path.name.replace("_seg", "_probability"))
        assert probability.sum(axis=-1).max() <= 1 + 1e-5
        chosen = np.concatenate([1 - probability.sum(axis=-1, keepdims=True), probability], axis=-1).argmax(axis=-1)
        assert np.array_equal(voxels(path), np.array([0, 17, 53])[chosen])


def test_classes_and_a_loss_that_contradict_are_refused_before_a_scan_is_read(brats, verb, tmp_path):
    """Scans are missing, which is reported only where classes and loss agree."""
    content = json.loads(brats.read_text())
    for case in content["cases"]:
        case.update({role: str(brats.parent / case[role]) for role in ("T1", "T2", "label")})
        case["T1"] += ".gone"
    (tmp_path / "datalist.json").write_text(json.dumps(content))

    def refusal(classes, *more):
        words = flags(target=BRATS, datalist=tmp_path / "datalist.json", output=tmp_path / "run", **TINY)
        answer = verb("transfer", "--scratch", *words, "--classes", classes, *more)
        assert answer.code == 2
        assert len([line for line in answer.err.splitlines() if line.startswith("monai_tl: ")]) == 1
        assert not (tmp_path / "run").exists()
        return answer.err

    mentions(refusal("['tumour core','whole tumour']"), "(DiceCELoss) takes a softmax … monai_tl.training.losses.DiceBCELoss")
    exclusive = "['background','tumour core']"
    mentions(refusal(exclusive, "--overlay", "regions"), "(DiceBCELoss) takes masks … softmax … omit background")
    shared = refusal("['background','tumour core','whole tumour']")
    mentions(shared, f"'{CORE}' … '{WHOLE}' … (1, 4) … 'background' first … omit it … DiceBCELoss … sigmoid")
    mentions(refusal("['tumour core','whole tumour']", "--overlay", "regions"), "T1 does not exist")


@pytest.fixture(scope="module")
def layouts(phantoms, tmp_path_factory):
    """What each verb of ``datalist`` needs beside regions, on the phantoms; the task of the Decathlon is their BraTS."""
    root = tmp_path_factory.mktemp("layouts")
    cases = [path.parent.name for path in sorted((phantoms / "brats").rglob("*_seg.nii.gz"))]
    files = {"image": "t1", "label": "seg"}
    for case in cases:
        for role, ending in files.items():
            (root / role).mkdir(exist_ok=True)
            (root / role / f"{case}.nii.gz").symlink_to(next((phantoms / "brats").rglob(f"{case}_{ending}.nii.gz")))
    pairs = [{role: f"./{role}/{case}.nii.gz" for role in files} for case in cases]
    labels = {"0": "background", "1": "necrosis", "2": "oedema", "4": "enhancing", "7": "cyst"}
    (root / "dataset.json").write_text(json.dumps({"modality": {"0": "T1"}, "labels": labels, "training": pairs}))
    (root / "names.csv").write_text("1,necrosis\n2,oedema\n4,enhancing\n7,cyst\n")
    patterns = {"T1": root / "image" / "{subject}.nii.gz", "label": root / "label" / "{subject}.nii.gz"}
    names = ["--label_names", str(root / "names.csv")]
    return {
        "ixi": [*flags(root=phantoms / "ixi"), *names],
        "brats": flags(root=phantoms / "brats"),
        "decathlon": flags(root=root),
        "files": [*flags(**patterns), *names],
    }


@pytest.mark.parametrize(
    ("verbs", "regions", "facts"),
    [
        ("ixi files decathlon", "necrosis,necrosys", "'necrosys' … 'necrosis'?"),
        ("brats", "necrosis", "'necrosis' … necrosis=VALUE"),
        ("ixi brats decathlon files", "core=1;core=4", "'core' twice"),
        ("ixi brats decathlon files", "core=", "core="),
        ("ixi brats decathlon files", "core=1;also=1", "'core' … 'also' … same … 1"),
        ("ixi brats decathlon files", "core=0", "'core' … from 1 … [0]"),
        ("brats", "core=1;cyst=7", "'cyst' … 7 … 1, 2, 4"),
        ("decathlon", "core=1;cyst=9", "'cyst' … 9 … 1, 2, 4, 7"),
        ("decathlon", "necrosis,cyst", "none of the 3 training labels … 'cyst' (7) … 0, 1, 2, 4"),
        ("files", "necrosis,cyst", "none of the 3 training labels … 'cyst' (7) … 0, 1, 2, 4"),
        ("ixi", "left=17;cyst=77", "none of the 3 training labels … 'cyst' (77) … 17"),
    ],
)
def test_regions_that_cannot_be_meant_are_refused_by_each_verb(layouts, verb, tmp_path, verbs, regions, facts):
    for name in verbs.split():
        words = ["--split", SPLIT, "--person", "none", "--regions", regions, "--output", tmp_path / "datalist.json"]
        answer = verb("datalist", name, *layouts[name], *words)
        assert answer.code == 2, (name, answer.out)
        lines = [line for line in answer.err.splitlines() if line.startswith("monai_tl: ") and "warning" not in line]
        assert len(lines) == 1, answer.err
        mentions(lines[0], facts)
        assert not (tmp_path / "datalist.json").exists()


def test_each_verb_makes_a_datalist_of_the_same_kind_of_regions(layouts, verb, tmp_path):
    for name, regions in {
        "ixi": "left=17;both=17,53",
        "brats": "core=1,4;rim=4",
        "decathlon": "oedema",
        "files": "oedema",
    }.items():
        path = tmp_path / f"{name}.json"
        answer = verb(
            "datalist", name, *layouts[name], "--split", SPLIT, "--person", "none", "--regions", regions, "--output", path
        )
        assert answer.code == 0, answer.err
        assert list(read_datalist(path).regions) == [part.split("=")[0] for part in regions.split(";")]


def test_voxels_to_be_ignored_count_in_no_score(phantoms, verb, tmp_path):
    """Oedema, 2, is ignored: a run trains, and what it finds there is neither right nor wrong."""
    datalist, folder = tmp_path / "datalist.json", tmp_path / "run"
    words = flags(root=phantoms / "brats", split=SPLIT, foreground="1,4", labels="1,2,4", ignore="2", output=datalist)
    answer = verb("datalist", "brats", *words)
    assert answer.code == 0, answer.err
    assert json.loads(datalist.read_text())["ignore"] == [2]
    answer = verb("train", *flags(bundle=BRATS, datalist=datalist, output=folder, **TINY))
    assert answer.code == 0, answer.err
    assert verb("evaluate", "--run", folder, "--split", "test").code == 0
    data = read_datalist(datalist)
    out = tmp_path / "out"
    assert verb("predict", "--bundle", folder, "--input", phantoms / "brats", "--output", out).code == 0
    for row, case in zip(read_scores(folder / "scores_test.csv"), data.split("test"), strict=True):
        label, guess = voxels(case["label"]), voxels(out / f"{case['subject']}_seg.nii.gz") > 0
        counted = label != 2
        core = np.isin(label, (1, 4))
        assert row.prediction_ml == pytest.approx((guess & counted).sum() / 1000)
        assert row.reference_ml == pytest.approx(core.sum() / 1000)
        both = 2 * (guess & core).sum() / ((guess & counted).sum() + core.sum())
        assert row.values["dice"] == pytest.approx(both, abs=1e-6)
