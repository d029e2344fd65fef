"""Typed tables: what is written is read back, and damage is named by file, line and column."""

import math
from dataclasses import dataclass, field

import pytest

from monai_tl.errors import DataError
from monai_tl.storage.tables import csv_text, read_table, table_text, write_table


@dataclass(frozen=True)
class Lesion:
    """A kind of row."""

    name: str
    voxels: int
    ml: float = field(metadata={"form": ".2f"})
    dice: float
    remarks: str = ""


LESIONS = [Lesion('odd, "name"', 26, 1.25, 1 / 3), Lesion("Müller\nB", 0, math.nan, math.nan, "a;b")]
HEADER = "name,voxels,ml,dice,remarks\n"


def test_rows_come_back_as_they_were(tmp_path):
    write_table(tmp_path / "t.csv", Lesion, LESIONS)
    assert repr(read_table(tmp_path / "t.csv", Lesion, remedy="")) == repr(LESIONS)  # repr: NaN is unlike itself
    write_table(tmp_path / "t.csv", Lesion, [])
    assert read_table(tmp_path / "t.csv", Lesion, remedy="") == []


def test_bytes():
    """Full precision, or what a column declares; the end of a line as asked."""
    text = '"odd, ""name""",26,1.25,0.3333333333333333,\r\n"Müller\nB",0,nan,nan,a;b\r\n'
    assert table_text(Lesion, LESIONS, "\r\n") == "name,voxels,ml,dice,remarks\r\n" + text
    assert csv_text(["a", "b"], [(None, 0.1), (1, "x")]) == "a,b\n,0.1\n1,x\n"


def test_columns_are_found_by_name(tmp_path):
    (tmp_path / "t.csv").write_text("dice,new,ml,name,voxels\n0.5,?,2,A,3\n\n")
    assert read_table(tmp_path / "t.csv", Lesion, remedy="") == [Lesion("A", 3, 2.0, 0.5)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"line 1 lacks the column name, voxels, ml, dice \(.*name, voxels, ml, dice\)"),
        ("name,ml\n", r"line 1 lacks the column voxels, dice \("),
        ("name,voxels,ml,dice,dice\n", "line 1 has the column dice twice"),
        (HEADER + "A,1,1,1,\nB,1,1\n", r"line 3 has 3 cells.* 5 \(name, voxels, ml, dice, remarks\)"),
        (HEADER + "A,1,1,1,,\n", "line 2 has 6 cells.* 5"),
        (HEADER + "A,1.5,1,1,\n", "line 2 has voxels '1.5'.* a whole number"),
        (HEADER + '"A\nA",1,1,1,\nB,1,,1,\n', "line 4 has ml ''.* a number"),
        (HEADER + '"A,1,1,1,\n', "is not a CSV table"),
        (HEADER.encode() + b"\xff,1,1,1,\n", "is not a CSV table"),
    ],
)
def test_damage_is_named_with_its_remedy(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=rf"t\.csv.*{message}.*: make it again$"):
        read_table(tmp_path / "t.csv", Lesion, remedy="make it again")


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"there is no .*t\.csv: make it again"):
        read_table(tmp_path / "t.csv", Lesion, remedy="make it again")
