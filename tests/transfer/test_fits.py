from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from monai_tl.errors import TransferError
from monai_tl.networks.network_spec import NetworkSpec
from monai_tl.transfer.apply import apply_transfer
from monai_tl.transfer.contract import Contract, complete
from monai_tl.transfer.fits import find_fit
from monai_tl.transfer.source import Source, read_source
from tests.conftest import mentions

SPEC = NetworkSpec("SegResNet", {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]})
T1 = Contract(("T1",), (1, 1, 1), "RAS", "zscore_volume", ("background", "hippocampus"))
TARGET = complete(T1)


def source_of(spec: NetworkSpec, contract: Contract | None = T1, without: str = "none", lacks=()) -> Source:
    state = spec.build(1, 2).state_dict()
    weights = {name: value for name, value in state.items() if not name.startswith(without)}
    return Source("weights.pt", "", weights, None, network=spec, contract=contract, lacks=lacks)


def test_the_same_network_and_images_fit_as_they_are():
    found = find_fit(source_of(SPEC), SPEC, TARGET)
    assert (found.fits, found.flags, found.reasons) == (True, "", ())


def test_another_network_fits_by_taking_the_source_s():
    found = find_fit(source_of(SPEC), NetworkSpec("HighRes3DNet"), TARGET)
    assert (found.fits, found.flags) == (True, "--network like_source")
    mentions(found.reasons[0], "with its own network", "another architecture")


def test_differences_of_images_become_flags():
    other = complete(Contract(("T1",), (2, 2, 2), "LPS", "zscore_nonzero", ("background", "tumour")))
    found = find_fit(source_of(SPEC), SPEC, other)
    assert found.flags == "--spacing 1.0,1.0,1.0 --orientation RAS --normalisation zscore_volume"
    assert len(found.reasons) == 3


def test_an_encoder_needs_fresh_stages():
    found = find_fit(source_of(SPEC, without=("up_", "conv_final"), lacks=("decoder", "head")), SPEC, TARGET)
    assert found.fits
    assert found.flags.startswith("--fresh dec_0,head")


def test_weights_of_an_unknown_network_fit_nothing_else():
    source = Source("weights.pt", "", {"first.weight": torch.zeros(2, 1, 3, 3, 3)}, None)
    found = find_fit(source, SPEC, TARGET)
    assert (found.fits, found.flags) == (False, "")
    mentions(" ".join(found.reasons), "another architecture")


def test_settings_that_are_only_assumed_are_a_doubt_and_no_obstacle():
    """A network of ReLUs is assumed where the weights do not show it; the user may know better."""
    spec = NetworkSpec("HighRes3DNet", {"negative_slope": 0})
    found = find_fit(replace(source_of(spec), assumed=True), NetworkSpec("HighRes3DNet"), TARGET)
    assert (found.fits, found.flags) == (True, "")
    mentions(found.reasons[0], "if the source's network has the settings assumed", "ReLU becomes LeakyReLU")


@pytest.mark.parametrize(("slope", "flags"), [(0.02, ""), (0, "--network like_source")])
def test_a_network_of_the_same_weights_and_another_function_is_not_taken(slope, flags):
    """Every name and shape agrees; with ReLU instead of LeakyReLU the source's own network is to be used."""
    spec = NetworkSpec("HighRes3DNet", {"negative_slope": slope})
    found = find_fit(source_of(spec), NetworkSpec("HighRes3DNet"), TARGET)
    assert (found.fits, found.flags) == (True, flags)
    if flags:
        mentions(found.reasons[0], "ReLU becomes LeakyReLU in 20 modules")


def test_the_flags_are_those_with_which_the_transfer_is_made(tmp_path):
    state = {name: value for name, value in SPEC.build(1, 2).state_dict().items() if not name.startswith(("up_", "conv_final"))}
    torch.save(state, tmp_path / "encoder.pt")
    found = find_fit(read_source(tmp_path / "encoder.pt"), SPEC, TARGET)
    assert found.flags == "--accept_differences --fresh dec_0,head"
    network = SPEC.build(1, 2)
    transfer = apply_transfer(network, tmp_path / "encoder.pt", T1, accept_differences=True, fresh="dec_0,head")
    assert torch.equal(network.state_dict()["convInit.conv.weight"], state["convInit.conv.weight"])
    assert len(transfer.plan.copied) == len(state)
    with pytest.raises(TransferError, match="no counterpart"):
        apply_transfer(SPEC.build(1, 2), tmp_path / "encoder.pt", T1, accept_differences=True)


def test_why_the_source_s_own_network_does_not_fit_either_is_said():
    two = replace(T1, modalities=("T1", "T2"))  # stated of a network of one channel
    found = find_fit(source_of(SPEC, two), NetworkSpec("HighRes3DNet"), TARGET)
    assert not found.fits
    mentions(" ".join(found.reasons), "another architecture … with the source's network: … convInit.conv.weight")


def test_the_reason_against_the_target_s_network_is_about_networks():
    other = complete(replace(T1, spacing=(2.0, 2.0, 2.0)))
    found = find_fit(source_of(SPEC), NetworkSpec("HighRes3DNet"), other)
    mentions(found.reasons[0], "with its own network: the source has another architecture")
    assert "more)" not in found.reasons[0]
