import pytest

from monai_tl.datasets.modality_names import near_names, read_rename, rename_hint, rename_problems, renamed, suggest_rename
from monai_tl.errors import ConfigError
from tests.conftest import mentions


def test_a_rename_is_text_or_a_mapping():
    assert read_rename("MR=T1, PD = T2") == {"MR": "T1", "PD": "T2"}
    assert read_rename({"MR": "T1"}) == {"MR": "T1"}
    assert read_rename(None) == read_rename({}) == {}


@pytest.mark.parametrize(
    "rename", ["MR", "MR=", "=T1", "MR=T1=T2", "MR=T1,", "MR=T1,MR=T2", "", {"MR": 1}, {"MR": ""}, ["MR=T1"]]
)
def test_anything_else_is_refused(rename):
    with pytest.raises(ConfigError, match="rename takes names SOURCE=TARGET.*e.g. MR=T1; got"):
        read_rename(rename)


def test_names_become_those_of_the_target_in_their_order():
    assert renamed(["T2", "MR", "PD"], {"MR": "T1"}) == ("T2", "T1", "PD")
    assert renamed(["T1", "T2"], {"T1": "T2", "T2": "T1"}) == ("T2", "T1")


@pytest.mark.parametrize(
    ("rename", "source", "target", "facts"),
    [
        ({"MRR": "T1"}, ["MR"], ["T1"], "--rename MRR=T1 … the source has no modality 'MRR' … 'MR'"),
        ({"MR": "T3"}, ["MR"], ["T1", "T2"], "--rename MR=T3 … the target has no modality 'T3' … T1, T2"),
        ({"T1": "MR"}, ["MR"], ["T1", "T2"], "--rename T1=MR … wrong way round … --rename MR=T1"),
        ({"T1": "MR"}, None, ["T1", "T2"], "the target has no modality 'MR' … T1, T2 … --rename MR=T1"),
        ({"T1": "T1"}, ["T1"], ["T1"], "--rename T1=T1 changes nothing"),
        ({"MR": "MR"}, ["MR"], ["T1"], "the target has no modality 'MR'"),
        ({"MR": "T1", "MRI": "T1"}, ["MR", "MRI"], ["T1"], "MR and MRI … T1"),
        ({"MR": "T1", "MRI": "T1"}, None, ["T1"], "MR and MRI … T1"),
        ({"T1ce": "T1"}, ["T1", "T1ce"], ["T1"], "T1 and T1ce … T1"),
    ],
)
def test_a_rename_that_nothing_can_follow_is_described(rename, source, target, facts):
    (problem,) = rename_problems(rename, source, target)
    mentions(problem, facts)


def test_every_wrong_name_is_described():
    first, second = rename_problems({"A": "T1", "MR": "B"}, ["MR"], ["T1"])
    mentions(first, "'A'")
    mentions(second, "'B'")


@pytest.mark.parametrize(
    ("rename", "source"),
    [({"MR": "T1"}, ["MR"]), ({"T1": "T2", "T2": "T1"}, ["T1", "T2"]), ({"MR": "T1"}, ["MR", "T2"]), ({}, ["T1"])],
)
def test_a_rename_may_also_swap(rename, source):
    assert rename_problems(rename, source, ["T1", "T2"]) == []


@pytest.mark.parametrize(
    ("source", "target", "found"),
    [
        (["MR"], ["T1"], {"MR": "T1"}),
        (["MRI", "T2"], ["T1", "T2"], {"MRI": "T1"}),
        (["MR"], ["T1", "T2"], {}),
        (["T1w", "flair"], ["FLAIR", "T1", "T2"], {"T1w": "T1", "flair": "FLAIR"}),
        (["t1gd"], ["T1", "T1ce"], {"t1gd": "T1ce"}),
        (["T1", "T2"], ["T1", "FLAIR"], {}),
        (["T1"], ["T1ce"], {}),
        (["t1", "T1w"], ["T1"], {}),
        (["T1"], ["T1"], {}),
    ],
)
def test_near_names_and_the_only_two_left_suggest_themselves(source, target, found):
    """T1 and FLAIR are other contrasts, and t1 and T1w cannot both be T1."""
    assert suggest_rename(source, target) == found


def test_only_the_writing_makes_names_near():
    assert near_names(["T1-weighted", "MR"], ["T1", "T2"]) == {"T1-weighted": "T1"}
    assert near_names(["T1", "t2"], ["T1", "T2"]) == {"t2": "T2"}
    assert near_names(["w"], ["W"]) == {"w": "W"}


def test_advice_can_be_pasted():
    assert rename_hint(["MR"], ["T1"]) == "if the source's MR is the target's T1: --rename MR=T1"
    mentions(
        rename_hint(["a b"], ["T1"], ("the scans", "the network")), "the scans' a b is the network's T1: --rename 'a b=T1'"
    )
    mentions(rename_hint(["MR"], ["T1", "T2"]), "--rename MR=T1 or --rename MR=T2")
    mentions(rename_hint(["T1"], ["MR", "T2"]), "(--rename T1=MR)")
    mentions(rename_hint(["a", "b"], ["c", "d"]), "--rename SOURCE=TARGET")
    assert rename_hint(["T1"], ["FLAIR"]) == rename_hint(["T1"], ["T1", "T2"]) == ""
