"""Studies from the command line, on phantoms: run, killed, gone on with, extended, refused."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from monai_tl.datasets.datalist import read_datalist
from monai_tl.study.study_tables import CurveRow, RunRow, read_study_scores, read_study_table
from tests.conftest import BRATS, mentions


def study_flags(tiny_flags, output, **flags):
    options = {"arms": "scratch,2", "seeds": "1", "output": output, **flags}
    return [
        "study",
        "layers",
        *map(str, tiny_flags),
        *(text for name, value in options.items() for text in (f"--{name}", str(value))),
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, phantoms, source):
    """A study that nothing interrupted, and the flags that made it."""
    from tests.conftest import TINY

    folder = tmp_path_factory.mktemp("studies") / "whole"
    flags = {"source": source, "target": BRATS, "dataset_dir": phantoms / "brats", **TINY}
    tiny = [text for name, value in flags.items() for text in (f"--{name}", str(value).replace(" ", ""))]
    done = subprocess.run(_command(study_flags(tiny, folder)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, tiny, done.stdout


def _command(words):
    return [sys.executable, "-m", "monai_tl", *map(str, words)]


def _values(run):
    """The rows of a run's scores, without wall times."""
    return [row for row in csv.reader((run / "scores_test.csv").open()) if row[2] != "seconds"]


def _without_seconds(folder, kind, name):
    kept = [field for field in kind.__slots__ if "seconds" not in field and field != "memory_mib"]
    return [[repr(getattr(row, field)) for field in kept] for row in read_study_table(folder / name, kind)]


@pytest.mark.slow
def test_a_study_leaves_its_tables(whole, phantoms):
    folder, _, printed = whole
    mentions(printed, "2 runs (2 arms × 1 sizes × 1 seeds) … study.json")
    assert "[2/2] 2_n3_seed0: validation Dice" in printed
    data = read_datalist(phantoms / "brats" / "datalist.json")
    scores = read_study_scores(folder / "scores.csv")
    assert {run: [score.subject for score in of] for run, of in scores.items()} == {
        (arm, 3, 0): list(data.splits["test"]) for arm in ("scratch", "2")
    }
    mentions(printed, "2 of 2 runs finished, scored by dice, hd95: … scores.csv")
    runs = read_study_table(folder / "runs.csv", RunRow)
    assert [(run.arm, run.n, run.state, run.iterations) for run in runs] == [
        ("scratch", 3, "finished", 4),
        ("2", 3, "finished", 4),
    ]
    assert all(0 < run.step_seconds < run.seconds and run.memory_mib > 100 for run in runs)
    assert [row.iteration for row in read_study_table(folder / "curves.csv", CurveRow)] == [2, 4, 2, 4]
    assert "Dice mean" in (folder / "logs" / "2_n3_seed0.txt").read_text()


@pytest.mark.slow
def test_a_run_of_a_study_is_that_of_the_verbs(whole, tmp_path, verb):
    folder, tiny, _ = whole
    run = tmp_path / "by_verb"
    flags = ["--freeze", "2", "--output", run, "--datalist", folder / "datalists" / "all_n3.json"]
    assert verb("transfer", *tiny, *flags).code == 0
    assert verb("evaluate", "--run", run).code == 0
    assert _values(run) == _values(folder / "runs" / "2_n3_seed0")


@pytest.mark.slow
def test_the_source_as_it_is_is_an_arm_like_the_others(tiny_flags, source, tmp_path, verb):
    """Alone first, then together with a transfer: `--plan`, scores, tables and page know what nothing was trained for."""
    folder = tmp_path / "study"
    answer = verb(*study_flags(tiny_flags, folder, arms="untrained"), "--plan")
    assert answer.code == 0, answer.err
    assert any(line.split()[:3] == ["untrained", "none", "–"] for line in answer.out.splitlines()), answer.out
    assert verb(*study_flags(tiny_flags, folder, arms="untrained")).code == 0
    assert verb(*study_flags(tiny_flags, folder, arms="untrained,2")).code == 0
    (run, _) = read_study_table(folder / "runs.csv", RunRow)
    assert (run.arm, run.state, run.iterations) == ("untrained", "finished", 0)
    words = ("--source", source, "--target", folder, "--output", tmp_path / "by_verb")
    words = [BRATS if text == folder else text for text in words]
    data = folder / "datalists" / "all_n3.json"
    assert verb("evaluate", *words, "--datalist", data, "--window", "[16,16,16]", "--device", "cpu").code == 0
    assert _values(tmp_path / "by_verb") == _values(folder / run.folder)
    assert verb("report", folder).code == 0
    page = (folder / "report.html").read_text()
    mentions(page, "the source’s weights, not fine-tuned", "freeze 2")
    assert "never reached a validation Dice above 0: untrained" not in page


