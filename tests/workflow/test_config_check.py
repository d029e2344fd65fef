"""A merged config's settings are checked as they come to, and typed text is read by what the config holds."""

from __future__ import annotations

import pytest
from monai.bundle import ConfigParser

from monai_tl.errors import ConfigError
from monai_tl.workflow.config_check import check_config, check_settings, read_overrides

CONFIG = {"window": [16, 16, 16], "inference_window": "@window", "device": "cpu", "iterations": "$2 * 2", "validate_every": 2}
OWN = {"name": "first", "share": 0.5, "loud": False, "part": {"keys": "image", "size": "@window", "n": 1, "labels": None}}


def parser(**changed):
    return ConfigParser({**CONFIG, **OWN, **changed})


def test_what_an_expression_comes_to_is_checked():
    check_config(parser())
    with pytest.raises(ConfigError, match=r"^iterations \(3\)"):
        check_config(parser(iterations="$1 + 2"))
    with pytest.raises(ConfigError, match=r"^window.*\[16, 16\]$"):
        check_config(parser(window="$[16] * 2"))  # said once, though inference_window is that too
    with pytest.raises(ConfigError, match=r"^inference_window.*\[16\]$"):
        check_config(parser(inference_window="$@window[:1]"))
    with pytest.raises(ConfigError, match=r"^window: \$\[x\].*\(NameError.*'x'.*defined\)$"):
        check_config(parser(window="$[x]"))
    with pytest.raises(ConfigError, match="iterations.*validate_every.*7"):
        check_config(parser(epochs=7))


def test_devices_are_there(monkeypatch):
    with pytest.raises(ConfigError, match=r"device.*cuda:1.*\$choose_device\('auto'\)"):
        check_config(parser(device="auto"))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(ConfigError, match="device 'cuda:1'.*1 GPUs"):
        check_config(parser(device="cuda:1"))


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
    told = read_overrides(parser(seed=0), {key: text})[key]
    assert told == value
    assert type(told) is type(value)


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("share", "half", "'half'"),
        ("loud", "no", "loud takes true or false; got 'no'"),
        ("part#size", "8", "part#size.*8"),
        ("part#n", "2_0", "part#n.*2_0"),
    ],
)
def test_what_cannot_replace_it_is_refused(key, text, said):
    with pytest.raises(ConfigError, match=said):
        read_overrides(parser(), {key: text})


def test_checking_is_a_configs_own_first_step():
    with pytest.raises(RuntimeError, match="bundle config's initialize"):
        check_settings()
    config = parser(imports=["$from monai_tl.workflow.config_check import check_settings"], initialize=["$check_settings()"])
    assert config.get_parsed_content("initialize") == [None]
    config["iterations"] = 3
    with pytest.raises(RuntimeError) as raised:  # MONAI's, around ours
        config.get_parsed_content("initialize")
    assert isinstance(raised.value.__cause__, ConfigError)


def test_a_variable_that_the_shell_left_is_no_part_of_another_config():
    with pytest.raises(ConfigError, match="dataset_dir.*%.*'%DATA%'"):
        read_overrides(ConfigParser({"dataset_dir": "data"}), {"dataset_dir": "%DATA%"})
