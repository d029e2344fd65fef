import hashlib
import json
import os
import stat

import pytest

from monai_tl.errors import DataError
from monai_tl.storage import files
from monai_tl.storage.files import CHUNK, atomic_write, sha256_of, write_json, write_text


def test_the_new_content_replaces_the_old_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "new" / "model.nii.gz"
    for content in ("old", "new"):
        with atomic_write(path) as temporary:
            assert temporary.parent == path.parent
            assert temporary.name.endswith("model.nii.gz"), "writers choose their format by the suffix"
            temporary.write_text(content)
            assert not path.exists() or path.read_text() == "old", "nothing shows before the end"
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["model.nii.gz"]


@pytest.mark.parametrize("interruption", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_write_leaves_the_old_content_and_no_rubbish(tmp_path, interruption):
    path = tmp_path / "scores.csv"
    path.write_text("old")

    def write_half():
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise interruption

    with pytest.raises(interruption):
        write_half()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["scores.csv"]


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("old")
    with pytest.raises(FileNotFoundError, match=r"scores\.csv"), atomic_write(path):
        pass
    assert path.read_text() == "old"


def test_it_is_on_the_disk_before_it_is_renamed(tmp_path, monkeypatch):
    calls = []
    replace, fsync = os.replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append(("fsync", os.fstat(fd).st_ino)), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append(("rename", os.stat(a).st_ino)), replace(a, b)))
    write_text(tmp_path / "a", "text")
    inode = (tmp_path / "a").stat().st_ino
    assert calls == [("fsync", inode), ("rename", inode)]


@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_permissions_are_those_of_the_umask(tmp_path, umask, expected):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a", "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == expected


def test_json_keeps_its_order_and_its_letters(tmp_path):
    path = tmp_path / "report.json"
    write_json(path, {"b": 1, "a": [0.1, None], "Name": "Müller − ½"})
    assert path.read_text(encoding="utf-8") == ('{\n  "b": 1,\n  "a": [\n    0.1,\n    null\n  ],\n  "Name": "Müller − ½"\n}\n')
    assert list(json.loads(path.read_text(encoding="utf-8"))) == ["b", "a", "Name"]


def test_what_json_has_no_word_for_is_refused_and_the_old_file_stays(tmp_path):
    path = tmp_path / "report.json"
    write_json(path, {"dice": 0.5})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"dice": float("nan")})
    assert json.loads(path.read_text()) == {"dice": 0.5}


@pytest.mark.parametrize("content", [b"", b"abc", bytes(range(256)) * (CHUNK // 256) + b"and one more piece"])
def test_sha256_is_that_of_the_whole_file(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_sha256_of_a_published_example(tmp_path):
    """FIPS 180-2, appendix B.1."""
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_that_names_its_encoding_is_read(tmp_path, codec):
    (tmp_path / "a.txt").write_bytes("é\r\nb\rc\n".encode(codec))
    assert files.read_text(tmp_path / "a.txt") == "é\nb\nc\n"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("a\nAndré".encode("latin-1"), r"Windows-1252 \(Latin-1\).*2.*'André'"),
        ("é".encode("mac-roman"), "Mac Roman.*1.*'é'"),
        ("王小明".encode("gbk"), "an older encoding such as"),
        ("a,é".encode("utf-16-be"), "UTF-16"),
        (b"\xef\xbb\xbfa\xe9", "reads 'aé'"),
        (b"\xff\xfe\x00", "damaged.*UTF-16"),
    ],
)
def test_text_in_another_encoding_is_refused_by_its_name(tmp_path, data, told):
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(DataError, match=rf"a.txt.*{told}.*UTF-8"):
        files.read_text(tmp_path / "a.txt")


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_a_table_divided_as_it_is(tmp_path, sign):
    rows = ["", f"b{sign} a {sign}c", f"2{sign} 1 {sign}", f"{sign}{sign}", f'"x{sign}y"{sign}3{sign}4{sign}{sign}', ""]
    (tmp_path / "t.csv").write_text("\r\n".join(rows))
    table = files.read_text_table(tmp_path / "t.csv", ["a", "b"])
    assert table.delimiter == sign
    assert table.rows == [{"b": "2", "a": "1", "c": ""}, {"b": f"x{sign}y", "a": "3", "c": "4"}]
    assert table.number("1.5") == 1.5
    if sign != ",":
        assert table.number("-0,25") == -0.25


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "column a.*nothing"),
        ("b,c\n", "has no column a, only b, c"),
        ("a,b,a\n", "a twice"),
        ("a,b\n1\n", "2.*1 cells.*2"),
        ("a,b\n1,2\n\n1,2,3\n", "4.*3 cells.*2"),
        ('a,b\n"1,2\n', "line 3 cannot be read as a row"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, text, told):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=told):
        files.read_text_table(tmp_path / "t.csv", ["a"])
