"""A source whose modality has another name than the target's, from the transfer to the report; scans likewise."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_tl import cli
from tests.conftest import BRATS, IXI, TINY, mentions


@pytest.fixture(scope="module")
def of_mr(tmp_path_factory, phantoms):
    """A run whose only modality, the T1 of the phantoms, is called MR; and its datalist."""
    folder = tmp_path_factory.mktemp("mr")
    data = json.loads((phantoms / "ixi" / "datalist.json").read_text())
    places = [{role: str(phantoms / "ixi" / case[role]) for role in ("T1", "label")} for case in data["cases"]]
    data["cases"] = [
        {"subject": case["subject"], "MR": place["T1"], "label": place["label"]}
        for case, place in zip(data["cases"], places, strict=True)
    ]
    (folder / "datalist.json").write_text(json.dumps({**data, "modalities": ["MR"]}))
    cli.train(bundle=str(IXI), output=str(folder / "run"), modalities=["MR"], datalist=str(folder / "datalist.json"), **TINY)
    return folder / "run"


@pytest.fixture
def transfer(verb, phantoms, of_mr, tmp_path):
    def call(*words):
        flags = {
            "source": of_mr,
            "target": BRATS,
            "dataset_dir": phantoms / "brats",
            "output": tmp_path / "runs" / "run",
            **TINY,
        }
        given = [str(part).replace(" ", "") for name, value in flags.items() for part in (f"--{name}", value)]
        return verb("transfer", *given, *words), tmp_path / "runs" / "run"

    return call


def test_a_name_that_is_not_found_is_renamed_and_reported(transfer, verb, of_mr, tmp_path):
    answer, run = transfer("--freeze", "2", "--modalities", "['T1']")
    assert (answer.code, run.exists()) == (2, False)
    mentions(answer.err, "modalities: source [MR], target [T1] … --rename MR=T1 … --freeze 0 --fresh conv_0,conv_2")
    answer, run = transfer("--freeze", "2", "--rename", "MR=T1")
    assert answer.code == 0, answer.err
    mentions(answer.out, "the source's MR is the target's T1", "channel T1: kernels of source MR")
    kernels = [torch.load(folder / "model.pt", weights_only=True)["conv_0.conv.weight"] for folder in (run, of_mr)]
    assert torch.equal(kernels[0][:, 0], kernels[1][:, 0]), "frozen, so still the source's"
    assert json.loads((run / "transfer_report.json").read_text())["rename"] == {"MR": "T1"}
    assert verb("report", "--runs", tmp_path / "runs").code == 0
    page = (tmp_path / "runs" / "report.html").read_text()
    mentions(page, "the source&#39;s MR is the target&#39;s T1", "the head is newly initialised")


def test_there_is_nothing_to_rename_without_a_source(verb, tmp_path):
    answer = verb("transfer", "--scratch", "--rename", "MR=T1", "--output", tmp_path / "run")
    assert answer.code == 2
    mentions(answer.err, "--rename … source … omit it")


def test_scans_by_another_name_are_predicted_like_those_of_a_pattern(of_mr, verb, phantoms, tmp_path):
    words = ("predict", "--bundle", of_mr, "--input")
    answer = verb(*words, phantoms / "ixi" / "datalist.json", "--output", tmp_path / "none")
    assert (answer.code, (tmp_path / "none").exists()) == (2, False)
    mentions(answer.err, "--rename T1=MR")
    datalist = (phantoms / "ixi" / "datalist.json", "--split", "test", "--rename", "T1=MR", "--output", tmp_path / "renamed")
    answer = verb(*words, *datalist)
    assert answer.code == 0, answer.err
    pattern = "IXI-T1/{subject}-Guys-*-T1.nii.gz"
    answer = verb(*words, phantoms / "ixi", "--MR", pattern, "--output", tmp_path / "pattern")
    assert answer.code == 0, answer.err
    renamed = sorted((tmp_path / "renamed").glob("*_seg.nii.gz"))
    assert len(renamed) == 2
    for path in renamed:
        one, two = (np.asanyarray(nib.load(of).dataobj) for of in (path, tmp_path / "pattern" / path.name))
        assert np.array_equal(one, two)
    answer = verb(*words, phantoms / "ixi", "--MR", pattern, "--rename", "T1=MR", "--output", tmp_path / "both")
    assert answer.code == 2
    mentions(answer.err, "patterns … omit --rename")
