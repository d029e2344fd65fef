import hashlib
import json
import os
import stat

import pytest

from monai_tl.errors import DataError
from monai_tl.storage.files import CHUNK, atomic_write, read_json, sha256_of, write_json, write_text


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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1,\n"b"', r"is damaged \(line 2: Expecting ':' delimiter\)"),
        ("", r"is damaged \(line 1: Expecting value\)"),
        (b'{"a": "\xff"}', r"is damaged \(.*UTF-8.*\)"),
        ("[1]", r"is damaged \(it holds a list.* object\)"),
        ("[" * 100_000, r"is damaged \(RecursionError"),
        ('{"format": 2, "a": 1, "b": 1}', "has format 2, this version reads 1"),
        ('{"format": null, "a": 1, "b": 1}', "has format None, this version reads 1"),
        ('{"a": 1, "c": 1}', r"is damaged \(it lacks b, d\)"),
    ],
)
def test_json_that_cannot_be_used_is_refused_by_name_and_reason(tmp_path, content, message):
    path = tmp_path / "report.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=rf"^\S*report\.json {message}[^\n]*: train again$"):
        read_json(path, required=("a", "b", "d"), remedy="train again", of_format=1)


def test_json_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"there is no \S*report\.json: train again"):
        read_json(tmp_path / "report.json", remedy="train again")


def test_json_without_a_number_is_of_the_first_format(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    assert read_json(tmp_path / "a.json", remedy="", of_format=1) == {"a": 1}
    with pytest.raises(DataError, match="has format 1, this version reads 2"):
        read_json(tmp_path / "a.json", remedy="", of_format=2)
