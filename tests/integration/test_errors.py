"""What is refused: one clear line, exit code 2, no traceback, nothing half written; ``docs/errors.md`` lists it.

After a message has changed: MONAI_TL_WRITE_DOCS=1 pytest tests/integration/test_errors.py
"""

from __future__ import annotations

import gzip
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import BRATS, IXI, ROOT

DOCS = ROOT / "docs" / "errors.md"
SHOWN: dict[str, str] = {}  # situation -> what users see


class Code:
    """Runs when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def refused(situation, answer, run, *texts, code=2):
    """The answer is a refusal that says all of the texts, and left no run."""
    assert answer.code == code, answer.err
    lines = answer.err.strip().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("monai_tl: "))
    assert "Traceback" not in answer.err + answer.out
    for text in texts:
        assert text in answer.err, answer.err
    assert not run.exists()
    assert not list(run.parent.glob(".*")), "something half written was left"
    SHOWN[situation] = "\n".join(lines[first:])


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


def test_unknown_flags_ids_and_stages(transfer, verb, tmp_path):
    refused("an unknown verb", verb("transfr"), tmp_path / "run", "unknown verb 'transfr': did you mean 'transfer'?")
    answer = verb("predict", "--bundel", "runs/a", "--output", tmp_path / "run")
    refused("a missing flag", answer, tmp_path / "run", "missing --bundle (did '--bundel' mean it?)")
    answer = verb("evaluate", "--rnu", "runs/a")
    refused("neither a run nor a source to evaluate", answer, tmp_path / "run", "--run RUN", "did '--rnu' mean one of these?")
    answer = verb("compare", "runs/a", "--splitt", "test")
    refused("a flag misspelt", answer, tmp_path / "run", "unknown flag '--splitt': did you mean 'split'?")
    refused("an override id misspelt", *transfer(learning_rat=3), "did you mean 'learning_rate'?")
    refused("a nested id that does not exist", *transfer(**{"train#trainer#max_epoch": 3}), "did you mean 'max_epochs'?")
    refused("freeze 7", *transfer(freeze=7), "freeze takes 0–5", "not 7", "conv_0, res_1, res_2, res_3, conv_1")
    refused("an unknown stage", *transfer(freeze="res_9"), "'res_9'", "did you mean 'res_")
    refused("an unknown stage to start anew", *transfer(fresh="conv2"), "no stage is called 'conv2'", "did you mean 'conv_2'?")
    refused("an unknown choice", *transfer(norm="frozen"), "unknown norm 'frozen'", "did you mean 'freeze'?")
    refused("an unknown overlay", *transfer(overlay="thesiss"), "has no config 'thesiss': did you mean 'thesis'?")
    refused("a folder that is no bundle", *transfer(target="bundles/nowhere"), "'bundles/nowhere' is no bundle")
    refused("flags that contradict", *transfer("--scratch", freeze=2), "--scratch trains every stage")


def test_values_that_make_no_sense(transfer):
    refused("a rate that is no number", *transfer(learning_rate="fast"), "learning_rate takes a number above 0")
    refused("validations between steps", *transfer(iterations=3), "iterations (3) must be a multiple of validate_every (2)")
    refused("a spacing of two lengths", *transfer(spacing="[1,1]"), "spacing takes three lengths in mm")
    refused("an unknown normalisation", *transfer(normalisation="zscore"), "unknown normalisation 'zscore'", "zscore_volume")
    refused("a modality that the datalist lacks", *transfer(modalities="['T1','PD']"), "no modality 'PD'", "T1, T2")


def test_settings_of_a_wrong_kind(transfer, verb, phantoms, tmp_path):
    edges = "window takes three whole numbers from 1 to 1024 (voxels), e.g. [32,32,32]; got 16"
    refused("a window of one edge", *transfer(window=16), edges)
    answer = transfer(batch_size=0, seed="None", warm_up="nan")
    refused("several settings that cannot be used", *answer, "3 settings cannot be used:", "batch_size", "seed", "warm_up")
    refused("yes and no", *transfer(accept_differences="no"), "accept_differences takes true or false; got 'no'")
    refused("patience as if it counted validations", *transfer(patience=1), "patience (1) counts iterations")
    refused("three classes", *transfer(classes="['background','a','b']"), "classes takes two different names")
    refused("an expression that cannot be evaluated", *transfer(dataset_dir="$HOME/data"), "name 'HOME' is not defined")
    refused("a word inside a config where a number stood", *transfer(**{"crop#margin": "wide"}), "crop#margin takes a number")
    words = ("datalist", "ixi", "--root", phantoms / "ixi", "--output", tmp_path / "run")
    answer = verb(*words, "--foreground", "1.4")
    refused("label values with a point", answer, tmp_path / "run", "foreground takes label values, whole numbers from 1", "1.4")
    answer = verb("phantom", "--subjects", "0", "--output", tmp_path / "run")
    refused("no subjects", answer, tmp_path / "run", "subjects takes a whole number from 1; got 0")


def test_sources_that_cannot_be_used(transfer, tmp_path, source):
    text = "does not exist; give a bundle, a run folder, a .pt or a .safetensors file"
    refused("a source that is not there", *transfer(source=tmp_path / "none"), text)
    (tmp_path / "empty").mkdir()
    refused("missing weights", *transfer(source=tmp_path / "empty"), "holds no weights")
    torch.save(torch.nn.Conv3d(2, 4, 3).state_dict(), tmp_path / "other.pt")
    refused(
        "a source with another architecture",
        *transfer("--accept_differences", source=tmp_path / "other.pt"),
        "the source is another architecture: none of the target's",
    )
    (tmp_path / "code.pt").write_bytes(pickle.dumps({"model": Code(tmp_path / "was_run")}))
    answer = transfer(source=tmp_path / "code.pt")
    refused("a source that is a pickle with code in it", *answer, "is no plain file of weights", "nothing was run")
    assert not (tmp_path / "was_run").exists()
    (tmp_path / "cut.pt").write_bytes((source / "model.pt").read_bytes()[:1000])
    refused("a source file cut short", *transfer(source=tmp_path / "cut.pt"), "cut.pt'")
    save_file({}, tmp_path / "none.safetensors")
    refused("a source file without weights", *transfer(source=tmp_path / "none.safetensors"), "holds no weights")


def test_a_harmful_difference_stops_until_it_is_accepted(transfer):
    answer, run = transfer(spacing="[0.9,0.9,0.9]")
    text = "spacing: source [1.0, 1.0, 1.0], target [0.9, 0.9, 0.9]"
    refused("a source that saw another spacing", answer, run, text, "--accept_differences")
    answer, run = transfer("--accept_differences", spacing="[0.9,0.9,0.9]")
    assert answer.code == 0, answer.err
    assert run.is_dir()


def datalist_with(phantoms, folder, change, subject=None):
    """A copy of the phantoms' datalist whose first training case (or another) ``change`` has had its way with."""
    content = json.loads((phantoms / "brats" / "datalist.json").read_text())
    subject = subject or content["splits"]["train"][0]
    for case in content["cases"]:
        case.update({role: str(phantoms / "brats" / case[role]) for role in ("T1", "T2", "label")})
        if case["subject"] == subject:
            change(case)
    (folder / "datalist.json").write_text(json.dumps(content))
    return folder / "datalist.json", subject


