"""The page by any metric and region: its numbers, its direction, what runs lack, and segmentations made elsewhere."""

from __future__ import annotations

import datetime
import json
import math
import re
from dataclasses import replace

import pytest

from monai_tl.errors import ConfigError, DataError
from monai_tl.evaluation.metrics import METRICS
from monai_tl.evaluation.scores import Score
from monai_tl.report.runs import sections, words
from monai_tl.report.runs.examples import choose_cases, choose_runs
from monai_tl.report.runs.groups import group_runs
from monai_tl.report.runs.read_runs import read_runs
from monai_tl.report.runs.runs_page import write_report
from monai_tl.report.runs.scored_by import ScoredBy, signed_cell, signed_value, value_cell
from tests.conftest import leave_scores, mentions

NAN = math.nan
CLASSES = ("background", "anterior", "posterior")
ELSEWHERE = {"predictions": {"a": "e" * 64, "b": "f" * 64}, "weights": "", "weights_sha256": "", "window": [], "precision": ""}


def score(subject, region, values, reference_ml=2.0, prediction_ml=2.5):
    return Score(subject, dict(zip(("dice", "hd95", "nsd"), values, strict=False)), reference_ml, prediction_ml, 1.0, region)


SCRATCH = [
    score("a", "anterior", (0.5, 4.0, 0.6)),
    score("a", "posterior", (0.7, 2.0, 0.8)),
    score("b", "anterior", (0.9, 1.0, 1.0)),
    score("b", "posterior", (0.0, NAN, 0.0), 0.0, 1.0),  # a false alarm
]
TRANSFER = [
    score("a", "anterior", (0.6, 3.0, 0.7)),
    score("a", "posterior", (0.8, 1.0, 0.9)),
    score("b", "anterior", (0.8, 1.5, 0.95)),
    score("b", "posterior", (NAN, NAN, NAN), 0.0, 0.0),
]


@pytest.fixture
def scored(make_run, tmp_path):
    """Make a run, or with ``predictions`` a folder of scores alone, and leave these scores."""

    def make(name, scores, *, classes=CLASSES, source=None, **parts):
        folder = tmp_path / "runs" / name
        if "predictions" in parts:
            folder.mkdir(parents=True)
        else:
            make_run(name, None, classes=classes, source=source)
        leave_scores(folder, scores, **parts)
        return folder

    return make


@pytest.fixture
def two(scored):
    return scored("scratch", SCRATCH), scored("transfer", TRANSFER, source="/w")


@pytest.fixture
def report(tmp_path, parse):
    def write(**settings):
        written = write_report(tmp_path / "runs", made=datetime.date(2026, 2, 3), **settings)
        return parse(written.page.read_text(encoding="utf-8"))

    return write


@pytest.fixture
def groups(tmp_path):
    def group(metric="dice", region=""):
        by = ScoredBy(METRICS[metric], region)
        return group_runs(read_runs(tmp_path / "runs", "test", by), "test", by)

    return group


def without(scores, metric):
    return [replace(one, values={name: value for name, value in one.values.items() if name != metric}) for one in scores]


def test_a_metric_in_a_region_by_hand(two, report):
    page = report(metric="nsd", region="anterior")
    scratch, transfer = page.tables[0][1:]
    assert scratch[1:8] == ["2", "0", "0", "0.800", "none", "0.800", "0.700"]  # (0.6 + 1.0) / 2; Dice (0.5 + 0.9) / 2
    assert transfer[1:8] == ["2", "0", "0", "0.825", "none", "0.825", "0.700"]  # (0.7 + 0.95) / 2
    assert page.tables[1][1] == ["transfer", "2", "0", "+0.025", "none", "too few cases"]  # (0.1 - 0.05) / 2
    assert page.tables[0][0][4:8] == [
        "Mean normalised surface Dice", "95 % interval", "Median normalised surface Dice", "Median Dice",
    ]  # fmt: skip
    mentions(
        page.text, "transfer reaches a mean normalised surface Dice of 0.825 in anterior, scratch 0.800", "(higher is better)"
    )


def test_a_distance_over_regions_by_hand(two, report):
    page = report(metric="hd95")
    scratch, transfer = page.tables[0][1:]
    assert scratch[1:7] == ["2", "0", "0", "2.00", "none", "2.00"]  # a: (4 + 2) / 2, b: 1 in its only defined region
    assert transfer[1:7] == ["2", "0", "0", "1.75", "none", "1.75"]  # a: (3 + 1) / 2, b: 1.5
    assert page.tables[1][1][1:4] == ["2", "0", "−0.25"]  # ((2 - 3) + (1.5 - 1)) / 2
    finding = "transfer reaches a mean 95 % Hausdorff distance of 1.75 mm over all regions, scratch 2.00 mm"
    mentions(page.text, f"{finding}: a mean difference of −0.25 mm", "in mm, lower is better")
    assert "unequal" not in page.text


