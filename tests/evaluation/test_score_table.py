import logging
import math
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.transforms import AsDiscreted
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter

from monai_tl.errors import ConfigError, DataError
from monai_tl.evaluation import score_table as module
from monai_tl.evaluation.score_record import ScoreRecord, read_record
from monai_tl.evaluation.score_table import MeanCaseDice, ScoreTable, read_scores, write_scores
from monai_tl.evaluation.scores import Scoring, over_regions, score_case, summarise
from tests.conftest import mentions, score_of

NAN = math.nan


def box(start, shape=(30, 30, 30), size=10):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(s, s + size) for s in start)] = True
    return mask


def same(left, right):
    """Equal to the bit, NaN equal to NaN."""
    return repr(left) == repr(right)


@pytest.mark.parametrize(("axis", "mm"), [(0, 3.0), (1, 1.5), (2, 7.5)])
def test_a_box_moved_by_three_voxels(axis, mm):
    """Overlap is 7 of 10 slices; the face moved out, a fifth of the surface, lies 3 voxels off: so does the 95th %."""
    start = [8, 8, 8]
    start[axis] += 3
    score = score_case("A", box(start), box((8, 8, 8)), spacing=(1.0, 0.5, 2.5), seconds=2)
    assert score.values["dice"] == pytest.approx(7 / 10, abs=1e-7)
    assert score.values["hd95"] == mm
    assert score.reference_ml == score.prediction_ml == 1000 * 1.25 / 1000
    assert (score.subject, score.seconds) == ("A", 2.0)


def test_boxes_of_different_sizes_distinguish_prediction_from_reference():
    score = score_case("A", box((5, 5, 5), size=4), box((5, 5, 5), size=6), (1, 1, 1), 0)
    assert score.values["dice"] == pytest.approx(2 * 64 / (64 + 216), abs=1e-7)
    assert score.prediction_ml == pytest.approx(0.064)
    assert score.reference_ml == pytest.approx(0.216)


@pytest.mark.parametrize("swapped", [False, True])
def test_hausdorff_is_the_larger_of_the_two_directed_percentiles(swapped):
    """Directed distances are {0} and {0, 10}, with 95th percentiles 0 and 9.5; {0, 0, 10} together would give 9."""
    one, two = np.zeros((2, 20, 4, 4), dtype=bool)
    one[2, 2, 2] = two[2, 2, 2] = two[7, 2, 2] = True
    pair = (two, one) if swapped else (one, two)
    assert score_case("A", *pair, (2.0, 1.0, 1.0), 0).values["hd95"] == 9.5


@pytest.mark.parametrize("seed", range(3))
def test_hausdorff_agrees_with_a_distance_transform(seed):
    rng = np.random.default_rng(seed)
    spacing = (0.9, 1.2, 3.0)
    prediction, reference = (gaussian_filter(rng.normal(size=(28, 25, 18)), 2) > 0.05 for _ in range(2))
    surfaces = [mask & ~binary_erosion(mask) for mask in (prediction, reference)]
    directed = [
        np.percentile(distance_transform_edt(~there, sampling=spacing)[here], 95) for here, there in (surfaces, surfaces[::-1])
    ]
    score = score_case("A", prediction, reference, spacing, 0)
    assert score.values["hd95"] == pytest.approx(max(directed), rel=1e-6)
    assert score.values["dice"] == pytest.approx(2 * (prediction & reference).sum() / (prediction.sum() + reference.sum()))


EMPTY = np.zeros((30, 30, 30), dtype=bool)


@pytest.mark.parametrize(
    ("prediction", "reference", "dice"),
    [(EMPTY, EMPTY, NAN), (EMPTY, box((1, 1, 1)), 0.0), (box((1, 1, 1)), EMPTY, 0.0)],
)
def test_what_is_undefined_stays_undefined(prediction, reference, dice):
    expected = score_of("A", dice, NAN, float(reference.sum()) / 1000, float(prediction.sum()) / 1000, 0.0)
    assert same(score_case("A", prediction, reference, (1, 1, 1), 0), expected)


