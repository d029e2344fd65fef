"""Phantoms spoiled on purpose are recognised, each by its reason; clean ones are not suspected."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from monai_tl.datasets import ixi
from monai_tl.quality import measures
from monai_tl.quality.cohort import ROBUST_Z, robust_z
from monai_tl.quality.measures import field_of_view, fill_missing, measure_case
from monai_tl.quality.outliers import asymmetry, judge
from monai_tl.quality.region_volumes import plausible_volumes
from tests.conftest import IXI, mentions

SIDES = {"foreground": (17, 53)}
MODALITIES = ("T1", "T2")


@pytest.fixture(scope="module")
def cases(heads):
    return ixi.find_ixi_cases(heads)


@pytest.fixture(scope="module")
def clean(cases):
    return [measure_case(case, MODALITIES, SIDES) for case in cases]


@pytest.fixture
def spoiled(cases, clean, tmp_path):
    """Change files of the first case, on axes right, anterior, superior; gives it as judged among the clean others."""

    def spoil(change, *roles, foreground=SIDES):
        case = dict(cases[0])
        for role in roles:
            case[role] = str(tmp_path / f"{role}.nii.gz")
            save_changed(cases[0][role], case[role], change)
        return judged(measure_case(case, MODALITIES, foreground))

    def judged(own):
        found, _ = judge([own, *clean[1:]])
        return next(one for one in found if one.measures.subject == own.subject)

    spoil.judged = judged
    return spoil


def save_changed(before, after, change):
    image = nib.load(before)
    turned = nib.as_closest_canonical(image)
    volume = change(np.asanyarray(turned.dataobj).copy())
    back = ornt_transform(axcodes2ornt("RAS"), io_orientation(image.affine))
    nib.save(nib.Nifti1Image(volume, turned.affine).as_reoriented(back), after)


def test_crops_are_said_once_and_not_case_by_case(clean):
    """Most cases cut at most faces: that is how they were made."""
    shares = dict.fromkeys(("left", "right", "back", "front", "bottom", "top"), 0.9)
    crops = [replace(one, cut=dict.fromkeys(one.cut, shares)) for one in clean]
    found, notes = judge(crops)
    assert not [s for one in found for s in one.suspicions if "cut at" in s.reason]
    assert any("these are crops" in note for note in notes)
    found, notes = judge([crops[0], *clean[1:]])
    assert [one.measures.subject for one in found if any("cut at" in s.reason for s in one.suspicions)] == [crops[0].subject]
    assert not any("these are crops" in note for note in notes)


def test_clean_heads_are_not_suspected(clean):
    found, notes = judge(clean)
    assert [one.reasons for one in found] == [()] * 10, "0 of 10 are suspect"
    assert any("10 of 10 heads are not life-size" in note for note in notes), "and it says why volumes in ml are not judged"


def test_a_head_cut_at_the_top_is_recognised_and_a_neck_is_not(spoiled):
    one = spoiled(lambda volume: volume[:, :, :34], "T1", "T2", "label")
    assert any("cut at the top of T1's field of view" in reason for reason in one.reasons)
    assert any("34 mm from bottom to top, the cohort's median is 48" in reason for reason in one.reasons)
    neck = spoiled(lambda volume: volume[:, :, 4:], "T1", "T2", "label")
    assert neck.reasons == (), "every field of view ends somewhere in the neck"


@pytest.mark.parametrize(("face", "cut"), [("front", np.s_[:, :30]), ("back", np.s_[:, 14:]), ("left", np.s_[16:])])
def test_a_head_cut_elsewhere_is_recognised(spoiled, face, cut):
    one = spoiled(lambda volume: volume[cut], "T1", "T2", "label")
    assert any(f"cut at the {face} of T1's field of view" in reason for reason in one.reasons)


def test_the_t2_of_another_head_is_recognised(cases, spoiled, tmp_path):
    own = measure_case({**cases[0], "T2": other_on_grid(cases, tmp_path)}, MODALITIES, SIDES)
    reasons = spoiled.judged(own).reasons
    assert any("mutual information of T2 and T1 is" in reason and "robust z -" in reason for reason in reasons)


def other_on_grid(cases, folder):
    image = nib.load(cases[1]["T2"])
    path = str(folder / "moved.nii.gz")
    nib.save(nib.Nifti1Image(np.asanyarray(image.dataobj), nib.load(cases[0]["T1"]).affine), path)
    return str(path)


@pytest.mark.parametrize(("axis", "step", "back"), [(1, 2, "back"), (0, 1, "left"), (2, -2, "top")])
def test_a_shifted_t2_is_recognised_with_the_way_back(spoiled, axis, step, back):
    one = spoiled(lambda volume: np.roll(volume, step, axis), "T2")
    expected = f"T2 would fit better further to the {back}, by {abs(step)}.0 mm (mean over the head); at most 0.75 is usual"
    assert any(reason == expected for reason in one.reasons)
    assert any("mutual information of T2 and T1 is" in reason for reason in one.reasons)


def test_missing_slices_are_recognised_and_counted(spoiled):
    def blank(volume):
        volume[:, :, 22:25] = 0
        return volume

    one = spoiled(blank, "T1")
    assert one.reasons == ("3 slices missing in T1 from bottom to top (one value only)",), (
        "and nothing else is concluded from it"
    )


def test_a_t2_that_leaves_out_the_crown_is_recognised_and_one_that_leaves_out_the_neck_is_not(spoiled):
    def without(part):
        def change(volume):
            volume[part] = 0
            return volume

        return change

    assert any("top of T2's field of view" in reason for reason in spoiled(without(np.s_[:, :, 32:]), "T2").reasons)
    assert spoiled(without(np.s_[:, :, :5]), "T2").reasons == ()


def test_a_label_beyond_the_t2_is_recognised(spoiled):
    def upper_half(volume):
        volume[:, :, :22] = 0
        return volume

    reasons = spoiled(upper_half, "T2").reasons
    assert any("of the label is outside T2's field of view" in reason for reason in reasons)


def test_half_a_hippocampus_is_recognised(spoiled):
    def half(volume):
        where = np.argwhere(volume == 17)
        front = where[where[:, 1] > np.median(where[:, 1]) - 2]
        volume[tuple(front.T)] = 2
        return volume

    one = spoiled(half, "label")
    assert any(reason.startswith("hippocampi of") and "differ by" in reason for reason in one.reasons)
    assert asymmetry(one.measures) > 0.35, "the left one is the smaller"


def test_swapped_sides_are_recognised(spoiled):
    def swap(volume):
        return np.select([volume == 17, volume == 53], [53, 17], volume).astype(volume.dtype)

    assert "the left hippocampus is to the right of the right one: the sides may be swapped" in spoiled(swap, "label").reasons


def test_dlmuse_codes_the_sides_the_other_way_round(cases, tmp_path):
    """47 is the right one there; 47 is the right cerebellar cortex in FreeSurfer's coding, so only the foreground shows it."""

    def to_dlmuse(volume):
        return np.select([volume == 17, volume == 53], [48, 47], 0).astype(np.uint8)

    save_changed(cases[0]["label"], tmp_path / "label.nii.gz", to_dlmuse)
    case = {**cases[0], "label": str(tmp_path / "label.nii.gz")}
    here, there = measure_case(case, MODALITIES, {"foreground": (47, 48)}), measure_case(cases[0], MODALITIES, SIDES)
    assert (here.left_ml, here.right_ml, here.swapped) == (there.left_ml, there.right_ml, False)
    assert measure_case(cases[0], MODALITIES, {"core": (1, 4)}).left_ml is None, "a tumour has no sides"