def test_all_regions_and_metrics_by_hand(two, report):
    page = report()
    table = next(table for table in page.tables if table[0][0] == "Mean of each run")
    nsd = "Normalised surface Dice (tolerance 1 mm) higher is better"
    assert table[0][1:] == ["Dice higher is better", "95 % Hausdorff distance, mm lower is better", nsd]
    assert table[1:] == [
        ["anterior"],
        ["scratch", "0.700", "2.50", "0.800"],
        ["transfer", "0.700", "2.25", "0.825"],
        ["posterior"],
        ["scratch", "0.350", "2.00 1 undefined", "0.400"],
        ["transfer", "0.800 1 undefined", "1.00 1 undefined", "0.900 1 undefined"],
        ["mean over regions"],
        ["scratch", "0.525", "2.00", "0.600"],  # Dice: a 0.6, b 0.45
        ["transfer", "0.750", "1.75", "0.875"],  # b: anterior alone
    ]
    mentions(page.text, "Descriptive: means … without intervals or tests")
    mentions(page.text, "Undefined values of 95 % Hausdorff distance: 1 (reference empty), 1 (prediction and reference empty).")


def test_every_heading_figure_and_table_names_the_score(two, report):
    for settings, what in (
        ({"metric": "nsd", "region": "posterior"}, "normalised surface Dice (tolerance 1 mm) in posterior"),
        ({"metric": "hd95"}, "95 % Hausdorff distance, mean over regions"),
    ):
        page = report(**settings)
        text = page.text
        shown = f"{what[0].upper()}{what[1:]}"
        mentions(
            text,
            f"comparison of runs by {what}, test split",
            f"Scores: {what}",
            f"Differences to scratch: {what}",
            f"{shown}, case by case",
            f"Best, median and worst case by {what}",
            f"Every case: {what}",
        )
        labels = [attrs["aria-label"] for attrs in page.all("div") if "aria-label" in attrs]
        for label in ("Scores of the runs", "Paired differences", "Scores of every case"):
            assert any(found.startswith(f"{label}, {what}:") for found in labels)
        assert page.all("img")[0]["alt"].startswith(f"Box plot of {shown}")
    assert "Medians: scratch 2.00 mm, transfer 1.75 mm." in page.all("img")[0]["alt"]


def test_values_of_cases_are_in_the_metric_and_its_unit(two, report):
    cases = report(metric="hd95", region="anterior").tables[-1]
    assert cases[0][2] == "scratch 95 % Hausdorff distance, mm · Dice · volume, ml"
    assert cases[1:] == [
        ["a", "2.00", "4.00 · 0.500 · 2.50", "3.00 · 0.600 · 2.50"],
        ["b", "2.00", "1.00 · 0.900 · 2.50", "1.50 · 0.800 · 2.50"],
    ]


def test_undefined_values_are_counted_with_their_reason(two, report):
    page = report(metric="hd95", region="posterior")
    scratch, transfer = page.tables[0][1:]
    assert [scratch[1:3], transfer[1:3]] == [["2", "1"], ["2", "1"]]
    reasons = "scratch: 1 (reference empty); transfer: 1 (prediction and reference empty)."
    mentions(
        page.text,
        f"Undefined values of 95 % Hausdorff distance in posterior: {reasons}",
        "2 undefined values are not drawn",
    )
    mentions(page.text, "Undefined 95 % Hausdorff distance: reference or prediction empty.")


def test_a_case_is_undefined_over_regions_if_it_is_in_each(scored, report):
    empty = [score("c", region, (NAN, NAN, NAN), 0.0, 0.0) for region in CLASSES[1:]]
    scored("one", [*SCRATCH, *empty])
    mentions(report(metric="nsd").text, "mean over regions: one: 1 (in every region).")


def test_means_over_unequal_regions_are_a_limitation(two, groups):
    (group,) = groups()
    (sentence,) = [sentence for sentence in words.caveats(group) if "unequal" in sentence]
    mentions(sentence, "transfer in 1 case: Dice is undefined in other regions than in scratch … --region")
    assert not [sentence for sentence in words.caveats(groups("dice", "posterior")[0]) if "unequal" in sentence]


