"""The whole chain on small phantoms: source, transfer, scratch, scores, comparison, resumption."""

from __future__ import annotations

import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from monai_tl.datasets.datalist import read_datalist
from monai_tl.evaluation.score_table import read_scores
from monai_tl.workflow.launch import run_configs
from monai_tl.workflow.merged_config import bundle_config
from tests.conftest import BRATS, IXI, TINY, mentions


def weights(run, name="model.pt"):
    content = torch.load(run / name, weights_only=True)
    return content["network"] if name == "last.pt" else content


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture(scope="module")
def fine_tuned(tmp_path_factory, source, phantoms):
    """A run of the transfer verb, without a second one's flags."""
    from monai_tl import cli

    run = tmp_path_factory.mktemp("runs") / "freeze_2"
    cli.transfer(source=str(source), target=str(BRATS), freeze=2, output=str(run), dataset_dir=str(phantoms / "brats"), **TINY)
    return run


def test_frozen_stages_are_the_sources_bit_for_bit_and_the_others_are_not(fine_tuned, source):
    ours, theirs = weights(fine_tuned, "last.pt"), weights(source)
    for name, value in ours.items():
        frozen = name.split(".")[0] in ("conv_0", "res_1")
        assert torch.equal(value, theirs[name]) == frozen, name


def test_the_report_accounts_for_every_weight_and_stage(fine_tuned, source):
    report = json.loads((fine_tuned / "transfer_report.json").read_text())
    assert set(report["weights"]) == set(weights(source))
    assert {name for name, fate in report["weights"].items() if fate == "fresh"} == {"conv_2.conv.weight", "conv_2.conv.bias"}
    states = {name: row["state"] for name, row in report["stages"].items()}
    assert [name for name, state in states.items() if state == "frozen"] == ["conv_0", "res_1"]
    assert report["contract"]["differences"] == ["classes: source [background, hippocampus], target [background, tumour core]"]
    metadata = json.loads((fine_tuned / "metadata.json").read_text())
    assert [entry["sha256"] for entry in metadata["lineage"]] == [report["source"]["sha256"]]


