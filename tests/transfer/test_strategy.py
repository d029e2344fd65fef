"""Strategies: their grammar, and which stages, freezes and sources they go with."""

from __future__ import annotations

import pytest

from monai_tl.errors import ConfigError, TransferError
from monai_tl.networks.stage_map import StageMap
from monai_tl.transfer.strategy import STRATEGIES, Strategy, choose_strategy, names_of, read_strategy, refuse_no_source
from tests.conftest import mentions

UNET = StageMap({name: (name,) for name in ("a", "b", "up", "head")}, decoder=("up",))


@pytest.mark.parametrize(
    ("text", "kind", "value", "parameters"),
    [
        ("0", "prefix", 0, {"frozen stages": 0}),
        ("random2", "random", 2, {"frozen stages": 2}),
        ("freeze=a+up", "freeze=", "a+up", {"frozen stages": "a+up"}),
        ("freeze=2", "prefix", 2, {"frozen stages": 2}),
        ("llrd0.75", "llrd", 0.75, {"factor per stage": 0.75}),
        ("l2sp0.01", "l2sp", 0.01, {"penalty": 0.01}),
        ("l2sp1e-3", "l2sp", 0.001, {"penalty": 0.001}),
        ("lora8", "lora", 8, {"rank": 8}),
        ("bitfit", "bitfit", None, {}),
        ("head", "head", None, {}),
    ],
)
def test_a_strategy_is_read_from_its_name(text, kind, value, parameters):
    strategy = read_strategy(text, UNET)
    assert (strategy.kind, strategy.value, strategy.parameters) == (kind, value, parameters)


@pytest.mark.parametrize("name", names_of(None))
def test_every_name_in_the_hints_is_one(name):
    strategy = read_strategy(name)
    assert strategy.name == name
    assert strategy.label
    assert "{" not in strategy.label + strategy.explanation


def test_every_kind_is_in_the_hints_and_all_but_controls_have_a_paper():
    assert {read_strategy(name).kind for name in names_of(None)} == set(STRATEGIES)
    assert {name for name, kind in STRATEGIES.items() if not kind.paper} == {"untrained", "scratch", "freeze="}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lora0", "lora takes a whole number from 1 … e.g. lora8 … '0'"),
        ("lora-1", "lora … '-1'"),
        ("lora", "lora … e.g. lora8 … ''"),
        ("lora1.5", "lora … '1.5'"),
        ("llrd1.5", "llrd takes a number above 0 and below 1 … '1.5'"),
        ("llrd0", "llrd … above 0 … '0'"),
        ("l2sp-1", "l2sp takes a number above 0 … '-1'"),
        ("l2spnan", "l2sp … 'nan'"),
        ("freeze=", "freeze= … joined by + … ''"),
        ("", "'' … scratch"),
        ("bitfit8", "'bitfit8' … did you mean 'bitfit'"),
        ("Lora8", "'Lora8' … did you mean 'lora8'"),
        ("freeze=a,b", "freeze= … 'a,b'"),
        ("02", "'02'"),
    ],
)
def test_an_unknown_name_or_value_is_refused(text, message):
    with pytest.raises(ConfigError) as refused:
        read_strategy(text)
    mentions(str(refused.value), *message.split(" … "))
    assert "\n" not in str(refused.value)


def test_frozen_stages():
    frozen = {name: read_strategy(name, UNET).frozen(UNET) for name in ("0", "2", "head", "decoder", "freeze=a+up", "lora8")}
    assert frozen == {
        "0": (), "2": ("a", "b"), "head": ("a", "b", "up"), "decoder": ("a", "b"), "freeze=a+up": ("a", "up"), "lora8": (),
    }  # fmt: skip


def test_freeze_and_strategy_together():
    assert choose_strategy("lora8", 2, UNET, source=True) == Strategy("lora", 8)
    for decided in ("head", "gradual", "valley", "scratch", "2", "random2", "freeze=a+up"):
        with pytest.raises(ConfigError) as refused:
            choose_strategy(decided, 1, UNET, source=True)
        mentions(str(refused.value), f"strategy {decided}", "freeze to 0", "not 1", "lora, bitfit")
    with pytest.raises(TransferError, match="freeze takes"):
        choose_strategy("lora8", 9, UNET, source=True)
    with pytest.raises(ConfigError, match="monai_tl evaluate"):
        choose_strategy("untrained", 0, UNET, source=True)


@pytest.mark.parametrize(
    ("freeze", "source", "name", "label"),
    [
        (0, True, "0", "freeze 0"),
        ("b", True, "2", "freeze 2"),
        ("a+up", True, "freeze=a+up", "freeze a+up"),
        ("+up", True, "freeze=+up", "freeze only up"),
        (0, False, "scratch", "scratch"),
        (2, False, "random2", "random freeze 2"),
    ],
)
def test_without_a_strategy_freeze_and_source_say_it(freeze, source, name, label):
    strategy = choose_strategy(None, freeze, UNET, source=source)
    assert (strategy.name, strategy.label) == (name, label)


def test_a_strategy_that_adapts_a_source_needs_one():
    for text in ("scratch", "random2"):
        refuse_no_source(text)
    with pytest.raises(ConfigError, match="lora8.*source is null"):
        refuse_no_source("lora8")
