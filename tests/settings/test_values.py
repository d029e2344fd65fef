"""Kinds of values: what they read, what they allow, and what they say of anything else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_tl.errors import ConfigError
from monai_tl.settings.refusals import raise_refusals, read_value, refusal
from monai_tl.settings.untyped import read_untyped
from monai_tl.settings.values import Either, Listed, Nothing, Number, Pairs, Text, Whole, Words, YesNo

PAIR = Listed(Number(least=0), "two numbers, e.g. [1,1]", count=2, any_above=0)
NAMES = Listed(Text(), "different names", different=True)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Whole(), "7", 7),
        (Whole(None), "-7", -7),
        (Whole(), " 7 ", 7),
        (Number(), "1e-4", 1e-4),
        (Number(), ".5", 0.5),
        (Number(), "2", 2),
        (YesNo(), "TRUE", True),
        (YesNo(), "false", False),
        (PAIR, "[1, 0.5]", [1, 0.5]),
        (PAIR, "(1,2)", [1, 2]),
        (PAIR, "1,2", [1, 2]),
        (NAMES, "['tumour core', b]", ["tumour core", "b"]),
        (NAMES, "no,2013_10,1e3", ["no", "2013_10", "1e3"]),
        (Pairs(Text(), ""), "MR=T1, a b = c", {"MR": "T1", "a b": "c"}),
        (Either((Whole(), Text()), ""), "2", 2),
        (Either((Whole(), Text()), ""), "res_1", "res_1"),
        (Either((Nothing(), Text()), ""), "null", None),
    ],
)
def test_what_is_typed_is_read_by_its_kind(kind, text, value):
    result = read_value("it", kind, text)
    assert result == value
    assert type(result) is type(value)
    assert kind.allows(value)


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (Whole(1), ["0", "-1", "1.0", "1e3", "1_0", "07", "one", "", "True", "１", "0x1", "1 0"]),
        (Whole(0, 3), ["4"]),
        (Number(), ["nan", "inf", "1e999", "1,5", "1_0", "--1", "½", ""]),
        (Number(above=0, below=1), ["0", "1", "1e-400"]),
        (Number(least=0, most=1), ["-0.1", "1.1"]),
        (YesNo(), ["yes", "no", "1", "0", "", "None", "truee"]),
        (PAIR, ["1", "[1,2,3]", "[0,0]", "[1,-1]", "[1,2", "{1,2}", "[[1],2]", "[1,,2]", "1,2,", "[1;2]", ""]),
        (NAMES, ["[]", "a,a", "[a: b]", "[,]"]),
        (Words(("a", "b")), ["c", "A", ""]),
        (Text(), ["", " \t"]),
        (Pairs(Text(), ""), ["", "a", "a=", "=b", "a=b=c", "a=b,", "a=b,a=c", "{'a': 'b'}"]),
    ],
)
def test_what_is_none_of_a_kind_is_refused(kind, texts):
    for text in texts:
        with pytest.raises(ConfigError, match=r"^(it takes .*; got |unknown it )"):
            read_value("it", kind, text)


def test_values_are_not_converted():
    assert Whole().allows(np.int64(3))
    assert Number().allows(np.float32(0.5))
    assert Text().allows(Path("a"))
    for value in (True, 1.0, "1", None, np.float64(1.0), [1]):
        assert not Whole().allows(value), value
    for value in (True, "1", None, float("nan"), np.inf, 1j):
        assert not Number().allows(value), value
    for value in (0, 1, "true", None):
        assert not YesNo().allows(value), value
    assert YesNo(as_text=True).allows("True")
    for value in ("12", {1, 2}, None, 3, {"a": 1, "b": 2}):
        assert not PAIR.allows(value), value
    assert not NAMES.allows(["background", False])


def test_a_refusal_says_what_is_taken_and_what_came():
    assert refusal("edge", Whole(1, 9, "voxels", "4"), 0) == "edge takes a whole number from 1 to 9 (voxels), e.g. 4; got 0"
    text = "rate takes a number above 0; got '1e-5', which is text here; write 1.0e-05"
    assert refusal("rate", Number(above=0), "1e-5") == text
    assert refusal("loud", YesNo(), "no", typed=True) == "loud takes true or false; got 'no'"
    assert refusal("loud", YesNo(), "true") == "loud takes true or false; got 'true', which is text here; write True"
    assert refusal("norm", Words(("freeze", "track")), "freez") == (
        "unknown norm 'freez': did you mean 'freeze'? There are: freeze, track"
    )
    assert refusal("share", Number(least=0, below=1), (1, 2)) == "share takes a number from 0 and below 1; got [1, 2]"
    assert refusal("edge", Whole(), 3) == ""
    assert len(refusal("edge", Whole(), "x" * 10_000, typed=True)) < 200


def test_problems_are_raised_together():
    raise_refusals(["", ""])
    with pytest.raises(ConfigError, match="^one$"):
        raise_refusals(["one", "", "one"])
    with pytest.raises(ConfigError, match=r"^2 settings[^\n]*\n  one\n  two$"):
        raise_refusals(["one", "two"])


TEXTS = ["2013_10", "no", "off", "y", "0o17", "010", "1:30", "2020-01-01", "1_000", "0x1F", "nan", ".inf", "~", "", " ", "1,2"]
TEXTS += [
    "{subject}",
    "{'a'}",
    "[{a}]",
    "{a: }",
    "a: b",
    "- a",
    "# a",
    "it's {x}",
    "@window",
    "$[1]",
    "%a",
    "!x",
    "&a",
    "*a",
    "-x",
    "[1",
]


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_not_clearly_something_else_stays_text(text):
    assert read_untyped(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5), ("-3", -3),
        ("1e-4", 1e-4), ("1.5", 1.5), (".5", 0.5), ("0", 0), ("0.5", 0.5), ("true", True), ("False", False),
        ("null", None), ("None", None), ("[a, 1e-4, no]", ["a", 1e-4, "no"]), ("{a: 1}", {"a": 1}), ("[]", []), ("'5'", "5"),
    ],
)  # fmt: skip
def test_what_is_clear_is_read(text, value):
    result = read_untyped(text)
    assert result == value
    assert type(result) is type(value)
