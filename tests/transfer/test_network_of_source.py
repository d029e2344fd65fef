"""What ``--network``, ``--set`` and ``--stages`` ask for, and the network of a source, which is never run as code."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from monai_tl.errors import ConfigError
from monai_tl.transfer import source
from monai_tl.transfer.network_of_source import AskedNetwork
from tests.conftest import mentions


def of_source(monkeypatch, network, settings=None):
    spec = None if network is None else SimpleNamespace(network=network, settings=settings or {})
    monkeypatch.setattr(source, "read_source", lambda location: SimpleNamespace(network=spec))


def test_flags_name_a_network_or_change_the_one_there_is():
    before = {"name": "SegResNet", "init_filters": 16, "stages": {"a": ["b"]}}
    assert not AskedNetwork()
    assert AskedNetwork(settings={"init_filters": 8}).entry(before, None) == {**before, "init_filters": 8}
    assert AskedNetwork("UNet", {"strides": [2]}).entry(before, None) == {"name": "UNet", "strides": [2]}
    assert AskedNetwork(stages="auto").entry(before, None)["stages"] == "auto"
    with pytest.raises(ConfigError) as caught:
        AskedNetwork(settings={"a": 1}).entry(None, None)
    mentions(str(caught.value), "--set … --network")


def test_the_source_s_network_with_its_arguments_and_stages(monkeypatch):
    of_source(monkeypatch, "my.Net", {"width": (4, 8), "stages": {"a": ("x",), "b": ["y"]}})
    asked = AskedNetwork("like_source", {"depth": 2}).entry({"name": "HighRes3DNet"}, "runs/ixi")
    assert asked == {"name": "my.Net", "width": [4, 8], "stages": {"a": ["x"], "b": ["y"]}, "depth": 2}


@pytest.mark.parametrize(
    "settings",
    [{"act": "$print('x')"}, {"a": [["@window"]]}, {"a": {"_target_": "os.system"}}, {"a": {"%x": 1}}, {"a": {"$x": 1}}],
)
def test_code_of_a_source_is_refused(monkeypatch, settings):
    """A config would evaluate it."""
    of_source(monkeypatch, "SegResNet", settings)
    with pytest.raises(ConfigError) as caught:
        AskedNetwork("like_source").entry(None, "runs/ixi")
    mentions(str(caught.value), "like_source … 'runs/ixi' … code")


def test_a_source_that_names_no_network_and_none(monkeypatch):
    of_source(monkeypatch, None)
    for location, facts in (("x.pt", "'x.pt' … --network … --set"), (None, "set --source")):
        with pytest.raises(ConfigError) as caught:
            AskedNetwork("like_source").entry(None, location)
        mentions(str(caught.value), f"--network like_source … {facts}")
