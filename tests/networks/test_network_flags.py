from __future__ import annotations

import pytest

from monai_tl.errors import ConfigError
from monai_tl.networks.network_flags import read_stages, refuse_reserved_settings
from tests.conftest import mentions


@pytest.mark.parametrize(
    ("given", "stages"),
    [
        (None, None),
        ("", None),
        ("auto", "auto"),
        ("{stem: [a, b.0], head: c}", {"stem": ("a", "b.0"), "head": ("c",)}),
        ({"stem": ["a"], "head": ("c",)}, {"stem": ("a",), "head": ("c",)}),
    ],
)
def test_stages_are_read_from_text_and_from_configs(given, stages):
    assert read_stages(given) == stages


@pytest.mark.parametrize("given", ["automatic", "[a, b]", "{a: 3}", "{a: [1]}", "{a: [b", {"a": 3}, {"a": {"b": "c"}}])
def test_anything_else_is_refused(given):
    with pytest.raises(ConfigError) as caught:
        read_stages(given)
    mentions(str(caught.value), "stages takes auto, or stage -> prefixes")


@pytest.mark.parametrize("name", ["in_channels", "num_classes", "stages"])
def test_what_follows_from_the_task_is_not_set(name):
    with pytest.raises(ConfigError) as caught:
        refuse_reserved_settings({"init_filters": 8, name: 3})
    mentions(str(caught.value), f"--set {name}=3 … omit it")
    refuse_reserved_settings({"init_filters": 8})
