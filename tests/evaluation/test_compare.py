import math
from dataclasses import replace

import numpy as np
import pytest

from monai_tl.errors import ConfigError, DataError
from monai_tl.evaluation.compare import compare_runs, mean_interval
from monai_tl.evaluation.comparison_text import format_comparison
from monai_tl.evaluation.score_table import read_scores
from monai_tl.evaluation.scores import Score
from monai_tl.statistics import compare_arms
from monai_tl.statistics.score_array import StudyScore
from monai_tl.training.metrics_table import write_metrics
from tests.conftest import leave_scores, mentions, score_of

NAN = math.nan


@pytest.fixture
def run(tmp_path):
    """Make a run folder with these Dice values, by subject."""

    def make(name, dice, reference_ml=2.0, split="test", **parts):
        cases = [score_of(subject, value, 1.0, reference_ml, 2.0, 1.0) for subject, value in dice.items()]
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "model.pt").write_bytes(b"weights")
        leave_scores(tmp_path / name, cases, split, **parts)
        return tmp_path / name

    return make


SCRATCH = {"a": 0.50, "b": 0.60, "c": 0.70, "d": 0.80, "e": 0.40, "f": 0.90}


def shifted(by):
    return {subject: SCRATCH[subject] + change for subject, change in zip(SCRATCH, by, strict=True)}


def test_hand_worked_means_and_the_paired_difference(run):
    """Pairs are by subject: the second table has its rows in another order."""
    transfer = dict(reversed(shifted([0.1, 0.0, 0.05, -0.02, 0.2, 0.03]).items()))
    found = compare_runs([run("scratch", SCRATCH), run("transfer", transfer)])
    first, second = found.runs
    assert (first.name, first.n, first.undefined) == ("scratch", 6, 0)
    assert first.mean == pytest.approx(3.9 / 6)
    assert first.median == pytest.approx(0.65)
    assert second.mean == pytest.approx((3.9 + 0.36) / 6)
    (difference,) = found.differences
    assert (difference.name, difference.first, difference.n, difference.left_out) == ("transfer", "scratch", 6, 0)
    assert difference.mean == pytest.approx(0.06)
    by = np.array([0.03, 0.2, -0.02, 0.05, 0.0, 0.1])
    assert difference.interval.low == pytest.approx(mean_interval(by, (-1, 1)).low, abs=0.004), "that of per-case differences"
    assert difference.interval.high - difference.interval.low < first.interval.high - first.interval.low


@pytest.mark.parametrize("values", [np.linspace(0.5, 0.9, 24), np.array([0.9] * 8 + [0.88, 0.91, 0.87, 0.85, 0.93, 0.8, 0.1])])
def test_the_interval_agrees_with_a_bootstrap_t_in_numpy(values):
    """Each draw's deviation, divided by its standard error, takes the place of Student's t (Efron and Tibshirani 1993)."""
    draws = np.random.default_rng(5).choice(values, size=(20000, len(values)))
    error = values.std(ddof=1) / math.sqrt(len(values))
    own = np.maximum(draws.std(axis=1, ddof=1) / math.sqrt(len(values)), error / 4)
    upper, lower = np.quantile((draws.mean(axis=1) - values.mean()) / own, [0.025, 0.975])
    found = mean_interval(values, (-1, 1), seed=1)
    assert [found.low, found.high] == pytest.approx([values.mean() - lower * error, values.mean() - upper * error], abs=0.01)


def test_intervals_stay_where_dice_can_be():
    assert mean_interval(np.array([1.0, 1.0, 1.0, 1.0, 0.1]), (0, 1)).high == 1
    assert mean_interval(np.array([-1.0, -1.0, -1.0, -1.0, 0.9]), (-1, 1)).low == -1


def test_values_that_are_all_alike_have_an_interval_without_width():
    found = mean_interval(np.full(5, 0.8), (0, 1))
    assert (found.low, found.high) == pytest.approx((0.8, 0.8))


