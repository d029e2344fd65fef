"""``monai_tl check``: a table, a page and pictures of all cases; a failing case stops no other; ids can be hidden."""

from __future__ import annotations

import csv
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from monai_tl.errors import is_full_disk
from monai_tl.imaging.preview import CAPTION, PREDICTION, region_colours
from monai_tl.quality import check as check_module
from monai_tl.quality.candidates import Candidates, find_candidates
from monai_tl.quality.check import check_scans
from monai_tl.quality.measures import Measures
from monai_tl.quality.outliers import Judged
from monai_tl.quality.qc_table import SHOWN, format_regions, format_table
from monai_tl.quality.region_volumes import summarise_regions
from monai_tl.report.quality.wall import write_page
from monai_tl.storage.processes import Outcome
from tests.conftest import BRATS, IXI, mentions

EVIL = "<img src=x onerror=alert(1)>&\"'"


@pytest.fixture
def folder(phantoms, tmp_path):
    """Six small heads in the layout of IXI that a test may spoil."""
    shutil.copytree(phantoms / "ixi", tmp_path / "private_place")
    return tmp_path / "private_place"


def rows_of(output):
    with (output / "qc.csv").open(newline="", encoding="utf-8") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def spoil_first(folder):
    path = sorted((folder / "IXI-T2").iterdir())[0]
    path.write_bytes(path.read_bytes()[:500])
    return path.name.split("-")[0], path


def test_each_case_has_a_row_a_picture_and_a_place_on_the_page(verb, folder, tmp_path):
    output = tmp_path / "out"
    answer = verb("check", folder / "datalist.json", "--output", output)
    assert answer.code == 0, answer.err
    rows = rows_of(output)
    assert len(rows) == 6
    page = (output / "check.html").read_text()
    for subject, row in rows.items():
        assert (row["shape"], row["spacing"], row["orientation"], row["state"]) == ("32×32×32", "1×1×1", "PSR", row["state"])
        assert float(row["foreground_ml"]) == pytest.approx(float(row["left_ml"]) + float(row["right_ml"]), abs=1e-3)
        assert 0 < float(row["T1_lowest"]) < float(row["T1_highest"])
        assert 0 <= float(row["T2_off_mm"]) < 0.75
        mentions(page, f"{float(row['T2_off_mm']):.1f}")
        picture = np.asarray(Image.open(output / "check_files" / f"{subject}.png"))
        assert picture.shape[0] == 320
        assert (picture == PREDICTION).all(axis=-1).sum() > 50, "the label's outline"
        assert f'href="check_files/{subject}.png"' in page
        assert subject in answer.out
    assert "6 usable cases are too few to be compared" in answer.out
    assert page.count("data:image/jpeg;base64,") == 6
    assert not re.findall(r'(?:src|href)="(?!data:|check_files/)', page), "the page stands alone"
    assert "default-src 'none'" in page


def test_a_folder_can_be_checked_before_there_is_a_datalist(verb, folder, phantoms, tmp_path):
    (folder / "datalist.json").unlink()
    lacking = sorted((folder / "aseg").iterdir())[1]
    lacking.unlink()
    answer = verb("check", folder, "--output", tmp_path / "out")
    assert answer.code == 1
    row = rows_of(tmp_path / "out")[lacking.name.split("-")[0]]
    assert (row["state"], row["reasons"]) == ("problem", "lacks label")
    shutil.rmtree(folder / "aseg")
    answer = verb("check", folder, "--output", tmp_path / "unlabelled")
    assert answer.code == 0, answer.err
    assert "There are no labels" in answer.out
    assert {row["foreground_ml"] for row in rows_of(tmp_path / "unlabelled").values()} == {""}
    answer = verb("check", phantoms / "brats", "--output", tmp_path / "brats")
    assert answer.code == 0, answer.err
    assert all(float(row["foreground_ml"]) > 0 and not row["left_ml"] for row in rows_of(tmp_path / "brats").values())


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_one_unreadable_case_stops_no_other(verb, folder, tmp_path, processes):
    subject, _ = spoil_first(folder)
    answer = verb("check", folder, "--output", tmp_path / "out", "--processes", processes)
    assert answer.code == 1
    mentions(answer.err, "1 of 6 cases")
    mentions(answer.err, f"{subject}: T2 … readable")
    rows = rows_of(tmp_path / "out")
    assert [row["case"] for row in rows.values() if row["state"] == "problem"] == [subject]
    assert (tmp_path / "out" / "check.html").read_text().index(subject) < min(
        (tmp_path / "out" / "check.html").read_text().index(other) for other in rows if other != subject
    ), "worst first"