def test_data_that_are_not_there(transfer, phantoms, tmp_path):
    answer = transfer(dataset_dir=tmp_path / "nowhere")
    refused("a missing dataset directory", *answer, "there is no file", "nowhere/datalist.json", "monai_tl datalist")
    path, subject = datalist_with(phantoms, tmp_path, lambda case: case.update(T1=case["T1"].replace("_t1.", "_t9.")))
    refused("a datalist that points to missing files", *transfer(datalist=path), subject, "_t9.nii.gz", "T1 does not exist")


def replace(path, change):
    image = nib.load(path)
    volume = change(np.asanyarray(image.dataobj).astype(np.float32))
    nib.save(nib.Nifti1Image(volume, image.affine), path)


@pytest.mark.parametrize(
    ("situation", "role", "spoil", "text"),
    [
        ("a truncated .nii.gz", "T1", lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]), "T1 is not readable"),
        ("an empty .nii.gz", "label", lambda p: p.write_bytes(gzip.compress(b"")), "label is not readable"),
        ("a 4D image", "T1", lambda p: replace(p, lambda v: v[..., None].repeat(2, -1)), "T1 is not 3D (shape 32×32×32×2)"),
        ("a 2D image", "T1", lambda p: replace(p, lambda v: v[..., 0]), "T1 is not 3D (shape 32×32)"),
        ("an image on another grid", "T1", lambda p: replace(p, lambda v: v[:-1]), "T1 31×32×32; resample one to the other"),
        ("a label on another grid", "label", lambda p: replace(p, lambda v: v[:, :-1]), "label has shape 32×31×32"),
        ("NaN voxels", "T1", lambda p: replace(p, lambda v: np.where(v == v.max(), np.nan, v)), "NaN or infinite"),
        ("unknown label values", "label", lambda p: replace(p, lambda v: v * 3), "label holds unknown values (3, 6, 12)"),
        ("a training case without foreground", "label", lambda p: replace(p, lambda v: v * (v == 2)), "no foreground (1, 4)"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_scans_that_cannot_be_trained_on(transfer, phantoms, tmp_path, situation, role, spoil, text):
    def change(case):
        spoiled = tmp_path / "spoiled.nii.gz"
        spoiled.write_bytes(Path(case[role]).read_bytes())
        spoil(spoiled)
        case[role] = str(spoiled)

    path, subject = datalist_with(phantoms, tmp_path, change)
    refused(situation, *transfer(datalist=path), subject, text)


def test_a_folder_that_holds_a_run_is_left_as_it_is(verb, tiny_flags, source, tmp_path):
    before = {path.name: path.stat().st_mtime_ns for path in source.iterdir()}
    answer = verb("transfer", *tiny_flags, "--output", source)
    refused("an output folder that already holds a run", answer, tmp_path / "run", "already holds a run")
    assert {path.name: path.stat().st_mtime_ns for path in source.iterdir()} == before
    answer = verb("transfer", *tiny_flags, "--output", source.parent)
    refused("an output folder that holds something else", answer, tmp_path / "run", "exists and is no run folder")


def test_predictions_of_what_is_not_there(verb, source, phantoms, tmp_path):
    words = ("predict", "--bundle", source, "--output", tmp_path / "run")
    answer = verb(*words, "--input", tmp_path / "nowhere")
    refused(
        "scans that are not there", answer, tmp_path / "run", "does not exist; give a datalist, a folder of scans or a scan"
    )
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "ann_flair.nii.gz").write_bytes(b"")
    answer = verb(*words, "--input", tmp_path / "own")
    refused("scans in an unknown layout", answer, tmp_path / "run", "is in no layout known here", "--T1 '{subject}_T1.nii.gz'")
    answer = verb("predict", "--bundle", phantoms, "--input", phantoms / "ixi", "--output", tmp_path / "run")
    refused("neither a bundle nor a run", answer, tmp_path / "run", "is neither a run folder")
    answer = verb("predict", "--bundle", source, "--output", tmp_path / "run", "--input", phantoms / "ixi", "--splt", "test")
    refused("predict with a flag misspelt", answer, tmp_path / "run", "unknown flag or config id 'splt': did you mean 'split'?")
    answer = verb(*words, "--input", phantoms / "ixi", "--subjects", "IXI999")
    refused("a subject that is not there", answer, tmp_path / "run", "there is no subject 'IXI999'", "There are: IXI")
    answer = verb(*words, "--input", phantoms / "ixi", "--dicom_seg")
    refused("a DICOM Segmentation of scans that are no DICOM", answer, tmp_path / "run", "needs T1 as a DICOM series", "IXI")
    answer = verb("train", "--bundle", IXI, "--output", tmp_path / "run", "--windw", "[1,1,1]")
    refused("a training flag misspelt", answer, tmp_path / "run", "unknown flag or config id 'windw': did you mean 'window'?")
    answer = verb("train", "--bundle", IXI, "--output", tmp_path / "run", "--dataset_dir", phantoms / "ixi" / "datalist.json")
    refused("a file where its folder is asked for", answer, tmp_path / "run", "is a file, and dataset_dir takes the folder")
    folder = tmp_path / "own"
    words = (
        "--T1",
        folder / "x/{subject}.nii.gz",
        "--label",
        folder / "y/{subject}.nii.gz",
        "--foreground",
        "1",
        "--output",
        "d.json",
    )
    answer = verb("datalist", "files", *words)
    refused("patterns that nothing matches", answer, tmp_path / "run", "no file matches", "x/{subject}.nii.gz")


