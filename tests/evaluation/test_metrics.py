"""Each metric against values worked by hand and against an independent computation."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

from monai_tl.errors import ConfigError
from monai_tl.evaluation.metrics import METRICS, MaskPair, find_metrics
from monai_tl.settings.table import METRIC_NAMES
from tests.conftest import mentions

NAN = math.nan


def mask(*voxels, shape=(4, 4, 4)):
    volume = torch.zeros(shape, dtype=torch.bool)
    for voxel in voxels:
        volume[voxel] = True
    return volume


def measured(name, prediction, reference, spacing=(1.0, 1.0, 1.0), tolerance=1.0):
    return METRICS[name](MaskPair(prediction, reference, spacing, tolerance))


A, B, C = (1, 1, 1), (2, 1, 1), (3, 3, 3)  # A and B share a face, C lies apart
CORNER, EDGE = math.sqrt(3) / 8, math.sqrt(2) / 2  # surface near a corner of one voxel, and near that of two side by side


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dice", 2 * 1 / (2 + 1)),
        ("hd95", 2.0 * 0.95),  # distances 0 and 2 mm of the two predicted voxels; 95 % of the way between them
        # the surface has an element at each corner of a voxel: 8 of the reference, all on the prediction's surface; of the
        # prediction's 12, the 4 far ones lie 2 mm off
        ("asd", (0 + 2 + 0) / 3),
        ("volume_error", 1 * 0.002),
        ("relative_volume_error", 1.0),
        ("sensitivity", 1.0),
        ("precision", 0.5),
        ("lesion_f1", 1.0),
    ],
)
def test_two_voxels_predicted_of_which_one_is_right(name, value):
    """Voxels of 2 × 1 × 1 mm; the reference is A, the prediction A and B."""
    assert measured(name, mask(A, B), mask(A), (2.0, 1.0, 1.0)) == pytest.approx(value)


@pytest.mark.parametrize(("tolerance", "far"), [(0.5, 0), (1.0, 4)])
def test_the_surface_dice_is_a_share_of_area(tolerance, far):
    """Of 1 mm voxels: A has 8 corners; A and B have 8 and 4 between them, which carry more area; 4 lie 1 mm off A."""
    whole = 8 * CORNER + 8 * CORNER + 4 * EDGE
    within = 8 * CORNER + (4 + far) * CORNER + 4 * EDGE
    for pair in ((mask(A, B), mask(A)), (mask(A), mask(A, B))):
        assert measured("nsd", *pair, tolerance=tolerance) == pytest.approx(within / whole, abs=1e-6)


def test_the_surface_dice_counts_in_mm():
    """Two voxels side by side share 4 of 8 corners; the others lie one voxel off."""
    assert measured("nsd", mask(A), mask(B)) == 1
    assert measured("nsd", mask(A), mask(B), (2.0, 1.0, 1.0)) == pytest.approx(0.5)
    assert measured("nsd", mask(A), mask(B), (2.0, 1.0, 1.0), tolerance=2.0) == 1


@pytest.mark.parametrize(
    ("prediction", "reference", "f1"),
    [
        ((A, C), (A,), 2 / 3),  # one found, one false
        ((A,), (A, C), 2 / 3),  # one found, one missed
        ((C,), (A,), 0.0),  # one missed, one false
        (((1, 1, 1), (2, 2, 2)), ((1, 1, 1),), 1.0),  # voxels that share a corner are of one lesion
    ],
)
def test_lesions_are_matched_one_to_one(prediction, reference, f1):
    assert measured("lesion_f1", mask(*prediction), mask(*reference)) == pytest.approx(f1)


@pytest.mark.parametrize(("size", "f1"), [(9, 1.0), (10, 0.0)])
def test_a_lesion_is_found_above_a_tenth_of_intersection_over_union(size, f1):
    row = mask(*((i, 0, 0) for i in range(size)), shape=(16, 1, 1))
    assert measured("lesion_f1", row, mask((0, 0, 0), shape=(16, 1, 1))) == f1


def test_two_lesions_predicted_as_one_count_once():
    """The bridge matches the larger one; the other is missed: 2 · 1 / (2 + 0 + 1)."""
    row = [(i, 0, 0) for i in range(16)]
    pair = mask(*row[:9], shape=(16, 1, 1)), mask(*row[:3], *row[4:9], shape=(16, 1, 1))
    assert measured("lesion_f1", *pair) == pytest.approx(2 / 3)


EMPTY, ONE = mask(), mask(A)
WHERE = {"prediction": (EMPTY, ONE), "reference": (ONE, EMPTY), "prediction and reference": (EMPTY, EMPTY)}


@pytest.mark.parametrize(
    ("name", "prediction", "reference", "both"),
    [
        ("dice", 0.0, 0.0, NAN),
        ("nsd", 0.0, 0.0, NAN),
        ("lesion_f1", 0.0, 0.0, NAN),
        ("hd95", NAN, NAN, NAN),
        ("asd", NAN, NAN, NAN),
        ("sensitivity", 0.0, NAN, NAN),
        ("precision", NAN, 0.0, NAN),
        ("volume_error", 0.001, 0.001, 0.0),
        ("relative_volume_error", 1.0, NAN, NAN),
    ],
)
def test_empty_masks_have_a_value_or_a_reason(name, prediction, reference, both):
    """The columns are what is empty."""
    for (empty, pair), value in zip(WHERE.items(), (prediction, reference, both), strict=True):
        found = MaskPair(*pair, (1.0, 1.0, 1.0))
        assert METRICS[name](found) == pytest.approx(value, nan_ok=True)
        assert METRICS[name].why_undefined(*found.volumes_ml) == (f"{empty} empty" if math.isnan(value) else "")


def test_every_metric_is_tested_for_empty_masks():
    (mark,) = test_empty_masks_have_a_value_or_a_reason.pytestmark
    assert {row[0] for row in mark.args[1]} == set(METRICS)


def edge_of(volume):
    """As MONAI takes surfaces: voxels with a face on the outside."""
    padded = np.pad(volume, 1)
    inner = np.ones_like(volume)
    for axis, step in itertools.product(range(3), (-1, 1)):
        inner &= np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1]
    return volume & ~inner


def independent(name, prediction, reference, spacing):
    """By voxel lists and all pairs of distances."""
    tp, fp, fn = ((prediction & reference).sum(), (prediction & ~reference).sum(), (~prediction & reference).sum())
    voxel = np.prod(spacing) / 1000
    shares = {
        "dice": 2 * tp / (2 * tp + fp + fn),
        "sensitivity": tp / (tp + fn),
        "precision": tp / (tp + fp),
        "volume_error": abs(int(fp) - int(fn)) * voxel,
        "relative_volume_error": abs(int(fp) - int(fn)) / (tp + fn),
    }
    if name in shares:
        return shares[name]
    distances = cdist(*(np.argwhere(edge_of(one)) * spacing for one in (prediction, reference)))
    there, back = distances.min(axis=1), distances.min(axis=0)
    if name == "asd":
        return (there.sum() + back.sum()) / (len(there) + len(back))
    return max(np.percentile(there, 95), np.percentile(back, 95))


@pytest.mark.parametrize("name", sorted({*METRICS} - {"nsd", "lesion_f1"}))  # worked by hand above
@pytest.mark.parametrize("seed", [0, 1])
def test_blobs_agree_with_an_independent_computation(name, seed):
    rng = np.random.default_rng(seed)
    smooth = [gaussian_filter(rng.random((14, 16, 12)), 2) for _ in range(2)]
    prediction, reference = (blob > np.quantile(blob, 0.8) for blob in smooth)
    spacing = (1.5, 1.0, 2.0)
    found = measured(name, *(torch.from_numpy(blob) for blob in (prediction, reference)), spacing)
    assert found == pytest.approx(independent(name, prediction, reference, np.array(spacing)), rel=1e-5)


def test_the_surface_dice_of_a_ball_that_is_moved():
    """Analytic: a surface moved by t lies t · cos(angle) off, so a ball's share within τ is nearly τ / t."""
    at = np.indices((76, 66, 66)) - 32.5
    ball = torch.from_numpy((at**2).sum(0) < 30**2)
    moved = ball.roll(8, 0)
    assert measured("nsd", moved, ball, tolerance=8.0) == 1
    assert measured("nsd", moved, ball, tolerance=4.0) == pytest.approx(0.5, abs=0.07)  # distances on a grid of 1 mm


def test_metrics_are_found_by_name_and_dice_is_among_them():
    assert tuple(METRICS) == METRIC_NAMES, "what --metrics takes"
    assert [metric.name for metric in find_metrics(["nsd", "dice", "nsd"])] == ["dice", "nsd"]
    with pytest.raises(ConfigError) as refusal:
        find_metrics(["dice", "hd59"])
    mentions(str(refusal.value), "'hd59' … hd95")


def test_values_are_written_with_their_unit():
    assert METRICS["dice"].text(0.8534) == "0.853"
    assert METRICS["hd95"].text(1.414) == "1.41 mm"
