"""What is refused before any work starts: one clear line, exit code 2, no traceback, nothing written."""

from __future__ import annotations

import gzip
import json
import pickle
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import BRATS


class Code:
    """Runs when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def refused(answer, run, *texts):
    """The answer is a refusal that says all of the texts, in one line, and left no run."""
    assert answer.code == 2
    lines = answer.err.strip().splitlines()
    assert lines[-1].startswith("monai_tl: ") or any(line.startswith("monai_tl: ") for line in lines)
    assert "Traceback" not in answer.err + answer.out
    for text in texts:
        assert text in answer.err, answer.err
    assert not run.exists()
    assert not list(run.parent.glob(".*")), "something half written was left"


@pytest.fixture
def transfer(verb, tiny_flags, tmp_path):
    """Call transfer with other flags; gives the answer and where its run would have been."""

    def call(*arguments, **flags):
        words, run = list(tiny_flags), tmp_path / "out" / "run"
        run.parent.mkdir(exist_ok=True)
        for name, value in flags.items():
            if f"--{name}" in words:
                words[words.index(f"--{name}") + 1] = str(value)
            else:
                words += [f"--{name}", str(value)]
        return verb("transfer", *words, *arguments, "--output", run), run

    return call


def test_unknown_flags_ids_and_stages(transfer):
    refused(*transfer(lrr=3), "unknown flag or config id 'lrr'", "There are:")
    refused(*transfer(learning_rat=3), "did you mean 'learning_rate'?")
    refused(*transfer(**{"train#trainer#max_epoch": 3}), "unknown flag or config id 'train#trainer#max_epoch'")
    refused(*transfer(freeze=7), "freeze takes 0–5", "not 7", "conv_0, res_1, res_2, res_3, conv_1")
    refused(*transfer(freeze="res_9"), "'res_9'", "did you mean 'res_")
    refused(*transfer(fresh="conv2"), "fresh: no stage is called 'conv2'", "did you mean 'conv_2'?")
    refused(*transfer(norm="frozen"), "unknown norm 'frozen'", "did you mean 'freeze'?")
    refused(*transfer(overlay="thesiss"), "has no config 'thesiss': did you mean 'thesis'?")
    refused(*transfer(target="bundles/nowhere"), "'bundles/nowhere' is no bundle")
    refused(*transfer("--scratch", freeze=2), "--scratch trains every stage")


def test_values_that_make_no_sense(transfer):
    refused(*transfer(learning_rate="fast"), "learning_rate takes a number above 0")
    refused(*transfer(iterations=3), "iterations (3) must be a multiple of validate_every (2)")
    refused(*transfer(spacing="[1,1]"), "spacing takes three lengths in mm")
    refused(*transfer(normalisation="zscore"), "unknown normalisation 'zscore'", "zscore_volume")
    refused(*transfer(modalities="['T1','PD']"), "no modality 'PD'", "T1, T2")


def test_sources_that_cannot_be_used(transfer, tmp_path, source):
    refused(*transfer(source=tmp_path / "none"), "does not exist; give a bundle, a run folder, a .pt or a .safetensors file")
    (tmp_path / "empty").mkdir()
    refused(*transfer(source=tmp_path / "empty"), "holds no weights")
    torch.save(torch.nn.Conv3d(2, 4, 3).state_dict(), tmp_path / "other.pt")
    refused(
        *transfer("--accept_differences", source=tmp_path / "other.pt"),
        "the source is another architecture: none of the target's",
    )
    (tmp_path / "code.pt").write_bytes(pickle.dumps({"model": Code(tmp_path / "was_run")}))
    refused(*transfer(source=tmp_path / "code.pt"), "is no plain file of weights", "nothing was run")
    assert not (tmp_path / "was_run").exists()
    (tmp_path / "cut.pt").write_bytes((source / "model.pt").read_bytes()[:1000])
    refused(*transfer(source=tmp_path / "cut.pt"), "cut.pt'")
    save_file({}, tmp_path / "none.safetensors")
    refused(*transfer(source=tmp_path / "none.safetensors"), "holds no weights")


def test_a_harmful_difference_stops_until_it_is_accepted(transfer):
    answer, run = transfer(spacing="[2.0,2.0,2.0]")
    refused(answer, run, "spacing: source [1.0, 1.0, 1.0], target [2.0, 2.0, 2.0]", "--accept_differences")
    answer, run = transfer("--accept_differences", spacing="[2.0,2.0,2.0]")
    assert answer.code == 0, answer.err
    assert run.is_dir()


def test_data_that_are_not_there(transfer, phantoms, tmp_path):
    refused(*transfer(dataset_dir=tmp_path / "nowhere"), "there is no file", "nowhere/datalist.json", "monai_tl datalist")
    content = json.loads((phantoms / "brats" / "datalist.json").read_text())
    for case in content["cases"]:
        case["T1"] = case["T1"].replace("_t1.", "_t9.")
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    refused(*transfer(datalist=tmp_path / "datalist.json"), "_t9.nii.gz", "T1 does not exist")


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "T1 is not readable"),
        (lambda path: replace(path, lambda volume: volume[..., None].repeat(2, -1)), "3D"),
        (lambda path: replace(path, lambda volume: volume[:-1]), "T1 31×32×32; resample one to the other"),
        (lambda path: replace(path, lambda volume: np.where(volume == volume.max(), np.nan, volume)), "finite"),
    ],
    ids=["truncated", "4D", "other grid", "NaN"],
)
def test_scans_that_cannot_be_trained_on(transfer, phantoms, tmp_path, spoil, text):
    content = json.loads((phantoms / "brats" / "datalist.json").read_text())
    subject = content["splits"]["train"][0]
    for case in content["cases"]:
        for role in ("T1", "T2", "label"):
            case[role] = str(phantoms / "brats" / case[role])
        if case["subject"] == subject:
            spoiled = tmp_path / "spoiled.nii.gz"
            spoiled.write_bytes(Path(case["T1"]).read_bytes())
            spoil(spoiled)
            case["T1"] = str(spoiled)
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    refused(*transfer(datalist=tmp_path / "datalist.json"), subject, text)


def replace(path, change):
    image = nib.load(path)
    volume = change(np.asanyarray(image.dataobj).astype(np.float32))
    nib.save(nib.Nifti1Image(volume, image.affine), path)


def test_a_folder_that_holds_a_run_is_left_as_it_is(verb, tiny_flags, source):
    before = {path.name: path.stat().st_mtime_ns for path in source.iterdir()}
    answer = verb("transfer", *tiny_flags, "--output", source)
    assert (answer.code, "already holds a run" in answer.err) == (2, True)
    assert {path.name: path.stat().st_mtime_ns for path in source.iterdir()} == before


def test_the_shell_sees_a_line_and_exit_code_2(tmp_path):
    for words in (["transfr"], ["transfer", "--target", str(BRATS), "--lrr", "1"], ["evaluate", "--run", str(tmp_path)]):
        done = subprocess.run([sys.executable, "-m", "monai_tl", *words], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.startswith("monai_tl: ")
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_gzip_of_nothing_is_named(transfer, phantoms, tmp_path):
    content = json.loads((phantoms / "brats" / "datalist.json").read_text())
    for case in content["cases"]:
        for role in ("T1", "T2", "label"):
            case[role] = str(phantoms / "brats" / case[role])
    (tmp_path / "empty.nii.gz").write_bytes(gzip.compress(b""))
    named = content["splits"]["train"][0]
    next(case for case in content["cases"] if case["subject"] == named)["label"] = str(tmp_path / "empty.nii.gz")
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    refused(*transfer(datalist=tmp_path / "datalist.json"), named, "label")
