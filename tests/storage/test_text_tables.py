"""Text and tables that went through a spreadsheet."""

import pytest

from monai_tl.errors import DataError
from monai_tl.storage import text_tables


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_that_names_its_encoding_is_read(tmp_path, codec):
    (tmp_path / "a.txt").write_bytes("é\r\nb\rc\n".encode(codec))
    assert text_tables.read_text(tmp_path / "a.txt") == "é\nb\nc\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("a\nAndré".encode("latin-1"), r"Windows-1252 \(Latin-1\).* line 2 .*'André'"),
        ("é".encode("mac-roman"), "Mac Roman.* line 1 .*'é'"),
        ("王小明".encode("gbk"), "an older encoding such as"),
        ("a,é".encode("utf-16-be"), "UTF-16 without a byte order mark"),
        (b"\xef\xbb\xbfa\xe9", "line 1 .*'aé'"),
        (b"\xff\xfe\x00", "damaged: it begins as UTF-16"),
    ],
)
def test_text_in_another_encoding_is_refused_by_its_name(tmp_path, data, message):
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(DataError, match=rf"a.txt is .*{message}.*save it as UTF-8"):
        text_tables.read_text(tmp_path / "a.txt")


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_a_table_divided_as_it_is(tmp_path, sign):
    rows = ["", f"b{sign} a {sign}c", f"2{sign} 1 {sign}", f"{sign}{sign}", f'"x{sign}y"{sign}3{sign}4{sign}{sign}', ""]
    (tmp_path / "t.csv").write_text("\r\n".join(rows))
    table = text_tables.read_text_table(tmp_path / "t.csv", ["a", "b"])
    assert table.delimiter == sign
    assert table.rows == [{"b": "2", "a": "1", "c": ""}, {"b": f"x{sign}y", "a": "3", "c": "4"}]
    assert table.number("1.5") == 1.5
    if sign != ",":
        assert table.number("-0,25") == -0.25


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column a, only nothing"),
        ("b,c\n", "has no column a, only b, c"),
        ("a,b,a\n", "has the column a twice"),
        ("a,b\n1\n", "line 2 has 1 cells, the header 2"),
        ("a,b\n1,2\n\n1,2,3\n", "line 4 has 3 cells, the header 2"),
        ('a,b\n"1,2\n', "line 3 cannot be read as a row"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        text_tables.read_text_table(tmp_path / "t.csv", ["a"])
