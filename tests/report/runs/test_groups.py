"""Only runs of one task on the same cases stand side by side."""

from __future__ import annotations

import pytest

from monai_tl.report.runs.groups import group_runs
from monai_tl.report.runs.read_runs import read_runs
from tests.report.conftest import DICE


@pytest.fixture
def grouped(tmp_path):
    def group():
        groups = group_runs(read_runs(tmp_path / "runs", "test"), "test")
        return [(group.title, [run.name for run in group.runs]) for group in groups], groups

    return group


def test_tasks_cases_and_references_part_runs(make_run, grouped):
    make_run("a_source", classes=("background", "hippocampus"), report=None)
    make_run("freeze_2", source="/w")
    make_run("other_cases", {"a": 0.5, "z": 0.5})
    make_run("other_truth", reference_ml=2.1)
    make_run("scratch")
    found, groups = grouped()
    assert found == [
        ("tumour core", ["scratch", "freeze_2"]),
        ("tumour core", ["other_cases"]),
        ("tumour core", ["other_truth"]),
        ("hippocampus", ["a_source"]),
    ]
    assert [len(group.comparison.differences) for group in groups] == [1, 0, 0, 0]
    assert groups[0].comparison.differences[0].first == "scratch"


def test_subjects_pair_by_name_not_by_order(make_run, grouped):
    make_run("one")
    make_run("two", dict(reversed(DICE.items())))
    _, (group,) = grouped()
    assert group.subjects == tuple("abcdef")
    assert group.comparison.differences[0].mean == pytest.approx(0)


def test_controls_come_before_transfers(make_run, grouped):
    make_run("a", source="/w", frozen=2)
    make_run("b", frozen=1)
    make_run("c", report=None)
    make_run("d")
    assert grouped()[0] == [("tumour core", ["d", "c", "b", "a"])]


def test_a_run_without_scores_joins_its_task(make_run, grouped):
    make_run("a_waiting", None)
    make_run("b_other_data", None, datalist="d2")
    make_run("c_other_task", None, classes=("background", "hippocampus"))
    make_run("scored")
    found, groups = grouped()
    assert found[0] == ("tumour core", ["scored", "a_waiting"])
    assert [names for _, names in found[1:]] == [["b_other_data"], ["c_other_task"]]
    assert [run.name for run in groups[0].scored] == ["scored"]
    assert groups[1].comparison is None
    assert groups[1].subjects == ()


def test_a_task_without_classes_goes_by_its_bundle(make_run, grouped):
    make_run("one", classes=())
    assert grouped()[0][0][0] == "brats_tumour_core"
