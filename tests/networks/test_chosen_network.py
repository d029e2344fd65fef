"""A chosen network is built on trial: what it lacks is filled in, and what is wrong shows before anything else happens."""

from __future__ import annotations

import pytest
import torch

from monai_tl.errors import ConfigError, TransferError
from monai_tl.networks.chosen_network import checked_network, sizes_of_network
from tests.conftest import mentions
from tests.networks.test_input_sizes import SMALL_UNETR

UNETR = {"name": "UNETR", **SMALL_UNETR}


def test_a_network_for_one_size_is_built_for_the_window():
    assert checked_network(UNETR, (1, 2), [32, 16, 16]) == {**UNETR, "img_size": [32, 16, 16]}
    given = {**UNETR, "img_size": [16, 16, 16]}
    assert checked_network(given, (1, 2), [16, 16, 16]) == given
    assert sizes_of_network(UNETR, (1, 2)).multiple == (16, 16, 16)
    with pytest.raises(ConfigError) as caught:
        checked_network(UNETR, (1, 2), [20, 20, 20])
    mentions(str(caught.value), "window [20,20,20] … UNETR … multiples of 16 … [16,16,16] or [32,32,32]")


def test_other_networks_are_returned_as_they_are():
    state = torch.get_rng_state()
    entry = {"name": "SegResNet", "init_filters": 8}
    assert checked_network(entry, (2, 3), [16, 16, 16]) == entry == checked_network(entry, (2, 3), None)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("entry", "error", "facts"),
    [
        ({"name": "SegRestNet"}, ConfigError, "'SegRestNet' … 'SegResNet'"),
        ({"name": "SegResNet", "init_filter": 8}, ConfigError, "init_filter … 'init_filters'"),
        ({"name": "SegResNet", "init_filters": "many"}, ConfigError, "SegResNet … init_filters='many'"),
        ({"name": "SegResNet", "init_filters": 8, "stages": {"a": ["convInit"]}}, TransferError, "weights outside … a"),
    ],
)  # fmt: skip
def test_mistakes_show_at_once(entry, error, facts):
    with pytest.raises(error) as caught:
        checked_network(entry, (1, 2), [16, 16, 16])
    mentions(str(caught.value), facts)