def test_checks_and_choices_that_cannot_be_meant(verb, phantoms, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "ann_flair.nii.gz").write_bytes(b"")
    words = ("check", tmp_path / "own", "--output", tmp_path / "run")
    refused("a check of scans in an unknown layout", verb(*words), tmp_path / "run", "is in no layout known here")
    answer = verb("check", phantoms / "ixi", "--output", tmp_path / "own")
    refused("a check into a folder of something else", answer, tmp_path / "run", "holds something else")
    words = ("datalist", "ixi", "--root", phantoms / "ixi", "--output", tmp_path / "run")
    refused(
        "an unknown subject to leave out", verb(*words, "--leave_out", "IXI999"), tmp_path / "run", "unknown subjects: IXI999"
    )
    refused(
        "no check whose suspects could be left out", verb(*words, "--leave_out", "qc"), tmp_path / "run", "needs one qc.csv"
    )


def test_scans_that_cannot_be_prepared(verb, phantoms, tmp_path):
    ixi = phantoms / "ixi"
    words = {"t1": ixi / "IXI-T1", "t2": tmp_path / "IXI-T2", "labels": ixi / "aseg", "output": tmp_path / "run"}

    def prepare(**other):
        return verb("prepare", "ixi", *(text for name, value in {**words, **other}.items() for text in (f"--{name}", value)))

    refused("T2 to prepare that is not there", prepare(), tmp_path / "run", "needed for T2: a folder or a .tar that holds")
    first = sorted((ixi / "IXI-T2").iterdir())[0]
    (tmp_path / "IXI-T2").mkdir()
    (tmp_path / "IXI-T2" / first.name).write_bytes(first.read_bytes())
    refused("subjects to prepare that lack T2", prepare(), tmp_path / "run", "5 of 6 subjects are incomplete", "lacks T2")
    answer = prepare(t2=ixi / "IXI-T2", coding="muse")
    refused("an unknown coding", answer, tmp_path / "run", "unknown coding 'muse': did you mean 'dlmuse'?")