def test_tensors_arrays_and_flipped_views_score_alike():
    a, b = box((3, 4, 5)), box((5, 5, 5))
    expected = score_case("A", a, b, (1, 2, 3), 0)
    tensors = (torch.as_tensor(a, dtype=torch.float32), MetaTensor(torch.as_tensor(b, dtype=torch.uint8)))
    assert same(score_case("A", *tensors, torch.tensor([1.0, 2.0, 3.0]), 0), expected)
    assert same(score_case("A", a[::-1], b[::-1], (1, 2, 3), 0), expected)


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        (
            np.zeros((30, 30, 31), bool),
            r"shape \(30, 30, 31\).*\(30, 30, 30\)",
        ),
        (np.zeros((1, 30, 30, 30), bool), r"shape \(1, 30, 30, 30\)"),
        (np.full((30, 30, 30), 0.3), "A: the prediction holds other values than 0 and 1"),
        (np.full((30, 30, 30), NAN), "A: the prediction holds other values than 0 and 1"),
    ],
)
def test_volumes_that_cannot_be_scored(prediction, message):
    with pytest.raises(DataError, match=message):
        score_case("A", prediction, EMPTY, (1, 1, 1), 0)


CASES = [
    score_of("IXI012", 0.1 + 0.2, 1 / 3, 1e-17, 12345.678901234567, 5e-324),
    score_of('odd, "id"', NAN, NAN, 0.0, 0.0, 1.0),
    score_of("missed", 0.0, NAN, 2.5, 0.0, 1.0),
    score_of("false alarm", 0.0, NAN, 0.0, 2.5, 1.0),
]


def test_the_table_comes_back_bit_for_bit(tmp_path):
    path = tmp_path / "scores_test.csv"
    write_scores(path, CASES)
    assert same(read_scores(path), CASES)
    lines = path.read_text().split("\n")
    assert lines[0] == "subject,region,metric,value,unit,reason"
    assert lines[11:16] == [
        "missed,,dice,0.0,,",
        "missed,,hd95,nan,mm,prediction empty",
        "missed,,reference_ml,2.5,ml,",
        "missed,,prediction_ml,0.0,ml,",
        "missed,,seconds,1.0,s,",
    ]


def test_numpy_numbers_are_written_as_plain_ones(tmp_path):
    write_scores(tmp_path / "a.csv", [score_of("A", *(np.float64(0.1) for _ in range(5)))])
    assert (
        (tmp_path / "a.csv")
        .read_text()
        .endswith("\nA,,dice,0.1,,\nA,,hd95,0.1,mm,\nA,,reference_ml,0.1,ml,\nA,,prediction_ml,0.1,ml,\nA,,seconds,0.1,s,\n")
    )


HEADER = "subject,region,metric,value,unit\n"
MEASURED = "{0},,reference_ml,1,ml\n{0},,prediction_ml,1,ml\n{0},,seconds,1,s\n"
A, B = (f"{name},,dice,1,\n{MEASURED.format(name)}" for name in "AB")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("subject,dice,hd95_mm,seconds\nA,1,1,1\n", r"line 1 lacks the column region, metric, value, unit .*: run"),
        ("", "lacks the column subject, region"),
        (HEADER, "holds no cases: run"),
        (HEADER + A + B + A, "holds dice of A more than once: run"),
        (HEADER + A + "B,,hd95,1,mm\n" + B, "holds hd95 of some cases only .B differs.: run"),
        (HEADER + A + MEASURED.format("B"), "holds dice of some cases only .B differs.: run"),
        (HEADER + A + "B,,dice,1,\n", "holds prediction_ml of some cases only .B differs.: run"),
        (HEADER + A + "B,1,0,1\n", r"scores_validation\.csv, line 6 has 4 cells.* 5 .*: run"),
        (HEADER + "A,,dice,high,\n", "line 2 has value 'high'.* a number: run"),
    ],
)
def test_a_table_that_cannot_be_read_says_what_to_run(tmp_path, text, message):
    path = tmp_path / "scores_validation.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_scores(path)
    mentions(str(caught.value), f"`monai_tl evaluate --run {tmp_path} --split validation`")


def test_missing_scores_say_what_to_run(tmp_path):
    with pytest.raises(ConfigError, match=r"run7.scores_test\.csv.*`monai_tl.*--run.*run7"):
        read_scores(tmp_path / "run7" / "scores_test.csv")


def test_the_summary_counts_what_it_does_not_average():
    dice = [0.9, 0.6, 0.0, 0.0, NAN, 0.9]
    reference = [1, 1, 1, 0, 0, 1]
    cases = [score_of(str(n), d, NAN, r, 0, 0) for n, (d, r) in enumerate(zip(dice, reference, strict=True))]
    total = summarise(cases)
    assert (total.n, total.undefined, total.misses) == (6, 1, 1), "a false alarm is no miss"
    assert total.mean == pytest.approx(2.4 / 5)
    assert total.median == 0.6


