"""A study by any metric and region: numbers worked out by hand, directions, one family, undefined values, refusals."""

from __future__ import annotations

import csv
import math
from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from monai_tl.evaluation.metrics import METRICS
from monai_tl.report.kit.figures import as_png, as_svg
from monai_tl.report.study import plots
from monai_tl.report.study.outcome import StudyOutcome
from monai_tl.report.study.outcomes_table import outcomes_table, undefined_table
from monai_tl.report.study.plots import Drawing
from monai_tl.report.study.study_cases import choose_ranked
from monai_tl.report.study.study_facts import read_study_facts
from monai_tl.report.study.study_words import headline, not_supported, study_lead
from monai_tl.statistics import arm_means, compare_arms
from monai_tl.storage.files import read_json, write_json
from tests.conftest import mentions
from tests.report.study.conftest import change_scores

GAINS = (0.08, 0.09, 0.10, 0.11, 0.12, 0.10)  # of freeze 1 in the six cases; their mean is 0.1
START = {("dice", "anterior"): 0.5, ("dice", "posterior"): 0.3, ("hd95", "anterior"): 9.0, ("hd95", "posterior"): 20.0}
START |= {("nsd", "anterior"): 0.6, ("nsd", "posterior"): 0.4}
GAIN = {("dice", "anterior"): 1, ("dice", "posterior"): 0.5, ("hd95", "anterior"): -30, ("hd95", "posterior"): 20}
GAIN |= {("nsd", "anterior"): -2, ("nsd", "posterior"): 0}  # times GAINS; 0: no difference
REGIONS = ("anterior", "posterior")
TWO = {"arms": ("scratch", "1"), "sizes": (26,), "cases": 6, "regions": REGIONS, "nsd": True}


def by_hand(run, score):
    """Scratch has the start and 0.01 per case more; freeze 1 adds its gain; seeds differ by 0.001."""
    case = int(score.subject[-3:])
    gain = GAINS[case] if run[0] == "1" else 0.0
    at = {name: (name, score.region) for name in ("dice", "hd95", "nsd")}
    values = {name: START[key] + 0.01 * case + GAIN[key] * gain + 0.001 * run[2] for name, key in at.items()}
    return replace(score, values=values, prediction_ml=1.5)


