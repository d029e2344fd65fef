"""Regions: as written on a command line, those that cannot be meant, those that classes name, and how they are shown."""

from __future__ import annotations

import pytest

from monai_tl.datasets.brats_tracks import TRACKS
from monai_tl.datasets.regions import (
    check_regions,
    foreground_of,
    is_softmax,
    overlaps,
    painted_values,
    read_regions,
    regions_of,
)
from monai_tl.errors import ConfigError
from tests.conftest import mentions

BRATS = {"tumour core": (1, 4), "whole tumour": (1, 2, 4), "enhancing tumour": (4,)}
NAMES = {"spleen": 1, "right kidney": 2, "left kidney": 3}


@pytest.mark.parametrize(
    ("text", "regions"),
    [
        ("tumour core=1,4; whole tumour=1,2,4", {"tumour core": (1, 4), "whole tumour": (1, 2, 4)}),
        ("tumour core=1,4,whole tumour=1,2,4", {"tumour core": (1, 4), "whole tumour": (1, 2, 4)}),
        ("left=17,right=53", {"left": (17,), "right": (53,)}),
        ("  left = 17 ,  right=53 ; ", {"left": (17,), "right": (53,)}),
        ("hippocampus=17, 53", {"hippocampus": (17, 53)}),
        ("b=2,a=1", {"b": (2,), "a": (1,)}),
        ("GD-enhancing (T1ce)=4", {"GD-enhancing (T1ce)": (4,)}),
        ("V1=7", {"V1": (7,)}),
        ("", {}),
        ("  ", {}),
    ],
)
def test_names_with_label_values_are_read_in_their_order(text, regions):
    found = read_regions(text)
    assert found == regions
    assert list(found) == list(regions)


@pytest.mark.parametrize(
    ("text", "regions"),
    [
        ("left kidney, spleen", {"left kidney": (3,), "spleen": (1,)}),
        ("left kidney;spleen", {"left kidney": (3,), "spleen": (1,)}),
        ("kidneys=2,3,spleen", {"kidneys": (2, 3), "spleen": (1,)}),
        ("spleen=9", {"spleen": (9,)}),
        ("all", {"spleen": (1,), "right kidney": (2,), "left kidney": (3,)}),
    ],
)
def test_a_table_gives_the_values_of_names(text, regions):
    found = read_regions(text, NAMES)
    assert found == regions
    assert list(found) == list(regions)


def test_all_without_a_table_is_a_name_like_others():
    with pytest.raises(ConfigError) as refusal:
        read_regions("all")
    mentions(str(refusal.value), "'all' … all=VALUE")
    assert read_regions("all=1,2") == {"all": (1, 2)}


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("left=17,left=53", "'left' twice … left=17,left=53"),
        ("left=17;right", "'right' … right=VALUE"),
        ("left", "'left' … left=VALUE"),
        ("left=", "left="),
        ("left=;right=53", "left=;right=53"),
        ("=17", "=17"),
        ("left=17=18", "left=17=18"),
        ("left=seventeen", "left=seventeen"),
        ("left=-17", "left=-17"),
        ("left=1.5", "left=1.5"),
        ("left=17 53", "left=17 53"),
        (";left=17", ";left=17"),
        ("left=17,53,", None),
    ],
)
def test_what_cannot_be_read_is_refused(text, facts):
    if facts is None:
        assert read_regions(text) == {"left": (17, 53)}, "a comma at the end adds nothing"
        return
    with pytest.raises(ConfigError) as refusal:
        read_regions(text)
    mentions(str(refusal.value), facts)


def test_a_name_that_the_table_lacks_is_refused_with_those_that_it_has():
    with pytest.raises(ConfigError) as refusal:
        read_regions("spleen, left kindey", NAMES)
    mentions(str(refusal.value), "'left kindey' … 'left kidney' … spleen, right kidney, left kidney")
    with pytest.raises(ConfigError, match="'spleen' twice"):
        read_regions("spleen,spleen", NAMES)


@pytest.mark.parametrize(
    ("regions", "facts"),
    [
        ({}, "one region or more … {}"),
        ([("left", (17,))], "one region or more"),
        ({"left": ()}, "region 'left' … label values … []"),
        ({"left": (0, 17)}, "region 'left' … whole numbers from 1 … [0, 17]"),
        ({"left": (-1,)}, "region 'left' … [-1]"),
        ({"left": (17, 17)}, "region 'left' … different … [17, 17]"),
        ({"left": ("17",)}, "region 'left' … ['17']"),
        ({"left": (17.0,)}, "region 'left' … [17.0]"),
        ({"left": 17}, "region 'left' … 17"),
        ({"left": (17, 18)}, "'left' … 18 … 17, 53, 255"),
        ({"left": (17,), "unlabelled": (255, 53)}, "'unlabelled' … 255 … ignored"),
        ({"left": (17,), "also left": (17,)}, "'left' … 'also left' … same … 17"),
        ({"one": (17, 53), "other": (53, 17)}, "'one' … 'other' … same … 17, 53"),
        ({"background": (17,)}, "'background' … in no region"),
        ({" ": (17,)}, "' '"),
    ],
)
def test_regions_that_cannot_be_meant_are_refused(regions, facts):
    with pytest.raises(ConfigError) as refusal:
        check_regions(regions, labels=(17, 53, 255), ignore=(255,))
    mentions(str(refusal.value), facts)


