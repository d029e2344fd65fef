"""Cases in the BraTS layout: a folder is a subject."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_tl.datasets import brats
from monai_tl.datasets.case_checks import check_cases
from monai_tl.datasets.datalist import read_datalist
from monai_tl.datasets.patterns import find_cases
from monai_tl.errors import ConfigError, DataError
from monai_tl.identity.persons import persons_of
from tests.conftest import mentions

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
    cases = brats.find_brats_cases(tmp_path)
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
    (case,) = brats.find_brats_cases(tmp_path, ("FLAIR", "T1ce"))
    assert list(case) == ["subject", "FLAIR", "T1ce", "label"]
    assert case["FLAIR"].endswith("_flair.nii")
    assert case["T1ce"].endswith("_t1ce.nii")


def test_both_grades_are_one_list_and_other_folders_are_ignored(tmp_path):
    subject(tmp_path / "HGG", "Brats18_B_1")
    subject(tmp_path / "LGG", "Brats18_A_1")
    (tmp_path / "documents").mkdir()
    assert [case["subject"] for case in brats.find_brats_cases(tmp_path)] == ["Brats18_A_1", "Brats18_B_1"]
    subject(tmp_path, "Brats18_C_1")
    with pytest.raises(DataError, match=r"subjects.*HGG.*LGG \(Brats18_C_1\).*grade"):
        brats.find_brats_cases(tmp_path)


def test_a_grade_is_chosen_where_the_layout_has_grades(tmp_path):
    subject(tmp_path / "HGG", "Brats18_B_1")
    with pytest.raises(DataError, match="--grade LGG.*LGG.*HGG"):
        brats.find_brats_cases(tmp_path, grade="LGG")
    subject(tmp_path / "LGG", "Brats18_A_1")
    assert [case["subject"] for case in brats.find_brats_cases(tmp_path, grade="HGG")] == ["Brats18_B_1"]
    with pytest.raises(ConfigError, match="unknown grade 'hgg'.*HGG, LGG"):
        brats.find_brats_cases(tmp_path, grade="hgg")
    with pytest.raises(DataError, match="--grade HGG"):
        brats.find_brats_cases(tmp_path / "HGG", grade="HGG")


def test_incomplete_subjects_are_named_the_empty_folder_too(tmp_path):
    subject(tmp_path / "HGG", "Brats18_A_1")
    subject(tmp_path / "HGG", "Brats18_B_1", endings=("t1", "seg"))
    subject(tmp_path / "HGG", "Brats18_C_1", endings=())
    with pytest.raises(DataError, match="2 of 3 subjects.*incomplete") as refusal:
        brats.find_brats_cases(tmp_path)
    expected = {"Brats18_B_1": "lacks T2", "Brats18_C_1": "lacks T1, T2, label"}
    assert str(refusal.value).splitlines()[1:] == [f"  {name} {fault}" for name, fault in expected.items()]
    cases = brats.find_brats_cases(tmp_path, incomplete="leave_out")
    assert [case["subject"] for case in cases] == ["Brats18_A_1"]
    assert cases.left_out == expected


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    subject(tmp_path / "HGG", "Brats18_A_1")
    subject(tmp_path / "HGG", "Brats18_B_1")
    closed = tmp_path / "HGG" / "Brats18_B_1"
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != closed)  # tests may run as root
    with pytest.raises(DataError, match=f"permission.*{closed}"):
        brats.find_brats_cases(tmp_path)
    with pytest.raises(DataError, match=f"permission.*{closed}"):
        find_cases({"T1": f"{tmp_path}/HGG/{{subject}}/*_t1.nii.gz"})


def test_one_subject_twice_is_refused(tmp_path):
    subject(tmp_path / "HGG", "Brats18_A_1")
    subject(tmp_path / "LGG", "Brats18_A_1")
    with pytest.raises(DataError, match="Brats18_A_1.*2 files.*T1.*HGG.*LGG"):
        brats.find_brats_cases(tmp_path)


def test_what_does_not_exist_is_refused_with_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"nowhere.*<subject>_\{t1,t2,seg\}.nii.gz"):
        brats.find_brats_cases(tmp_path / "nowhere")
    subject(tmp_path, "thing", endings=("photo",))
    with pytest.raises(DataError, match=r"\[HGG/.*LGG/\]<subject>.*thing"):
        brats.find_brats_cases(tmp_path)
    with pytest.raises(ConfigError, match=r"unknown BraTS.*'T1c'.*'T1ce'\?.*T1, T1ce"):
        brats.find_brats_cases(tmp_path, ("T1", "T1c"))


NEW = ("-t1n", "-t1c", "-t2w", "-t2f", "-seg")


def labelled(folder: Path, name: str, *values: float, endings=tuple(f"_{ending}" for ending in ALL)) -> None:
    """A subject whose label holds these values besides 0, as floats where one of them is."""
    (folder / name).mkdir(parents=True)
    voxels = np.zeros((4, 4, 4), np.float32 if any(isinstance(value, float) for value in values) else np.uint8)
    voxels.flat[: len(values)] = values
    for ending in endings:
        noise = np.random.default_rng([*f"{name}{ending}".encode()]).integers(0, 200, voxels.shape).astype(np.uint8)
        image = voxels if ending.endswith("seg") else noise
        nib.Nifti1Image(image, np.eye(4)).to_filename(folder / name / f"{name}{ending}.nii.gz")


def values_of(root, foreground=(), labels=(), track=""):
    """The foreground and all values that are found; names come from folders."""
    coding = brats.find_brats_coding(brats.find_brats_cases(root), foreground, labels, track)
    return list(coding.foreground), list(coding.labels)


def test_names_of_2023_are_known_by_the_same_modalities(tmp_path):
    labelled(tmp_path, "BraTS-GLI-00000-000", 1, 2, 3, endings=NEW)
    (case,) = brats.find_brats_cases(tmp_path, ("T1ce", "T1", "T2", "FLAIR"))
    assert list(case) == ["subject", "T1ce", "T1", "T2", "FLAIR", "label"]
    assert [Path(path).name for path in list(case.values())[1:]] == [
        f"BraTS-GLI-00000-000-{ending}.nii.gz" for ending in ("t1c", "t1n", "t2w", "t2f", "seg")
    ]


@pytest.mark.parametrize(
    ("names", "values", "core", "known"),
    [
        (["Brats17_A_1", "Brats17_B_1"], [(1, 2), (1, 2, 4)], [1, 4], [1, 2, 4]),
        (["BraTS2021_00000", "BraTS2021_00002"], [(1, 2, 4.0), (2,)], [1, 4], [1, 2, 4]),
        (["BraTS-GLI-00000-000", "BraTS-GLI-00002-000"], [(1, 2, 3), (1, 2)], [1, 3], [1, 2, 3]),
        (["BraTS-GLI-02062-100", "BraTS-GLI-02062-101"], [(2, 4), (1, 2, 3, 4)], [1, 3], [1, 2, 3, 4]),
    ],
    ids=["2017", "2021", "2023", "2024"],
)
def test_the_tumour_core_follows_from_names_and_values(tmp_path, names, values, core, known):
    for name, held in zip(names, values, strict=True):
        labelled(tmp_path, name, *held, **({"endings": NEW} if "GLI" in name else {}))
    assert values_of(tmp_path) == (core, known)
    assert values_of(tmp_path, [2]) == ([2], known)
    assert values_of(tmp_path, [2], [1, 2, 3, 4]) == ([2], [1, 2, 3, 4])


def test_values_that_contradict_the_names_are_listed(tmp_path):
    labelled(tmp_path / "old", "BraTS2021_00000", 1, 2, 3)
    with pytest.raises(
        DataError,
        match=r"1, 2, 4 \(gli2017\).*1, 2, 3 \(1, 2, 3.*BraTS2021_00000\).*--track.*--foreground.*--labels.*gli2023",
    ):
        values_of(tmp_path / "old")
    assert values_of(tmp_path / "old", [1, 3], [1, 2, 3]) == ([1, 3], [1, 2, 3])
    labelled(tmp_path / "new", "BraTS-GLI-00000-000", 1, 2, 4, endings=NEW)
    labelled(tmp_path / "new", "BraTS-GLI-00002-000", 1, 2, 3, endings=NEW)
    with pytest.raises(
        DataError,
        match=r"1, 2, 3 \(gli2023\).*1, 2, 3, 4 \(gli2024\).*1, 2, 3, 4 \(1, 2, 3.*02-000; 1, 2, 4.*00-000\).*label.*4.*3",
    ):
        values_of(tmp_path / "new")
    labelled(tmp_path / "odd", "BraTS2021_00000", 1, 0.5)
    with pytest.raises(DataError, match="labels.*0.5, 1"):
        values_of(tmp_path / "odd")
    labelled(tmp_path / "empty", "BraTS2021_00000")
    with pytest.raises(DataError, match="labels.*nothing.*0"):
        values_of(tmp_path / "empty")


def test_values_asked_for_are_checked(tmp_path):
    labelled(tmp_path, "BraTS2021_00000", 1, 2)
    with pytest.raises(DataError, match=r"labels.*2 \(e.g. BraTS2021_00000\).*--labels 1, 4"):
        values_of(tmp_path, [1], [1, 4])
    with pytest.raises(DataError, match="label.*foreground 4.*1, 2"):
        values_of(tmp_path, [4])
    next(tmp_path.rglob("*seg.nii.gz")).write_bytes(b"")
    with pytest.raises(DataError, match=r"BraTS2021_00000: label.*readable \(.*_seg.nii.gz"):
        values_of(tmp_path)


def test_names_of_two_years_in_one_folder_are_refused(tmp_path):
    labelled(tmp_path, "BraTS2021_00000", 1, 2, 4)
    labelled(tmp_path, "BraTS-GLI-00000-000", 1, 2, 3, endings=NEW)
    message = r"names of different years in one folder \(2017–2021: BraTS2021_00000; 2023–2024: BraTS-GLI-00000-000\)"
    with pytest.raises(DataError, match=message):
        brats.find_brats_cases(tmp_path)


def test_a_datalist_of_each_year(tmp_path, verb):
    for year, names, endings, core in (
        ("2021", [f"BraTS2021_0000{n}" for n in range(4)], tuple(f"_{ending}" for ending in ALL), [1, 4]),
        ("2023", [f"BraTS-GLI-0000{n}-000" for n in range(4)], NEW, [1, 3]),
    ):
        for name in names:
            labelled(tmp_path / year, name, 2, *core, endings=endings)
        answer = verb("datalist", "brats", "--root", tmp_path / year, "--split", "0.5,0.25,0.25")
        assert answer.code == 0, answer.err
        mentions(answer.out, f"label … {core[0]},{core[1]}")
        data = read_datalist(tmp_path / year / "datalist.json")
        assert (list(data.foreground), list(data.labels)) == (core, sorted([*core, 2]))
        assert [case["subject"] for case in data.cases] == names


def test_scans_of_one_patient_at_several_times_stay_in_one_split(tmp_path, verb):
    for patient in range(6):
        for time in (100, 101):
            labelled(tmp_path, f"BraTS-GLI-0000{patient}-{time}", 1, 2, 3, endings=NEW)
    assert verb("datalist", "brats", "--root", tmp_path, "--split", "0.5,0.17,0.33").code == 0
    splits = read_datalist(tmp_path / "datalist.json").splits
    assert [len(splits[name]) for name in ("train", "validation", "test")] == [6, 2, 4]
    patients = [{persons_of([subject]).of[subject] for subject in subjects} for subjects in splits.values()]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 6


def test_the_studys_split_says_who_is_absent(tmp_path, verb, monkeypatch):
    lists = {"S1": ["Brats18_A_1", "Brats18_X_1"], "val": ["Brats18_B_1"], "test": ["Brats18_C_1"]}
    for name in "ABC":
        labelled(tmp_path / "data" / "HGG", f"Brats18_{name}_1", 1, 2, 4)
    (tmp_path / "own" / "splits").mkdir(parents=True)
    (tmp_path / "own" / "splits" / "study.json").write_text(json.dumps(lists))
    words = ("datalist", "brats", "--root", tmp_path / "data", "--split", "study", "--train", "S1", "--grade", "HGG")
    monkeypatch.chdir(tmp_path)
    answer = verb(*words)
    assert answer.code == 2
    mentions(answer.err, "bundles/brats_tumour_core/splits/study.json … --target")
    answer = verb(*words, "--target", "own")
    mentions(answer.err, "1 subjects … own/splits/study.json … Brats18_X_1")
    assert verb(*words, "--target", "own", "--absent", "leave_out").code == 0
    data = read_datalist(tmp_path / "data" / "datalist.json")
    assert data.splits == {"train": ("Brats18_A_1",), "validation": ("Brats18_B_1",), "test": ("Brats18_C_1",)}
    assert data.left_out == {"Brats18_X_1": "listed in study.json, but has no case"}


@pytest.mark.realdata
@pytest.mark.skipif(REAL is None, reason="MONAI_TL_REALDATA is not set")
def test_real_brats_scans_are_found_and_pass_the_checks():
    root = Path(f"{REAL}/brats18")
    cases = brats.find_brats_cases(root)
    assert len(cases) == 8
    assert check_cases(cases, ("T1", "T2"), (1, 4), need_foreground=True, known_labels=(1, 2, 4)) == []
    complete = brats.find_brats_cases(root, ("T1", "T1ce", "T2", "FLAIR"), incomplete="leave_out")
    assert [case["subject"] for case in complete] == ["Brats18_2013_11_1", "Brats18_2013_3_1"]
    assert set(complete.left_out.values()) == {"lacks T1ce, FLAIR"}
