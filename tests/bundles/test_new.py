"""A bundle made from a datalist: what it holds, that it trains right away, and that nothing half-made stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from monai_tl import cli
from monai_tl.bundles import new, proposals
from monai_tl.bundles.new import NewBundle, new_bundle
from monai_tl.bundles.proposed_setting import Proposal
from monai_tl.bundles.rendering import render_bundle
from monai_tl.datasets.datalist import read_datalist
from monai_tl.errors import ConfigError
from monai_tl.transfer.network_of_source import AskedNetwork
from monai_tl.workflow.merged_config import source_of_target
from monai_tl.workflow.network_entry import network_def_of
from monai_tl.workflow.task_file import read_task_file
from tests.conftest import BRATS, IXI, TINY, mentions
from tests.networks.test_input_sizes import SMALL_UNETR

SPLIT = "0.5,0.17,0.33"
SIDES = {"left hippocampus": (17,), "right hippocampus": (53,)}


@pytest.fixture(scope="module")
def lists(tmp_path_factory, phantoms):
    """A folder of datalists of the phantoms: two sides that exclude each other, and the regions of BraTS, which overlap."""
    folder = tmp_path_factory.mktemp("lists")
    sides = "; ".join(f"{name}={values[0]}" for name, values in SIDES.items())
    cli.datalist_ixi(root=str(phantoms / "ixi"), split=SPLIT, regions=sides, output=str(folder / "sides.json"))
    cli.datalist_brats(root=str(phantoms / "brats"), split=SPLIT, regions="brats", output=str(folder / "brats.json"))
    return folder


@pytest.fixture(autouse=True)
def nothing_proposed(monkeypatch):
    """What is proposed is tested elsewhere; a test that needs proposals makes its own."""
    monkeypatch.setattr(proposals, "propose", lambda data, **_: ())
    monkeypatch.setattr(proposals, "proposals_page", lambda made: "# Settings\n" + "".join(f"{p.name}\n" for p in made))


def config(bundle: Path, name: str = "train") -> dict:
    return yaml.safe_load((bundle / "configs" / f"{name}.yaml").read_text(encoding="utf-8"))


def propose(monkeypatch, **values):
    made = tuple(Proposal(name, value, "measured") for name, value in values.items())
    monkeypatch.setattr(proposals, "propose", lambda data, **_: made)


def test_regions_that_exclude_each_other_make_a_softmax(verb, lists, tmp_path):
    bundle = tmp_path / "sides"
    answer = verb("bundle", "new", bundle, "--datalist", lists / "sides.json")
    assert answer.code == 0, answer.err
    train, task = config(bundle), read_task_file(bundle)
    assert train["classes"] == ["background", *SIDES]
    assert (train["modalities"], train["loss"]["_target_"]) == (["T1", "T2"], "DiceCELoss")
    assert task.texts["name"] == "sides"
    assert task.texts["label_classes"] == "one channel of label values: left hippocampus 17; right hippocampus 53"
    files = render_bundle(task)
    assert {name: (bundle / name).read_text(encoding="utf-8") for name in files} == files
    assert not (bundle / "docs" / "settings.md").exists(), "nothing was proposed"
    mentions(answer.out, "2 regions, exclusive … left hippocampus 17; right hippocampus 53; from T1, T2")
    mentions(answer.out, f"monai_tl bundle check {bundle}", f"monai_tl train --bundle {bundle}", f"--target {bundle}")


def test_regions_that_overlap_make_sigmoids(verb, lists, tmp_path):
    answer = verb("bundle", "new", tmp_path / "b", "--datalist", lists / "brats.json", "--name", "brats3")
    mentions(answer.out, "3 regions, may overlap", "tumour core 1, 4; whole tumour 1, 2, 4")
    train = config(tmp_path / "b")
    assert train["classes"] == ["tumour core", "whole tumour", "enhancing tumour"]
    assert train["loss"] == {"_target_": "monai_tl.training.losses.DiceBCELoss", "batch": True}
    assert read_task_file(tmp_path / "b").texts["name"] == "brats3"
    metadata = json.loads((tmp_path / "b" / "configs" / "metadata.json").read_text())
    assert metadata["network_data_format"]["outputs"]["pred"]["num_channels"] == 3


def test_some_regions_and_modalities_can_be_selected(monkeypatch, lists, tmp_path):
    """Settings are proposed for these alone."""
    seen = []
    monkeypatch.setattr(proposals, "propose", lambda data, **_: seen.append(data) or ())
    given = {"classes": ["whole tumour", "tumour core"], "modalities": ["T2"]}
    made = new_bundle(NewBundle(tmp_path / "b", read_datalist(lists / "brats.json"), given=given))
    assert (made.regions, made.exclusive) == ({"whole tumour": (1, 2, 4), "tumour core": (1, 4)}, False)
    assert (seen[0].regions, seen[0].modalities) == (made.regions, ("T2",))
    assert (config(tmp_path / "b")["modalities"], config(tmp_path / "b")["classes"]) == (["T2"], given["classes"])


def test_a_given_setting_wins_over_another_bundles_and_that_over_a_proposed_one(monkeypatch, lists, tmp_path):
    propose(monkeypatch, spacing=[2, 2, 2], window=[40, 40, 40], batch_size=8, inference_window=[40, 40, 40])
    data = read_datalist(lists / "sides.json")
    made = new_bundle(NewBundle(tmp_path / "one", data, given={"window": [16, 16, 16], "rotation": 3}))
    found = {choice.name: (choice.value, choice.reason) for choice in made.choices}
    assert found == {
        "spacing": ([2, 2, 2], "measured"), "window": ([16, 16, 16], "as given"),
        "batch_size": (8, "measured"), "rotation": (3, "as given"),
    }  # fmt: skip
    assert (tmp_path / "one" / "docs" / "settings.md").read_text() == "# Settings\nspacing\nbatch_size\n"
    mentions((tmp_path / "one" / "docs" / "README.md").read_text(), "[settings.md](settings.md)")
    assert {name: config(tmp_path / "one")[name] for name in found} == {name: value for name, (value, _) in found.items()}

    new_bundle(NewBundle(tmp_path / "two", data, like=tmp_path / "one", given={"spacing": "auto", "batch_size": 1}))
    assert read_task_file(tmp_path / "two").settings == {
        "spacing": [2, 2, 2], "window": [16, 16, 16], "batch_size": 1, "rotation": 3,
    }  # fmt: skip
    assert (tmp_path / "two" / "docs" / "settings.md").read_text() == "# Settings\nspacing\n"
    new_bundle(NewBundle(tmp_path / "three", data, like=IXI))
    assert config(tmp_path / "three")["window"] == config(IXI)["window"], "no proposal, as every setting is another bundle's"


def test_the_source_is_what_transfers_start_from(monkeypatch, verb, lists, source, tmp_path):
    seen = []
    monkeypatch.setattr(proposals, "propose", lambda data, *, source, like_source: seen.append(source) or ())
    monkeypatch.chdir(tmp_path)
    flags = ("--datalist", lists / "sides.json")
    assert verb("bundle", "new", "tasks/run", *flags, "--source", source).code == 0
    assert verb("bundle", "new", "tasks/other", *flags, "--source", BRATS).code == 0
    assert verb("bundle", "new", "tasks/none", *flags, "--source", "tasks/run").code == 0
    assert [contract.classes for contract in seen[:2]] == [("background", "hippocampus"), ("background", "tumour core")]
    assert config(Path("tasks/run"), "transfer")["source"] == str(source)
    metadata = json.loads((BRATS / "configs" / "metadata.json").read_text())
    metadata["preprocessing"]["orientation"] = "LPS"
    Path("weights").mkdir()
    Path("weights/metadata.json").write_text(json.dumps(metadata))
    assert verb("bundle", "new", "tasks/turned", *flags, "--source", "weights").code == 0
    assert config(Path("tasks/turned"))["orientation"] == "LPS"
    assert config(Path("tasks/none"), "transfer")["source"] == "$@bundle_root + '/../run'"
    assert (source_of_target("tasks/run"), source_of_target("tasks/none")) == (str(source), "tasks/run")
    answer = verb("transfer", "--target", "tasks/none", "--freeze", 2)
    mentions(answer.err, "source 'tasks/run' holds no weights")
    answer = verb("study", "layers", "--target", "tasks/none", "--plan", "--sizes", "all", "--arms", "2")
    mentions(answer.err, "source 'tasks/run' holds no weights")


def test_a_bundle_like_its_source(monkeypatch, verb, lists, tmp_path):
    """Also where another bundle's settings, or the cases, suggest others; what is given wins, what is unknown is named."""
    asked = []

    def made(data, *, source, like_source):
        asked.append((source.spacing, like_source))
        return (Proposal("spacing", [3, 3, 3], "measured"), Proposal("normalisation", "minmax", "measured"))

    monkeypatch.setattr(proposals, "propose", made)
    metadata = json.loads((BRATS / "configs" / "metadata.json").read_text())
    metadata["preprocessing"] = {"spacing": [3, 3, 3], "orientation": "LPS"}
    source = tmp_path / "source"
    source.mkdir()
    (source / "metadata.json").write_text(json.dumps(metadata))
    flags = ("--datalist", lists / "sides.json", "--like", IXI, "--source", source)
    assert verb("bundle", "new", tmp_path / "unlike", *flags).code == 0
    assert (config(tmp_path / "unlike")["spacing"], config(tmp_path / "unlike")["orientation"]) == ([1.0, 1.0, 1.0], "LPS")
    answer = verb("bundle", "new", tmp_path / "like", *flags, "--like_source")
    assert answer.code == 0, answer.err
    assert asked == [((3.0, 3.0, 3.0), True)]
    mentions(answer.out, "normalisation minmax: measured … unknown of the source … --accept_differences")
    made_of = config(tmp_path / "like")
    assert (made_of["spacing"], made_of["orientation"], made_of["normalisation"]) == ([3, 3, 3], "LPS", "minmax")
    assert verb("bundle", "new", tmp_path / "given", *flags, "--like_source", "--spacing", "2,2,2").code == 0
    assert config(tmp_path / "given")["spacing"] == [2, 2, 2]


