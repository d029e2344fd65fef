"""Cases are paired by subject id, in the IXI layout and by patterns."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from monai_tl.datasets import ixi
from monai_tl.datasets.case_checks import check_cases
from monai_tl.datasets.patterns import find_cases
from monai_tl.errors import ConfigError, DataError

REAL = os.environ.get("MONAI_TL_REALDATA")


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def subject(number: int, *, t1: bool = True, t2: bool = True, label: bool = True) -> list[str]:
    stem = f"IXI{number:03}-Guys-{number:04}"
    names = {f"IXI-T1/{stem}-T1.nii.gz": t1, f"IXI-T2/{stem}-T2.nii.gz": t2, f"aseg/{stem}-aseg.nii.gz": label}
    return [name for name, there in names.items() if there]


def test_cases_hold_absolute_paths_by_name(tmp_path):
    root = touch(tmp_path, *subject(12), *subject(2), "IXI-T1/.DS_Store", "IXI-T1/._IXI012-Guys-0001-T1.nii.gz")
    cases = ixi.find_ixi_cases(root)
    assert cases == [
        {
            "subject": name,
            "T1": f"{root}/IXI-T1/{name}-Guys-0{name[3:]}-T1.nii.gz",
            "T2": f"{root}/IXI-T2/{name}-Guys-0{name[3:]}-T2.nii.gz",
            "label": f"{root}/aseg/{name}-Guys-0{name[3:]}-aseg.nii.gz",
        }
        for name in ("IXI002", "IXI012")
    ]
    assert cases.left_out == {}


def test_only_the_modalities_asked_for_are_needed(tmp_path):
    root = touch(tmp_path, *subject(1, t2=False), *subject(2))
    assert [list(case) for case in ixi.find_ixi_cases(root, ("T1",))] == [["subject", "T1", "label"]] * 2


def test_a_gap_shifts_no_pair(tmp_path):
    """By sorted position, IXI002's T1 would meet IXI003's T2."""
    root = touch(tmp_path, *subject(1), *subject(2, t2=False), *subject(3, label=False), *subject(4))
    with pytest.raises(DataError, match="2 of 4 subjects.*incomplete.*--incomplete leave_out") as refusal:
        ixi.find_ixi_cases(root)
    assert str(refusal.value).splitlines()[1:] == ["  IXI002 lacks T2", "  IXI003 lacks label"]
    cases = ixi.find_ixi_cases(root, incomplete="leave_out")
    assert [case["subject"] for case in cases] == ["IXI001", "IXI004"]
    assert all(case["subject"] in case[role] for case in cases for role in ("T1", "T2", "label"))
    assert cases.left_out == {"IXI002": "lacks T2", "IXI003": "lacks label"}


def test_two_files_for_one_modality_are_refused(tmp_path):
    root = touch(tmp_path, *subject(1), *subject(2), "IXI-T1/IXI001-HH-0009-T1.nii.gz")
    with pytest.raises(DataError, match=r"IXI001.*2 files.*T1 \(.*IXI001-Guys-0001-T1.*IXI001-HH-0009-T1"):
        ixi.find_ixi_cases(root)
    assert [case["subject"] for case in ixi.find_ixi_cases(root, incomplete="leave_out")] == ["IXI002"]


def test_files_of_different_people_under_one_number_are_refused(tmp_path):
    root = touch(tmp_path, *subject(1), *subject(2))
    (root / "IXI-T2" / "IXI002-Guys-0002-T2.nii.gz").rename(root / "IXI-T2" / "IXI002-HH-0777-T2.nii.gz")
    message = (
        r"IXI002 names different people \(T1 IXI002-Guys-0002, T2 IXI002-HH-0777, label IXI002-Guys-0002\); rename the files or"
    )
    with pytest.raises(DataError, match=message):
        ixi.find_ixi_cases(root)
    cases = ixi.find_ixi_cases(root, incomplete="leave_out")
    assert ([case["subject"] for case in cases], list(cases.left_out)) == (["IXI001"], ["IXI002"])


def test_the_first_five_are_named_and_the_others_counted(tmp_path):
    root = touch(tmp_path, *subject(0), *(name for number in range(1, 9) for name in subject(number, t2=False)))
    with pytest.raises(DataError, match="8 of 9 subjects") as refusal:
        ixi.find_ixi_cases(root)
    lines = str(refusal.value).splitlines()
    assert len(lines) == 7
    assert lines[-1] == "  and 3 more"


def test_nothing_complete_is_refused_even_if_incomplete_ones_may_be_left_out(tmp_path):
    root = touch(tmp_path, *subject(1, t2=False), *subject(2, t1=False))
    with pytest.raises(DataError, match="2 of 2 subjects.*incomplete"):
        ixi.find_ixi_cases(root, incomplete="leave_out")


def test_what_does_not_exist_is_refused_with_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match="nowhere.*IXI-T1.*aseg"):
        ixi.find_ixi_cases(tmp_path / "nowhere")
    root = touch(tmp_path, *subject(1))
    with pytest.raises(DataError, match=r"PD.*/IXI-PD/\{subject\}-\*PD.nii.gz.*IXI-T1, IXI-T2"):
        ixi.find_ixi_cases(root, ("T1", "PD"))
    with pytest.raises(ConfigError, match="unknown incomplete 'skip'.*leave_out"):
        ixi.find_ixi_cases(root, incomplete="skip")


def test_patterns_with_a_repeated_subject_and_wildcards(tmp_path, monkeypatch):
    touch(tmp_path, "a[1]/s1/s1_x.nii", "a[1]/s1/s2_x.nii", "a[1]/s2/s2_x.nii", "seg/site/s1.nii", "seg/other/s2.nii")
    monkeypatch.chdir(tmp_path)
    cases = find_cases({"T1": "a[1]/{subject}/{subject}_x.nii", "label": "seg/*/{subject}.nii"})
    assert [(case["subject"], case["T1"], case["label"]) for case in cases] == [
        ("s1", f"{tmp_path}/a[1]/s1/s1_x.nii", f"{tmp_path}/seg/site/s1.nii"),
        ("s2", f"{tmp_path}/a[1]/s2/s2_x.nii", f"{tmp_path}/seg/other/s2.nii"),
    ]


def test_patterns_without_labels_give_cases_to_predict(tmp_path):
    touch(tmp_path, "s1_T1.nii")
    assert list(find_cases({"T1": f"{tmp_path}/{{subject}}_T1.nii"})[0]) == ["subject", "T1"]


def test_patterns_that_cannot_be_used_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"pattern.*T1.*\{subject\}.*'t1/IXI012.nii'"):
        find_cases({"T1": "t1/IXI012.nii"})
    with pytest.raises(ConfigError, match="patterns take modality names"):
        find_cases({})
    with pytest.raises(ConfigError, match="patterns take modality names"):
        find_cases({"subject": "{subject}.nii"})
    touch(tmp_path, "scans/s1.nii.gz", "scans/s2.nii.gz")
    with pytest.raises(DataError, match=r"T1.*s\{subject\}.mgz.*s1.nii.gz, s2.nii.gz"):
        find_cases({"T1": f"{tmp_path}/scans/s{{subject}}.mgz"})


@pytest.mark.realdata
@pytest.mark.skipif(REAL is None, reason="MONAI_TL_REALDATA is not set")
def test_real_ixi_scans_are_found_by_patterns_and_pass_the_checks():
    folder = f"{REAL}/ixi_2mm"
    cases = find_cases(
        {"T1": f"{folder}/t1/{{subject}}_T1.nii.gz", "label": f"{folder}/dlmuse_seg/{{subject}}_T1_DLMUSE.nii.gz"}
    )
    assert len(cases) == 26
    assert cases[0]["subject"] == "IXI132-HH-1415"
    assert check_cases(cases, ("T1",), (47, 48), need_foreground=True) == []
