"""A study's page: its numbers, what it escapes, what it says of what is missing, and what it refuses to overwrite."""

from __future__ import annotations

import csv
import datetime
import hashlib
import json
import math
import os
import re
from dataclasses import replace

import nibabel
import pytest
from matplotlib.figure import Figure
from PIL import Image

from monai_tl.errors import ConfigError, DataError
from monai_tl.report.kit.figures import as_png, as_svg
from monai_tl.report.study import plots
from monai_tl.report.study import study_page as page_module
from monai_tl.report.study.plots import Drawing
from monai_tl.report.study.repeat import make_repeat
from monai_tl.report.study.study_facts import read_study_facts
from monai_tl.report.study.study_page import write_study_report
from monai_tl.statistics import arm_means, compare_arms
from monai_tl.statistics.verdicts import way
from monai_tl.storage.files import write_json
from monai_tl.storage.tables import write_table
from monai_tl.study.study_plan import read_seeds
from monai_tl.study.study_tables import RunRow, read_study_table
from monai_tl.transfer.arms import arm_words
from tests.conftest import BRATS, leave_scores, mentions, score_of
from tests.report.conftest import Page
from tests.report.study.conftest import change_scores, write_made_study

DAY = datetime.date(2026, 2, 3)
EVIL = "<img src=x onerror=alert(1)>&\"'"
SMALL = {"arms": ("scratch", "1", "random2"), "sizes": (26, 52), "cases": 6}


@pytest.fixture
def report(parse, monkeypatch):
    """Write the report of a study, with figures that take no time to draw; give its text and its parsed page."""
    blank = Figure(figsize=(0.1, 0.1))
    drawing = Drawing(as_png(blank), as_svg(blank))
    monkeypatch.setattr(plots, "both", lambda _: drawing)

    def write(folder, **settings):
        written = write_study_report(folder, made=DAY, **settings)
        text = written.page.read_text(encoding="utf-8")
        return text, parse(text)

    return write


def signed(value):
    return f"{value:+.3f}".replace("-", "−")


def named(page, name):
    """The table of this id, without its header; the key's glyph is cut off the arm."""
    at = [attrs.get("id") for attrs in page.all("table")].index(f"table-{name}")
    return [[row[0].split(" ", 1)[1] if name != "growth" else row[0], *row[1:]] for row in page.tables[at][1:]]


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """A study of three arms, reported once for all tests that only read."""
    folder = write_made_study(tmp_path_factory.mktemp("once") / "study", **SMALL, overlays=True)
    written = write_study_report(folder, made=DAY)
    text = written.page.read_text(encoding="utf-8")
    return folder, text, Page(text)


def test_means_and_differences_are_those_of_the_statistics(once):
    folder, _, page = once
    scores = read_study_facts(folder).scores
    means = {(arm_words(one.arm), str(one.n)): one for one in arm_means(scores)}
    rows = named(page, "arms")
    assert len(rows) == len(means) == 6
    for arm, n, mean, interval, median, distance, bias, _, cases, seeds in rows:
        one = means[arm, n]
        own = [s.prediction_ml - s.reference_ml for s in scores if (arm_words(s.arm), str(s.n)) == (arm, n)]
        assert bias == f"{sum(own) / len(own):+.2f}".replace("-", "−")
        assert [mean, interval, median] == [f"{one.mean:.3f}", f"[{one.low:.3f}, {one.high:.3f}]", f"{one.median:.3f}"]
        assert distance == "5.0", "as every case has"
        assert [cases, seeds] == ["6", "3"]
    found = {(arm_words(one.arm), arm_words(one.against), str(one.n)): one for one in compare_arms(scores)}
    rows = named(page, "differences")
    assert len(rows) == len(found) == 4
    for arm, against, n, mean, interval, verdict, *_ in rows:
        one = found[arm, against, n]
        assert [mean, interval, verdict] == [signed(one.mean), f"[{signed(one.low)}, {signed(one.high)}]", way(one)]
        assert one.verdict.replace(" %", "\u00a0%") in page.text.replace(" %", "\u00a0%")


def test_runs_whose_best_validation_is_the_last_are_counted(make_study, report):
    folder = make_study(arms=("scratch", "1"), sizes=(26,), seeds=(0, 1))
    rows = read_study_table(folder / "runs.csv", RunRow)
    write_table(folder / "runs.csv", RunRow, [replace(row, best_iteration=450.0 if row.seed else 500.0) for row in rows])
    text = report(folder)[1].text
    mentions(text, "2 of 4 finished … validation … 1; freeze 1 1)")


