"""What a run keeps of its cases: read as it was written, pseudonyms included; a scan that changed is found."""

from __future__ import annotations

import json

import pytest

from monai_tl.errors import DataError
from monai_tl.identity.anonymise import pseudonyms, read_or_make_key
from monai_tl.identity.fingerprints import Fingerprint
from monai_tl.identity.run_data import RunCases, RunData, changed_scans, range_of, read_run_data, write_run_data

ONE, TWO = Fingerprint("f1", "v1", "g1"), Fingerprint("f2", "v2", "g2")
SPLITS = {"train": {"ann": {"T1": ONE}}, "test": {"bob": {"T1": TWO}}}
CASES = [{"subject": "ann", "T1": "a.nii"}, {"subject": "bob", "T1": "b.nii"}]


def test_it_is_read_as_it_was_written(tmp_path):
    written = RunData(
        RunCases("", SPLITS), (RunCases("first.pt", None), RunCases("second.pt", SPLITS)), range_of([3.0, 1.0, 2.5])
    )
    write_run_data(tmp_path, tmp_path / "run", written, anonymous=False)
    assert read_run_data(tmp_path) == written
    assert written.training_ml == {"min": 1.0, "median": 2.5, "max": 3.0}
    assert read_run_data(tmp_path / "nowhere") is None


@pytest.mark.parametrize("content", ["no JSON", "[]", '{"format": 1}', '{"format": 9, "splits": {}}'])
def test_a_damaged_one_is_refused(tmp_path, content):
    (tmp_path / "data.json").write_text(content)
    with pytest.raises(DataError, match=r"data.json (is damaged|has format 9, this version reads 1)"):
        read_run_data(tmp_path)


def test_the_order_of_pseudonyms_does_not_reveal_whose_they_are(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    prints = {f"s{n:02}": {"T1": Fingerprint(f"f{n}", f"v{n}", "g")} for n in range(20)}
    write_run_data(run, run, RunData(RunCases("", {"train": prints})), anonymous=True)
    names = list(json.loads((run / "data.json").read_text())["splits"]["train"])
    assert names == sorted(names)
    assert names != list(pseudonyms(list(prints), read_or_make_key(run)).values())


def test_pseudonyms_stand_for_the_ids_of_all_runs_and_the_key_stays_outside(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    write_run_data(run, run, RunData(RunCases("", SPLITS), (RunCases("first.pt", SPLITS),)), anonymous=True)
    text = (run / "data.json").read_text()
    assert "ann" not in text
    assert (tmp_path / "run.key").stat().st_mode & 0o077 == 0
    kept = read_run_data(run)
    name = kept.own.named(["ann"])["ann"]
    assert kept.own.splits["train"] == {name: {"T1": ONE}} == kept.earlier[0].splits["train"]
    assert kept.own.ids_known
    (tmp_path / "run.key").unlink()
    assert not read_run_data(run).own.ids_known
    write_run_data(tmp_path, tmp_path / "next", RunData(RunCases("", SPLITS), (kept.own,)), anonymous=True)
    assert [run["ids"] for run in json.loads((tmp_path / "data.json").read_text())["earlier"]] == ["keyed elsewhere"]


@pytest.mark.parametrize("anonymous", [False, True])
@pytest.mark.parametrize("key", [True, False])
def test_a_changed_scan_is_named(tmp_path, anonymous, key):
    run = tmp_path / "run"
    run.mkdir()
    write_run_data(run, run, RunData(RunCases("", SPLITS)), anonymous=anonymous)
    if not key:
        (tmp_path / "run.key").unlink(missing_ok=True)
    before = read_run_data(run).own
    assert changed_scans(before, SPLITS, CASES) == []
    repacked = {"train": {"ann": {"T1": ONE._replace(file="f9")}}, "test": {"bob": {"T1": TWO._replace(grid="g9")}}}
    assert changed_scans(before, repacked, CASES) == []
    other = {"train": {"ann": {"T1": ONE}}, "test": {"bob": {"T1": Fingerprint("f9", "v2", "g9")}}}
    assert changed_scans(before, other, CASES) == ["T1 of bob (b.nii)"]


def test_two_scans_that_changed_places_have_changed(tmp_path):
    before = RunCases("", {"train": {"ann": {"T1": ONE}, "bob": {"T1": TWO}}})
    changed = changed_scans(before, {"train": {"ann": {"T1": TWO}, "bob": {"T1": ONE}}}, CASES)
    assert changed == ["T1 of ann (a.nii)", "T1 of bob (b.nii)"]
