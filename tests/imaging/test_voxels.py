"""Files are read to their end once; voxels that leave no z-score are found, and none of a usual picture."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_tl.imaging import voxels
from monai_tl.imaging.scan_files import open_scan
from monai_tl.imaging.voxels import Stored, read_stored, voxel_faults
from tests.conftest import mentions

SHAPE = (16, 16, 16)


@pytest.fixture(autouse=True)
def nothing_read_yet():
    voxels._whole.clear()


def head(dtype=np.int16, shape=SHAPE) -> np.ndarray:
    """A noisy ball in the dark, as a skull-stripped head is."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    return ((np.sqrt((grid**2).sum(0)) < 0.8) * rng.normal(500, 80, shape)).astype(dtype)


def save(path: Path, content: np.ndarray) -> Path:
    nib.Nifti1Image(content, np.diag([-2.0, 2, 2, 1])).to_filename(path)
    return path


def read(path: Path) -> Stored:
    return read_stored(open_scan(path))


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nii.bz2", ".img", ".mgz"])
def test_a_sound_file_is_read_as_nibabel_does(tmp_path, ending):
    content = head(np.float32 if ending == ".mgz" else np.int16)
    kind = {".img": nib.Nifti1Pair, ".mgz": nib.MGHImage}.get(ending, nib.Nifti1Image)
    nib.save(kind(content, np.diag([-2.0, 2, 2, 1])), tmp_path / f"scan{ending}")
    assert np.array_equal(read(tmp_path / f"scan{ending}").voxels, content)


def test_scaling_is_kept_apart(tmp_path):
    image = nib.Nifti1Image(head(np.float32) / 7 + 3, np.eye(4))
    image.set_data_dtype(np.int16)
    image.to_filename(tmp_path / "scan.nii.gz")
    stored = read(tmp_path / "scan.nii.gz")
    assert stored.voxels.dtype == np.int16
    values = np.unique(np.asanyarray(nib.load(tmp_path / "scan.nii.gz").dataobj))
    assert np.allclose(stored.values(), values, rtol=1e-12)


def spoil(content: bytes, how: str) -> bytes:
    changed = bytearray(content)
    if how == "check sum":
        changed[-8] ^= 0xFF
    elif how == "length":
        changed[-1] ^= 0xFF
    elif how == "no trailer":
        return content[:-8]
    elif how == "part of the trailer":
        return content[:-3]
    elif how == "rubbish behind":
        return content + b"rubbish"
    elif how == "a second file behind":
        return content + content
    return bytes(changed)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("check sum", "CRC check failed"),
        ("length", "Incorrect length"),
        ("no trailer", "Compressed file ended"),
        ("part of the trailer", "Compressed file ended"),
        ("rubbish behind", "Not a gzipped file"),
        ("a second file behind", "bytes more .*16×16×16 voxels.*int16"),
    ],
)
def test_a_damaged_end_is_found_that_nibabel_passes_over(tmp_path, how, message):
    path = save(tmp_path / "scan.nii.gz", head())
    path.write_bytes(spoil(path.read_bytes(), how))
    assert np.asanyarray(nib.load(path).dataobj).shape == SHAPE, "nibabel sees nothing wrong"
    with pytest.raises(Exception, match=message):
        read(path)
    with pytest.raises(Exception, match=message):
        read(path)


def test_members_that_were_joined_on_purpose_are_one_file(tmp_path):
    """As pigz and bgzip write them; zeros behind the last one are padding."""
    path = save(tmp_path / "scan.nii", head())
    content = path.read_bytes()
    joined = tmp_path / "joined.nii.gz"
    joined.write_bytes(gzip.compress(content[:3000]) + gzip.compress(content[3000:]) + bytes(100))
    assert np.array_equal(read(joined).voxels, head())


