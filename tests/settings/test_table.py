"""The table of settings covers the configs, and agrees with what they hold."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from monai_tl.errors import ConfigError
from monai_tl.settings.table import FOLLOWS, REFERRED, SETTINGS, problems, refuse_settings
from tests.conftest import ROOT

CONFIGS = sorted((ROOT / "bundles").rglob("configs/*.yaml"))
NO_SETTINGS = {"imports", "+imports", "initialize", "run", "finalize", "handlers", "transfer_report"}


def is_plain(value: Any) -> bool:
    """No part to be built, no expression but a place."""
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value)):
        return False
    return not str(value).startswith("$") or "/" in str(value)


def test_every_plain_value_of_a_config_is_in_the_table():
    named = {"device"}
    for path in CONFIGS:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        plain = {name for name, value in config.items() if is_plain(value) and "#" not in name} - NO_SETTINGS
        assert plain <= SETTINGS.keys(), f"{path}: {sorted(plain - SETTINGS.keys())} stand in no table"
        named |= config.keys()
        fixed = {name: value for name, value in config.items() if name in SETTINGS and not str(value).startswith(("$", "@"))}
        assert problems(fixed) == [], path
        assert all(str(config[name]).startswith("$") for name in FOLLOWS if name in config)
    assert SETTINGS.keys() <= named, "the table holds what no config has"


@pytest.mark.parametrize("name", SETTINGS)
def test_each_setting_refuses_what_is_nothing_of_the_kind(name):
    for value in ({"a": 1}, {1, 2}, b"x", 1j, float("nan"), ""):
        (message,) = problems({name: value})
        assert message.startswith((f"{name} takes ", f"unknown {name} ")), message
    assert len(message) < 300


def test_contradictions():
    with pytest.raises(ConfigError, match=r"iterations \(5\).*validate_every \(2\)"):
        refuse_settings(iterations=5, validate_every=2)
    refuse_settings(iterations=4, validate_every=2, patience=0)
    refuse_settings(iterations=4, validate_every=2, patience=2)
    with pytest.raises(ConfigError, match=r"patience \(1\).*validate_every \(2\)"):
        refuse_settings(validate_every=2, patience=1)
    with pytest.raises(ConfigError, match="classes.*background"):
        refuse_settings(classes=["a", "background"])
    assert problems({"iterations": "x", "validate_every": 2, "other": {}}) == [
        "iterations takes a whole number from 1, e.g. 4000; got 'x'"
    ], "what is wrong by itself contradicts nothing"


def test_what_follows_from_settings_can_be_referred_to():
    assert FOLLOWS.keys() | SETTINGS.keys() == REFERRED.keys()
