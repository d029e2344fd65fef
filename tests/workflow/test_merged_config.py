"""Configs are merged, and their references found, as MONAI does it."""

from __future__ import annotations

import pytest
from monai.bundle import ConfigParser
from monai.bundle.reference_resolver import ReferenceResolver

from monai_tl.errors import ConfigError
from monai_tl.workflow.merged_config import (
    bundle_config,
    default_of,
    has_id,
    merge_configs,
    normal_id,
    plain_text,
    read_yaml,
    references,
    set_id,
    texts,
    value_at,
)
from tests.conftest import BRATS, ROOT

CONFIGS = sorted((ROOT / "bundles").rglob("configs/*.yaml"))
OVERLAYS = [path for path in CONFIGS if path.stem != "train" and (path.parent / "train.yaml").is_file()]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parts[-3]}/{path.stem}")
def test_each_config_is_read_and_merged_as_monai_does(path):
    files = [path.parent / "train.yaml", path] if path in OVERLAYS else [path]
    parser = ConfigParser()
    parser.read_config([str(file) for file in files])
    now = merge_configs(files)
    assert now == {key: value for key, value in parser.get().items() if key != "_meta_"}
    assert list(now) == [key for key in parser.get() if key != "_meta_"]
    for text in texts(now):
        assert references(text) == set(ReferenceResolver.match_refs_pattern(text)), text


def test_merging_extends_replaces_and_sets_parts(tmp_path):
    (tmp_path / "one.yaml").write_text("a: [1]\nb: {c: 1, d: [1, {e: 2}]}\nf: 1e-4\n")
    (tmp_path / "two.yaml").write_text("+a: [2]\n+b: {g: 3}\nb#d#1#e: 4\nb::c: null\n+new: [5]\n")
    files = [tmp_path / "one.yaml", tmp_path / "two.yaml"]
    parser = ConfigParser()
    with pytest.warns(UserWarning, match="Can't merge entry"):
        parser.read_config([str(file) for file in files])
    now = merge_configs(files)
    assert now == {"a": [1, 2], "b": {"c": None, "d": [1, {"e": 4}], "g": 3}, "f": "1e-4", "new": [5]}
    assert now == {key: value for key, value in parser.get().items() if key != "_meta_"}
    assert default_of(files, "b#d#1#e") == 4


def test_ids_are_looked_up_and_set():
    config = {"a": {"b": [1, {"c": 2}]}}
    assert value_at(config, "a::b#1::c") == 2
    assert [has_id(config, key) for key in ("a", "a#b#0", "a#b#2", "a#b#x", "a#b#0#z", "z", "a#z")] == [
        True,
        True,
        *[False] * 5,
    ]
    set_id(config, "a#b#0", 5)
    set_id(config, "d", 6)
    assert config == {"a": {"b": [5, {"c": 2}]}, "d": 6}
    with pytest.raises(ConfigError, match="config id 'z#y' cannot be set: .* 'z'"):
        set_id(config, "z#y", 1)
    assert normal_id("a#b::c") == "a::b::c"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("data", "data"),
        ("@root", "/data"),
        ("$@root + '/list.json'", "/data/list.json"),
        ("$@root + \"/a\" + '/b'", "/data/a/b"),
        ("$@nested", "/data/x"),
        ("$@root / 'list.json'", None),
        ("$find(@root)", None),
        ("@absent", None),
        ("$@root + str(3)", None),
        ("%other.yaml", None),
        (3, None),
        (None, None),
    ],
)
def test_text_that_is_only_joined_needs_no_monai(value, text):
    config = {"root": "/data", "nested": "$@root + '/x'", "asked": value}
    assert plain_text(config, "asked") == text
    if text is not None:
        assert ConfigParser(config).get_parsed_content("asked") == text


@pytest.mark.parametrize(("content", "message"), [("a: [1", "is not YAML .*line 1"), ("- a", "holds a list .*config ids")])
def test_a_damaged_config_is_named(tmp_path, content, message):
    (tmp_path / "bad.yaml").write_text(content)
    with pytest.raises(ConfigError, match=rf"bad.yaml {message}"):
        read_yaml(tmp_path / "bad.yaml")


def test_a_bundle_without_the_config_lists_those_it_has():
    assert bundle_config(BRATS, "train").is_file()
    with pytest.raises(ConfigError, match="has no config 'trian': did you mean 'train'"):
        bundle_config(BRATS, "trian")
