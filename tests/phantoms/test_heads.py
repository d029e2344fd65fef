"""Phantoms: layout, labels, sides, contrasts and repeatability, on the written files."""

import operator
import re

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import label as connected

from monai_tl.errors import ConfigError
from monai_tl.phantoms.heads import Layer, Tumour, render_tumour, scan
from monai_tl.phantoms.phantom_files import write_phantoms
from tests.conftest import mentions

CORTEX, WHITE, VENTRICLE, HIPPOCAMPUS = (3, 42), (2, 41), (4, 43), (17, 53)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    output = tmp_path_factory.mktemp("phantom") / "data"
    write_phantoms(output, subjects=3, size=64, seed=0, brats_subjects=4)
    return output


def ixi_cases(folder):
    """Subject -> (T1, T2, aseg), by name."""
    names = [path.name.removesuffix("-T1.nii.gz") for path in sorted((folder / "ixi/IXI-T1").iterdir())]
    places = ("ixi/IXI-T1/{}-T1.nii.gz", "ixi/IXI-T2/{}-T2.nii.gz", "ixi/aseg/{}-aseg.nii.gz")
    return {name: [nib.load(folder / place.format(name)) for place in places] for name in names}


def brats_cases(folder):
    """Patient -> images by what comes after the last underscore of the file name."""
    patients = sorted((folder / "brats/HGG").iterdir())
    return {p.name: {f.name.split("_")[-1][:-7]: nib.load(f) for f in sorted(p.iterdir())} for p in patients}


def voxels(image):
    return np.asarray(image.dataobj)


def world(image, mask):
    """Centre of a mask in RAS mm."""
    return nib.affines.apply_affine(image.affine, np.argwhere(mask).mean(0))


def test_the_layout_is_that_of_ixi_and_brats(folder):
    cases = ixi_cases(folder)
    assert len(cases) == 3
    assert all(re.fullmatch(r"IXI\d{3}-(Guys|HH|IOP)-\d{4}", name) for name in cases)
    assert {path.name for path in (folder / "ixi/aseg").iterdir()} == {f"{name}-aseg.nii.gz" for name in cases}
    patients = brats_cases(folder)
    assert len(patients) == 4
    assert all(re.fullmatch(r"Brats18_PHA\d{3}_1", name) for name in patients)
    for patient in patients:
        files = {path.name for path in (folder / "brats/HGG" / patient).iterdir()}
        assert files == {f"{patient}_{kind}.nii.gz" for kind in ("t1", "t1ce", "t2", "flair", "seg")}


def test_ids_rise_with_gaps_and_sites_differ(tmp_path):
    write_phantoms(tmp_path / "many", subjects=12, size=32, seed=0, brats_subjects=1)
    names = sorted(path.name for path in (tmp_path / "many/ixi/IXI-T1").iterdir())
    numbers = [int(name[3:6]) for name in names]
    assert len(set(numbers)) == 12
    assert numbers[-1] - numbers[0] > 20
    assert len({name.split("-")[1] for name in names}) >= 2


def test_ixi_is_on_one_grid_of_1_mm_in_ixis_axes_with_a_world_origin_inside_the_head(folder):
    for images in ixi_cases(folder).values():
        for image in images:
            assert image.shape == (64, 64, 64)
            assert nib.aff2axcodes(image.affine) == ("P", "S", "R")
            np.testing.assert_array_equal(image.affine, images[0].affine)
            np.testing.assert_allclose(image.header.get_zooms(), 1)
            np.testing.assert_allclose(image.get_qform(coded=True)[0], image.affine, atol=1e-4)
            assert int(image.header["sform_code"]) == int(image.header["qform_code"]) == 1
            assert image.get_data_dtype() == np.int16
        assert np.abs(world(images[2], voxels(images[2]) > 0)).max() < 15


def test_brats_is_on_one_grid_with_the_affine_of_brats(folder):
    expected = [[-1, 0, 0, 0], [0, -1, 0, 63], [0, 0, 1, 0], [0, 0, 0, 1]]
    for images in brats_cases(folder).values():
        for image in images.values():
            assert image.shape == (64, 64, 64)
            np.testing.assert_array_equal(image.affine, expected)
            assert int(image.header["sform_code"]) == int(image.header["qform_code"]) == 1
            assert image.get_data_dtype() == np.int16


def test_aseg_holds_the_structures_and_hippocampi_of_90_to_330_voxels_in_one_piece(folder):
    wanted = {0, 2, 41, 3, 42, 4, 43, 24, 10, 49, 11, 50, 12, 51, 13, 52, 14, 15, 16, 17, 53, 18, 54, 7, 46, 8, 47}
    for _, _, aseg in ixi_cases(folder).values():
        labels = voxels(aseg)
        assert set(np.unique(labels)) == wanted
        for side in HIPPOCAMPUS:
            assert 90 <= (labels == side).sum() <= 330
            assert connected(labels == side, np.ones((3, 3, 3)))[1] == 1


