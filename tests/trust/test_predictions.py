"""A folder of predictions holds what was asked for: no predictions of predictions, no lost rows, no mask made of NaN."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from monai_tl.inference.model import find_model
from tests.conftest import mentions
from tests.dicom import write_series
from tests.trust.conftest import head, write_brats, write_image

TOPIC = "Predictions"


def table(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "predictions.csv").open() as file:
        return {row["case"]: row for row in csv.DictReader(file)}


@pytest.fixture
def thresholder(source, tmp_path):
    """A run whose network calls foreground where T1's z-score is above 0.5; its training cases held 5 to 6 ml of that."""
    run = tmp_path / "thresholder"
    run.mkdir()
    config = yaml.safe_load((source / "config.yaml").read_text())
    config["network_def"] = {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 2, "kernel_size": 1}
    config |= {"inference_window": [64] * 3, "precision": "float32", "modalities": ["T1"]}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    metadata = json.loads((source / "metadata.json").read_text())
    metadata["network_data_format"]["inputs"]["image"] |= {"num_channels": 1, "channel_def": {"0": "T1"}}
    (run / "metadata.json").write_text(json.dumps(metadata))
    data = json.loads((source / "data.json").read_text())
    (run / "data.json").write_text(json.dumps({**data, "training_ml": {"min": 5.0, "median": 5.5, "max": 6.0}}))
    weights = {"weight": torch.tensor([0.0, 10.0]).reshape(2, 1, 1, 1, 1), "bias": torch.tensor([0.0, -5.0])}
    torch.save(weights, run / "model.pt")
    return run


