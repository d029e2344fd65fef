"""What is said of a study claims no more than its comparisons bear out."""

from __future__ import annotations

import dataclasses

import pytest

from monai_tl.report.study.study_facts import read_study_facts
from monai_tl.report.study.study_words import headline, not_supported, seen, study_lead, supported, unfinished
from monai_tl.statistics import ArmComparison
from monai_tl.statistics.verdicts import verdict_of
from tests.conftest import mentions


def found(arm, n, mean, p, half=0.02, against="scratch"):
    """A comparison over 12 cases and 3 seeds."""
    one = ArmComparison(arm, against, n, 12, 3, 0, mean, mean - half, mean + half, p, p, 0.5, 0.5, "", "", p, p)
    return dataclasses.replace(one, verdict=verdict_of(one))


@pytest.fixture
def study(make_study):
    return read_study_facts(make_study(arms=("scratch", "1", "2", "3"), sizes=(26, 52), cases=12))


def test_the_headline_counts_and_names_the_largest_each_way(study):
    sentence = headline(study, [], [found("1", 26, 0.05, 0.01), found("1", 52, 0.08, 0.01), found("3", 26, -0.04, 0.01)])
    mentions(sentence, "3 comparisons with scratch … 2 are better, 1 worse, and 0 without a clear difference")
    first, second, third = (sentence.index(text) for text in ("0.080 higher", "0.040 lower", "0.050 higher"))
    assert first < second < third


def test_no_verdict_no_finding(study):
    sentence = headline(study, [], [found("1", 26, 0.05, 0.2), found("2", 26, 0.01, 0.9)])
    mentions(sentence, "0 are better, 0 worse, and 2 without a clear difference … largest … not conclusive … n = 26")
    mentions(sentence, "no clear difference in Dice between freeze 1 and scratch")
    mentions(supported([found("1", 26, 0.05, 0.2)])[0], "No arm … scratch … neither a difference nor equality")


def test_a_single_comparison_speaks_for_itself(study):
    one = found("1", 26, 0.05, 0.01)
    assert headline(study, [], [one]) == one.verdict


def test_every_size_of_a_verdict_is_named_or_counted():
    few = [found("1", n, 0.05, 0.01) for n in (26, 52)] + [found("2", 26, -0.05, 0.01), found("2", 52, 0.0, 0.9)]
    mentions(supported(few)[0], "scratch … better: freeze 1 (with all 2 sizes); worse: freeze 2 (with 26).")
    many = [found("1", n, 0.05 if n < 8 else 0.0, 0.01 if n < 8 else 0.9) for n in range(1, 10)]
    assert "freeze 1 (with 7 of 9 sizes)" in supported(many)[0]


def test_which_differences_could_not_have_been_detected():
    mentions(supported([found("1", 26, 0.05, 0.01, half=0.03)])[-1], "intervals … ±0.030 … smaller … detected")


def test_what_may_not_be_concluded_depends_on_the_study(study):
    sure = [found("1", 26, 0.05, 0.01), found("2", 26, 0.06, 0.01)]
    text = " ".join(not_supported(study, sure, beside=False))
    assert "are equal" not in text
    assert "published" not in text
    mentions(text, "3 seeds … results may reverse with other seeds")
    mentions(text, "(Holm) … 2")
    text = " ".join(not_supported(study, [*sure, found("3", 26, 0.0, 0.9)], beside=True))
    mentions(text, "without a clear difference are equal", "published … another setting")


def test_the_lead_counts_and_a_finished_study_says_nothing_of_missing_runs(study):
    assert (
        study_lead(study) == "4 arms × 2 sizes (26, 52 training subjects) × 3 seeds: 24 runs, scored by Dice on 12 test cases."
    )
    assert unfinished(study) is None


def test_that_a_source_knew_test_cases_is_said_where_it_was_accepted(study):
    said = {"accepted": True, "shared": 1, "said": ["12 test cases compared with 3 training cases: 1 shared, accepted"]}
    accepted, clean = (
        dataclasses.replace(study, plan=dataclasses.replace(study.plan, overlap=overlap)) for overlap in (said, {})
    )
    assert "1 shared, accepted. Scratch has not." in seen(accepted)
    assert seen(clean) is None