def test_left_is_left_in_the_world_and_the_hippocampi_lie_low_on_either_side_of_the_midline(folder):
    for _, _, aseg in ixi_cases(folder).values():
        labels = voxels(aseg)
        for left, right in (HIPPOCAMPUS, WHITE, CORTEX, VENTRICLE, (10, 49), (8, 47)):
            assert world(aseg, labels == left)[0] < world(aseg, labels == right)[0]
        left, right = (world(aseg, labels == side) for side in HIPPOCAMPUS)
        assert left[0] < -4
        assert right[0] > 4
        white, stem, cerebellum = (world(aseg, np.isin(labels, s)) for s in (WHITE, (16,), (8, 47)))
        assert max(left[2], right[2]) < white[2] - 4  # 12 mm in life
        assert cerebellum[1] < stem[1] < white[1] + 4  # behind, and not before


def test_the_hippocampus_is_long_and_bent(folder):
    """Its middle lies off the straight line from its front to its back, unlike that of a rod or a ball."""
    for _, _, aseg in ixi_cases(folder).values():
        for side in HIPPOCAMPUS:
            points = nib.affines.apply_affine(aseg.affine, np.argwhere(voxels(aseg) == side))
            back, middle, front = (part.mean(0) for part in np.array_split(points[np.argsort(points[:, 1])], 3))
            length = np.linalg.norm(front - back)
            aside = np.linalg.norm(np.cross(front - back, middle - back)) / length
            assert length > 5
            assert aside > 0.5


def tissue(image, labels, values):
    """Mean intensity of voxels that lie wholly inside a structure, as far as it has any."""
    return voxels(image)[np.isin(labels, values)].mean()


def test_t1_and_t2_order_the_tissues_as_in_life(folder):
    for t1, t2, aseg in ixi_cases(folder).values():
        labels = voxels(aseg)
        csf, grey, white, deep = (
            np.array([tissue(image, labels, values) for image in (t1, t2)]) for values in (VENTRICLE, CORTEX, WHITE, (10, 49))
        )
        assert csf[0] < 0.7 * grey[0] < 0.7 * white[0]
        assert csf[1] > 1.2 * grey[1] > 1.2 * white[1]
        assert grey[0] < deep[0] < white[0]
        hippocampus = [tissue(image, labels, HIPPOCAMPUS) for image in (t1, t2)]
        assert hippocampus[0] < 0.9 * white[0]
        assert hippocampus[1] > 1.15 * white[1]


def test_scans_are_positive_and_noisy(folder):
    for t1, _, _ in ixi_cases(folder).values():
        assert voxels(t1).min() >= 1
        assert 5 < voxels(t1)[:4, :4, -4:].std() < 60  # air


def test_the_bias_field_is_smooth_and_of_some_ten_per_cent():
    """A block of one tissue: medians of its 8³ parts differ, those of neighbours less than those across."""
    image = scan([Layer("white", 2, 41, np.ones((32, 32, 32), np.float32))], "T1", np.random.default_rng(0))
    medians = np.median(image.reshape(4, 8, 4, 8, 4, 8), axis=(1, 3, 5))
    assert 1.1 < medians.max() / medians.min() < 1.6
    assert np.abs(np.diff(medians, axis=0)).max() < 0.8 * np.ptp(medians)


def test_brats_is_stripped_to_exact_zeros_outside_one_brain_common_to_all_modalities(folder):
    for images in brats_cases(folder).values():
        brains = [voxels(images[kind]) > 0 for kind in ("t1", "t1ce", "t2", "flair")]
        for kind, brain in zip(("t1", "t1ce", "t2", "flair"), brains, strict=True):
            assert voxels(images[kind]).min() == 0
            np.testing.assert_array_equal(brain, brains[0])
        assert 0.1 < brains[0].mean() < 0.35
        assert not brains[0][[0, -1]].any()
        assert (voxels(images["seg"])[~brains[0]] == 0).all()


def test_every_tumour_has_a_core_and_oedema_and_shows_in_the_right_contrasts(folder):
    sizes = []
    for images in brats_cases(folder).values():
        seg = voxels(images["seg"])
        assert set(np.unique(seg)) <= {0, 1, 2, 4}
        core = np.isin(seg, (1, 4)).sum()
        assert core >= 1
        assert (seg == 2).sum() > 0
        sizes.append(core)
        if (seg == 4).sum() > 50:
            healthy = (voxels(images["t1"]) > 0) & (seg == 0)
            ratio = {
                kind: voxels(images[kind])[seg == 4].mean() / voxels(images[kind])[healthy].mean() for kind in ("t1", "t1ce")
            }
            assert ratio["t1ce"] > 1.3 > 1.15 > ratio["t1"]
            flair = voxels(images["flair"])
            assert flair[seg == 2].mean() > 1.3 * flair[healthy].mean()
    assert max(sizes) > 10 * min(sizes)