def test_it_is_the_interval_of_a_study_with_one_seed(run):
    """`monai_tl compare` and a study's report agree on the same scores."""
    other = shifted(np.linspace(-0.1, 0.05, 6))
    (difference,) = compare_runs([run("one", SCRATCH), run("two", other)], resamples=4999).differences
    rows = [
        StudyScore(arm, 5, 0, subject, dice, 1.0, 1.0)
        for arm, table in (("scratch", SCRATCH), ("2", other))
        for subject, dice in table.items()
    ]
    (found,) = compare_arms(rows)
    assert (difference.mean, difference.interval.low, difference.interval.high) == pytest.approx(
        (found.mean, found.low, found.high)
    )


@pytest.mark.parametrize("values", [[], [0.8]])
def test_one_case_has_no_interval(values):
    found = mean_interval(np.array(values), (0, 1))
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert not found.known


def test_the_seed_decides_the_draw_and_other_runs_do_not(run):
    runs = [run("one", SCRATCH), run("two", shifted(np.linspace(-0.1, 0.2, 6))), run("three", shifted([0.01] * 6))]
    again = compare_runs(runs, seed=3)
    assert again == compare_runs(runs, seed=3)
    assert again.differences[1] == compare_runs([runs[0], runs[2]], seed=3).differences[0]
    few = [compare_runs(runs, seed=seed, resamples=200).runs[0].interval for seed in (3, 4)]
    assert few[0] != few[1]


def test_undefined_cases_are_left_out_of_the_pair_and_counted(run):
    nothing_there = {**SCRATCH, "a": NAN, "b": NAN}
    false_alarm = {**shifted([0.1] * 6), "a": 0.0, "c": NAN}
    found = compare_runs([run("one", nothing_there), run("two", false_alarm)])
    assert [(r.n, r.undefined) for r in found.runs] == [(6, 2), (6, 1)]
    assert found.runs[0].mean == pytest.approx((0.7 + 0.8 + 0.4 + 0.9) / 4)
    assert not found.runs[0].interval.known, "of four cases"
    assert (found.differences[0].n, found.differences[0].left_out) == (3, 3)
    assert found.differences[0].mean == pytest.approx(0.1)
    assert "over 3 cases (3 omitted as undefined)" in format_comparison(found)


def test_different_subjects_are_named(run):
    one, two = run("one", {"a": 0.5, "b": 0.5, "c": 0.5}), run("two", {"b": 0.5, "z": 0.5})
    with pytest.raises(DataError, match="two lacks a, c.*one lacks z"):
        compare_runs([one, two])


def test_different_references_are_refused(run):
    with pytest.raises(DataError, match="volume.*a, b"):
        compare_runs([run("one", {"a": 0.5, "b": 0.5}), run("two", {"b": 0.5, "a": 0.5}, reference_ml=2.1)])


def test_runs_that_cannot_be_compared(run, tmp_path):
    one = run("one", SCRATCH)
    with pytest.raises(ConfigError, match="no run to compare"):
        compare_runs([])
    with pytest.raises(ConfigError, match="once: .*one, .*one"):
        compare_runs([one, tmp_path / "x" / ".." / "one"])
    with pytest.raises(ConfigError, match=r"two.scores_test\.csv.*--run .*two --sp"):
        compare_runs([one, tmp_path / "two"])
    with pytest.raises(ConfigError, match=r"scores_validation\.csv.*`monai_tl evaluate.*--split validation`"):
        compare_runs([one], split="validation")


def test_runs_of_one_name_go_by_their_paths(run):
    runs = [run("x/seed0", SCRATCH), run("y/seed0", SCRATCH)]
    assert [result.name for result in compare_runs(runs).runs] == [str(path) for path in runs]


