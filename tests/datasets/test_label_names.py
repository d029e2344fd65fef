"""Tables of label names, in each form that programs for segmentation write."""

from __future__ import annotations

import json

import pytest

from monai_tl.datasets.label_names import read_label_names
from monai_tl.errors import DataError
from tests.conftest import mentions

NAMES = {"spleen": 1, "right kidney": 2}

FREESURFER = """#$Id: FreeSurferColorLUT.txt
#No. Label Name:                            R   G   B   A

0   Unknown                                 0   0   0   0
17  Left-Hippocampus                        220 216 20  0
53  Right-Hippocampus                       220 216 20  0
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"1": "spleen", "2": "right kidney"}'),
        ("a.json", '{"0": "background", "1": "spleen", "2": "right kidney"}'),
        ("a.json", '{"spleen": 1, "right kidney": 2}'),
        ("a.json", '{"background": 0, "spleen": 1, "right kidney": 2}'),
        ("dataset.json", '{"labels": {"background": 0, "spleen": 1, "right kidney": 2}, "numTraining": 41}'),
        ("dataset.json", '{"labels": {"0": "background", "1": "spleen", "2": "right kidney"}, "numTraining": 41}'),
        ("a.csv", "label,name\n1,spleen\n2,right kidney\n"),
        ("a.csv", "0,background\n1,spleen,255,0,0\n2, right kidney ,0,255,0\n"),
        ("a.csv", 'index,name\r\n1,"spleen"\r\n2,right kidney\r\n'),
        ("a.tsv", "index\tname\n1\tspleen\n2\tright kidney\n"),
        ("a.csv", "\ufeff1,spleen\n2,right kidney\n"),
    ],
)
def test_each_form_gives_the_same_names_without_the_background(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = read_label_names(tmp_path / name)
    assert found == NAMES
    assert list(found) == list(NAMES), "in the order of the file"


def test_a_colour_table_of_freesurfer(tmp_path):
    (tmp_path / "FreeSurferColorLUT.txt").write_text(FREESURFER)
    assert read_label_names(tmp_path / "FreeSurferColorLUT.txt") == {"Left-Hippocampus": 17, "Right-Hippocampus": 53}


def test_regions_of_nnunet_with_several_values_are_no_names(tmp_path):
    """nnU-Net writes {"whole tumour": [1, 2, 3]}: such a region is named with its values in --regions."""
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "whole": [1, 2], "core": 2}}))
    assert read_label_names(tmp_path / "dataset.json") == {"core": 2}


def test_a_name_may_stand_twice_with_one_value_and_not_with_two(tmp_path):
    (tmp_path / "a.csv").write_text("1,spleen\n1,spleen\n")
    assert read_label_names(tmp_path / "a.csv") == {"spleen": 1}
    (tmp_path / "a.csv").write_text("1,spleen\n2,spleen\n")
    with pytest.raises(DataError) as refusal:
        read_label_names(tmp_path / "a.csv")
    mentions(str(refusal.value), f"{tmp_path / 'a.csv'} … 'spleen' … 1 and 2")
    (tmp_path / "a.json").write_text('{"spleen": 1, "liver": 3, "spleen": 2}')
    with pytest.raises(DataError, match="'spleen', 1 and 2"):
        read_label_names(tmp_path / "a.json")
    (tmp_path / "a.csv").write_text("1,spleen\n0,spleen\n")
    with pytest.raises(DataError, match="'spleen', 1 and 0"):
        read_label_names(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("name", "text", "facts"),
    [
        ("a.json", '{"1": "spleen"', "JSON … {"),
        ("a.json", "[1, 2]", "no label names"),
        ("a.json", '{"labels": ["spleen"]}', "no label names"),
        ("a.json", '{"spleen": "one", "kidney": -2, "liver": 1.5, "lung": true}', "no label names"),
        ("a.json", '{"0": "background"}', "no label names"),
        ("a.csv", "name,label\nspleen,1\n", "no label names"),
        ("a.csv", "", "no label names"),
        ("a.txt", "# only a comment\n", "no label names"),
    ],
)
def test_what_holds_no_names_is_refused_with_what_is_needed(tmp_path, name, text, facts):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as refusal:
        read_label_names(tmp_path / name)
    mentions(str(refusal.value), f"{tmp_path / name} … {facts}", ".json … .csv … .tsv … colour table")


def test_a_table_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError) as refusal:
        read_label_names(tmp_path / "none.csv")
    mentions(str(refusal.value), tmp_path / "none.csv", ".json … colour table")
