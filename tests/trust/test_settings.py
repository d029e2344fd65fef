"""Settings of a wrong kind or out of range, text that programs read as something else, letters that a terminal lacks."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from monai_tl.workflow.merged_config import read_run_config
from tests.conftest import BRATS, IXI, ROOT, TINY, Answer, leave_scores, mentions, score_of
from tests.trust.conftest import head, write_image

TOPIC = "Settings"
EDGES = "takes three whole numbers from 1 to 1024 (voxels), e.g. [32,32,32]"
THREE = "['background','a','b']"
TWICE = "['background','a','a']"
CLASSES = "classes takes different names: background, then a region each … or regions alone"


@pytest.fixture
def train(verb, phantoms, tmp_path):
    """Train on phantoms with other flags; gives the answer and where the run would be."""

    def call(*words, **flags):
        run = tmp_path / "out" / "run"
        flags = {"bundle": BRATS, "dataset_dir": phantoms / "brats", "output": run, **TINY, **flags}
        options = [str(part) for name, value in flags.items() for part in (f"--{name}", value)]
        return verb("train", *options, *words), run

    return call


def refused(answer, output, *texts):
    """One line of ours (or a headline with a line a problem), exit code 2, nothing made."""
    assert answer.code == 2, answer
    assert answer.err.startswith("monai_tl: ")
    assert "Traceback" not in answer.err + answer.out
    for text in texts:
        mentions(answer.err, text)
    assert not output.exists()
    assert not output.parent.is_dir() or not list(output.parent.glob(".*")), "something half written was left"


WRONG = {
    "window": [
        "16",
        "[0,0,0]",
        "[16.5,16,16]",
        "[-1,16,16]",
        "[16,16]",
        "[16,16,16,16]",
        "[16,16,None]",
        "wide",
        "[2000,16,16]",
    ],
    "inference_window": ["12", "[12,12]", "[12,12,0]"],
    "batch_size": ["0", "-2", "1.5", "2.0", "two", "None", "1_0", "010"],
    "class_ratios": ["[1]", "[]", "[0,0]", "[0,0,0]", "[-1,2]", "1", "[1,nan]"],
    "inference_overlap": ["1", "1.0", "2", "-0.1", "nan", "25%"],
    "workers": ["-1", "2.5", "many"],
    "patience": ["-1", "10.5", "none"],
    "warm_up": ["nan", "inf", "1.5", "-0.1", "0,1"],
    "seed": ["-1", "None", "1.5", "4294967296", "1e3", "true"],
    "iterations": ["0", "4.0", "1e3"],
    "validate_every": ["0", "inf"],
    "learning_rate": ["0", "-0.1", "nan", "fast", "1e999"],
    "weight_decay": ["-1", "inf"],
    "rotation": ["-10", "200", "10deg"],
    "scaling": ["1", "-0.1", "10%"],
    "cache_rate": ["-1", "2", "all"],
    "stage_rate": ["0", "-1"],
    "head_rate": ["0", "nan"],
    "head_norm": ["maybe", "yes", "1", "None"],
    "resume": ["no", "2"],
    "spacing": ["1", "[1,1]", "[0,1,1]", "[1,1,inf]"],
    "orientation": ["RAL", "ras", "XYZ"],
    "modalities": ["[]", "['T1','T1']", "{'T1'}", "T1,", "['T1#2']"],
    "classes": [TWICE, "[]", "['a','a']"],
    "device": ["gpu", "cuda0", "2"],
    "precision": ["half", "16"],
    "val_interval": ["2", "0"],
    "dataset_dir": ["", " ", "/data/#1"],
}


@pytest.mark.parametrize("name", WRONG)
def test_a_setting_of_a_wrong_kind_or_out_of_range_is_one_line_and_leaves_nothing(train, name):
    for text in WRONG[name]:
        answer, run = train(**{name: text})
        refused(answer, run, name, text.strip() or "got '")
        assert answer.err.count("\n") == 1, answer.err


@pytest.mark.slow
def test_the_command_that_was_refused_works_once_it_is_mended(train, says):
    answer, run = train(window="16")
    refused(answer, run)
    came = "`--window 16`, `--batch_size 0`, `--seed -1`, `--warm_up nan`, … : a setting of a wrong kind or out of its range"
    says(TOPIC, came, "all verbs, `python -m monai.bundle run`", answer, f"window {EDGES}; got 16")
    answer, run = train(window="16,16,16", iterations=2)
    assert answer.code == 0, answer.err
    assert read_run_config(run)["window"] == [16, 16, 16]
    assert read_run_config(run)["seed"] == 0


def test_all_that_is_wrong_is_said_at_once(train):
    answer, run = train(window="16", batch_size="0", seed="None", head_norm="maybe")
    refused(answer, run, "4 settings", "window takes", "batch_size takes", "seed takes", "head_norm takes")
    assert len(answer.err.splitlines()) == 5


def test_settings_that_contradict_each_other(train, says):
    answer, run = train(iterations=3)
    refused(answer, run, "iterations (3) … validate_every (2)")
    answer, run = train(patience=1)
    refused(answer, run, "patience (1) … iterations … validate_every (2)")
    came = "`--patience 1` where validations are 2 iterations apart, as if it counted validations"
    says(TOPIC, came, "`train`, `transfer`, `study`", answer, "patience (1) … iterations")
    answer, run = train(classes="['tumour core','background']")
    refused(answer, run, "classes … background … ['tumour core', 'background']")
    refused(*train(classes="['background']"), "classes … background … ['background']")
    refused(*train(classes="['tumour core']"), "DiceCELoss … softmax … DiceBCELoss")
    answer, run = train(class_ratios="[1,1,1]")
    refused(answer, run, "class_ratios takes two numbers … background, tumour core … got [1, 1, 1]")
    assert "Loading" not in answer.err, "before the cases are loaded"
    answer, run = train(epochs=7)
    refused(answer, run, "iterations … validate_every")


def test_yes_and_no_are_neither_true_nor_false(verb, tiny_flags, tmp_path, says):
    run = tmp_path / "out" / "run"
    for text in ("no", "yes", "maybe", "1", "off", "None"):
        answer = verb("transfer", *tiny_flags, "--output", run, "--accept_differences", text)
        refused(answer, run, f"accept_differences … {text if text == '1' else repr(text)}")
    answer = verb("transfer", *tiny_flags, "--output", run, "--accept_differences", "no")
    says(TOPIC, "`--accept_differences no`, which accepted them", "all verbs, each yes or no", answer, "got 'no'")
    refused(verb("transfer", *tiny_flags, "--scratch", "nope", "--output", run), run, "scratch takes true or false")
    refused(verb("check", tmp_path, "--output", run, "--anonymous=yes"), run, "anonymous takes true or false; got 'yes'")
    refused(verb("stages", "--set", "head_norm=0"), run, "head_norm … 0")
    refused(
        verb("predict", "--bundle", "x", "--output", run, "--probabilities", "no"), run, "probabilities takes true or false"
    )
    other = ("--spacing", "[0.9,0.9,0.9]", "--output", run)
    answer = verb("transfer", *tiny_flags, *other, "--accept_differences", "FALSE")
    refused(answer, run, "spacing: source … target … --accept_differences")
    answer = verb("transfer", *tiny_flags, "--accept_differences", *other)
    assert answer.code == 0, answer.err
    assert read_run_config(run)["accept_differences"] is True


def test_label_values_are_whole_numbers(verb, phantoms, tmp_path, says):
    output = tmp_path / "out" / "d.json"
    ixi, brats = phantoms / "ixi", phantoms / "brats"
    files = [f"--{role}={ixi}/{folder}/{{subject}}-{role if role != 'label' else 'aseg'}.nii.gz" for role, folder in
             (("T1", "IXI-T1"), ("label", "aseg"))]  # fmt: skip
    for text in ("1.4", "17.53", "1e3", "nan", "-1", "0", "17;53", "17 53", "17,,53", "17,", "17,17", "true", "0x11"):
        said = "foreground takes different label values, whole numbers from 1, separated by commas, e.g. 1,4; got "
        for words in (("ixi", "--root", ixi), ("brats", "--root", brats), ("files", *files)):
            answer = verb("datalist", *words, "--output", output, f"--foreground={text}")
            refused(answer, output, said, text)
        answer = verb("datalist", "brats", "--root", brats, "--foreground", "1,4", f"--labels={text}", "--output", output)
        refused(answer, output, "labels … label", text)
        answer = verb("check", brats, "--output", tmp_path / "qc", f"--foreground={text}")
        refused(answer, tmp_path / "qc", said, text)
    answer = verb("datalist", "files", *files, "--output", output, "--foreground", "1.4")
    came = "`--foreground 1.4`, a slip for 1,4, of which 1 was taken"
    says(TOPIC, came, "`datalist`, `check`, datalists mended by hand", answer, "; got 1.4")
    answer = verb("datalist", "files", *files, "--output", output, "--foreground", "17,53")
    assert answer.code == 0, answer.err
    assert json.loads(output.read_text())["regions"] == {"foreground": [17, 53]}


def test_a_datalist_mended_by_hand_holds_whole_label_values(verb, phantoms, tmp_path):
    content = json.loads((phantoms / "brats" / "datalist.json").read_text())
    for case in content["cases"]:
        case.update({role: str(phantoms / "brats" / case[role]) for role in ("T1", "T2", "label")})
    path, run = tmp_path / "datalist.json", tmp_path / "out" / "run"
    for key, value in (
        ("regions", {"foreground": [1.4]}),
        ("regions", {"foreground": [True]}),
        ("regions", {"foreground": "14"}),
        ("regions", {"foreground": 1}),
        ("labels", [1, 2, 4.0]),
    ):
        path.write_text(json.dumps({**content, key: value}))
        answer = verb("train", "--bundle", BRATS, "--datalist", path, "--output", run)
        refused(answer, run, f"{key[:6]} … label … 1", f"{path}: ")


def test_classes_that_the_datalist_lacks_are_refused_by_each_verb(verb, train, tiny_flags, source, phantoms, tmp_path, says):
    lacking = "no region 'a' … foreground … --regions"
    answer, run = train(classes=THREE)
    refused(answer, run, lacking)
    came = "`classes` of three names for a label of two values, which trained and printed a Dice"
    says(TOPIC, came, "`train`, `transfer`, `evaluate`, `predict`, `study`, `python -m monai.bundle run`", answer, lacking)
    refused(verb("transfer", *tiny_flags, "--output", run, "--classes", THREE), run, lacking)
    layers = ("study", "layers", *tiny_flags, "--arms", "scratch", "--seeds", "1", "--output", run, "--classes", THREE)
    refused(verb(*layers), run, lacking)
    other = "classes … [background, hippocampus] … [background, a, b]"
    refused(verb("evaluate", "--run", source, "--classes", THREE, "--scores", run), run, other)
    words = ("predict", "--bundle", source, "--input", phantoms / "ixi", "--output", run)
    refused(verb(*words, "--classes", THREE), run, other)
    trained = shutil.copytree(source, tmp_path / "trained")
    config = {**read_run_config(trained), "classes": ["background", "left", "right"]}
    (trained / "config.yaml").write_text(yaml.safe_dump(config))
    other = "classes … [background, hippocampus] … [background, left, right]"
    refused(verb("evaluate", "--run", trained, "--scores", run), run, other)
    refused(verb("predict", "--bundle", trained, "--input", phantoms / "ixi", "--output", run), run, other)


def test_what_an_edited_config_says_is_checked_too(train, tmp_path, says):
    bundle = shutil.copytree(BRATS, tmp_path / "bundle", ignore=shutil.ignore_patterns("models"))
    path = bundle / "configs" / "train.yaml"
    plain = path.read_text().replace("- $check_settings() ", "- $print() ")  # as in a bundle made before there was such a check

    def edited(name, value):
        text = re.sub(rf"(?m)^{name}: .*$", f"{name}: {value}", plain)
        assert text != plain
        path.write_text(text)
        return train(bundle=bundle)

    answer, run = edited("learning_rate", "1e-4")
    refused(answer, run, "learning_rate … above 0", "text … 0.0001")
    came = "`learning_rate: 1e-4` in a config, which YAML reads as text"
    says(TOPIC, came, "all verbs, `python -m monai.bundle run`", answer, "text … 0.0001")
    refused(*edited("head_norm", "maybe"), "head_norm takes true or false; got 'maybe'")
    refused(*edited("classes", "[background, no]"), CLASSES, "['background', False]")
    refused(*edited("warm_up", ".nan"), "warm_up takes a number from 0 to 1", "got nan")
    refused(*edited("weight_decay", "$1 / 0"), "weight_decay: $1 / 0 cannot be evaluated", "ZeroDivisionError")
    refused(*edited("class_ratios", "$[0] * 3"), "class_ratios takes two numbers", "got [0, 0, 0]")
    refused(*edited("cache_rate", '"@warmup"'), "cache_rate: @warmup cannot be evaluated")


def test_numbers_of_other_verbs(verb, phantoms, source, tmp_path):
    output = tmp_path / "out"
    ixi = phantoms / "ixi"
    cases = [
        (("phantom", "--subjects", "0", "--output", output), "subjects takes a whole number from 1; got 0"),
        (("phantom", "--subjects", "2.5", "--output", output), "subjects takes a whole number from 1; got 2.5"),
        (("phantom", "--subjects", "2", "--size", "16", "--output", output), "size takes a whole number from 32 (voxels)"),
        (("phantom", "--subjects", "2", "--seed", "-1", "--output", output), "seed takes a whole number from 0"),
        (("datalist", "ixi", "--root", ixi, "--seed", "-1", "--output", output), "seed takes a whole number from 0"),
        (("datalist", "ixi", "--root", ixi, "--seed", "1.5", "--output", output), "got 1.5"),
        (("datalist", "ixi", "--root", ixi, "--seed", "None", "--output", output), "got 'None'"),
        (("datalist", "ixi", "--root", ixi, "--split", "0.5;0.5", "--output", output), "numbers separated by commas"),
        (("datalist", "ixi", "--root", ixi, "--split", "nan,1,0", "--output", output), "got 'nan,1,0'"),
        (("check", ixi, "--output", output, "--processes", "0"), "processes takes a whole number from 1; got 0"),
        (("check", ixi, "--output", output, "--processes", "two"), "got 'two'"),
        (("prepare", "ixi", "--t1", ixi, "--t2", ixi, "--labels", ixi, "--output", output, "--processes", "-1"), "got -1"),
        (("compare", source, "--seed", "-1"), "seed takes a whole number from 0"),
        (("compare", source, "--seed", "0.5"), "got 0.5"),
        (("stages", "--in_channels", "0"), "in_channels takes a whole number from 1; got 0"),
        (("stages", "--out_channels", "two"), "out_channels takes a whole number from 1; got 'two'"),
        (("study", "layers", "--parallel", "0"), "parallel takes a whole number from 1 (runs at a time); got 0"),
        (("study", "size", "--engine", "rai"), "unknown engine 'rai': did you mean 'ray'? There are: here, ray"),
        (("study", "size", "--plan", "no"), "plan takes true or false"),
        (("study", "depth", "--gain", "2", "--search"), "gain takes a number from 0 and below 1 (a difference in Dice)"),
        (("study", "layers", "--seeds", "1.5"), "seeds … (3)"),
        (("study", "layers", "--iterations", "ten", "--arms", "scratch"), "iterations takes a whole number from 1"),
        (("evaluate", "--run", source, "--split", "tests"), "unknown split 'tests': did you mean 'test'?"),
        (("transfer", "--freeze", "2.0"), "freeze takes the number of frozen stages"),
        (("transfer", "--freeze", "-1"), "got -1"),
        (("transfer", "--fresh", ""), "fresh takes stages separated by commas, e.g. conv_1,conv_2, or none; got ''"),
        (("train", "--bundle", IXI, "--output", ""), "output takes text that is not empty; got ''"),
        (("predict", "--bundle", source, "--output", output, "--inference_overlap", "1"), "inference_overlap takes"),
    ]
    for words, text in cases:
        refused(verb(*words), output, text)


@pytest.mark.parametrize(
    "engine_words", [("--workers", "-1"), ("--window", "12"), ("--batch_size", "0"), ("--class_ratios", "[1]")]
)
def test_a_study_refuses_what_none_of_its_runs_could_use(verb, tiny_flags, tmp_path, engine_words):
    words, output = list(tiny_flags), tmp_path / "out" / "study"
    name, value = engine_words
    if name in words:
        words[words.index(name) + 1] = value
    else:
        words += engine_words
    answer = verb("study", "layers", *words, "--arms", "scratch,2", "--seeds", "1", "--output", output)
    refused(answer, output, name[2:], value)
    assert "cannot be built" not in answer.err


def test_parts_of_a_config_are_read_by_what_they_replace(train, tmp_path):
    for name, text, said in (
        ("validate#inferer#inferer#overlap", "2", "takes a number from 0 and below 1"),
        ("network_def#head_norm", "no", "takes true or false"),
        ("train#trainer#optim_set_to_none", "yes", "takes true or false"),
        ("train#trainer#max_epochs", "2_0", "takes a whole number from 1; got 2_0"),
        ("crop#margin", "wide", "takes a number, or a list of numbers; got 'wide'"),
        ("scheduler#warmup_multiplier", "2", "the config cannot be built with these values of scheduler#warmup_multiplier"),
    ):
        answer, run = train(**{name: text})
        assert answer.code == 2, answer
        assert f"monai_tl: {said}" in answer.err or f"{name} {said}" in answer.err, answer.err
        assert not run.exists()


def own_pairs(folder, subjects=("ann", "bob", "cyd")):
    for number, subject in enumerate(subjects):
        for role, volume in head(number).items():
            write_image(folder / role / f"{subject}.nii.gz", volume)


@pytest.mark.parametrize("folder", ["it's here", "{a}", "2013_10", "None", "[a]", "ä ö", "-x", "1e3", "True", "a=b"])
def test_text_arrives_as_it_was_typed(verb, tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    own_pairs(tmp_path / folder)
    patterns = [f"--{role}={folder}/{role}/{{subject}}.nii.gz" for role in ("T1", "T2", "label")]
    answer = verb("datalist", "files", *patterns, "--foreground", "1", f"--output={folder}/d.json", "--split", "0.34,0.33,0.33")
    assert answer.code == 0, answer.err
    assert json.loads((tmp_path / folder / "d.json").read_text())["splits"]["train"], folder


def test_predictions_are_where_they_were_said_to_be(verb, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own_pairs(tmp_path / "{a}", ("ann",))
    patterns = ("--T1", "{a}/T1/{subject}.nii.gz", "--T2", "{a}/T2/{subject}.nii.gz")
    answer = verb("predict", "--bundle", source, *patterns, "--output", "{a}/it's 1e3")
    assert answer.code == 0, answer.err
    assert (tmp_path / "{a}" / "it's 1e3" / "ann_seg.nii.gz").is_file()
    answer = verb("predict", "--bundle", source, *patterns, "--output", "#1")
    refused(answer, tmp_path / "#1", "# … MONAI … '#1'")
    assert not (tmp_path / "::1").exists()


def test_a_pattern_alone_is_no_set(verb, source, tmp_path, monkeypatch, says):
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "out" / "predictions"
    for text in ("{subject}", "['{subject}']", "it's {subject}.nii.gz", "{'a': '{subject}'}"):
        answer = verb("predict", "--bundle", source, "--T1", text, "--T2", "{subject}", "--output", output)
        refused(answer, output, "no file matches", f"T1: {tmp_path}/{text}; ")
    answer = verb("predict", "--bundle", source, "--T1", "{subject}", "--T2", "{subject}", "--output", output)
    says(TOPIC, "`--T1 '{subject}'`, which became the set `{'subject'}`", "all verbs", answer, "no file matches", "{subject}")


@pytest.mark.slow
def test_a_users_own_id_takes_text_as_it_was_typed(train, phantoms, tmp_path):
    bundle = shutil.copytree(BRATS, tmp_path / "bundle", ignore=shutil.ignore_patterns("models"))
    path = bundle / "configs" / "train.yaml"
    path.write_text(path.read_text().replace("\n# What\n", "\nname: first\nshare: 0.5\nkinds: [a]\nloud: false\n\n# What\n", 1))
    answer, run = train(bundle=bundle, name="2013_10", iterations=2, share="1e-4", kinds="[b, 2013_10]", loud="true")
    assert answer.code == 0, answer.err
    config = read_run_config(run)
    assert (config["name"], config["share"], config["kinds"], config["loud"]) == ("2013_10", 1e-4, ["b", "2013_10"], True)
    answer, _ = train(bundle=bundle, share="half", loud="no", output=tmp_path / "other")
    refused(
        answer,
        tmp_path / "other",
        "'half'",
        "loud takes true or false; got 'no'",
    )


def by_monai(config, tmp_path, **flags):
    """Run a config by MONAI's own command."""
    words = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    command = [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", "--config_file", str(config), *words]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


@pytest.mark.slow
def test_monais_own_command_refuses_them_in_a_line_too(phantoms, source, tmp_path, verb):
    run = tmp_path / "run"
    own = {"bundle_root": BRATS, "dataset_dir": phantoms / "brats", "run_dir": run}
    done = by_monai(BRATS / "configs" / "train.yaml", tmp_path, **own, window=16, seed=-1, head_norm="false", classes=TWICE)
    assert done.returncode == 2
    assert done.stderr.startswith("monai_tl: 4 settings are invalid:")
    for text in (f"window {EDGES}; got 16", "seed takes", "head_norm takes true or false; got 'false'", CLASSES):
        mentions(done.stderr, text)
    assert len(done.stderr.splitlines()) == 5
    done = by_monai(BRATS / "configs" / "train.yaml", tmp_path, **own, seed="None")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("monai_tl: seed: MONAI's command line ignores None; write seed: null into a config")
    done = by_monai(BRATS / "configs" / "inference.yaml", tmp_path, ckpt=source / "model.pt", **own, inference_overlap=2)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("monai_tl: inference_overlap takes a number from 0 and below 1")
    assert list(tmp_path.iterdir()) == []


def in_a_shell(encoding, folder, *words):
    """Call python with stdout and stderr in an encoding; gives exit code and what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, *map(str, words)], cwd=folder, capture_output=True, env=environment)
    return Answer(done.returncode, done.stdout.decode(encoding), done.stderr.decode(encoding))


@pytest.mark.slow
def test_output_that_cannot_be_encoded_ends_no_verb(tmp_path, says):
    encoding = "cp1252"
    scores = {"α": 0.9, "β": 0.5}
    for name, dice in scores.items():
        (tmp_path / name).mkdir()
        leave_scores(tmp_path / name, [score_of(f"s{n}", dice - n / 100, 1.0, 2.0, 2.0, 1.0) for n in range(6)])
    answer = in_a_shell(encoding, tmp_path, "-m", "monai_tl", "compare", "α", "β")
    assert answer.code == 0, answer.err
    assert "\\u03b2 - \\u03b1" in answer.out
    assert ": -0.400 [" in answer.out, "the sign of a difference is not lost"
    came = "a minus sign for a terminal that has none (`PYTHONIOENCODING=cp1252`), which ended in a traceback"
    says(TOPIC, came, "all verbs, their help and errors", answer, ": -0.400 [")
    answer = in_a_shell("ascii", tmp_path, "-m", "monai_tl", "--help")
    assert answer.code == 0, answer.err
    answer = in_a_shell(encoding, tmp_path, "-m", "monai_tl", "train", "--bundle", "α≥β")
    assert answer.code == 2
    assert answer.err.startswith("monai_tl: '\\u03b1>=\\u03b2' is not a bundle")


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_every_letter_of_the_package_can_be_printed_in_processes_too(encoding, tmp_path):
    letters = sorted(
        {letter for path in (ROOT / "monai_tl").rglob("*.py") for letter in path.read_text("utf-8") if letter > "~"}
    )
    assert "−" in letters
    text = "".join(letters) + "\udcff"
    (tmp_path / "letters.py").write_text(
        "import sys\nfrom monai_tl import __main__, cli\nfrom monai_tl.storage.processes import run_each\n"
        f"TEXT = {text!a}\n"
        "def stages():\n"
        "    print(TEXT)\n"
        "    print(TEXT, file=sys.stderr)\n"
        "    print([outcome.fault for _, outcome in run_each(print, {'one': TEXT}, 1)])\n"
        "if __name__ == '__main__':\n"
        "    cli.VERBS['stages'] = stages\n"
        "    sys.argv = ['monai_tl', 'stages']\n"
        "    sys.exit(__main__.main())\n"
    )
    answer = in_a_shell(encoding, tmp_path, "letters.py")
    assert answer.code == 0, answer.err
    assert "['']" in answer.out
    assert "UnicodeEncodeError" not in answer.err + answer.out
    assert "\\udcff" in answer.out
