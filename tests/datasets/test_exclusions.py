"""Who is left out is chosen, known and recorded with the reason."""

from __future__ import annotations

import json
import math

import pytest

from monai_tl.datasets import ixi
from monai_tl.evaluation.score_table import write_scores
from tests.conftest import mentions, score_of


@pytest.fixture
def root(phantoms):
    return phantoms / "ixi"


@pytest.fixture
def subjects(root):
    return [case["subject"] for case in ixi.find_ixi_cases(root)]


@pytest.fixture
def qc(subjects, tmp_path):
    path = tmp_path / "qc.csv"
    states = [f"{subjects[0]},fine,", f'{subjects[1]},suspect,"head cut; T2 off"', f"{subjects[2]},problem,no T2"]
    path.write_text("case,state,reasons\n" + "\n".join(states) + "\n")
    return path


def make(verb, root, tmp_path, *words):
    answer = verb("datalist", "ixi", "--root", root, "--split", "1,0,0", "--output", tmp_path / "list.json", *words)
    content = json.loads((tmp_path / "list.json").read_text()) if answer.code == 0 else {}
    return answer, content


def test_suspects_and_problems_of_a_check(verb, root, subjects, qc, tmp_path):
    answer, content = make(verb, root, tmp_path, "--leave_out", qc)
    assert answer.code == 0, answer.err
    assert content["left_out"] == {
        subjects[1]: "suspect in qc.csv: head cut; T2 off",
        subjects[2]: "problem in qc.csv: no T2",
    }
    assert [case["subject"] for case in content["cases"]] == [subjects[0], *subjects[3:]]
    assert content["splits"]["train"] == [subjects[0], *subjects[3:]]


def test_qc_stands_for_the_only_qc_csv_below_the_root(verb, root, subjects, qc, tmp_path, monkeypatch):
    from monai_tl.datasets import exclusions

    assert make(verb, root, tmp_path, "--leave_out", "qc")[0].code == 2
    cases = ixi.find_ixi_cases(root)
    (tmp_path / "checked").mkdir()
    qc.rename(tmp_path / "checked" / "qc.csv")
    kept, chosen = exclusions.leave_out(cases, "qc", tmp_path)
    assert list(chosen) == subjects[1:3]
    assert kept.left_out == chosen
    (tmp_path / "qc.csv").write_text("case,state,reasons\n")
    with pytest.raises(ValueError, match=r"qc.csv.*2.*\(checked/qc.csv, qc.csv\)"):
        exclusions.leave_out(cases, "qc", tmp_path)


def test_low_scores_with_a_warning(verb, root, subjects, tmp_path):
    scores = tmp_path / "scores_test.csv"
    rows = [f"{subjects[0]},0.79,1", f"{subjects[1]},0.8,1", f"{subjects[2]},nan,1"]
    scores.write_text("subject,dice,hd95_mm\n" + "\n".join(rows) + "\n")
    answer, content = make(verb, root, tmp_path, "--leave_out", f"{scores}:0.8")
    assert answer.code == 0
    assert content["left_out"] == {subjects[0]: "Dice 0.790 below 0.8 in scores_test.csv (selected on the outcome)"}
    mentions(answer.err, "1 of 3 cases")
    mentions(answer.err, "test split")


def test_low_scores_of_an_evaluation_are_means_over_its_regions(verb, root, subjects, tmp_path):
    scores = [score_of(subjects[0], dice, 1.0, 1.0, 1.0, 1.0, region) for region, dice in (("core", 0.9), ("whole", 0.5))]
    scores += [
        score_of(subjects[1], dice, 1.0, 1.0, 1.0, 1.0, region) for region, dice in (("core", math.nan), ("whole", 0.75))
    ]
    write_scores(tmp_path / "scores_test.csv", scores)
    answer, content = make(verb, root, tmp_path, "--leave_out", f"{tmp_path / 'scores_test.csv'}:0.71")
    assert answer.code == 0
    assert content["left_out"] == {subjects[0]: "Dice 0.700 below 0.71 in scores_test.csv (selected on the outcome)"}
    mentions(answer.err, "1 of 2 cases")


