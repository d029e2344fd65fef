"""Arms by name, and the settings they are."""

from __future__ import annotations

import pytest

from monai_tl.errors import ConfigError, TransferError
from monai_tl.networks.stage_map import StageMap
from monai_tl.transfer.arms import arm_order, arm_words, known_strategy, read_arms
from tests.conftest import mentions

STAGES = StageMap({name: (name,) for name in ("conv_0", "res_1", "res_2", "res_3", "conv_1", "conv_2")})
UNET = StageMap({name: (name,) for name in ("a", "b", "up", "head")}, decoder=("up",))


def test_each_arm_has_a_name_and_settings():
    """These are in the plans of existing studies, which must resume."""
    arms = read_arms(["scratch", "0", "2", "random2", "untrained"], STAGES)
    assert [arm.name for arm in arms] == ["scratch", "0", "2", "random2", "untrained"]
    assert [arm.settings("ixi") for arm in arms] == [
        {"source": None, "freeze": 0},
        {"source": "ixi", "freeze": 0},
        {"source": "ixi", "freeze": 2},
        {"source": None, "freeze": 2, "norm": "track"},
        {"source": "ixi", "freeze": 0, "fresh": []},
    ]


def test_other_strategies_are_arms_too():
    named = ["head", "decoder", "gradual", "llrd0.75", "l2sp0.01", "lora8", "bitfit", "ema", "warmup", "valley", "sawtooth"]
    arms = read_arms([*named, "freeze=a+up"], UNET)
    assert [arm.name for arm in arms] == [*named, "freeze=a+up"]
    assert [arm.settings("ixi") for arm in arms[:-1]] == [{"source": "ixi", "freeze": 0, "strategy": name} for name in named]
    assert arms[-1].settings("ixi") == {"source": "ixi", "freeze": "a+up"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["two"], "'two' … 0 to 5 … random1 … lora8"),
        (["lor8"], "'lor8' … did you mean 'lora8'"),
        (["random0"], "random … from 1 … '0'"),
        (["7"], "'7' … 7 stages … 0 to 5 … random1"),
        (["random6"], "'random6' … 6"),
        (["1", "1"], "'1' … twice"),
        (["2", "freeze=res_1"], "'freeze=res_1' (2) … twice"),
        (["head", "5"], "'5' (head) … twice"),
        (["freeze=conv_0+res_2", "freeze=res_2+conv_0"], "'freeze=res_2+conv_0' … twice"),
        (["lora8", "lora8"], "'lora8' … twice"),
        (["decoder"], "decoder … conv_0, res_1"),
        (["freeze=conv_0+res_9"], "'res_9' … res_1"),
        (["freeze=+conv_2"], "'conv_2' … always trained"),
        ([], "at least one arm … scratch, 0 to 5"),
    ],
)
def test_what_is_no_arm_is_refused(names, message):
    with pytest.raises((ConfigError, TransferError)) as refused:
        read_arms(names, STAGES)
    mentions(str(refused.value), *message.split(" … "))


def test_folders_of_arms_are_safe_and_differ():
    arms = read_arms(["freeze=conv_0+res_2", "freeze=+res_2", "freeze=res_2", "llrd0.75", "llrd0.075", "lora8"], STAGES)
    folders = [arm.folder for arm in arms]
    assert folders == ["freeze-conv_0+res_2", "freeze-+res_2", "freeze-res_2", "llrd0.75", "llrd0.075", "lora8"]


def test_arms_are_sorted_and_named():
    names = ["lora8", "10", "random2", "2", "head", "scratch", "my arm", "untrained", "gradual", "lora4"]
    assert sorted(names, key=arm_order) == [
        "untrained", "scratch", "2", "10", "my arm", "random2", "head", "gradual", "lora4", "lora8",
    ]  # fmt: skip
    assert [arm_words(name) for name in ("2", "random2", "scratch", "lora8", "my arm")] == [
        "freeze 2", "random freeze 2", "scratch", "LoRA rank 8", "my arm",
    ]  # fmt: skip
    assert known_strategy("my arm") is None