def test_where_nothing_can_be_measured_the_code_is_2(verb, folder, tmp_path):
    for role in ("IXI-T1", "IXI-T2", "aseg"):
        for path in (folder / role).iterdir():
            path.write_bytes(b"")
    answer = verb("check", folder, "--output", tmp_path / "out")
    assert answer.code == 2
    mentions(answer.err, "none … 6 cases")


def test_only_what_has_changed_is_read_again(folder, tmp_path, monkeypatch):
    candidates = find_candidates(folder)
    before = check_scans(candidates, tmp_path / "out")
    read = []
    measure = check_module.check_case.__globals__["measure_case"]
    monkeypatch.setitem(
        check_module.check_case.__globals__,
        "measure_case",
        lambda case, *rest: (read.append(case["subject"]), measure(case, *rest))[1],
    )
    again = check_scans(candidates, tmp_path / "out")
    assert read == []
    assert again.judged == before.judged
    subject, _ = spoil_first(folder)
    assert check_scans(candidates, tmp_path / "out").judged[0].state == "problem"
    assert read == [subject]
    (tmp_path / "out" / "check_files" / f"{candidates.cases[2]['subject']}.png").unlink()
    check_scans(candidates, tmp_path / "out")
    assert read == [subject, candidates.cases[2]["subject"]]


def test_nothing_that_is_passed_on_identifies_a_person(verb, folder, tmp_path):
    _, path = spoil_first(folder)
    sorted((folder / "aseg").iterdir())[2].unlink()
    words = ("check", folder, "--output", tmp_path / "out", "--anonymous")
    answer = verb(*words)
    assert answer.code == 1
    files = {
        file.relative_to(tmp_path / "out").as_posix(): file.read_bytes()
        for file in (tmp_path / "out").rglob("*")
        if file.is_file()
    }
    secret = [path.name.split("-")[0] for path in (folder / "IXI-T1").iterdir()] + ["private_place", "Guys", path.name[:-7]]
    assert len(files) == 3 + 2 * 5
    for name, content in files.items():
        for word in secret:
            assert word not in name
            assert word.encode() not in content, f"{word} in {name}"
    for word in secret:
        assert word not in answer.out.replace(str(tmp_path), "") + answer.err.replace(str(tmp_path), "")
    mentions(answer.err, "T2 … readable")
    names = set(rows_of(tmp_path / "out"))
    assert all(re.fullmatch("case_[0-9a-f]{10}", name) for name in names)
    key = tmp_path / "out.key"
    assert key.stat().st_mode & 0o077 == 0
    verb(*words)
    assert set(rows_of(tmp_path / "out")) == names, "the same folder gives the same names"
    key.rename(tmp_path / "other.key")
    verb("check", folder, "--output", tmp_path / "other", "--anonymous")
    assert set(rows_of(tmp_path / "other")) == names, "by its key"
    answer = verb("check", folder, "--output", tmp_path / "out")
    assert answer.code == 2
    mentions(answer.err, "a check with other settings (anonymous was ")


def test_hostile_names_are_text_on_the_page(folder, tmp_path):
    case = {**find_candidates(folder).cases[0], "subject": EVIL.replace("/", "")}
    candidates = Candidates((case,), ("T1", "T2"), {"foreground": (17, 53)})
    write_page(check_scans(candidates, tmp_path / "out"), candidates)
    page = (tmp_path / "out" / "check.html").read_text()
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror" in page


