"""Pseudonyms are stable under their key and cannot be read backwards without it; texts lose names and paths."""

from __future__ import annotations

import hashlib

import pytest

from monai_tl.data.pseudonyms import WITHHELD, key_path, pseudonyms, read_or_make_key, without_names

CASE = {"subject": "IXI012", "T1": "/data/ann smith/IXI012-HH-T1.nii.gz", "label": "/data/seg.nii.gz"}


def test_names_are_those_of_the_key(tmp_path):
    key = read_or_make_key(tmp_path / "out")
    assert key_path(tmp_path / "out") == tmp_path / "out.key", "beside the folder, not in it"
    assert read_or_make_key(tmp_path / "out") == key
    assert read_or_make_key(tmp_path / "other") != key
    named = pseudonyms(["IXI012", "IXI013"], key)
    assert pseudonyms(["IXI013", "IXI012"], key) == named
    assert len(set(named.values())) == 2
    assert pseudonyms(["IXI012"], bytes(32))["IXI012"] != named["IXI012"], "without the key, trying ids leads nowhere"
    assert hashlib.sha256(b"IXI012").hexdigest()[:10] not in named["IXI012"]
    (tmp_path / "bad.key").write_text("secret")
    with pytest.raises(ValueError, match="is no key of 64 hexadecimal digits"):
        read_or_make_key(tmp_path / "bad")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("T1 does not exist: /data/ann smith/IXI012-HH-T1.nii.gz", "T1 does not exist: (T1's file)"),
        ("T1 is not 3D (shape 9×9)", "T1 is not 3D (shape 9×9)"),
        ("has 2 files for T1 (/a b/x.nii, /a b/y.nii)", "has 2 files for T1"),
        ("Empty file: 'IXI012-HH-T1.nii.gz'", "Empty file: '(T1's file)'"),
        ("failed for ixi012", f"a reason is {WITHHELD}"),
        ("failed in /data/ann smith", f"a reason is {WITHHELD}"),
    ],
)
def test_texts_lose_names_and_paths(text, told):
    assert without_names(text, CASE) == told