@pytest.fixture
def folder(make_study):
    study = make_study(**TWO)
    change_scores(study, by_hand)
    return study


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Figures take no time to draw."""
    blank = Figure(figsize=(0.1, 0.1))
    drawing = Drawing(as_png(blank), as_svg(blank))
    monkeypatch.setattr(plots, "both", lambda _: drawing)


def page_of(verb, parse, folder, *flags):
    answer = verb("report", folder, *flags)
    assert answer.code == 0, answer.err
    return parse((folder / "report.html").read_text(encoding="utf-8"))


def named(page, name):
    at = [attrs.get("id") for attrs in page.all("table")].index(f"table-{name}")
    return page.tables[at]


def test_means_and_differences_by_hand(folder):
    """Over cases and seeds: start + 0.025 + 0.001 (+ 0.1 times the gain's factor); over regions: the mean of both."""
    expected = {
        ("dice", ""): ((0.5 + 0.3) / 2 + 0.026, 0.075),
        ("dice", "anterior"): (0.526, 0.1),
        ("hd95", "posterior"): (20.026, 2.0),
        ("hd95", ""): (14.5 + 0.026, (-3.0 + 2.0) / 2),
        ("nsd", "anterior"): (0.626, -0.2),
    }
    for (metric, region), (mean, difference) in expected.items():
        study = read_study_facts(folder, metric, region)
        means = {one.arm: one.mean for one in arm_means(study.scores, metric=study.outcome.measure)}
        (found,) = compare_arms(study.scores, metric=study.outcome.measure)
        assert [means["scratch"], found.mean] == pytest.approx([mean, difference]), (metric, region)
        assert study.biases["scratch", 26].ml == pytest.approx(-1.0 if not region else -0.5), "volumes are summed"


def test_all_metrics_and_regions_are_one_family(folder):
    """One arm, one size, three metrics, two regions: six comparisons. Wilcoxon of six cases that agree is 2/64."""
    table = outcomes_table(read_study_facts(folder, "hd95", "posterior"))
    names = [column.name for column in table.columns]
    rows = [dict(zip([*names[:5], "interval", names[6], "ends", *names[8:]], row, strict=True)) for row in table.rows]
    assert [(row["metric"], row["region"], row["arm"]) for row in rows[:5]] == [
        ("Dice", "anterior", "scratch"), ("Dice", "anterior", "1"),
        ("Dice", "posterior", "scratch"), ("Dice", "posterior", "1"), ("95 % Hausdorff distance in mm", "anterior", "scratch"),
    ]  # fmt: skip
    against = {(row["metric"][:3], row["region"]): row for row in rows if row["arm"] == "1"}
    assert len(against) == 6
    differences = [0.1, 0.05, -3.0, 2.0, -0.2, 0.0]
    assert [row["mean_difference"] for row in against.values()] == pytest.approx(differences, abs=1e-9)
    worst = 6 * 2 / 64
    assert [row["p_holm"] for row in against.values()] == pytest.approx([worst] * 5 + [1.0])
    mentions(table.note, "corrected (Holm) … 6 comparisons with scratch … 3 metrics × 2 regions")
    mentions(table.note, "primary analysis is 95 % Hausdorff distance (posterior)", "lower … better … 95 % Hausdorff distance")
    shown = [texts for _, texts in table.shown]
    assert shown[4][4] == "9.03", "two decimals of a length"
    assert shown[0][4] == "0.526"


def test_the_family_grows_with_arms_and_sizes_and_what_is_undefined_is_not_in_it(make_study):
    study = read_study_facts(make_study(**{**TWO, "arms": ("scratch", "1", "random2"), "sizes": (26, 52)}))
    mentions(outcomes_table(study).note, "24 comparisons … 4 pairs of arm and size each")
    nothing = {
        run: tuple(replace(s, values={**s.values, "nsd": math.nan}) if s.region == "anterior" else s for s in scores)
        for run, scores in study.by_run.items()
    }
    mentions(outcomes_table(replace(study, by_run=nothing)).note, "20 comparisons … 4 more have no p")


def test_better_is_lower_for_a_distance_and_every_part_names_it(folder, verb, parse):
    change_scores(folder, lambda run, s: replace(s, values={**s.values, "hd95": s.values["hd95"] + (run[0] == "1") * -5}))
    page = page_of(verb, parse, folder, "--metric", "hd95", "--region", "anterior")
    text, label = page.text, "95 % Hausdorff distance (anterior)"
    text = text.replace("\u00a0", " ")
    mentions(text, f"scored by {label} on 6 test cases")
    mentions(text, f"freeze 1 scores better than scratch: {label} 8.00 mm lower")
    mentions(text, f"Compared with scratch by {label} … better: freeze 1 (with 26)")
    mentions(text, f"Differences in {label} in mm", f"Test {label} in mm by arm", f"{label} in mm of every case")
    mentions(text, f"by mean {label} over its seeds")
    mentions(text, "Left of the line, the arm is better (lower)")
    heads = named(page, "arms")[0]
    assert f"Mean {label} in mm" in heads
    assert not any("Dice" in head for head in heads)
    assert named(page, "differences")[1][5] == "better"
    assert all(
        label in image["alt"]
        for image in page.all("img")
        if "alidation" not in image["alt"] and "raining loss" not in image["alt"] and "target" not in image["alt"]
    )
    mentions(text, "validation Dice (mean over regions)")
    mentions(text, f"monai_tl report {folder} --metric hd95 --region anterior")
    with (folder / "report_files" / "tables" / "arms.csv").open(newline="") as file:
        assert "mean_hd95_anterior_mm" in next(csv.reader(file))
    assert "ublished" not in text, "published values are Dice"


def test_by_default_it_is_dice_over_all_regions(folder, verb, parse):
    page = page_of(verb, parse, folder)
    mentions(page.text, "scored by Dice (mean over regions) on 6 test cases")
    mentions(page.text, f"--metrics dice,hd95,nsd --tolerance 1.0 … monai_tl report {folder}")
    assert "ublished" not in page.text, "these are of a single region"
    assert named(page, "arms")[1][2] == "0.426"


def test_one_region_with_the_usual_metrics_has_no_further_table(make_study):
    assert outcomes_table(read_study_facts(make_study(arms=("scratch", "1"), sizes=(26,)))) is None
    three = read_study_facts(make_study(arms=("scratch", "1"), sizes=(26,), nsd=True))
    table = outcomes_table(three)
    assert "region" not in [column.name for column in table.columns]
    mentions(table.note, "3 comparisons … (3 metrics, 1 pairs", "Tolerance … 1 mm")
    assert three.outcome.measure.label == "Dice"


def test_the_tolerance_of_each_region_is_named(folder):
    content = read_json(folder / "study.json", remedy="")
    write_json(folder / "study.json", {**content, "tolerance": [1, 2.5]})
    mentions(study_lead(read_study_facts(folder, "nsd")), "(mean over regions) … 1 mm (anterior), 2.5 mm (posterior)")
    mentions(study_lead(read_study_facts(folder, "nsd", "posterior")), "(posterior) with a tolerance of 2.5 mm on")


def test_undefined_values_are_counted_by_metric_and_region_with_reasons(folder):
    def missed(run, score):
        if score.region == "posterior" and score.subject.endswith("0") and run[2] == 0:
            empty = {"prediction_ml": 0.0} if run[0] == "1" else {"prediction_ml": 0.0, "reference_ml": 0.0}
            dice = 0.0 if run[0] == "1" else math.nan
            return replace(score, values={"dice": dice, "hd95": math.nan, "nsd": dice}, **empty)
        return score

    assert undefined_table(read_study_facts(folder)) is None
    change_scores(folder, missed)
    study = read_study_facts(folder, "hd95")
    table = undefined_table(study)
    assert [column.name for column in table.columns[2:-1]] == [
        "values", "undefined", "prediction_and_reference_empty", "prediction_empty",
    ]  # fmt: skip
    assert [list(row) for row in table.rows] == [
        ["Dice", "posterior", 36, 1, 1, 0, "scratch 1"],
        ["95 % Hausdorff distance", "posterior", 36, 2, 1, 1, "scratch 1, freeze 1 1"],
        ["normalised surface Dice", "posterior", 36, 1, 1, 0, "scratch 1"],
    ]
    assert study.undefined == (2, 72)
    text = " ".join(not_supported(study, [], beside=False))
    mentions(text, "2 of 72 values of 95 % Hausdorff distance (mean over regions)")


def test_a_case_with_a_region_that_was_missed_is_infinitely_far(folder):
    """In the median distance next to Dice; regions empty in both are left out."""
    gone = {"anterior": (math.nan, math.nan), "posterior": (0.0, math.nan)}
    values = {"000": gone, "001": {**gone, "posterior": (0.5, 4.0)}, "002": {"anterior": (0.5, 2.0), "posterior": (0.5, 4.0)}}

    def change(run, score):
        dice, hd95 = values.get(score.subject[-3:], {}).get(score.region, (0.5, 1.0))
        return replace(score, values={"dice": dice, "hd95": hd95, "nsd": 0.5})

    change_scores(folder, change)
    found = read_study_facts(folder).distances["scratch", 26][:4]
    assert found == pytest.approx([math.nan, 4.0, 3.0, 1.0], nan_ok=True)
    alone = read_study_facts(folder, "dice", "anterior").distances["scratch", 26][:3]
    assert alone == [2.0, 1.0, 1.0], "the anterior of two cases is empty in both"


def test_the_best_case_of_a_distance_is_the_nearest():
    cases = {"a": 3.0, "b": 1.0, "c": math.nan, "d": 2.0, "e": 9.0}
    near, high = StudyOutcome(METRICS["hd95"]).measure, StudyOutcome(METRICS["dice"]).measure
    assert choose_ranked(cases, near) == [("best", "b", 1.0), ("median", "a", 3.0), ("worst", "e", 9.0)]
    assert choose_ranked(cases, high) == [("best", "e", 9.0), ("median", "d", 2.0), ("worst", "b", 1.0)]
    assert choose_ranked({"x": 0.5, "w": 0.5}, near) == [("best", "w", 0.5), ("worst", "x", 0.5)]


def test_without_another_arm_the_best_mean_is_the_lowest(make_study):
    folder = make_study(**{**TWO, "arms": ("scratch",), "sizes": (26, 52)})
    change_scores(folder, lambda run, s: replace(s, values={"dice": 0.5, "hd95": run[1] / 10, "nsd": 0.5}))
    study = read_study_facts(folder, "hd95")
    means = arm_means(study.scores, metric=study.outcome.measure)
    mentions(headline(study, means, []), "26 training subjects has the best mean 95 % Hausdorff distance … 2.60 mm")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--metric", "nds"), "'nds': did you mean 'nsd'?"),
        (("--metric", "asd"), "asd was not scored in this study (there are dice, hd95, nsd) … evaluate --run RUN --metrics "),
        (("--metric", "asd"), "--metrics dice,hd95,nsd,asd … study gather --output … new study … --metrics dice,hd95,nsd,asd"),
        (("--region", "anteror"), "no region 'anteror' … 'anterior'? There are: anterior, posterior"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line(folder, verb, flags, message):
    answer = verb("report", folder, *flags)
    assert (answer.code, answer.err.count("\n"), (folder / "report.html").exists()) == (2, 1, False)
    mentions(answer.err, message)


def test_a_metric_of_some_runs_only_is_refused_with_their_number(folder, verb):
    def scored(run, score):
        return score if run == ("scratch", 26, 0) else replace(score, values={"dice": 0.5, "hd95": 1.0})

    change_scores(folder, scored)
    answer = verb("report", folder, "--metric", "nsd")
    assert answer.code == 2
    mentions(answer.err, "nsd was not scored in 5 of the 6 scored runs … (there are dice, hd95)")
    assert verb("report", folder).code == 0


def test_runs_of_different_regions_are_refused(folder, verb):
    change_scores(folder, lambda run, s: replace(s, region="left") if run[0] == "1" and s.region == "anterior" else s)
    answer = verb("report", folder)
    assert answer.code == 2
    mentions(answer.err, "different regions … arm 1, n 26, seed 0 on left, posterior instead of anterior, posterior")


def test_before_anything_is_scored_no_region_is_known(make_study, verb):
    left_out = {(arm, 26, seed): "waiting" for arm in ("scratch", "1") for seed in (0, 1, 2)}
    folder = make_study(**TWO, left_out=left_out)
    answer = verb("report", folder, "--region", "anterior")
    assert answer.code == 2
    mentions(answer.err, "no region 'anterior' … no run has been scored yet")
    assert verb("report", folder, "--metric", "nsd").code == 0
