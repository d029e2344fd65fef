"""The picture of a case with its caption."""

from __future__ import annotations

from itertools import pairwise

import nibabel as nib
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from monai_tl.imaging.preview import CAPTION, GAP, NARROWEST, PREDICTION, TRUTH, region_colours
from monai_tl.inference.overlays import write_overlay

HEIGHT = 240


@pytest.fixture
def scan(tmp_path):
    """A scan of 20×20×20 voxels of 1 × 2 × 2.5 mm: 200 voxels are 1 ml."""
    voxels = np.random.default_rng(0).uniform(1, 2, (20, 20, 20)).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, np.diag([1, 2, 2.5, 1])), tmp_path / "T1.nii")
    return str(tmp_path / "T1.nii")


@pytest.fixture
def captions(monkeypatch):
    """What is written below pictures: text -> its colour, and the row of each."""
    written: dict[str, tuple] = {}
    text = ImageDraw.ImageDraw.text

    def noted(self, place, what, fill=None, font=None):
        written[what] = (fill, place)
        text(self, place, what, fill=fill, font=font)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", noted)
    return written


def boxes(*starts, size=10) -> np.ndarray:
    """A box of 10×10×10 voxels, 5 ml, for each region."""
    masks = np.zeros((len(starts), 20, 20, 20), np.float32)
    for mask, start in zip(masks, starts, strict=True):
        mask[start : start + size, 5:15, 5:15] = 1
    return masks


def count(picture, colour) -> int:
    return int((np.asarray(picture) == colour).all(axis=-1).sum())


def test_one_region_with_its_reference(tmp_path, scan, captions):
    write_overlay(tmp_path / "IXI012.png", scan, boxes(2), boxes(4, size=8))
    picture = Image.open(tmp_path / "IXI012.png")
    assert picture.height == HEIGHT + CAPTION, "a row of planes and a line of text"
    assert {text: colour for text, (colour, _) in captions.items()} == {
        "IXI012": (255, 255, 255),
        "prediction 5.00 ml": PREDICTION,
        "truth 4.00 ml": TRUTH,
        "left is the patient's right": (255, 255, 255),
    }
    assert count(picture, PREDICTION) > 100
    assert count(picture, TRUTH) > 100


def test_two_regions_with_their_references_are_two_rows_and_a_legend(tmp_path, scan, captions):
    regions = ("tumour core", "whole tumour")
    write_overlay(tmp_path / "ann.png", scan, boxes(2, 8), np.stack([boxes(4, size=8)[0], boxes(0)[0] * 0]), regions)
    picture = Image.open(tmp_path / "ann.png")
    rows = len({place[1] for _, place in captions.values()})
    assert picture.height == 2 * HEIGHT + GAP + rows * CAPTION
    one, other = region_colours(2)
    assert captions["tumour core 5.00 / 4.00 ml"][0] == one
    assert captions["whole tumour 5.00 / 0.00 ml"][0] == other
    assert "above: prediction, below: truth" in captions
    above, below = (picture.crop((0, top, picture.width, top + HEIGHT)) for top in (0, HEIGHT + GAP))
    assert all(count(part, one) > 100 for part in (above, below))
    assert count(above, other) > 100
    assert count(below, other) == 0, "the reference has none of the second region"


def test_two_regions_without_a_reference_are_one_row(tmp_path, scan, captions):
    write_overlay(tmp_path / "ann.png", scan, boxes(2, 8), regions=("left", "right"))
    rows = len({place[1] for _, place in captions.values()})
    assert Image.open(tmp_path / "ann.png").height == HEIGHT + rows * CAPTION
    assert {"left 5.00 ml", "right 5.00 ml"} <= set(captions)
    assert not any("truth" in text for text in captions)


def test_ignored_voxels_of_a_reference_are_not_drawn_and_have_no_volume(tmp_path, scan, captions):
    truth = boxes(2, 8)
    truth[:, :, :10] = -1
    write_overlay(tmp_path / "ann.png", scan, boxes(2, 8), truth, ("left", "right"))
    assert "left 5.00 / 2.50 ml" in captions


def test_a_caption_of_many_regions_has_as_many_lines_as_it_needs(tmp_path, scan, captions):
    """No text ends outside the picture, and none is written over another."""
    regions = [f"a region with a rather long name, {n}" for n in range(9)]
    write_overlay(tmp_path / "ann.png", scan, boxes(*range(9)), regions=regions)
    picture = Image.open(tmp_path / "ann.png")
    lines = sorted({place[1] for _, place in captions.values()})
    assert len(lines) > 3
    assert np.diff(lines).tolist() == [CAPTION] * (len(lines) - 1)
    assert picture.height == HEIGHT + CAPTION * len(lines)
    font = ImageFont.load_default(CAPTION - 8)
    for line in lines:
        spans = sorted((x, x + font.getlength(text)) for text, (_, (x, y)) in captions.items() if y == line)
        assert spans[-1][1] <= picture.width
        assert spans[-1][1] <= max(picture.width, NARROWEST)
        assert all(one[1] < other[0] for one, other in pairwise(spans))