@pytest.fixture
def distances(scored):
    """Three runs of six cases; the second is nearer by about 1 mm in each, the third farther."""
    for name, by in (("scratch", 0.0), ("nearer", -1.0), ("farther", 1.0)):
        values = [(0.5, 3.0 + 0.5 * n + by + 0.1 * (n % 2)) for n in range(6)]
        cases = [score(f"s{n}", "", value) for n, value in enumerate(values)]
        scored(name, cases, classes=CLASSES[:2], source=None if name == "scratch" else "/w")


def test_lower_is_better_where_it_is(distances, groups, report):
    (group,) = groups("hd95")
    verdicts = {found.name: group.by.verdict(found.verdict) for found in group.comparison.differences}
    assert verdicts == {"nearer": "lower (better)", "farther": "higher (worse)"}
    mentions(words.finding(group), "1 scores higher (worse), 1 lower (better)", "lowest, so best, mean … 3.30 mm, of nearer")
    page = report(metric="hd95")
    assert [row[0] for row in page.tables[1][1:]] == ["farther", "nearer"]
    assert [row[-1] for row in page.tables[1][1:]] == ["higher (worse)", "lower (better)"]
    assert page.text.index("Best: s0") < page.text.index("Worst: s5")
    assert "Best: s5" not in page.text


def test_with_two_runs_the_sentence_has_the_direction(distances, groups, tmp_path):
    for path in sorted((tmp_path / "runs" / "farther").iterdir()):
        path.unlink()
    (group,) = groups("hd95")
    mentions(
        words.finding(group), "nearer reaches a mean … 3.30 mm, scratch 4.30 mm … nearer scores lower (better) on these cases."
    )


def test_the_best_case_has_the_smallest_distance_and_the_median_is_the_worse_of_two():
    cases = [score(name, "", (0.5, value)) for name, value in (("a", 4.0), ("b", 1.0), ("c", NAN), ("d", 3.0), ("e", 2.0))]
    found = [(rank, one.subject) for rank, one in choose_cases(cases, METRICS["hd95"])]
    assert found == [("best", "b"), ("median", "d"), ("worst", "a")]


def test_of_many_runs_those_with_the_best_median_and_worst_distance_are_shown(scored, groups):
    for n in range(14):
        scored(f"run_{n}", [score("a", "", (0.5, 9.0 - 0.5 * n)), score("b", "", (0.5, 1.0))], classes=CLASSES[:2])
    (group,) = groups("hd95")
    assert group.ranked[0].name == "run_13"
    assert [run.name for run in choose_runs([group])[0]] == ["run_0", "run_6", "run_13"]


@pytest.mark.parametrize(
    ("flags", "facts"),
    [
        (("--metric", "hd59"), "'hd59' … 'hd95'"),
        (("--region", "anteror"), "no run in … 'anteror': did you mean 'anterior'? There are: anterior, posterior"),
        (
            ("--metric", "asd"),
            "asd was not scored (there are dice, hd95, nsd): … evaluate --run … scratch --split test … nsd,asd",
        ),
    ],
)
def test_a_metric_or_region_that_no_run_has_is_a_line(two, verb, tmp_path, flags, facts):
    answer = verb("report", "--runs", tmp_path / "runs", *flags)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.count("\n") == 1
    mentions(answer.err, facts)
    assert not (tmp_path / "runs" / "report.html").exists()


def test_an_unknown_metric_is_refused_by_the_function_too(two, tmp_path):
    with pytest.raises(ConfigError, match="'hd59'.*'hd95'"):
        write_report(tmp_path / "runs", metric="hd59")


def test_a_region_without_a_name_cannot_be_asked_for(make_run, tmp_path):
    make_run("one")
    with pytest.raises(ConfigError, match="one: scores have no region 'tumour core'.*one region without a name"):
        write_report(tmp_path / "runs", region="tumour core")


def test_a_run_that_lacks_the_metric_is_shown_with_the_command(two, scored, report, verb, tmp_path):
    scored("old", without(TRANSFER, "nsd"), source="/w")
    page = report(metric="nsd")
    old = page.tables[0][3]
    assert old[0].endswith("old scores lack nsd (there are: dice, hd95)")
    assert set(old[1:9]) == {"–"}
    command = f"evaluate --run {tmp_path / 'runs' / 'old'} --split test --metrics dice,hd95,nsd"
    mentions(page.text, "old is not compared: its scores lack nsd", f"To score old … {command}", "2 of them scored by")
    means = next(table for table in page.tables if table[0][0] == "Mean of each run")
    assert means[4] == ["old", "0.700", "2.25", "not scored"]
    answer = verb("report", "--runs", tmp_path / "runs", "--metric", "nsd")
    mentions(answer.out, "3 runs, 2 of them scored by nsd on test; not compared … old;")


