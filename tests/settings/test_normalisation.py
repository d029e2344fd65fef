"""How normalisations are written, and what is refused."""

import pytest

from monai_tl.errors import ConfigError
from monai_tl.settings.normalisation import (
    FORMS,
    Normalisation,
    normalisation_for,
    read_normalisations,
    shortest,
)
from monai_tl.settings.refusals import read_value
from monai_tl.settings.table import SETTINGS, problems
from tests.conftest import mentions

WINDOW, ZSCORE = Normalisation("window", (-175, 250)), Normalisation("zscore_volume")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("zscore_nonzero", Normalisation("zscore_nonzero")),
        ("window(-175,250)", WINDOW),
        (" window( -175.0 , 2.5e2 ) ", WINDOW),
        ("minmax", Normalisation("minmax")),
        ("percentile(0.5,99.5)", Normalisation("percentile", (0.5, 99.5))),
        ("percentile(0,100)", Normalisation("percentile", (0, 100))),
        ("fixed(40,80)", Normalisation("fixed", (40, 80))),
        ("fixed(99.4,39.36,-41,176)", Normalisation("fixed", (99.4, 39.36, -41, 176))),
    ],
)
def test_what_is_written_is_read_back(text, found):
    assert read_normalisations(text) == (found,)
    assert read_normalisations(str(found)) == (found,)


@pytest.mark.parametrize(
    "value",
    [
        ["window(-175,250)", "zscore_volume"],
        ["window(-175", "250)", "zscore_volume"],  # what YAML makes of [window(-175,250), zscore_volume]
        ["window(-175", "250.0)", "zscore_volume"],
        "window(-175,250),zscore_volume",
        "[window(-175, 250), zscore_volume]",
    ],
)
def test_one_for_each_modality(value):
    assert read_normalisations(value) == (WINDOW, ZSCORE)
    assert normalisation_for(value, 2) == (WINDOW, ZSCORE)
    assert shortest(read_normalisations(value)) == ("window(-175,250)", "zscore_volume")


def test_numbers_that_yaml_made_of_a_list_are_read():
    assert normalisation_for(["fixed(40", 80, -175, "250)", "minmax"], 2)[0].numbers == (40, 80, -175, 250)


def test_one_is_for_all_modalities_and_the_shortest_form_of_equal_ones():
    assert normalisation_for("minmax", 3) == (Normalisation("minmax"),) * 3
    assert shortest(normalisation_for("window(-175.0, 250)", 2)) == "window(-175,250)"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("min_max", "unknown normalisation 'min_max' … did you mean 'minmax'? There are: zscore_volume … fixed"),
        ("zscore", "did you mean 'zscore_volume'"),
        ("", "unknown normalisation '' … There are"),
        ("window", "window takes low, high, e.g. window(-175,250); got 'window'"),
        ("window(400)", "window takes low, high … got 'window(400)'"),
        ("window(1,2", "window takes low, high … got 'window(1,2'"),
        ("fixed(1,2,3)", "fixed takes mean, sd or mean, sd, low, high"),
        ("minmax(0,1)", "minmax takes no numbers"),
        ("minmax()", "minmax takes no numbers"),
        ("window(400,-100)", "low (400) must be below high (-100)"),
        ("window(5,5)", "low (5) must be below high (5)"),
        ("fixed(0,1,9,8)", "low (9) must be below high (8)"),
        ("fixed(40,0)", "sd must be above 0; got 0"),
        ("fixed(40,-2)", "sd must be above 0; got -2"),
        ("percentile(-1,99)", "from 0 to 100; got -1 and 99"),
        ("percentile(0,101)", "from 0 to 100; got 0 and 101"),
        ("window(nan,3)", "'nan' is not a number"),
        ("window(low,high)", "'low' is not a number"),
        ("window(0,1e39)", "32-bit"),
        (3, "takes text; got 3"),
        (None, "takes text; got None"),
        ([], "takes text; got []"),
        (["minmax", 7], "unknown normalisation '7'"),
    ],
)
def test_what_no_image_can_be_normalised_by_is_refused(value, message):
    with pytest.raises(ValueError, match=".") as raised:
        read_normalisations(value)
    mentions(str(raised.value), message)
    mentions("\n".join(problems({"normalisation": value})), message)


def test_the_command_line_reads_one_or_several_and_refuses_others():
    kind = SETTINGS["normalisation"]
    assert read_value("normalisation", kind, "window( -175, 250.0)") == "window(-175,250)"
    assert read_value("normalisation", kind, "window(-175,250),zscore_volume") == ["window(-175,250)", "zscore_volume"]
    assert read_value("normalisation", kind, "minmax,minmax") == ["minmax", "minmax"], "one modality would not take two"
    with pytest.raises(ConfigError, match=r"low \(400\) must be below high \(-100\)"):
        read_value("normalisation", kind, "window(400,-100)")


def test_another_number_than_of_modalities_is_refused():
    given = {"normalisation": ["minmax", "window(0,1)"], "modalities": ["CT"]}
    (message,) = problems(given)
    mentions(message, "one for all modalities or one for each of the 1; got 2: minmax, window(0,1)")
    assert problems({**given, "modalities": ["CT", "PET"]}) == []
    assert problems({**given, "normalisation": "minmax"}) == []


def test_each_is_said_in_words():
    said = {text: read_normalisations(text)[0].in_words for text in ("fixed(1,2)", "fixed(1,2,3,4.5)", "window(-1,2)")}
    assert said == {
        "fixed(1,2)": "minus 1, divided by 2",
        "fixed(1,2,3,4.5)": "clipped to 3 to 4.5, minus 1, divided by 2",
        "window(-1,2)": "clipped to -1 to 2 and scaled to 0 to 1",
    }
    assert all(Normalisation(name, tuple(range(len(forms[0])))).in_words for name, forms in FORMS.items())
