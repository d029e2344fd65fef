"""The page: its numbers, what it escapes, what it stands alone without, and what it refuses to overwrite."""

from __future__ import annotations

import base64
import datetime
import io
import math
import os
import re
import shlex

import pytest
from PIL import Image

from monai_tl.errors import ConfigError
from monai_tl.evaluation.compare import compare_runs
from monai_tl.evaluation.comparison_text import format_comparison
from monai_tl.evaluation.scores import summarise
from monai_tl.report.runs.runs_page import write_report
from tests.conftest import leave_scores, mentions, score_of
from tests.report.conftest import CURVE, DICE, draw_overlay

NAN = math.nan
DAY = datetime.date(2026, 2, 3)
EVIL = "<img src=x onerror=alert(1)>&\"'"


@pytest.fixture
def report(tmp_path, parse):
    """Write the report of all runs; give its text and its parsed page."""

    def write(**settings):
        written = write_report(tmp_path / "runs", made=DAY, **settings)
        text = written.page.read_text(encoding="utf-8")
        return text, parse(text)

    return write


@pytest.fixture
def two_runs(make_run):
    scratch = make_run("scratch", {**DICE, "g": 0.0, "h": NAN})
    transfer = {subject: value + 0.05 for subject, value in DICE.items()} | {"g": 0.2, "h": 0.0}
    return scratch, make_run("transfer", transfer, source="/w/model.pt", frozen=2, seed=0)


def test_the_table_says_what_compare_says(two_runs, report):
    _, page = report()
    comparison = compare_runs(two_runs)
    terminal = format_comparison(comparison)
    for run, row in zip(comparison.runs, page.tables[0][1:], strict=True):
        assert row[0].endswith(run.name)
        low, high = run.interval.low, run.interval.high
        assert row[1:3] == [str(run.n), str(run.undefined)]
        assert row[4:7] == [f"{run.mean:.3f}", f"[{low:.3f}, {high:.3f}]", f"{run.median:.3f}"]
        assert all(cell in terminal for cell in row[4:7])
    (difference,) = comparison.differences
    low, high = (f"{end:+.3f}".replace("-", "−") for end in (difference.interval.low, difference.interval.high))
    assert page.tables[1][1] == ["transfer", "7", "1", f"{difference.mean:+.3f}", f"[{low}, {high}]", difference.verdict]
    assert f"[{low}, {high}]" in terminal


def test_hand_worked_numbers(two_runs, report):
    _, page = report()
    scratch, transfer = page.tables[0][1:]
    assert scratch[1:5] == ["8", "1", "1", "0.557"]  # (0.5 + 0.6 + 0.7 + 0.8 + 0.4 + 0.9 + 0) / 7; g was missed
    assert scratch[6:] == ["0.600", "3.00", "+0.50 ml (+25 %)", "0.550", "100 of 200", "5 min 00 s"]
    assert transfer[1:5] == ["8", "0", "1", "0.550"]  # (3.9 + 6 × 0.05 + 0.2 + 0) / 8; h, a false alarm, was missed
    assert transfer[3] == str(summarise([score_of("h", 0.0, NAN, 2.0, 0.0, 1.0)]).misses)


def test_the_median_distance_is_over_those_that_are_defined(make_run, report):
    folder = make_run("one", None)
    cases = zip("abcd", (0.5, 0.6, 0.7, 0.0), (1.0, 9.0, 2.0, NAN), strict=True)
    leave_scores(folder, [score_of(s, dice, hd95, 2.0, 2.0, 1.0) for s, dice, hd95 in cases])
    assert report()[1].tables[0][1][7] == "2.00"


def test_every_case_stands_in_the_table(two_runs, report):
    _, page = report()
    cases = page.tables[-1]
    assert cases[0][:2] == ["Case", "Reference, ml"]
    assert [row[0] for row in cases[1:]] == list("abcdefgh")
    assert cases[1][1:] == ["2.00", "0.500 · 3.00 · 2.50", "0.550 · 3.00 · 2.50"]
    assert cases[8][2].startswith("– · ")


def test_the_order_of_the_page(two_runs, report):
    _, page = report()
    parts = [
        "Segmentation of tumour core",
        "3 February 2026",
        "2 training runs",
        "transfer reaches",
        "Scores: Dice",
        "Differences to scratch: Dice",
    ]
    parts += [
        "Dice, case by case",
        "Training",
        "Best, median and worst case by Dice",
        "How each run was made",
        "Every case: Dice",
        "Made by",
    ]
    places = [page.text.index(part) for part in parts[:4]]
    places += [page.text.index(f" {part} ", places[3]) for part in parts[4:]]
    assert places == sorted(places)


