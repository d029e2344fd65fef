"""Segmentations made elsewhere are scored as a run's own, and nothing that does not fit is scored at all."""

from __future__ import annotations

import shutil

import nibabel as nib
import numpy as np
import pytest

from monai_tl.datasets.datalist import make_datalist, write_datalist
from monai_tl.evaluation.score_record import read_record
from monai_tl.evaluation.score_table import read_scores
from tests.conftest import mentions

SHAPE = (8, 8, 8)
AFFINE = np.diag([2.0, 1.0, 1.0, 1.0])


def save(path, values, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, affine), path)
    return str(path)


def volume(*boxes):
    """Values in boxes of 2 × 2 × 2 voxels, by their first voxel."""
    values = np.zeros(SHAPE, np.uint8)
    for value, (i, j, k) in boxes:
        values[i : i + 2, j : j + 2, k : k + 2] = value
    return values


CORE, OEDEMA = (4, (1, 1, 1)), (2, (4, 4, 4))


@pytest.fixture
def data(tmp_path):
    """Two cases, each with a box of core and one of oedema; regions overlap."""
    cases = []
    for subject in ("a", "b"):
        image = save(tmp_path / "scans" / f"{subject}_T1.nii", np.arange(512, dtype=np.int16).reshape(SHAPE))
        label = save(tmp_path / "scans" / f"{subject}_seg.nii", volume(CORE, OEDEMA))
        cases.append({"subject": subject, "T1": image, "label": label})
    regions = {"core": (4,), "whole": (2, 4)}
    datalist = make_datalist(cases, modalities=["T1"], regions=regions, splits={"test": ["a", "b"]}, ignore=[9])
    return write_datalist(tmp_path / "datalist.json", datalist)


@pytest.fixture
def evaluated(verb, data, tmp_path):
    def call(predictions, *flags, output="other"):
        where = ("--datalist", data, "--output", tmp_path / output)
        return verb("evaluate", "--predictions", predictions, *where, *flags)

    return call


@pytest.fixture
def predicted(tmp_path):
    """The core is right in a and missed in b; the oedema is one voxel off along i in both."""
    moved = (2, (5, 4, 4))
    save(tmp_path / "predicted" / "a.nii.gz", volume(CORE, moved))
    save(tmp_path / "predicted" / "b.nii.gz", volume(moved))
    return tmp_path / "predicted"


def test_each_region_is_scored_and_drawn(evaluated, predicted, tmp_path):
    answer = evaluated(predicted, "--metrics", "dice,nsd,sensitivity", "--tolerance", "[1,2]")
    assert answer.code == 0, answer.err
    scores = {(score.subject, score.region): score for score in read_scores(tmp_path / "other" / "scores_test.csv")}
    dice = {place: score.values["dice"] for place, score in scores.items()}
    assert dice == pytest.approx(
        {("a", "core"): 1, ("a", "whole"): 2 * 12 / 32, ("b", "core"): 0, ("b", "whole"): 2 * 4 / (16 + 8)}
    )
    assert scores["a", "whole"].values["nsd"] == 1, "moved by a voxel of 2 mm, which the second region's tolerance allows"
    assert scores["b", "whole"].values["sensitivity"] == 4 / 16
    assert scores["b", "core"].reference_ml == pytest.approx(8 * 2 / 1000)
    assert sorted(path.name for path in (tmp_path / "other" / "overlays_test").iterdir()) == ["a.png", "b.png"]
    record, whole = read_record(tmp_path / "other" / "scores_test.csv")
    assert whole
    assert (record.metrics, record.tolerance_mm) == (["dice", "nsd", "sensitivity"], {"core": 1, "whole": 2})
    assert list(record.predictions) == ["a", "b"]


def test_other_names_are_a_pattern_and_other_values_a_map(evaluated, predicted, tmp_path):
    for subject in "ab":
        values = np.asarray(nib.load(predicted / f"{subject}.nii.gz").dataobj)
        save(tmp_path / "elsewhere" / subject / "pred.nii.gz", np.where(values == 4, 3, values))
    pattern = tmp_path / "elsewhere" / "{subject}" / "pred.nii.gz"
    unmapped = evaluated(pattern)
    assert unmapped.code == 2
    mentions(unmapped.err, "a: prediction has the value 3; labels have 0, 2, 4", "--label_map")
    assert not (tmp_path / "other").exists()
    assert evaluated(pattern, "--label_map", "3=4").code == 0
    assert evaluated(predicted, output="same").code == 0
    tables = [read_scores(tmp_path / name / "scores_test.csv") for name in ("other", "same")]
    assert repr(tables[0]) == repr(tables[1])