@pytest.mark.parametrize(
    ("by", "words"),
    [
        ([-0.1, 0.1, -0.05, 0.05, 0.02, -0.02], "the interval contains 0"),
        ([0.1, 0.12, 0.15, 0.11, 0.1, 0.13], "the interval excludes 0: transfer scores higher on these cases"),
        ([-0.1, -0.12, -0.15, -0.11, -0.1, -0.13], "the interval excludes 0: transfer scores lower on these cases"),
        ([0.0] * 6, "transfer − scratch: +0.000 [+0.000, +0.000] over 6 cases: the interval contains 0"),
    ],
)
def test_the_sentence_says_what_the_interval_says(run, by, words):
    text = format_comparison(compare_runs([run("scratch", SCRATCH), run("transfer", shifted(by))]))
    mentions(text, words)
    mentions(text, "Fewer … 10 cases")


def test_the_table_is_aligned_and_complete(run):
    same_twice = {f"s{n:02}": 0.5 for n in range(10)}
    found = compare_runs([run("scratch", same_twice), run("a_longer_name", dict.fromkeys(same_twice, 0.75))])
    assert format_comparison(found).split("\n") == [
        f"Dice on the test split, 10 cases of /data/datalist.json (sha256 {'d' * 12})",
        "run            cases  undefined  mean Dice   95 % interval  median      volume bias",
        "scratch           10          0      0.500  [0.500, 0.500]   0.500  +0.00 ml (+0 %)",
        "a_longer_name     10          0      0.750  [0.750, 0.750]   0.750  +0.00 ml (+0 %)",
        "",
        "a_longer_name − scratch: +0.250 [+0.250, +0.250] over 10 cases: "
        "the interval excludes 0: a_longer_name scores higher on these cases",
    ]


@pytest.mark.parametrize(("last", "few"), [(0.7, False), (NAN, True)])
def test_few_means_few_that_are_defined(run, last, few):
    ten = {**{f"s{n}": 0.1 * n for n in range(9)}, "last": last}
    assert ("Fewer than 10 cases" in format_comparison(compare_runs([run("one", ten)]))) == few


def test_too_few_cases_for_any_interval_still_read_well(run):
    one_case = format_comparison(compare_runs([run("one", {"a": 0.5}), run("two", {"a": 0.4})]))
    assert "two − one: −0.100 over 1 case: too few for an interval" in one_case
    assert "none" in one_case
    assert "nan" not in one_case
    none = format_comparison(compare_runs([run("three", {"a": NAN}), run("four", {"a": 0.4})]))
    assert "four − three: no case is defined in both (1 omitted as undefined)" in none
    assert "−" not in format_comparison(compare_runs([run("alone", SCRATCH)])), "one run has nothing to differ from"


def test_scores_of_cases_that_were_trained_on_say_so(tmp_path):
    """Whoever accepted it: whoever reads the comparison has to know."""
    runs = [tmp_path / "scratch", tmp_path / "transfer"]
    cases = [score_of("a", 0.5, 1.0, 2.0, 2.0, 1.0), score_of("b", 0.6, 1.0, 2.0, 2.0, 1.0)]
    for run, seen in zip(runs, (None, {"accepted": True, "shared": 2, "said": []}), strict=True):
        run.mkdir()
        leave_scores(run, cases, seen=seen)
    notes = compare_runs(runs).notes
    (note,) = [note for note in notes if "(accepted)" in note]
    mentions(note, "transfer: 2 of the cases … before (accepted) … too high")


def test_a_run_whose_best_validation_is_its_last_is_named(run):
    """Its Dice may still have been rising: the difference to it says less."""
    rising, settled = run("rising", SCRATCH), run("settled", SCRATCH)
    for folder, dice in ((rising, (0.1, 0.2, 0.4)), (settled, (0.1, 0.4, 0.2))):
        rows = [
            {"iteration": 50 * n, "loss": 1.0, "val_dice": d, "learning_rate": 1e-3, "seconds": 1.0} for n, d in enumerate(dice)
        ]
        write_metrics(folder / "metrics.csv", rows)
    (remark,) = compare_runs([settled, rising, run("uncurved", SCRATCH)]).notes
    assert remark.startswith("rising: the best validation is the last one")
    assert remark in format_comparison(compare_runs([settled, rising]))


