"""The picture of a case shows what lies where."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from monai_tl.imaging.preview import (
    CAPTION,
    GAP,
    OKABE_ITO,
    PREDICTION,
    TRUTH,
    Drawn,
    draw_case,
    draw_planes,
    region_colours,
    three_planes,
    with_caption,
)


def pixels_of(picture, colour):
    return np.argwhere((picture == colour).all(axis=-1))


def test_outlines_lie_where_the_masks_are_in_radiological_view():
    image = np.random.default_rng(0).normal(size=(40, 40, 40))
    truth, prediction = np.zeros((2, 40, 40, 40), dtype=bool)
    truth[28:36, 16:24, 16:24] = True  # high i: the patient's left, on axes that point right, would be low i
    picture = three_planes(image, prediction, truth, height=80)
    assert picture.shape == (80, 3 * 80 + 2 * GAP, 3)
    assert picture.dtype == np.uint8
    axial = pixels_of(picture[:, :80], TRUTH)
    assert axial[:, 1].max() < 40, "the patient's right is on the viewer's left"
    assert len(pixels_of(picture, PREDICTION)) == 0
    up = np.zeros_like(truth)
    up[16:24, 16:24, 30:38] = True
    coronal = pixels_of(three_planes(image, up, None, height=80)[:, 80 + GAP : 160 + GAP], PREDICTION)
    assert coronal[:, 0].max() < 40, "up is up"


def test_nothing_found_and_a_constant_image_still_give_a_picture():
    empty = np.zeros((8, 9, 10), dtype=bool)
    assert three_planes(np.zeros((8, 9, 10)), empty, empty, height=30).shape[0] == 30


def test_planes_meet_in_the_largest_part_and_not_between_two():
    image, two = np.ones((60, 40, 40)), np.zeros((60, 40, 40), dtype=bool)
    two[5:10, 15:25, 15:25] = two[50:56, 15:25, 15:25] = True
    sagittal = three_planes(image, two, height=80)[:, -80:]
    assert len(pixels_of(sagittal, PREDICTION)) > 0, "the middle of both is in neither"


def test_the_air_around_a_head_is_left_out():
    image = np.zeros((60, 60, 60))
    image[20:40, 20:40, 20:40] = np.linspace(1, 2, 20)
    picture = three_planes(image, image > 1.5, height=78)
    assert picture.shape[1] == 3 * 78 + 2 * GAP
    assert (picture[:, :78].max(axis=-1) > 0).mean() > 0.5, "26 of 60 voxels across"


def test_a_scan_is_drawn_upright_in_millimetres_however_it_is_stored():
    head = np.zeros((20, 30, 40), np.float32)
    head[2:18, 2:28, 2:38] = np.random.default_rng(0).uniform(1, 2, (16, 26, 36))
    mask = head > 1.9
    image = nib.Nifti1Image(head, np.diag([2.0, 1, 1, 1]))
    upright = draw_case(image, mask, height=90)
    for axes in ([[1, -1], [2, 1], [0, 1]], [[2, 1], [0, -1], [1, -1]]):
        scan, found = (i.as_reoriented(np.array(axes)) for i in (image, nib.Nifti1Image(mask.astype(np.uint8), image.affine)))
        assert np.array_equal(draw_case(scan, np.asanyarray(found.dataobj) > 0, height=90), upright)
    axial = np.argmax((upright == 0).all(axis=(0, 2))[30:]) + 30  # where the gap begins; the box is the whole image here
    assert axial == pytest.approx(90 * 2 * 20 / 30, abs=12)  # 2 mm wide voxels, with black columns of air at the edge


def test_edges_of_another_image_lie_where_it_changes():
    image = np.full((40, 40, 40), 1.0)
    image[1:, 1:, 1:] = 2
    other = np.zeros_like(image)
    other[10:30, 10:30, 10:30] = 100
    picture = draw_planes(image, [Drawn(other, TRUTH, edges=True)], spacing=(1, 1, 1), height=160)[:, :160]
    edges = pixels_of(picture, TRUTH)
    assert len(edges) > 200
    away = np.abs(np.abs(edges - 79.5).max(axis=1) - 40)  # from the square's border, 10 of 40 voxels from the middle
    assert away.max() <= 4
    assert len(pixels_of(draw_planes(image, [Drawn(image * 0, TRUTH, edges=True)], spacing=(1, 1, 1), height=160), TRUTH)) == 0


def two_regions():
    """A scan of 40×40×40 voxels, and two boxes side by side: (region, i, j, k)."""
    image = nib.Nifti1Image(np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32), np.eye(4))
    masks = np.zeros((2, 40, 40, 40), bool)
    masks[0, 8:18, 10:30, 10:30] = True
    masks[1, 20:32, 10:30, 10:30] = True
    return image, masks


def test_each_region_has_its_own_colour_where_it_is():
    """In the axial plane, seen from below, the second box (the patient's left) is on the viewer's left."""
    image, masks = two_regions()
    one, other = region_colours(2)
    picture = draw_case(image, masks, height=80)
    assert picture.shape == (80, 3 * 80 + 2 * GAP, 3)
    columns = [pixels_of(picture[:, :80], colour)[:, 1] for colour in (one, other)]
    assert all(len(of) > 50 for of in columns)
    assert (columns[0].max() < columns[1].min()) or (columns[1].max() < columns[0].min()), "side by side, as the boxes are"
    turned = draw_case(image, masks[::-1], height=80)
    assert [np.sort(pixels_of(turned[:, :80], colour)[:, 1]).tolist() for colour in (other, one)] == [
        np.sort(of).tolist() for of in columns
    ]


def test_several_regions_with_a_reference_are_two_rows_through_the_same_planes():
    """Above the prediction, below the reference; both rows show the scan at the reference's place."""
    image, masks = two_regions()
    truth = np.zeros_like(masks)
    truth[0, 8:18, 2:8, 2:8] = True
    picture = draw_case(image, masks, truth, height=80)
    assert picture.shape == (2 * 80 + GAP, 3 * 80 + 2 * GAP, 3)
    above, gap, below = picture[:80], picture[80 : 80 + GAP], picture[80 + GAP :]
    assert not gap.any()
    one, other = region_colours(2)
    assert len(pixels_of(below, one)) > 0
    assert len(pixels_of(below, other)) == 0, "the reference has no second region"
    through = draw_planes(image.get_fdata(), [], spacing=(1, 1, 1), height=80, through=[truth[0]])
    drawn = (below == one).all(axis=-1)
    assert (below[~drawn] == through[~drawn]).mean() > 0.95
    drawn = (above == one).all(axis=-1) | (above == other).all(axis=-1)
    assert (above[~drawn] == through[~drawn]).mean() > 0.95


def test_a_region_that_is_empty_or_all_that_are_still_give_a_picture():
    image, masks = two_regions()
    masks[1] = False
    assert len(pixels_of(draw_case(image, masks, height=80), region_colours(2)[0])) > 0
    picture = draw_case(image, np.zeros_like(masks), np.zeros_like(masks), height=80)
    assert picture.shape[0] == 2 * 80 + GAP
    assert not any(len(pixels_of(picture, colour)) for colour in region_colours(2))


def test_one_region_is_drawn_the_same_with_and_without_a_first_axis():
    image, masks = two_regions()
    assert np.array_equal(draw_case(image, masks[:1], masks[1:]), draw_case(image, masks[0], masks[1]))


def test_colours_are_those_of_okabe_and_ito_and_differ_for_21_regions():
    colours = region_colours(24)
    assert colours[:2] == [PREDICTION, TRUTH]
    assert colours[:7] == list(OKABE_ITO)
    assert colours[7] == ((230 + 255) // 2, (159 + 255) // 2, 255 // 2), "half way to white"
    assert colours[14] == (115, 79, 0), "half way to black"
    assert len(set(colours[:21])) == 21
    assert colours[21:] == colours[:3]


def test_values_of_a_label_are_outlined_as_their_mask_is():
    image, masks = two_regions()
    label = np.where(masks[0], 3, 0) + np.where(masks[1], 7, 0)
    voxels, colour = image.get_fdata(), (1, 2, 3)
    for values, mask in (((3,), masks[0]), ((3, 7), masks.any(axis=0))):
        planes = {"spacing": (1, 1, 1), "height": 80, "through": [masks[1]]}
        picture = draw_planes(voxels, [Drawn(label, colour, values=values)], **planes)
        assert np.array_equal(picture, draw_planes(voxels, [Drawn(mask, colour)], **planes))
        assert len(pixels_of(picture, colour)) > 50


def test_a_slab_of_few_slices_is_drawn_smaller_and_not_wider():
    """30 slices of 100 voxels: coronal and sagittal planes keep their proportions, with black above and below."""
    image = np.random.default_rng(0).uniform(1, 2, (100, 100, 30))
    picture = draw_planes(image, [], spacing=(1, 1, 1), height=100)
    assert picture.shape == (100, 100 + 2 * 160 + 2 * GAP, 3)
    for left in (100 + GAP, 260 + 2 * GAP):
        rows = np.flatnonzero(picture[:, left : left + 160].max(axis=(1, 2)))
        assert (rows[0], rows[-1] + 1) == (26, 74), "160 · 30 / 100 rows in the middle"


def test_a_caption_in_a_dark_colour_can_be_read():
    picture = Image.new("RGB", (600, 10))
    for colour, ground in ((region_colours(15)[14], 255), (region_colours(1)[0], 0)):
        text = np.asarray(with_caption(picture, [("aorta", colour)]))[10:]
        assert (text == colour).all(axis=-1).any()
        assert text[CAPTION // 2, 6 - 1].tolist() == [ground] * 3
