"""Whose scan a case is."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_tl.errors import ConfigError, DataError
from monai_tl.identity.persons import persons_of, refuse_divided
from tests.conftest import mentions


@pytest.mark.parametrize(
    ("subject", "person"),
    [
        ("BraTS-GLI-00005-101", "BraTS-GLI-00005"),
        ("BraTS-MEN-RT-0001-1", "BraTS-MEN-RT-0001"),
        ("BraTS_MET_00761_003", "BraTS_MET_00761"),
        ("BraTS-GoAT-00005", "BraTS-GoAT-00005"),
        ("BraTS2021_00005", "BraTS2021_00005"),
        ("BraTS20_Training_001", "BraTS20_Training_001"),
        ("Brats18_2013_11_1", "Brats18_2013_11_1"),
        ("IXI012", "IXI012"),
        ("IXI012-HH-1211", "IXI012"),
        ("sub-01", "sub-01"),
        ("sub-01_ses-1_run-2_T1w", "sub-01"),
        ("01_ses-pre", "01"),
        ("sub01-ses2", "sub01"),
        ("patient 7_session2_left", "patient 7"),
        ("002_S_0295_MR_I118671", "002_S_0295"),
        ("ADNI_002_S_0295_MR", "002_S_0295"),
        ("OAS1_0001_MR1", "OAS1_0001"),
        ("OAS30001_MR_d0129", "OAS30001"),
        ("UCSF-PDGM-0409_FU003d", "UCSF-PDGM-0409"),
        ("UPENN-GBM-00001_11", "UPENN-GBM-00001"),
        ("BRATS_001", "BRATS_001"),
        ("assess-1", "assess-1"),
    ],
)
def test_ids_of_known_layouts_say_it(subject, person):
    assert persons_of([subject]).of == {subject: person}


@pytest.mark.parametrize(
    ("pattern", "subject", "person"),
    [
        ("sub-{person}_ses-{}", "sub-01_ses-1", "01"),
        ("{person}_{}", "pat7_", "pat7"),
        ("{}_{person}", "L_s01", "s01"),
        ("{person}a,{person}b,{person}", "s01b", "s01"),
        ("{person}.{}", "s01.2", "s01"),
    ],
)
def test_a_pattern_says_it(pattern, subject, person):
    assert persons_of([subject], pattern).of == {subject: person}


@pytest.mark.parametrize("pattern", ["sub", "{person}{person}", "{subject}_{}", "{person}_{x}", ","])
def test_what_is_no_pattern_is_refused(pattern):
    with pytest.raises(ConfigError, match="--person.*pattern"):
        persons_of(["a_1"], pattern)


def test_a_pattern_fits_every_id_in_one_way():
    with pytest.raises(DataError, match="2 of 3 ids: x, y.*pattern"):
        persons_of(["a_1", "x", "y"], "{person}_{}")
    with pytest.raises(DataError, match=r"'a_b_c'.*\(person 'a'.*'a_b'\)"):
        persons_of(["a_b_c"], "{person}_{}")


def test_persons_whose_ids_differ_in_case_are_one():
    assert persons_of(["Sub-01_ses-1", "sub-01_ses-2"]).count == 1


@pytest.mark.parametrize(
    ("subjects", "pattern"),
    [
        (["p1_a", "p1_b", "p2_a", "p2_b", "p3_a"], "{person}_{}"),
        (["p_1_a", "p_1_b", "p_2_a", "p_2_b", "p_3_a"], "{person}_a,{person}_b"),
        (["p1a", "p1b", "p2a", "p2b", "p3a"], "{person}a,{person}b"),
        (["p1", "p1_2", "p2", "p2_2", "p3", "p4"], "{person}_{},{person}"),
        (["x1_20190101", "x1_20200101", "x2_20190303", "x3_20180101"], "{person}_{}"),
        (["a_tp1", "a_tp2", "b_tp1", "c_tp1", "d_tp1"], "{person}_{}"),
        ([f"case_{n}_aug{k}" for n in range(3) for k in range(12)], "{person}_aug{}"),
    ],
)
def test_a_suggested_pattern_gives_the_persons_that_were_seen(subjects, pattern):
    warning = persons_of(subjects).warning
    assert f"--person '{pattern}'" in warning
    persons = persons_of(subjects, pattern)
    assert persons.warning == ""
    assert persons.count < len(subjects)


@pytest.mark.parametrize(
    "subjects",
    [
        [f"BRATS_{n:03}" for n in range(40)],
        [f"site{site}_{n:03}" for site in "ABCDEF" for n in range(20)],
        [f"Brats18_TCIA{a:02}_{n}_1" for a in range(5) for n in range(30)],
        [f"{n:04}" for n in range(40)],
        ["ann", "bob", "eve"],
        [f"{group}{n}" for group in ("HC", "PT") for n in range(10)],
    ],
)
def test_numbers_and_sites_are_no_sessions(subjects):
    assert persons_of(subjects).warning == ""


def test_lists_may_not_divide_a_person():
    persons = persons_of(["sub-1_ses-1", "sub-1_ses-2", "sub-2"])
    refuse_divided({"train": ["sub-1_ses-1", "sub-1_ses-2"], "test": ["sub-2"]}, persons, Path("lists.json"))
    with pytest.raises(DataError, match=r"1 persons.*split.*lists.json[^\n]*\n  sub-1: sub-1_ses-1"):
        refuse_divided({"train": ["sub-1_ses-1"], "test": ["sub-1_ses-2", "sub-2"]}, persons, Path("lists.json"))


@pytest.mark.parametrize(
    ("scans", "remedy"),
    [
        (("_pre_op", "_post_op"), "{person}_post_op,{person}_pre_op"),
        (("_tp1_reg", "_tp2_reg"), "{person}_tp{}"),
        (("_baseline_brain", "_month6_brain"), "{person}_baseline_brain,{person}_month6_brain"),
        (("_week-000-1", "_week-000-2", "_week-044"), "{person}_{}"),
        (("_2019-01-01_T1", "_2019-02-01_T1"), "{person}_2019-01-01_T1,{person}_2019-02-01_T1"),
        (("_11-19-1991", "_12-20-1991"), "{person}_{}"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_times_that_more_text_follows_are_warned_about_with_a_pattern_that_fits(scans, remedy):
    subjects = [f"P{person}{scan}" for person in range(5) for scan in scans]
    found = persons_of(subjects)
    mentions(found.warning, f"{len(subjects)} … {len(subjects)} … person")
    assert f"--person '{remedy}'" in found.warning
    assert persons_of(subjects, remedy).count == 5


@pytest.mark.parametrize("form", ["case_{}_post_contrast", "hippocampus_{:03}", "center1_{:02}_T1", "study2019-01-01_{:02}_x"])
def test_what_all_cases_have_in_common_is_no_time(form):
    assert persons_of([form.format(n) for n in range(20)]).warning == ""
