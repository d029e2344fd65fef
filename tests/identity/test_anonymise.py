"""Pseudonyms are stable under their key and cannot be read backwards without it; texts lose names and paths."""

from __future__ import annotations

import hashlib

import pytest

from monai_tl.identity.anonymise import WITHHELD, key_path, pseudonyms, read_or_make_key, without_names

CASE = {"subject": "IXI012", "T1": "/data/ann smith/IXI012-HH-T1.nii.gz", "label": "/data/seg.nii.gz"}


def test_names_are_those_of_the_key(tmp_path):
    key = read_or_make_key(tmp_path / "out")
    assert key_path(tmp_path / "out") == tmp_path / "out.key", "next to the folder, not in it"
    assert read_or_make_key(tmp_path / "out") == key
    assert read_or_make_key(tmp_path / "other") != key
    named = pseudonyms(["IXI012", "IXI013"], key)
    assert pseudonyms(["IXI013", "IXI012"], key) == named
    assert len(set(named.values())) == 2
    assert pseudonyms(["IXI012"], bytes(32))["IXI012"] != named["IXI012"], "without the key, trying ids leads nowhere"
    assert hashlib.sha256(b"IXI012").hexdigest()[:10] not in named["IXI012"]
    (tmp_path / "bad.key").write_text("secret")
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        read_or_make_key(tmp_path / "bad")


def test_what_is_said_of_a_series_is_withheld(tmp_path):
    (tmp_path / "T1").mkdir()
    case = {"subject": "ann", "T1": str(tmp_path / "T1"), "T2": f"{tmp_path / 'T1'}#T2 of Smith", "label": "/data/seg.nii.gz"}
    withheld = f"the reason why a series cannot be used is {WITHHELD}"
    assert without_names("T1 series 'Smith' (3 slices, MR, 1.2.840.1) lacks 1 slice (I1, I3)", case) == withheld
    assert without_names("label and T1 lie apart by up to 3 mm", case) == "label and T1 lie apart by up to 3 mm", "T1 is a role"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("T1 does not exist: /data/ann smith/IXI012-HH-T1.nii.gz", "T1 does not exist: (T1's file)"),
        ("T1 is not 3D (shape 9×9)", "T1 is not 3D (shape 9×9)"),
        ("has 2 files for T1 (/a b/x.nii, /a b/y.nii)", "has 2 files for T1"),
        ("Empty file: 'IXI012-HH-T1.nii.gz'", "Empty file: '(T1's file)'"),
        ("failed for ixi012", f"a reason is {WITHHELD}"),
        ("failed in /data/ann smith", f"a reason is {WITHHELD}"),
    ],
)
def test_texts_lose_names_and_paths(text, expected):
    assert without_names(text, CASE) == expected