def test_tumours_vary_from_one_tiny_core_to_several_and_the_rim_encloses_the_necrosis():
    white = np.zeros((48, 48, 48), bool)
    white[8:40, 8:40, 8:40] = True
    drawn = [Tumour.draw(np.random.default_rng([0, n])) for n in range(40)]
    tiny = [t for t in drawn if len(t.cores) == 1 and t.cores[0][1] < 7]
    assert 4 <= len(tiny) <= 14
    assert 7 <= sum(len(t.cores) > 1 for t in drawn) <= 20
    for tumour in (*tiny[:3], *[t for t in drawn if len(t.cores) > 1][:3]):
        oedema, core, necrosis = (layer.cover > 0.5 for layer in render_tumour(tumour, white))
        assert core.any()
        assert not (necrosis & ~core).any()
        assert not (core & ~oedema & white).any()
        for where, _ in tumour.cores:
            assert core[tuple(np.argwhere(white)[int(where * white.sum())])]


def all_files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.nii.gz")}


def test_a_subject_does_not_depend_on_how_many_are_asked_for_but_on_the_seed(tmp_path):
    for name, subjects, seed in (("one", 1, 0), ("two", 2, 0), ("again", 2, 0), ("other", 1, 1)):
        write_phantoms(tmp_path / name, subjects=subjects, size=32, seed=seed)
    one, two, again, other = (all_files(tmp_path / name) for name in ("one", "two", "again", "other"))
    assert len(one) == 8
    assert len(two) == 16
    assert two == again
    assert one.items() <= two.items()
    assert not set(one.values()) & set(other.values())


def test_existing_output_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="exists.*empty"):
        write_phantoms(tmp_path, subjects=1, size=32)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(ConfigError, match=r"mine\.txt.*exists"):
        write_phantoms(tmp_path / "mine.txt", subjects=1, size=32)


def test_an_empty_folder_is_filled_and_nothing_else_is_left(tmp_path):
    output = tmp_path / "deep" / "data"
    output.mkdir(parents=True)
    write_phantoms(output, subjects=1, size=32)
    assert sorted(path.name for path in output.iterdir()) == ["brats", "ixi"]
    assert [path.name for path in output.parent.iterdir()] == ["data"]


def test_nothing_half_written_stays_when_a_head_fails(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("monai_tl.phantoms.phantom_files._write_brats", fail)
    with pytest.raises(OSError, match="disk full"):
        write_phantoms(tmp_path / "data", subjects=1, size=32)
    assert list(tmp_path.iterdir()) == []


def test_several_processes_write_the_same_heads(tmp_path):
    for processes in (1, 2):
        write_phantoms(tmp_path / str(processes), subjects=2, size=32, processes=processes)
    files = {path.relative_to(tmp_path / "1") for path in (tmp_path / "1").rglob("*.nii.gz")}
    assert len(files) == 2 * (3 + 5)
    for file in files:
        one, two = (nib.load(tmp_path / str(processes) / file) for processes in (1, 2))
        assert (np.asanyarray(one.dataobj) == np.asanyarray(two.dataobj)).all()
        assert (one.affine == two.affine).all()


def test_nothing_half_written_stays_when_a_process_fails(tmp_path, monkeypatch):
    monkeypatch.setattr("monai_tl.phantoms.phantom_files._write_brats", operator.truediv)  # takes two arguments, not four
    with pytest.raises(OSError, match="BraTS 0.*TypeError"):
        write_phantoms(tmp_path / "data", subjects=1, size=32, processes=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"subjects": 0}, "subjects … 1 … 0"),
        ({"subjects": 1, "brats_subjects": 0}, "brats_subjects … 1 … 0"),
        ({"subjects": 1, "size": 31}, "size … 32 … 31"),
        ({"subjects": 1, "size": 64.5}, "size … 64.5"),
        ({"subjects": 1, "seed": -1}, "seed … 0 … -1"),
    ],
)
def test_impossible_numbers_are_refused_before_anything_is_made(tmp_path, wrong, text):
    with pytest.raises(ConfigError) as raised:
        write_phantoms(tmp_path / "data", **wrong)
    mentions(str(raised.value), text)
    assert list(tmp_path.iterdir()) == []