def test_normalisations_reach_every_file_of_a_bundle(verb, lists, tmp_path):
    how = "window( -175.0,250),zscore_nonzero"
    answer = verb("bundle", "new", tmp_path / "b", "--datalist", lists / "sides.json", "--normalisation", how)
    assert answer.code == 0, answer.err
    expected = ["window(-175,250)", "zscore_nonzero"]
    assert config(tmp_path / "b")["normalisation"] == config(tmp_path / "b", "inference")["normalisation"] == expected
    metadata = json.loads((tmp_path / "b" / "configs" / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["preprocessing"]["normalisation"] == expected
    mentions((tmp_path / "b" / "docs" / "README.md").read_text(encoding="utf-8"), "clipped to -175 to 250", "non-zero voxels")
    assert verb("bundle", "check", tmp_path / "b").code == 0
    task = tmp_path / "b" / "task.yaml"
    text = task.read_text(encoding="utf-8")
    written = next(line for line in text.splitlines() if "normalisation:" in line)
    task.write_text(text.replace(written, "  normalisation: [window(-100,100), minmax]"), encoding="utf-8")
    assert verb("bundle", "render", tmp_path / "b").code == 0
    assert config(tmp_path / "b")["normalisation"] == ["window(-100,100)", "minmax"]
    task.write_text(text.replace(written, "  normalisation: [minmax, minmax, minmax]"), encoding="utf-8")
    mentions(verb("bundle", "render", tmp_path / "b").err, "one for each of the 2; got 3")


def test_paths_below_the_working_directory_are_relative_to_the_bundle(monkeypatch, lists, tmp_path):
    (tmp_path / "home" / "data").mkdir(parents=True)
    (tmp_path / "home" / "link").symlink_to("data")
    data = json.loads((lists / "sides.json").read_text())
    cases = [{key: str(lists / value) if key != "subject" else value for key, value in case.items()} for case in data["cases"]]
    (tmp_path / "home" / "data" / "a.json").write_text(json.dumps({**data, "cases": cases}))
    (tmp_path / "home" / "data" / "it's").mkdir()
    (tmp_path / "home" / "data" / "it's" / "a.json").write_text(json.dumps({**data, "cases": cases}))
    monkeypatch.chdir(tmp_path / "home")
    for name, datalist, folder in (
        ("one", "data/a.json", "$@bundle_root + '/../../data'"),
        ("two", "link/../data/a.json", "$@bundle_root + '/../../data'"),
        ("three", "link/a.json", "$@bundle_root + '/../../link'"),
        ("four", "data/it's/a.json", str(tmp_path / "home" / "data" / "it's")),
        ("five", str(lists / "sides.json"), str(lists)),
    ):
        new_bundle(NewBundle(Path("tasks") / name, read_datalist(datalist)))
        assert config(Path("tasks") / name)["dataset_dir"] == folder, name
    new_bundle(NewBundle(tmp_path / "outside", read_datalist("data/a.json")))
    assert config(tmp_path / "outside")["dataset_dir"] == str(tmp_path / "home" / "data")


@pytest.mark.parametrize(
    ("flags", "facts"),
    [
        ([], ["missing --datalist"]),
        (["--datalist", "none.json"], ["no file", "none.json", "monai_tl datalist"]),
        (["--datalist", "sides.json", "--name", "my task"], ["name takes", "'my task'", "--name"]),
        (["--datalist", "sides.json", "--windw", "3"], ["'windw'", "did you mean 'window'"]),
        (["--datalist", "sides.json", "--device", "cpu"], ["'device' is no setting"]),
        (["--datalist", "sides.json", "--window", "3"], ["window takes three whole numbers", "got 3"]),
        (["--datalist", "sides.json", "--spacing", "fine"], ["spacing takes auto, or three lengths", "'fine'"]),
        (["--datalist", "sides.json", "--iterations", "75"], ["iterations (75)", "validate_every"]),
        (["--datalist", "sides.json", "--class_ratios", "1,1,1,1"], ["class_ratios takes two numbers, or 3"]),
        (["--datalist", "sides.json", "--classes", "background,left"], ["no region 'left'", "left hippocampus"]),
        (["--datalist", "sides.json", "--classes", "a,a"], ["classes takes different names"]),
        (["--datalist", "sides.json", "--modalities", "T1,FLAIR"], ["no modality 'FLAIR'", "T1, T2"]),
        (["--datalist", "sides.json", "--normalisation", "window(400,-100)"], ["low (400) must be below high (-100)"]),
        (["--datalist", "sides.json", "--normalisation", "minmax,minmax,window(0,1)"], ["one for each of the 2; got 3"]),
        (["--datalist", "sides.json", "--like_source"], ["--like_source", "set --source"]),
        (["--datalist", "sides.json", "--like", "nowhere"], ["--like", "task.yaml", "'nowhere'"]),
        (["--datalist", "sides.json", "--source", "nowhere"], ["source 'nowhere' does not exist"]),
        (["--datalist", "sides.json", "--source", "."], ["source '.'", "metadata.json"]),
        (["--datalist", "brats.json", "--classes", "background,tumour core,whole tumour"], ["share label values (1, 4)"]),
    ],
)  # fmt: skip
def test_wrong_input_is_one_line_and_leaves_nothing(verb, monkeypatch, lists, tmp_path, flags, facts):
    monkeypatch.chdir(lists)
    answer = verb("bundle", "new", tmp_path / "b", *flags)
    assert answer.code == 2
    mentions(answer.err, *facts)
    assert "\n" not in answer.err.strip()
    assert os.listdir(tmp_path) == []


def test_a_folder_that_exists_is_not_touched(verb, lists, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "file").write_text("mine")
    for name in ("empty", "link", "file"):
        answer = verb("bundle", "new", tmp_path / name, "--datalist", lists / "sides.json")
        assert answer.code == 2
        mentions(answer.err, f"'{tmp_path / name}' exists", "nothing is overwritten")
    assert (tmp_path / "file").read_text() == "mine"
    assert list((tmp_path / "empty").iterdir()) == []
    for wrong in ("my task", "1st", "a.b", "ä"):
        answer = verb("bundle", "new", tmp_path / wrong, "--datalist", lists / "sides.json")
        mentions(answer.err, "name takes", f"'{wrong}'", "--name")
    assert verb("bundle", "new", "--datalist", lists / "sides.json").err.startswith("monai_tl: bundle new takes one folder")


def test_a_modality_that_configs_name_otherwise_is_refused(lists, tmp_path):
    content = (lists / "sides.json").read_text().replace('"T2"', '"image"')
    (lists / "image.json").write_text(content)
    with pytest.raises(ConfigError, match="'image'.*rename this modality"):
        new_bundle(NewBundle(tmp_path / "b", read_datalist(lists / "image.json")))


def test_a_call_that_is_interrupted_leaves_nothing(monkeypatch, lists, tmp_path):
    written = []

    def interrupted(path, text):
        written.append(path)
        if len(written) == 4:
            raise KeyboardInterrupt
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    monkeypatch.setattr(new, "write_text", interrupted)
    with pytest.raises(KeyboardInterrupt):
        new_bundle(NewBundle(tmp_path / "b", read_datalist(lists / "sides.json")))
    assert os.listdir(tmp_path) == []


def test_a_new_bundle_trains_by_both_ways_right_away(verb, lists, tmp_path):
    """With nothing but the folder: the datalist and the settings are the bundle's own."""
    bundle = tmp_path / "tasks" / "sides"
    tiny = {name: value for name, value in TINY.items() if name != "device"} | {"iterations": 2}
    flags = [text for name, value in tiny.items() for text in (f"--{name}", str(value).replace(" ", ""))]
    assert verb("bundle", "new", bundle, "--datalist", lists / "sides.json", *flags).code == 0
    answer = verb("train", "--bundle", bundle, "--output", tmp_path / "run", "--device", "cpu")
    assert answer.code == 0, answer.err
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/train.yaml"]
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    ours, theirs = ((folder / "model.pt").is_file() for folder in (tmp_path / "run", bundle / "models"))
    assert ours, "monai_tl"
    assert theirs, "monai.bundle"
    metadata = json.loads((tmp_path / "run" / "metadata.json").read_text())
    assert metadata["regions"] == {name: list(values) for name, values in SIDES.items()}


@pytest.mark.parametrize(
    ("network", "settings", "taken", "window"),
    [
        ("SegResNet", {"init_filters": 8}, {}, [24, 32, 40]),
        ("UNETR", SMALL_UNETR, {"img_size": [16, 32, 32]}, [16, 32, 32]),
    ],
)  # fmt: skip
def test_another_network_and_a_window_that_it_takes(monkeypatch, lists, tmp_path, network, settings, taken, window):
    def proposed(data, *, network=None, **_):
        return network.noted([network.window(Proposal("window", [28, 36, 40], "the network sees", ""))])

    monkeypatch.setattr(proposals, "propose", proposed)
    asked = AskedNetwork(network, settings)
    made = new_bundle(NewBundle(tmp_path / "b", read_datalist(lists / "sides.json"), network=asked))
    task = read_task_file(tmp_path / "b")
    assert task.network == made.network == {"name": network, **settings, **taken}
    assert task.settings["window"] == window
    mentions(made.choices[0].reason, f"HighRes3DNet sees … {network} takes multiples of")
    for name in ("train", "inference"):
        built = config(tmp_path / "b", name)
        assert "head_norm" not in built
        assert built["network_def"] == network_def_of(task.network)
    metadata = json.loads((tmp_path / "b" / "configs" / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["description"].startswith(f"{network} that segments")
    assert not [text for text in metadata["references"] if "compactness" in text]
    texts = [(tmp_path / "b" / name).read_text(encoding="utf-8") for name in render_bundle(task)]
    assert not [text for text in texts if "HighRes3DNet" in text or "0–5" in text]

    like = new_bundle(NewBundle(tmp_path / "c", read_datalist(lists / "sides.json"), like=tmp_path / "b"))
    assert like.network == made.network, "its settings are for this network"


def test_mistakes_in_a_network_leave_nothing(verb, lists, tmp_path):
    new = ("bundle", "new", tmp_path / "b", "--datalist", lists / "sides.json")
    for given, facts in (
        (("--network", "SegRestNet"), "'SegRestNet' … 'SegResNet'"),
        (("--network", "SegResNet", "--set", "a=1"), "no argument 'a'"),
        (("--network", "SegResNet", "--window", "[20,20,20]"), "[20,20,20] … SegResNet"),
        (("--network", "SegResNet", "--head_norm", "true"), "head_norm … HighRes3DNet"),
        (("--network", "like_source"), "like_source … --source"),
        (("--network", "UNet", "--stages", "[1]"), "stages takes auto"),
    ):
        answer = verb(*new, *given)
        assert (answer.code, answer.err.count("\n")) == (2, 1), answer.err
        mentions(answer.err, facts)
    assert not list(tmp_path.iterdir())
