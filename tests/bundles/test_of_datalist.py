"""A datalist alone as the target of a transfer: its bundle is made once, next to the runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from monai_tl.bundles.of_datalist import bundle_of_datalist
from monai_tl.bundles.verify import verify_bundle
from monai_tl.errors import ConfigError
from monai_tl.workflow.merged_config import read_run_config
from tests.conftest import TINY, mentions


@pytest.fixture
def flags(phantoms):
    words = {"datalist": phantoms / "brats" / "datalist.json", "classes": ["background", "tumour core"], **TINY}
    return [text for name, value in words.items() for text in (f"--{name}", str(value))]


def test_arms_share_the_bundle_that_the_first_one_made(verb, source, flags, tmp_path):
    first = verb("transfer", "--source", source, "--freeze", 2, "--output", tmp_path / "runs" / "one", *flags)
    assert first.code == 0, first.err
    bundle = tmp_path / "runs" / "brats_bundle"
    mentions(first.out, f"{bundle}: a bundle … tumour core", "why: … settings.md")
    made = {path: path.stat().st_mtime_ns for path in bundle.rglob("*")}
    assert verify_bundle(bundle).problems == ()
    assert read_run_config(tmp_path / "runs" / "one")["bundle_root"] == str(bundle)
    second = verb("transfer", "--scratch", "--output", tmp_path / "runs" / "two", *flags)
    assert second.code == 0, second.err
    mentions(second.out, f"{bundle}: the bundle of", "made before")
    assert {path: path.stat().st_mtime_ns for path in bundle.rglob("*")} == made
    assert verb("evaluate", "--run", tmp_path / "runs" / "two", "--split", "test").code == 0


def test_a_shared_bundle_has_the_source_s_settings_and_none_of_one_run(phantoms, source, tmp_path):
    """A quick trial must not shorten the run that follows it."""
    given = {"window": [24, 24, 24], "iterations": 2, "norm": "track", "classes": ["background", "tumour core"]}
    bundle = bundle_of_datalist(str(phantoms / "brats" / "datalist.json"), tmp_path, str(source), given)
    task = yaml.safe_load((bundle / "task.yaml").read_text())
    assert task["settings"]["window"] != [24, 24, 24]
    assert task["settings"]["iterations"] > 2
    assert "norm" not in task["settings"]
    assert task["settings"]["spacing"] == read_run_config(source)["spacing"]
    assert task["classes"] == ["background", "tumour core"]
    assert Path(task["datalist"]).name == "datalist.json"


@pytest.mark.parametrize(("folder", "name"), [("Task04 Hippocampus", "Task04_Hippocampus"), ("2024-ä", "task_2024")])
def test_the_name_is_that_of_the_data_s_folder(phantoms, source, tmp_path, folder, name):
    datalist = shutil.copytree(phantoms / "brats", tmp_path / folder) / "datalist.json"
    given = {"classes": ["background", "tumour core"]}
    assert bundle_of_datalist(str(datalist), tmp_path / "runs", str(source), given) == tmp_path / "runs" / f"{name}_bundle"


def test_what_cannot_be_meant_is_refused(verb, phantoms, source, flags, tmp_path):
    bare = verb("transfer", "--freeze", 2, "--output", tmp_path / "runs" / "one", *flags)
    assert bare.code == 2
    mentions(bare.err, "--datalist … --source")
    missing = verb("transfer", "--source", tmp_path / "nowhere", "--output", tmp_path / "runs" / "one", *flags)
    assert missing.code == 2
    mentions(missing.err, "nowhere' does not exist")
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())
    (tmp_path / "runs" / "brats_bundle").mkdir(parents=True)
    with pytest.raises(ConfigError) as refusal:
        bundle_of_datalist(str(phantoms / "brats" / "datalist.json"), tmp_path / "runs", str(source), {})
    mentions(str(refusal.value), "brats_bundle' exists … no bundle … --target … --output")


def test_a_bundle_of_other_data_is_not_taken(phantoms, source, tmp_path):
    given = {"classes": ["background", "tumour core"]}
    for folder in ("one", "two"):
        shutil.copytree(phantoms / "brats", tmp_path / folder / "brats")
    made = bundle_of_datalist(str(tmp_path / "one" / "brats" / "datalist.json"), tmp_path / "runs", str(source), given)
    assert bundle_of_datalist(str(tmp_path / "one" / "brats" / "datalist.json"), tmp_path / "runs", None, {}) == made
    with pytest.raises(ConfigError) as refusal:
        bundle_of_datalist(str(tmp_path / "two" / "brats" / "datalist.json"), tmp_path / "runs", str(source), given)
    mentions(str(refusal.value), "the bundle of … one/brats/datalist.json, not that of … two/brats/datalist.json")