def test_the_volume_bias_is_over_all_cases_and_signed():
    """Two ml too much, one too little, a false alarm of three: (2 - 1 + 3) / 3 ml, of a mean reference of 8/3 ml."""
    cases = [score_of("A", 0.8, NAN, 4, 6, 0), score_of("B", 0.8, NAN, 4, 3, 0), score_of("C", 0.0, NAN, 0, 3, 0)]
    bias = summarise(cases).bias
    assert (bias.ml, bias.share) == (pytest.approx(4 / 3), pytest.approx(0.5))
    assert str(bias) == "+1.33 ml (+50 %)"
    assert str(summarise(cases[1:2]).bias) == "−1.00 ml (−25 %)"
    assert str(summarise(cases[2:]).bias) == "+3.00 ml", "no share of nothing"
    assert str(summarise([]).bias) == "none"


@pytest.mark.parametrize("cases", [[], [score_of("A", NAN, NAN, 0, 0, 0)]])
def test_a_summary_of_nothing_defined_is_nan(cases):
    total = summarise(cases)
    assert (total.n, total.undefined, total.misses) == (len(cases), len(cases), 0)
    assert math.isnan(total.mean)
    assert math.isnan(total.median)


AFFINE = torch.tensor([[0.0, -2.0, 0, 5], [1.0, 0, 0, 7], [0, 0, 2.5, 9], [0, 0, 0, 1]], dtype=torch.float64)
TRUE = {"A": box((8, 8, 8)), "B": box((8, 8, 8)), "C": EMPTY}
GUESS = {"A": box((8, 8, 11)), "B": box((8, 9, 8)), "C": EMPTY}


def case(subject):
    image, label = (
        MetaTensor(torch.as_tensor(mask[subject][None], dtype=torch.float32), affine=AFFINE) for mask in (GUESS, TRUE)
    )
    return {"subject": subject, "image": image, "label": label}


def evaluator(
    path, subjects="ABC", load=case, batch_size=1, network=None, post=True, first=(), regions=("",), record=None, **settings
):
    """MONAI's own engine round a network that hands its image through."""
    return SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(list(subjects), load), batch_size=batch_size),
        network=network or torch.nn.Identity(),
        postprocessing=AsDiscreted("pred", threshold=0.5) if post else None,
        val_handlers=[*first, ScoreTable(str(path), record, Scoring(regions))],
        **settings,
    )


@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_evaluator_scores_every_case_on_its_grid(tmp_path, caplog, batch_size):
    """The affine turns i and j and has voxels of 1 × 2 × 2.5 mm."""
    path = tmp_path / "run" / "scores_test.csv"
    with caplog.at_level(logging.INFO, logger=module.__name__):
        evaluator(path, batch_size=batch_size).run()
    rows = read_scores(path)
    assert [row.subject for row in rows] == ["A", "B", "C"]
    assert [row.values["dice"] for row in rows[:2]] == pytest.approx([0.7, 0.9])
    assert [row.values["hd95"] for row in rows[:2]] == [7.5, 2.0]
    assert [row.reference_ml for row in rows] == [5.0, 5.0, 0.0]
    assert math.isnan(rows[2].values["dice"])
    assert all(row.seconds > 0 for row in rows)
    mentions(caplog.text, "Dice … 0.800 … 0.800 … 3 cases; 1")


def test_the_metric_of_validation_is_the_mean_of_the_table(tmp_path):
    """A false alarm counts 0, where nothing is and nothing was found is left out."""
    engine = evaluator(tmp_path / "a.csv", key_val_metric={"val_dice": MeanCaseDice()})
    engine.run()
    assert engine.state.metrics["val_dice"] == summarise(read_scores(tmp_path / "a.csv")).mean == pytest.approx(0.8)
    alarm = evaluator(tmp_path / "b.csv", load=lambda name: {**case(name), "image": case("A")["image"]})
    MeanCaseDice().attach(alarm, "val_dice")
    alarm.run()
    assert read_scores(tmp_path / "b.csv")[2].values["dice"] == 0
    assert alarm.state.metrics["val_dice"] == pytest.approx((0.7 + 0.7 + 0) / 3)
    alarm.run()
    assert alarm.state.metrics["val_dice"] == pytest.approx((0.7 + 0.7 + 0) / 3), "each validation starts from zero"
    nothing = evaluator(tmp_path / "c.csv", subjects="C", key_val_metric={"val_dice": MeanCaseDice()})
    nothing.run()
    assert math.isnan(nothing.state.metrics["val_dice"])


