"""The datalist file: what it holds, that it is written once, that splits hold what they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monai_tl.datasets import datalist as dl
from monai_tl.datasets.splits import random_splits, splits_from_file
from monai_tl.errors import ConfigError, DataError

BUNDLES = Path(__file__).parents[2] / "bundles"
SUBJECTS = [f"IXI{number:03}" for number in range(20)]


def cases_in(folder: Path, subjects=("A", "B", "C")) -> list[dict[str, str]]:
    return [
        {"subject": name, **{role: str(folder / role / f"{name}.nii.gz") for role in ("T1", "T2", "label")}}
        for name in subjects
    ]


def made(folder: Path, **changes) -> dl.Datalist:
    content = {
        "cases": cases_in(folder),
        "modalities": ("T1", "T2"),
        "regions": {"foreground": (17, 53)},
        "splits": {"train": ("A", "C"), "test": ("B",)},
        **changes,
    }
    return dl.make_datalist(content.pop("cases"), **content)


@pytest.fixture
def written(tmp_path):
    return dl.write_datalist(tmp_path / "datalist.json", made(tmp_path / "scans"))


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_what_is_read_is_what_was_made(tmp_path):
    rule, left_out = {"ratios": [0.6, 0.0, 0.4], "seed": 3}, {"D": "lacks T2"}
    before = made(tmp_path / "scans", split_rule=rule, left_out=left_out)
    after = dl.read_datalist(dl.write_datalist(tmp_path / "new" / "datalist.json", before))
    assert after.path == tmp_path / "new" / "datalist.json"
    for key in ("cases", "modalities", "regions", "labels", "ignore", "splits", "split_rule", "left_out"):
        assert getattr(after, key) == getattr(before, key), key
    assert after.split_rule == rule
    assert after.left_out == left_out


def test_a_split_gives_its_own_cases_with_the_wanted_modalities_only(written, tmp_path):
    cases = dl.read_datalist(written).split("train", ["T2"])
    scans = tmp_path / "scans"
    assert cases == [
        {"subject": name, "T2": f"{scans}/T2/{name}.nii.gz", "label": f"{scans}/label/{name}.nii.gz"} for name in "AC"
    ]
    assert list(dl.read_datalist(written).split("test")[0]) == ["subject", "T1", "T2", "label"]


def test_paths_below_its_folder_are_relative_and_move_with_it(written, tmp_path):
    assert json.loads(written.read_text())["cases"][0]["T1"] == "scans/T1/A.nii.gz"
    (tmp_path / "moved").mkdir()
    moved = written.rename(tmp_path / "moved" / "datalist.json")
    assert dl.read_datalist(moved).cases[0]["T1"] == str(tmp_path / "moved/scans/T1/A.nii.gz")


def test_paths_elsewhere_are_absolute(tmp_path):
    path = dl.write_datalist(tmp_path / "lists" / "datalist.json", made(tmp_path / "scans"))
    assert json.loads(path.read_text())["cases"][0]["T1"] == str(tmp_path / "scans/T1/A.nii.gz")


def test_the_hash_follows_content_and_not_location(tmp_path):
    sha = made(tmp_path / "here").sha256()
    assert len(sha) == 64
    assert made(tmp_path / "there").sha256() == sha
    assert made(tmp_path, cases=cases_in(tmp_path)[::-1]).sha256() == sha
    other_file = [{**case, "T1": case["T1"].replace("A.nii", "X.nii")} for case in cases_in(tmp_path)]
    for change in (
        {"regions": {"foreground": (17,)}},
        {"ignore": (255,)},
        {"modalities": ("T1",)},
        {"splits": {"train": ("A",), "test": ("B",)}},
        {"cases": other_file},
    ):
        assert made(tmp_path, **change).sha256() != sha, change


def test_written_once(written, tmp_path):
    text = written.read_text()
    assert dl.write_datalist(written, made(tmp_path / "scans")) == written
    with pytest.raises(ConfigError, match="exists.*other content"):
        dl.write_datalist(written, made(tmp_path / "scans", regions={"foreground": (17,)}))
    assert written.read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["datalist.json"], "nothing half written is left behind"


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(source, target):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="disk full"):
        dl.write_datalist(tmp_path / "datalist.json", made(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_unknown_split_and_modality_are_refused_with_those_that_exist(written):
    datalist = dl.read_datalist(written)
    with pytest.raises(DataError, match=r"split 'tset'.*'test'\?.*train, test"):
        datalist.split("tset")
    with pytest.raises(DataError, match="'FLAIR'.*T1, T2"):
        datalist.split("train", ["FLAIR"])


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"splits": {"train": ["A", "B"], "test": ["C"]}}, "sha256.*changed"),
        ({"sha256": {}}, "sha256"),
        ({"format": 1}, "format 1.*version.*2"),
        ({"cases": [{"T1": "x"}]}, "case.*subject.*paths"),
        ({"cases": ["A"]}, "case.*subject.*paths"),
        ({"cases": [{"subject": 7}]}, "case.*subject.*strings"),
        ({"cases": cases_in(Path("x"), "ABCC")}, "subjects.*twice.*C"),
        ({"cases": cases_in(Path("x"), "AB")}, "subjects.*split 'train'.*C"),
        ({"modalities": ["T1", "PD"]}, "A lacks PD"),
        ({"splits": ["A"]}, "lists"),
        ({"splits": {"train": "A"}}, "'train'.*subject"),
    ],
)
def test_a_changed_file_is_refused(written, changes, text):
    edit(written, **changes)
    with pytest.raises(DataError, match=text) as refusal:
        dl.read_datalist(written)
    assert str(written) in str(refusal.value)


def test_what_is_no_datalist_is_refused(tmp_path):
    path = tmp_path / "datalist.json"
    with pytest.raises(DataError, match="`monai_tl datalist`"):
        dl.read_datalist(path)
    for text, reason in (
        ("{", "JSON"),
        ('{"test": ["a"], "test": ["b"]}', "'test' occurs twice"),
        ("[]", "list.*one object"),
        ('{"format": 1, "foreground": [17, 53]}', "format 1.*version.*2; make it again"),
        ('{"format": 2, "cases": []}', "it lacks modalities, regions, splits, sha256; make it again"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=reason):
            dl.read_datalist(path)


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"modalities": ()}, ConfigError, "modalities.*different"),
        ({"modalities": ("T1", "T1")}, ConfigError, "modalities.*different"),
        ({"regions": {"foreground": ()}}, ConfigError, r"foreground.*label.*\[\]"),
        ({"regions": {"foreground": (0, 17)}}, ConfigError, r"foreground.*label.*1.*\[0, 17\]"),
        ({"regions": {"foreground": ("17",)}}, ConfigError, r"got \['17'\]"),
        ({"regions": {"foreground": (17.0, 53)}}, ConfigError, r"got \[17.0, 53\]"),
        ({"regions": {"foreground": (True,)}}, ConfigError, r"got \[True\]"),
        ({"regions": {"foreground": (17, 17)}}, ConfigError, r"different.*\[17, 17\]"),
        ({"regions": {"foreground": 17}}, ConfigError, "foreground.*17"),
        ({"labels": (17, 53.0)}, ConfigError, r"labels.*label.*\[17, 53.0\]"),
        ({"labels": (0, 17, 53)}, ConfigError, r"labels.*\[0, 17, 53\]"),
        ({"splits": {"train": ("A", "B"), "test": ("B", "C")}}, DataError, "both.*train.*test: B"),
        ({"splits": {"train": ("A", "A"), "test": ("B",)}}, DataError, "twice.*split 'train'"),
        ({"splits": {"train": ("A",), "test": ()}}, DataError, "split 'test'.*empty"),
        ({"splits": {"train": ("A",), "test": ("Z",)}}, DataError, "split 'test'.*Z"),
        (
            {"splits": {"train": ("A",), "val": ("B",)}},
            DataError,
            "unknown split 'val'.*train, validation, test",
        ),
        ({"splits": {}}, DataError, "split.*train, validation, test"),
    ],
)
def test_what_does_not_agree_is_refused(tmp_path, changes, error, text):
    with pytest.raises(error, match=text):
        made(tmp_path, **changes)


def test_random_splits_follow_ids_and_seed_alone():
    splits = random_splits(SUBJECTS, (0.7, 0.15, 0.15), seed=0)
    assert {name: len(subjects) for name, subjects in splits.items()} == {"train": 14, "validation": 3, "test": 3}
    assert sorted(subject for subjects in splits.values() for subject in subjects) == SUBJECTS
    assert random_splits(SUBJECTS[::-1], (0.7, 0.15, 0.15), seed=0) == splits
    assert random_splits(SUBJECTS, (0.7, 0.15, 0.15), seed=1) != splits
    assert splits["test"] == ("IXI001", "IXI009", "IXI015"), "the draw of seed 0 stays what it was"


def test_a_share_of_zero_leaves_a_split_away_and_any_other_empty_split_is_refused():
    splits = random_splits(SUBJECTS[:4], (0.5, 0.0, 0.5), seed=0)
    assert {name: len(subjects) for name, subjects in splits.items()} == {"train": 2, "test": 2}
    with pytest.raises(DataError, match=r"4 subjects.*\[0.9, 0.05, 0.05\].*validation.*test empty"):
        random_splits(SUBJECTS[:4], (0.9, 0.05, 0.05), seed=0)
    with pytest.raises(DataError, match="subjects.*twice.*subjects: IXI000"):
        random_splits(["IXI000", "IXI000", "IXI001"], (0.5, 0.0, 0.5), seed=0)


@pytest.mark.parametrize("ratios", [(0.7, 0.3), (0.7, 0.2, 0.2), (1.2, -0.1, -0.1), (float("nan"), 0.5, 0.5)])
def test_ratios_are_three_shares_of_one(ratios):
    with pytest.raises(ConfigError, match="train, validation, test.*1"):
        random_splits(SUBJECTS, ratios, seed=0)


def lists_file(folder: Path, **lists) -> Path:
    path = folder / "lists.json"
    path.write_text(json.dumps({"source": "a text", **lists}))
    return path


@pytest.mark.parametrize("name", ["val", "validation"])
def test_splits_from_a_file(tmp_path, name):
    path = lists_file(tmp_path, train=["C", "A"], test=["B"], **{name: ["D"]})
    splits = splits_from_file(path, "ABCDE")
    assert splits == {"train": ("A", "C"), "validation": ("D",), "test": ("B",)}
    assert splits.left_out == {}


def test_listed_subjects_without_a_case_are_refused_or_written_down(tmp_path):
    path = lists_file(tmp_path, train=["A", "X", "Y"], val=["D"], test=["B"])
    with pytest.raises(DataError, match="2 subjects.*X, Y.*--absent leave_out"):
        splits_from_file(path, "ABD")
    splits = splits_from_file(path, "ABD", absent="leave_out")
    assert splits == {"train": ("A",), "validation": ("D",), "test": ("B",)}
    assert splits.left_out == dict.fromkeys("XY", "listed in lists.json, but has no case")
    with pytest.raises(DataError, match="split 'validation'.*empty"):
        splits_from_file(path, "AB", absent="leave_out")
    with pytest.raises(ConfigError, match="unknown absent 'skip'"):
        splits_from_file(path, "ABD", absent="skip")


@pytest.mark.parametrize(
    ("lists", "text"),
    [
        ({"train": ["A"], "test": ["A"]}, "both.*train.*test"),
        ({"train": ["A", "A"], "test": ["B"]}, "twice.*split 'train'"),
        ({"train": ["A"], "test": []}, "split 'test'.*empty"),
        ({"train": ["A"], "valid": ["B"]}, "unknown.*'valid'.*'validation'"),
        ({"train": ["A"], "val": ["B"], "validation": ["C"]}, "both 'val'.*'validation'"),
        ({"S1": ["A"], "S2": ["B"]}, "'train'.*S1, S2.*--train"),
        ({"train": [1, 2]}, "'train'.*subject"),
    ],
)
def test_lists_that_cannot_be_used_are_refused(tmp_path, lists, text):
    with pytest.raises(DataError, match=text):
        splits_from_file(lists_file(tmp_path, **lists), "ABC")


@pytest.mark.parametrize(("train", "count"), [("S1", 26), ("S2", 52), ("S3", 78), ("S4", 105)])
def test_the_study_s_lists_ship_with_the_target_bundle(train, count):
    path = BUNDLES / "brats_tumour_core" / "splits" / "study.json"
    lists = json.loads(path.read_text())
    everyone = sorted({subject for name in ("S4", "val", "test") for subject in lists[name]})
    splits = splits_from_file(path, everyone, train=train)
    assert [len(splits[name]) for name in dl.SPLITS] == [count, 63, 42]
    assert len(everyone) == 210
    assert set(splits["train"]) <= set(lists["S4"])


def test_the_study_s_subjects_ship_with_the_source_bundle():
    lists = json.loads((BUNDLES / "ixi_hippocampus" / "splits" / "study.json").read_text())
    removed = lists["removed_dice_below_0.8"]
    assert (len(lists["used"]), len(removed)) == (434, 66)
    assert not set(lists["used"]) & set(removed)
    assert max(removed.values()) < 0.8


def test_labels_that_may_occur_are_kept_and_hold_the_foreground(tmp_path):
    cases = [{"subject": name, "T1": str(tmp_path / name), "label": str(tmp_path / f"{name}_seg")} for name in "ab"]
    made = dl.make_datalist(cases, modalities=["T1"], regions={"foreground": [1, 4]}, labels=[1, 2, 4], splits={"train": ["a"]})
    assert dl.read_datalist(dl.write_datalist(tmp_path / "datalist.json", made)).labels == (1, 2, 4)
    assert dl.make_datalist(cases, modalities=["T1"], regions={"foreground": [1, 4]}, splits={"train": ["a"]}).labels is None
    with pytest.raises(ConfigError, match=r"'foreground'.* 3,.*labels 1, 2, 4"):
        dl.make_datalist(cases, modalities=["T1"], regions={"foreground": [1, 3]}, labels=[1, 2, 4], splits={"train": ["a"]})