def test_no_test_split_is_selected_on_the_outcome(verb, root, subjects, tmp_path):
    scores = tmp_path / "scores.csv"
    scores.write_text(f"subject,dice\n{subjects[0]},0.5\n{subjects[5]},0.9\n")
    (tmp_path / "lists.json").write_text(json.dumps({"train": subjects[1:4], "test": [subjects[0], *subjects[4:]]}))
    words = ("datalist", "ixi", "--root", root, "--output", tmp_path / "s.json", "--leave_out", f"{scores}:0.8")
    for split, text in [
        ("0.5,0.17,0.33", "1 cases"),
        (tmp_path / "lists.json", f"1 cases from the test split because of their scores: {subjects[0]}"),
    ]:
        answer = verb(*words, "--split", split)
        assert answer.code == 2
        mentions(answer.err, text)
        assert not (tmp_path / "s.json").exists()
    (tmp_path / "lists.json").write_text(json.dumps({"train": subjects[:4], "test": subjects[4:]}))
    assert verb(*words, "--split", tmp_path / "lists.json").code == 0
    content = json.loads((tmp_path / "s.json").read_text())
    assert content["splits"] == {"train": subjects[1:4], "test": subjects[4:]}
    assert "selected on the outcome" in content["left_out"][subjects[0]]


def test_by_name_in_each_layout(verb, phantoms, root, subjects, tmp_path):
    _, content = make(verb, root, tmp_path, "--leave_out", f"{subjects[4]}, {subjects[5]}")
    assert content["left_out"] == dict.fromkeys(subjects[4:], "left out by name")
    own = sorted(path.name for path in (phantoms / "brats" / "HGG").iterdir())[0]
    words = ("--split", "1,0,0", "--leave_out", own)
    assert verb("datalist", "brats", "--root", phantoms / "brats", "--output", tmp_path / "b.json", *words).code == 0
    assert json.loads((tmp_path / "b.json").read_text())["left_out"] == {own: "left out by name"}
    patterns = ("--T1", f"{root}/IXI-T1/{{subject}}-*T1.nii.gz", "--label", f"{root}/aseg/{{subject}}-*aseg.nii.gz")
    words = ("--foreground", "17,53", "--split", "1,0,0", "--leave_out", subjects[0], "--output", tmp_path / "f.json")
    assert verb("datalist", "files", *patterns, *words).code == 0
    assert json.loads((tmp_path / "f.json").read_text())["left_out"] == {subjects[0]: "left out by name"}


def test_they_are_taken_from_lists_of_splits_too(verb, root, subjects, tmp_path):
    (tmp_path / "lists.json").write_text(json.dumps({"train": subjects[:4], "test": subjects[4:]}))
    words = ("--split", tmp_path / "lists.json", "--leave_out", subjects[0], "--output", tmp_path / "l.json")
    assert verb("datalist", "ixi", "--root", root, *words).code == 0
    content = json.loads((tmp_path / "l.json").read_text())
    assert content["splits"] == {"train": subjects[1:4], "test": subjects[4:]}
    assert content["left_out"] == {subjects[0]: "left out by name"}


def test_what_cannot_be_meant_is_refused(verb, root, subjects, qc, tmp_path):
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n")
    (tmp_path / "anonymous.csv").write_text("case,state,reasons\ncase_0123456789,suspect,x\n")
    for choice, text in [
        ("IXI999", "leave_out names 1 unknown subjects: IXI999; "),
        (tmp_path / "none.csv", "leave_out: there is no file"),
        (tmp_path / "odd.csv", "has no column case, state, reasons, only a, b"),
        (f"{qc}:0.8", "has no column subject"),
        *((f"{qc}:{limit}", f"'{limit}' is not a Dice above 0 and up to 1") for limit in ("high", "nan", "80", "0", "inf")),
        (tmp_path / "anonymous.csv", "without --anonymous"),
        ("qc", "needs one qc.csv in"),
        (",".join(subjects), "of 6 cases"),
    ]:
        answer, _ = make(verb, root, tmp_path, "--leave_out", choice)
        assert answer.code == 2
        mentions(answer.err, text)
    assert not (tmp_path / "list.json").exists()
