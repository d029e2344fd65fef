"""Which test cases a lineage has seen, by image or person; and what cannot be known."""

from __future__ import annotations

import pytest

from monai_tl.errors import DataError
from monai_tl.identity.fingerprints import Fingerprint
from monai_tl.identity.run_data import RunCases, RunData, write_run_data
from monai_tl.transfer.overlap import earlier_runs, find_overlap, refuse_overlap
from tests.conftest import mentions


def case(**images):
    return {role: Fingerprint(f"file {voxels}", voxels, "") for role, voxels in images.items()}


SEEN = RunCases(
    "source.pt",
    {
        "train": {"IXI012": case(T1="a", T2="b", label="0"), "case_1": case(T1="c")},
        "validation": {"IXI020": case(T1="d")},
        "test": {"IXI030": case(T1="e")},
    },
)


def found(subject, images, runs=(SEEN,), **more):
    return find_overlap({subject: images}, "test", runs, **more)


@pytest.mark.parametrize(
    ("subject", "images", "message"),
    [
        ("new", case(T1="a"), "new … the same T1 image … the train case IXI012 of 'source.pt'"),
        ("new", case(MRI="b"), "new … the same MRI image … the train case IXI012 of 'source.pt'"),
        ("new", case(T1="x", T2="d"), "new … the same T2 image … the validation case IXI020 of 'source.pt'"),
        ("IXI012-HH", case(T1="x"), "IXI012-HH … same id … other images … the train case IXI012 of 'source.pt'"),
        ("IXI012", case(), "IXI012 … same id … other images … the train case IXI012 of 'source.pt'"),
    ],
)
def test_a_case_that_was_seen_is_refused(subject, images, message):
    overlap = found(subject, images)
    (shared,) = overlap.certain
    mentions(str(shared), message)
    with pytest.raises(DataError, match=f"--leave_out {subject}`.*--accept_overlap"):
        refuse_overlap(overlap)
    assert overlap.lines(accepted=True)[0].endswith("of 1 earlier run: 1 shared, accepted")


@pytest.mark.parametrize(
    ("subject", "images"),
    [("new", case(T1="e")), ("new", case(T1="x", label="0")), ("IXI030", case(T1="y"))],
    ids=["the source's test image", "an equal label", "the source's test id"],
)
def test_what_was_not_seen_is_let_pass(subject, images):
    overlap = found(subject, images)
    refuse_overlap(overlap)
    assert overlap.lines() == ["1 test case compared with 2 training and 1 validation case of 1 earlier run: none shared"]


def test_a_mere_number_is_said_but_not_with_the_same_image():
    overlap = found("case_1", case(T1="x"))
    refuse_overlap(overlap)
    mentions(overlap.lines()[1], "case_1: ids … other images")
    assert found("case_1", case(T1="c")).certain


def test_validation_cases_that_were_trained_on_are_said():
    overlap = found("new", case(T1="x"), validation={"other": case(T1="a"), "more": case(T1="d")})
    refuse_overlap(overlap)
    mentions(overlap.lines()[1], "validation cases that the source was trained on … : other")
    assert overlap.lines(named=False)[1].endswith(": 1 case")


def test_runs_without_a_list_are_said(tmp_path):
    source = {"path": str(tmp_path / "model.pt"), "lineage": [{"path": "before.pt", "sha256": ""}]}
    runs = earlier_runs(source)
    assert [run.path for run in runs] == ["before.pt", source["path"]]
    assert [line.split(" has no list")[0] for line in found("new", case(T1="a"), runs).lines()] == [
        "the source 'before.pt'",
        f"the source '{source['path']}'",
    ]
    write_run_data(tmp_path, tmp_path, RunData(SEEN, (RunCases("before.pt", None),)), anonymous=False)
    assert [(run.path, run.splits is None) for run in earlier_runs(source)] == [("before.pt", True), (source["path"], False)]
    assert earlier_runs(None) == ()


def test_a_list_speaks_for_the_weights_that_its_training_left_alone(tmp_path):
    """Other weights put in their place are unknown; along a lineage each list that is still there counts."""
    source = {"path": str(tmp_path / "run" / "model.pt"), "sha256": "ours", "lineage": []}
    write_run_data(tmp_path / "run", tmp_path / "run", RunData(SEEN, (), weights_sha256="ours"), anonymous=False)
    assert earlier_runs(source)[0].splits is not None
    assert earlier_runs({**source, "sha256": "theirs"})[0].splits is None
    bare = {"path": "elsewhere/model.pt", "sha256": "", "lineage": [source]}
    assert [(run.path, run.splits is None) for run in earlier_runs(bare)] == [(source["path"], False), (bare["path"], True)]
    assert found("new", case(T1="a"), earlier_runs(bare)).certain


def test_pseudonyms_are_compared_with_their_key_alone(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    write_run_data(run, run, RunData(SEEN), anonymous=True)
    source = {"path": str(run / "model.pt"), "lineage": []}
    assert found("IXI012", case(T1="x"), earlier_runs(source)).certain
    (tmp_path / "run.key").unlink()
    overlap = found("IXI012", case(T1="x"), earlier_runs(source))
    assert not overlap.certain
    mentions(overlap.lines()[-1], "1 earlier run … pseudonyms … only images")
    assert found("new", case(T1="a"), earlier_runs(source)).certain