def test_hostile_ids_names_and_commands_stay_text(make_run, report, tmp_path):
    ids = {
        EVIL: 0.5,
        "$x_1$": 0.6,
        "../../etc/passwd": 0.7,
        "{{ 7 * 7 }}": 0.8,
        "x" * 400: 0.9,
        "</table><script>": 0.4,
        "\u202eb": 0.3,
    }
    name = EVIL.replace("/", "")
    make_run(name, ids, command=["monai_tl", EVIL, "$(touch x)", "</pre>"], classes=("background", EVIL), source=EVIL)
    make_run("$y_2$", {subject: value - 0.1 for subject, value in ids.items()}, classes=("background", EVIL))
    text, page = report()
    assert {tag for tag, _ in page.tags} & {"script", "iframe", "object", "link"} == {"link"}
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.all("img"))
    assert not any(key.startswith("on") for _, attrs in page.tags for key in attrs)
    assert EVIL not in text
    cases = page.tables[-1]
    assert [row[0] for row in cases[1:]] == [*list(ids)[:-1], "\ufffdb"]
    assert shlex.join(["monai_tl", EVIL, "$(touch x)", "</pre>"]) in page.text
    assert "49" not in [row[0] for row in cases]
    files = sorted(path.relative_to(tmp_path / "runs").as_posix() for path in (tmp_path / "runs" / "report_files").iterdir())
    assert all(re.fullmatch(r"report_files/[a-z0-9_]+\.png", file) for file in files)
    assert not list(tmp_path.glob("etc*"))


def test_the_page_stands_alone(two_runs, report):
    text, page = report()
    addresses = [
        value for _, attrs in page.tags for key, value in attrs.items() if key in ("src", "href", "srcset", "data", "action")
    ]
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert not re.search(r"https?://|url\(|@import", text)
    assert page.all("html") == [{"lang": "en"}]
    assert all(image["alt"] for image in page.all("img"))
    assert "default-src 'none'" in page.all("meta")[3]["content"]


def test_each_picture_is_written_next_to_the_page_as_png(make_run, report, tmp_path):
    make_run("one", overlays=True)
    _, page = report()
    embedded = [base64.b64decode(image["src"].split(",")[1]) for image in page.all("img")]
    written = [path.read_bytes() for path in (tmp_path / "runs" / "report_files").iterdir()]
    assert sorted(embedded) == sorted(written)
    assert len(written) == 3 + 3
    for image, content in zip(page.all("img"), embedded, strict=True):
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
            assert [str(side) for side in picture.size] == [image["width"], image["height"]]


def test_the_same_runs_make_the_same_page_but_for_the_date(make_run, report, tmp_path):
    make_run("one", overlays=True)
    make_run("two", source="/w")
    first = report()[0]
    assert report(output=tmp_path / "again" / "report.html")[0] == first
    other = write_report(
        tmp_path / "runs", output=tmp_path / "other" / "report.html", made=datetime.date(2027, 1, 1)
    ).page.read_text()
    assert other != first
    assert other.replace("2027-01-01", "2026-02-03").replace("1 January 2027", "3 February 2026") == first


def test_pictures_of_cases_or_the_command_that_makes_them(make_run, report, tmp_path):
    with_pictures = make_run("with pictures", overlays=True)
    without = make_run("without pictures")
    (with_pictures / "overlays_test" / "e.png").write_bytes(b"broken")
    _, page = report()
    alts = [image["alt"] for image in page.all("img")][3:]
    assert alts == [
        f"with pictures, case {case}: three planes with the outlines of reference and prediction, Dice {dice}"
        for case, dice in (("f", "0.900"), ("b", "0.600"))
    ]
    command = f"monai_tl evaluate --run '{without}' --split test"
    assert page.text.count(command) == 1
    assert page.text.count(f"monai_tl evaluate --run '{with_pictures}' --split test") == 1


def test_a_picture_is_never_read_from_elsewhere(make_run, report, tmp_path):
    folder = make_run("one", {"../secret": 0.5})
    draw_overlay(folder / "overlays_test" / "a.png")
    draw_overlay(folder / "secret.png")
    _, page = report()
    assert len(page.all("img")) == 3
    mentions(page.text, "Pictures … missing")


def test_a_run_that_is_not_evaluated_is_shown_with_its_curves(make_run, report):
    make_run("scored")
    make_run("waiting", None)
    _, page = report()
    waiting = page.tables[0][2]
    assert waiting[0].endswith("waiting not evaluated")
    assert waiting[1:] == ["–"] * 8 + ["0.550", "100 of 200", "5 min 00 s"]
    assert f"at the end scored {CURVE[-1][2]:.3f}, waiting {CURVE[-1][2]:.3f}." in page.all("img")[2]["alt"]


def test_runs_with_nothing_but_a_config(make_run, report):
    folder = make_run("bare", None, curve=None, report=None)
    (folder / "provenance.json").unlink()
    _, page = report()
    assert page.all("img") == []
    for text in (
        "no run has been evaluated",
        "No curves … metrics.csv … bare",
        "command is not recorded",
    ):
        mentions(page.text, text)


def test_two_tasks_have_a_section_each(make_run, report):
    make_run("target")
    make_run("source", {"z": 0.9}, classes=("background", "hippocampus"), report=None)
    _, page = report()
    assert [attrs["id"] for attrs in page.all("section")] == ["task-1", "task-2"]
    assert "Differences to" not in page.text
    assert page.text.count("there is no other run to compare with") == 2
    assert {attrs["href"] for attrs in page.all("a")} == {"#task-1", "#task-2"}