@pytest.mark.slow
def test_a_run_of_a_study_is_not_scored_again_with_other_settings(whole, verb):
    folder, _, _ = whole
    scores = folder / "runs" / "scratch_n3_seed0" / "scores_test.csv"
    before = scores.read_bytes()
    answer = verb("evaluate", "--run", scores.parent, "--inference_overlap", "0.5")
    assert (answer.code, scores.read_bytes()) == (2, before)
    assert "--inference_overlap: '" in answer.err
    assert "belongs to the study in" in answer.err
    mentions(answer.err, "--scores FILE")
    pictures = {path: path.stat().st_mtime_ns for path in (scores.parent / "overlays_test").iterdir()}
    answer = verb("evaluate", "--run", scores.parent, "--inference_overlap", "0.5", "--scores", folder / "other.csv")
    assert answer.code == 0, answer.err
    assert pictures == {path: path.stat().st_mtime_ns for path in (scores.parent / "overlays_test").iterdir()}
    assert (folder / "overlays_other").is_dir(), "next to their scores"
    assert scores.read_bytes() == before


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_killed_and_gone_on_with_the_scores_are_those_of_a_study_that_nothing_interrupted(whole, tmp_path):
    whole_folder, tiny, _ = whole
    folder = tmp_path / "killed"
    words = study_flags(tiny, folder)
    scratch, two = (folder / "runs" / f"{arm}_n3_seed0" for arm in ("scratch", "2"))
    for sign in (scratch / "last.pt", two / "model.pt"):
        _killed_at(words, sign)
    assert not (folder / "scores.csv").exists()
    done = subprocess.run(_command(words), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (folder / "scores.csv").read_bytes() == (whole_folder / "scores.csv").read_bytes()
    for kind, name in ((CurveRow, "curves.csv"), (RunRow, "runs.csv")):
        assert _without_seconds(folder, kind, name) == _without_seconds(whole_folder, kind, name)


def _killed_at(words: list[str], sign: Path) -> None:
    """Begin or resume a study and kill it, without a signal to its children, when a file is there or has changed."""
    before = sign.stat().st_mtime_ns if sign.is_file() else 0
    with subprocess.Popen(_command(words), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        for _ in range(6000):
            if sign.is_file() and sign.stat().st_mtime_ns != before:
                break
            assert process.poll() is None, process.stderr and process.stderr.read().decode()[-3000:]
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_finished_study_is_not_done_again_and_another_plan_is_refused(whole, verb):
    folder, tiny, _ = whole
    scores = folder / "runs" / "2_n3_seed0" / "scores_test.csv"
    before = scores.stat().st_mtime_ns, (folder / "study.json").read_bytes()
    answer = verb(*study_flags(tiny, folder))
    assert answer.code == 0, answer.err
    mentions(answer.out, "2 of 2 runs … finished")
    answer = verb(*study_flags(tiny, folder, learning_rate="0.5"))
    assert answer.code == 2
    mentions(answer.err, "(learning_rate … 0.5)")
    answer = verb(*study_flags(tiny, folder, metrics="dice,nsd,hd95"))
    assert answer.code == 2
    mentions(answer.err, "(metrics was dice,hd95, is dice,hd95,nsd)")
    answer = verb(*study_flags(tiny, folder, arms="2"))
    mentions(answer.err, "arms … scratch,2 … 2")
    assert before == (scores.stat().st_mtime_ns, (folder / "study.json").read_bytes())
    answer = verb("study", "gather", "--output", folder)
    assert "2 of 2 runs finished, 0 failed; 4 scored cases in scores.csv (dice, hd95)" in answer.out


@pytest.mark.slow
def test_training_dice_of_a_finished_study_costs_no_training(whole, verb):
    folder, tiny, _ = whole
    old = read_study_table(folder / "runs.csv", RunRow)
    tables = [folder / row.folder / "scores_test.csv" for row in old]
    before = [path.stat().st_mtime_ns for path in tables]
    answer = verb(*study_flags(tiny, folder, training_dice="true"))
    assert answer.code == 0, answer.err
    assert before == [path.stat().st_mtime_ns for path in tables]
    rows = read_study_table(folder / "runs.csv", RunRow)
    assert all(0 <= row.training_dice <= 1 for row in rows)
    assert [row.seconds for row in rows] == [row.seconds for row in old], "nothing was trained"
    assert all(math.isnan(row.training_dice) for row in old)


def test_a_plan_writes_nothing(tiny_flags, tmp_path, verb):
    answer = verb(*study_flags(tiny_flags, tmp_path / "study"), "--plan")
    assert answer.code == 0, answer.err
    assert "2 runs; seeds 0" in answer.out
    mentions(answer.out, "nothing was written")
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"engine": "rey"}, "unknown … 'rey' … 'ray'?"),
        ({"parallel": "0"}, "parallel … 1 (runs … 0"),
        ({"arms": "sratch"}, "'sratch'"),
        ({"metrics": "dice,nds"}, "metrics … nsd"),
        ({"tolerance": "0"}, "tolerance … mm … 0"),
        ({"learning_rat": "1"}, "unknown … 'learning_rat' … 'learning_rate'?"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(tiny_flags, tmp_path, verb, flags, message):
    answer = verb(*study_flags(tiny_flags, tmp_path / "study", **flags))
    assert answer.code == 2
    mentions(answer.err, message)
    assert not (tmp_path / "study").exists()


def test_a_folder_of_something_else_is_left_alone(tiny_flags, tmp_path, verb):
    (tmp_path / "notes.txt").write_text("mine")
    answer = verb(*study_flags(tiny_flags, tmp_path))
    assert (answer.code, [path.name for path in tmp_path.iterdir()]) == (2, ["notes.txt"])
    mentions(answer.err, "exists")
    mentions(verb("study", "gather", "--output", tmp_path).err, "study.json")


def test_a_search_wants_a_gain(tiny_flags, tmp_path, verb):
    answer = verb("study", "depth", "--search", *tiny_flags, "--gain", "2", "--output", tmp_path / "study")
    mentions(answer.err, "gain … 0 … 1 … Dice), e.g. 0.01 … 2")
    answer = verb("study", "depth", *tiny_flags, "--gain", "0.1", "--output", tmp_path / "study")
    mentions(answer.err, "--gain … --search")


def test_no_arms_are_not_all_depths(tiny_flags, tmp_path, verb):
    answer = verb(*study_flags(tiny_flags, tmp_path / "study", arms=""))
    assert (answer.code, "arms" in answer.err, (tmp_path / "study").exists()) == (2, True, False)


@pytest.mark.slow
def test_runs_are_scored_by_the_metrics_of_the_study_and_can_have_more(tiny_flags, tmp_path, verb):
    """Test and training cases alike; a run that is scored again keeps the study's tolerance and metrics."""
    folder = tmp_path / "study"
    flags = {"arms": "scratch,untrained", "metrics": "nsd", "tolerance": "2", "training_dice": "true"}
    answer = verb(*study_flags(tiny_flags, folder, **flags))
    assert answer.code == 0, answer.err
    mentions(answer.out, "scored by dice, nsd")
    runs = [folder / "runs" / f"{arm}_n3_seed0" for arm in ("scratch", "untrained")]
    for run in runs:
        for split in ("test", "train"):
            record = json.loads((run / f"scores_{split}.json").read_text())
            assert (record["metrics"], set(record["tolerance_mm"].values())) == (["dice", "nsd"], {2.0})
    assert verb("report", folder, "--metric", "nsd").code == 0
    mentions((folder / "report.html").read_text(), "normalised surface Dice with a tolerance of 2 mm")
    mentions(verb("report", folder, "--metric", "hd95").err, "hd95 was not scored in this study (there are dice, nsd)")
    for words, text in ((("--tolerance", "1"), "--tolerance"), (("--metrics", "hd95"), "--metrics dice,nsd,hd95")):
        answer = verb("evaluate", "--run", runs[0], *words)
        assert answer.code == 2
        mentions(answer.err, text)
    for run in runs:
        answer = verb("evaluate", "--run", run, "--metrics", "dice,nsd,hd95")
        assert answer.code == 0, answer.err
        assert set(json.loads((run / "scores_test.json").read_text())["tolerance_mm"].values()) == {2.0}
    assert "(dice, nsd, hd95)" in verb("study", "gather", "--output", folder).out
    assert verb("report", folder, "--metric", "hd95").code == 0
    mentions(verb(*study_flags(tiny_flags, folder, **flags)).out, "2 of 2 runs … finished")
