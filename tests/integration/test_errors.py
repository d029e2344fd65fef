"""What is refused: one clear line, exit code 2, no traceback, nothing half written; ``docs/errors.md`` lists it.

After a message has changed: MONAI_TL_WRITE_DOCS=1 pytest tests/integration/test_errors.py
"""

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

from tests.conftest import BRATS, IXI, ROOT, mentions
from tests.documented import MessageTable


@pytest.fixture(scope="module")
def table(tmp_path_factory, shared):
    return MessageTable(
        ROOT / "docs" / "errors.md", (shared, tmp_path_factory.getbasetemp()), "tests/integration/test_errors.py"
    )


class Code:
    """Runs when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.fixture
def refused(table):
    """Check that the answer is a refusal with all of the facts that left no run, and stands in the table."""

    def check(situation, answer, run, *facts):
        assert answer.code == 2, answer.err
        assert "Traceback" not in answer.err + answer.out
        mentions(answer.err, *facts)
        assert not run.exists()
        assert not list(run.parent.glob(".*")), "something half written was left"
        lines = answer.err.strip().splitlines()
        first = next(number for number, line in enumerate(lines) if line.startswith("monai_tl: "))
        table.check((situation,), " `` <br> `` ".join(table.tidy(line) for line in lines[first:]))

    return check


@pytest.fixture
def stopped(table):
    """Check that the answer ends a run that had begun, with a line that has all of the facts and stands in the table."""

    def check(situation, answer, *facts, code=2):
        assert answer.code == code, answer.err
        assert "Traceback" not in answer.err + answer.out
        line = answer.err.strip().splitlines()[-1]
        mentions(line, "monai_tl: ", *facts)
        table.check((situation,), table.tidy(line))

    return check


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


def test_unknown_flags_ids_and_stages(refused, transfer, verb, tmp_path):
    refused("an unknown verb", verb("transfr"), tmp_path / "run", "unknown … 'transfr' … 'transfer'?")
    answer = verb("predict", "--bundel", "runs/a", "--output", tmp_path / "run")
    refused("a missing flag", answer, tmp_path / "run", "missing --bundle … '--bundel'")
    answer = verb("evaluate", "--rnu", "runs/a")
    refused("neither a run nor a source to evaluate", answer, tmp_path / "run", "--run RUN", "did '--rnu' mean one of these?")
    answer = verb("compare", "runs/a", "--splitt", "test")
    refused("a flag misspelt", answer, tmp_path / "run", "unknown … '--splitt' … 'split'?")
    refused("an override id misspelt", *transfer(learning_rat=3), "'learning_rate'?")
    refused("a nested id that does not exist", *transfer(**{"train#trainer#max_epoch": 3}), "'max_epochs'?")
    refused("freeze 7", *transfer(freeze=7), "freeze takes 0–5", "not 7", "conv_0, res_1, res_2, res_3, conv_1")
    refused("an unknown stage", *transfer(freeze="res_9"), "'res_9'", "mean 'res_")
    refused("an unknown stage for --fresh", *transfer(fresh="conv2"), "stage … 'conv2'", "'conv_2'?")
    refused("an unknown choice", *transfer(norm="frozen"), "unknown norm 'frozen'", "'freeze'?")
    refused("an unknown overlay", *transfer(overlay="thesiss"), "'thesiss' … 'thesis'?")
    refused("a folder that is no bundle", *transfer(target="bundles/nowhere"), "'bundles/nowhere'")
    refused("flags that contradict", *transfer("--scratch", freeze=2), "--scratch … stage")


def test_values_that_make_no_sense(refused, transfer):
    refused("a rate that is no number", *transfer(learning_rate="fast"), "learning_rate … 0")
    refused("validations between steps", *transfer(iterations=3), "iterations (3) … validate_every (2)")
    refused("a spacing of two lengths", *transfer(spacing="[1,1]"), "spacing")
    refused("an unknown normalisation", *transfer(normalisation="zscore"), "unknown normalisation 'zscore'", "zscore_volume")
    refused("a modality that the datalist lacks", *transfer(modalities="['T1','PD']"), "no modality 'PD'", "T1, T2")


def test_settings_of_a_wrong_kind(refused, transfer, verb, phantoms, tmp_path):
    edges = "window … 1 … 1024 (voxels), e.g. [32,32,32] … 16"
    refused("a window of one edge", *transfer(window=16), edges)
    answer = transfer(batch_size=0, seed="None", warm_up="nan")
    refused("several settings that cannot be used", *answer, "3 settings", "batch_size", "seed", "warm_up")
    refused("yes and no", *transfer(accept_differences="no"), "accept_differences … 'no'")
    refused("patience as if it counted validations", *transfer(patience=1), "patience (1) … iterations")
    refused("a class that the datalist lacks", *transfer(classes="['background','a','b']"), "no region 'a' … foreground")
    refused(
        "classes without background for a loss with a softmax", *transfer(classes="['foreground']"), "DiceCELoss … DiceBCELoss"
    )
    refused("one class twice", *transfer(classes="['background','a','a']"), "classes … different")
    refused("an expression that cannot be evaluated", *transfer(dataset_dir="$HOME/data"), "'HOME' … defined")
    refused("a word inside a config where a number stood", *transfer(**{"crop#margin": "wide"}), "crop#margin")
    words = ("datalist", "ixi", "--root", phantoms / "ixi", "--output", tmp_path / "run")
    answer = verb(*words, "--foreground", "1.4")
    refused("label values with a point", answer, tmp_path / "run", "foreground … label … 1", "1.4")
    refused("a region without label values", verb(*words, "--regions", "left"), tmp_path / "run", "'left' … left=VALUE")
    refused("a region twice", verb(*words, "--regions", "left=17,left=53"), tmp_path / "run", "'left' twice")
    words = (*words[:-1], tmp_path / "run.json", "--regions", "left=17; cyst=77")
    refused("a region that no training label has", verb(*words), tmp_path / "run.json", "4 training labels … 'cyst' (77) … 17")
    answer = verb("phantom", "--subjects", "0", "--output", tmp_path / "run")
    refused("no subjects", answer, tmp_path / "run", "subjects … 1 … 0")


def test_sources_that_cannot_be_used(refused, transfer, tmp_path, source):
    text = "does not exist … bundle … run folder … .pt … .safetensors"
    refused("a source that is not there", *transfer(source=tmp_path / "none"), text)
    (tmp_path / "empty").mkdir()
    refused("missing weights", *transfer(source=tmp_path / "empty"), "holds no weights")
    torch.save(torch.nn.Conv3d(2, 4, 3).state_dict(), tmp_path / "other.pt")
    refused(
        "a source with another architecture",
        *transfer("--accept_differences", source=tmp_path / "other.pt"),
        "architecture",
    )
    (tmp_path / "code.pt").write_bytes(pickle.dumps({"model": Code(tmp_path / "was_run")}))
    answer = transfer(source=tmp_path / "code.pt")
    refused(
        "a source that is a pickle with code in it", *answer, "plain … weights … state_dict … .safetensors", "nothing was run"
    )
    assert not (tmp_path / "was_run").exists()
    (tmp_path / "cut.pt").write_bytes((source / "model.pt").read_bytes()[:1000])
    refused("a source file cut short", *transfer(source=tmp_path / "cut.pt"), "cut.pt'")
    save_file({}, tmp_path / "none.safetensors")
    refused("a source file without weights", *transfer(source=tmp_path / "none.safetensors"), "holds no weights")


def test_a_harmful_difference_stops_until_it_is_accepted(refused, transfer):
    answer, run = transfer(spacing="[0.9,0.9,0.9]")
    text = "spacing … [1.0, 1.0, 1.0] … [0.9, 0.9, 0.9]"
    refused("a source that saw another spacing", answer, run, text, "--accept_differences")
    answer, run = transfer(spacing="[0.9,0.9,0.9]", orientation="LPS", freeze=2, fresh="conv_0,conv_2")
    flags = "--spacing 1.0,1.0,1.0 --orientation RAS --freeze 0"
    refused("a source that differs in several ways", answer, run, text, "orientation … RAS … LPS", "conv_0 … frozen", flags)
    answer, run = transfer(rename="T1w=T1", freeze=2)
    refused("a modality to rename that the source lacks", answer, run, "the source … 'T1w' … 'T1' … T1, T2")
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


def test_data_that_are_not_there(refused, transfer, phantoms, tmp_path):
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
        ("a truncated .nii.gz", "T1", lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]), "T1 … readable"),
        ("an empty .nii.gz", "label", lambda p: p.write_bytes(gzip.compress(b"")), "label … readable"),
        ("a 4D image", "T1", lambda p: replace(p, lambda v: v[..., None].repeat(2, -1)), "T1 … 3D (shape 32×32×32×2)"),
        ("a 2D image", "T1", lambda p: replace(p, lambda v: v[..., 0]), "T1 … 3D (shape 32×32)"),
        ("an image on another grid", "T1", lambda p: replace(p, lambda v: v[:-1]), "T1 31×32×32; resample"),
        ("a label on another grid", "label", lambda p: replace(p, lambda v: v[:, :-1]), "label … shape 32×31×32"),
        ("NaN voxels", "T1", lambda p: replace(p, lambda v: np.where(v == v.max(), np.nan, v)), "NaN or infinite"),
        ("unknown label values", "label", lambda p: replace(p, lambda v: v * 3), "label … unknown … (3, 6, 12)"),
        ("a training case without foreground", "label", lambda p: replace(p, lambda v: v * (v == 2)), "no foreground (1, 4)"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_scans_that_cannot_be_trained_on(refused, transfer, phantoms, tmp_path, situation, role, spoil, text):
    def change(case):
        spoiled = tmp_path / "spoiled.nii.gz"
        spoiled.write_bytes(Path(case[role]).read_bytes())
        spoil(spoiled)
        case[role] = str(spoiled)

    path, subject = datalist_with(phantoms, tmp_path, change)
    refused(situation, *transfer(datalist=path), subject, text)


def test_a_folder_that_holds_a_run_is_left_as_it_is(refused, verb, tiny_flags, source, tmp_path):
    before = {path.name: path.stat().st_mtime_ns for path in source.iterdir()}
    answer = verb("transfer", *tiny_flags, "--output", source)
    refused("an output folder that already holds a run", answer, tmp_path / "run", "already holds a run")
    assert {path.name: path.stat().st_mtime_ns for path in source.iterdir()} == before
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "notes.txt").write_text("mine")
    answer = verb("transfer", *tiny_flags, "--output", tmp_path / "own")
    refused("an output folder that holds something else", answer, tmp_path / "run", "exists")


def test_predictions_of_what_is_not_there(refused, verb, source, phantoms, tmp_path):
    words = ("predict", "--bundle", source, "--output", tmp_path / "run")
    answer = verb(*words, "--input", tmp_path / "nowhere")
    refused("scans that are not there", answer, tmp_path / "run", "does not exist")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "ann_flair.nii.gz").write_bytes(b"")
    answer = verb(*words, "--input", tmp_path / "own")
    refused("scans in an unknown layout", answer, tmp_path / "run", "no known layout", "--T1 '{subject}_T1.nii.gz'")
    answer = verb("predict", "--bundle", phantoms, "--input", phantoms / "ixi", "--output", tmp_path / "run")
    refused("neither a bundle nor a run", answer, tmp_path / "run", "neither … run")
    answer = verb("predict", "--bundle", source, "--output", tmp_path / "run", "--input", phantoms / "ixi", "--splt", "test")
    refused("predict with a flag misspelt", answer, tmp_path / "run", "unknown … 'splt' … 'split'?")
    answer = verb(*words, "--input", phantoms / "ixi", "--subjects", "IXI999")
    refused("a subject that is not there", answer, tmp_path / "run", "subject 'IXI999'", "There are: IXI")
    answer = verb(*words, "--input", phantoms / "ixi", "--dicom_seg")
    refused("a DICOM Segmentation of scans that are no DICOM", answer, tmp_path / "run", "T1 … DICOM", "IXI")
    answer = verb("train", "--bundle", IXI, "--output", tmp_path / "run", "--windw", "[1,1,1]")
    refused("a training flag misspelt", answer, tmp_path / "run", "unknown … 'windw' … 'window'?")
    answer = verb("train", "--bundle", IXI, "--output", tmp_path / "run", "--dataset_dir", phantoms / "ixi" / "datalist.json")
    refused("a file where its folder is asked for", answer, tmp_path / "run", "file … dataset_dir")
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


def test_checks_and_choices_that_cannot_be_meant(refused, verb, phantoms, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "ann_flair.nii.gz").write_bytes(b"")
    words = ("check", tmp_path / "own", "--output", tmp_path / "run")
    refused("a check of scans in an unknown layout", verb(*words), tmp_path / "run", "no known layout")
    answer = verb("check", phantoms / "ixi", "--output", tmp_path / "run", "--target", BRATS)
    refused(
        "a check with a bundle that has no plausible volume", answer, tmp_path / "run", "task.yaml … tumour core … --target"
    )
    answer = verb("check", phantoms / "ixi", "--output", tmp_path / "own")
    refused("a check into a folder of something else", answer, tmp_path / "run", "something other than a check")
    words = ("datalist", "ixi", "--root", phantoms / "ixi", "--output", tmp_path / "run")
    refused(
        "an unknown subject to leave out", verb(*words, "--leave_out", "IXI999"), tmp_path / "run", "unknown subjects: IXI999"
    )
    refused("no check whose suspects could be left out", verb(*words, "--leave_out", "qc"), tmp_path / "run", "qc.csv")


def test_scans_that_cannot_be_prepared(refused, verb, phantoms, tmp_path):
    ixi = phantoms / "ixi"
    words = {"t1": ixi / "IXI-T1", "t2": tmp_path / "IXI-T2", "labels": ixi / "aseg", "output": tmp_path / "run"}

    def prepare(**other):
        return verb("prepare", "ixi", *(text for name, value in {**words, **other}.items() for text in (f"--{name}", value)))

    refused("T2 to prepare that is not there", prepare(), tmp_path / "run", "needed for T2: a folder or a .tar")
    first = sorted((ixi / "IXI-T2").iterdir())[0]
    (tmp_path / "IXI-T2").mkdir()
    (tmp_path / "IXI-T2" / first.name).write_bytes(first.read_bytes())
    refused("subjects to prepare that lack T2", prepare(), tmp_path / "run", "5 of 6 subjects … incomplete", "lacks T2")
    answer = prepare(t2=ixi / "IXI-T2", coding="muse")
    refused("an unknown coding", answer, tmp_path / "run", "unknown coding 'muse' … 'dlmuse'?")


def test_files_that_cannot_be_prepared(refused, verb, phantoms, tmp_path):
    run = tmp_path / "run"
    words = {"T1": phantoms / "ixi" / "IXI-T1" / "{subject}-T1.nii.gz", "output": run}

    def prepare(**other):
        return verb("prepare", "files", *(text for name, value in {**words, **other}.items() for text in (f"--{name}", value)))

    answer = prepare(reference="T2")
    refused("an unknown reference", answer, run, "--reference T2", "T1")
    refused("a crop to a label without labels", prepare(crop="label"), run, "--crop needs labels", "--crop image")
    refused("a crop to something else", prepare(crop="brain"), run, "crop takes label, image or label values")
    refused("a margin without a crop", prepare(margin="5"), run, "--margin 5 needs --crop")
    refused("no spacing of three lengths", prepare(spacing="1,1"), run, "spacing takes three lengths")
    answer = verb("prepare", "files", "--label", words["T1"], "--output", run)
    refused("no modality to prepare", answer, run, "one pattern per modality")


def test_studies_that_cannot_be_meant(refused, verb, tiny_flags, tmp_path):
    run = tmp_path / "run"

    def study(kind="layers", **flags):
        options = {"arms": "scratch,2", "seeds": "1", "output": run, **flags}
        return verb(
            "study", kind, *tiny_flags, *(text for name, value in options.items() for text in (f"--{name}", str(value)))
        )

    refused("a study's flag misspelt", study(arm="scratch"), run, "unknown … 'arm' … 'arms'?")
    refused("an unknown arm", study(arms="scratch,two"), run, "'two'", "scratch")
    refused("an arm's setting for all runs of a study", study(freeze=2), run, "--freeze", "--arms")
    refused("seeds that are none", study(seeds="0"), run, "seeds … (3) … (7,8,9) … '0'")
    refused("more training subjects than there are", study("size", sizes="26"), run, "size 26 … 26 … 3")
    refused("an unknown list of subjects", study("size", sizes="S9"), run, "'S9' … list", "all")
    refused("a budget for an arm that is not asked for", study(budget="3=8"), run, "budget … '3'", "scratch, 2")
    faulty = "ValueError: warmup_multiplier"
    refused("a part that no run could train with", study(**{"scheduler#warmup_multiplier": 2}), run, faulty)
    refused("a setting that no run could train with", study(workers=-1), run, "workers … 0")
    refused("an unknown engine", study(engine="slurm"), run, "unknown engine 'slurm'", "here, ray")
    refused("a report of a study that is not there", verb("report", run), run, "no folder", "monai_tl study")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "notes.txt").write_text("mine")
    refused("a study into a folder of something else", study(output=tmp_path / "own"), run, "exists")
    refused("a report of what is no study", verb("report", tmp_path / "own"), run, "study.json … monai_tl report --runs")
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["notes.txt"]


def test_no_gpu_where_one_is_asked_for(refused, transfer, verb, source, phantoms, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    text = "device 'cuda' … 0 GPUs"
    refused("no GPU when --device cuda is asked", *transfer(device="cuda"), text)
    words = ("--bundle", source, "--input", phantoms / "ixi", "--output", tmp_path / "run", "--device", "cuda")
    refused("no GPU to predict on", verb("predict", *words), tmp_path / "run", text)


def test_out_of_memory_in_training_says_what_to_lower(stopped, transfer, monkeypatch):
    from monai_tl.networks.highres3dnet import HighRes3DNet

    def forward(self, images):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total capacity of …")

    monkeypatch.setattr(HighRes3DNet, "forward", forward)
    stopped("out of memory in training", transfer()[0], "--batch_size", "--window")


def test_a_full_disk_ends_training_with_a_line_and_keeps_what_was_finished(stopped, transfer, monkeypatch, verb, tiny_flags):
    save, saved = torch.save, []

    def full(content, path, *rest):
        saved.append(path)
        if len(saved) > 2 and "last.pt" in str(path):  # the first validation's model.pt and last.pt fit
            raise RuntimeError("[enforce fail at inline_container.cc:664] . PytorchStreamWriter failed writing file data/3")
        save(content, path, *rest)

    monkeypatch.setattr(torch, "save", full)
    answer, run = transfer()
    stopped("a full disk", answer, "last.pt'", "MiB")
    assert torch.load(run / "last.pt", weights_only=True)["iteration"] == 2
    assert not list(run.glob(".*")), "something half written was left"
    monkeypatch.undo()
    assert verb("transfer", *tiny_flags, "--output", run, "--resume", "true").code == 0


def test_ctrl_c_keeps_what_is_finished(stopped, transfer, monkeypatch):
    from monai_tl.training.recorder import Record

    def interrupted(self, trainer):
        raise KeyboardInterrupt

    monkeypatch.setattr(Record, "validated", interrupted)
    answer, run = transfer()
    stopped("Ctrl-C", answer, code=130)
    assert (run / "config.yaml").is_file()


def test_the_shell_sees_a_line_and_exit_code_2(command, tmp_path):
    """Once by Python itself; the others fork what has imported torch before."""
    python = [sys.executable, "-m", "monai_tl"]
    calls = [
        [*python, "transfr"],
        [command, "transfer", "--target", BRATS, "--lrr", "1"],
        [command, "evaluate", "--run", tmp_path],
    ]
    for words in calls:
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, cwd=tmp_path)
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


def test_each_row_of_the_table_is_a_tests(table):
    assert not table.strangers(Path(__file__).read_text(encoding="utf-8")), "no test causes these: remove them"