def test_other_axes_and_another_spacing_are_recognised(cases, spoiled, tmp_path):
    case = dict(cases[0])
    for role in (*MODALITIES, "label"):
        case[role] = str(tmp_path / f"{role}.nii.gz")
        nib.save(nib.as_closest_canonical(nib.load(cases[0][role])), case[role])
    assert spoiled.judged(measure_case(case, MODALITIES, SIDES)).reasons == ("axes RAS, most cases have PSR",)
    for role in (*MODALITIES, "label"):
        image = nib.load(cases[0][role])
        nib.save(nib.Nifti1Image(np.asanyarray(image.dataobj), image.affine @ np.diag([1, 1, 1.1, 1])), case[role])
    reasons = spoiled.judged(measure_case(case, MODALITIES, SIDES)).reasons
    assert reasons == ("spacing 1 × 1 × 1.1 mm, most cases have 1 × 1 × 1",)


def test_volumes_of_life_size_heads_are_held_against_those_of_adults(cases, tmp_path):
    """The small heads with voxels of 4 mm are life-size; their hippocampi are then larger than an adult's."""
    case = {"subject": "large"}
    for role in (*MODALITIES, "label"):
        image = nib.load(cases[0][role])
        volume = np.asanyarray(image.dataobj).copy()
        case[role] = str(tmp_path / f"{role}.nii.gz")
        nib.save(nib.Nifti1Image(volume, image.affine @ np.diag([4, 4, 4, 1])), case[role])
    plausible, _ = plausible_volumes(IXI, SIDES)
    (one,), notes = judge([measure_case(case, MODALITIES, SIDES)], plausible=plausible)
    assert 800 < one.measures.head_ml < 8000
    mentions("; ".join(one.reasons), f"the label of {one.measures.foreground_ml:.3g} ml … 3 to 11 ml")
    assert notes == ["1 usable cases are too few to be compared with each other, which needs at least 8."]


