"""Runs are found where they lie, and what is damaged is named."""

from __future__ import annotations

import os

import pytest

from monai_tl.errors import ConfigError, DataError
from monai_tl.report.runs.read_runs import read_runs
from monai_tl.text import printable
from tests.conftest import mentions


def names(top, split="test"):
    return [run.name for run in read_runs(top, split)]


def test_runs_are_found_at_any_depth_and_in_the_order_of_their_numbers(make_run, tmp_path):
    for name in ("seed_10", "seed_2", "far/down/here/run", ".seed_3.77", "seed_2/child"):
        make_run(name)
    (tmp_path / "runs" / "seed_2" / "back").symlink_to(tmp_path / "runs")
    assert names(tmp_path / "runs") == ["far/down/here/run", "seed_2", "seed_2/child", "seed_10"]


def test_a_run_by_itself_goes_by_its_own_name(make_run):
    assert names(make_run("alone")) == ["alone"]


def test_a_relative_folder_is_the_same(make_run, tmp_path, monkeypatch):
    make_run("one")
    monkeypatch.chdir(tmp_path / "runs")
    assert names(tmp_path.__class__(".")) == ["one"]
    monkeypatch.chdir("one")
    assert names(tmp_path.__class__(".")) == ["one"]


def test_what_a_run_holds(make_run):
    (run,) = read_runs(make_run("one", seed=7, source="/w/model.pt", frozen=2), "test")
    assert (run.task, run.classes, run.modalities) == ("brats_tumour_core", ("background", "tumour core"), ("T1", "T2"))
    assert [score.subject for score in run.scores] == list("abcdef")
    assert run.best["iteration"] == 100, "the first of two that are equal, as the checkpoint is chosen"
    assert run.seed == 7
    summary = run.transfer
    assert (summary.kind, summary.sha256, summary.frozen, summary.trained) == (
        "transfer", "0123456789ab", ("conv_0", "res_1"), ("conv_2",),
    )  # fmt: skip
    assert [summary.count(fate) for fate in ("copied", "adapted", "fresh")] == [1, 1, 1]


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        ({"report": None}, "none"),
        ({}, "scratch"),
        ({"frozen": 1}, "random prefix"),
        ({"source": "/w", "frozen": 0}, "transfer"),
    ],
)
def test_the_kind_of_a_run(make_run, made, kind):
    assert read_runs(make_run("one", **made), "test")[0].transfer.kind == kind


def test_what_is_missing_is_none_or_empty(make_run):
    folder = make_run("bare", None, curve=None, report=None)
    (folder / "provenance.json").unlink()
    (run,) = read_runs(folder, "test")
    assert (run.scores, run.curve, run.best, run.provenance, run.seed, run.overlays) == (None, (), None, {}, None, {})


def test_folders_that_hold_nothing(make_run, tmp_path):
    (tmp_path / "runs").mkdir()
    with pytest.raises(ConfigError, match=r"'.*/rums'.*'.*'.*'runs'\?"):
        read_runs(tmp_path / "rums", "test")
    with pytest.raises(ConfigError, match="'.*/runs'.*4 folders.*config.yaml."):
        read_runs(tmp_path / "runs", "test")
    make_run("a/b/c/d/too_deep")
    with pytest.raises(ConfigError, match="no run in"):
        read_runs(tmp_path / "runs", "test")


def test_a_split_that_no_run_was_scored_on(make_run, tmp_path):
    make_run("one")
    make_run("two")
    make_run("three", split="validation")
    with pytest.raises(ConfigError) as error:
        read_runs(tmp_path / "runs", "tset")
    exist = "scores_test.csv (2 runs), scores_validation.csv (1 run)"
    mentions(str(error.value), f"runs' … scores_tset.csv … {exist} … --split test … `monai_tl evaluate --run … --split tset`")


def test_without_any_scores_any_split_shows_the_curves(make_run):
    assert read_runs(make_run("one", None), "test")[0].scores is None


@pytest.mark.parametrize(
    ("file", "content", "text"),
    [
        (
            "scores_test.csv",
            "subject,region,metric,value,unit\na,,dice,1,\nb,0.5\n",
            "line 3 has 2 cells",
        ),
        ("scores_test.csv", "\ud800", "utf-8"),
        ("scores_test.csv", "subject,dice\n", "lacks the column region, metric, value"),
        (
            "metrics.csv",
            "iteration,loss,val_dice,learning_rate,seconds\n1,1,1,1,1\n2,1,oo,1,1\n",
            "line 3 has val_dice 'oo'",
        ),
        ("metrics.csv", "iteration,loss\n", "lacks the column val_dice, learning_rate, seconds"),
        ("metrics.csv", "\ud800", "utf-8"),
        ("provenance.json", '{"seed": 0,\n "x"', r"is damaged \(line 2: Expecting ':' delimiter\): restore it"),
        ("provenance.json", "[]", "is damaged .it holds a list.* object"),
        ("provenance.json", "\ud800", "is damaged .*UTF-8"),
        ("provenance.json", '{"format": 9}', "has format 9, this version reads 1: restore it"),
        ("transfer_report.json", '{"stages": {}}', "is damaged .it lacks 'source'."),
        ("transfer_report.json", '{"stages": 1, "weights": {}, "source": null}', "is damaged .AttributeError"),
        ("config.yaml", "a: 1\nb: [1\n", "line 3 is.*YAML"),
        ("config.yaml", "", "holds no settings"),
        ("config.yaml", "\ud800", "YAML"),
    ],
)
def test_what_is_damaged_is_named_with_its_line(make_run, file, content, text):
    folder = make_run("one")
    (folder / file).write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(DataError, match=f"/one/{file}.*{text}"):
        read_runs(folder, "test")


def test_names_without_a_glyph_are_made_visible_and_stay_apart(make_run, tmp_path):
    make_run("line\nend")
    make_run("line\rend")
    os.mkdir(os.fsencode(tmp_path / "runs") + b"/b\xff")
    (tmp_path / "runs" / os.fsdecode(b"b\xff") / "config.yaml").write_text("a: 1")
    assert names(tmp_path / "runs") == ["b\ufffd", "line\ufffdend", "line\ufffdend (2)"]
    assert printable("a\u202eb\x00") == "a\ufffdb\ufffd"
