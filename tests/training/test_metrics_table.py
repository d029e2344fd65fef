"""What a training's curve says about its end."""

from __future__ import annotations

import math

import pytest

from monai_tl.training.metrics_table import best_is_last


@pytest.mark.parametrize(
    ("dice", "last"),
    [
        ((0.1, 0.2, 0.3), True),
        ((0.1, 0.3, 0.2), False),
        ((0.3, 0.3), False),  # it has stopped improving
        ((0.3, math.nan), False),
        ((math.nan, 0.3), True),
        ((0.0, 0.0), False),  # nothing was found at all: said otherwise
        ((0.3,), True),
        ((), False),
    ],
)
def test_the_best_is_the_last_where_nothing_followed_it(dice, last):
    assert best_is_last([{"val_dice": value} for value in dice]) == last
