"""What a target takes over of a source's images."""

import json

import pytest

from monai_tl.errors import ConfigError
from monai_tl.transfer.like_source import like_source
from tests.conftest import mentions

TARGET = {
    "modalities": ["T1", "T2"],
    "spacing": [2, 2, 2],
    "orientation": "RAS",
    "normalisation": "zscore_nonzero",
    "rename": None,
    "accept_differences": False,
}


@pytest.fixture
def of(tiny, contract, run_folder):
    """Write a source with a contract; parts of it can be omitted from its metadata."""

    def write(*omitted, **changed):
        folder = run_folder(tiny(), contract(**changed))
        described = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
        described["preprocessing"] = {name: of for name, of in described["preprocessing"].items() if name not in omitted}
        (folder / "metadata.json").write_text(json.dumps(described), encoding="utf-8")
        return str(folder)

    return write


def test_what_differs_is_taken_over(of):
    taken = like_source(of(orientation="LPS", spacing=[1, 1, 1.5]), TARGET, {})
    assert taken.settings == {"spacing": [1.0, 1.0, 1.5], "orientation": "LPS", "normalisation": "zscore_volume"}
    assert taken.lines == (
        "spacing [1.0, 1.0, 1.5]: as the source's (the target's was [2, 2, 2])",
        "orientation LPS: as the source's (the target's was RAS)",
        "normalisation zscore_volume: as the source's (the target's was zscore_nonzero)",
    )


def test_what_is_given_wins_and_is_reported(of):
    taken = like_source(of(), TARGET, {"spacing": [3, 3, 3], "normalisation": "minmax"})
    assert taken.settings == {"orientation": "RAS"}
    assert taken.lines == (
        "spacing [3, 3, 3]: as given (the source's is [1.0, 1.0, 1.0])",
        "orientation RAS: as the source's",
        "normalisation minmax: as given (the source's is zscore_volume)",
    )


@pytest.mark.parametrize("where", ["given", "config"])
def test_what_is_unknown_keeps_the_targets_only_if_that_is_accepted(of, where):
    source = of("spacing", "normalisation")
    with pytest.raises(ConfigError) as raised:
        like_source(source, TARGET, {"normalisation": "minmax"})
    mentions(str(raised.value), "spacing and normalisation", "are unknown … --accept_differences … spacing [2, 2, 2]", "minmax")
    accept = {"accept_differences": True}
    given, target = ({**accept}, TARGET) if where == "given" else ({}, {**TARGET, **accept})
    taken = like_source(source, target, given)
    assert taken.settings == {"orientation": "RAS"}
    assert taken.lines[0] == "spacing [2, 2, 2]: the target's, as the source's is unknown"


def test_nothing_can_be_taken_of_a_source_of_which_nothing_is_known(tiny, run_folder):
    with pytest.raises(ConfigError, match="nothing states what source .* omit --like_source"):
        like_source(str(run_folder(tiny())), TARGET, {"accept_differences": True})


@pytest.mark.parametrize(
    ("source", "modalities", "given", "normalisation"),
    [
        ((["CT"], "window(-175,250)"), ["CT", "PET"], {}, ["window(-175,250)", "zscore_nonzero"]),
        ((["CT"], "window(-175,250)"), ["PET", "CT"], {}, ["zscore_nonzero", "window(-175,250)"]),
        ((["MR"], "minmax"), ["MR", "T2"], {}, "minmax"),  # of what is in each volume, so that it suits a new modality too
        ((["MR", "CT"], ["minmax", "window(0,80)"]), ["CT", "MR"], {}, ["window(0,80)", "minmax"]),
        ((["MR", "CT"], ["minmax", "window(0,80)"]), ["CT"], {}, "window(0,80)"),
        ((["X"], "window(0,80)"), ["CT", "PET"], {"rename": {"X": "CT"}}, ["window(0,80)", "zscore_nonzero"]),
        ((["X"], "window(0,80)"), ["CT"], {}, "window(0,80)"),
    ],
)
def test_normalisations_are_taken_by_the_name_of_the_modality(of, source, modalities, given, normalisation):
    folder = of(modalities=source[0], normalisation=source[1])
    assert like_source(folder, {**TARGET, "modalities": modalities}, given).settings["normalisation"] == normalisation