def test_a_case_whose_process_dies_is_checked_once_more_alone(monkeypatch, tmp_path):
    jobs = [
        check_module.CheckJob({"subject": name}, name, ("T1",), {"foreground": (1,)}, None, tmp_path, None) for name in "abcd"
    ]
    calls = []

    def run(task, items, processes, **_):
        calls.append((list(items), processes))
        for name in items:
            dies = name == "b" or (name == "c" and processes > 1)
            yield name, Outcome(fault="its process ended by SIGKILL") if dies else Outcome(Measures(name))

    monkeypatch.setattr(check_module, "run_each", run)
    found = {one.subject: one.problems for one in check_module._all(jobs, 2)}
    assert found == {"a": [], "d": [], "c": [], "b": ["could not be checked (its process ended by SIGKILL)"]}
    assert calls == [(["a", "b", "c", "d"], 2), (["b", "c"], 1)]


def test_a_full_disk_ends_a_check_in_processes(monkeypatch, tmp_path):
    jobs = [check_module.CheckJob({"subject": "a"}, "a", ("T1",), {"foreground": (1,)}, None, tmp_path, None)]
    monkeypatch.setattr(check_module, "run_each", lambda *_, **__: (one for one in [("a", Outcome(full_disk=True))]))
    with pytest.raises(OSError, match="no space left") as caught:
        list(check_module._all(jobs, 2))
    assert is_full_disk(caught.value)