def test_published_figures_are_shown_only_for_the_same_arm_and_size(once):
    _, text, page = once
    published = {(row[0], row[1]): row[7] for row in named(page, "arms")}
    assert published["scratch", "26"] == "0.426"
    assert published["freeze 1", "52"] == "0.482"
    assert published["random freeze 2", "26"] == "–"
    sizes = named(page, "published_sizes")
    assert len(sizes) == 16
    assert {row[6] for row in sizes if row[0] in ("freeze 2", "freeze 3") or row[3] in ("78", "105")} == {"–"}
    layers = {row[0]: row[1:3] for row in named(page, "published_layers")}
    assert layers == {"scratch": ["0.533", "0.460"], "freeze 1": ["0.639", "0.479"]}
    assert text.count("another setting") >= 2


def test_a_target_without_reference_values_shows_none(make_study, report, tmp_path):
    text, page = report(make_study(**SMALL, plan={"target": str(tmp_path / "own")}))
    assert len(named(page, "arms")) == 6
    assert "ublished" not in text
    assert "another setting" not in text
    own = "published: {year: 2031, setting: elsewhere, layers: {table: '3', training: {1: 0.5}, validation: {1: 0.25}}, sizes: "
    own += "[{n: 52, set: A, table: '4', test: {1: 0.75}, iterations: {1: 9}}]}"
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "task.yaml").write_text(own)
    text, page = report(tmp_path / "study")
    assert [row[7] for row in named(page, "arms")] == ["–", "–", "–", "–", "0.750", "–"]
    assert named(page, "published_sizes")[0][:6] == ["freeze 1", "4", "A", "52", "9", "0.750"]
    assert named(page, "published_layers")[0][:3] == ["freeze 1", "0.500", "0.250"]
    mentions(text, "Published … 2031")
    assert "2019" not in text