def test_an_output_whose_name_is_no_text(make_run, tmp_path):
    make_run("one")
    written = write_report(tmp_path / "runs", output=tmp_path / os.fsdecode(b"r\xff.html"))
    assert "<code>r?_files/</code>" in written.page.read_text(encoding="utf-8")


def test_another_split(make_run, report):
    make_run("one", split="validation")
    assert "on the validation split" in report(split="validation")[1].text


def test_a_report_replaces_itself_and_its_figures(make_run, report, tmp_path):
    make_run("one", overlays=True)
    before = report()
    figures = tmp_path / "runs" / "report_files"
    for path in (tmp_path / "runs" / "one" / "overlays_test").iterdir():
        path.unlink()
    (figures / ".DS_Store").write_bytes(b"x")
    assert len(list(figures.glob("*.png"))) == 6
    after = report()
    assert before != after
    assert sorted(path.name for path in figures.glob("[!.]*")) == [
        f"1_tumour_core_{kind}.png" for kind in ("dice", "loss", "validation")
    ]
    assert not list((tmp_path / "runs").glob(".*")), "nothing half written is left"


def test_what_is_not_ours_is_never_overwritten(make_run, tmp_path):
    make_run("one")
    for content in ("<html>my page about monai_tl report", ""):
        (tmp_path / "mine.html").write_text(content)
        with pytest.raises(ConfigError, match="'.*mine.html' exists.*`monai_tl report`"):
            write_report(tmp_path / "runs", output=tmp_path / "mine.html")
        assert (tmp_path / "mine.html").read_text() == content
        assert not (tmp_path / "mine_files").exists()
    (tmp_path / "paper_files").mkdir()
    draw_overlay(tmp_path / "paper_files" / "1_tumour_core_dice.png")
    before = (tmp_path / "paper_files" / "1_tumour_core_dice.png").read_bytes()
    with pytest.raises(ConfigError, match=r"'.*paper_files'.*\(1_tumour_core_dice.png\)"):
        write_report(tmp_path / "runs", output=tmp_path / "paper.html")
    assert (tmp_path / "paper_files" / "1_tumour_core_dice.png").read_bytes() == before


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("folder", "'.*folder'.*e.g. '.*folder/report.html'"),
        ("page.pdf", "'.*page.pdf'.*HTML"),
        ("file/report.html", "'.*file/report.html': '.*/file'.*--output"),
        ("figures.html", "'.*figures.html': '.*figures_files'"),
        ("x" * 300 + ".html", "cannot write '.*': File name too long.*--output"),
    ],
)
def test_outputs_that_cannot_be_written(make_run, tmp_path, output, text):
    make_run("one")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "figures_files").write_text("")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match=text):
        write_report(tmp_path / "runs", output=tmp_path / output)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_verb_writes_next_to_the_runs_and_prints_where(make_run, verb, tmp_path):
    make_run("one")
    answer = verb("report", "--runs", tmp_path / "runs")
    assert answer.code == 0, answer.err
    page = tmp_path / "runs" / "report.html"
    assert answer.out == f"{page}: 1 run, 1 of them scored on test; figures in {page.with_name('report_files')}\n"
    assert page.is_file()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--runs", "nowhere"), "'nowhere'"),
        (("--runs", "{runs}", "--split", "tset"), "'tset' … 'test'"),
        (("--runs", "{runs}", "--output", "{runs}"), "is a folder; name a file"),
        (("--run", "{runs}"), "unknown … '--run' … 'runs'?"),
        ((), "(monai_tl … STUDY) … (--runs DIR)"),
        (("{runs}", "--runs", "{runs}"), "report takes one study folder"),
        (("{runs}", "--split", "test"), "--split"),
        (("{runs}",), "study.json"),
    ],
)
def test_wrong_input_is_a_line_and_exit_code_2(make_run, verb, tmp_path, words, text):
    make_run("one")
    answer = verb("report", *(word.format(runs=tmp_path / "runs") for word in words))
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("monai_tl: ")
    assert answer.err.count("\n") == 1
    mentions(answer.err, text)


@pytest.mark.slow
def test_a_hundred_runs_of_a_hundred_cases_make_a_page_of_moderate_size(make_run, report, tmp_path):
    for run in range(100):
        dice = {f"case_{n:03}": (0.3 + 0.6 * ((run * 37 + n * 61) % 101) / 100) for n in range(100)}
        make_run(f"grid/arm_{run % 10}/seed_{run}", dice, source="/w" if run else None, seed=run % 10, overlays=run < 3)
    text, page = report()
    assert len(text) < 8e6
    assert len(page.tables[0]) == len(page.tables[-1]) == 101
    assert "Shown for 4 of 100 runs" in page.text
    assert not any("open" in attrs for attrs in page.all("details"))
    for path in (tmp_path / "runs" / "report_files").iterdir():
        with Image.open(path) as picture:
            assert max(picture.size) < 6000
