"""Every path of a case opens as the same kind of image, and as MONAI would have loaded it."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import LoadImaged

from monai_tl.errors import DataError
from monai_tl.imaging.scan_files import files_of, open_scan, scan_exists, sha256_of_scan, split_path
from monai_tl.imaging.scan_io import LoadScand
from monai_tl.storage.files import sha256_of

AFFINE = np.array([[-2.0, 0.1, 0, 90], [0.1, 2, 0, -126], [0, 0, 2.5, -72], [0, 0, 0, 1]])


def voxels(*shape: int, dtype=np.int16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 1000, shape).astype(dtype)


def save(path: Path, content: np.ndarray) -> str:
    nib.Nifti1Image(content, AFFINE).to_filename(path)
    return str(path)


def scaled(path: Path) -> str:
    image = nib.Nifti1Image(voxels(4, 5, 6, dtype=np.float32) / 7, AFFINE)
    image.set_data_dtype(np.int16)
    image.to_filename(path)
    return str(path)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
@pytest.mark.parametrize(
    "make",
    [
        lambda path: save(path, voxels(4, 5, 6)),
        lambda path: save(path, voxels(4, 5, 6, dtype=np.float64)),
        lambda path: save(path, voxels(4, 5, 6).astype(">i2")),
        lambda path: save(path, voxels(4, 5, 6, 1)),
        scaled,
    ],
    ids=["int16", "float64", "big-endian", "4D", "scaled"],
)
def test_a_nifti_is_loaded_as_monai_does_bit_for_bit(tmp_path, make, suffix):
    case = {"subject": "ann", "T1": make(tmp_path / f"T1{suffix}")}
    ours = LoadScand("T1")(case)["T1"]
    theirs = LoadImaged("T1", image_only=True, ensure_channel_first=True)(case)["T1"]
    assert type(ours) is type(theirs)
    assert ours.dtype == theirs.dtype == torch.float32
    assert ours.shape == theirs.shape == (1, 4, 5, 6)
    assert torch.equal(ours.as_tensor(), theirs.as_tensor())
    assert torch.equal(ours.affine, theirs.affine)
    for key in ("original_affine", "spatial_shape"):
        assert np.array_equal(ours.meta[key], theirs.meta[key]), key
    for key in ("filename_or_obj", "space"):
        assert ours.meta[key] == theirs.meta[key], key


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
def test_one_volume_of_a_4d_image(tmp_path, suffix):
    four = voxels(4, 5, 6, 3)
    path = save(tmp_path / f"BRATS_001{suffix}", four)
    before = sorted(tmp_path.iterdir())
    for number in range(3):
        image = open_scan(f"{path}#{number}")
        assert image.shape == (4, 5, 6)
        assert np.array_equal(np.asanyarray(image.dataobj), four[..., number])
        assert np.array_equal(image.dataobj[1:3, ..., 2], four[1:3, :, 2, number])
        assert np.array_equal(image.affine, nib.load(path).affine)
        loaded = LoadScand("T1")({"T1": f"{path}#{number}"})["T1"]
        assert np.array_equal(loaded[0].numpy(), four[..., number])
        assert np.array_equal(loaded.affine.numpy(), nib.load(path).affine)
        assert loaded.meta["filename_or_obj"] == f"{path}#{number}"
        assert loaded.meta["spatial_shape"].tolist() == [4, 5, 6]
    assert sorted(tmp_path.iterdir()) == before, "nothing is written"


def test_only_the_volume_that_is_meant_is_read(tmp_path):
    """Uncompressed, the bytes of the others are not even there to be read."""
    path = tmp_path / "four.nii"
    save(path, voxels(4, 5, 6, 3))
    path.write_bytes(path.read_bytes()[: 352 + 2 * 4 * 5 * 6 * 2])
    for number in (0, 1):
        assert np.array_equal(np.asanyarray(open_scan(f"{path}#{number}").dataobj), voxels(4, 5, 6, 3)[..., number])
    with pytest.raises(ValueError, match="not enough data in file"):
        np.asanyarray(open_scan(f"{path}#2").dataobj)


def test_opening_reads_no_voxels(tmp_path):
    path = tmp_path / "four.nii"
    save(path, voxels(4, 5, 6, 3))
    path.write_bytes(path.read_bytes()[:352])
    assert open_scan(f"{path}#2").shape == (4, 5, 6)


def test_what_is_no_volume_is_refused_with_what_there_is(tmp_path):
    path = save(tmp_path / "four.nii", voxels(4, 5, 6, 3))
    with pytest.raises(DataError, match=r"3D \(shape 4×5×6×3\).*volume.*#0.*#2"):
        open_scan(path)
    for part in ("3", "-1", "T1", ""):
        with pytest.raises(DataError, match=rf"volume '{part}' \(shape 4×5×6×3\).*#0.*#2"):
            open_scan(f"{path}#{part}")
    with pytest.raises(DataError, match=r"3D \(shape 4×5×6×2×2\)"):
        open_scan(save(tmp_path / "five.nii", voxels(4, 5, 6, 2, 2)) + "#0")
    with pytest.raises(DataError, match="does not exist"):
        open_scan(f"{path}x#0")
    with pytest.raises(DataError, match="four.nii#7.*volume '7'"):
        LoadScand("T1")({"T1": f"{path}#7"})


def test_a_number_sign_in_a_real_name_is_part_of_it(tmp_path):
    folder = tmp_path / "scan #2"
    folder.mkdir()
    one = save(folder / "case#1.nii", voxels(4, 5, 6))
    assert split_path(one) == (one, None)
    assert np.array_equal(np.asanyarray(open_scan(one).dataobj), voxels(4, 5, 6))
    four = save(folder / "case#4.nii", voxels(4, 5, 6, 3))
    assert split_path(f"{four}#2") == (four, "2")
    assert np.array_equal(np.asanyarray(open_scan(f"{four}#2").dataobj), voxels(4, 5, 6, 3)[..., 2])
    assert split_path("nowhere#2.nii") == ("nowhere#2.nii", None)
    assert [scan_exists(path) for path in (one, f"{four}#2", f"{folder}/case#5.nii", f"{folder}/none.nii#2")] == [1, 1, 0, 0]


def test_the_hash_of_a_scan_depends_on_its_volume(tmp_path):
    path = save(tmp_path / "four.nii", voxels(4, 5, 6, 2))
    assert sha256_of_scan(path) == sha256_of(path), "as predictions.csv of earlier versions holds it"
    assert len({sha256_of_scan(path), sha256_of_scan(f"{path}#0"), sha256_of_scan(f"{path}#1")}) == 3
    assert files_of(f"{path}#1") == [path]
