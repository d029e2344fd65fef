"""One scan has one fingerprint however it is stored, another scan another; and each is hashed once."""

from __future__ import annotations

import gzip
import os
import sqlite3
import time

import nibabel as nib
import numpy as np
import pytest

from monai_tl.errors import DataError
from monai_tl.identity import fingerprint_cache, fingerprints
from monai_tl.identity.fingerprint_cache import cache_path, look_up, remember, stamp_of
from monai_tl.identity.fingerprints import fingerprint, fingerprint_cases
from monai_tl.identity.identical import find_identical

VOXELS = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


def written(path, voxels=VOXELS, affine=None, **header):
    image = nib.Nifti1Image(voxels, np.eye(4) if affine is None else affine)
    for name, value in header.items():
        image.header[name] = value
    nib.save(image, path)
    return str(path)


@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch):
    """A separate cache, and files that may be kept although they were written just now."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(fingerprint_cache, "_known", {})
    monkeypatch.setattr(fingerprint_cache, "RECENT", -1.0)


def test_the_same_scan_in_other_files(tmp_path):
    one = fingerprint(written(tmp_path / "one.nii.gz"))
    plain = tmp_path / "plain.nii"
    plain.write_bytes(gzip.decompress((tmp_path / "one.nii.gz").read_bytes()))
    others = [
        str(plain),
        written(tmp_path / "doubles.nii", VOXELS.astype(np.float64)),
        written(tmp_path / "described.nii.gz", descrip=b"exported again"),
        written(tmp_path / "long.nii.gz", VOXELS[..., None]),
    ]
    for path in others:
        other = fingerprint(path)
        assert other.file != one.file
        assert (other.voxels, other.grid) == (one.voxels, one.grid)
        assert one.same_content(other)
    four = written(tmp_path / "four.nii.gz", np.stack([VOXELS * 2, VOXELS], -1))
    assert fingerprint(f"{four}#1").voxels == one.voxels != fingerprint(f"{four}#0").voxels


@pytest.mark.parametrize("named", ["pair.img", "pair.hdr"])
def test_of_a_pair_both_files_are_looked_at(tmp_path, named):
    """A rewritten header flips the same voxels."""
    image = nib.Nifti1Pair(VOXELS, np.eye(4))
    nib.save(image, tmp_path / "pair.img")
    case = {"subject": "ann", "T1": str(tmp_path / named)}
    before = fingerprint_cases([case], ("T1",)).of["ann"]["T1"]
    voxels = (tmp_path / "pair.img").read_bytes()
    nib.save(nib.Nifti1Pair(VOXELS, np.diag([-1.0, 1, 1, 1])), tmp_path / "pair.img")
    assert (tmp_path / "pair.img").read_bytes() == voxels
    after = fingerprint_cases([case], ("T1",)).of["ann"]["T1"]
    assert after.voxels == before.voxels
    assert after.grid != before.grid


@pytest.mark.parametrize(
    "voxels", [VOXELS[::-1], VOXELS + 1, VOXELS.reshape(4, 3, 5), VOXELS.reshape(5, 4, 3)], ids=["flip", "more", "436", "543"]
)
def test_other_voxels_are_another_scan(tmp_path, voxels):
    one, other = fingerprint(written(tmp_path / "one.nii")), fingerprint(written(tmp_path / "other.nii", voxels.copy()))
    assert one.voxels != other.voxels
    assert not one.same_content(other)


def test_voxels_in_another_place_are_the_same_image_and_not_the_same_scan(tmp_path):
    one, moved = (fingerprint(written(tmp_path / f"{far}.nii", affine=np.diag([1, 1, far, 1.0]))) for far in (1.0, 1.5))
    assert one.voxels == moved.voxels
    assert not one.same_content(moved)


def test_minus_nothing_is_nothing(tmp_path):
    zeros = np.zeros((2, 2, 2), np.float32)
    assert fingerprint(written(tmp_path / "a.nii", zeros)).voxels == fingerprint(written(tmp_path / "b.nii", -zeros)).voxels


def test_images_of_one_value_are_copies_of_none(tmp_path):
    blank, other = (fingerprint(written(tmp_path / f"{n}.nii", np.full((2, 3, 4), n, np.int16))) for n in (0, 7))
    assert blank.is_blank
    assert other.is_blank
    assert blank.voxels != other.voxels
    assert not fingerprint(written(tmp_path / "one.nii")).is_blank
    assert find_identical({"ann": {"T1": blank, "T2": blank}, "bob": {"T1": blank}}) == []


def test_unreadable_files_are_reported_by_case(tmp_path):
    (tmp_path / "bad.nii.gz").write_bytes(b"nothing")
    good = written(tmp_path / "good.nii")
    with pytest.raises(DataError, match="not readable"):
        fingerprint(str(tmp_path / "bad.nii.gz"))
    cases = [{"subject": "ann", "T1": good, "T2": str(tmp_path / "bad.nii.gz")}, {"subject": "bob", "T1": str(tmp_path / "no")}]
    found = fingerprint_cases(cases, ["T1", "T2"])
    assert set(found.of["ann"]) == {"T1"}
    assert {key: why.split(" (")[0] for key, why in found.unreadable.items()} == {
        ("ann", "T2"): "is not readable",
        ("bob", "T1"): "does not exist",
    }


def test_a_scan_is_hashed_once_in_this_process_and_the_next(tmp_path, monkeypatch):
    path = written(tmp_path / "one.nii.gz")
    first = fingerprint_cases([{"subject": "ann", "T1": path}], ["T1"]).of["ann"]["T1"]
    monkeypatch.setattr(fingerprints, "fingerprint", None)  # not called again
    assert fingerprint_cases([{"subject": "ann", "T1": path}], ["T1"]).of["ann"]["T1"] == first
    fingerprint_cache._known.clear()
    assert fingerprint_cases([{"subject": "ann", "T1": path}], ["T1"]).of["ann"]["T1"] == first


def test_a_file_that_changed_is_hashed_again_whatever_its_time_says(tmp_path):
    """Same size, and its time set back."""
    path = tmp_path / "one.nii"
    before = fingerprint_cases([{"subject": "ann", "T1": written(path)}], ["T1"])
    status = os.stat(path)
    time.sleep(0.02)  # a tick of the file system's clock
    with path.open("r+b") as file:
        file.seek(-2, os.SEEK_END)
        file.write(b"\x07\x07")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = fingerprint_cases([{"subject": "ann", "T1": str(path)}], ["T1"])
    assert os.stat(path).st_size == status.st_size
    assert after.of["ann"]["T1"].voxels != before.of["ann"]["T1"].voxels


def test_what_changed_just_now_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprint_cache, "RECENT", 60.0)
    path = written(tmp_path / "one.nii")
    fingerprint_cases([{"subject": "ann", "T1": path}], ["T1"])
    assert look_up({path: stamp_of(path)}) == {}


def test_a_cache_that_is_damaged_or_cannot_be_written_does_no_harm(tmp_path, monkeypatch):
    cases = [{"subject": "ann", "T1": written(tmp_path / "one.nii")}]
    right = fingerprint_cases(cases, ["T1"]).of
    for spoiled in (b"no database at all" * 99, b"SQLite format 3\0" + b"\xff" * 4000):
        cache_path().write_bytes(spoiled)
        fingerprint_cache._known.clear()
        assert fingerprint_cases(cases, ["T1"]).of == right
        with sqlite3.connect(cache_path()) as cache:
            assert cache.execute("SELECT count(*) FROM fingerprints").fetchone() == (1,)
    with sqlite3.connect(cache_path()) as cache:
        cache.execute("UPDATE fingerprints SET hashes = 'nonsense'")
    fingerprint_cache._known.clear()
    assert fingerprint_cases(cases, ["T1"]).of == right
    cache_path().unlink()
    cache_path().mkdir()
    fingerprint_cache._known.clear()
    assert fingerprint_cases(cases, ["T1"]).of == right
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/nowhere")
    fingerprint_cache._known.clear()
    assert fingerprint_cases(cases, ["T1"]).of == right


def test_no_more_than_so_many_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprint_cache, "MOST", 3)
    for n in range(5):
        stamp = stamp_of(written(tmp_path / f"{n}.nii"))
        remember([(stamp, (f"{n:032x}", "0" * 32, "0" * 32))])
    with sqlite3.connect(cache_path()) as cache:
        assert cache.execute("SELECT count(*) FROM fingerprints").fetchone() == (3,)
