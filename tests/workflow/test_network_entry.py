"""A task's network as an entry and as the id ``network_def``: one is made of the other, and back."""

from __future__ import annotations

import pytest

from monai_tl.errors import ConfigError
from monai_tl.workflow.network_entry import OWN_PAPER, OWN_TARGET, entry_of, metadata_for, network_def_of, refuse_bad_entry
from tests.bundles.test_new import config
from tests.conftest import IXI, mentions

SEGRESNET = {"name": "SegResNet", "init_filters": 16}


def test_no_entry_is_our_network_as_the_bundles_have_it():
    assert network_def_of({}) == config(IXI)["network_def"]
    assert network_def_of({"name": "HighRes3DNet", "head_norm": True})["head_norm"] is True
    assert "head_norm" not in network_def_of({}, has_head_norm=False)
    assert entry_of(network_def_of({})) == {"name": "HighRes3DNet"}


@pytest.mark.parametrize("entry", [SEGRESNET, {"name": "my.Net", "stages": {"a": ["x"], "b": ["y"]}, "width": [1, 2]}])
def test_an_entry_becomes_an_id_and_back(entry):
    made = network_def_of(entry)
    assert (made["network"], made["in_channels"], made["stages"]) == (entry["name"], "$len(@modalities)", entry.get("stages"))
    assert entry_of(made) == entry


def test_a_class_that_is_built_by_itself_has_no_entry():
    assert entry_of({"_target_": "monai.networks.nets.UNet"}) is None


@pytest.mark.parametrize(
    ("entry", "facts"),
    [
        ("SegResNet", "takes a name … 'SegResNet'"),
        ({"init_filters": 16}, "takes a name"),
        ({"name": "Seg ResNet"}, "takes a name"),
        ({**SEGRESNET, "in_channels": 2}, "'in_channels' … modalities"),
        ({**SEGRESNET, "stages": [1]}, "stages takes auto … [1]"),
        ({"name": "HighRes3DNet", "init_filters": 3}, "'HighRes3DNet' … 'init_filters' … head_norm"),
    ],
)
def test_mistakes_in_an_entry_are_refused(entry, facts):
    with pytest.raises(ConfigError) as caught:
        refuse_bad_entry(entry, "task.yaml: network")
    mentions(str(caught.value), facts)


def test_metadata_name_the_network_of_the_run():
    of_bundle = {"description": "HighRes3DNet that segments", "references": ["one", OWN_PAPER], "name": "x"}
    own, other = {"_target_": OWN_TARGET}, network_def_of(SEGRESNET)
    assert metadata_for(of_bundle, own, own) == of_bundle
    assert metadata_for(of_bundle, own, other) == {"description": "SegResNet that segments", "references": ["one"], "name": "x"}
