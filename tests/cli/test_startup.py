"""What is wrong with flags, paths and names is refused before anything slow is imported; help needs none of it either."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import BRATS, IXI

SLOW = ("torch", "monai", "itk", "matplotlib", "scipy.stats", "ignite")
PROGRAM = f"""
import contextlib, io, json, sys
from monai_tl.__main__ import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["monai_tl", *words]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main()
    print(json.dumps([code, out.getvalue(), err.getvalue(), [name for name in {SLOW} if name in sys.modules]]))
"""


def called(commands, folder):
    """Call verbs one after the other in a fresh process; gives exit code, both outputs and slow modules of each."""
    words = json.dumps([[str(word) for word in command] for command in commands])
    done = subprocess.run([sys.executable, "-c", PROGRAM, words], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def trained(tmp_path):
    """A run folder as far as verbs look before they load anything."""
    run = tmp_path / "run"
    run.mkdir()
    config = (BRATS / "configs" / "train.yaml").read_text().replace('bundle_root: "."', f"bundle_root: {BRATS}")
    (run / "config.yaml").write_text(config)
    (run / "model.pt").write_bytes(b"")
    return run


PREPARE = ["prepare", "ixi", "--t1", "a", "--t2", "b", "--labels", "c", "--output", "new"]
REFUSALS = [
    (["transfr"], "did you mean 'transfer'"),
    (["train", "--bundle", "nowhere"], "'nowhere' is not a bundle"),
    (["train", "--bundle", IXI, "--iteratons", "4"], "did you mean 'iterations'"),
    (["train", "--bundle", IXI, "--window", "16"], "window takes three whole numbers"),
    (["train", "--bundle", IXI, "--iterations", "75", "--output", "new"], "iterations (75) must be a multiple"),
    (["train", "--bundle", IXI, "--dataset_dir", "absent", "--output", "new"], "there is no file"),
    (["train", "--bundle", IXI, "--output", "full"], "output 'full' exists and is not a run folder"),
    (["transfer", "--target", BRATS, "--overlay", "thesiss"], "has no config 'thesiss'"),
    (["transfer", "--target", BRATS, "--norm", "frozen"], "unknown norm 'frozen'"),
    (["evaluate", "--run", "absent"], "'absent' is not a run folder"),
    (["evaluate", "--run", "run", "--split", "tst"], "unknown split 'tst'"),
    (["evaluate", "--run", "run", "--iterations", "4", "--datalist", "x.json"], "--iterations has no effect"),
    (["evaluate", "--run", "run", "--datalist", "x.json"], "there is no file"),
    (["evaluate", "--run", "run", "--ckpt", "absent.pt", "--datalist", "x.json"], "source 'absent.pt' does not exist"),
    (["predict", "--bundle", "absent", "--input", "scans", "--output", "new"], "is neither a run folder"),
    (["predict", "--bundle", "run", "--input", "scans", "--output", "new"], "input 'scans' does not exist"),
    (["predict", "--bundle", "run", "--splt", "test", "--output", "new"], "did you mean 'split'"),
    (["bundle", "new", "full", "--datalist", "absent.json"], "'full' exists"),
    (["bundle", "new", "fresh", "--datalist", "absent.json"], "there is no file"),
    (["bundle", "new", "fresh", "--datalist", "absent.json", "--windw", "3"], "did you mean 'window'"),
    (["bundle", "render", "absent"], "'absent' has no task.yaml"),
    (["bundle", "check", "absent"], "'absent' is not a bundle"),
    (["compare", "absent"], "no scores at absent/scores_test.csv"),
    (["report", "absent"], "no folder 'absent'"),
    (["report", "--runs", "absent"], "no folder 'absent'"),
    (["study", "gather", "--output", "absent"], "'absent' is not a study"),
    (["study", "layers", "--target", BRATS, "--engine", "slurm"], "unknown engine 'slurm'"),
    (["study", "layers", "--target", BRATS, "--freeze", "2"], "--freeze differs from run to run"),
    (["datalist", "ixi", "--root", "absent"], "absent"),
    (["datalist", "ixi", "--root", "absent", "--incomplete", "skip"], "unknown incomplete 'skip'"),
    (["datalist", "brats", "--root", "absent"], "absent"),
    (["check", "absent", "--output", "new"], "'absent' does not exist"),
    (
        ["prepare", "ixi", "--t1", "a", "--t2", "b", "--labels", "c", "--output", "new", "--incomplete", "x"],
        "unknown incomplete 'x'",
    ),
    ([*PREPARE, "--incomplete", "x"], "unknown incomplete 'x'"),
    (PREPARE, "there is no"),
]


def test_trivial_errors_are_refused_before_anything_slow_is_imported(tmp_path, trained):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    answers = called([words for words, _ in REFUSALS], tmp_path)
    for (words, message), (code, out, err, slow) in zip(REFUSALS, answers, strict=True):
        assert (code, out, slow) == (2, "", []), (words, err)
        assert message in err
        assert err.startswith("monai_tl: ")
        assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "run"]


def test_stages_arms_sizes_and_sources_are_known_by_name(tmp_path, phantoms):
    """All that follows a datalist that is there."""
    common = ["--target", BRATS, "--dataset_dir", phantoms / "brats", "--source", "absent", "--output", "new"]
    refusals = [
        (["transfer", *common, "--freeze", "7"], "freeze takes 0–5"),
        (["transfer", *common, "--freeze", "res_9"], "did you mean 'res_"),
        (["transfer", *common, "--fresh", "conv2"], "no stage is called 'conv2'"),
        (["transfer", *common, "--modalities", "T1,PD"], "no modality 'PD'"),
        (["transfer", *common], "source 'absent' does not exist"),
        (["evaluate", *common], "source 'absent' does not exist"),
        (["study", "layers", *common, "--arms", "scratch,two"], "no strategy is called 'two'"),
        (["study", "layers", *common, "--seeds", "0"], "seeds takes"),
        (["study", "layers", *common, "--budget", "9=4"], "budget names an arm '9'"),
        (["study", "size", *common, "--sizes", "26"], "size 26 is 26"),
        (["study", "size", *common, "--sizes", "1"], "source 'absent' does not exist"),
    ]
    for (words, message), (code, _, err, slow) in zip(
        refusals, called([words for words, _ in refusals], tmp_path), strict=True
    ):
        assert (code, slow) == (2, []), (words, err)
        assert message in err
    assert list(tmp_path.iterdir()) == []


def test_help_imports_nothing_slow(tmp_path):
    commands = [[], ["--help"], ["transfer", "--help"], ["study", "--help"], ["study", "layers", "--help"], ["--version"]]
    for words, (code, out, err, slow) in zip(commands, called(commands, tmp_path), strict=True):
        assert (code, err, slow) == (0, "", []), words
        assert out
    assert Path(tmp_path).is_dir()


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end otherwise there")
def test_a_reader_that_has_gone_ends_a_verb_as_a_shell_ends_a_command(tmp_path):
    """As ``monai_tl transfer --help | head -n 0``: neither a traceback nor a message."""
    command = [sys.executable, "-m", "monai_tl", "transfer", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 141)