def test_fewer_than_five_cases_give_no_interval():
    assert not mean_interval(np.array([0.1, 0.2, 0.3, 0.4]), (0, 1)).known
    assert mean_interval(np.array([0.1, 0.2, 0.3, 0.4, 0.6]), (0, 1)).known


BY_REGION = {
    "one": {"core": SCRATCH, "whole": dict.fromkeys(SCRATCH, 0.9)},
    "two": {"core": shifted([0.1] * 6), "whole": dict.fromkeys(SCRATCH, 0.8)},
}


@pytest.fixture
def run_of_regions(tmp_path):
    """Make a run folder with these Dice values, by region and subject."""

    def make(name, table, reference_ml=2.0):
        cases = [
            score_of(subject, dice, 1.0, reference_ml, 2.0, 1.0, region)
            for subject in SCRATCH
            for region, of in table.items()
            if (dice := of.get(subject)) is not None
        ]
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "model.pt").write_bytes(b"weights")
        leave_scores(tmp_path / name, cases)
        return tmp_path / name

    return make


@pytest.fixture
def two_runs(run_of_regions):
    return [run_of_regions(name, table) for name, table in BY_REGION.items()]


def test_runs_of_several_regions_are_compared_by_each_case_s_mean(two_runs):
    """Of each case (core + whole) / 2: the core gains 0.1, the whole loses 0.1."""
    found = compare_runs(two_runs)
    assert (found.runs[0].n, found.region) == (6, ""), "cases, not rows"
    assert found.runs[0].mean == pytest.approx((0.65 + 0.9) / 2)
    assert found.differences[0].mean == pytest.approx(0.0)
    assert found.by_region == {
        "core": {"one": pytest.approx(0.65), "two": pytest.approx(0.75)},
        "whole": {"one": pytest.approx(0.9), "two": pytest.approx(0.8)},
    }


@pytest.mark.parametrize(("region", "by"), [("core", 0.1), ("whole", -0.1)])
def test_one_region_can_be_compared_by_itself(two_runs, region, by):
    found = compare_runs(two_runs, region=region)
    assert found.region == region
    assert found.differences[0].mean == pytest.approx(by)
    text = format_comparison(found)
    assert text.startswith(f"Dice of {region} on the test split, 6 cases")
    assert f"two − one: {by:+.3f}".replace("-", "−") in text


def test_the_means_of_each_region_stand_in_a_table_of_their_own(two_runs):
    text = format_comparison(compare_runs(two_runs)).split("\n")
    assert text[0].startswith("Dice, mean over regions on the test split, 6 cases")
    at = text.index("mean Dice    one    two")
    assert text[at - 1 : at + 4] == [
        "",
        "mean Dice    one    two",
        "core       0.650  0.750",
        "whole      0.900  0.800",
        "",
    ]


def test_a_region_that_a_case_lacks_is_undefined_in_it_alone(run_of_regions):
    """Neither run has any core in case a: its Dice is that of the whole tumour."""
    tables = [{**table, "core": {**table["core"], "a": NAN}} for table in BY_REGION.values()]
    found = compare_runs([run_of_regions(name, table) for name, table in zip(("one", "two"), tables, strict=True)])
    assert found.runs[0].undefined == 0
    assert found.runs[0].mean == pytest.approx((0.9 + sum((SCRATCH[s] + 0.9) / 2 for s in "bcdef")) / 6)
    assert found.by_region["core"]["one"] == pytest.approx(sum(SCRATCH[s] for s in "bcdef") / 5)