def test_regions_may_overlap_and_any_value_may_occur_where_labels_are_not_known():
    check_regions(BRATS, labels=(1, 2, 4))
    check_regions({"left": (17,), "right": (10**6,)})
    assert overlaps(BRATS) == [
        ("tumour core", "whole tumour"),
        ("tumour core", "enhancing tumour"),
        ("whole tumour", "enhancing tumour"),
    ]
    assert overlaps({"left": (17,), "right": (53,)}) == []
    assert foreground_of(BRATS) == (1, 4, 2), "each value once"


def test_background_first_makes_classes_exclude_each_other():
    assert is_softmax(["background", "left"])
    assert not is_softmax(["left", "background"])
    assert not is_softmax(["left"])
    assert not is_softmax([])


def test_classes_name_regions_in_their_order():
    assert list(regions_of(BRATS, ["whole tumour", "tumour core"]).items()) == [
        ("whole tumour", (1, 2, 4)),
        ("tumour core", (1, 4)),
    ]
    sides = {"right": [53], "left": [17]}
    assert list(regions_of(sides, ["background", "left", "right"]).items()) == [("left", (17,)), ("right", (53,))]
    assert regions_of(BRATS, ["background", "whole tumour"]) == {"whole tumour": (1, 2, 4)}


def test_one_class_takes_the_one_region_whatever_it_is_called():
    """Datalists made with --foreground do not name it."""
    one = {"foreground": (17, 53)}
    assert regions_of(one, ["background", "hippocampus"]) == {"hippocampus": (17, 53)}
    assert regions_of(one, ["hippocampus"]) == {"hippocampus": (17, 53)}
    with pytest.raises(ConfigError, match="no region 'left'"):
        regions_of(one, ["background", "left", "right"])
    with pytest.raises(ConfigError, match="no region 'hippocampus'"):
        regions_of({"left": (17,)}, ["background", "hippocampus"])


@pytest.mark.parametrize(
    ("classes", "facts"),
    [
        (["background", "tumour core", "whole tumour"], "'tumour core' … 'whole tumour' … 1, 4 … sigmoid"),
        (["background", "enhancing tumour", "whole tumour"], "'enhancing tumour' … 'whole tumour' … (4)"),
        (["tumour core", "whole tumor"], "'whole tumor' … 'whole tumour' … --regions"),
        (["tumour core", "background"], "background … ['tumour core', 'background']"),
        (["background"], "background … ['background']"),
        ([], "background … []"),
    ],
)
def test_classes_that_do_not_fit_the_datalist_are_refused(classes, facts):
    with pytest.raises(ConfigError) as refusal:
        regions_of(BRATS, classes)
    mentions(str(refusal.value), facts)


@pytest.mark.parametrize(
    ("regions", "painted"),
    [
        ({"left": (17,), "right": (53,)}, {"left": 17, "right": 53}),
        ({"hippocampus": (17, 53)}, {"hippocampus": 1}),
        (BRATS, {"whole tumour": 2, "tumour core": 1, "enhancing tumour": 4}),
        ({"enhancing": (4,), "whole": (1, 2, 4)}, {"whole": 2, "enhancing": 1}),
        ({"one": (1, 2), "other": (2, 3)}, {"one": 1, "other": 2}),
        ({"one": (1, 2), "other": (2, 3), "both": (2,)}, {"one": 1, "other": 3, "both": 2}),
        ({"left": (17,), "rest": (53, 54)}, {"rest": 2, "left": 1}),
        ({"liver": (300,)}, {"liver": 300}),
    ],
    ids=["disjoint", "one of two values", "nested", "ambiguous", "crossing", "crossing, one inside", "mixed", "one value"],
)
def test_a_segmentation_shows_the_users_values_where_they_are_unambiguous(regions, painted):
    """Otherwise 1, 2, … in the order of the regions; the largest region is painted first in any case."""
    found = painted_values(regions)
    assert found == painted
    assert list(found) == list(painted)


@pytest.mark.parametrize("track", TRACKS, ids=lambda track: track.name)
def test_the_regions_of_each_brats_track_hold_its_own_values(track):
    check_regions(track.regions, tuple(track.labels))
    assert track.regions["tumour core"] == track.core
    whole = track.regions.get("whole tumour", track.core)
    assert set(track.core) <= set(whole)
    assert track.cavity not in whole


def test_the_regions_of_brats_2017_and_of_radiotherapy():
    tracks = {track.name: track.regions for track in TRACKS}
    assert tracks["gli2017"] == BRATS
    assert tracks["menrt2024"] == {"tumour core": (1,)}


def test_regions_and_foreground_are_two_ways_of_saying_it(verb, tmp_path):
    """One of them would be ignored without a word."""
    words = ("--T1", "{subject}.nii", "--label", "{subject}_seg.nii", "--output", tmp_path / "datalist.json")
    answer = verb("datalist", "files", *words, "--regions", "left=17,right=53", "--foreground", "17")
    assert answer.code == 2
    mentions(answer.err, "--regions … --foreground 17 … omit one")