def test_what_is_refused_before_anything_is_read(verb, folder, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    for words, text in [
        ((folder, "--output", tmp_path / "full"), "a check"),
        ((folder, "--output", tmp_path / "full" / "letter.txt"), "is a file; name a folder"),
        ((folder, "--output", tmp_path / "o", "--processes", 0), "processes takes a whole number from 1; got 0"),
        ((tmp_path / "nowhere", "--output", tmp_path / "o"), "does not exist"),
        ((tmp_path / "full", "--output", tmp_path / "o"), "letter.txt"),
        ((folder / "datalist.json", "--output", tmp_path / "o", "--modalities", "PD"), "no modality 'PD'"),
        ((folder, folder, "--output", tmp_path / "o"), "check takes one datalist or folder; got 2"),
        ((folder, "--output", tmp_path / "o", "--regions", "left"), "'left' … left=VALUE"),
        ((folder, "--output", tmp_path / "o", "--regions", "left=17,left=53"), "'left' twice"),
        ((folder, "--output", tmp_path / "o", "--regions", "left=17;also=17"), "'left' … 'also' … same … 17"),
        ((folder, "--output", tmp_path / "o", "--target", tmp_path / "nowhere"), "nowhere"),
    ]:
        answer = verb("check", *words)
        assert answer.code == 2
        mentions(answer.err, text)
    assert not (tmp_path / "o").exists()
    assert (tmp_path / "full" / "letter.txt").read_text() == "dear"


def test_the_printed_table_is_aligned_and_short():
    many = [
        Judged(Measures(f"case{n:03d}", shape=[9, 10, 11], spacing=[1, 1, 1.2], orientation="RAS"), (), {}) for n in range(580)
    ]
    lines = format_table(many, ("T1",)).splitlines()
    assert len(lines) == SHOWN + 2
    assert lines[-1] == "and 560 more cases (0 of them not fine), all in qc.csv"
    assert {line.index("9×10×11") for line in lines[1:-1]} == {lines[0].index("shape")}


@pytest.fixture
def sides(folder, verb):
    """A datalist of the folder whose regions are both sides together and each of them."""
    path = folder / "sides.json"
    words = ("--root", folder, "--split", "0.5,0.17,0.33", "--output", path)
    answer = verb("datalist", "ixi", *words, "--regions", "both=17,53; left=17; right=53")
    assert answer.code == 0, answer.err
    return path


def test_each_region_has_its_volume_in_table_page_and_picture(verb, sides, tmp_path):
    output = tmp_path / "out"
    answer = verb("check", sides, "--output", output)
    assert answer.code == 0, answer.err
    mentions(
        answer.out, "both ml … left ml … right ml", "region … label … cases", "left … 17 … 6 of 6", "both … 17,53 … 6 of 6"
    )
    page = (output / "check.html").read_text()
    mentions(page, "3 regions", "in 6 of 6 · median", *(f"rgb{colour}" for colour in region_colours(3)))
    for subject, row in rows_of(output).items():
        ml = {name: float(row[f"ml of {name}"]) for name in ("both", "left", "right")}
        assert (ml["left"], ml["right"]) == (float(row["left_ml"]), float(row["right_ml"]))
        assert ml["both"] == pytest.approx(ml["left"] + ml["right"], abs=1e-3) == float(row["foreground_ml"])
        mentions(page, f"both {ml['both']:.2f} ml · left {ml['left']:.2f} ml · right {ml['right']:.2f} ml")
        picture = np.asarray(Image.open(output / "check_files" / f"{subject}.png"))
        assert picture.shape[0] == 320 + CAPTION, "planes, and a line with the names"
        drawn = [int((picture[:320] == colour).all(axis=-1).sum()) for colour in region_colours(3)]
        assert max(drawn[1:]) > 20, "a side's outline is painted over that of both"
        named = [bool((picture[320:] == colour).all(axis=-1).any()) for colour in region_colours(3)]
        assert named == [True] * 3
    again = verb("datalist", "ixi", "--root", sides.parent, "--leave_out", output / "qc.csv", "--output", tmp_path / "all.json")
    assert again.code == 0, again.err


def test_regions_can_be_asked_for_and_are_part_of_the_settings(verb, folder, tmp_path):
    words = ("check", folder, "--output", tmp_path / "out", "--regions", "left=17; accumbens=26")
    answer = verb(*words)
    assert answer.code == 0, answer.err
    mentions(answer.out, "accumbens … 26 … 0 of 6 … –", "Region in none of the 6 labels: accumbens (26)")
    rows = rows_of(tmp_path / "out").values()
    assert {float(row["ml of accumbens"]) for row in rows} == {0}
    assert all(float(row["ml of left"]) > 0 for row in rows)
    answer = verb(*words[:-1], "left=17")
    assert answer.code == 2
    mentions(answer.err, "a check with other settings")


def test_volumes_are_compared_with_those_of_a_bundle(verb, sides, tmp_path):
    """The small heads' hippocampi are not an adult's."""
    answer = verb("check", sides, "--output", tmp_path / "out", "--regions", "hippocampus=17,53", "--target", IXI)
    assert answer.code == 0, answer.err
    rows = rows_of(tmp_path / "out")
    for row in rows.values():
        ml = float(row["ml of hippocampus"])
        assert (row["state"], f"hippocampus of {ml:.3g} ml; plausible are 3 to 11 ml" in row["reasons"]) == ("suspect", True)
    mentions((tmp_path / "out" / "check.html").read_text(), "hippocampus outside 3 to 11 ml")
    answer = verb("check", sides, "--output", tmp_path / "all", "--target", BRATS)
    assert answer.code == 2
    mentions(answer.err, "brats_tumour_core … both, left, right")
    assert not (tmp_path / "all").exists()


def test_twenty_regions_are_counted_in_the_table_and_listed_below_it():
    regions = {f"organ {n}": (n,) for n in range(1, 21)}
    ml = {name: 0.0 if name == "organ 7" else 10.0 * n for n, name in enumerate(regions, 1)}
    case = Measures("one", shape=[9, 9, 9], foreground_ml=2030.0, regions_ml=ml)
    lines = format_table([Judged(case, (), {}), Judged(Measures("two", problems=["gone"]), (), {})], ("CT",)).splitlines()
    assert lines[0].split()[-3:] == ["label", "ml", "regions"]
    mentions(lines[1], "2030.00 … 19 of 20")
    assert max(map(len, lines)) < 90
    table = format_regions(summarise_regions([case], regions), {"organ 2": (1.0, 30.0)})
    assert len(table) == 1 + 1 + 20 + 1
    assert table[3].split() == ["organ", "2", "2", "1", "of", "1", "20.0", "20.0", "20.0", "1", "to", "30"]
    assert table[8].split() == ["organ", "7", "7", "0", "of", "1", "–", "–", "–", "–"]
    assert format_regions(summarise_regions([case], {"organ 1": (1,)}), {}) == [], "one region needs no table"


def test_kept_measures_hold_no_hash_that_public_scans_could_be_found_by(folder, tmp_path):
    candidates = find_candidates(folder)
    check_scans(candidates, tmp_path / "named")
    check_scans(candidates, tmp_path / "hidden", anonymous=True)
    hashes = [
        {json.loads(path.read_text())["inputs"] for path in (tmp_path / name / "check_files").glob("*.json")}
        for name in ("named", "hidden")
    ]
    assert hashes[0].isdisjoint(hashes[1])
