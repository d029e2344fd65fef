"""The scripts that users run, on phantoms and with budgets cut to seconds; with several processes of pytest each in one."""

from __future__ import annotations

import shutil

import nibabel as nib
import numpy as np
import pytest

from monai_tl.datasets.datalist import read_datalist
from monai_tl.study.study_tables import RunRow, read_study_scores, read_study_table


@pytest.mark.slow
def test_the_demo_runs_and_a_second_time_finds_its_work_done(run_script, tmp_path):
    small = {"SUBJECTS": 10, "SIZE": 32, "WINDOW": 16, "SOURCE_ITERATIONS": 4, "TARGET_ITERATIONS": 4}
    settings = {f"DEMO_{name}": str(value) for name, value in small.items()}
    answers = [run_script("demo.sh", tmp_path, settings) for _ in range(2)]
    for answer in answers:
        assert answer.returncode == 0, answer.stdout[-2000:] + answer.stderr[-3000:]
    first, second = (answer.stdout.split("6/7 comparison")[1].split("== 7/7")[0].split(")", 1)[1] for answer in answers)
    assert "demo_transfer − demo_scratch" in first
    assert first == second
    page = tmp_path / "runs" / "report.html"
    assert all(f"Open it in a browser: {page}" in answer.stdout for answer in answers)
    assert "demo_transfer reaches a mean Dice of" in page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_phantom_study_in_small(run_script, tmp_path):
    small = {"SUBJECTS": 14, "SIZE": 32, "WINDOW": 16, "SOURCE_ITERATIONS": 4, "TARGET_ITERATIONS": 6, "SEEDS": 1}
    done = run_script("phantom_study.sh", tmp_path, {f"STUDY_{name}": str(value) for name, value in small.items()})
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "report.html: 8 runs, 8 finished" in done.stdout
    scores = read_study_scores(tmp_path / "studies" / "phantom" / "study" / "scores.csv")
    assert {(arm, n) for arm, n, _ in scores} == {(arm, n) for arm in ("scratch", "0", "2", "random2") for n in (2, 5)}


@pytest.mark.slow
def test_the_real_study_in_small(run_script, phantoms, tmp_path):
    """On phantoms in the layout of the real scans: T1 and labels of DLMUSE next to each other, BraTS as downloaded."""
    for folder in ("t1", "dlmuse_seg"):
        (tmp_path / "ixi" / folder).mkdir(parents=True)
    for case in read_datalist(phantoms / "ixi" / "datalist.json").cases:
        shutil.copy(case["T1"], tmp_path / "ixi" / "t1" / f"{case['subject']}_T1.nii.gz")
        label = nib.load(case["label"])
        coded = np.select([np.asanyarray(label.dataobj) == value for value in (17, 53)], [48, 47]).astype(np.uint8)
        nib.save(nib.Nifti1Image(coded, label.affine), tmp_path / "ixi" / "dlmuse_seg" / f"{case['subject']}_T1_DLMUSE.nii.gz")
    small = {"ITERATIONS": "5", "SOURCE_ITERATIONS": "7", "ARMS": "scratch,2", "SPLIT": "0.34,0.16,0.5"}
    places = (tmp_path / "ixi", phantoms / "brats", tmp_path / "out")
    done = run_script("real_study.sh", tmp_path / "tree", {f"STUDY_{name}": value for name, value in small.items()}, *places)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    for name in ("t1", "t1_t2"):
        assert f"{name}/report.html: 2 runs, 2 finished" in done.stdout
        assert sum(map(len, read_study_scores(tmp_path / "out" / name / "scores.csv").values())) == 6
        assert all(0 <= run.training_dice <= 1 for run in read_study_table(tmp_path / "out" / name / "runs.csv", RunRow))