def test_what_cannot_be_read_is_a_problem_of_that_case_and_the_rest_is_measured(cases, spoiled, tmp_path):
    (tmp_path / "T2.nii.gz").write_bytes(b"")
    own = measure_case({**cases[0], "T2": str(tmp_path / "T2.nii.gz")}, MODALITIES, SIDES)
    assert [problem.split(" (")[0] for problem in own.problems] == ["T2 is not readable"]
    assert own.left_ml > 0
    assert spoiled.judged(own).state == "problem"
    other = spoiled(lambda volume: volume[:-1], "T2").measures
    assert "; resample one to the other (`monai_tl prepare files`)" in other.problems[0]
    assert other.information == {}
    constant = spoiled(lambda volume: volume * 0 + 7, "T1").measures
    assert [problem.split(":")[0] for problem in constant.problems] == ["T1 has the same value in every voxel (7)"]


def test_an_empty_label_and_a_label_on_the_border_are_suspect(spoiled):
    assert spoiled(lambda volume: volume * 0, "label").reasons[0] == "label contains no foreground (17, 53), only 0"

    def to_the_border(volume):
        volume[0, 20:23, 20] = 17
        return volume

    mentions("; ".join(spoiled(to_the_border, "label").reasons), "3 foreground … volume's")


def test_measures_by_hand():
    rng = np.random.default_rng(0)
    filled = np.zeros((9, 9, 9), np.float32)
    filled[2:8, 1:9, 3:7] = rng.normal(size=(6, 8, 4))
    filled[4] = 0
    box, missing = field_of_view(filled)
    assert box == (slice(2, 8), slice(1, 9), slice(3, 7))
    assert [list(slices) for slices in missing] == [[4], [], []]
    assert np.array_equal(fill_missing(filled, missing)[4], filled[3])


def test_robust_z_is_not_moved_by_the_outlier_it_looks_for():
    assert robust_z([1, 2, 3, 4, 5]) == pytest.approx(np.array([-2, -1, 0, 1, 2]) / 1.4826)
    values = [*np.random.default_rng(0).normal(10, 1, 200), 30]
    assert robust_z(values)[-1] > 3 * ROBUST_Z
    assert robust_z([5.0, 5, 5, 6]) == [0, 0, 0, np.inf]
    assert robust_z([5.0, 5, 5, 6], least_spread=0.5)[-1] == 2


def test_what_cannot_be_read_when_it_is_measured_is_a_problem(cases, monkeypatch):
    """Whatever keeps a role from being measured is said, also where the check before it found nothing."""
    case, opened = cases[0], measures.open_scan

    def fails(path):
        if path == case["T2"]:
            raise TypeError("odd")
        return opened(path)

    monkeypatch.setattr(measures, "open_scan", fails)
    measured = measure_case(case, ["T1", "T2"], SIDES)
    assert measured.problems == [f"T2 could not be measured (TypeError: odd): {case['T2']}"]
    assert list(measured.ranges) == ["T1"]