@pytest.mark.parametrize(
    ("ending", "pack"), [(".nii", bytes), (".nii.gz", gzip.compress), (".nii.bz2", bz2.compress)], ids=["plain", "gz", "bz2"]
)
def test_files_that_do_not_fit_their_header(tmp_path, ending, pack):
    content = save(tmp_path / "scan.nii", head()).read_bytes()
    path = tmp_path / f"other{ending}"
    path.write_bytes(pack(content[:-2]))
    with pytest.raises(Exception, match="Expected 8192 bytes, got 8190 bytes|2 bytes less|mmap length"):
        read(path)
    path.write_bytes(pack(content + bytes(5000)))
    with pytest.raises(Exception, match="bytes more .*16×16×16 voxels.*int16"):
        read(path)
    path.write_bytes(pack(content + bytes(100)))
    assert np.array_equal(read(path).voxels, head()), "a little padding means nothing"


def test_a_4d_file_is_read_to_its_end_once_for_all_volumes(tmp_path):
    four = np.stack([head(), head() + 1, head() + 2], axis=-1)
    path = save(tmp_path / "four.nii.gz", four)
    assert all(np.array_equal(read(f"{path}#{n}").voxels, four[..., n]) for n in (2, 0, 1))
    assert len(voxels._whole) == 1
    voxels._whole.clear()
    path.write_bytes(spoil(path.read_bytes(), "check sum"))
    with pytest.raises(Exception, match="CRC check failed"):
        read(f"{path}#0")


def one(value: float, dtype=np.float64, count: int = 1) -> np.ndarray:
    changed = head(dtype)
    changed.flat[2000 : 2000 + count] = value
    return changed


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (Stored(one(1e300)), "0 … 1e+300 … 32-bit"),
        (Stored(one(3e38, np.float32)), "32-bit"),
        (Stored(one(-3e38, np.float32)), "32-bit"),
        (Stored(head(), 1e38), "32-bit"),
        (Stored(head(), 1e30), "32-bit"),
        (Stored(head(), -1e-30), "32-bit"),
        (Stored(head(), 1.0, 1e10), "1.02e+03"),
        (Stored(head(), 1.0, 2e38), "resolution of"),
        (Stored(one(1e7, np.float32)), "value, 1e+07"),
        (Stored(one(1e5, np.float32, 3)), "3 voxels … 1000"),
        (Stored(one(-1e6, np.float32)), "value, -1e+06"),
        (Stored(one(6e4, np.float32, 150)), "z-scor"),
        (Stored(np.where(np.arange(48**3).reshape(48, 48, 48) == 7, 5.0, 0)), "0 … 1 of 110592 voxels"),
        (Stored(np.where(head() > 0, 1.0, 0) + (head() == head().max()) * 1e6), "value, 1e+06"),
    ],
    ids=range(14),
)
def test_what_leaves_no_z_score_is_found(stored, message):
    (fault,) = voxel_faults(stored)
    mentions(fault, message)


@pytest.mark.parametrize("stored", [
    Stored(head()),
    Stored(head(np.float64), 6.25, -1000.0),
    Stored(head(np.float32), 1e-6),
    Stored(head(np.float32), 1e6, 1e6),
    Stored(one(20000, np.float32)),
    Stored(np.where(head() > 0, 1, 0).astype(np.uint8)),
    Stored(np.random.default_rng(0).normal(0, 1, SHAPE)),
], ids=range(7))  # fmt: skip
def test_a_usual_picture_is_fine(stored):
    assert voxel_faults(stored) == []


@pytest.mark.parametrize("slope", [1.0, 0.01, -3.0])
def test_scaling_changes_no_verdict(slope):
    """What is measured is the scaled value: the ratio of the stored ones is the same."""
    assert voxel_faults(Stored(one(20000, np.float64), slope, 5.0)) == []
    (fault,) = voxel_faults(Stored(one(200000, np.float64), slope, 5.0))
    mentions(fault, f"{200000 * slope + 5:.4g}")
