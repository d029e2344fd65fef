"""One image under two ids, or as two modalities."""

from __future__ import annotations

import pytest

from monai_tl.errors import DataError
from monai_tl.identity.fingerprints import Fingerprint
from monai_tl.identity.identical import find_identical, refuse_identical
from monai_tl.identity.persons import is_counted, person_of


def prints(**cases):
    """``ann="ab"``: T1 has the voxels a, T2 b; labels are all alike."""
    roles = ("T1", "T2", "label")
    return {
        subject: {role: Fingerprint(f"{subject}{role}", voxels, "") for role, voxels in zip(roles, [*images, "0"], strict=True)}
        for subject, images in cases.items()
    }


def test_each_group_is_listed_once_and_labels_do_not_count():
    groups = find_identical(prints(ann="ab", bob="cd", eve="ab", joe="ef", kim="fg"))
    assert [group.images for group in groups] == [(("ann", "T1"), ("eve", "T1")), (("joe", "T2"), ("kim", "T1"))]
    assert find_identical(prints(ann="ab", bob="cd")) == []


def test_identical_images_are_refused_across_splits_and_reported_within_one():
    of = prints(ann="ab", bob="cd", eve="ab")
    assert refuse_identical(of, {"train": ["ann", "eve"], "test": ["bob"]}) == ["T1 of ann (train) = T1 of eve (train)"]
    assert refuse_identical(of, {"train": ["ann"], "test": ["bob"]}) == ["T1 of ann (train) = T1 of eve (no split)"]
    with pytest.raises(DataError, match=r"--leave_out eve`:\s+T1 of ann \(train\) = T1 of eve \(test\)$"):
        refuse_identical(of, {"train": ["ann"], "test": ["bob", "eve"]})
    third = prints(ann="ab", bob="ab", eve="ab")
    with pytest.raises(DataError, match=r"ann \(no split\) = T1 of bob \(train\) = T1 of eve \(test\)"):
        refuse_identical(third, {"train": ["bob"], "test": ["eve"]})


def test_an_image_that_is_its_own_label_is_refused():
    """A pattern that matched the label: the network would learn to copy it, to a Dice of nearly 1."""
    cases = prints(ann="ab", bob="c0")
    with pytest.raises(DataError, match=r"label.*\s+T2 of bob \(train\)$"):
        refuse_identical(cases, {"train": ["ann", "bob"]})


def test_two_modalities_of_one_case_are_refused():
    with pytest.raises(DataError, match=r"modalities.*\s+T1 of bob \(test\) = T2 of bob \(test\)"):
        refuse_identical(prints(ann="ab", bob="cc"), {"train": ["ann"], "test": ["bob"]})


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("BraTS-GLI-00005-100", "BraTS-GLI-00005-101", True),
        ("BraTS-GLI-00005-100", "BraTS-GLI-00006-100", False),
        ("IXI012", "IXI012-HH-1211", True),
        ("IXI012", "ixi012", True),
        ("IXI012", "IXI0123", False),
        ("sub-07_ses-1", "sub-07_ses-2", True),
        ("sub-07", "sub-071", False),
        ("Brats18_CBICA_AAB_1", "Brats18_CBICA_AAG_1", False),
    ],
)
def test_who_is_meant(one, other, same):
    assert (person_of(one) == person_of(other)) == same


def test_a_number_names_nobody():
    assert all(map(is_counted, ("case_001", "sub-07", "sub-07_ses-1", "12", "Patient 3", "s1")))
    assert not any(map(is_counted, ("IXI012", "BRATS_001", "100307", "TCIA01_499", "hippocampus_001")))