def test_monai_alone_gives_the_same_weights_from_another_directory(fine_tuned, source, phantoms, tmp_path):
    configs = [str(BRATS / "configs" / f"{name}.yaml") for name in ("train", "transfer")]
    flags = {"config_file": configs, "bundle_root": BRATS, "source": source, "freeze": 2, "run_dir": "by_monai", **TINY}
    flags["dataset_dir"] = phantoms / "brats"
    words = [text for name, value in flags.items() for text in (f"--{name}", str(value))]
    subprocess.run([sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", *words], cwd=tmp_path, check=True)
    assert same(weights(tmp_path / "by_monai", "last.pt"), weights(fine_tuned, "last.pt"))
    assert same(weights(tmp_path / "by_monai"), weights(fine_tuned))


def test_killed_after_a_validation_it_goes_on_to_the_same_end(tiny_flags, tmp_path, verb, kill_at, monkeypatch, fine_tuned):
    run = tmp_path / "run"
    flags = [*tiny_flags, "--freeze", "2", "--output", run]
    kill_at(4)
    answer = verb("transfer", *flags)
    assert (answer.code, answer.err.splitlines()[-1]) == (130, "monai_tl: interrupted; finished work is kept")
    monkeypatch.undo()
    assert torch.load(run / "last.pt", weights_only=True)["iteration"] == 2
    assert verb("transfer", *flags).code == 2, "a second start without --resume would overwrite"
    assert verb("transfer", *flags, "--resume", "true").code == 0
    assert same(weights(run, "last.pt"), weights(fine_tuned, "last.pt"))
    assert same(weights(run), weights(fine_tuned))
    rows = [row.split(",")[:4] for row in (run / "metrics.csv").read_text().splitlines()]
    assert rows == [row.split(",")[:4] for row in (fine_tuned / "metrics.csv").read_text().splitlines()]
    answer = verb("transfer", *flags, "--resume", "true", "--seed", "1")
    mentions(answer.err, "a run with other settings (seed was 0, is 1")


def test_scores_are_of_the_cases_own_grid(fine_tuned, phantoms, verb):
    answer = verb("evaluate", "--run", fine_tuned, "--split", "test")
    assert answer.code == 0
    scores = read_scores(fine_tuned / "scores_test.csv")
    data = read_datalist(phantoms / "brats" / "datalist.json")
    assert [score.subject for score in scores] == list(data.splits["test"])
    pictures = sorted((fine_tuned / "overlays_test").iterdir())
    assert [path.stem for path in pictures] == sorted(data.splits["test"])
    assert all((np.asarray(Image.open(path)) == (86, 180, 233)).all(axis=-1).any() for path in pictures), "truth in blue"
    for score, case in zip(scores, data.split("test"), strict=True):
        label = np.asanyarray(nib.load(case["label"]).dataobj)
        assert score.reference_ml == pytest.approx(np.isin(label, (1, 4)).sum() / 1000)


def test_scores_at_another_spacing_are_still_of_the_own_grid(source, phantoms, tmp_path, verb):
    """A network at 2 mm is scored against references with the volume they were drawn with at 1 mm."""
    answer = verb("evaluate", "--run", source, "--split", "test", "--spacing", "[2.0,2.0,2.0]")
    assert answer.code == 2
    mentions(answer.err, "images (spacing … [1.0, 1.0, 1.0] … [2.0, 2.0, 2.0])")
    run = tmp_path / "run"
    settings = {"bundle_root": str(IXI), "dataset_dir": str(phantoms / "ixi"), "run_dir": str(run), **TINY}
    run_configs([bundle_config(IXI, "train")], {**settings, "spacing": [2.0, 2.0, 2.0]})
    assert verb("evaluate", "--run", run, "--split", "test").code == 0
    scores = read_scores(run / "scores_test.csv")
    for score, case in zip(scores, read_datalist(phantoms / "ixi" / "datalist.json").split("test"), strict=True):
        label = np.asanyarray(nib.load(case["label"]).dataobj)
        assert score.reference_ml == pytest.approx(np.isin(label, (17, 53)).sum() / 1000)


def test_scratch_and_comparison(fine_tuned, tiny_flags, tmp_path, verb):
    words = iter(tiny_flags)
    flags = [text for name in words for text in (name, next(words)) if name != "--source"]
    assert verb("transfer", *flags, "--scratch", "--output", tmp_path / "scratch").code == 0
    report = json.loads((tmp_path / "scratch" / "transfer_report.json").read_text())
    assert report["source"] is None
    assert {row["state"] for row in report["stages"].values()} == {"trained"}
    for run in (tmp_path / "scratch", fine_tuned):
        assert verb("evaluate", "--run", run, "--split", "test").code == 0
    compared = verb("compare", tmp_path / "scratch", fine_tuned)
    assert compared.code == 0
    assert "freeze_2 − scratch" in compared.out


def test_a_new_modality_is_learned_inside_a_frozen_stage(source, phantoms, tiny_flags, tmp_path, verb):
    """T1 source, T1 and T2 target: conv_0's kernels of T1 stay bit for bit, those of T2 leave zero."""
    t1 = tmp_path / "t1"
    settings = {"bundle_root": str(IXI), "dataset_dir": str(phantoms / "ixi"), "run_dir": str(t1), "modalities": ["T1"], **TINY}
    run_configs([bundle_config(IXI, "train")], settings)
    flags = [t1 if text == str(source) else text for text in tiny_flags]
    answer = verb("transfer", *flags, "--freeze", "2", "--output", tmp_path / "run")
    assert answer.code == 0, answer.err
    assert "channel T2: new: starts at zero" in answer.out
    before, after = weights(t1)["conv_0.conv.weight"], weights(tmp_path / "run", "last.pt")["conv_0.conv.weight"]
    assert torch.equal(after[:, :1], before)
    assert (after[:, 1] != 0).all()


def test_inference_writes_each_case_on_its_own_grid(source, phantoms, tmp_path):
    settings = {"bundle_root": str(IXI), "dataset_dir": str(phantoms / "ixi"), "ckpt": str(source / "model.pt")}
    run_configs([bundle_config(IXI, "inference")], {**settings, "output_dir": str(tmp_path)})
    for case in read_datalist(phantoms / "ixi" / "datalist.json").split("test"):
        image = nib.load(case["T1"])
        (path,) = tmp_path.glob(f"{case['subject']}*_seg.nii.gz")
        predicted = nib.load(path)
        assert predicted.shape == image.shape
        assert np.allclose(predicted.affine, image.affine, atol=1e-4)
        assert set(np.unique(np.asanyarray(predicted.dataobj))) <= {0, 1}


def test_the_settings_of_the_2019_study_run_as_documented(phantoms, tiny_flags, tmp_path, verb):
    """thesis.yaml: the head is transferred, statistics of frozen stages move, their weights do not."""
    source = tmp_path / "thesis"
    settings = {"bundle_root": str(IXI), "dataset_dir": str(phantoms / "ixi"), "run_dir": str(source), **TINY}
    run_configs([bundle_config(IXI, name) for name in ("train", "thesis")], settings)
    flags = [source if flag == "--source" else text for flag, text in zip(["", *tiny_flags], tiny_flags, strict=False)]
    answer = verb("transfer", *flags, "--overlay", "thesis", "--freeze", "2", "--output", tmp_path / "run")
    assert answer.code == 0, answer.err
    report = json.loads((tmp_path / "run" / "transfer_report.json").read_text())
    assert set(report["weights"].values()) == {"copied"}
    before, after = weights(source), weights(tmp_path / "run", "last.pt")
    for name in before:
        moved = not torch.equal(before[name], after[name])
        frozen = name.split(".")[0] in ("conv_0", "res_1")
        assert moved == (not frozen or "running" in name or "num_batches" in name), name


def test_controls_say_what_they_are(tiny_flags, tmp_path, verb):
    """The frozen random prefix keeps its initial weights; the default output is named after the arm."""
    flags = [text for name, text in zip(["", *tiny_flags], tiny_flags, strict=False) if "--source" not in (name, text)]
    answer = verb("transfer", *flags, "--random_prefix", "--freeze", "res_1", "--output", tmp_path / "random")
    assert answer.code == 0, answer.err
    assert "no source: every weight is newly initialised" in answer.out
    report = json.loads((tmp_path / "random" / "transfer_report.json").read_text())
    assert set(report["weights"].values()) == {"fresh"}
    assert [name for name, row in report["stages"].items() if row["state"] == "frozen"] == ["conv_0", "res_1"]


def test_a_source_that_learned_nothing_is_reported(source, tiny_flags, tmp_path, verb):
    """After four iterations the source's Dice is about 0; its weights would say as much as random ones."""
    metadata = json.loads((source / "metadata.json").read_text())
    assert 0 <= metadata["validation_dice"] < 0.1
    answer = verb("transfer", *tiny_flags, "--output", tmp_path / "run")
    mentions(answer.out, f"validation Dice … {metadata['validation_dice']:.3f} … nothing")


def test_the_train_verb_gives_what_the_config_gives(source, phantoms, tmp_path, verb):
    words = [text for name, value in TINY.items() for text in (f"--{name}", str(value).replace(" ", ""))]
    answer = verb("train", "--bundle", IXI, "--output", tmp_path / "run", "--dataset_dir", phantoms / "ixi", *words)
    assert answer.code == 0, answer.err
    assert same(weights(tmp_path / "run", "last.pt"), weights(source, "last.pt"))
    mentions(answer.out, f"monai_tl … --run {tmp_path / 'run'} --split test")
    assert verb("train", "--bundle", IXI, "--output", tmp_path / "run", *words).code == 2, "it holds a run"
