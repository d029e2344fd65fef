"""What is checked: every layout that datalists are made of is known before there is one."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_tl.datasets.case_checks import case_problems
from monai_tl.errors import ConfigError, DataError
from monai_tl.preparation.prepared_folder import MADE_WITH
from monai_tl.quality.candidates import UNLABELLED, find_candidates
from monai_tl.quality.check import check_scans
from monai_tl.storage.files import write_json
from tests.conftest import mentions

OLD, NEW = ("_t1", "_t1ce", "_t2", "_flair", "_seg"), ("-t1n", "-t1c", "-t2w", "-t2f", "-seg")


def save(path: Path, *values: int, volumes: int = 0) -> Path:
    """An image that starts with these values, all the others being 0."""
    voxels = np.zeros((4, 4, 4, *([volumes] if volumes else [])), np.int16)
    voxels.flat[: len(values)] = values
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(voxels, np.eye(4)).to_filename(path)
    return path


def subject(root: Path, name: str, endings, *values: int) -> None:
    for ending in endings:
        save(root / name / f"{name}{ending}.nii.gz", *values)


@pytest.mark.parametrize(
    ("track", "names", "endings", "values", "foreground", "labels"),
    [
        ("gli2017", ["HGG/Brats18_A_1", "LGG/Brats18_B_1"], OLD, [(1, 2), (4,)], (1, 4), (1, 2, 4)),
        ("gli2017", ["BraTS2021_00000"], OLD, [(1, 2, 4)], (1, 4), (1, 2, 4)),
        ("gli2023", ["BraTS-GLI-00000-000", "BraTS-GLI-00002-000"], NEW, [(1, 2, 3), (2,)], (1, 3), (1, 2, 3)),
        ("gli2024", ["BraTS-GLI-02062-100", "BraTS-GLI-02062-101"], NEW, [(2, 4), (1, 3, 4)], (1, 3), (1, 2, 3, 4)),
        ("peds2024", ["BraTS-PED-00002-000", "BraTS-PED-00003-000"], NEW, [(1, 2, 3), (2, 4)], (1, 2, 3), (1, 2, 3, 4)),
    ],
    ids=["2018", "2021", "2023", "2024", "peds"],
)
def test_brats_of_every_year(tmp_path, track, names, endings, values, foreground, labels):
    for name, of in zip(names, values, strict=True):
        subject(tmp_path / Path(name).parent, Path(name).name, endings, *of)
    found = find_candidates(tmp_path)
    assert [case["subject"] for case in found.cases] == [Path(name).name for name in names]
    assert (found.modalities, found.foreground, found.labels) == (("T1", "T2"), foreground, labels)
    (note,) = found.notes
    assert note.startswith(f"BraTS track {track} (")
    assert find_candidates(tmp_path, ["FLAIR"]).cases[0]["FLAIR"].endswith(f"{endings[3]}.nii.gz")
    asked = find_candidates(tmp_path, foreground=[2], labels=[1, 2, 7])
    assert (asked.foreground, asked.labels) == ((2,), (1, 2, 7))


def test_a_label_that_contradicts_or_cannot_be_read_is_its_own_cases_problem(tmp_path):
    """A datalist would be refused; a check has to name it and go on with the others."""
    for name, values in (("BraTS-GLI-00001-000", (1, 2, 3)), ("BraTS-GLI-00002-000", (1, 2, 5)), ("BraTS-GLI-00003-000", ())):
        subject(tmp_path, name, NEW, *values)
    (tmp_path / "BraTS-GLI-00003-000" / "BraTS-GLI-00003-000-seg.nii.gz").write_bytes(b"")
    found = find_candidates(tmp_path)
    assert (found.foreground, found.labels) == ((1, 3), (1, 2, 3))
    problems = [case_problems(case, ["T1"], found.foreground, known_labels=found.labels)[0] for case in found.cases]
    assert [len(of) for of in problems[:2]] == [0, 1]
    assert problems[1][0].startswith("label contains unknown values (5), known are 1, 2, 3: ")
    assert any(line.startswith("label is not readable (") for line in problems[2])


def test_brats_without_labels_as_a_challenge_hands_out_its_validation(tmp_path):
    subject(tmp_path, "BraTS-GLI-00001-000", NEW[:-1], 1, 2)
    found = find_candidates(tmp_path)
    assert (len(found.cases), found.foreground, found.labels, found.incomplete) == (1, (), (), {})
    assert found.notes == (UNLABELLED,)
    subject(tmp_path, "BraTS-GLI-00002-000", NEW, 1, 2)
    assert find_candidates(tmp_path).incomplete == {"BraTS-GLI-00001-000": "lacks label"}


def test_names_of_two_years_are_refused(tmp_path):
    subject(tmp_path, "Brats18_A_1", OLD, 1)
    subject(tmp_path, "BraTS-GLI-00001-000", NEW, 1)
    with pytest.raises(DataError, match=r"different.*\(2017–2021: Brats18_A_1; 2023–2024: BraTS-GLI-"):
        find_candidates(tmp_path)


@pytest.fixture
def task(tmp_path):
    """Two labelled cases of two modalities, volume 1 of which holds 7."""
    root = tmp_path / "Task05_Prostate"
    for number in (1, 2):
        save(root / "imagesTr" / f"prostate_0{number}.nii.gz", 5, 7, volumes=2)
        save(root / "labelsTr" / f"prostate_0{number}.nii.gz", 1, 2)
    content = {
        "modality": {"0": "T2", "1": "ADC"},
        "labels": {"0": "background", "1": "PZ", "2": "TZ"},
        "training": [
            {"image": f"./imagesTr/prostate_0{n}.nii.gz", "label": f"./labelsTr/prostate_0{n}.nii.gz"} for n in (2, 1)
        ],
        "test": [],
    }
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def test_a_decathlon_task(task):
    found = find_candidates(task)
    assert [case["subject"] for case in found.cases] == ["prostate_01", "prostate_02"]
    assert (found.modalities, found.foreground, found.labels) == (("T2", "ADC"), (1, 2), (1, 2))
    assert found.cases[0]["ADC"] == str(task / "imagesTr" / "prostate_01.nii.gz#1")
    assert find_candidates(task, ["T1=ADC"]).cases[0]["T1"].endswith("#1")
    (task / "labelsTr" / "prostate_02.nii.gz").unlink()
    assert find_candidates(task).incomplete == {"prostate_02": "lacks label"}
    with pytest.raises(DataError, match=r"'T1'.*dataset.json.*'T2'\?.*T2, ADC"):
        find_candidates(task, ["T1"])


def test_regions_by_name_by_track_and_by_value(task, tmp_path):
    assert find_candidates(task).regions == {"PZ": (1,), "TZ": (2,)}, "each label of a task"
    assert find_candidates(task, regions="TZ; gland=1,2").regions == {"TZ": (2,), "gland": (1, 2)}
    assert find_candidates(task, foreground=[2]).regions == {"foreground": (2,)}
    with pytest.raises(ConfigError, match="'tumour'.*1, 2"):
        find_candidates(task, regions="tumour=3")
    with pytest.raises(ConfigError, match="'PX'.*'PZ'"):
        find_candidates(task, regions="PX")
    for name in ("BraTS-GLI-00000-000", "BraTS-GLI-00002-000"):
        subject(tmp_path / "brats", name, NEW, 1, 2, 3)
    assert find_candidates(tmp_path / "brats").regions == {"foreground": (1, 3)}
    by_track = find_candidates(tmp_path / "brats", regions="brats")
    assert by_track.regions == {"tumour core": (1, 3), "whole tumour": (1, 2, 3), "enhancing tumour": (3,)}
    assert find_candidates(tmp_path / "brats", regions="rim=3").regions == {"rim": (3,)}
    with pytest.raises(ConfigError, match="--regions brats needs a BraTS track"):
        find_candidates(tmp_path / "brats", regions="brats", foreground=[1], labels=[1, 2, 3, 4, 5])
    assert find_candidates(ixi(tmp_path / "ixi", None), regions="left=17").regions == {"left": (17,)}


def test_only_the_volume_that_has_changed_is_measured_again(task, tmp_path, monkeypatch):
    from monai_tl.quality import check_case as module

    measured, measure = [], module.measure_case
    monkeypatch.setattr(module, "measure_case", lambda case, *rest: measured.append(case["subject"]) or measure(case, *rest))
    one = check_scans(find_candidates(task), tmp_path / "out")
    assert [(judged.measures.shape, judged.measures.problems) for judged in one.judged] == [([4, 4, 4], [])] * 2
    check_scans(find_candidates(task), tmp_path / "out")
    assert measured == ["prostate_01", "prostate_02"]
    save(task / "imagesTr" / "prostate_02.nii.gz", 5, 8, volumes=2)
    check_scans(find_candidates(task), tmp_path / "out")
    assert measured == ["prostate_01", "prostate_02", "prostate_02"]


def ixi(root: Path, coding: str | None) -> Path:
    for role, folder in (("T1", "IXI-T1"), ("T2", "IXI-T2"), ("aseg", "aseg")):
        save(root / folder / f"IXI012-HH-1211-{role}.nii.gz", 1, 2)
    if coding:
        settings = {"coding": coding}
        record = {"settings": settings, "subjects": {}, "left_out": {"IXI013": "lacks T2"}, "failed": {"IXI002": "no overlap"}}
        write_json(root / MADE_WITH, record)
    return root


def test_ixi_as_downloaded_and_prepared_with_the_coding_of_its_labels(tmp_path):
    found = find_candidates(ixi(tmp_path / "raw", None))
    assert (len(found.cases), found.modalities, found.foreground, found.labels) == (1, ("T1", "T2"), (17, 53), None)
    assert found.notes == ()
    for coding, foreground in (("freesurfer", (17, 53)), ("dlmuse", (47, 48))):
        found = find_candidates(ixi(tmp_path / coding, coding))
        assert found.foreground == foreground
        unchecked = "2 left out or failed when this folder was prepared (listed in prepared.json): not checked."
        assert found.notes == (unchecked,)
    other = nib.Nifti1Image(np.arange(8, dtype=np.int16).reshape(2, 2, 2), np.diag([2.0, 2, 2, 1]))
    nib.save(other, tmp_path / "raw" / "IXI-T2" / "IXI012-HH-1211-T2.nii.gz")
    (note,) = find_candidates(tmp_path / "raw").notes
    mentions(note, "T1 and T2 … `monai_tl prepare ixi`")
    (tmp_path / "dlmuse" / MADE_WITH).write_text("{}")
    with pytest.raises(DataError, match="prepared.json.*damaged"):
        find_candidates(tmp_path / "dlmuse")
    (tmp_path / "dlmuse" / MADE_WITH).write_text('{"format": 9}')
    with pytest.raises(DataError, match=r"prepared.json has format 9, this version reads 1"):
        find_candidates(tmp_path / "dlmuse")


def test_an_unknown_layout_is_refused_with_those_that_are_known(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ConfigError, match="letter.txt.*IXI") as no:
        find_candidates(tmp_path)
    for known in (
        "IXI-T1, IXI-T2, aseg",
        "BraTS of 2017 to 2025",
        "-t1n.nii.gz",
        "a Decathlon task (dataset.json)",
        "datalist files",
    ):
        mentions(str(no.value), known)


def test_a_track_is_for_brats_alone(tmp_path):
    with pytest.raises(ConfigError, match="--track gli2023.*raw'.*BraTS"):
        find_candidates(ixi(tmp_path / "raw", None), track="gli2023")
    for number in range(2):
        subject(tmp_path / "peds", f"BraTS-PED-0000{number}-000", NEW, 1, 2, 3)
    with pytest.raises(DataError, match="track.*track.*--track.*peds2023.*peds2024"):
        find_candidates(tmp_path / "peds")
    assert find_candidates(tmp_path / "peds", track="peds2024").foreground == (1, 2, 3)
    assert find_candidates(tmp_path / "peds", foreground=[1], labels=[1, 2, 3]).foreground == (1,)