def test_what_scores_are_of_is_written_with_them(tmp_path):
    record = ScoreRecord("test", "d.json", "d", True, {}, "model.pt", "w", [8, 8, 8], 0.25, "float32", {"spacing": [1, 1, 1]})
    engine = evaluator(tmp_path / "scores_test.csv")
    table = ScoreTable(str(tmp_path / "scores_test.csv"), record)
    table.attach(engine)
    engine.run()
    found, whole = read_record(tmp_path / "scores_test.csv")
    assert whole
    assert (found.split, found.weights_sha256, found.window, found.settings) == ("test", "w", [8, 8, 8], {"spacing": [1, 1, 1]})
    assert list(found.references) == ["A", "B", "C"]
    assert found.references["A"] == found.references["B"] != found.references["C"], "of voxels and grid alone"
    with open(tmp_path / "scores_test.csv", "a") as file:
        file.write("D,1.0,0.0,1.0,1.0,1.0,\n")
    assert read_record(tmp_path / "scores_test.csv") == (found, False)


BOTH = ("core", "whole")


def two_regions(subject):
    """Region ``core`` is scored as above; ``whole`` is the same box in reference and prediction."""
    whole = torch.as_tensor(box((2, 2, 2))[None], dtype=torch.float32)
    one = case(subject)
    image, label = (MetaTensor(torch.cat([one[key].as_tensor(), whole]), affine=AFFINE) for key in ("image", "label"))
    return {"subject": subject, "image": image, "label": label}


@pytest.mark.parametrize("batch_size", [1, 2])
def test_each_region_of_a_case_has_its_row(tmp_path, caplog, batch_size):
    metric = MeanCaseDice(BOTH)
    with caplog.at_level(logging.INFO, logger=module.__name__):
        engine = evaluator(
            tmp_path / "a.csv", load=two_regions, batch_size=batch_size, regions=BOTH, key_val_metric={"val_dice": metric}
        )
        engine.run()
    rows = read_scores(tmp_path / "a.csv")
    assert [(row.subject, row.region) for row in rows] == [(subject, region) for subject in "ABC" for region in BOTH]
    assert [row.values["dice"] for row in rows[:5]] == pytest.approx([0.7, 1.0, 0.9, 1.0, NAN], nan_ok=True)
    assert [row.values["hd95"] for row in rows[:4]] == [7.5, 0.0, 2.0, 0.0]
    assert {row.reference_ml for row in rows[:4]} == {5.0}
    mean = ((0.7 + 1) / 2 + (0.9 + 1) / 2 + 1) / 3
    assert engine.state.metrics["val_dice"] == pytest.approx(mean)
    assert engine.state.metrics["val_dice"] == summarise(over_regions(rows)).mean
    assert engine.state.metric_details["val_dice"] == {"core": pytest.approx(0.8), "whole": pytest.approx(1.0)}
    mentions(caplog.text, f"Dice … {mean:.3f}", "core: Dice … 0.800 … 3 cases; 1", "whole: Dice … 1.000")


def test_the_reference_of_several_regions_is_hashed_whole(tmp_path):
    record = ScoreRecord("test", "d.json", "d", True, {}, "model.pt", "w", [8, 8, 8], 0.25, "float32", {})

    def references(load):
        evaluator(tmp_path / "scores_test.csv", load=load, regions=BOTH, record=record).run()
        return read_record(tmp_path / "scores_test.csv")[0].references

    def other_whole(subject):
        changed = two_regions(subject)
        changed["label"][1, 0, 0, 0] = 1
        return changed

    def ignored(subject):
        changed = two_regions(subject)
        changed["label"][:, 0, 0, 0] = -1
        return changed

    whole = references(two_regions)
    assert whole["A"] == whole["B"] != whole["C"]
    assert len({one["A"] for one in (whole, references(other_whole), references(ignored))}) == 3


def test_ignored_voxels_count_nowhere(tmp_path):
    """A guess of 8 × 10 × 10 voxels, of which two slices are ignored, as are two of the 10 slices of the reference.

    Reference 2..11, guess 5..12 along i; ignored are 2, 3 and 11, 12: left are 4..10 (7 slices) and 5..10 (6).
    """
    reference, guess = np.zeros((2, 1, 30, 30, 30), np.float32)
    reference[0, 2:12, :10, :10] = 1
    guess[0, 5:13, :10, :10] = 1
    reference[0, [2, 3, 11, 12]] = -1

    def load(subject):
        image, label = (MetaTensor(torch.as_tensor(volume), affine=AFFINE) for volume in (guess, reference))
        return {"subject": subject, "image": image, "label": label}

    engine = evaluator(tmp_path / "a.csv", "A", load, key_val_metric={"val_dice": MeanCaseDice()})
    engine.run()
    (row,) = read_scores(tmp_path / "a.csv")
    assert row.values["dice"] == pytest.approx(2 * 6 / (6 + 7))
    assert engine.state.metrics["val_dice"] == row.values["dice"]
    assert (row.reference_ml, row.prediction_ml) == (pytest.approx(700 * 5 / 1000), pytest.approx(600 * 5 / 1000))