def scans(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        write_image(folder / f"{name}.nii.gz", head(number)["T1"])
    return folder


def files(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*.nii*")}


def predict(verb, run, *flags):
    return verb("predict", "--bundle", run, "--device", "cpu", *flags)


# Predictions of predictions


@pytest.mark.parametrize("flags", [["--probabilities"], ["--T1", "{subject}.nii.gz"]])
def test_a_second_call_into_the_folder_of_the_scans_predicts_nothing_new(thresholder, tmp_path, verb, says, flags):
    folder = scans(tmp_path / "scans", "ann", "bob")
    assert predict(verb, thresholder, "--input", folder, "--output", folder, *flags).code == 0
    before = files(folder)
    answer = predict(verb, thresholder, "--input", folder, "--output", folder, *flags)
    assert (answer.code, files(folder), set(table(folder))) == (0, before, {"ann", "bob"})
    mentions(answer.out, "2 of 2 cases … finished")
    if flags == ["--probabilities"]:
        says(
            TOPIC,
            "predict into the folder of the scans, twice",
            "predict",
            answer,
            "ann_",
        )


def test_predictions_in_a_folder_inside_are_passed_over(thresholder, tmp_path, verb, says):
    folder = scans(tmp_path / "all" / "scans", "ann").parent
    flags = ["--T1", "*/{subject}.nii.gz", "--input", folder, "--output", folder / "out"]
    assert predict(verb, thresholder, *flags).code == 0
    answer = predict(verb, thresholder, *flags)
    assert (answer.code, set(table(folder / "out"))) == (0, {"ann"})
    message = "ann_seg"
    says(TOPIC, "an output folder that the pattern of the scans reaches", "predict", answer, message)


def test_another_networks_predictions_are_passed_over(thresholder, tmp_path, verb):
    """Also what a killed call has written and its table does not name yet."""
    folder = scans(tmp_path / "scans", "ann", "bob")
    assert predict(verb, thresholder, "--input", folder, "--output", folder, "--subjects", "ann").code == 0
    shutil.copy(folder / "ann_seg.nii.gz", folder / "bob_seg.nii.gz")
    answer = predict(verb, thresholder, "--input", folder, "--output", tmp_path / "out", "--inference_overlap", "0.5")
    assert (answer.code, set(table(tmp_path / "out"))) == (0, {"ann", "bob"})
    mentions(answer.out, "ann_seg, bob_seg")
    answer = predict(verb, thresholder, "--input", folder, "--output", tmp_path / "own", "--T1", "{subject}_seg.nii.gz")
    assert (answer.code, set(table(tmp_path / "own"))) == (0, {"ann", "bob"}), "asked for by name"


def test_what_is_called_as_a_prediction_and_may_be_a_scan_is_refused(thresholder, tmp_path, verb, says):
    folder = scans(tmp_path / "scans", "ann", "ann_seg")
    answer = predict(verb, thresholder, "--input", folder, "--output", tmp_path / "out")
    assert (answer.code, (tmp_path / "out").exists()) == (2, False)
    texts = ("ann_seg.nii.gz … ann.nii.gz)", "--subjects")
    says(TOPIC, "a segmentation among scans, nobody knows whose", "predict", answer, *texts)
    assert predict(verb, thresholder, "--input", folder, "--output", tmp_path / "out", "--subjects", "ann").code == 0
    assert set(table(tmp_path / "out")) == {"ann"}


def test_a_folder_of_predictions_alone_is_refused(thresholder, tmp_path, verb):
    folder = scans(tmp_path / "scans", "ann")
    assert predict(verb, thresholder, "--input", folder, "--output", tmp_path / "out").code == 0
    answer = predict(verb, thresholder, "--input", tmp_path / "out", "--output", tmp_path / "second")
    assert answer.code == 2
    mentions(answer.err, "predictions … (ann_seg)")


def test_predictions_as_labels_of_a_datalist_are_said(thresholder, tmp_path, verb, says):
    folder = scans(tmp_path / "scans", "ann", "bob", "eve")
    assert predict(verb, thresholder, "--input", folder, "--output", tmp_path / "out").code == 0
    patterns = ["--T1", folder / "{subject}.nii.gz", "--label", tmp_path / "out" / "{subject}_seg.nii.gz"]
    answer = verb(
        "datalist", "files", *patterns, "--foreground", "1", "--split", "0.4,0.3,0.3", "--output", tmp_path / "d.json"
    )
    assert answer.code == 0
    says(
        TOPIC,
        "labels that a network made",
        "datalist",
        answer,
        "predictions.csv",
    )


# Rows


def test_two_calls_at_a_time_lose_no_row_and_do_no_case_twice(thresholder, tmp_path, says, command):
    folder = scans(tmp_path / "scans", *(f"case{n}" for n in range(8)))
    words = ["predict", "--bundle", thresholder, "--device", "cpu", "--input", folder, "--output", tmp_path / "out"]
    words = [command, *map(str, words)]
    calls = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [call.communicate() for call in calls]
    assert [call.returncode for call in calls] == [0, 0], said
    assert set(table(tmp_path / "out")) == {f"case{n}" for n in range(8)}
    hidden = {path.name for path in (tmp_path / "out").glob(".*")}
    assert hidden <= {".predictions.lock"}
    last = said[0][0].splitlines()[-1]  # above it: how many the other call had finished, which differs from time to time
    says(TOPIC, "two calls of predict into one folder at a time", "predict", last, "8 of 8 cases")


def test_rows_of_another_call_are_kept(thresholder, tmp_path, monkeypatch, capsys):
    """Between two of this call's cases another one adds a row, and one of the cases that are waiting here."""
    from monai_tl.inference import predict as module

    folder = scans(tmp_path / "scans", "ann", "bob", "eve")
    one, done = module._predict_one, []

    def disturbed(model, case, *rest):
        if not done:
            done.append("other")
            module.predict_cases(find_model(str(thresholder)), str(folder), tmp_path / "out", subjects=["bob", "eve"])
        done.append(case["subject"])
        one(model, case, *rest)

    monkeypatch.setattr(module, "_predict_one", disturbed)
    module.predict_cases(find_model(str(thresholder)), str(folder), tmp_path / "out")
    assert set(table(tmp_path / "out")) == {"ann", "bob", "eve"}
    assert done == ["other", "bob", "eve", "ann"]


# Remarks


def test_a_far_too_large_prediction_is_remarked_on(thresholder, tmp_path, verb, says):
    """Head and board of the same voxels: 1 mm, and 2 mm, of which each is eight times as large."""
    folder = scans(tmp_path / "scans", "ann")
    board = (np.indices((32, 32, 32)).sum(0) % 7 + 1).astype("f4")  # 3 of 7 values are more than 0.5 deviations above the mean
    write_image(folder / "large.nii.gz", board, np.diag([2.0, 2, 2, 1]))
    assert predict(verb, thresholder, "--input", folder, "--output", tmp_path / "out").code == 0
    answer = predict(verb, thresholder, "--input", folder, "--output", tmp_path / "out")
    rows = table(tmp_path / "out")
    large = float(rows["large"]["volume_ml"])
    assert large > 12
    message = f"{large:.3g} … 2 times … (5 … 6 ml)"
    mentions(rows["large"]["remarks"], message)
    assert (2.5 <= float(rows["ann"]["volume_ml"]) <= 12) == (rows["ann"]["remarks"] == "")
    says(TOPIC, "a volume far above those of the training cases", "predict", answer, f"large: {message}")


def test_nothing_found_is_remarked_on(thresholder, tmp_path, verb, says):
    weights = torch.load(thresholder / "model.pt", weights_only=True)
    torch.save({**weights, "bias": torch.tensor([0.0, -500.0])}, thresholder / "model.pt")
    folder = scans(tmp_path / "scans", "ann")
    answer = predict(verb, thresholder, "--input", folder, "--output", tmp_path / "out")
    assert (answer.code, table(tmp_path / "out")["ann"]["remarks"]) == (0, "nothing found")
    says(TOPIC, "a prediction of nothing", "predict", answer, "nothing … 1 of … ann")


def test_a_speck_is_remarked_on(thresholder, tmp_path, verb, says, monkeypatch):
    monkeypatch.setattr("monai_tl.datasets.case_checks.voxel_faults", lambda stored: [])  # else the scan is refused
    folder = tmp_path / "scans"
    speck = np.zeros((32, 32, 32), "f4")
    speck[16, 16, 16] = 1
    write_image(folder / "ann.nii.gz", speck)
    answer = predict(verb, thresholder, "--input", folder, "--output", tmp_path / "out")
    row = table(tmp_path / "out")["ann"]
    assert float(row["volume_ml"]) == pytest.approx(0.001)
    assert row["remarks"] == "0.001 ml is more than 2 times below the smallest of the training cases (5 to 6 ml)"
    says(TOPIC, "a volume far below those of the training cases", "predict", answer, row["remarks"])


def test_an_answer_that_is_no_number_is_no_empty_mask(thresholder, tmp_path, verb, says):
    weights = torch.load(thresholder / "model.pt", weights_only=True)
    torch.save({**weights, "weight": weights["weight"] * 3e37}, thresholder / "model.pt")
    folder = scans(tmp_path / "scans", "ann")
    answer = predict(verb, thresholder, "--input", folder, "--output", tmp_path / "out")
    assert (answer.code, (tmp_path / "out").exists()) == (2, False)
    texts = ("none … 1 cases", "ann … network's")
    says(TOPIC, "weights of a training that diverged", "predict, evaluate, train", answer, *texts)


def test_one_case_whose_answer_overflows_does_not_stop_the_others(thresholder, tmp_path, verb, says, monkeypatch):
    """One voxel outshines all others: its z-score times the weights is beyond what 32 bits hold."""
    monkeypatch.setattr("monai_tl.datasets.case_checks.voxel_faults", lambda stored: [])  # else the scan is refused
    weights = torch.load(thresholder / "model.pt", weights_only=True)
    torch.save(
        {**weights, "weight": weights["weight"] * torch.tensor([0.0, 2e36]).reshape(2, 1, 1, 1, 1)}, thresholder / "model.pt"
    )
    folder = scans(tmp_path / "scans", "ann")
    bright = head(1)["T1"]
    bright[16, 16, 16] = 1e6
    write_image(folder / "bob.nii.gz", bright)
    answer = predict(verb, thresholder, "--input", folder, "--output", tmp_path / "out")
    assert (answer.code, set(table(tmp_path / "out"))) == (1, {"ann"})
    assert not (tmp_path / "out" / "bob_seg.nii.gz").exists()
    message = "bob … network's … 1 of"
    says(TOPIC, "one scan that makes the network overflow", "predict, evaluate", answer, message)


def test_a_series_and_its_prediction_in_one_folder(thresholder, tmp_path, verb):
    """A DICOM Segmentation next to the slices is no further series, and the second call predicts nothing new."""
    voxels = np.rint(head(0)["T1"]).astype(np.int16)
    write_series(tmp_path / "ann", voxels, np.eye(4), seed=1)
    flags = ["--input", tmp_path / "ann", "--output", tmp_path / "ann", "--dicom_seg"]
    assert predict(verb, thresholder, *flags).code == 0
    answer = predict(verb, thresholder, *flags)
    assert (answer.code, set(table(tmp_path / "ann"))) == (0, {"ann"}), answer.err
    mentions(answer.out, "1 of 1 cases … finished")


def test_a_folder_of_predictions_among_subjects_folders_is_no_subject(source, tmp_path, verb):
    root = write_brats(tmp_path / "brats", ["Brats18_A_1", "Brats18_B_1"])
    for _ in range(2):
        answer = predict(verb, source, "--input", root, "--output", root / "out")
        assert (answer.code, set(table(root / "out"))) == (0, {"Brats18_A_1", "Brats18_B_1"}), answer.err
    assert "skipped, since predict wrote them: out" in answer.out
