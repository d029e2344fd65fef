"""A merged config's settings are checked as they come to."""

from __future__ import annotations

import pytest
from monai.bundle import ConfigParser

from monai_tl.errors import ConfigError
from monai_tl.workflow.config_check import check_config, check_settings

CONFIG = {"window": [16, 16, 16], "inference_window": "@window", "device": "cpu", "iterations": "$2 * 2", "validate_every": 2}


def parser(**changed):
    return ConfigParser({**CONFIG, **changed})


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


def test_checking_is_a_configs_own_first_step():
    with pytest.raises(RuntimeError, match="bundle config's initialize"):
        check_settings()
    config = parser(imports=["$from monai_tl.workflow.config_check import check_settings"], initialize=["$check_settings()"])
    assert config.get_parsed_content("initialize") == [None]
    config["iterations"] = 3
    with pytest.raises(RuntimeError) as raised:  # MONAI's, around ours
        config.get_parsed_content("initialize")
    assert isinstance(raised.value.__cause__, ConfigError)