def test_a_voxel_ignored_in_one_region_counts_in_the_other(tmp_path):
    """As -1 stands in each channel of its own."""

    def load(subject):
        one = two_regions(subject)
        one["label"][0, :9] = -1  # one of ten slices of the core's reference; none of the guess's overlap is lost elsewhere
        return one

    evaluator(tmp_path / "a.csv", "A", load, regions=BOTH).run()
    core, whole = read_scores(tmp_path / "a.csv")
    assert whole.values["dice"] == 1
    assert whole.reference_ml == 5.0
    assert core.reference_ml == pytest.approx(4.5)


TWO = [
    score_of("A", 0.1 + 0.2, 1 / 3, 2.0, 3.0, 1.0, "tumour core"),
    score_of("A", NAN, NAN, 0.0, 0.0, 1.0, 'a "name", odd'),
    score_of("B", 0.5, 1.0, 2.0, 3.0, 1.0, "tumour core"),
    score_of("B", 0.25, 1.0, 2.0, 3.0, 1.0, 'a "name", odd'),
]


def test_a_table_of_two_regions_comes_back_bit_for_bit(tmp_path):
    write_scores(tmp_path / "scores_test.csv", TWO)
    assert same(read_scores(tmp_path / "scores_test.csv"), TWO)
    assert (tmp_path / "scores_test.csv").read_text().split("\n")[11] == "B,tumour core,dice,0.5,,"


def test_a_region_that_stands_twice_is_refused(tmp_path):
    write_scores(tmp_path / "scores_test.csv", [*TWO, TWO[2]])
    with pytest.raises(DataError) as refusal:
        read_scores(tmp_path / "scores_test.csv")
    mentions(str(refusal.value), "B tumour core … once … monai_tl evaluate")


@pytest.mark.parametrize(("batch_size", "seconds"), [(1, 5.0), (2, 3.5)])
def test_the_clock_runs_over_loading_and_network_but_not_over_metrics(tmp_path, monkeypatch, batch_size, seconds):
    """Loading a case takes 2 s, the network 3 s a batch, a metric 100 s."""
    now = [0.0]

    def load(subject):
        now[0] += 2
        return case(subject)

    class Slow(torch.nn.Module):
        def forward(self, image):
            now[0] += 3
            return image

    class Metric:
        def attach(self, engine):
            engine.add_event_handler(Events.ITERATION_COMPLETED, self.measure)

        def measure(self):
            now[0] += 100

    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    evaluator(tmp_path / "a.csv", "AB", load, batch_size, Slow(), first=[Metric()]).run()
    assert [row.seconds for row in read_scores(tmp_path / "a.csv")] == [seconds, seconds]


def test_an_evaluator_run_twice_starts_a_new_table(tmp_path):
    engine = evaluator(tmp_path / "a.csv")
    engine.run()
    engine.run()
    assert [row.subject for row in read_scores(tmp_path / "a.csv")] == ["A", "B", "C"]


def without_affine(subject):
    return {**case(subject), "label": torch.as_tensor(TRUE[subject][None])}


def on_another_grid(subject):
    return {**case(subject), "label": MetaTensor(torch.zeros(1, 30, 30, 29), affine=AFFINE)}


def three_channels(subject):
    return {**case(subject), "label": MetaTensor(torch.zeros(3, 30, 30, 30), affine=AFFINE)}


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"subjects": "ABA"}, DataError, "A .*twice"),
        ({"load": without_affine}, DataError, "A: .*label.*affine"),
        (
            {"load": on_another_grid},
            DataError,
            r"shape \(30, 30, 30\).*\(30, 3",
        ),
        ({"load": three_channels}, DataError, r"volume.*shape \(3, 30, 30, 30\).*\(1.*k\)"),
        ({"regions": ("core", "whole")}, DataError, r"volume.*shape \(1, 30, 30, 30\).*\(2.*k\)"),
        (
            {"network": torch.nn.Softplus(), "post": False},
            DataError,
            "A: the prediction holds other values than 0 and 1",
        ),
        (
            {"decollate": False, "post": False},
            ConfigError,
            "decollate=True",
        ),
    ],
)
def test_a_run_that_fails_leaves_no_table(tmp_path, settings, error, message):
    with pytest.raises(error, match=message):
        evaluator(tmp_path / "a.csv", **settings).run()
    assert os.listdir(tmp_path) == []