def test_means_over_unequal_regions_are_noted(run_of_regions):
    """The second run finds no core in case a: its distance is then that of the other region, as if the miss cost nothing."""
    runs = [run_of_regions(name, table) for name, table in BY_REGION.items()]
    scores = read_scores(runs[1] / "scores_test.csv")
    missed = replace(scores[0], values={"dice": 0.0, "hd95": NAN})
    leave_scores(runs[1], [missed, *scores[1:]])
    assert compare_runs(runs).notes == (), "Dice of a missed region is 0"
    (note,) = compare_runs(runs, metric="hd95").notes
    mentions(note, "two: in 1 case … 95 % Hausdorff distance … --region")
    assert compare_runs(runs, metric="hd95", region="whole").notes == ()


def test_the_direction_of_a_metric_is_said(run):
    """Distances, of which less is better, are compared with their unit."""
    near, far = (run(name, SCRATCH) for name in ("near", "far"))
    for folder, mm in ((near, 1.0), (far, 3.0)):
        leave_scores(folder, [score_of(subject, 0.5, mm + at / 10, 2.0, 2.0, 1.0) for at, subject in enumerate(SCRATCH)])
    found = compare_runs([far, near], metric="hd95")
    assert found.differences[0].mean == pytest.approx(-2.0)
    mentions(
        format_comparison(found),
        "95 % Hausdorff distance (lower is better) on the test split",
        "mean 95 % Hausdorff distance, mm",
        "near − far: −2.000 … near scores lower on these cases, which is better",
    )


def test_a_metric_that_was_not_scored_names_the_command(run):
    with pytest.raises(ConfigError) as refusal:
        compare_runs([run("one", SCRATCH)], metric="nsd")
    mentions(str(refusal.value), "nsd was not scored (there are dice, hd95): monai_tl evaluate --run … --metrics dice,hd95,nsd")


def test_other_tolerances_are_not_compared(run):
    runs = [run(name, SCRATCH) for name in ("one", "two")]
    for folder, mm in zip(runs, (1.0, 2.0), strict=True):
        scores = [Score(subject, {"dice": dice, "nsd": 0.5}, 2.0, 2.0, 1.0) for subject, dice in SCRATCH.items()]
        leave_scores(folder, scores, tolerance_mm={"": mm})
    assert compare_runs(runs).differences[0].mean == 0
    with pytest.raises(DataError, match="one and two .* tolerances"):
        compare_runs(runs, metric="nsd")


def test_a_region_that_no_run_was_scored_on_is_refused(two_runs, run):
    with pytest.raises(DataError) as refusal:
        compare_runs(two_runs, region="cor")
    mentions(str(refusal.value), "'cor' … 'core' … core, whole")


def test_runs_on_different_regions_are_refused(two_runs, run_of_regions, run):
    core, whole = BY_REGION["one"]["core"], BY_REGION["one"]["whole"]
    for other, listed in (
        ({"core": core, "enhancing": whole}, "core, whole; core, enhancing"),
        ({"core": core}, "core, whole; core"),
    ):
        name = f"other{len(other)}"
        with pytest.raises(DataError) as refusal:
            compare_runs([two_runs[0], run_of_regions(name, other)])
        mentions(str(refusal.value), f"one and {name} … regions … {listed}")
    with pytest.raises(DataError, match="different regions"):
        compare_runs([run("unnamed", core), two_runs[0]])


def test_the_order_of_the_regions_does_not_matter(two_runs, run_of_regions):
    turned = run_of_regions("turned", dict(reversed(BY_REGION["two"].items())))
    assert compare_runs([two_runs[0], turned]).differences[0].mean == pytest.approx(0.0)


def test_a_single_region_is_compared_whatever_it_is_called(run, run_of_regions):
    """A network by the name of hippocampus can be compared with one of an earlier version, which had no name."""
    found = compare_runs([run("unnamed", SCRATCH), run_of_regions("named", {"hippocampus": shifted([0.1] * 6)})])
    assert found.differences[0].mean == pytest.approx(0.1)
    assert found.by_region == {}
    assert format_comparison(found).startswith("Dice on the test split")
