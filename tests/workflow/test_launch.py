"""Which ids of a config are read, and which overrides would change nothing."""

from __future__ import annotations

import pytest
from monai.bundle import ConfigParser

from monai_tl.errors import ConfigError
from monai_tl.workflow.launch import bundle_config, ids_read, refuse_idle_overrides
from tests.conftest import BRATS


def parser(*names):
    made = ConfigParser()
    made.read_config([str(bundle_config(BRATS, name)) for name in names])
    return made


def test_ids_are_followed_through_references_and_expressions():
    config = ConfigParser({"a": {"x": "@b#c", "y": 1}, "b": {"c": "$@d + @e::f", "g": "@h"}, "d": 1, "e": {"f": 2}, "h": 3})
    assert ids_read(config, ["a"]) == ["a", "b::c", "d", "e::f"]
    assert ids_read(config, ["none"]) == []


def test_every_setting_of_training_is_read_by_training():
    made = parser("train")
    read = {one.split("::")[0] for one in ids_read(made, ("imports", "initialize", "run", "finalize"))}
    assert set(made.get()) - read == {"imports", "initialize", "run", "finalize"} - read
    assert {"rotation", "class_ratios", "warm_up", "patience", "inference_window"} <= read


@pytest.mark.parametrize(
    ("names", "key"),
    [
        (("train", "evaluate"), "iterations"),
        (("train", "evaluate"), "validate#evaluator#device"),
        (("train", "transfer", "thesis"), "class_ratios"),
        (("train", "transfer", "thesis"), "warm_up"),
    ],
)
def test_what_nothing_reads_is_refused(names, key):
    with pytest.raises(ConfigError, match=f"--{key}.*nothing.*spacing"):
        refuse_idle_overrides(parser(*names), {key: 3})


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
    refuse_idle_overrides(parser("train", "evaluate"), overrides)


def test_an_override_may_cut_off_what_another_changes():
    """inference_window refers to window: given itself, nothing of an evaluation reads window."""
    refuse_idle_overrides(parser("train", "evaluate"), {"window": [8, 8, 8]})
    with pytest.raises(ConfigError, match="--window.*nothing"):
        refuse_idle_overrides(parser("train", "evaluate"), {"window": [8, 8, 8], "inference_window": [9, 9, 9]})
