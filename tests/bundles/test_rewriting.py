"""A bundle rendered again: it follows its task.yaml, and no edit is lost unasked."""

from __future__ import annotations

import json
import shutil

import pytest

from monai_tl.bundles.rendering import RECORD
from monai_tl.bundles.rewriting import rewrite_bundle
from monai_tl.errors import ConfigError, DataError
from tests.conftest import BRATS, mentions


@pytest.fixture
def bundle(tmp_path):
    return shutil.copytree(BRATS, tmp_path / "bundle", ignore=shutil.ignore_patterns("models", "predictions"))


def change(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_unchanged_bundle_stays_as_it_is(verb, bundle):
    before = content(bundle)
    answer = verb("bundle", "render", bundle)
    assert (answer.code, answer.out) == (0, f"{bundle}: every file is as rendered from task.yaml\n")
    assert content(bundle) == before


def test_files_follow_the_task(verb, bundle):
    before = content(bundle)
    change(bundle / "task.yaml", "classes: [background, tumour core]", "classes: [background, oedema]")
    (bundle / "LICENSE").unlink()
    answer = verb("bundle", "render", bundle)
    assert answer.code == 0, answer.err
    after = content(bundle)
    changed = {name for name in before if after[name] != before[name]}
    configs = {f"configs/{name}" for name in ("train.yaml", "inference.yaml", "metadata.json")}
    assert changed == {"task.yaml", "docs/README.md", RECORD, *configs}
    assert before.keys() == after.keys(), "LICENSE is back"
    mentions(answer.out, f"written: {bundle}/LICENSE", f"written: {bundle}/configs/train.yaml")
    assert verb("bundle", "render", bundle).out.endswith("every file is as rendered from task.yaml\n")


def test_an_edit_is_kept_where_nothing_else_would_change(verb, bundle):
    change(bundle / "configs" / "train.yaml", "iterations: 600", "iterations: 1000")
    change(bundle / "task.yaml", "data_source: BraTS 2018", "data_source: BraTS 2023")
    edited = (bundle / "configs" / "train.yaml").read_bytes()
    answer = verb("bundle", "render", bundle)
    assert answer.code == 0, answer.err
    mentions(answer.out, f"written: {bundle}/configs/metadata.json", f"kept as edited: {bundle}/configs/train.yaml")
    assert (bundle / "configs" / "train.yaml").read_bytes() == edited
    assert json.loads((bundle / "configs" / "metadata.json").read_text())["data_source"].startswith("BraTS 2023")


def test_an_edit_that_would_be_lost_stops_everything_until_it_is_given_up(verb, bundle):
    change(bundle / "configs" / "train.yaml", "iterations: 600", "iterations: 1000")
    change(bundle / "task.yaml", "classes: [background, tumour core]", "classes: [background, oedema]")
    before = content(bundle)
    answer = verb("bundle", "render", bundle)
    assert answer.code == 2
    mentions(answer.err, "nothing was written", "task.yaml", "--force", "configs/train.yaml")
    assert "inference" not in answer.err, "it was not edited"
    assert content(bundle) == before
    answer = verb("bundle", "render", bundle, "--force")
    mentions(answer.out, f"written: {bundle}/configs/inference.yaml", f"replaced: {bundle}/configs/train.yaml")
    assert "iterations: 600" in (bundle / "configs" / "train.yaml").read_text()
    assert verb("bundle", "render", bundle).out.endswith("every file is as rendered from task.yaml\n")


def test_a_call_that_was_killed_is_repeated(bundle):
    """Files that it had written are no edits, although the record is older."""
    shutil.copytree(bundle, bundle.parent / "whole")
    for folder in (bundle, bundle.parent / "whole"):
        change(folder / "task.yaml", "classes: [background, tumour core]", "classes: [background, oedema]")
    rewrite_bundle(bundle.parent / "whole")
    shutil.copy(bundle.parent / "whole" / "configs" / "train.yaml", bundle / "configs")
    rewrite = rewrite_bundle(bundle)
    assert "configs/inference.yaml" in rewrite.changed
    assert (rewrite.kept, rewrite.edited) == ((), ())
    assert content(bundle) == content(bundle.parent / "whole")


def test_a_bundle_made_by_hand_gets_what_it_lacks(bundle):
    """From then on, its own files count as edited."""
    for name in (RECORD, "configs/transfer.yaml"):
        (bundle / name).unlink()
    change(bundle / "configs" / "train.yaml", "iterations: 600", "iterations: 1000")
    before = content(bundle)
    rewrite = rewrite_bundle(bundle)
    assert (rewrite.new, rewrite.kept) == (("configs/transfer.yaml", RECORD), ("configs/train.yaml",))
    assert {name: text for name, text in content(bundle).items() if name in before} == before
    change(bundle / "task.yaml", "classes: [background, tumour core]", "classes: [background, oedema]")
    with pytest.raises(ConfigError, match=r"configs/train\.yaml"):
        rewrite_bundle(bundle)


def test_a_damaged_record_is_named(bundle):
    (bundle / RECORD).write_text("{}")
    with pytest.raises(DataError, match=f"{RECORD}.*lacks files.*remove it"):
        rewrite_bundle(bundle)


def test_wrong_calls(verb, tmp_path, bundle):
    mentions(verb("bundle", "render", tmp_path / "nowhere").err, "nowhere' has no task.yaml", "monai_tl bundle new")
    mentions(verb("bundle", "render").err, "bundle render takes one folder … none")
    change(bundle / "task.yaml", "name: ", "nam: ")
    mentions(verb("bundle", "render", bundle).err, "unknown entry 'nam'", "did you mean 'name'")