def test_tables_are_written_next_to_the_page_in_full_precision_and_as_latex(once):
    folder, _, _ = once
    tables = folder / "report_files" / "tables"
    scores = read_study_facts(folder).scores
    with (tables / "differences.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(one.arm, one.against, str(one.n)): one for one in compare_arms(scores)}
    assert {(row["arm"], row["against"], row["n"]): float(row["difference_low"]) for row in rows} == {
        key: one.low for key, one in found.items()
    }
    tex = (tables / "arms.tex").read_text(encoding="utf-8")
    assert tex.count(r"\\" + "\n") == 7
    assert r"\toprule" in tex
    assert r"95 \% interval" in tex
    assert {path.suffix for path in tables.iterdir()} == {".csv", ".tex"}


def test_every_figure_is_there_as_png_and_svg_and_in_the_page(once):
    folder, _, page = once
    files = folder / "report_files"
    drawn = {path.stem for path in files.glob("*.svg")}
    kinds = {"differences_to_scratch", "differences_to_random2", "sizes", "target"}
    kinds |= {f"{kind}_{n}" for kind in ("cases", "training", "validation") for n in (26, 52)}
    assert drawn == kinds
    pictures = {path.stem for path in files.glob("*.png")}
    assert drawn < pictures
    assert len(pictures - drawn) == 9, "three subjects, three arms"
    images = page.all("img")
    assert len(images) == len(pictures)
    assert all(image["alt"] and image["src"].startswith("data:image/png;base64,") for image in images)
    assert all(b"monai_tl report" in path.read_bytes()[:2000] for path in files.glob("*.svg"))


def test_subjects_are_chosen_by_the_mean_of_scratch_at_the_largest_size(once):
    folder, _, page = once
    own = {}
    for score in read_study_facts(folder).scores:
        if (score.arm, score.n) == ("scratch", 52):
            own.setdefault(score.subject, []).append(score.value)
    ranked = sorted(own, key=lambda subject: -sum(own[subject]))
    for rank, subject in (("Best", ranked[0]), ("Median", ranked[3]), ("Worst", ranked[-1])):
        mentions(re.sub(r"\s+", " ", page.text), f"{rank}: {subject} … Dice {sum(own[subject]) / 3:.3f}")


def test_all_that_repeats_it(once):
    folder, text, page = once
    command = f"monai_tl study size --source /w/source --target {BRATS} --datalist /data/datalist.json "
    command += "--arms scratch,1,random2 --sizes 26,52 --seeds 3 --metrics dice,hd95 "
    command += f"--iterations 500 --window '[48,48,48]' --output {folder}"
    assert command in page.texts
    assert f"monai_tl report {folder}" in page.texts
    for name in ("study.json", "scores.csv", "runs.csv", "curves.csv"):
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() in text
    assert "ab" * 32 in text
    assert "cd" * 32 in text
    assert "torch 2.13.0" in text
    mentions(page.text, "15 finished … without … device")


def test_what_a_plan_holds_only_the_outcome_of_is_asked_for_as_it_was_given(make_study, report):
    asked = {"sizes": "S1,0.5", "lists": "/data/my lists.json", "budget": "default=1500"}
    _, page = report(make_study(plan={"asked": asked, "training_dice": True}))
    command = next(text for text in page.texts if text.startswith("monai_tl study size"))
    assert (
        "--sizes S1,0.5 --lists '/data/my lists.json' --budget default=1500 --seeds 3 --training_dice true --metrics dice,hd95"
        in command
    )


@pytest.mark.parametrize(("seeds", "flag"), [((0,), "1"), ((0, 1), "2"), ((7,), "7,"), ((7, 9), "7,9")])
def test_the_command_asks_for_the_seeds_that_were_trained(make_study, seeds, flag):
    folder = make_study(arms=("scratch",), sizes=(26,), seeds=seeds, cases=2)
    (command, _) = make_repeat(read_study_facts(folder)).commands
    assert f"--seeds {flag} " in command
    assert read_seeds(flag) == seeds


def test_table_6_2_has_our_training_dice_where_it_was_measured(make_study, report):
    folder = make_study(training_dice=0.625)
    text, page = report(folder)
    assert named(page, "published_layers")[0][:4] == ["scratch", "0.533", "0.625", "0.460"]
    assert "was not measured" not in text
    _, page = report(make_study())
    assert named(page, "published_layers")[0][:3] == ["scratch", "0.533", "0.460"]
    mentions(page.text, "Training Dice was not measured … --training_dice")


def test_no_scan_is_opened(once, report, monkeypatch, tmp_path):
    monkeypatch.setattr(nibabel, "load", lambda *_, **__: pytest.fail("a scan was opened"))
    text, _ = report(once[0], output=tmp_path / "again.html")
    assert "subject_best" not in text
    assert len(list((tmp_path / "again_files").glob("subject_*.png"))) == 9


def test_hostile_ids_and_faults_stay_text(make_study, report):
    left_out = {("1", 26, 0): "failed"}
    folder = make_study(
        arms=("scratch", "1"), sizes=(26,), subjects=[EVIL, "$x_1$", "a&b", "#5_%", "ok", "\x1b[31m"], left_out=left_out
    )
    runs = read_study_table(folder / "runs.csv", RunRow)
    runs = [RunRow(*[getattr(run, name) for name in RunRow.__slots__[:-2]], EVIL if run.fault else "") for run in runs]
    write_table(folder / "runs.csv", RunRow, runs)
    text, page = report(folder)
    assert not any("onerror" in attrs for _, attrs in page.tags)
    assert "<img src=x" not in text
    assert "\x1b" not in text
    assert named(page, "runs")[0][-1] == EVIL
    tex = (folder / "report_files" / "tables" / "runs.tex").read_text(encoding="utf-8")
    assert r"\textless{}img src=x onerror=alert(1)\textgreater{}\&\textquotedbl{}'" in tex


def test_an_arm_that_looks_like_a_path_leads_nowhere(make_study, report, tmp_path):
    folder = make_study(arms=("scratch", "1", "random/../../../out"), sizes=(26,), seeds=(0,), cases=5)
    before = set(tmp_path.iterdir())
    report(folder)
    assert set(tmp_path.iterdir()) == before
    assert (folder / "report_files" / "differences_to_random_out.png").is_file()


def test_an_unfinished_study_says_first_what_is_missing(make_study, report):
    left_out = {("1", 26, 2): "failed", ("scratch", 52, 1): "waiting"}
    _, page = report(make_study(**{**SMALL, "arms": ("scratch", "1")}, left_out=left_out))
    text = page.text
    mentions(text, "Unfinished … 12 … 10 finished, 1 failed, 1")
    mentions(text, "Missing … 52 (seed 1); freeze 1 … 26 (seed 2)")
    assert text.index("Unfinished") < text.index("comparisons with scratch")
    assert [row[3] for row in named(page, "runs")][:3] == ["failed", "waiting", "finished"]
    speed = {(row[0], row[1]): row[2:4] for row in named(page, "speed")}
    assert speed["freeze 1", "52"] == ["3", "2 of 2"], "the seed whose scratch run waits has no target"


def test_runs_that_found_nothing_in_validation_are_said_first(make_study, report):
    folder = make_study(**{**SMALL, "arms": ("scratch", "1")})
    _, page = report(folder)
    assert "never reached a validation Dice" not in page.text
    runs = read_study_table(folder / "runs.csv", RunRow)
    blind = [replace(run, best_dice=0.0) if (run.arm, run.n) == ("scratch", 26) else run for run in runs]
    write_table(folder / "runs.csv", RunRow, blind)
    _, page = report(folder)
    mentions(page.text, "Of 12 finished … 3 … validation Dice … 26 (3 runs) … comparisons with scratch")
    speed = {(row[0], row[1]): row[3] for row in named(page, "speed")}
    assert speed["freeze 1", "26"] == "no target"


def test_tables_older_than_the_runs_are_said_to_be(make_study, report):
    folder = make_study(arms=("scratch", "1"), sizes=(26,), seeds=(0,), cases=5, left_out={("1", 26, 0): "waiting"})
    run = folder / "runs" / "1_n26_seed0"
    write_json(run / "metadata.json", {"validation_dice": 0.5})
    leave_scores(run, [score_of("A", 0.5, 2.0, 10.0, 9.0, 0.1)])
    _, page = report(folder)
    mentions(page.text, f"1 run finished … monai_tl study gather --output {folder}")


def test_scores_of_weights_that_a_run_holds_no_more_are_said_to_be(make_study, report):
    folder = make_study(arms=("scratch", "1"), sizes=(26,), seeds=(0,), cases=5)
    run = folder / "runs" / "1_n26_seed0"
    write_json(run / "metadata.json", {"validation_dice": 0.5})
    (run / "model.pt").write_bytes(b"scored")
    leave_scores(run, [score_of("A", 0.5, 2.0, 10.0, 9.0, 0.1)])
    assert "have changed since scoring" not in report(folder)[1].text
    (run / "model.pt").write_bytes(b"trained on")
    mentions(report(folder)[1].text, "weights of 1 run … have changed since scoring (runs/1_n26_seed0) … repeat")


def test_nothing_scored_yet(make_study, report):
    left_out = {(arm, n, seed): "waiting" for arm in ("scratch", "1") for n in (26, 52) for seed in (0, 1, 2)}
    text, page = report(make_study(arms=("scratch", "1"), left_out=left_out))
    mentions(page.text, "12 … 0 finished, 0 failed, 12")
    assert "No run has been scored yet." in page.text
    assert 'id="table-differences"' not in text


def test_one_seed_is_named_as_a_limitation(make_study, report):
    _, page = report(make_study(arms=("scratch", "1"), sizes=(26,), seeds=(0,)))
    mentions(page.text, "there is one seed (0) … results may reverse with other seeds")
    assert "1 seed: 2 runs" in page.text
    assert "--seeds 1 --metrics" in page.text


@pytest.mark.parametrize(
    ("cases", "expected"),
    [(1, "the only test case"), (2, "the better and the worse of the two"), (3, "the best, the median and")],
)
def test_the_page_says_which_cases_it_shows(make_study, report, cases, expected):
    _, page = report(make_study(arms=("scratch", "1"), sizes=(26,), seeds=(0,), cases=cases))
    mentions(page.text, f"Selected by rule … {expected}")
    assert "on the same cases and seeds, too few for an interval." in page.text


def test_cases_that_are_all_alike_were_not_chosen_by_their_dice(make_study, report):
    folder = make_study(arms=("scratch",), sizes=(26,), seeds=(0,), cases=4)
    change_scores(folder, lambda _, score: replace(score, values={**score.values, "dice": 0.0}))
    _, page = report(folder)
    mentions(page.text, "the best, the median and the worst test case ( … sorted by name) of scratch")


def test_pictures_that_are_missing_are_said_to_be(make_study, report):
    folder = make_study(arms=("scratch", "1"), sizes=(26,), seeds=(0,), overlays=True)
    for path in (folder / "runs" / "1_n26_seed0" / "overlays_test").glob("*.png"):
        path.write_bytes(b"no picture")
    _, page = report(folder)
    mentions(page.text, "Pictures … missing … runs/1_n26_seed0")
    assert len(list((folder / "report_files").glob("subject_*.png"))) == 3


def test_undefined_cases_are_left_out_and_counted(make_study, report):
    folder = make_study(arms=("scratch", "1"), sizes=(26,), seeds=(0, 1))
    gone = read_study_facts(folder).subjects[0]

    def undefined(run, score):
        dice = math.nan if (score.subject, run[2]) == (gone, 0) else score.values["dice"]
        return replace(score, values={**score.values, "dice": dice})

    change_scores(folder, undefined)
    _, page = report(folder)
    assert [row[8] for row in named(page, "arms")] == ["11", "11"]
    assert named(page, "differences")[0][-1] == "1"
    assert "2 undefined values not drawn" in page.text


def test_a_depth_search_says_what_it_chose(make_study, report):
    rounds = [{"freeze": "2", "mean_best_dice": 0.5}, {"freeze": "1", "mean_best_dice": 0.505}]
    plan = {"kind": "depth", "rule": {"gain": 0.01}, "decision": {"rounds": rounds, "chosen": "2"}}
    _, page = report(make_study(arms=("1", "2"), sizes=(26,), seeds=(7, 9), plan=plan))
    mentions(page.text, "freeze 2 0.500; freeze 1 0.505 … freeze 2")
    assert named(page, "differences")[0][:2] == ["freeze 1", "freeze 2"]
    mentions(page.text, "no target to reach … no scratch run finished")
    mentions(page.text, "monai_tl … --search")
    assert "--seeds 7,9 --gain 0.01" in page.text


def test_a_second_report_replaces_its_own_files_and_no_others(make_study, report):
    folder = make_study(arms=("scratch", "1"), sizes=(26, 52), seeds=(0,), cases=5)
    report(folder)
    files = folder / "report_files"
    (files / "made.json").write_text(json.dumps({**json.loads((files / "made.json").read_text()), "../keep": ["x"]}))
    (folder / "keep").write_text("mine")
    for name in ("scores.csv", "runs.csv", "curves.csv"):
        lines = (folder / name).read_text().splitlines(keepends=True)
        (folder / name).write_text("".join(line for line in lines if ",52," not in line))
    report(folder)
    assert not (files / "cases_52.png").exists()
    assert (files / "cases_26.svg").is_file()
    assert (folder / "keep").read_text() == "mine"
    table = files / "tables" / "arms.csv"
    table.write_text(table.read_text() + "my own line\n")
    with pytest.raises(ConfigError, match=r"\(tables\)"):
        report(folder)
    assert table.read_text().endswith("my own line\n")


def test_killed_while_writing_it_can_be_written_again(make_study, report, monkeypatch):
    folder = make_study(arms=("scratch", "1"), sizes=(26,), seeds=(0,), cases=5)
    monkeypatch.setattr(page_module, "write_text", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        report(folder)
    monkeypatch.undo()
    assert not (folder / "report.html").exists()
    report(folder)


def test_the_same_study_gives_the_same_files(make_study, report):
    folder = make_study(arms=("scratch", "1"), sizes=(26,), seeds=(0,), cases=5)
    first, _ = report(folder)
    before = {path.name: path.read_bytes() for path in (folder / "report_files").iterdir() if path.is_file()}
    second, _ = report(folder)
    assert first == second
    assert before == {path.name: path.read_bytes() for path in (folder / "report_files").iterdir() if path.is_file()}


def test_what_is_no_study_is_refused(make_study, tmp_path):
    with pytest.raises(ConfigError, match="'.*none'.*`monai_tl study`"):
        write_study_report(tmp_path / "none")
    with pytest.raises(ConfigError, match="study.json.*monai_tl.*--runs"):
        write_study_report(tmp_path)
    folder = make_study(arms=("scratch", "1"), sizes=(26,), seeds=(0,), cases=5)
    os.remove(folder / "scores.csv")
    with pytest.raises(DataError, match="scores.csv.*`monai_tl study gather --output STUDY`"):
        write_study_report(folder)
    assert not (folder / "report.html").exists()


def test_what_a_user_made_is_not_replaced(make_study, tmp_path):
    folder = make_study(arms=("scratch", "1"), sizes=(26,), seeds=(0,), cases=5)
    (folder / "report.html").write_text("mine")
    with pytest.raises(ConfigError, match="exists"):
        write_study_report(folder)
    output = tmp_path / "else" / "page.html"
    (tmp_path / "else" / "page_files").mkdir(parents=True)
    Image.new("L", (2, 2)).save(tmp_path / "else" / "page_files" / "mine.png")
    with pytest.raises(ConfigError, match=r"\(mine.png\)"):
        write_study_report(folder, output=output)


def test_the_verb_says_where_and_how_much(make_study, verb, tmp_path):
    folder = make_study(arms=("scratch", "1"), sizes=(26,), seeds=(0,), cases=5)
    answer = verb("report", folder, "--output", tmp_path / "page.html")
    assert answer.code == 0, answer.err
    files = tmp_path / "page_files"
    assert answer.out == f"{tmp_path / 'page.html'}: 2 runs, 2 finished, by Dice; figures and tables in {files}\n"
    assert (files / "tables" / "arms.tex").is_file()
