"""Scores of several regions of a case: one of them, or a mean over all."""

from __future__ import annotations

import math

import numpy as np
import pytest

from monai_tl.errors import DataError
from monai_tl.evaluation.scores import Score, over_regions, score_case, summarise
from tests.conftest import mentions, score_of

NAN = math.nan


def cases() -> list[Score]:
    """Two cases of three regions; in the second no enhancing tumour is and none was found, so its Dice is undefined."""
    return [
        score_of("a", 0.9, 1.0, 10.0, 11.0, 2.0, "whole"),
        score_of("a", 0.6, 4.0, 4.0, 3.0, 2.0, "core"),
        score_of("a", 0.0, NAN, 1.0, 0.0, 2.0, "enhancing"),
        score_of("b", 0.8, 2.0, 20.0, 18.0, 3.0, "whole"),
        score_of("b", 0.5, 3.0, 5.0, 6.0, 3.0, "core"),
        score_of("b", NAN, NAN, 0.0, 0.0, 3.0, "enhancing"),
    ]


def test_means_are_over_the_regions_that_are_defined_and_volumes_are_sums():
    a, b = over_regions(cases())
    assert (a.subject, a.region, a.seconds) == ("a", "", 2.0)
    assert a.values["dice"] == pytest.approx((0.9 + 0.6 + 0.0) / 3), "a missed region counts 0"
    assert a.values["hd95"] == pytest.approx((1.0 + 4.0) / 2)
    assert (a.reference_ml, a.prediction_ml) == (15.0, 14.0)
    assert b.values["dice"] == pytest.approx((0.8 + 0.5) / 2), "an undefined one does not count"
    assert b.values["hd95"] == 2.5
    assert (b.reference_ml, b.prediction_ml, b.seconds) == (25.0, 24.0, 3.0)


def test_a_case_without_any_defined_region_is_undefined():
    (found,) = over_regions([score_of("a", NAN, NAN, 0, 0, 1, "core"), score_of("a", NAN, NAN, 0, 0, 1, "whole")])
    assert math.isnan(found.values["dice"])
    assert math.isnan(found.values["hd95"])


def test_one_region_is_its_own_scores():
    assert over_regions(cases(), "core") == [cases()[1], cases()[4]]
    alone = [score_of("a", 0.5, 1.0, 2.0, 2.0, 1.0, "core"), score_of("b", NAN, NAN, 0.0, 0.0, 1.0, "core")]
    assert repr(over_regions(alone)) == repr(alone), "of the only region, whose name is kept"
    unnamed = [score_of("a", 0.5, 1.0, 2.0, 2.0, 1.0)]
    assert over_regions(unnamed) == unnamed


def test_a_region_that_was_not_scored_is_refused_with_those_that_were():
    with pytest.raises(DataError) as refusal:
        over_regions(cases(), "enhancin")
    mentions(str(refusal.value), "'enhancin' … 'enhancing' … whole, core, enhancing")


def test_a_summary_is_of_cases_and_not_of_regions():
    total = summarise(over_regions(cases()))
    assert (total.n, total.undefined) == (2, 0)
    assert total.mean == pytest.approx((0.5 + 0.65) / 2)
    enhancing = summarise(over_regions(cases(), "enhancing"))
    assert (enhancing.n, enhancing.undefined, enhancing.misses) == (2, 1, 1)


def test_the_region_of_a_score_is_what_was_asked():
    mask = np.ones((2, 2, 2), bool)
    assert score_case("a", mask, mask, (1, 1, 1), region="core").region == "core"
    assert score_case("a", mask, mask, (1, 1, 1)).region == ""
