"""Training sets are nested, stratified, a function of seed and volumes alone; lists and numbers that are none are refused."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from monai_tl.datasets.datalist import read_datalist
from monai_tl.datasets.label_volumes import foreground_volumes
from monai_tl.errors import ConfigError, DataError
from monai_tl.study.subsets import Size, drawing_order, read_sizes, training_set

TRAIN = [f"s{n:03d}" for n in range(105)]
VOLUMES = {subject: float((7 * n) % 105) ** 2 for n, subject in enumerate(TRAIN)}


@pytest.mark.parametrize("seed", range(5))
def test_every_size_gives_each_quarter_its_share_within_one(seed):
    order = drawing_order(VOLUMES, seed)
    assert sorted(order) == TRAIN
    ranked = sorted(TRAIN, key=VOLUMES.__getitem__)
    quarters = [set(part) for part in np.array_split(ranked, 4)]
    for n in range(1, 106):
        for quarter in quarters:
            assert abs(len(quarter & set(order[:n])) - n * len(quarter) / 105) <= 1


def test_sizes_are_nested_and_redrawn_with_each_seed():
    sizes = read_sizes(["26", "52", "all"], TRAIN, {})
    drawn = [[set(training_set(size, drawing_order(VOLUMES, seed))) for size in sizes] for seed in range(3)]
    assert all(small < middle < large for small, middle, large in drawn)
    assert [len(one) for one in drawn[0]] == [26, 52, 105]
    assert drawn[0][0] != drawn[1][0] != drawn[2][0]


def test_the_draw_depends_on_seed_and_volumes_and_not_on_the_order_they_come_in():
    backwards = dict(reversed(VOLUMES.items()))
    assert drawing_order(VOLUMES, 3) == drawing_order(backwards, 3)


@pytest.mark.parametrize(
    ("texts", "counts"),
    [(["26", "52"], [26, 52]), (["1", "0.5", "0.25"], [26, 52, 105]), (["all"], [105]), (["1", "2"], [1, 2])],
)
def test_sizes_are_counts_or_fractions(texts, counts):
    assert [size.n for size in read_sizes(texts, TRAIN, {})] == counts


def test_named_lists_are_taken_as_they_are():
    lists = {"S1": TRAIN[:3], "S2": TRAIN[:5]}
    found = (Size(3, tuple(TRAIN[:3]), listed=True), Size(5, tuple(TRAIN[:5]), listed=True))
    assert read_sizes(["S2", "S1"], TRAIN, lists) == found
    assert training_set(Size(3, tuple(TRAIN[:3])), drawing_order(VOLUMES, 0)) == tuple(TRAIN[:3])


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        (["S1"], DataError, "1 subjects.*'S1'.*split"),
        (["S2", "S3"], DataError, "3 .*lacks s000"),
        (["S2", "1"], ConfigError, "named"),
        (["S22"], ConfigError, "'S22'.*'S2'"),
        (["200"], DataError, "size 200.*200 training subjects.*105"),
        (["0.5", "2"], ConfigError, "size.*0.*1.*'2'"),
        (["S4"], DataError, "'S4'.*s000.*once"),
        (["0.5", "0.499"], ConfigError, "sizes.*52 of 105"),
        (["0"], DataError, "1 to 105"),
        ([], ConfigError, "needs sizes"),
    ],
)
def test_sizes_that_are_none_are_refused(texts, error, message):
    lists = {"S1": ["s000", "gone"], "S2": ["s000", "s001"], "S3": ["s001", "s002", "s003"], "S4": ["s000", "s000"]}
    with pytest.raises(error, match=message):
        read_sizes(texts, TRAIN, lists)


def test_volumes_are_those_of_the_labels(phantoms):
    data = read_datalist(phantoms / "brats" / "datalist.json")
    volumes = foreground_volumes(data.split("train"), data.foreground)
    case = data.split("train")[0]
    label = np.asanyarray(nib.load(case["label"]).dataobj)
    assert volumes[case["subject"]] == pytest.approx(np.isin(label, (1, 4)).sum() / 1000)
    assert list(volumes) == list(data.splits["train"])
