"""Decathlon tasks: modalities are volumes of one file, by the names of dataset.json."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from monai_tl.datasets import decathlon
from monai_tl.datasets.case_checks import check_cases
from monai_tl.datasets.datalist import read_datalist
from monai_tl.datasets.scans_to_predict import find_scans
from monai_tl.errors import ConfigError, DataError
from monai_tl.imaging.scan_io import LoadScand

CONTENT = {
    "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
    "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
    "training": [{"image": f"./imagesTr/BRATS_00{n}.nii.gz", "label": f"./labelsTr/BRATS_00{n}.nii.gz"} for n in (3, 1, 2, 4)],
    "test": ["./imagesTs/BRATS_009.nii.gz"],
}


@pytest.fixture
def task(tmp_path):
    """Voxels of subject n's volume m are 10 n + m; its label holds every value."""
    root = tmp_path / "Task01_BrainTumour"
    root.mkdir()
    (root / "dataset.json").write_text(json.dumps(CONTENT))
    for pair in [*CONTENT["training"], {"image": CONTENT["test"][0]}]:
        number = int(pair["image"][-8])
        for role, path in pair.items():
            (root / path).parent.mkdir(exist_ok=True)
            voxels = np.broadcast_to(10 * number + np.arange(4), (4, 5, 6, 4)) if role == "image" else np.arange(120) % 4
            volume = voxels.reshape((4, 5, 6, 4) if role == "image" else (4, 5, 6)).astype(np.int16)
            volume[0, 0, 0] = 0  # an image of one value would be refused
            nib.Nifti1Image(volume, np.eye(4)).to_filename(root / path)
    return root


def test_a_datalist_names_volumes_and_labels(task, verb):
    words = ("--root", task, "--modalities", "T1=T1w,T2=T2w", "--split", "0.5,0.25,0.25")
    answer = verb("datalist", "decathlon", *words, "--foreground", "non-enhancing tumor,3")
    assert answer.code == 0, answer.err
    assert "4 cases (2 train, 1 validation, 1 test)" in answer.out
    data = read_datalist(task / "datalist.json")
    assert (data.modalities, data.foreground, data.labels) == (("T1", "T2"), (2, 3), (1, 2, 3))
    assert [case["subject"] for case in data.cases] == [f"BRATS_00{n}" for n in (1, 2, 3, 4)]
    assert data.cases[0]["T2"] == str(task / "imagesTr" / "BRATS_001.nii.gz#3")
    assert check_cases(data.cases, ("T1", "T2"), data.foreground, need_foreground=True, known_labels=data.labels) == []
    for case in data.cases:
        loaded = LoadScand(["T1", "T2", "label"])(case)
        number = int(case["subject"][-1])
        assert {int(value) for value in loaded["T1"].unique()} == {0, 10 * number + 1}
        assert {int(value) for value in loaded["T2"].unique()} == {0, 10 * number + 3}
        assert loaded["label"].shape == (1, 4, 5, 6)
    assert len(data.sha256()) == 64
    assert len(list(task.rglob("*"))) == 1 + 3 + 9 + 1, "nothing but the datalist is written"


def test_all_modalities_by_their_own_names(task):
    read = decathlon.read_task(task)
    assert list(decathlon.pairs_of("", read)) == ["FLAIR", "T1w", "t1gd", "T2w"]
    cases = decathlon.find_decathlon_cases(read, decathlon.pairs_of("", read))
    assert cases[1]["t1gd"] == str(task / "imagesTr" / "BRATS_002.nii.gz#2")
    with pytest.raises(DataError, match=r"'T1'.*dataset.json.*'T1w'\?.*FLAIR, T1w, t1gd, T2w"):
        decathlon.find_decathlon_cases(read, {"T1": "T1"})
    with pytest.raises(ConfigError, match="--modalities.*different"):
        decathlon.pairs_of("T1=T1w,T1=t1gd", read)
    with pytest.raises(ConfigError, match=r"label 'edma'.*'edema \(1\)'\?.*\(1\)"):
        read.values(["edma"])


def test_test_cases_are_predicted_not_listed(task):
    assert find_scans(str(task), ["T2w", "FLAIR"]) == [
        {"subject": "BRATS_009", "T2w": f"{task}/imagesTs/BRATS_009.nii.gz#3", "FLAIR": f"{task}/imagesTs/BRATS_009.nii.gz#0"}
    ]
    with pytest.raises(DataError, match=r"'T1'.*#0 FLAIR, #1 T1w.*--T1 'imagesTs/\{subject\}.nii.gz#NUMBER'"):
        find_scans(str(task), ["T1", "T2"])
    with pytest.raises(DataError, match=r"the scans' T1w is the network's T1 and .*: --rename T1w=T1,T2w=T2$"):
        find_scans(str(task), ["T1", "T2"])
    patterns = {"T1": "imagesTs/{subject}.nii.gz#1", "T2": "imagesTs/{subject}.nii.gz#3"}
    assert find_scans(str(task), ["T1", "T2"], patterns) == [
        {"subject": "BRATS_009", "T1": f"{task}/imagesTs/BRATS_009.nii.gz#1", "T2": f"{task}/imagesTs/BRATS_009.nii.gz#3"}
    ]
    assert find_scans(str(task), ["T1", "T2"], rename={"T1w": "T1", "T2w": "T2"}) == find_scans(
        str(task), ["T1", "T2"], patterns
    )


def test_one_modality_needs_no_number(task):
    (task / "dataset.json").write_text(json.dumps({**CONTENT, "modality": {"0": "MRI"}}))
    assert find_scans(str(task), ["MRI"])[0]["MRI"] == f"{task}/imagesTs/BRATS_009.nii.gz"


def test_files_that_are_missing_and_subjects_that_stand_twice(task):
    (task / "labelsTr" / "BRATS_003.nii.gz").unlink()
    (task / "imagesTr" / "BRATS_001.nii.gz").unlink()
    read = decathlon.read_task(task)
    with pytest.raises(DataError, match=r"2 of 4 subjects.*incomplete[\s\S]*BRATS_001 lacks T1\s+BRATS_003 lacks label"):
        decathlon.find_decathlon_cases(read, {"T1": "T1w"})
    assert len(decathlon.find_decathlon_cases(read, {"T1": "T1w"}, incomplete="leave_out")) == 2
    twice = {**CONTENT, "training": CONTENT["training"] + CONTENT["training"][2:3]}
    (task / "dataset.json").write_text(json.dumps(twice))
    with pytest.raises(DataError, match="BRATS_002.*2 files.*T1"):
        decathlon.find_decathlon_cases(decathlon.read_task(task), {"T1": "T1w"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "dataset.json.*Decathlon"),
        ("[]", "dataset.json.*Decathlon"),
        (json.dumps({"modality": {"0": "T1"}, "training": []}), r"lacks 'labels'\).*labels"),
        (json.dumps({**CONTENT, "modality": {"0": "T1", "2": "T2"}}), "numbered from 0"),
        (json.dumps({**CONTENT, "modality": {"0": "T1", "1": "T1"}}), "different"),
    ],
)
def test_what_is_no_task(task, text, message):
    (task / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=message):
        decathlon.read_task(task)
    with pytest.raises(DataError, match="dataset.json.*Decathlon task's"):
        decathlon.read_task(task / "imagesTr")