def test_studies_that_cannot_be_meant(verb, tiny_flags, tmp_path):
    run = tmp_path / "run"

    def study(kind="layers", **flags):
        told = {"arms": "scratch,2", "seeds": "1", "output": run, **flags}
        return verb("study", kind, *tiny_flags, *(text for name, value in told.items() for text in (f"--{name}", str(value))))

    refused("a study's flag misspelt", study(arm="scratch"), run, "unknown flag or config id 'arm': did you mean 'arms'?")
    refused("an unknown arm", study(arms="scratch,two"), run, "'two'", "scratch")
    refused("an arm's setting for all runs of a study", study(freeze=2), run, "--freeze differs from run to run", "--arms")
    refused("seeds that are none", study(seeds="0"), run, "seeds takes how many (3), or different ones (7,8,9); got '0'")
    refused("more training subjects than there are", study("size", sizes="26"), run, "size 26 comes to 26", "there are 3")
    refused("an unknown list of subjects", study("size", sizes="S9"), run, "no list is called 'S9'", "all")
    refused("a budget for an arm that is not asked for", study(budget="3=8"), run, "budget names an arm '3'", "scratch, 2")
    faulty = "no training can be set up with these settings: ValueError: warmup_multiplier must be"
    refused("a part that no run could train with", study(**{"scheduler#warmup_multiplier": 2}), run, faulty)
    refused("a setting that no run could train with", study(workers=-1), run, "workers takes a whole number from 0")
    refused("an unknown engine", study(engine="slurm"), run, "unknown engine 'slurm'", "here, ray")
    refused("a report of a study that is not there", verb("report", run), run, "no folder", "monai_tl study")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "notes.txt").write_text("mine")
    refused("a study into a folder of something else", study(output=tmp_path / "own"), run, "exists and is no study")
    refused("a report of what is no study", verb("report", tmp_path / "own"), run, "is no study", "monai_tl report --runs")
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["notes.txt"]


