"""``--set a=1,b=[2,3]``: what it reads, what it refuses, and that what is written is read again as the same."""

from __future__ import annotations

import pytest

from monai_tl.cli.arguments import Arguments, checked
from monai_tl.errors import ConfigError
from monai_tl.settings.assignments import ASSIGNMENTS
from tests.conftest import mentions


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("init_filters=16", {"init_filters": 16}),
        ("a=1,b=[2,2],c=[[1,2],[3]]", {"a": 1, "b": [2, 2], "c": [[1, 2], [3]]}),
        ("a=true, b = null ,c=1e-3,d=-2", {"a": True, "b": None, "c": 0.001, "d": -2}),
        ("norm=[instance,{affine: true}],act=relu", {"norm": ["instance", {"affine": True}], "act": "relu"}),
        ("text='a,b=c',more=\"2\"", {"text": "a,b=c", "more": "2"}),
        ("no=no,date=2013_10", {"no": "no", "date": "2013_10"}),
        ("op=torch.nn.Conv3d", {"op": "torch.nn.Conv3d"}),
    ],
)
def test_values_are_read_as_in_yaml(text, values):
    read = ASSIGNMENTS.read(text)
    assert read == values
    assert [type(value) for value in read.values()] == [type(value) for value in values.values()]
    assert ASSIGNMENTS.read(ASSIGNMENTS.write(values)) == values


@pytest.mark.parametrize(
    "text",
    ["", "16", "a=1,", "a=1,,b=2", "strides=2,2,2", "a=1,a=2", "=3", "a=", "2a=3", "a=[1,2", "a=1]", "a=(1]", "a='1", "a-b=1"],
)
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match="^") as caught:
        ASSIGNMENTS.read(text)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    "values", [{"a": "it's"}, {"a": "2"}, {"a": "x, y"}, {"a": 0.1}, {"a": (1, 2)}, {"a": {"b": [None, True]}}, {"a": "true"}]
)
def test_what_is_written_is_read_again(values):
    read = ASSIGNMENTS.read(ASSIGNMENTS.write(values))
    assert read == {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def verb(*, set: Arguments | None = None, other: int = 0) -> None:
    """Do nothing."""


def test_a_flag_of_this_kind_may_be_repeated_and_others_not():
    assert checked(verb, ["--set", "a=1,b=[2,3]", "--set=c=true"]) == ["--set={'a': 1, 'b': [2, 3], 'c': True}"]
    with pytest.raises(ConfigError) as caught:
        checked(verb, ["--other", "1", "--other", "2"])
    mentions(str(caught.value), "--other … twice")
    for texts in (["a=1", "a=2"], ["a=1", "16"], ["a=1,strides=2,2"]):
        with pytest.raises(ConfigError) as caught:
            checked(verb, [word for text in texts for word in ("--set", text)])
        mentions(str(caught.value), "set takes … NAME=VALUE … lists in brackets … " + texts[-1])
