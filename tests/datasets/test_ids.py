"""Subject ids: compared in one encoding, refused where they cannot be distinguished."""

from __future__ import annotations

import pytest

from monai_tl.datasets import ids
from monai_tl.errors import DataError


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("André", "André"),
        ("Bob ", "'Bob '"),
        ("Bo\u200bb", "Bo\\u200bb"),
        ("a\tb", "a\\tb"),
        ("Andr\udce9", "Andr\\udce9"),
        ("\ufeffBob", "\\ufeffBob"),
    ],
)
def test_every_character_can_be_seen(text, seen):
    assert ids.visible(text) == seen
    assert ids.quoted(text) == f"'{seen.strip(chr(39))}'"


@pytest.mark.parametrize(
    ("subject", "fault"),
    [
        ("a/b", "is not a valid file name"),
        ("..", "is not a valid file name"),
        ("", "is not a valid file name"),
        ("a\\b", "is not a valid file name"),
        ("a\nb", "invisible characters"),
        ("a\u00adb", "invisible characters"),
        ("a\ufe0f", "invisible characters"),
        (" a", "begins or ends with a space"),
        ("a\u00a0", "begins or ends with a space"),
        ("\udce9", "not UTF-8"),
    ],
)
def test_what_cannot_be_an_id_is_refused(subject, fault):
    with pytest.raises(DataError, match=fault):
        ids.refuse_odd_ids(["fine", subject])


def test_ids_of_every_script_are_fine():
    ids.refuse_odd_ids(["André", "Ζωή", "王", "sub-01", "Müller Jr.", "o'neill", "x̂1"])


def test_ids_that_look_alike():
    names = ["Bob", "bob", "Bob ", "Eve", "１", "1", "Bo\u200bb"]
    assert ids.alike(names) == [["Bob", "bob", "Bob ", "Bo\u200bb"], ["１", "1"]]


def test_files_are_found_as_the_disk_has_them(tmp_path):
    there = tmp_path / "Andre\u0301.nii"
    there.touch()
    assert ids.on_disk(tmp_path / "Andr\xe9.nii") == [there]
    (tmp_path / "Andr\xe9.nii").touch()
    assert len(ids.on_disk(there)) == 2
    assert ids.on_disk(tmp_path / "none.nii") == []
    assert ids.on_disk(tmp_path / "né" / "né.nii") == []
