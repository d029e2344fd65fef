"""A bundle's task.yaml: read as it stands, and each mistake named by its place."""

from __future__ import annotations

import pytest
import yaml

from monai_tl.errors import ConfigError
from monai_tl.workflow.task_file import read_task_file
from tests.conftest import mentions

CODES = {"category": ["SCT", "91723000", "Anatomical Structure"], "type": ["99OWN", "HC", "Hippocampus"]}
SIZE = {"n": 26, "set": "S1", "table": "6.3", "test": {"scratch": 0.4, 1: 0.5}, "iterations": {"scratch": 500, 1: 400}}
LAYERS = {"table": "6.2", "training": {"scratch": 0.5, 1: 0.625}, "validation": {"scratch": 0, 1: 1}}
PUBLISHED = {"year": 2019, "setting": "another", "layers": LAYERS, "sizes": [SIZE]}


def written(tmp_path, content):
    text = content if isinstance(content, str) else yaml.safe_dump(content, allow_unicode=True)
    (tmp_path / "task.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def test_it_is_read_as_it_stands(tmp_path):
    task = read_task_file(written(tmp_path, {"dicom_codes": {"hippocampus": CODES}, "published": PUBLISHED}))
    assert task.path == tmp_path / "task.yaml"
    assert task.dicom_codes["hippocampus"].category == ("SCT", "91723000", "Anatomical Structure")
    assert task.dicom_codes["hippocampus"].type.scheme == "99OWN"
    published = task.published
    assert (published.year, published.setting, published.layers.table) == (2019, "another", "6.2")
    assert published.layers.validation == {"scratch": 0, "1": 1}
    assert published.sizes[0].iterations == {"scratch": 500, "1": 400}
    assert [published.test_dice(arm, n) for arm, n in (("1", 26), ("1", 52), ("2", 26))] == [0.5, None, None]


@pytest.mark.parametrize("content", [None, "", "# nothing"])
def test_a_bundle_may_have_none_or_an_empty_one(tmp_path, content):
    task = read_task_file(tmp_path if content is None else written(tmp_path, content))
    assert (dict(task.dicom_codes), task.published, dict(task.plausible_ml)) == ({}, None, {})


def test_plausible_volumes_are_numbers_in_ml(tmp_path):
    task = read_task_file(written(tmp_path, {"plausible_ml": {"hippocampus": [3, 11.5], "both": [0, 1]}}))
    assert task.plausible_ml == {"hippocampus": (3.0, 11.5), "both": (0.0, 1.0)}


def without(content, key):
    return {name: value for name, value in content.items() if name != key}


def with_size(**changes):
    return {"published": {**PUBLISHED, "sizes": [SIZE | changes]}}


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        ("a: [", ["is not YAML"]),
        ("- one", ["takes values by name", "['one']"]),
        ({"dicom_code": {}}, ["'dicom_code'", "did you mean 'dicom_codes'?"]),
        ({"dicom_codes": ["a"]}, ["dicom_codes takes values by name", "['a']"]),
        ({"dicom_codes": {"core": without(CODES, "type")}}, ["dicom_codes of 'core' lacks type"]),
        ({"dicom_codes": {"core": {**CODES, "type": ["SCT", 5366008, "Hippocampus"]}}}, ["'core': type takes", "5366008,"]),
        ({"dicom_codes": {"core": {**CODES, "type": ["SCT", "HC"]}}}, ["'core': type takes", "['SCT', 'HC']"]),
        ({"dicom_codes": {"core": {**CODES, "type": ["SCT", "5" * 17, "x"]}}}, ["'core': type takes", "16, 16 and 64"]),
        ({"dicom_codes": {"core": {**CODES, "type": ["", "5", "x"]}}}, ["'core': type takes"]),
        ({"published": without(PUBLISHED, "setting")}, ["published lacks setting"]),
        ({"published": {**PUBLISHED, "year": "2019"}}, ["published: year takes a whole number", "'2019'"]),
        ({"published": {**PUBLISHED, "sizes": SIZE}}, ["published: sizes takes a list"]),
        ({"published": {**PUBLISHED, "sizes": [SIZE, without(SIZE, "n")]}}, ["sizes, entry 2 lacks n"]),
        (with_size(tset={}), ["sizes, entry 1", "'tset'", "did you mean '"]),
        (with_size(test={"scratch": 53.3, 1: 0.5}), ["test of scratch", "0 to 1", "53.3"]),
        (with_size(iterations={"scratch": 500}), ["the same arms", "iterations has scratch"]),
        ({"published": {**PUBLISHED, "layers": {**LAYERS, "table": 6.2}}}, ["layers: table takes", "6.2"]),
        ({"plausible_ml": [3, 11]}, ["plausible_ml takes values by name", "[3, 11]"]),
        ({"plausible_ml": {"core": [11, 3]}}, ["plausible_ml of 'core'", "lowest", "ml", "[11, 3]"]),
        ({"plausible_ml": {"core": [3, 3]}}, ["plausible_ml of 'core'", "[3, 3]"]),
        ({"plausible_ml": {"core": [3]}}, ["plausible_ml of 'core'", "[3]"]),
        ({"plausible_ml": {"core": [-1, 3]}}, ["plausible_ml of 'core'", "[-1, 3]"]),
        ({"plausible_ml": {"core": ["3", 11]}}, ["plausible_ml of 'core'", "['3', 11]"]),
        ({"plausible_ml": {"core": 3}}, ["plausible_ml of 'core'", "got 3"]),
        ({"plausible_ml": {"core": [3, float("inf")]}}, ["plausible_ml of 'core'", "inf"]),
        ({"published": {**PUBLISHED, "layers": {**LAYERS, "training": 0.5}}}, ["layers: training takes values by name"]),
    ],
)  # fmt: skip
def test_each_mistake_is_named_by_its_place_in_one_line(tmp_path, content, facts):
    with pytest.raises(ConfigError) as caught:
        read_task_file(written(tmp_path, content))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'task.yaml'}")
    assert "\n" not in message
    assert not [fact for fact in facts if fact not in message], message


def test_a_network_has_a_name_and_arguments(tmp_path):
    network = {"name": "SegResNet", "init_filters": 16, "stages": {"a": ["convInit"], "b": ["conv_final"]}}
    assert read_task_file(written(tmp_path, {"network": network})).network == network
    assert read_task_file(written(tmp_path, {})).network == {}
    for content, facts in (
        ({"network": "SegResNet"}, "network takes a name"),
        ({"network": {"name": "SegResNet", "stages": "car"}}, "network: stages takes auto"),
        ({"network": {"name": "SegResNet"}, "settings": {"head_norm": True}}, "head_norm … HighRes3DNet, not of SegResNet"),
    ):
        with pytest.raises(ConfigError) as caught:
            read_task_file(written(tmp_path, content))
        mentions(str(caught.value), f"task.yaml: {facts}" if "settings" not in content else facts)
