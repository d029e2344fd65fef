"""Arms by name, and the settings they are."""

from __future__ import annotations

import pytest

from monai_tl.errors import ConfigError
from monai_tl.transfer.arms import Arm, read_arms

STAGES = ("conv_0", "res_1", "res_2", "res_3", "conv_1", "conv_2")


def test_each_arm_has_a_name_and_settings():
    arms = read_arms(["scratch", "0", "2", "random2", "untrained"], STAGES)
    assert [arm.name for arm in arms] == ["scratch", "0", "2", "random2", "untrained"]
    assert [arm.settings("ixi") for arm in arms] == [
        {"source": None, "freeze": 0},
        {"source": "ixi", "freeze": 0},
        {"source": "ixi", "freeze": 2},
        {"source": None, "freeze": 2, "norm": "track"},
        {"source": "ixi", "freeze": 0, "fresh": []},
    ]


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (["two"], ConfigError, "'two'.*0.*5.*random1"),
        (["random0"], ConfigError, "'random0'"),
        (
            ["7"],
            ConfigError,
            "'7'.*7.*0.*5.*random1",
        ),
        (["random6"], ConfigError, "'random6'.*6"),
        (["1", "1"], ConfigError, "'1'.*twice"),
        ([], ConfigError, "at least one arm.*scratch, 0 to 5"),
    ],
)
def test_what_is_no_arm_is_refused(names, error, message):
    with pytest.raises(error, match=message):
        read_arms(names, STAGES)


def test_an_arm_may_name_its_last_frozen_stage():
    assert Arm("transfer", "res_1").settings("ixi") == {"source": "ixi", "freeze": "res_1"}
