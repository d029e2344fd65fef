"""Cases in the BraTS layout: a folder is a subject."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from monai_tl.data import brats
from monai_tl.data.checks import check_cases
from monai_tl.errors import ConfigError, DataError

REAL = os.environ.get("MONAI_TL_REALDATA")
ALL = ("t1", "t1ce", "t2", "flair", "seg")


def subject(folder: Path, name: str, endings=ALL, suffix: str = ".nii.gz") -> None:
    (folder / name).mkdir(parents=True)
    for ending in endings:
        (folder / name / f"{name}_{ending}{suffix}").touch()


@pytest.mark.parametrize("level", ["HGG", "."])
def test_cases_with_and_without_the_grade_s_folder(tmp_path, level):
    folder = tmp_path / level
    subject(folder, "Brats18_B_1")
    subject(folder, "Brats18_A_1", endings=("t1", "t2", "seg"))
    cases = brats.find_cases(tmp_path)
    assert cases == [
        {
            "subject": name,
            "T1": str(folder / name / f"{name}_t1.nii.gz"),
            "T2": str(folder / name / f"{name}_t2.nii.gz"),
            "label": str(folder / name / f"{name}_seg.nii.gz"),
        }
        for name in ("Brats18_A_1", "Brats18_B_1")
    ]


def test_modalities_by_name_in_the_order_asked_for(tmp_path):
    subject(tmp_path / "LGG", "Brats18_A_1", suffix=".nii")
    (case,) = brats.find_cases(tmp_path, ("FLAIR", "T1ce"))
    assert list(case) == ["subject", "FLAIR", "T1ce", "label"]
    assert case["FLAIR"].endswith("_flair.nii")
    assert case["T1ce"].endswith("_t1ce.nii")


def test_both_grades_are_one_list_and_other_folders_beside_them_are_none(tmp_path):
    subject(tmp_path / "HGG", "Brats18_B_1")
    subject(tmp_path / "LGG", "Brats18_A_1")
    subject(tmp_path, "documents")
    assert [case["subject"] for case in brats.find_cases(tmp_path)] == ["Brats18_A_1", "Brats18_B_1"]


def test_incomplete_subjects_are_named_the_empty_folder_too(tmp_path):
    subject(tmp_path / "HGG", "Brats18_A_1")
    subject(tmp_path / "HGG", "Brats18_B_1", endings=("t1", "seg"))
    subject(tmp_path / "HGG", "Brats18_C_1", endings=())
    with pytest.raises(DataError, match="2 of 3 subjects are incomplete") as refusal:
        brats.find_cases(tmp_path)
    expected = {"Brats18_B_1": "lacks T2", "Brats18_C_1": "lacks T1, T2, label"}
    assert str(refusal.value).splitlines()[1:] == [f"  {name} {fault}" for name, fault in expected.items()]
    cases = brats.find_cases(tmp_path, incomplete="leave_out")
    assert [case["subject"] for case in cases] == ["Brats18_A_1"]
    assert cases.left_out == expected


def test_one_subject_twice_is_refused(tmp_path):
    subject(tmp_path / "HGG", "Brats18_A_1")
    subject(tmp_path / "LGG", "Brats18_A_1")
    with pytest.raises(DataError, match=r"Brats18_A_1 has 2 files for T1 .*HGG.*LGG"):
        brats.find_cases(tmp_path)


def test_what_does_not_exist_is_refused_with_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"there is no folder .*nowhere; needed .*<subject>_\{t1,t2,seg\}.nii.gz"):
        brats.find_cases(tmp_path / "nowhere")
    subject(tmp_path, "thing", endings=("photo",))
    with pytest.raises(DataError, match=r"no case under .*: looked for \[HGG/ or LGG/\]<subject>.*; it holds thing"):
        brats.find_cases(tmp_path)
    with pytest.raises(ConfigError, match=r"unknown BraTS modality 'T1c': did you mean 'T1ce'\? There are: T1, T1ce"):
        brats.find_cases(tmp_path, ("T1", "T1c"))


@pytest.mark.realdata
@pytest.mark.skipif(REAL is None, reason="MONAI_TL_REALDATA is not set")
def test_real_brats_scans_are_found_and_pass_the_checks():
    root = Path(f"{REAL}/brats18")
    cases = brats.find_cases(root)
    assert len(cases) == 8
    assert check_cases(cases, ("T1", "T2"), (1, 4), need_foreground=True, known_labels=(1, 2, 4)) == []
    complete = brats.find_cases(root, ("T1", "T1ce", "T2", "FLAIR"), incomplete="leave_out")
    assert [case["subject"] for case in complete] == ["Brats18_2013_11_1", "Brats18_2013_3_1"]
    assert set(complete.left_out.values()) == {"lacks T1ce, FLAIR"}