def test_a_run_of_another_task_is_shown_apart(two, scored, groups, report, tmp_path):
    scored("core", [score("a", "tumour core", (0.5, 1.0))], classes=("background", "tumour core"))
    _, other = groups("dice", "anterior")
    assert [run.name for run in other.runs] == ["core"]
    assert other.comparison is None
    page = report(region="anterior")
    mentions(page.text, "No run of this task has been scored by Dice in anterior yet.")
    mentions(page.text, "core is not compared: its scores have no region 'anterior' (there are: tumour core)")
    assert f"--run {tmp_path / 'runs' / 'core'}" not in page.text, "no command gives a network another region"


def test_runs_of_other_regions_are_not_compared(two, scored, groups):
    scored("three", [*SCRATCH, *(score(case, "middle", (0.5, 1.0, 0.5)) for case in "ab")], classes=(*CLASSES, "middle"))
    scored("renamed", [replace(one, region=one.region.replace("post", "infer")) for one in SCRATCH], classes=("x", "y"))
    found = [[run.name for run in group.runs] for group in groups()]
    assert found == [["scratch", "transfer"], ["renamed"], ["three"]]


def test_classes_without_background_are_all_regions(make_run, groups):
    make_run("one", None, classes=("core", "whole"))
    assert groups()[0].title == "core and whole"


def test_other_tolerances_part_runs_by_the_surface_dice_only(two, scored, groups, report):
    scored("wide", TRANSFER, source="/w", tolerance_mm={"anterior": 1.0, "posterior": 2.0})
    assert [len(group.runs) for group in groups("dice")] == [3]
    assert [len(group.runs) for group in groups("nsd", "anterior")] == [3], "its tolerance is that of the others"
    first, other = groups("nsd", "posterior")
    assert [run.name for run in other.runs] == ["wide"]
    assert [first.by.what, other.by.what] == [f"normalised surface Dice (tolerance {mm} mm) in posterior" for mm in (1, 2)]
    mentions(" ".join(words.caveats(other)), "scratch and wide … different tolerances: 1 mm; 2 mm")
    page = report()
    means = next(table for table in page.tables if table[0][0] == "Mean of each run")
    assert means[8] == ["wide", "0.800 1 undefined", "1.00 1 undefined", "0.900 1 undefined, tolerance 2 mm"]
    mentions(page.text, "different tolerances is not comparable")


def test_segmentations_made_elsewhere_are_a_run(two, scored, report, tmp_path):
    scored("other tool", TRANSFER, **ELSEWHERE)
    page = report(metric="nsd", region="anterior")
    row = page.tables[0][3]
    assert row[0].endswith("other tool segmentations made elsewhere")
    assert row[4] == "0.825"
    assert row[-3:] == ["–", "–", "–"], "no training"
    assert page.tables[1][2][:4] == ["other tool", "2", "0", "+0.025"]
    text = page.text
    mentions(text, "2 training runs and 1 set of segmentations made elsewhere, scored by")
    mentions(text, "other tool: segmentations made elsewhere; whether these cases were used to make them is unknown.")
    mentions(text, "Segmentations made elsewhere: 2 files, scored as they are", "Scored against /data/datalist.json")
    assert "metrics.csv is missing" not in text
    assert "sliding windows" not in text
    assert "seed not recorded" not in text
    assert not re.search(r"evaluate --run \S*other", text), "no network could score it or draw its pictures"
    mentions(text, "evaluate --predictions DIR --datalist /data/datalist.json --output … --metrics dice,hd95,nsd")
    mentions(text, "All trainings share one seed (0)")


def test_nothing_but_segmentations_made_elsewhere(scored, report):
    scored("one", [replace(one, region="") for one in SCRATCH[::2]], **ELSEWHERE)
    page = report()
    mentions(page.text, "1 set of segmentations made elsewhere, scored by Dice")
    assert page.all("img") != []


def test_elsewhere_and_a_metric_that_it_lacks(two, scored, report, tmp_path):
    folder = scored("other tool", without(TRANSFER, "nsd"), **ELSEWHERE)
    command = f"evaluate --predictions DIR --datalist /data/datalist.json --output '{folder}' --regions anterior,posterior"
    mentions(report(metric="nsd").text, f"{command} --split test --metrics dice,hd95,nsd")