def test_no_gpu_where_one_is_asked_for(transfer, verb, source, phantoms, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    text = "device 'cuda' was asked for, but 0 GPUs are visible; use auto or cpu"
    refused("no GPU when --device cuda is asked", *transfer(device="cuda"), text)
    words = ("--bundle", source, "--input", phantoms / "ixi", "--output", tmp_path / "run", "--device", "cuda")
    refused("no GPU to predict on", verb("predict", *words), tmp_path / "run", text)


def stopped(situation, answer, code=2):
    """The answer ends a run that had begun."""
    assert answer.code == code, answer.err
    assert "Traceback" not in answer.err + answer.out
    SHOWN[situation] = answer.err.strip().splitlines()[-1]
    assert SHOWN[situation].startswith("monai_tl: ")


def test_out_of_memory_in_training_says_what_to_lower(transfer, monkeypatch):
    from monai_tl.networks.highres3dnet import HighRes3DNet

    def forward(self, images):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total capacity of …")

    monkeypatch.setattr(HighRes3DNet, "forward", forward)
    stopped("out of memory in training", transfer()[0])
    assert "lower --batch_size or --window to train" in SHOWN["out of memory in training"]


def test_a_full_disk_ends_training_with_a_line_and_keeps_what_was_finished(transfer, monkeypatch, verb, tiny_flags):
    save, saved = torch.save, []

    def full(content, path, *rest):
        saved.append(path)
        if len(saved) > 2:  # the first validation's model.pt and last.pt fit
            raise RuntimeError("[enforce fail at inline_container.cc:664] . PytorchStreamWriter failed writing file data/3")
        save(content, path, *rest)

    monkeypatch.setattr(torch, "save", full)
    answer, run = transfer()
    stopped("a full disk", answer)
    assert "last.pt' could not be written, and " in SHOWN["a full disk"]
    SHOWN["a full disk"] = re.sub(r"\d+ MiB", "0 MiB", SHOWN["a full disk"])
    assert torch.load(run / "last.pt", weights_only=True)["iteration"] == 2
    assert not list(run.glob(".*")), "something half written was left"
    monkeypatch.undo()
    assert verb("transfer", *tiny_flags, "--output", run, "--resume", "true").code == 0


def test_ctrl_c_keeps_what_is_finished(transfer, monkeypatch):
    from monai_tl.training.recorder import Record

    def interrupted(self, trainer):
        raise KeyboardInterrupt

    monkeypatch.setattr(Record, "validated", interrupted)
    answer, run = transfer()
    stopped("Ctrl-C", answer, code=130)
    assert (run / "config.yaml").is_file()


def test_the_shell_sees_a_line_and_exit_code_2(tmp_path):
    for words in (["transfr"], ["transfer", "--target", str(BRATS), "--lrr", "1"], ["evaluate", "--run", str(tmp_path)]):
        done = subprocess.run([sys.executable, "-m", "monai_tl", *words], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.startswith("monai_tl: ")
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_our_own_keeps_its_traceback(monkeypatch, verb):
    """Not the user's fault: swallowing where it came from would keep us from mending it."""
    from monai_tl import cli

    def broken(**_):
        raise KeyError("ours")

    monkeypatch.setitem(cli.VERBS, "stages", broken)
    with pytest.raises(KeyError, match="ours"):
        verb("stages")


def table(phantoms, source):
    """``docs/errors.md`` as the tests above have seen it."""
    places = {str(source.parent): "runs", str(phantoms): "data", str(ROOT) + "/": ""}
    rows = []
    for situation, text in SHOWN.items():
        for place, name in places.items():
            text = text.replace(place, name)
        text = re.sub(r"/\S*?/pytest-\d+/[^/\s']+/?", "", text).replace("|", "\\|")
        text = re.sub(r"There are: ([^()\n]{60})[^()\n]*?(?=[.;)]|$)", r"There are: \1…", text)
        rows.append(f"| {situation} | {' <br> '.join(f'`` {line.strip()} ``' for line in text.splitlines())} |")
    return HEAD + "\n".join(rows) + "\n"


HEAD = """# What goes wrong, and the line that says so

Written by `tests/integration/test_errors.py`, which causes each of these and checks that nothing half written is left.
Each ends with exit code 2 and without a traceback; Ctrl-C with 130; `predict`, `check`, `prepare`, `study` done in part with 1.

| what came | what is said |
|---|---|
"""


def test_the_table_in_the_docs_is_what_users_see(phantoms, source):
    if len(SHOWN) < 40:
        pytest.skip("needs the other tests of this file in the same run")
    now = table(phantoms, source)
    if os.environ.get("MONAI_TL_WRITE_DOCS"):
        DOCS.write_text(now, encoding="utf-8")
    assert now == DOCS.read_text(encoding="utf-8"), "run MONAI_TL_WRITE_DOCS=1 pytest tests/integration/test_errors.py"
