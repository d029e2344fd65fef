"""Which ids of a config are read, which overrides would change nothing, and how typed text is read."""

from __future__ import annotations

import pytest

from monai_tl.errors import ConfigError
from monai_tl.workflow.merged_config import bundle_config, merge_configs
from monai_tl.workflow.overrides import checked_config, ids_read, read_overrides, refuse_idle_overrides
from tests.conftest import BRATS

OWN = {"window": [16, 16, 16], "name": "first", "share": 0.5, "loud": False}
OWN |= {"part": {"keys": "image", "size": "@window", "n": 1, "labels": None}}


def merged(*names):
    return merge_configs([bundle_config(BRATS, name) for name in names])


def test_ids_are_followed_through_references_and_expressions():
    config = {"a": {"x": "@b#c", "y": 1}, "b": {"c": "$@d + @e::f", "g": "@h"}, "d": 1, "e": {"f": 2}, "h": 3}
    assert ids_read(config, ["a"]) == ["a", "b::c", "d", "e::f"]
    assert ids_read(config, ["none"]) == []


def test_every_setting_of_training_is_read_by_training():
    made = merged("train")
    read = {one.split("::")[0] for one in ids_read(made, ("imports", "initialize", "run", "finalize"))}
    assert set(made) - read == {"imports", "initialize", "run", "finalize"} - read
    assert {"rotation", "class_ratios", "warm_up", "patience", "inference_window"} <= read


@pytest.mark.parametrize(
    ("names", "key"),
    [
        (("train", "evaluate"), "iterations"),
        (("train", "evaluate"), "validate#evaluator#device"),
        (("train", "transfer", "thesis"), "class_ratios"),
        (("train", "thesis"), "warm_up"),
    ],
)
def test_what_nothing_reads_is_refused(names, key):
    with pytest.raises(ConfigError, match=f"--{key} has no effect.* There are: .*spacing"):
        refuse_idle_overrides(merged(*names), {key: 3})


@pytest.mark.parametrize(
    "overrides",
    [
        {"spacing": [2.0, 2.0, 2.0]},
        {"validate#inferer#inferer#overlap": 0.5},
        {"validate#postprocessing": None},
        {"datalist": "d.json", "dataset_dir": "d"},
        {"bundle_root": "b", "run_dir": "r"},
    ],
)
def test_what_is_read_or_named_by_a_verb_passes(overrides):
    refuse_idle_overrides(merged("train", "evaluate"), overrides)


def test_an_override_may_cut_off_what_another_changes():
    """inference_window refers to window: given itself, nothing of an evaluation reads window."""
    refuse_idle_overrides(merged("train", "evaluate"), {"window": [8, 8, 8]})
    with pytest.raises(ConfigError, match="--window has no effect"):
        refuse_idle_overrides(merged("train", "evaluate"), {"window": [8, 8, 8], "inference_window": [9, 9, 9]})


def test_macros_and_relative_ids_are_followed_too():
    """Only MONAI knows how: it is imported for these alone."""
    config = {"a": 1, "b": {"c": "@##a", "d": "%e"}, "e": 2, "run": ["$@b"]}
    refuse_idle_overrides(config, {"a": 3})
    refuse_idle_overrides(config, {"e": 3, "b#c": "@##e"})
    with pytest.raises(ConfigError, match="--f has no effect"):
        refuse_idle_overrides({**config, "f": "$1"}, {"f": "$2"})


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("name", "2013_10", "2013_10"),
        ("name", "None", "None"),
        ("name", "[a]", "[a]"),
        ("name", "no", "no"),
        ("name", "$1 + 1", "$1 + 1"),
        ("share", "1e-4", 1e-4),
        ("share", "[1,2]", [1, 2]),
        ("loud", "True", True),
        ("part#keys", "[image,label]", ["image", "label"]),
        ("part#keys", "2013_10", "2013_10"),
        ("part::labels", "None", None),
        ("part#size", "8,8,8", [8, 8, 8]),
        ("part#n", "null", None),
        ("seed", 3, 3),
    ],
)
def test_text_is_read_by_what_it_replaces(key, text, value):
    result = read_overrides({**OWN, "seed": 0}, {key: text})[key]
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("share", "half", "share takes a number, or a list of numbers; got 'half'"),
        ("loud", "no", "loud takes true or false; got 'no'"),
        ("part#size", "8", "part#size takes three whole numbers .*; got 8"),
        ("part#n", "2_0", "part#n takes a number, or a list of numbers; got 2_0"),
    ],
)
def test_what_cannot_replace_it_is_refused(key, text, said):
    with pytest.raises(ConfigError, match=said):
        read_overrides(OWN, {key: text})


def test_a_component_is_not_replaced_by_text():
    """``--loss DiceBCELoss`` would fail in MONAI, with a traceback."""
    with pytest.raises(ConfigError, match="loss.*component.*loss#_target_"):
        read_overrides(merged("train"), {"loss": "monai_tl.training.losses.DiceBCELoss"})
    assert read_overrides(merged("train"), {"loss": "$@other", "loss#batch": "false"}) == {
        "loss": "$@other",
        "loss#batch": False,
    }


def test_a_variable_that_the_shell_left_is_no_part_of_another_config():
    with pytest.raises(ConfigError, match="dataset_dir .* begins with %, .*; got '%DATA%'"):
        read_overrides({"dataset_dir": "data"}, {"dataset_dir": "%DATA%"})


def test_a_checked_config_holds_the_overrides():
    files = [bundle_config(BRATS, name) for name in ("train", "transfer")]
    config = checked_config(files, {"iterations": 100, "crop#margin": "7", "freeze": "res_1"})
    assert (config["iterations"], config["crop"]["margin"], config["freeze"]) == (100, 7, "res_1")
    assert config["network"] == "$place(@transfer.network, @device)"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"iterations": 75}, r"iterations \(75\) must be a multiple of validate_every \(50\)"),
        ({"iterations": "$75", "validate_every": 0}, "validate_every takes a whole number from 1"),
        ({"epochs": 7}, "epochs .* iterations and validate_every: .*; got 7"),
        ({"learning_rat": 1.0}, "unknown flag or config id 'learning_rat': did you mean 'learning_rate'"),
        ({"train#trainer#max_epoch": 3}, "in 'train::trainer' did you mean 'max_epochs'"),
        ({"dataset_dri": "x"}, "did you mean 'dataset_dir'"),
    ],
)
def test_what_needs_no_evaluation_is_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        checked_config([bundle_config(BRATS, "train")], overrides)
    with pytest.raises(ConfigError, match=message):  # of a plan too, whose overrides hold for other runs
        checked_config([bundle_config(BRATS, "train")], overrides, read=None)


def test_a_bundle_of_an_earlier_version_does_not_ignore_the_normalisation(tmp_path):
    """Its transform z-scored, whatever else was set."""
    text = bundle_config(BRATS, "train").read_text(encoding="utf-8")
    new, old = "monai_tl.imaging.normalise.NormaliseImaged", "NormalizeIntensityd"
    reads = 'normalisation: "@normalisation"'
    assert new in text
    assert reads in text
    nonzero = "nonzero: $@normalisation == 'zscore_nonzero'"
    (tmp_path / "train.yaml").write_text(text.replace(new, old).replace(reads, nonzero), encoding="utf-8")
    for name in ("zscore_volume", "zscore_nonzero"):
        checked_config([tmp_path / "train.yaml"], {"normalisation": name})
    with pytest.raises(ConfigError, match=r"normalisation \(minmax\) would be ignored.*bundle render"):
        checked_config([tmp_path / "train.yaml"], {"normalisation": "minmax"})
