"""A folder goes on with its own settings, and with no others."""

from __future__ import annotations

import json

import pytest

from monai_tl.errors import ConfigError, DataError
from monai_tl.storage.records import FolderRecord, refuse_differences, setting_differences
from tests.conftest import mentions

SETTINGS = {"window": (16, 16), "weights": "a" * 64, "seed": 0}


def a_record(folder):
    return FolderRecord(folder, "made.json", format=2, holds="predictions", remedy="choose another folder")


def test_a_new_folder_has_nothing_to_resume(tmp_path):
    assert a_record(tmp_path / "new").resume(SETTINGS) is None
    assert not (tmp_path / "new").exists()


def test_what_was_written_is_resumed(tmp_path):
    record = a_record(tmp_path / "new")
    record.write(SETTINGS, subjects={"A": 1}, command=["monai_tl"])
    content = record.resume(SETTINGS, "subjects")
    assert content == {
        "format": 2,
        "settings": {**SETTINGS, "window": [16, 16]},
        "subjects": {"A": 1},
        "command": ["monai_tl"],
    }
    record.refuse_foreign()


@pytest.mark.parametrize(
    ("now", "fact"),
    [
        ({**SETTINGS, "seed": 1}, "seed was 0, is 1"),
        ({**SETTINGS, "window": (16, 8)}, "window was 16,16, is 16,8"),
        ({**SETTINGS, "weights": "b" * 64}, "weights was aaaaaaaaaaaa…, is bbbbbbbbbbbb…"),
        ({**SETTINGS, "flips": True}, "flips was not set, is True"),
        ({"window": (16, 16), "weights": "a" * 64}, "seed was 0, is not set"),
        ({}, "window … weights … seed"),
        ({"a": 1, "b": 2}, "; and 2 more"),
    ],
)
def test_other_settings_are_refused_with_the_difference(tmp_path, now, fact):
    record = a_record(tmp_path)
    record.write(SETTINGS)
    before = record.path.read_bytes()
    with pytest.raises(ConfigError) as raised:
        record.resume(now)
    mentions(str(raised.value), tmp_path, f"predictions … {fact} … choose another folder")
    assert record.path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        ("{", "line 1"),
        ("[]", "list"),
        (json.dumps({"format": 2}), "lacks settings"),
        (json.dumps({"format": 2, "settings": {}}), "lacks subjects"),
        (json.dumps({"format": 2, "settings": {}, "subjects": []}), "subjects"),
        (json.dumps({"format": 2, "settings": 3, "subjects": {}}), "settings"),
        (json.dumps({"format": 3, "settings": {}, "subjects": {}}), "format 3 … reads 2"),
        (json.dumps({"settings": {}, "subjects": {}}), "format 1 … reads 2"),
    ],
)
def test_a_damaged_file_is_named_with_its_fault(tmp_path, content, fact):
    (tmp_path / "made.json").write_text(content)
    with pytest.raises(DataError) as raised:
        a_record(tmp_path).resume({}, "subjects")
    mentions(str(raised.value), f"made.json … {fact} … choose another folder")


def test_something_else_in_the_way_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigError) as raised:
        a_record(tmp_path).refuse_foreign()
    mentions(str(raised.value), tmp_path, "predictions")
    with pytest.raises(ConfigError) as raised:
        a_record(tmp_path / "notes.txt").refuse_foreign()
    mentions(str(raised.value), "notes.txt … is a file")
    a_record(tmp_path / "new").refuse_foreign()
    (tmp_path / "empty").mkdir()
    a_record(tmp_path / "empty").refuse_foreign()


def test_names_of_settings_follow_a_pattern():
    assert setting_differences({"a": 1}, {"a": 2}, "configs {}") == ["configs a was 1, is 2"]
    assert setting_differences({"a": [1], "b": None}, {"a": (1,)}) == []
    refuse_differences("folder", "a study", [], "stop")