def test_voxels_to_be_ignored_count_nowhere(evaluated, predicted, data, tmp_path):
    """Four voxels of the core are ignored; in case a, where the whole core is predicted, those inside are no false alarm."""
    label = volume(CORE, OEDEMA)
    label[1, 1:3, 1:3] = 9
    for subject in "ab":
        save(tmp_path / "scans" / f"{subject}_seg.nii", label)
    assert evaluated(predicted).code == 0
    core = read_scores(tmp_path / "other" / "scores_test.csv")[0]
    assert (core.values["dice"], core.prediction_ml) == (1, pytest.approx(4 * 2 / 1000))
    b = [score for score in read_scores(tmp_path / "other" / "scores_test.csv") if score.subject == "b"]
    assert [score.reference_ml for score in b] == pytest.approx([4 * 2 / 1000, 12 * 2 / 1000])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "b.nii.gz").unlink(), "1 of 2 cases … b … {subject}"),
        (lambda folder: save(folder / "a_seg.nii.gz", volume(CORE)), "a has two … a_seg.nii.gz, a.nii.gz"),
        (lambda folder: save(folder / "b.nii.gz", volume(CORE)[:7]), "b: label has shape 8×8×8, prediction 7×8×8"),
        (lambda folder: save(folder / "b.nii.gz", volume(CORE), np.eye(4)), "b: label and prediction … mm apart"),
        (lambda folder: save(folder / "b.nii.gz", volume(CORE) * 0.1), "b.nii.gz … not whole numbers"),
        (lambda folder: save(folder / "b.nii.gz", volume((7, (1, 1, 1)))), "b: prediction … 7; labels have 0, 2, 4, 9"),
    ],
)
def test_a_segmentation_that_does_not_fit_is_refused(evaluated, predicted, tmp_path, change, message):
    change(predicted)
    answer = evaluated(predicted)
    assert answer.code == 2
    mentions(answer.err, message)
    assert not (tmp_path / "other").exists(), "nothing is half written"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--regions", "cor"), "'cor' … 'core'"),
        (("--metrics", "dice,hd59"), "hd95 … got … hd59"),
        (("--tolerance", "[1,2,3]"), "3 values … 2 regions"),
        (("--label_map", "4"), "THERE=HERE … '4'"),
        (("--label_map", "4=1,4=2"), "twice"),
        (("--split", "validation"), "no such split … test"),
        (("--run", "runs/a"), "omit --run"),
        (("--device", "cpu"), "--device has no effect"),
    ],
)
def test_flags_that_cannot_be_meant_are_refused(evaluated, predicted, tmp_path, flags, message):
    answer = evaluated(predicted, *flags)
    assert answer.code == 2
    mentions(answer.err, message)
    assert not (tmp_path / "other").exists()


def test_a_value_of_a_region_that_no_segmentation_has_is_suspected(evaluated, predicted):
    """As of a tool that calls the core 2, too."""
    for subject in "ab":
        save(predicted / f"{subject}.nii.gz", volume(OEDEMA))
    mentions(evaluated(predicted).err, "core is in no segmentation … --label_map")


def test_scores_are_not_overwritten_by_fewer_or_others(evaluated, predicted, tmp_path):
    assert evaluated(predicted, "--metrics", "dice,nsd").code == 0
    before = (tmp_path / "other" / "scores_test.csv").read_bytes()
    fewer = evaluated(predicted, "--metrics", "dice,hd95")
    assert fewer.code == 2
    mentions(fewer.err, "nsd … --metrics dice,nsd,hd95 … --output")
    other = evaluated(predicted, "--metrics", "dice,nsd", "--tolerance", "3")
    assert other.code == 2
    mentions(other.err, "tolerance was 1 mm, is 3 mm")
    assert (tmp_path / "other" / "scores_test.csv").read_bytes() == before
    region = evaluated(predicted, "--metrics", "dice,nsd", "--regions", "core")
    assert region.code == 2
    mentions(region.err, "regions were core, whole, are core")
    save(predicted / "b.nii.gz", volume(CORE))
    another = evaluated(predicted, "--metrics", "dice,nsd")
    assert another.code == 2
    mentions(another.err, "other segmentations … --output")
    assert (tmp_path / "other" / "scores_test.csv").read_bytes() == before
    save(predicted / "b.nii.gz", volume((2, (5, 4, 4))))
    assert evaluated(predicted, "--metrics", "dice,nsd,hd95").code == 0


def test_a_run_s_own_predictions_score_the_same(verb, source, phantoms, tmp_path):
    """Also against the same references, so that the two can be compared."""
    run = tmp_path / "run"
    shutil.copytree(source, run)
    answer = verb("evaluate", "--run", run, "--split", "test")
    assert answer.code == 0, answer.err
    datalist = phantoms / "ixi" / "datalist.json"
    assert verb("predict", "--bundle", run, "--input", datalist, "--split", "test", "--output", tmp_path / "seg").code == 0
    flags = ("--datalist", datalist, "--output", tmp_path / "elsewhere", "--label_map", "1=17")
    answer = verb("evaluate", "--predictions", tmp_path / "seg", *flags)
    assert answer.code == 0, answer.err
    own, other = (read_scores(tmp_path / name / "scores_test.csv") for name in ("run", "elsewhere"))
    assert [score.values for score in own] == [score.values for score in other]
    assert own[0].values["dice"] > 0
    answer = verb("compare", run, tmp_path / "elsewhere")
    assert answer.code == 0, answer.err
    mentions(answer.out, "elsewhere − run: +0.000 [+0.000, +0.000]" if len(own) > 4 else "elsewhere − run: +0.000")
    mentions(answer.out, "elsewhere: segmentations made elsewhere")
    assert "no longer holds weights" not in answer.out