def test_elsewhere_is_compared_only_on_the_same_references(two, scored, groups):
    scored("moved", [replace(one, reference_ml=one.reference_ml + 0.1) for one in TRANSFER], **ELSEWHERE)
    scored("fewer", TRANSFER[:2], **ELSEWHERE)
    first, fewer, moved = groups()
    assert [run.name for run in first.runs] == ["scratch", "transfer"]
    mentions(" ".join(words.caveats(fewer)), "scratch and fewer … different subjects: fewer lacks b")
    mentions(" ".join(words.caveats(moved)), "scratch and moved … different references … a, b")


def test_references_are_compared_in_the_region(scored, groups):
    """Equal in sum over regions, but other in each."""
    for name, volumes in (("one", (2.0, 3.0)), ("two", (3.0, 2.0))):
        scored(name, [score("a", region, (0.5, 1.0), ml) for region, ml in zip(CLASSES[1:], volumes, strict=True)])
    assert [len(group.runs) for group in groups("dice", "anterior")] == [1, 1]


def test_the_figure_is_of_the_values_and_the_range_of_the_metric(two, report, monkeypatch):
    drawn = []
    draw = sections.draw_scores
    monkeypatch.setattr(sections, "draw_scores", lambda *given: drawn.append(given) or draw(*given))
    report(metric="hd95", region="anterior")
    label = "95 % Hausdorff distance in anterior, mm\n(one dot per case; lower is better)"
    assert drawn == [(["scratch", "transfer"], [[4.0, 1.0], [3.0, 1.5]], label, math.inf)]


def test_other_voxels_of_equal_volume_part_runs(two, scored, groups):
    for name, sha in (("x", "1"), ("y", "2")):
        scored(name, SCRATCH, **ELSEWHERE, references={"a": sha, "b": "3"})
    first, other = groups()
    assert [[run.name for run in group.runs] for group in (first, other)] == [["scratch", "transfer", "x"], ["y"]]
    mentions(" ".join(words.caveats(other)), "x and y … different references: equal volumes, but other voxels, in a")


def test_one_region_without_a_name_fits_one_task_only(scored, groups):
    """A datalist of one region calls it foreground; the networks call it by their class."""
    cases = [score("a", "", (0.5, 1.0)), score("b", "", (0.6, 2.0))]
    scored("core", cases, classes=("background", "core"))
    scored("whole", cases, classes=("background", "whole"))
    scored("other tool", [replace(one, region="foreground") for one in cases], **ELSEWHERE)
    scored("unknown network", cases, classes=())
    found = [[run.name for run in group.runs] for group in groups()]
    assert found == [["core", "other tool"], ["unknown network"], ["whole"]]


def test_scores_in_another_folder_are_no_run(two, tmp_path):
    folder = tmp_path / "runs" / "notes"
    folder.mkdir()
    leave_scores(folder, SCRATCH)  # as `evaluate --scores FILE` leaves them
    assert [run.name for run in read_runs(tmp_path / "runs", "test")] == ["scratch", "transfer"]
    (folder / "scores_test.json").write_text("{")
    with pytest.raises(DataError, match="notes/scores_test.json is damaged .*restore it"):
        read_runs(tmp_path / "runs", "test")


def test_scores_of_segmentations_are_never_those_of_a_network(make_run, report):
    folder = make_run("one")
    record = json.loads((folder / "scores_test.json").read_text())
    (folder / "scores_test.json").write_text(json.dumps({**record, "predictions": {"a": "e" * 64}}))
    mentions(report().text, "one is not compared: its scores are of segmentations made elsewhere")


def test_one_region_by_dice_and_distance_needs_no_further_table(make_run, report):
    make_run("one")
    page = report()
    assert "All regions and metrics" not in page.text
    assert "mean over regions" not in page.text


@pytest.mark.parametrize(
    ("metric", "value", "cell", "signed", "signed_without"),
    [
        ("dice", 0.8125, "0.812", "+0.812", "+0.812"),
        ("hd95", -1.406, "-1.41", "−1.41 mm", "−1.41"),
        ("volume_error", 0.5, "0.50", "+0.50 ml", "+0.50"),
        ("nsd", NAN, "–", "–", "–"),
    ],
)
def test_values_as_text(metric, value, cell, signed, signed_without):
    by = METRICS[metric]
    assert (value_cell(by, value), signed_value(by, value), signed_cell(by, value)) == (cell, signed, signed_without)
