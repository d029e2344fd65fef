"""Scans to predict are found in every layout, by name."""

from __future__ import annotations

import shutil

import pytest

from monai_tl.datasets.scans_to_predict import find_scans, refuse_rename
from monai_tl.errors import ConfigError, DataError
from tests.conftest import mentions

BOTH = ("T1", "T2")


def subjects(cases):
    return [case["subject"] for case in cases]


def test_layouts_need_no_labels(phantoms, tmp_path):
    for layout in ("ixi", "brats"):
        folder = shutil.copytree(phantoms / layout, tmp_path / layout)
        for label in folder.rglob("*seg.nii.gz"):
            label.unlink()
        cases = find_scans(str(folder), BOTH)
        assert len(cases) == 6
        assert all(set(case) == {"subject", *BOTH} for case in cases)
        assert all(case["subject"] in case["T1"] and case["subject"] in case["T2"] for case in cases)


def test_one_brats_case_by_its_folder(phantoms):
    folder = next(path for path in sorted((phantoms / "brats").rglob("*")) if path.name.startswith("Brats") and path.is_dir())
    assert subjects(find_scans(str(folder), BOTH)) == [folder.name]


def test_names_of_2023(tmp_path):
    for name in ("BraTS-GLI-00000-000", "BraTS-GLI-00002-000"):
        (tmp_path / name).mkdir()
        for ending in ("t1n", "t2w"):
            (tmp_path / name / f"{name}-{ending}.nii.gz").touch()
    cases = find_scans(str(tmp_path), BOTH)
    assert subjects(cases) == ["BraTS-GLI-00000-000", "BraTS-GLI-00002-000"]
    assert find_scans(str(tmp_path / "BraTS-GLI-00002-000"), BOTH) == cases[1:]
    with pytest.raises(DataError, match=r"BraTS-GLI-00002-000 lacks FLAIR"):
        find_scans(str(tmp_path / "BraTS-GLI-00002-000"), ("T1", "FLAIR"))


def test_a_datalist_whole_or_one_split_of_it(phantoms):
    path = str(phantoms / "ixi" / "datalist.json")
    assert len(find_scans(path, BOTH)) == 6
    assert len(find_scans(path, ["T2"], split="test")) == 2
    with pytest.raises(DataError, match="'FLAIR'.*T1, T2"):
        find_scans(path, ["FLAIR"])
    with pytest.raises(DataError, match="split 'tset'.*'test'"):
        find_scans(path, BOTH, split="tset")


