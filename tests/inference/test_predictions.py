"""The folder of predictions: what it was made with is read, or refused by name."""

import json

import pytest

from monai_tl.errors import ConfigError, DataError
from monai_tl.inference.predictions import Predictions
from monai_tl.storage.files import read_json

SETTINGS = {"weights_sha256": "a" * 64, "inference_window": [16, 16, 16]}
HEADER = "case,volume_ml,seconds,inputs,inputs_sha256"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("predictions.json", json.dumps({"format": 9, "settings": SETTINGS}), "has format 9, this version reads 1"),
        ("predictions.json", "{", "is damaged .line 1"),
        ("predictions.json", "{}", "is damaged .it lacks settings"),
        ("predictions.csv", "case,volume_ml,seconds\n", "line 1 lacks the column inputs, inputs_sha256"),
        ("predictions.csv", HEADER + "\nA,1,1,a.nii,0\nB,much,1,b.nii,1\n", "line 3 has volume_ml 'much'"),
    ],
)
def test_damage_and_unknown_formats_are_named(tmp_path, file, content, message):
    Predictions(tmp_path, SETTINGS, [], False).begin({})
    (tmp_path / file).write_text(content)
    with pytest.raises(DataError, match=rf"{file}.*{message}"):
        Predictions(tmp_path, SETTINGS, [], False)


def test_what_was_written_before_formats_and_remarks_is_read(tmp_path):
    Predictions(tmp_path, SETTINGS, [], False).begin({})
    note = read_json(tmp_path / "predictions.json", remedy="")
    assert note.pop("format") == 1
    (tmp_path / "predictions.json").write_text(json.dumps(note))
    (tmp_path / "predictions.csv").write_text(HEADER + "\nA,0.0000,1.25,a.nii,0\n")
    before = Predictions(tmp_path, SETTINGS, [], False)
    assert before.is_empty({"subject": "A"})
    assert before.rows["A"].remarks == ""
    with pytest.raises(ConfigError, match="predictions with other settings .inference_window was 16,16,16, is 8,8,8"):
        Predictions(tmp_path, {**SETTINGS, "inference_window": [8, 8, 8]}, [], False)