@pytest.fixture
def own(tmp_path):
    for name in ("t1/ann-x.nii.gz", "t1/bob-x.nii.gz", "t2/ann.nii", "t2/bob.nii"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_patterns_are_relative_to_the_input(own, monkeypatch):
    patterns = {"T1": "t1/{subject}-x.nii.gz", "T2": "t2/{subject}.nii"}
    cases = find_scans(str(own), BOTH, patterns)
    assert subjects(cases) == ["ann", "bob"]
    assert cases[1] == {"subject": "bob", "T1": str(own / "t1/bob-x.nii.gz"), "T2": str(own / "t2/bob.nii")}
    monkeypatch.chdir(own)
    assert find_scans(None, BOTH, patterns) == cases
    assert find_scans(None, BOTH, patterns, subjects=["bob"]) == cases[1:]
    with pytest.raises(DataError, match="subject 'bib'.*'bob'"):
        find_scans(None, BOTH, patterns, subjects=["ann", "bib"])
    with pytest.raises(ConfigError, match=r"pattern.*T1.*\{subject\}.*subject"):
        find_scans(None, BOTH, {"T1": "t1/bob-x.nii.gz", "T2": "t2/bob.nii"})
    with pytest.raises(DataError, match="pattern.*T2.*T1, T2"):
        find_scans(None, BOTH, {"T1": patterns["T1"]})
    (own / "t2/bob.nii").unlink()
    assert find_scans(None, BOTH, patterns) == cases[:1]
    assert find_scans(None, BOTH, patterns).left_out == {"bob": "lacks T2"}
    assert find_scans(None, BOTH, patterns, subjects=["ann"]).left_out == {}
    (own / "t1/ann-x.nii.gz").unlink()
    with pytest.raises(DataError, match=r"2 of 2 subjects.*incomplete[\s\S]*bob lacks T2"):
        find_scans(None, BOTH, patterns)


def test_one_modality_takes_images_as_they_are(own):
    assert subjects(find_scans(str(own / "t1"), ["T1"])) == ["ann-x", "bob-x"]
    assert find_scans(str(own / "t2" / "bob.nii"), ["T1"]) == [{"subject": "bob", "T1": str(own / "t2" / "bob.nii")}]
    with pytest.raises(DataError, match="T1, T2.*pattern"):
        find_scans(str(own / "t2" / "bob.nii"), BOTH)
    (own / "t2" / "bob.nii.gz").write_bytes(b"")
    with pytest.raises(DataError, match="bob .* several scans"):
        find_scans(str(own / "t2"), ["T1"])


def test_what_is_not_there_or_not_known(own):
    with pytest.raises(DataError, match="does not exist.*datalist"):
        find_scans(str(own / "nowhere"), BOTH)
    with pytest.raises(DataError, match="no input: .* datalist"):
        find_scans(None, BOTH)
    with pytest.raises(DataError, match=r"\(it.*t1, t2\).*pattern"):
        find_scans(str(own), BOTH)
    with pytest.raises(DataError, match="--split.*datalist"):
        find_scans(str(own), BOTH, split="test")


@pytest.mark.parametrize("layout", ["ixi", "brats", "ixi/datalist.json"])
def test_scans_by_other_names_get_those_of_the_network(phantoms, layout):
    """The network takes MR and T1: its MR is the scans' T1, its T1 the scans' T2."""
    place = str(phantoms / layout)
    rename = {"T1": "MR", "T2": "T1"}
    plain = find_scans(place, BOTH)
    expected = [{"subject": case["subject"], "MR": case["T1"], "T1": case["T2"]} for case in plain]
    assert find_scans(place, ["MR", "T1"], rename=rename) == expected
    assert list(find_scans(place, ["MR", "T1"], rename=rename)[0]) == ["subject", "MR", "T1"]


def test_what_a_layout_leaves_out_stays_left_out_under_another_name(phantoms, tmp_path):
    folder = shutil.copytree(phantoms / "ixi", tmp_path / "ixi")
    next(iter(sorted((folder / "IXI-T2").iterdir()))).unlink()
    cases = find_scans(str(folder), ["T1", "MR"], rename={"T2": "MR"})
    assert (len(cases), list(cases.left_out.values())) == (5, ["lacks T2"])


def test_a_rename_is_offered_where_names_do_not_match(phantoms):
    datalist = str(phantoms / "ixi" / "datalist.json")
    with pytest.raises(DataError, match=r"'t1' in .*if the scans' T1 is the network's t1: --rename T1=t1$"):
        find_scans(datalist, ["t1", "T2"])
    with pytest.raises(DataError, match=r"'MR'.*\(--rename T1=MR or --rename T2=MR\)$"):
        find_scans(datalist, ["MR"])
    with pytest.raises(DataError, match=r"no known layout.*--rename T1=MR or .*--rename FLAIR=MR\)$"):
        find_scans(str(phantoms / "brats"), ["MR"])
    with pytest.raises(DataError, match=r"no modality 'MRI' in [^;]*$"):
        find_scans(datalist, ["MR"], rename={"MRI": "MR"})


@pytest.mark.parametrize(
    ("rename", "location", "patterns", "text"),
    [
        ({"T1": "T2w"}, None, {}, "the network has no modality 'T2w'.*T1, T2"),
        ({"T1": "MR"}, None, {}, "SOURCE=TARGET.*--rename MR=T1"),
        ({"T1": "T1"}, None, {}, "--rename T1=T1 changes nothing"),
        ({"MR": "T1", "MRI": "T1"}, None, {}, "MR and MRI of the scans.*T1"),
        ({"MR": "T1"}, None, {"T1": "{subject}.nii"}, "patterns.*omit --rename"),
        ({"MR": "T1"}, "scan.nii.gz", {}, "'scan.nii.gz'.*without names.*omit it"),
    ],
)
def test_a_rename_that_scans_cannot_follow_is_refused(rename, location, patterns, text):
    with pytest.raises(ConfigError, match=text):
        refuse_rename(rename, BOTH, location, patterns)


def test_images_without_names_cannot_be_renamed(own):
    with pytest.raises(ConfigError, match="without names.*omit it"):
        find_scans(str(own / "t1"), ["T1"], rename={"MR": "T1"})
    refuse_rename({}, BOTH, "scan.nii.gz", {})


def test_one_scan_is_not_two_modalities(phantoms):
    """A rename moves a modality: its own name is then free, and no other modality is in its place."""
    datalist = str(phantoms / "brats" / "datalist.json")
    for rename in ({"T1": "T2"}, {"T2": "T1"}):
        with pytest.raises(ConfigError) as refusal:
            find_scans(datalist, ["T1", "T2"], rename=rename)
        mentions(str(refusal.value), "T1", "T2", "would be both")
    with pytest.raises(DataError) as doubt:
        find_scans(datalist, ["T1"], rename={"T2": "T1"})
    mentions(str(doubt.value), "--rename T2=T1", "has a T1 too")
    (case, *_) = find_scans(datalist, ["T1", "T2"], rename={"T1": "T2", "T2": "T1"})
    assert (case["T1"][-9:], case["T2"][-9:]) == ("t2.nii.gz", "t1.nii.gz"), "two can change places"
